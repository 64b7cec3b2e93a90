"""The door to the API server: credentials, TLS and connections, against real sockets on loopback."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kube.scripted import Authority, Reply, ScriptedServer, answer, base64_of, promised, refusal, silence, watching
from support.waiting import eventually
from svckube import access as access_module
from svckube import credentials as credentials_module
from svckube.access import Access, AccessError, StalledError, from_kubeconfig, in_cluster

OK = answer(200, b"{}")
Tls = Callable[..., ScriptedServer]


def kubeconfig(directory: Path, server: str, user: dict[str, Any] | None = None, **cluster: Any) -> str:
    """Writes a kubeconfig (JSON is YAML) and returns its path."""
    content = {
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "one", "user": "me"}},
            {"name": "there", "context": {"cluster": "two", "user": "me"}},
        ],
        "clusters": [
            {"name": "one", "cluster": {"server": server, **cluster}},
            {"name": "two", "cluster": {"server": "http://127.0.0.1:1/there", **cluster}},
        ],
        "users": [{"name": "me", "user": user or {}}],
    }
    path = directory / "kubeconfig"
    path.write_text(json.dumps(content))
    return str(path)


def plugin(directory: Path, script: str, **more: Any) -> dict[str, Any]:
    """A user with an exec plugin, which is this Python script."""
    program = directory / "plugin.py"
    program.write_text(
        f"import datetime, json, pathlib, sys, time\nhere = pathlib.Path({str(directory)!r})\n{script}\n"
    )
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "python3",
            "args": [str(program)],
            "interactiveMode": "Never",
            **more,
        }
    }


# Counts its runs in a file, and gives the token t1, t2, … good for SECONDS.
COUNTING = """
runs = here / "runs"
runs.write_text((runs.read_text() if runs.exists() else "") + "x")
good_until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=SECONDS)
status = {"token": f"t{len(runs.read_text())}", "expirationTimestamp": good_until.strftime("%Y-%m-%dT%H:%M:%SZ")}
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
"""


def fails(call: Callable[[], object]) -> AccessError:
    with pytest.raises(AccessError) as caught:
        call()
    return caught.value


# --- requests ---------------------------------------------------------------------------------------------------------


def test_a_get_asks_for_json_under_our_name(api: ScriptedServer, tmp_path: Path) -> None:
    api.script = [answer(200, b'{"kind": "ServiceList"}')]
    access = from_kubeconfig(kubeconfig(tmp_path, api.url, {"token": "secret"}))
    assert access.get("/api/v1/services", {"labelSelector": "!a/b", "limit": "500"}) == b'{"kind": "ServiceList"}'
    (asked,) = api.requests
    assert (asked.method, asked.path) == ("GET", "/api/v1/services")
    assert asked.query == {"labelSelector": "!a/b", "limit": "500"}
    assert asked.headers["accept"] == "application/json"
    assert asked.headers["user-agent"].startswith("svcplane/")
    assert asked.headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("ask", "method", "content_type"),
    [
        pytest.param(lambda access: access.update("/o", b"{}"), "PUT", "application/json", id="update"),
        pytest.param(lambda access: access.patch("/o", b"{}"), "PATCH", "application/merge-patch+json", id="patch"),
        pytest.param(lambda access: access.delete("/o", b"{}"), "DELETE", "application/json", id="delete"),
    ],
)
def test_writing_verbs(
    api: ScriptedServer, tmp_path: Path, ask: Callable[[Access], bytes], method: str, content_type: str
) -> None:
    api.script = [answer(200, b'{"stored": true}')]
    assert ask(from_kubeconfig(kubeconfig(tmp_path, api.url))) == b'{"stored": true}'
    (asked,) = api.requests
    assert (asked.method, asked.path, asked.body) == (method, "/o", b"{}")
    assert asked.headers["content-type"] == content_type


def test_create_posts_the_object(api: ScriptedServer, tmp_path: Path) -> None:
    api.script = [answer(201, b'{"stored": true}')]
    access = from_kubeconfig(kubeconfig(tmp_path, api.url))
    assert access.create("/api/v1/namespaces/default/events", b'{"kind": "Event"}') == b'{"stored": true}'
    (asked,) = api.requests
    assert (asked.method, asked.body) == ("POST", b'{"kind": "Event"}')
    assert asked.headers["content-type"] == "application/json"


def test_a_server_url_may_have_a_path(api: ScriptedServer, tmp_path: Path) -> None:
    api.script = [OK]
    from_kubeconfig(kubeconfig(tmp_path, api.url + "/k8s/clusters/c-1/")).get("/version")
    assert api.requests[0].path == "/k8s/clusters/c-1/version"


@pytest.mark.parametrize(
    ("reply", "status", "fault", "says", "retry_after"),
    [
        pytest.param(
            refusal(403, "services is forbidden"), 403, "credentials", "services is forbidden", None, id="403"
        ),
        pytest.param(refusal(404, "no such path"), 404, "server", "no such path", None, id="404"),
        pytest.param(refusal(410, "too old resource version"), 410, "server", "too old", None, id="410"),
        pytest.param(refusal(429, "slow down", Retry_After="7"), 429, "server", "slow down", 7.0, id="429-retry-after"),
        pytest.param(refusal(503, "busy", Retry_After="Fri, 1 Jan 2027"), 503, "server", "busy", None, id="503-date"),
        pytest.param(answer(502, b"<html>bad gateway"), 502, "server", "502", None, id="a-proxy-speaks-html"),
        pytest.param(answer(302, b"", Location="https://login"), 302, "config", "https://login", None, id="redirect"),
        pytest.param(promised(100, b"{"), 0, "network", "/version", None, id="body-cut-short"),
        pytest.param(lambda connection: None, 0, "network", "/version", None, id="closed-without-an-answer"),
    ],
)
def test_a_failed_request_says_whose_fault_it_is(
    api: ScriptedServer, tmp_path: Path, reply: Reply, status: int, fault: str, says: str, retry_after: float | None
) -> None:
    api.script = [reply]
    access = from_kubeconfig(kubeconfig(tmp_path, api.url))
    error = fails(lambda: access.get("/version"))
    assert (error.status, error.fault, error.retry_after) == (status, fault, retry_after)
    assert says in error.message


def test_nobody_listens(tmp_path: Path) -> None:
    access = from_kubeconfig(kubeconfig(tmp_path, "http://127.0.0.1:1"))
    error = fails(lambda: access.get("/version"))
    assert error.fault == "network"
    assert "http://127.0.0.1:1" in error.message


def test_an_answer_that_does_not_come_is_a_stall(
    api: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_module, "READ_SECONDS", 0.1)
    access = from_kubeconfig(kubeconfig(tmp_path, api.url))
    assert isinstance(fails(lambda: access.get("/version")), StalledError)


def test_an_answer_that_trickles_for_ever_is_a_stall(
    api: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_module, "ANSWER_SECONDS", 0.0)
    api.script = [watching(b"{", b"}", end="silence")]
    access = from_kubeconfig(kubeconfig(tmp_path, api.url))
    assert isinstance(fails(lambda: access.get("/version")), StalledError)


# --- watches ----------------------------------------------------------------------------------------------------------


def test_a_watch_gives_bytes_as_they_come_and_ends(api: ScriptedServer, tmp_path: Path) -> None:
    api.script = [watching(b"one\n", b"tw", b"o\n")]
    access = from_kubeconfig(kubeconfig(tmp_path, api.url))
    with access.watch("/api/v1/services", {"watch": "true"}, 5.0) as watch:
        assert b"".join(watch) == b"one\ntwo\n"


@pytest.mark.parametrize("end", ["cut", "reset"])
def test_a_broken_watch_is_the_networks_fault(api: ScriptedServer, tmp_path: Path, end: str) -> None:
    api.script = [watching(b"one\n", end=end)]
    access = from_kubeconfig(kubeconfig(tmp_path, api.url))
    seen: list[bytes] = []

    def read() -> None:
        with access.watch("/w", {}, 5.0) as watch:
            seen.extend(watch)

    assert fails(read).fault == "network"
    assert b"".join(seen) in (b"one\n", b"")  # a reset may overtake what was sent before it


def test_a_silent_watch_is_a_stall(api: ScriptedServer, tmp_path: Path) -> None:
    api.script = [watching(b"one\n", end="silence")]
    access = from_kubeconfig(kubeconfig(tmp_path, api.url))
    seen: list[bytes] = []

    def read() -> None:
        with access.watch("/w", {}, 0.2) as watch:
            seen.extend(watch)

    assert isinstance(fails(read), StalledError)
    assert seen == [b"one\n"]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_blocking_watch_can_be_closed_from_another_thread(
    api: ScriptedServer, https: Tls, authority: Authority, tmp_path: Path, tls: bool
) -> None:
    server = https("127.0.0.1") if tls else api
    server.script = [watching(b"one\n", end="silence")]
    ca: dict[str, Any] = {"certificate-authority-data": base64_of(authority.pem)} if tls else {}
    watch = from_kubeconfig(kubeconfig(tmp_path, server.url, **ca)).watch("/w", {}, 30.0)
    seen: list[bytes] = []

    def read() -> None:
        with watch:
            seen.extend(watch)

    reader = threading.Thread(target=read)
    reader.start()
    eventually(lambda: seen, "the first bytes")
    began = time.monotonic()
    watch.close()
    reader.join(5)
    assert time.monotonic() - began < 1
    assert seen == [b"one\n"]


def test_a_watch_that_was_closed_before_it_opened_gives_nothing(api: ScriptedServer, tmp_path: Path) -> None:
    api.script = [watching(b"one\n", end="silence")]
    watch = from_kubeconfig(kubeconfig(tmp_path, api.url)).watch("/w", {}, 5.0)
    watch.close()
    with watch:
        assert list(watch) == []


# --- kubeconfig -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="missing"),
        pytest.param("", id="empty"),
        pytest.param("{[", id="no-yaml"),
        pytest.param("just words", id="a-string"),
        pytest.param("- a\n- list", id="a-list"),
        pytest.param("{}", id="an-empty-object"),
        pytest.param('{"current-context": "gone", "contexts": [], "clusters": [], "users": []}', id="no-such-context"),
        pytest.param(
            '{"current-context": "a", "contexts": [{"name": "a"}], "clusters": [], "users": []}', id="no-cluster"
        ),
        pytest.param("\x00", id="binary"),
    ],
)
def test_a_broken_kubeconfig_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "broken-kubeconfig"
    if content is not None:
        path.write_text(content)
    error = fails(lambda: from_kubeconfig(str(path)))
    assert error.fault == "config"
    assert str(path) in error.message


def test_the_environment_names_the_kubeconfig(
    api: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'absent'}:{kubeconfig(tmp_path, api.url)}")
    assert from_kubeconfig().server == api.url


def test_another_context_and_another_server(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "http://127.0.0.1:1")
    assert from_kubeconfig(path, context="there").server == "http://127.0.0.1:1/there"
    assert from_kubeconfig(path, server="http://127.0.0.1:2/").server == "http://127.0.0.1:2"


def test_an_overridden_server_survives_a_token_refresh(api: ScriptedServer, tmp_path: Path) -> None:
    api.script = [OK, OK]
    path = kubeconfig(tmp_path, "http://127.0.0.1:1", plugin(tmp_path, COUNTING.replace("SECONDS", "1")))
    access = from_kubeconfig(path, server=api.url)
    access.get("/a")
    access.get("/b")
    assert [one.path for one in api.requests] == ["/a", "/b"]


@pytest.mark.parametrize(
    ("user", "sent"),
    [
        pytest.param({}, None, id="anonymous"),
        pytest.param({"token": "abc"}, "Bearer abc", id="token"),
        pytest.param({"tokenFile": "token"}, "Bearer from-file", id="token-file-beside-the-kubeconfig"),
        pytest.param(
            {"username": "u", "password": "p"}, "Basic " + base64.b64encode(b"u:p").decode(), id="user-and-password"
        ),
    ],
)
def test_credentials(api: ScriptedServer, tmp_path: Path, user: dict[str, str], sent: str | None) -> None:
    (tmp_path / "token").write_text("from-file\n")
    api.script = [OK]
    from_kubeconfig(kubeconfig(tmp_path, api.url, user)).get("/version")
    assert api.requests[0].headers.get("authorization") == sent


def test_a_rotated_token_file_is_read_again_after_a_401(api: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old")
    access = from_kubeconfig(kubeconfig(tmp_path, api.url, {"tokenFile": "token"}))
    (tmp_path / "token").write_text("new")
    api.script = [refusal(401, "Unauthorized"), OK, OK]
    assert access.get("/a") == b"{}"
    assert access.get("/b") == b"{}"
    assert [one.headers["authorization"] for one in api.requests] == ["Bearer old", "Bearer new", "Bearer new"]


def test_a_token_file_is_read_again_from_time_to_time(
    api: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("old")
    access = from_kubeconfig(kubeconfig(tmp_path, api.url, {"tokenFile": "token"}))
    api.script = [OK, OK, OK]
    (tmp_path / "token").write_text("new")
    access.get("/early")
    monkeypatch.setattr(access_module, "TOKEN_SECONDS", 0.0)
    access.get("/late")
    (tmp_path / "token").write_text("")
    access.get("/while-it-is-written")
    assert [one.headers["authorization"] for one in api.requests] == ["Bearer old", "Bearer new", "Bearer new"]


def test_credentials_that_are_refused_twice_are_an_error(api: ScriptedServer, tmp_path: Path) -> None:
    api.script = [refusal(401, "Unauthorized"), refusal(401, "Unauthorized")]
    access = from_kubeconfig(kubeconfig(tmp_path, api.url, {"token": "abc"}))
    error = fails(lambda: access.get("/version"))
    assert (error.status, error.fault) == (401, "credentials")
    assert "kubeconfig" in error.message


def test_a_watch_too_renews_credentials(api: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old")
    access = from_kubeconfig(kubeconfig(tmp_path, api.url, {"tokenFile": "token"}))
    (tmp_path / "token").write_text("new")
    api.script = [refusal(401, "Unauthorized"), watching(b"one\n")]
    with access.watch("/w", {}, 5.0) as watch:
        assert list(watch) == [b"one\n"]


# --- exec plugins -----------------------------------------------------------------------------------------------------


def run_count(directory: Path) -> int:
    return len((directory / "runs").read_text())


def test_a_plugin_runs_once_while_its_token_is_good(api: ScriptedServer, tmp_path: Path) -> None:
    api.script = [OK, OK]
    access = from_kubeconfig(kubeconfig(tmp_path, api.url, plugin(tmp_path, COUNTING.replace("SECONDS", "3600"))))
    access.get("/a")
    access.get("/b")
    assert [one.headers["authorization"] for one in api.requests] == ["Bearer t1", "Bearer t1"]
    assert run_count(tmp_path) == 1


def test_a_plugin_runs_again_before_its_token_expires(api: ScriptedServer, tmp_path: Path) -> None:
    api.script = [OK]
    access = from_kubeconfig(kubeconfig(tmp_path, api.url, plugin(tmp_path, COUNTING.replace("SECONDS", "10"))))
    access.get("/a")
    assert api.requests[0].headers["authorization"] == "Bearer t2"


def test_a_withdrawn_plugin_token_is_renewed_once_for_all_threads(api: ScriptedServer, tmp_path: Path) -> None:
    access = from_kubeconfig(kubeconfig(tmp_path, api.url, plugin(tmp_path, COUNTING.replace("SECONDS", "3600"))))
    everybody_asked = threading.Barrier(4)

    def refuse(connection: Any) -> None:
        everybody_asked.wait(10)
        refusal(401, "Unauthorized")(connection)

    api.script = [refuse] * 4 + [OK] * 4
    threads = [threading.Thread(target=access.get, args=("/a",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(one.headers["authorization"] for one in api.requests) == ["Bearer t1"] * 4 + ["Bearer t2"] * 4
    assert run_count(tmp_path) == 2


@pytest.mark.parametrize(
    ("script", "says"),
    [
        pytest.param('sys.exit("log in first")', "log in first", id="fails"),
        pytest.param('print("no json")', "decode", id="says-no-json"),
        pytest.param(
            COUNTING.replace("SECONDS", "9").replace("print(", "status.clear()\nprint("),
            "missing token",
            id="gives-nothing",
        ),
    ],
)
def test_a_plugin_that_fails_is_quoted_and_logs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, script: str, says: str
) -> None:
    path = kubeconfig(tmp_path, "http://127.0.0.1:1", plugin(tmp_path, script))
    with caplog.at_level(logging.DEBUG):
        error = fails(lambda: from_kubeconfig(path))
    assert error.fault == "credentials"
    assert says in error.message
    assert path in error.message
    assert caplog.records == []


def test_a_plugin_that_does_not_exist_is_quoted(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "http://127.0.0.1:1", plugin(tmp_path, "", command="no-such-plugin"))
    error = fails(lambda: from_kubeconfig(path))
    assert error.fault == "credentials"
    assert "no-such-plugin" in error.message


def test_a_plugin_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials_module, "PLUGIN_SECONDS", 0.3)
    path = kubeconfig(tmp_path, "http://127.0.0.1:1", plugin(tmp_path, "time.sleep(5)"))
    error = fails(lambda: from_kubeconfig(path))
    assert error.fault == "credentials"
    assert "does not answer" in error.message


def test_a_plugin_that_fails_later_keeps_the_token_it_gave(
    api: ScriptedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = COUNTING.replace("SECONDS", "10") + "\nif len(runs.read_text()) > 1: sys.exit('cloud is down')"
    access = from_kubeconfig(kubeconfig(tmp_path, api.url, plugin(tmp_path, script)))
    api.script = [OK, refusal(401, "Unauthorized")]
    with caplog.at_level(logging.DEBUG):
        access.get("/a")
        error = fails(lambda: access.get("/b"))
    assert api.requests[0].headers["authorization"] == "Bearer t1"
    assert error.fault == "credentials"
    assert "cloud is down" in error.message
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO] == []


def test_a_plugin_may_give_a_client_certificate(https: Tls, authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue("node-7")
    status = {"clientCertificateData": issued.certificate.decode(), "clientKeyData": issued.key.decode()}
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    server = https("127.0.0.1")
    server.script = [OK]
    user = plugin(tmp_path, f"print(json.dumps({credential!r}))")
    ca = base64_of(authority.pem)
    from_kubeconfig(kubeconfig(tmp_path, server.url, user, **{"certificate-authority-data": ca})).get("/version")
    assert server.requests[0].client == "node-7"


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_file", [False, True], ids=["data", "file"])
def test_certificates_of_both_sides(https: Tls, authority: Authority, tmp_path: Path, as_file: bool) -> None:
    issued = authority.issue("node-7")
    parts = {"certificate-authority": authority.pem, "client-certificate": issued.certificate, "client-key": issued.key}
    for name, pem in parts.items():
        (tmp_path / name).write_bytes(pem)
    given = {name if as_file else f"{name}-data": name if as_file else base64_of(pem) for name, pem in parts.items()}
    user = {name: value for name, value in given.items() if name.startswith("client")}
    cluster = {name: value for name, value in given.items() if name.startswith("certificate")}
    server = https("127.0.0.1")
    server.script = [OK]
    assert from_kubeconfig(kubeconfig(tmp_path, server.url, user, **cluster)).get("/version") == b"{}"
    assert server.requests[0].client == "node-7"


@pytest.mark.parametrize(
    ("server_name", "cluster", "trusted"),
    [
        pytest.param("127.0.0.1", {}, False, id="unknown-authority"),
        pytest.param("127.0.0.1", {"ca": True}, True, id="known-authority"),
        pytest.param("kubernetes.default", {"ca": True}, False, id="certificate-for-another-name"),
        pytest.param(
            "kubernetes.default", {"ca": True, "tls-server-name": "kubernetes.default"}, True, id="server-name"
        ),
        pytest.param("127.0.0.1", {"ca": True, "tls-server-name": "kubernetes.default"}, False, id="wrong-server-name"),
        pytest.param("kubernetes.default", {"insecure-skip-tls-verify": True}, True, id="insecure"),
    ],
)
def test_whom_tls_trusts(
    https: Tls, authority: Authority, tmp_path: Path, server_name: str, cluster: dict[str, Any], trusted: bool
) -> None:
    server = https(server_name)
    server.script = [OK]
    settings = {name: value for name, value in cluster.items() if name != "ca"}
    if "ca" in cluster:
        settings["certificate-authority-data"] = base64_of(authority.pem)
    access = from_kubeconfig(kubeconfig(tmp_path, server.url, **settings))
    if trusted:
        assert access.get("/version") == b"{}"
    else:
        error = fails(lambda: access.get("/version"))
        assert error.fault == "config"
        assert "certificate-authority" in error.message


def test_a_renewed_authority_file_is_read_again(https: Tls, authority: Authority, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(Authority().pem)
    server = https("127.0.0.1")
    server.script = [OK]
    access = from_kubeconfig(kubeconfig(tmp_path, server.url, **dict[str, Any]({"certificate-authority": "ca.pem"})))
    assert fails(lambda: access.get("/version")).fault == "config"
    ca.write_bytes(authority.pem)
    assert access.get("/version") == b"{}"


def test_a_proxy_is_used(api: ScriptedServer, tmp_path: Path) -> None:
    api.script = [OK]
    access = from_kubeconfig(kubeconfig(tmp_path, "http://api.invalid:6443", **dict[str, Any]({"proxy-url": api.url})))
    assert access.get("/version") == b"{}"
    assert api.requests[0].target == "http://api.invalid:6443/version"


# --- in a pod ---------------------------------------------------------------------------------------------------------


def in_pod(directory: Path, server: ScriptedServer, authority: Authority, token: str) -> Access:
    (directory / "token").write_text(token)
    (directory / "ca.crt").write_bytes(authority.pem)
    host = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
    return in_cluster(str(directory), host)


def test_a_pod_uses_its_service_account(https: Tls, authority: Authority, tmp_path: Path) -> None:
    server = https("127.0.0.1")
    server.script = [OK]
    assert in_pod(tmp_path, server, authority, "pod-token\n").get("/version") == b"{}"
    assert server.requests[0].headers["authorization"].split() == ["Bearer", "pod-token"]


def test_a_rotated_service_account_token_is_read_again(https: Tls, authority: Authority, tmp_path: Path) -> None:
    server = https("127.0.0.1")
    access = in_pod(tmp_path, server, authority, "old")
    (tmp_path / "token").write_text("new")
    server.script = [refusal(401, "Unauthorized"), OK]
    assert access.get("/version") == b"{}"
    assert [one.headers["authorization"] for one in server.requests] == ["Bearer old", "Bearer new"]


def test_outside_a_pod_is_said_so(tmp_path: Path) -> None:
    error = fails(lambda: in_cluster(str(tmp_path), {}))
    assert error.fault == "config"
    assert "kubeconfig" in error.message


def test_silence_before_the_status_is_a_stall(api: ScriptedServer, tmp_path: Path) -> None:
    api.script = [silence]
    watch = from_kubeconfig(kubeconfig(tmp_path, api.url)).watch("/w", {}, 0.2)

    def read() -> None:
        with watch:
            pass

    assert isinstance(fails(read), StalledError)

"""Probes, scrapes, systemd notices and log lines, over real sockets."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from prometheus_client import Counter

from support.waiting import eventually
from svckube import observe
from svckube.observe import Answer, Route, Server, exposition, fields, log_to, registry, sd_notify, serve


def ok() -> Answer:
    return 200, "text/plain", b"ok"


def unready() -> Answer:
    return 503, "application/json", b"{}", {"X-Reason": "starting"}


def broken() -> Answer:
    raise RuntimeError("no idea")


ROUTES: dict[str, Route] = {"/healthz": ok, "/readyz": unready, "/broken": broken}


@pytest.fixture
def server() -> Iterator[Server]:
    running = serve("127.0.0.1:0", ROUTES)
    yield running
    running.close()


def ask(address: str, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    with contextlib.closing(HTTPConnection(address, timeout=5)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


@pytest.mark.parametrize(
    ("method", "path", "status", "body", "header"),
    [
        pytest.param("GET", "/healthz", 200, b"ok", ("Content-Type", "text/plain"), id="a-route"),
        pytest.param("GET", "/healthz?verbose", 200, b"ok", ("Content-Length", "2"), id="a-query-is-ignored"),
        pytest.param("HEAD", "/healthz", 200, b"", ("Content-Length", "2"), id="head"),
        pytest.param("GET", "/readyz", 503, b"{}", ("X-Reason", "starting"), id="headers-of-the-route"),
        pytest.param("POST", "/healthz", 405, b"405", ("Allow", "GET, HEAD"), id="post"),
        pytest.param("GET", "/", 404, b"404", ("Content-Type", "text/plain; charset=utf-8"), id="nothing-there"),
        pytest.param("GET", "/broken", 500, b"500", ("Connection", "close"), id="a-route-that-raises"),
    ],
)
def test_answers(server: Server, method: str, path: str, status: int, body: bytes, header: tuple[str, str]) -> None:
    got_status, headers, got_body = ask(server.address, path, method)
    assert got_status == status
    assert got_body.startswith(body)
    assert headers[header[0]] == header[1]


def test_a_route_that_raises_leaves_a_line(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    ask(server.address, "/broken")
    (record,) = caplog.records
    assert (record.getMessage(), getattr(record, "fields", None)) == ("route failed", {"path": "/broken"})


@pytest.mark.parametrize("address", ["[::]:0", ":0"])
def test_every_address_is_both_families(address: str) -> None:
    with contextlib.closing(serve(address, ROUTES)) as running:
        port = running.address.rpartition(":")[2]
        assert running.address == f"[::]:{port}"
        assert ask(f"127.0.0.1:{port}", "/healthz")[0] == 200
        assert ask(f"[::1]:{port}", "/healthz")[0] == 200


@pytest.mark.parametrize("address", ["", "localhost", "127.0.0.1:http", "127.0.0.1:65536", "1.2.3.4:-1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="no address to listen on"):
        serve(address, ROUTES)


def test_a_taken_address_is_named(server: Server) -> None:
    with pytest.raises(OSError, match=f"cannot listen on {server.address}"):
        serve(server.address, ROUTES)


def test_a_closed_server_gives_its_port_back() -> None:
    first = serve("127.0.0.1:0", ROUTES)
    assert ask(first.address, "/healthz")[0] == 200
    first.close()
    second = serve(first.address, ROUTES)
    assert ask(second.address, "/healthz")[0] == 200
    second.close()
    with pytest.raises(ConnectionRefusedError):
        ask(first.address, "/healthz")


def connect(server: Server) -> socket.socket:
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"GET /healthz HTTP/1.1\r\n", id="half-a-request"),
        pytest.param(b"nonsense\r\n\r\n", id="no-http"),
        pytest.param(b"GET /" + b"x" * (32 << 10), id="endless"),
    ],
)
def test_what_is_no_request_is_hung_up_on(server: Server, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(observe, "REQUEST_SECONDS", 0.2)
    with connect(server) as client:
        client.sendall(said)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""
    assert ask(server.address, "/healthz")[0] == 200


def test_connections_are_bounded_and_the_server_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, inside = threading.Event(), threading.Semaphore(0)

    def slow() -> Answer:
        inside.release()
        gate.wait(10)
        return ok()

    monkeypatch.setattr(observe, "WORKERS", 2)
    with contextlib.closing(serve("127.0.0.1:0", {"/slow": slow, "/healthz": ok})) as running:
        results: list[int] = []
        clients = [threading.Thread(target=lambda: results.append(ask(running.address, "/slow")[0])) for _ in range(2)]
        for client in clients:
            client.start()
        assert inside.acquire(timeout=5)
        assert inside.acquire(timeout=5)
        with pytest.raises((HTTPException, OSError)):
            ask(running.address, "/healthz")
        gate.set()
        for client in clients:
            client.join(5)
        assert results == [200, 200]
        eventually(lambda: ask(running.address, "/healthz")[0] == 200, "a free worker")


def test_metrics_are_of_the_programs_own() -> None:
    own = registry()
    Counter("svcplane_things", "Things.", registry=own).inc(3)
    with contextlib.closing(serve("127.0.0.1:0", {"/metrics": exposition(own)})) as running:
        status, headers, body = ask(running.address, "/metrics")
    text = body.decode()
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "svcplane_things_total 3.0\n" in text
    assert "process_resident_memory_bytes " in text
    assert "_created" not in text


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_systemd_is_told(tmp_path: Path, abstract: bool) -> None:
    name = f"@svcplane-test-{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(5)
        systemd.bind(name.replace("@", "\0") if abstract else name)
        assert sd_notify("READY=1", {"NOTIFY_SOCKET": name})
        assert systemd.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    assert not sd_notify("READY=1", {})
    assert not sd_notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})


@pytest.fixture
def logged() -> Iterator[Callable[[bool], io.StringIO]]:
    """Sends the root logger to a string, and puts everything back afterwards."""
    root, quiet = logging.getLogger(), logging.getLogger("urllib3")
    before = (root.handlers[:], root.level, quiet.level)

    def begin(as_json: bool) -> io.StringIO:
        stream = io.StringIO()
        log_to(stream, as_json=as_json)
        return stream

    yield begin
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    quiet.setLevel(before[2])


LOG = logging.getLogger("svcplane.test")


@pytest.mark.parametrize(
    ("values", "want"),
    [
        pytest.param({}, "", id="no-fields"),
        pytest.param({"services": 3, "kind": "Node"}, " services=3 kind=Node", id="in-the-order-given"),
        pytest.param({"reason": "no route"}, ' reason="no route"', id="quoted"),
        pytest.param({"reason": 'a"b'}, r' reason="a\"b"', id="escaped"),
        pytest.param({"reason": "two\nlines"}, r' reason="two\nlines"', id="one-line"),
        pytest.param({"hint": ""}, "", id="nothing-to-say"),
        pytest.param({"name": "ü"}, " name=ü", id="letters-are-letters"),
    ],
)
def test_a_text_line(logged: Callable[[bool], io.StringIO], values: dict[str, object], want: str) -> None:
    stream = logged(False)
    LOG.warning("outage", extra=fields(**values))
    moment, _, rest = stream.getvalue().partition(" ")
    assert moment.endswith("Z")
    assert rest == f"warning svcplane.test outage{want}\n"


def test_a_json_line(logged: Callable[[bool], io.StringIO]) -> None:
    stream = logged(True)
    LOG.info("synced\nagain", extra=fields(services=3, event="a field cannot hide the event"))
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert said.pop("time").endswith("Z")
    assert said == {"level": "info", "logger": "svcplane.test", "event": "synced\nagain", "services": 3}


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_an_exception_is_one_line(logged: Callable[[bool], io.StringIO], as_json: bool) -> None:
    stream = logged(as_json)
    try:
        broken()
    except RuntimeError:
        LOG.exception("failed", extra=fields(path="/x"))
    (line,) = stream.getvalue().splitlines()
    assert "no idea" in line
    assert "Traceback" in line


def test_debug_is_not_logged_unless_asked_for(logged: Callable[[bool], io.StringIO]) -> None:
    stream = logged(False)
    LOG.debug("detail")
    logging.getLogger("urllib3.connectionpool").warning("Retrying")
    assert stream.getvalue() == ""

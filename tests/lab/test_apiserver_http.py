"""The API server over TLS on loopback: who may ask, watches, what survives, how it ends."""

from __future__ import annotations

import gzip
import http.client
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from peers.lab_server import LabServer
from support.waiting import eventually

TOKENS = 'secret-token,bob,7,"dev,ops"\n'
MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def server() -> Iterator[LabServer]:
    with LabServer(tokens=TOKENS) as running:
        yield running


def asked(
    server: LabServer,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    administrator: bool = True,
) -> tuple[http.client.HTTPResponse, bytes]:
    context = server.trust if administrator else ssl.create_default_context(cadata=ca(server))
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=context)
    try:
        sent = None if body is None else json.dumps(body).encode()
        connection.request(method, path, sent, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def ca(server: LabServer) -> str:
    return (server.folder / "ca.crt").read_text()


def made(server: LabServer, name: str, **data: str) -> dict[str, Any]:
    answer = server.request("POST", MAPS, {"metadata": {"name": name}, "data": data})
    assert answer.status == 201, answer.body
    body: dict[str, Any] = json.loads(answer.body)
    return body


INDENTED = [
    (MAPS, {"User-Agent": "curl/8.1"}, True),
    (MAPS, {"User-Agent": "Wget/1.21"}, True),
    (MAPS, {"User-Agent": "kubectl/v1.36.3"}, False),
    (f"{MAPS}?pretty=true", {}, True),
    (f"{MAPS}?pretty=0", {"User-Agent": "curl/8.1"}, False),
    (f"{MAPS}/nowhere", {"User-Agent": "curl/8.1"}, True),
    ("/version", {}, True),
    ("/api/v1", {}, False),
    ("/openapi/v3", {"User-Agent": "curl/8.1"}, False),
]


@pytest.mark.parametrize(("path", "headers", "indented"), INDENTED, ids=[f"{row[0]} {row[1]}" for row in INDENTED])
def test_people_get_json_with_lines(server: LabServer, path: str, headers: Mapping[str, str], indented: bool) -> None:
    _, body = asked(server, "GET", path, headers=headers)
    assert body.startswith(b'{\n  "') is indented
    assert isinstance(json.loads(body), dict)


def test_what_is_not_served_says_so(server: LabServer) -> None:
    path = "/apis/batch/v1/namespaces/default/jobs"
    assert server.request("GET", path).status == 200
    refused = server.request("POST", path, {})
    assert (refused.status, json.loads(refused.body)["message"]) == (
        501,
        "jobs.batch are not served by this cluster's API server",
    )


def test_a_token_of_nowhere_is_refused_for_its_namespace(server: LabServer) -> None:
    refused = server.request("POST", "/api/v1/namespaces/nowhere/serviceaccounts/robot/token", {})
    assert json.loads(refused.body)["message"] == 'namespaces "nowhere" not found'


def who(server: LabServer, headers: Mapping[str, str], administrator: bool = False) -> tuple[int, dict[str, Any]]:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer, body = asked(server, "POST", path, {}, headers, administrator)
    told = json.loads(body)
    return answer.status, told.get("status", {}).get("userInfo", told) if answer.status == 201 else told


def test_a_client_certificate_is_a_user_with_groups(server: LabServer) -> None:
    status, user = who(server, {}, administrator=True)
    assert (status, user["username"], user["groups"]) == (201, "admin", ["system:masters", "system:authenticated"])


def test_a_token_of_the_file_is_a_user(server: LabServer) -> None:
    status, user = who(server, {"Authorization": "Bearer secret-token"})
    expected = {"username": "bob", "uid": "7", "groups": ["dev", "ops", "system:authenticated"]}
    assert (status, user) == (201, expected)


def test_a_token_of_nobody(server: LabServer) -> None:
    status, told = who(server, {"Authorization": "Bearer nonsense"})
    assert (status, told["reason"], told["message"]) == (401, "Unauthorized", "Unauthorized")


def test_nobody_may_see_health_and_version_only(server: LabServer) -> None:
    assert [asked(server, "GET", path, administrator=False)[0].status for path in ("/readyz", "/version")] == [200, 200]
    answer, body = asked(server, "GET", "/api/v1/pods", administrator=False)
    said = 'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" at the cluster scope'
    assert (answer.status, json.loads(body)["message"]) == (403, said)


def test_a_service_account_token_ends_with_its_account(server: LabServer) -> None:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    assert server.request("POST", accounts, {"metadata": {"name": "robot"}}).status == 201
    answer = server.request("POST", f"{accounts}/robot/token", {"spec": {"expirationSeconds": 600}})
    token = json.loads(answer.body)["status"]["token"]
    status, user = who(server, {"Authorization": f"Bearer {token}"})
    assert (status, user["username"]) == (201, "system:serviceaccount:default:robot")
    assert "system:serviceaccounts:default" in user["groups"]
    assert server.request("DELETE", f"{accounts}/robot").status == 200
    assert who(server, {"Authorization": f"Bearer {token}"})[0] == 401


class Watching(threading.Thread):
    """Collects the events of one watch until the server ends it."""

    def __init__(self, server: LabServer, path: str) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=20, context=server.trust)
        self._connection.request("GET", path)
        self._answer = self._connection.getresponse()
        self.events: list[dict[str, Any]] = []
        self.whole = False
        self.start()

    def run(self) -> None:
        try:
            for line in self._answer:
                self.events.append(json.loads(line))
            self.whole = True  # the last chunk has come
        except (OSError, http.client.HTTPException):
            pass
        finally:
            self._connection.close()

    def names(self) -> list[tuple[str, str]]:
        return [(one["type"], one["object"]["metadata"].get("name", "")) for one in list(self.events)]


def test_watch_from_a_list(server: LabServer) -> None:
    made(server, "before")
    version = json.loads(server.request("GET", MAPS).body)["metadata"]["resourceVersion"]
    watch = Watching(server, f"{MAPS}?watch=1&resourceVersion={version}&fieldSelector=metadata.name%3Dw1")
    made(server, "w2")
    made(server, "w1")
    server.request("PUT", f"{MAPS}/w1", {"metadata": {"name": "w1"}, "data": {"a": "b"}})
    server.request("DELETE", f"{MAPS}/w1")
    wanted = [("ADDED", "w1"), ("MODIFIED", "w1"), ("DELETED", "w1")]
    eventually(lambda: watch.names() == wanted, "three events of w1")


def test_initial_events_and_their_bookmark(server: LabServer) -> None:
    made(server, "there")
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1"
    watch = Watching(server, f"{MAPS}?{query}")
    eventually(lambda: watch.whole, "the watch ends by itself")
    assert ("ADDED", "there") in watch.names()
    last = watch.events[-1]
    assert last["type"] == "BOOKMARK"
    assert last["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_large_lists_are_packed_on_request(server: LabServer) -> None:
    made(server, "large", data="x" * 200_000)
    answer, body = asked(server, "GET", MAPS, headers={"Accept-Encoding": "gzip"})
    assert answer.getheader("Content-Encoding") == "gzip"
    assert any(one["metadata"]["name"] == "large" for one in json.loads(gzip.decompress(body))["items"])


def test_warnings_come_as_headers(server: LabServer) -> None:
    answer, _ = asked(server, "POST", f"{MAPS}?dryRun=All", {"metadata": {"name": "w"}, "dada": 1})
    assert answer.getheader("Warning") == '299 - "unknown field \\"dada\\""'


def test_too_large_a_body(server: LabServer) -> None:
    answer, body = asked(server, "POST", MAPS, {"metadata": {"name": "huge"}, "data": {"a": "x" * (4 << 20)}})
    assert (answer.status, json.loads(body)["reason"]) == (413, "RequestEntityTooLarge")


def test_requests_are_counted(server: LabServer) -> None:
    server.request("GET", "/api/v1/nodes")
    text = server.request("GET", "/metrics").body.decode()
    assert 'apiserver_request_total{code="200",group="",resource="nodes",subresource="",verb="LIST"}' in text


def test_a_restart_keeps_objects_and_versions_and_forgets_history() -> None:
    with LabServer() as server:
        first = made(server, "kept")
        made(server, "gone")
        server.request("DELETE", f"{MAPS}/gone")
        listed = json.loads(server.request("GET", MAPS).body)
        watch = Watching(server, f"{MAPS}?watch=1")
        eventually(lambda: watch.names(), "the watch has begun")
        server.restart("apiserver")
        assert json.loads(server.request("GET", f"{MAPS}/kept").body) == first
        again = json.loads(server.request("GET", MAPS).body)
        assert again["items"] == listed["items"]
        assert int(again["metadata"]["resourceVersion"]) >= int(listed["metadata"]["resourceVersion"])
        old = Watching(server, f"{MAPS}?watch=1&resourceVersion={first['metadata']['resourceVersion']}")
        eventually(lambda: old.whole, "a watch of forgotten history ends")
        (error,) = old.events
        assert (error["type"], error["object"]["code"], error["object"]["reason"]) == ("ERROR", 410, "Expired")

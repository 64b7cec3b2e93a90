"""`kill -9` of the API server while it is written to: what it has acknowledged is there when it comes back."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Iterator

import msgspec
import pytest

from peers.lab_server import LabServer
from support.waiting import eventually

WRITERS = 4
KEYS_EACH = 5
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


class Key(msgspec.Struct):
    """One ConfigMap. `known` is the value of the last acknowledged write, None for a delete or none at all.

    `tried` is a write that was not answered: it may have happened.
    """

    name: str
    known: int | None = None
    tried: int | None = None
    in_doubt: bool = False


class Writer(threading.Thread):
    """Creates, updates and deletes its own ConfigMaps as fast as it can until the server is gone."""

    def __init__(self, port: int, context: ssl.SSLContext, number: int) -> None:
        super().__init__(name=f"writer {number}")
        self.keys = [Key(f"w{number}-{each}") for each in range(KEYS_EACH)]
        self.acknowledged = 0
        self.version = 0
        self.refused: list[str] = []
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)

    def run(self) -> None:
        value = 0
        try:
            while not self.refused:
                for key in self.keys:
                    value += 1
                    self._write(key, None if value % 7 == 0 and key.known is not None else value)
        except (OSError, http.client.HTTPException):
            pass  # killed
        finally:
            self._connection.close()

    def _write(self, key: Key, value: int | None) -> None:
        body = {"metadata": {"name": key.name}, "data": {"value": str(value)}}
        path = CONFIG_MAPS if key.known is None else f"{CONFIG_MAPS}/{key.name}"
        method = "POST" if key.known is None else "DELETE" if value is None else "PUT"
        key.tried, key.in_doubt = value, True
        self._connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        said = json.loads(answer.read())
        if answer.status not in (200, 201):
            self.refused.append(f"{method} {path}: {said}")
            return
        key.known, key.in_doubt = value, False
        self.acknowledged += 1
        if value is not None:
            self.version = max(self.version, int(said["metadata"]["resourceVersion"]))


@pytest.fixture
def server() -> Iterator[LabServer]:
    with LabServer() as running:
        yield running


def test_no_acknowledged_write_is_lost(server: LabServer) -> None:
    for round_number, writes in enumerate((1, 40, 300)):
        writers = [Writer(server.port, server.trust, round_number * WRITERS + each) for each in range(WRITERS)]
        for writer in writers:
            writer.start()
        eventually(lambda: sum(one.acknowledged for one in writers) >= writes, f"{writes} writes", 30.0)  # noqa: B023
        server.kill("apiserver")
        for writer in writers:
            writer.join()
        server.restart("apiserver")
        assert not [refusal for writer in writers for refusal in writer.refused]
        listed = json.loads(server.request("GET", CONFIG_MAPS).body)
        there = {one["metadata"]["name"]: int(one["data"]["value"]) for one in listed["items"]}
        for key in (key for writer in writers for key in writer.keys):
            possible = {key.known, key.tried} if key.in_doubt else {key.known}
            assert there.get(key.name) in possible, key
        assert int(listed["metadata"]["resourceVersion"]) >= max(writer.version for writer in writers)


def test_what_one_sees_after_a_restart_is_what_was_there(server: LabServer) -> None:
    made = json.loads(server.request("POST", CONFIG_MAPS, {"metadata": {"name": "one"}, "data": {"a": "b"}}).body)
    before = json.loads(server.request("GET", "/api/v1/services").body)
    server.kill("apiserver")
    server.restart("apiserver")
    assert json.loads(server.request("GET", f"{CONFIG_MAPS}/one").body) == made
    assert json.loads(server.request("GET", "/api/v1/services").body)["items"] == before["items"]
    more = json.loads(server.request("POST", CONFIG_MAPS, {"metadata": {"name": "two"}}).body)
    assert int(more["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    assert server.request("POST", CONFIG_MAPS, {"metadata": {"name": "one"}}).status == 409

"""Requests to the lab's API server from this machine, as its administrator, with what Python brings along.

In: a lab. Out: objects as JSON values; ApiError with the HTTP status and the API's own message, or status 0 for a
server that cannot be reached. `svckube.access` does the same for any cluster, and takes 0.25 s to import: commands
that a person waits for, and the start of a lab, do without.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from svclab.cluster.plan import API_PORT
from svclab.cluster.state import Lab
from svclab.errors import LabError

SECONDS = 5.0
SILENCE = 90.0  # of a watch; bookmarks come about once a minute


class ApiError(LabError):
    """`status` is the HTTP status, 0 if there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """One API server; every request has a connection of its own unless it is called from `with`."""

    def __init__(self, lab: Lab) -> None:
        self._host = lab.plan.hosts["control"]
        self._name = lab.plan.name
        try:
            self._trust = ssl.create_default_context(cafile=lab.pki / "ca.crt")
            self._trust.load_cert_chain(lab.pki / "admin.crt", lab.pki / "admin.key")
        except OSError as error:
            raise ApiError(f"the credentials of lab {lab.plan.name} cannot be read: {error}") from error

    def get(self, path: str) -> dict[str, Any]:
        return self.request("GET", path)

    def ready(self) -> bool:
        """Does it say so itself?"""
        try:
            with closing(self._connection(SECONDS)) as connection:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The object that the server answers with."""
        sent = None if body is None else json.dumps(body).encode()
        try:
            with closing(self._connection(SECONDS)) as connection:
                connection.request(method, path, sent, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        return _decoded(said, answer.status, f"{method} {path}")

    def watch(self, path: str) -> Iterator[dict[str, Any]]:
        """The events of a watch, until the server ends it. `path` has the query."""
        try:
            with closing(self._connection(SILENCE)) as connection:
                connection.request("GET", path)
                answer = connection.getresponse()
                if answer.status != 200:
                    _decoded(answer.read(), answer.status, f"GET {path}")
                for line in answer:
                    yield json.loads(line)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _connection(self, seconds: float) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(self._host, API_PORT, timeout=seconds, context=self._trust)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _unreachable(self, error: Exception) -> ApiError:
        return ApiError(f"the API server of lab {self._name} at {self._host}:{API_PORT} cannot be reached: {error}")


def _decoded(said: bytes, status: int, what: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(said)
    except ValueError:
        found = {"message": said.decode(errors="replace").strip()}
    if status >= 400:
        raise ApiError(f"{what}: {status} {found.get('message', '')}", status)
    return found


def is_ready(node: Mapping[str, Any]) -> bool:
    """Is this Node ready?"""
    conditions = node.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

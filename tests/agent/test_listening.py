"""A port that is taken at the start: waited for, or the end."""

from __future__ import annotations

import logging
import socket
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

import pytest

from support.waiting import eventually
from svcagent.listening import listen
from svckube.observe import TEXT, Answer


def well() -> Answer:
    return HTTPStatus.OK, TEXT, b"well"


def body(address: str) -> bytes:
    connection = HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().read()
    except (OSError, HTTPException):
        return b""
    finally:
        connection.close()


@pytest.fixture
def taken() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_taken_port_is_had_when_it_is_free(taken: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    listener = listen(address, {"/healthz": well}, retry=0.01)
    try:
        assert [record.message for record in caplog.records] == ["not listening yet"]
        taken.close()
        eventually(lambda: body(address) == b"well", "the port answers")
    finally:
        listener.close()
    assert [record.message for record in caplog.records] == ["not listening yet", "listening"]
    assert body(address) == b""


def test_closing_ends_the_waiting(taken: socket.socket) -> None:
    with taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        listener = listen(address, {"/healthz": well}, retry=0.01)
        listener.close()
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        pass  # nobody else took it


def test_with_hard_fail_a_taken_port_is_the_end(taken: socket.socket) -> None:
    with taken, pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:\d+"):
        listen(f"127.0.0.1:{taken.getsockname()[1]}", {}, hard_fail=True)


def test_a_free_port_is_had_at_once(taken: socket.socket) -> None:
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    taken.close()
    listener = listen(address, {"/healthz": well})
    try:
        assert body(address) == b"well"
    finally:
        listener.close()

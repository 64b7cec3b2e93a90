"""What systemd would receive, on a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from svckube.systemd import Unit


class Moment:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Manager:
    """The other end: what has been received since the last look."""

    def __init__(self, path: Path) -> None:
        self.environment = {"NOTIFY_SOCKET": str(path)}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))

    def received(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    running = Manager(tmp_path / "notify")
    yield running
    running.close()


def watched(manager: Manager, clock: Callable[[], float], **more: str) -> Unit:
    """A unit with WatchdogSec=8."""
    return Unit({**manager.environment, "WATCHDOG_USEC": "8000000", "WATCHDOG_PID": str(os.getpid()), **more}, clock)


def test_readiness_is_told_once(manager: Manager) -> None:
    unit = Unit(manager.environment)
    unit.waiting("not yet")
    unit.ready("well")
    unit.ready("well")
    unit.stopping()
    assert manager.received() == ["STATUS=not yet", "READY=1\nSTATUS=well", "STOPPING=1"]


def test_the_loop_may_turn_as_often_as_it_likes(manager: Manager) -> None:
    clock = Moment()
    unit = watched(manager, clock)
    assert unit.period == 4.0
    told = []
    for step in range(9):  # a second each
        clock.now = 100.0 + step
        unit.alive()
        told.append(manager.received())
    assert told == [["WATCHDOG=1"], [], ["WATCHDOG=1"], [], ["WATCHDOG=1"], [], ["WATCHDOG=1"], [], ["WATCHDOG=1"]]


@pytest.mark.parametrize(
    ("seconds", "want"),
    [
        pytest.param(60.0, ["WATCHDOG_USEC=60000000", "WATCHDOG_USEC=8000000"], id="longer"),
        pytest.param(3.0, [], id="shorter-than-ever"),
    ],
)
def test_patience_for_what_takes_long(manager: Manager, seconds: float, want: list[str]) -> None:
    unit = watched(manager, Moment())
    with pytest.raises(RuntimeError), unit.patient(seconds):
        raise RuntimeError
    assert manager.received() == want


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"WATCHDOG_PID": "1"}, id="another-process-is-watched"),
        pytest.param({"WATCHDOG_USEC": ""}, id="no-limit"),
        pytest.param({"WATCHDOG_USEC": "soon"}, id="no-number"),
        pytest.param({"WATCHDOG_USEC": "0"}, id="switched-off"),
    ],
)
def test_nobody_watches(manager: Manager, more: dict[str, str]) -> None:
    unit = watched(manager, Moment(), **more)
    unit.alive()
    with unit.patient(60.0):
        pass
    assert (unit.period, manager.received()) == (float("inf"), [])

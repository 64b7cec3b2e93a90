"""The sender of the agent's benchmark: new connections to services, where they land, and how long they take.

In: a namespace in which services' cluster IPs are asked for, and numbers and addresses of `bench.crowd`. Out: moments
of `time.monotonic`, microseconds, requests a second. A cluster IP that no rule knows is refused at once by the
machine behind the node; so what a sender sees is sharp to about the time of a connection.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from bench.crowd import SLICES, Crowd, cluster_ip
from bench.responder import to_its_processor
from peers.control_plane import ControlPlane
from support.crowd import name_of
from svclab.netns import Host

PAUSE = 0.001
BURST = 100
"""Connections between two pauses at most: the programs that are measured need the processor, too."""
LOST = 0.5
"""Seconds after which a connection has taken a second packet: the kernel sends it after one second."""
ONE_STORM = 1000
"""Services that change in turn, at most."""


def landed(address: str) -> str:
    """Which endpoint a new connection meets; "" if none."""
    with suppress(OSError), socket.create_connection((address, 80), timeout=0.1) as made:
        _end_abruptly(made)
        return made.recv(20).decode()
    return ""


def until(host: Host, address: str, wanted: Callable[[str], bool], burst: int, patience: float) -> float | None:
    """When connections began to land as wanted: the moment at which the first of them was sent; None if they do not.

    Landing nowhere must be seen twice in a row, since one packet may get lost.
    """
    deadline = time.monotonic() + patience
    with host.entered():
        while (now := time.monotonic()) < deadline:
            for _ in range(min(burst, BURST)):
                now = time.monotonic()
                where = landed(address)
                if wanted(where) and (where or not landed(address)):
                    return now
            time.sleep(PAUSE)
    return None


def connects(host: Host, choices: Mapping[str, Sequence[int]]) -> tuple[dict[str, list[float]], int]:
    """Microseconds of one connect to each service: one first packet, and its answer; and how many got lost.

    The choices take turns, so that what else the machine does meets them alike.
    """
    taken: dict[str, list[float]] = {name: [] for name in choices}
    lost = 0
    with host.entered(), _beside_the_responder():
        for turn in zip(*choices.values(), strict=True):
            for name, number in zip(choices, turn, strict=True):
                took = _connect_seconds(cluster_ip(number))
                if took < LOST:
                    taken[name].append(took * 1e6)
                else:
                    lost += 1
    return taken, lost


def _connect_seconds(address: str) -> float:
    with socket.socket() as made:
        made.settimeout(5)
        _end_abruptly(made)
        began = time.perf_counter()
        made.connect((address, 80))
        took = time.perf_counter() - began
        made.recv(20)
    return took


def kept_requests(host: Host, number: int, seconds: float) -> float:
    """Requests a second of 64 bytes over one connection to a service that answers with the same."""
    with (
        host.entered(),
        _beside_the_responder(),
        socket.create_connection((cluster_ip(number), 80), timeout=5) as made,
    ):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        count, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            made.sendall(b"x" * 64)
            if not made.recv(64):
                raise ConnectionError("a kept connection has ended")
            count += 1
        return count / passed


class Storm:
    """Changes at a fixed rate for a while, each to the next service, and when each became effective.

    A change that is followed by a later one of the same service has come when that one has.
    """

    def __init__(self, plane: ControlPlane, host: Host, crowd: Crowd) -> None:
        self._plane = plane
        self._host = host
        self._crowd = crowd
        self._pending: dict[int, list[tuple[int, float]]] = {}
        self._lock = threading.Lock()

    def run(self, rate: int, seconds: float, patience: float) -> tuple[list[float], int, float]:
        """Milliseconds of those that came within `patience` of the last; how many did not; writes a second."""
        changes = max(1, round(rate * seconds))
        written: list[float] = []
        writer = threading.Thread(target=self._write, args=(rate, changes, written))
        writer.start()
        taken = self._watch(writer, patience)
        writer.join()
        if len(written) < changes:
            raise AssertionError("a change could not be written; the first error is above")
        return taken, changes - len(taken), (changes - 1) / (written[-1] - written[0]) if changes > 1 else 0.0

    def _write(self, rate: int, changes: int, written: list[float]) -> None:
        began = time.monotonic()
        with self._plane.session(seconds=60) as request:
            for turn in range(changes):
                time.sleep(max(0.0, began + turn / rate - time.monotonic()))
                number = turn % min(self._crowd.services, ONE_STORM)
                change, wanted = self._crowd.changed(number, max(1, self._crowd.endpoints // 10))
                now = time.monotonic()
                with self._lock:
                    self._pending.setdefault(number, []).append((change, now))
                request("PUT", f"{SLICES}/{name_of(number)}-0", wanted)
                written.append(now)

    def _watch(self, writer: threading.Thread, patience: float) -> list[float]:
        taken: list[float] = []
        deadline = None
        with self._host.entered():
            while deadline is None or time.monotonic() < deadline:
                writing = writer.is_alive()
                with self._lock:
                    waiting = list(self._pending)
                if not writing:
                    deadline = deadline or time.monotonic() + patience
                    if not waiting:
                        break
                for number in waiting:
                    taken += self._met(number)
                time.sleep(PAUSE)
        return taken

    def _met(self, number: int) -> list[float]:
        """Milliseconds of the changes that one more connection shows to be effective."""
        now = time.monotonic()
        seen = self._crowd.change_of(landed(cluster_ip(number)))
        with self._lock:
            every = self._pending[number]
            done = [(now - at) * 1e3 for change, at in every if change <= seen]
            left = [(change, at) for change, at in every if change > seen]
            if left:
                self._pending[number] = left
            else:
                del self._pending[number]
        return done


@contextmanager
def _beside_the_responder() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    to_its_processor()
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _end_abruptly(made: socket.socket) -> None:
    """A reset at the end: no port of ours waits for late packets."""
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

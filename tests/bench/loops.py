"""Loops of new connections: who asks what again and again, and which of them failed.

In: ways, each a function that makes one connection and says where it landed. Out: counts of what happened since a
moment. A loop makes its next connection a little after the last one has ended, so a lost packet counts as what it is
to a client: a long one.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from svclab.netns import Host

PAUSE = 0.004
"""Between two connections of a loop: some two hundred a second, and the processors stay free for the programs."""
PATIENCE = {socket.SOCK_STREAM: 10.0, socket.SOCK_DGRAM: 5.0}
"""Seconds until a connection has failed. A lost SYN is sent again after one; a lost datagram is lost, and of those that
nobody takes not each is answered: the kernel limits its refusals."""


@dataclass(frozen=True, slots=True)
class Way:
    """`target` gives the address and port of the next connection, and where it may land."""

    name: str
    host: Host
    target: Callable[[], tuple[str, int, Iterable[str]]]
    kind: socket.SocketKind = socket.SOCK_STREAM


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one way since a moment: connections, those that failed, and the longest time in seconds between two good ones.

    `first_failed` and `last_failed` are when the first and the last failed one began, in seconds since the moment; 0.0
    if none did. `wrong` is one of those that landed elsewhere.
    """

    tried: int
    failed: int
    gap: float
    first_failed: float
    last_failed: float
    wrong: str = ""


class Loop:
    """One way in a thread of its own, from `__enter__` to `__exit__`."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self._made: list[tuple[float, float, str | None]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=way.name)

    def __enter__(self) -> Loop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with self.way.host.entered():
            while not self._over.wait(PAUSE):
                address, port, allowed = self.way.target()
                began = time.monotonic()
                where = landed(address, port, self.way.kind)
                self._made.append((began, time.monotonic(), None if where in allowed else where))

    def seen(self, since: float) -> Seen:
        """What began after `since`, a moment of `time.monotonic`."""
        made = [each for each in self._made.copy() if each[0] >= since]
        failed = [(began, where) for began, _, where in made if where is not None]
        good = [since, *(ended for _, ended, where in made if where is None)]
        gap = max((later - sooner for sooner, later in zip(good, [*good[1:], time.monotonic()], strict=True)))
        first, last = (failed[each][0] - since if failed else 0.0 for each in (0, -1))
        return Seen(len(made), len(failed), gap, first, last, next((where for _, where in failed if where), ""))

    def good_since(self, moment: float, count: int) -> bool:
        """Whether the last `count` connections began after a moment, and all landed as they should."""
        made = self._made[-count:]
        return len(made) == count and made[0][0] >= moment and all(where is None for _, _, where in made)

    def forget(self) -> None:
        self._made.clear()


def landed(address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> str:
    """The address of the endpoint that answers a new connection or datagram; "" if none does."""
    with suppress(OSError), socket.socket(socket.AF_INET, kind) as made:
        made.settimeout(PATIENCE[kind])
        made.connect((address, port))
        if kind is socket.SOCK_DGRAM:
            made.send(b"?")
        else:  # a reset at the end: no port of ours waits for late packets
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return made.recv(64).decode()
    return ""

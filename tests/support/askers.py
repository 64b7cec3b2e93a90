"""Many askers of one server: sockets with ports of their own, which the kernel deals out to a server's processes.

In: an address, packets. Out: replies by asker, None where none came; the processes that work beside a server.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from support.resolvers import Address, datagrams
from svcdns.worker import NAME

MANY = 48  # that none of two processes gets any of them is as likely as a coin that falls the same way each time


class Askers:
    def __init__(self, sockets: list[socket.socket]) -> None:
        self.sockets = sockets

    def ask(self, packet: bytes, seconds: float = 10.0, wanted: int | None = None) -> list[bytes | None]:
        """Each asks; the replies that come within so long, or until as many as wanted have come."""
        found: list[bytes | None] = [None] * len(self.sockets)
        with selectors.DefaultSelector() as selector:
            for number, one in enumerate(self.sockets):
                selector.register(one, selectors.EVENT_READ, number)
                with suppress(BlockingIOError):
                    while one.recv(65535):
                        pass  # what came too late for an earlier question
                one.send(packet)
            left, deadline = len(found) if wanted is None else wanted, time.monotonic() + seconds
            while left > 0 and (patience := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(patience):
                    found[key.data] = self.sockets[key.data].recv(65535)
                    selector.unregister(key.fileobj)
                    left -= 1
        return found


@contextmanager
def askers(server: Address, count: int = MANY) -> Iterator[Askers]:
    with ExitStack() as stack:
        made = [stack.enter_context(datagrams(server)) for _ in range(count)]
        for one in made:
            one.setblocking(False)
        yield Askers(made)


def workers_of(pid: int) -> list[int]:
    """The processes that answer beside the server's own, the oldest first."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            children += map(int, (task / "children").read_text().split())
    return [child for child in sorted(children) if named(child) == NAME]


def named(pid: int) -> str:
    """The name of a process, "" if there is none that lives."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        return "" if f"({name}) Z" in Path(f"/proc/{pid}/stat").read_text() else name
    except OSError:
        return ""

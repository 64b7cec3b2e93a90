"""A worker: one more process that answers on the server's UDP ports, out of a cache of its own.

In: a socket to the server, over which it gets the ports' sockets, the replies to keep and what to forget of them
(`channel`). Out: replies; to the server go the questions that it has none for, and counts. It knows no cluster: what it
keeps is what the server would say, and the server answers the rest itself, from the same port. So that it stays small
it imports little, and neither event loop nor metrics.

It ends when the server's end of the socket does. Signals are the server's: a unit's or a terminal's go to all.
"""

from __future__ import annotations

import gc
import random
import select
import signal
import socket
import sys
from collections import defaultdict
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from struct import iter_unpack
from time import perf_counter

from svcdns.batch import SLOTS
from svcdns.bursts import BURSTS, LOOK_SECONDS, Front
from svcdns.channel import (
    ENOUGH,
    LARGEST,
    Answered,
    Asked,
    Close,
    Closed,
    Forget,
    Home,
    Keep,
    Message,
    Open,
    Taken,
    message_of,
    octets_of,
)
from svcdns.clients import Clients
from svcdns.histogram import DURATIONS, Histogram
from svcdns.wirecache import Shape, WireCache, kept_from

NAME = "svcplane-dns-w"
_ROOM_FOR_SOCKETS = socket.CMSG_SPACE(64 * 4)  # in one message
REPORT_SECONDS = 0.5  # after the first reply that is not told of yet
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class _Socket:
    """One socket of a port, what it has answered, and what it could not."""

    def __init__(self, sock: socket.socket, cache: WireCache, clients: Clients) -> None:
        self.socket = sock
        self.front = Front(sock, cache, clients, self._missed)
        self.missed: list[int] = []
        self._unseen, self._look_at = 0, 0.0
        self._renew()

    def _renew(self) -> None:
        self.shapes: defaultdict[Shape, int] = defaultdict(int)
        self._durations = Histogram(DURATIONS)
        self._looks: list[tuple[bytes, bytes, int]] = []

    def _missed(self, slot: int, source: bytes, is_stranger: bool) -> bytes:
        self.missed.append(slot)
        return b""

    def answer(self, count: int) -> None:
        """Answers what it can of a burst."""
        began = perf_counter()
        sources = self.front.batch.sources(count)
        self.missed.clear()
        hits = self.front.answer(count, sources, self.shapes)
        if not hits:
            return
        self._durations.note((perf_counter() - began) / count, hits)
        self._unseen += hits
        if began >= self._look_at:
            slot = next(slot for slot in range(count) if slot not in self.missed)
            start, size_at, _ = self.front.batch.places[slot]
            # The reply stands where its question stood, and begins with it.
            packet = self.front.batch.octets[start : start + self.front.batch.received[size_at]]
            self._looks.append((packet, sources[slot], self._unseen))
            self._unseen, self._look_at = 0, began + LOOK_SECONDS

    def report(self, port: int, number: int) -> Answered:
        """What was answered since the last report."""
        said = Answered(port, number, dict(self.shapes), self._durations.counts, self._durations.sum, self._looks)
        self._renew()
        return said


class _Port:
    def __init__(self, sockets: list[socket.socket], serial: bytes, clients: Clients) -> None:
        self.cache = WireCache()
        self.cache.forget((), serial)
        self.sockets = [_Socket(one, self.cache, clients) for one in sockets]


class Worker:
    """Works from `run` until the server is gone."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._poll = select.epoll()
        self._poll.register(channel, select.EPOLLIN)
        self._clients = Clients()
        self._ports: dict[int, _Port] = {}
        self._sockets: dict[int, tuple[int, int, _Socket]] = {}
        self._report_at = 0.0

    def run(self) -> None:
        """One turn for each time that something has come. ConnectionError when the server is gone."""
        channel = self._channel.fileno()
        while True:
            patience = max(self._report_at - perf_counter(), 0.0) if self._report_at else -1
            ready = [descriptor for descriptor, _ in self._poll.poll(patience)]
            if channel in ready:  # first, so that nothing is answered that is known to be outdated
                self._hear()
            for descriptor in ready:
                if descriptor in self._sockets:
                    self._drain(*self._sockets[descriptor])
            if self._report_at and perf_counter() >= self._report_at:
                self._report()

    def _drain(self, port: int, number: int, one: _Socket) -> None:
        batch = one.front.batch
        for _ in range(BURSTS):
            count = batch.receive()
            if count:
                one.answer(count)
                if one.missed:
                    self._ask(port, number, one)
                if not self._report_at and len(one.missed) < count:
                    self._report_at = perf_counter() + REPORT_SECONDS
            if count < SLOTS:
                return

    def _ask(self, port: int, number: int, one: _Socket) -> None:
        """Passes on what was missed. Where the server is too busy to take it, it is lost, as in a full socket."""
        packed, size = [], 0
        for slot in one.missed:
            packed.append(one.front.batch.packed(slot))
            size += len(packed[-1])
            if size > ENOUGH:
                self._try(Asked(port, number, b"".join(packed)))
                packed, size = [], 0
        if packed:
            self._try(Asked(port, number, b"".join(packed)))

    def _try(self, message: Message) -> None:
        with suppress(BlockingIOError):
            self._channel.send(octets_of(message), socket.MSG_DONTWAIT)

    def _tell(self, message: Message) -> None:
        """What must arrive. The server never waits for us, so it will."""
        self._channel.send(octets_of(message))

    def _report(self) -> None:
        self._report_at = 0.0
        for port, number, one in self._sockets.values():
            if one.shapes:
                self._tell(one.report(port, number))

    def _hear(self) -> None:
        while True:
            try:
                # Not `recv_fds`, which leaves its flags out.
                octets, control, _, _ = self._channel.recvmsg(LARGEST, _ROOM_FOR_SOCKETS, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not octets:
                raise ConnectionError("the server is gone")
            descriptors = [each for _, _, data in control for (each,) in iter_unpack("i", data)]
            self._do(message_of(octets), [socket.socket(fileno=one) for one in descriptors])

    def _do(self, message: Message, sockets: list[socket.socket]) -> None:
        match message:
            case Home(networks):
                self._clients = Clients(map(ip_network, networks))
            case Open(number, serial):
                port = self._ports[number] = _Port(sockets, serial, self._clients)
                for index, one in enumerate(port.sockets):
                    self._sockets[one.socket.fileno()] = number, index, one
                    self._poll.register(one.socket, select.EPOLLIN)
                self._tell(Taken(number))
            case Keep(number, replies):
                cache = self._ports[number].cache
                for question, parts in replies:
                    if cache.find(question) is None:
                        cache.keep(question, kept_from(parts, cache, random.shuffle))
            case Forget(number, services, serial):
                cache = self._ports[number].cache
                if services is None:
                    cache.clear()
                cache.forget(services or (), serial)
            case Close(number):
                self._close(number)

    def _close(self, number: int) -> None:
        for index, one in enumerate(self._ports.pop(number).sockets):
            del self._sockets[one.socket.fileno()]
            self._poll.unregister(one.socket)
            if one.shapes:
                self._tell(one.report(number, index))
            one.socket.close()
        self._tell(Closed(number))


def main() -> int:
    """`python -m svcdns.worker DESCRIPTOR`, as `workers` starts it."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        Path("/proc/self/comm").write_text(NAME)
    gc.freeze()
    with suppress(ConnectionError):
        Worker(socket.socket(fileno=int(sys.argv[1]))).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

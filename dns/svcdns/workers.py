"""The server's side of its workers: they are started and started again, get its ports, and what they cannot answer.

In: how many; the ports, each with a UDP socket for every worker beside the server's own, all bound with SO_REUSEPORT,
so that the kernel deals clients out to them. Out: one server to those who ask, one count to those who scrape. A socket
stays the server's, which reads it itself whenever no worker does: at the start, when the worker has died, and where
replies may not be kept, as with `log`. So a worker that dies costs the questions that it had taken in, at most SLOTS.

What a worker cannot answer comes here, is answered from the same port, and goes back to be kept if it may be; what a
change has made untrue goes the same way, one after the other. So a worker keeps nothing that is older than what it was
last told to forget. One that does not listen for so long that MOST_UNTOLD messages wait is ended.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count

from svcdns.channel import (
    ENOUGH,
    LARGEST,
    Answered,
    Asked,
    Close,
    Closed,
    Home,
    Keep,
    Message,
    Open,
    Taken,
    forgotten,
    message_of,
    octets_of,
)
from svcdns.clients import Network
from svcdns.datagrams import Datagrams
from svcdns.wirecache import Parts, WireCache, parts_of
from svckube.observe import fields

MOST_UNTOLD = 4096  # messages
TURNS = 8  # messages before other work gets its turn
BUFFER = 1 << 20  # octets on the way, each way
WELL_SECONDS = 10.0  # a worker that lives so long is started again at once when it dies
PAUSES = (0.0, 1.0, 5.0, 30.0)  # seconds before a start, after so many that did not live

_log = logging.getLogger(__name__)


class Port:
    """Sockets that have one cache. `sockets`: those of each worker."""

    def __init__(self, sockets: Sequence[Sequence[Datagrams]]) -> None:
        self.sockets = sockets
        self.cache: WireCache | None = None
        self.is_over = False


class _Line:
    """The connection to one worker, until `ended`."""

    def __init__(self, index: int, sock: socket.socket, home: Iterable[Network]) -> None:
        self._index, self._socket = index, sock
        self._loop = asyncio.get_running_loop()
        self._untold: deque[tuple[bytes, Sequence[Datagrams]]] = deque()
        self._count = count()
        self._ports: dict[int, Port] = {}
        self._numbers: dict[Port, int] = {}
        self.ended = asyncio.Event()
        self._loop.add_reader(sock, self._hear)
        self._tell(Home(list(map(str, home))))

    def open(self, port: Port) -> None:
        """Lends the port to the worker."""
        assert port.cache is not None  # noqa: S101 - the caller has seen to it
        number = self._numbers[port] = next(self._count)
        self._ports[number] = port
        self._tell(Open(number, port.cache.serial), port.sockets[self._index])

    def close(self, port: Port) -> None:
        """Takes it back."""
        number = self._numbers.pop(port, None)
        if number is not None:
            self._tell(Close(number))
            self._resume(port)

    def forget(self, port: Port, services: Collection[str] | None, serial: bytes) -> None:
        if port in self._numbers:
            said = forgotten(self._numbers[port], None if services is None else list(services), serial)
            self._tell(said)

    def end(self) -> None:
        """All ports are the server's own again."""
        if self.ended.is_set():
            return
        self.ended.set()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        for port in self._numbers:
            self._resume(port)

    def _resume(self, port: Port) -> None:
        for one in () if port.is_over else port.sockets[self._index]:
            one.listen()

    def _tell(self, message: Message, sockets: Sequence[Datagrams] = ()) -> None:
        if self.ended.is_set():
            return
        self._untold.append((octets_of(message), sockets))
        if len(self._untold) == 1:
            self._write()
        elif len(self._untold) > MOST_UNTOLD:
            _log.error("a worker does not listen", extra=fields(worker=self._index + 1))
            self.end()

    def _write(self) -> None:
        try:
            while self._untold:
                octets, sockets = self._untold[0]
                if sockets:
                    socket.send_fds(self._socket, [octets], [one.socket.fileno() for one in sockets])
                else:
                    self._socket.send(octets)
                self._untold.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._socket, self._write)
        except OSError:
            self.end()
        else:
            self._loop.remove_writer(self._socket)

    def _hear(self) -> None:
        for _ in range(TURNS):
            try:
                octets = self._socket.recv(LARGEST)
            except BlockingIOError:
                return
            except OSError:
                octets = b""
            if not octets:
                self.end()
                return
            self._do(message_of(octets))
            if self.ended.is_set():
                return

    def _do(self, message: Message) -> None:
        match message:
            case Asked(number, at, packed) if not self._ports[number].is_over:
                port = self._ports[number]
                questions = port.sockets[self._index][at].take(packed)
                # What may be kept is no duty: a line that is full is for what must be forgotten.
                if port.cache is not None and not self._untold and self._numbers.get(port) == number:
                    self._keep(number, port.cache, questions)
            case Answered(number, at):
                self._ports[number].sockets[self._index][at].note(message)
            case Taken(number):
                port = self._ports[number]
                for one in port.sockets[self._index] if self._numbers.get(port) == number else ():
                    one.stop()
            case Closed(number):
                del self._ports[number]

    def _keep(self, number: int, cache: WireCache, questions: Iterable[bytes]) -> None:
        replies: list[tuple[bytes, Parts]] = []
        size = 0
        for question in questions:
            if (kept := cache.fresh.get(question)) is not None:
                replies.append((question, parts_of(kept)))
                size += kept[1][2] + kept[1][3]
                if size > ENOUGH:
                    self._tell(Keep(number, replies))
                    replies, size = [], 0
        if replies:
            self._tell(Keep(number, replies))


class Workers:
    """So many of them from `start` to `close`; belongs to the running loop. `home`: networks at home (`clients`)."""

    def __init__(self, count: int, home: Iterable[Network] = ()) -> None:
        self.count, self._home = count, tuple(home)
        self._lines: dict[int, _Line] = {}
        self._followers: dict[Port, partial[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep(index)) for index in range(self.count)]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def share(self, port: Port, cache: WireCache | None) -> None:
        """The workers answer at this port from now on, with what is in this cache; without one they do not."""
        before, port.cache = port.cache, cache
        if before is cache:
            return
        if before is not None:
            before.unfollow(self._followers.pop(port))
        if cache is not None:
            follower = self._followers[port] = partial(self._forget, port)
            cache.follow(follower)
        for line in self._lines.values():
            if cache is None:
                line.close(port)
            elif before is None:
                line.open(port)
            else:
                line.forget(port, None, cache.serial)

    def withdraw(self, port: Port) -> None:
        """Nobody answers at this port any more."""
        port.is_over = True
        self.share(port, None)

    def _forget(self, port: Port, services: Collection[str] | None, serial: bytes) -> None:
        for line in self._lines.values():
            line.forget(port, services, serial)

    async def _keep(self, index: int) -> None:
        """One worker after the other."""
        loop, failed = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            reason = await self._one(index)
            failed = 0 if loop.time() - began > WELL_SECONDS else min(failed + 1, len(PAUSES) - 1)
            _log.error("a worker has ended", extra=fields(worker=index + 1, reason=reason, again_in=PAUSES[failed]))
            await asyncio.sleep(PAUSES[failed])

    async def _one(self, index: int) -> str:
        """A worker's life; why it has ended."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            for one in (ours, theirs):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            ours.setblocking(False)
            number = theirs.fileno()
            words = (sys.executable, "-P", "-m", "svcdns.worker", str(number))
            try:
                process = await asyncio.create_subprocess_exec(
                    *words, pass_fds=(number,), stdin=asyncio.subprocess.DEVNULL
                )
            except OSError as error:
                return str(error)
            theirs.close()
            line = self._lines[index] = _Line(index, ours, self._home)
            try:
                for port in self._followers:
                    line.open(port)
                await line.ended.wait()
            finally:
                del self._lines[index]
                line.end()
                with suppress(ProcessLookupError):
                    process.kill()
                status = await process.wait()
        return f"status {status}"

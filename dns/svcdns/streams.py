"""TCP connections: many questions on one, their replies in the order of the questions (RFC 7766).

In: octets as they come. Out: replies; those to questions that came together leave together. While a question waits for
an upstream the connection is not read further, so a client cannot have more under way than one for each connection.

Times are CoreDNS's: 3 seconds for the first question, 10 for each further one, 5 for a client to take what it was
told. There is a limit of connections, in all and for each client, and none may keep others out: where one is reached,
the connection that has been quiet for longest, of all or of the client's, is closed for the new one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator
from time import perf_counter
from typing import cast

from svcdns.clients import Clients
from svcdns.datagrams import Respond
from svcdns.records import packed
from svcdns.tally import Tally, Via
from svcdns.transfer import Whole
from svckube.observe import fields

FIRST_SECONDS, IDLE_SECONDS, WRITE_SECONDS = 3.0, 10.0, 5.0
MOST_SAID = 1 << 16  # octets of replies before we look whether the client takes them
MOST_CONNECTIONS = 768  # a process has 1024 files where nobody raised the limit
MOST_OF_CLIENT = 256  # a cache on a node asks for all of its pods

_log = logging.getLogger(__name__)


class Streams:
    """All connections of a server, those that spoke last at the end. `protocol` makes one for a new connection."""

    def __init__(
        self,
        respond: Respond,
        tally: Tally,
        clients: Clients,
        most: int = MOST_CONNECTIONS,
        most_of_client: int = MOST_OF_CLIENT,
        transfer: Whole | None = None,
    ) -> None:
        self.respond, self.tally, self.transfer, self.clients = respond, tally, transfer, clients
        self._most, self._most_of_client = most, most_of_client
        self._open: dict[Connection, None] = {}
        self._of_client: dict[bytes, dict[Connection, None]] = {}

    def protocol(self, via: Via) -> Connection:
        return Connection(self, via)

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: Connection) -> None:
        own = self._of_client.get(connection.client, {})
        if len(own) >= self._most_of_client:
            next(iter(own)).abort()
        if len(self._open) >= self._most:
            next(iter(self._open)).abort()
        self._open[connection] = None
        self._of_client.setdefault(connection.client, {})[connection] = None

    def spoke(self, connection: Connection) -> None:
        """Moves the connection to the end."""
        if self._open.pop(connection, connection) is None:
            self._open[connection] = None
            own = self._of_client[connection.client]
            del own[connection]
            own[connection] = None

    def closed(self, connection: Connection) -> None:
        if self._open.pop(connection, connection) is None:
            own = self._of_client[connection.client]
            del own[connection]
            if not own:
                del self._of_client[connection.client]

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The replies under way."""
        return [one.task for one in self._open if one.task is not None]

    def close(self) -> None:
        for connection in list(self._open):
            connection.abort()


class Connection(asyncio.Protocol):
    """One client's. `task` waits for an upstream, None while nothing does."""

    def __init__(self, streams: Streams, via: Via) -> None:
        self._streams, self._via = streams, via
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._patience = FIRST_SECONDS
        self._is_last = False
        self._writable = asyncio.Event()
        self._writable.set()
        self.client = b""
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.client = packed(self._peer().partition("%")[0]) or b""
        self._is_stranger = bool(self.client and self._streams.clients.strangers((self.client,)))
        self._quiet_since = self._loop.time()
        self._timer = self._loop.call_later(FIRST_SECONDS, self._look)
        self._stuck: asyncio.TimerHandle | None = None
        self._streams.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        self.resume_writing()
        if self.task is not None:
            self.task.cancel()
        self._streams.closed(self)

    def abort(self) -> None:
        """Ends it, whatever is still to be sent."""
        self._transport.abort()
        self._streams.closed(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self.task is None:
            self._answer()

    def eof_received(self) -> bool:
        """A client that is done asking gets its answers before we close, too."""
        self._is_last = True
        return self.task is not None

    def pause_writing(self) -> None:
        self._transport.pause_reading()
        self._writable.clear()
        self._stuck = self._loop.call_later(WRITE_SECONDS, self.abort)

    def resume_writing(self) -> None:
        self._writable.set()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
            if self.task is None and not self._transport.is_closing():
                self._transport.resume_reading()
                self._loop.call_soon(self._answer)

    def _answer(self) -> None:
        """Replies to the whole questions in the buffer, up to one that an upstream has to be asked for."""
        at, said = 0, bytearray()
        try:
            while self.task is None and self._stuck is None and len(self._buffer) >= at + 2:
                end = at + 2 + int.from_bytes(self._buffer[at : at + 2])
                if len(self._buffer) < end:
                    break
                packet = bytes(self._buffer[at + 2 : end])
                if self._via.wants_peer:
                    self._via.peer = self._transport.get_extra_info("peername")[:2]
                self._via.client, self._via.is_stranger = self.client, self._is_stranger
                self._streams.tally.traffic.note(packet, self.client, 1, perf_counter())
                at = end
                if self._streams.transfer and (zone := self._streams.transfer(packet, self._peer())) is not None:
                    self._transport.pause_reading()
                    self.task = self._loop.create_task(self._whole(zone))
                    continue
                reply = self._streams.respond(packet, self._via)
                if isinstance(reply, bytes):
                    said += len(reply).to_bytes(2) + reply
                elif reply is not None:
                    self._transport.pause_reading()
                    self.task = self._loop.create_task(self._finish(reply))
                if len(said) > MOST_SAID:
                    self._transport.write(said)
                    said = bytearray()
        except Exception:
            self._failed()
            return
        if at:
            del self._buffer[:at]
            self._spoke()
        if said:
            self._transport.write(said)

    async def _finish(self, reply: Awaitable[bytes]) -> None:
        try:
            said = await reply
        except Exception:
            self._failed()
            return
        finally:
            self.task = None
        self._transport.write(len(said).to_bytes(2) + said)
        self._go_on()

    def _go_on(self) -> None:
        """After a reply that took its time: with what came meanwhile."""
        self._spoke()
        if self._stuck is None and not self._transport.is_closing():
            self._transport.resume_reading()
        self._answer()
        if self._is_last and self.task is None:
            self._transport.close()

    async def _whole(self, zone: Iterator[bytes]) -> None:
        """Sends message after message, as fast as the client reads, and lets others have their turns between."""
        try:
            for message in zone:
                self._transport.write(len(message).to_bytes(2) + message)
                await asyncio.sleep(0)
                await self._writable.wait()
        except Exception:
            self._failed()
            return
        finally:
            self.task = None
        self._go_on()

    def _peer(self) -> str:
        name: tuple[str, int] | None = self._transport.get_extra_info("peername")
        return name[0] if name else ""  # the client may have gone before it was accepted

    def _spoke(self) -> None:
        self._patience = IDLE_SECONDS
        self._quiet_since = self._loop.time()
        self._streams.spoke(self)

    def _look(self) -> None:
        """Whether the client has been quiet for too long. One timer for each connection, not one for each question."""
        left = self._quiet_since + self._patience - self._loop.time()
        if left > 0 or self.task is not None:
            self._timer = self._loop.call_later(max(left, 1.0), self._look)
        else:
            self._transport.close()

    def _failed(self) -> None:
        self._streams.tally.failures += 1
        _log.exception("query failed", extra=fields(server=self._via.server, proto=self._via.proto))
        self.abort()

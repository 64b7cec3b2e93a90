"""One UDP socket in the loop: bursts of questions in, their replies out, and the replies that wait for an upstream.

In: a bound socket, the cache, and the function that answers what is not in it. Out: replies from the address that was
asked. One bad packet, one client gone, one full buffer costs that one reply.

What is in the cache is answered here, between two system calls and without a call in between, because that is most
questions; counting is one addition for each, and one clock for all of a burst.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from time import perf_counter
from typing import TypeAlias

from svcdns.batch import ROOM, SLOTS, Batch, Control, Peer
from svcdns.clients import Guard
from svcdns.tally import Tally, Via
from svcdns.wirecache import WireCache
from svckube.observe import fields

BURSTS = 4  # batches before other work gets its turn
LOOK_SECONDS = 0.001  # for the questions of so long one stands in the list of the busiest

Respond: TypeAlias = Callable[[bytes, Via], bytes | Awaitable[bytes] | None]

_log = logging.getLogger(__name__)


class Datagrams:
    """Answers on `socket` from when it is made until `stop`; `tasks` are the replies under way."""

    def __init__(
        self, sock: socket.socket, respond: Respond, cache: WireCache, tally: Tally, via: Via, guard: Guard
    ) -> None:
        self.socket, self._respond, self._cache, self._tally, self._via = sock, respond, cache, tally, via
        self._guard = guard
        self._unseen, self._look_at = 0, 0.0
        self._loop = asyncio.get_running_loop()
        self.tasks: set[asyncio.Task[None]] = set()
        self._batch = Batch(sock, ip_address(sock.getsockname()[0].partition("%")[0]).is_unspecified)
        self._loop.add_reader(sock, self._drain)

    def use(self, cache: WireCache) -> None:
        """Looks questions up in this cache from now on."""
        self._cache = cache

    def stop(self) -> None:
        """Takes no more questions."""
        self._loop.remove_reader(self.socket)

    def close(self) -> None:
        self.socket.close()

    def _drain(self) -> None:
        for _ in range(BURSTS):
            count = self._batch.receive()
            if count:
                self._answer(count)
            if count < SLOTS:
                return

    def _answer(self, count: int) -> None:
        batch, cache, counts = self._batch, self._cache, self._tally.shapes(self._via)
        octets, received, lengths = batch.octets, batch.received, batch.lengths
        began, hits, first = perf_counter(), 0, 0
        sources = batch.sources(count)
        strangers = self._guard.clients.strangers(sources)
        self._unseen += count
        if began >= self._look_at:
            self._look(count, sources, began)
        kept_for = cache.fresh.get
        for slot, (start, size_at, length_at) in enumerate(batch.places[:count]):
            end = start + received[size_at]
            kept = kept_for(octets[start + 2 : end])
            if kept is not None and not strangers:
                reply, shape, _ = kept
                if not isinstance(reply, bytes):
                    reply = reply.octets()
                size = len(reply)
                octets[start + 2 : start + 2 + size] = reply
                lengths[length_at] = size + 2
                counts[shape] += 1
                hits += 1
                continue
            source = sources[slot]
            self._via.client, self._via.is_stranger = source, source in strangers
            said = self._said(octets[start:end], slot)
            kept_for = cache.fresh.get  # which may be another one by now
            if said:
                octets[start : start + len(said)] = said
                lengths[length_at] = len(said)
            else:
                batch.send(first, slot)
                first = slot + 1
        batch.send(first, count)
        if hits:
            self._tally.burst(self._via, hits, (perf_counter() - began) / count)

    def _look(self, count: int, sources: Sequence[bytes], now: float) -> None:
        """Notes one of the questions in the batch, for all that came since the last one that was noted."""
        slot = self._unseen % count
        start, size_at, _ = self._batch.places[slot]
        packet = self._batch.octets[start : start + self._batch.received[size_at]]
        self._tally.traffic.note(packet, sources[slot], self._unseen, now)
        self._unseen, self._look_at = 0, now + LOOK_SECONDS

    def _said(self, packet: bytes, slot: int) -> bytes:
        """The reply that goes out with the batch; nothing if there is none, or it comes later, or is too large."""
        if self._via.wants_peer:
            self._via.peer = self._batch.sender(slot)[0][:2]
        try:
            reply = self._respond(packet, self._via)
        except Exception:
            self._failed()
            return b""
        stranger = self._via.client if self._via.is_stranger else None
        if isinstance(reply, bytes):
            if stranger is not None:
                reply = self._limited(reply, stranger)
            if len(reply) <= ROOM:
                return reply
            self._send(reply, *self._batch.sender(slot))
        elif reply is not None:
            task = self._loop.create_task(self._finish(reply, stranger, *self._batch.sender(slot)))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        return b""

    async def _finish(self, reply: Awaitable[bytes], stranger: bytes | None, peer: Peer, control: Control) -> None:
        try:
            said = await reply
            if stranger is not None:
                said = self._limited(said, stranger)
            if said:
                self._send(said, peer, control)
        except Exception:
            self._failed()

    def _limited(self, reply: bytes, stranger: bytes) -> bytes:
        """What of a reply a stranger gets who may be somebody else."""
        passed = self._guard.limiter.passed(reply, stranger, perf_counter())
        if passed is not reply:
            self._tally.count("rrl_responses_exceeded", self._via.server)
        return passed

    def _send(self, reply: bytes, peer: Peer, control: Control) -> None:
        # The client cannot be reached, or the kernel's buffer is full: it will ask again.
        with suppress(OSError):
            self.socket.sendmsg([reply], control, 0, peer)

    def _failed(self) -> None:
        self._tally.failures += 1
        _log.exception("query failed", extra=fields(server=self._via.server, proto=self._via.proto))

"""One UDP socket in the loop: bursts of questions in, their replies out, and the replies that wait for an upstream.

In: a bound socket, the cache, and the function that answers what is not in it. Out: replies from the address that was
asked. One bad packet, one client gone, one full buffer costs that one reply. A burst may also come from a worker, which
has answered the rest of it (`workers`). Counting is one clock for all of a burst.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import TypeAlias

from svcdns.batch import ROOM, SLOTS, Control, Peer
from svcdns.bursts import BURSTS, LOOK_SECONDS, Front
from svcdns.channel import Answered
from svcdns.clients import Guard
from svcdns.tally import Tally, Via
from svcdns.wirecache import WireCache
from svckube.observe import fields

Respond: TypeAlias = Callable[[bytes, Via], bytes | Awaitable[bytes] | None]

_log = logging.getLogger(__name__)


class Datagrams:
    """Answers on `socket` from `listen` until `stop`; `tasks` are the replies under way."""

    def __init__(
        self, sock: socket.socket, respond: Respond, cache: WireCache, tally: Tally, via: Via, guard: Guard
    ) -> None:
        self.socket, self._respond, self._tally, self._via = sock, respond, tally, via
        self._guard = guard
        self._unseen, self._look_at = 0, 0.0
        self._loop = asyncio.get_running_loop()
        self.tasks: set[asyncio.Task[None]] = set()
        self._front = Front(sock, cache, guard.clients, self._said)
        self._batch = self._front.batch

    def use(self, cache: WireCache) -> None:
        """Looks questions up in this cache from now on."""
        self._front.cache = cache

    def listen(self) -> None:
        """Takes questions."""
        self._loop.add_reader(self.socket, self._drain)

    def stop(self) -> None:
        """Takes no more questions."""
        self._loop.remove_reader(self.socket)

    def close(self) -> None:
        self.socket.close()

    def take(self, packed: bytes) -> list[bytes]:
        """Answers what a worker has no replies to (`Batch.packed`); these questions, without their ID."""
        batch = self._batch
        count = batch.load(packed)
        places = [(start, start + batch.received[size_at]) for start, size_at, _ in batch.places[:count]]
        questions = [batch.octets[start + 2 : end] for start, end in places]
        self._answer(count)
        return questions

    def note(self, answered: Answered) -> None:
        """Counts what a worker has answered."""
        self._tally.elsewhere(self._via, answered.shapes, answered.durations, answered.seconds)
        now = perf_counter()
        for packet, source, weight in answered.looks:
            self._tally.traffic.note(packet, source, weight, now)

    def _drain(self) -> None:
        for _ in range(BURSTS):
            count = self._batch.receive()
            if count:
                self._answer(count)
            if count < SLOTS:
                return

    def _answer(self, count: int) -> None:
        began = perf_counter()
        sources = self._batch.sources(count)
        self._unseen += count
        if began >= self._look_at:
            self._look(count, sources, began)
        hits = self._front.answer(count, sources, self._tally.shapes(self._via))
        if hits:
            self._tally.burst(self._via, hits, (perf_counter() - began) / count)

    def _look(self, count: int, sources: Sequence[bytes], now: float) -> None:
        """Notes one of the questions in the batch, for all that came since the last one that was noted."""
        slot = self._unseen % count
        start, size_at, _ = self._batch.places[slot]
        packet = self._batch.octets[start : start + self._batch.received[size_at]]
        self._tally.traffic.note(packet, sources[slot], self._unseen, now)
        self._unseen, self._look_at = 0, now + LOOK_SECONDS

    def _said(self, slot: int, source: bytes, is_stranger: bool) -> bytes:
        """The reply that goes out with the batch; nothing if there is none, or it comes later, or is too large."""
        self._via.client, self._via.is_stranger = source, is_stranger
        start, size_at, _ = self._batch.places[slot]
        packet = self._batch.octets[start : start + self._batch.received[size_at]]
        if self._via.wants_peer:
            self._via.peer = self._batch.sender(slot)[0][:2]
        try:
            reply = self._respond(packet, self._via)
        except Exception:
            self._failed()
            return b""
        stranger = source if is_stranger else None
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

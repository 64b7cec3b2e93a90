"""What is not the cluster's: from the cache, or from another resolver and into the cache.

In: a query that our own names do not answer. Out: the octets of the reply, at once where the cache has it, else an
awaitable of them; None if no upstream takes such a name. Failures of upstreams are replies: SERVFAIL when nobody
answers, REFUSED when too many are asked already, or what the cache still has where it may serve what is stale.

Equal questions that are under way share one exchange. What goes out again, and what is kept, is not what came in, but
what of it is about the question (`foreign`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from svcdns import foreign, wire
from svcdns.answer import Question, Reply
from svcdns.cache import KINDS, Kept, Key, Replies, with_ttl
from svcdns.foreign import AA, AD, CD, RA, RD, Foreign, Z
from svcdns.forward import BusyError, Forwarder, NoAnswerError, Places
from svcdns.records import AXFR, IXFR, NOERROR, NXDOMAIN, REFUSED, SERVFAIL, Name, text_of
from svcdns.tally import Via

MOST_WAITING = 20000  # queries that wait for an upstream, in all
_TC = 0x02  # in the first octet of the flags
_FAILURES = (NoAnswerError, BusyError, wire.BadMessageError)

Shuffled = Callable[[Reply], Reply]
Trouble = Callable[[Question, int, Exception], None]


class Meter(Protocol):
    def count(self, family: str, *labels: str) -> None: ...
    def set(self, family: str, value: float, *labels: str) -> None: ...


class Beyond:
    """The way out of one server block. Belongs to the event loop it is used in, until `close`.

    `trouble` is told of each query that failed, with the reply code that it got. `clock` is monotonic.
    """

    def __init__(
        self,
        replies: Replies | None,
        forwarders: Sequence[Forwarder],
        meter: Meter,
        *,
        shuffled: Shuffled = lambda reply: reply,
        trouble: Trouble = lambda question, rcode, error: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.shuffled = shuffled
        self.trouble = trouble
        self._replies = replies
        self._forwarders = list(forwarders)
        self._meter = meter
        self._clock = clock
        self._zones = ",".join(map(text_of, replies.options.zones)) if replies is not None else ""
        self._under_way: dict[object, asyncio.Task[Foreign]] = {}
        self._refreshing: set[asyncio.Task[None]] = set()
        self._waiting = Places(MOST_WAITING)

    def ask(self, query: wire.Query, via: Via) -> bytes | Awaitable[bytes] | None:
        """The reply to a query, fit for its client."""
        question = query.question
        forwarder = self._taker(question.lower)
        replies = self._replies
        if query.klass != wire.IN or query.flags & 0x7800 or question.type in (AXFR, IXFR):
            return None if forwarder is None else self._relayed(forwarder, query, via, via.client)
        if replies is None or not replies.covers(question.lower):
            return None if forwarder is None else self._fresh(forwarder, None, query, via, via.client)
        key = Key(
            question.lower, question.type, query.edns is not None and query.edns.dnssec_ok, bool(query.flags & 0x10)
        )
        now = self._clock()
        kept = replies.find(key, now)
        if forwarder is None and kept is None:
            return None
        self._meter.count("cache_requests", via.server, self._zones, "")
        if kept is None or forwarder is None:
            self._meter.count("cache_misses", via.server, self._zones, "")
            return None if forwarder is None else self._fresh(forwarder, key, query, via, via.client)
        if kept.left(now) <= 0 and replies.options.verify:
            return self._verified(forwarder, key, kept, query, via, via.client)
        return self._hit(forwarder, key, kept, query, via, now)

    async def close(self, patience: float = 0.0) -> None:
        """Ends what is under way, after so many seconds at most; whoever still waits for it then gets SERVFAIL."""
        if patience and self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=patience)
        tasks = [*self._under_way.values(), *self._refreshing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for forwarder in self._forwarders:
            forwarder.close()

    def _taker(self, name: Name) -> Forwarder | None:
        return next((one for one in self._forwarders if one.takes(name)), None)

    def _hit(self, forwarder: Forwarder, key: Key, kept: Kept, query: wire.Query, via: Via, now: float) -> bytes:
        assert self._replies is not None  # noqa: S101 - what was kept was kept by it
        left = kept.left(now)
        if left > 0:
            self._meter.count("cache_hits", via.server, kept.kind, self._zones, "")
            if self._replies.wants_prefetch(kept, now):
                self._meter.count("cache_prefetch", via.server, self._zones, "")
                self._refresh(forwarder, key, kept, query, via)
            ttl = kept.ttl if self._replies.options.keep_ttl else kept.ttl - int(now - kept.since)
        else:
            self._meter.count("cache_served_stale", via.server, self._zones, "")
            self._refresh(forwarder, key, kept, query, via)
            ttl = self._replies.options.stale_ttl
        return self._from_cache(kept, ttl, query, via)

    def _from_cache(self, kept: Kept, ttl: int, query: wire.Query, via: Via) -> bytes:
        asked, last, written = kept.written
        if last == ttl and via.proto == "udp" and asked == query.packet[2:]:
            return query.packet[:2] + written
        reply = with_ttl(kept.foreign.reply, ttl)
        said = self._written(query, reply, kept.foreign, via)
        if via.proto == "udp" and self.shuffled(reply) is reply:
            kept.written = query.packet[2:], ttl, said[2:]
        return said

    def _written(self, query: wire.Query, reply: Reply, said: Foreign, via: Via, *, is_relayed: bool = False) -> bytes:
        """The octets for this client, with the flags of the cache's entry, or those that came just now."""
        limit = query.limit(via.proto)
        packet = wire.write(query, self.shuffled(reply), limit)
        flags = int.from_bytes(packet[2:4]) | said.flags & RA
        if query.flags & AD or (query.edns is not None and query.edns.dnssec_ok):
            flags |= said.flags & AD
        if is_relayed:
            flags = flags & ~(AA | RD | CD) | said.flags & (AA | RD | CD | Z)
        return packet[:2] + flags.to_bytes(2) + packet[4:]

    def _refresh(self, forwarder: Forwarder, key: Key, kept: Kept, query: wire.Query, via: Via) -> None:
        if kept.refreshing:
            return
        kept.refreshing = True
        client = via.client

        async def fetch() -> None:
            try:
                await self._shared(forwarder, key, query, via, client)
            except _FAILURES as error:
                self.trouble(query.question, SERVFAIL, error)
            finally:
                kept.refreshing = False

        task = asyncio.create_task(fetch())
        self._refreshing.add(task)
        task.add_done_callback(self._refreshing.discard)

    async def _verified(
        self, forwarder: Forwarder, key: Key, kept: Kept, query: wire.Query, via: Via, client: bytes
    ) -> bytes:
        """Upstream's word if it comes in time, else what is stale."""
        assert self._replies is not None  # noqa: S101 - what was kept was kept by it
        seconds = self._replies.options.verify_seconds or None
        try:
            async with asyncio.timeout(seconds):
                found = await self._shared(forwarder, key, query, via, client)
            if found.reply.rcode in (NOERROR, NXDOMAIN):
                return self._passed_on(found, key, query, via)
        except (*_FAILURES, TimeoutError) as error:
            self.trouble(query.question, NOERROR, error)
        self._meter.count("cache_served_stale", via.server, self._zones, "")
        return self._from_cache(kept, self._replies.options.stale_ttl, query, via)

    async def _fresh(self, forwarder: Forwarder, key: Key | None, query: wire.Query, via: Via, client: bytes) -> bytes:
        try:
            with self._waiting.taken(client):
                found = await self._shared(forwarder, key, query, via, client)
        except _FAILURES as error:
            return self._refusal(query, REFUSED if isinstance(error, BusyError) else SERVFAIL, error, via)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            return self._refusal(query, SERVFAIL, NoAnswerError("the configuration was changed"), via)
        return self._passed_on(found, key, query, via)

    def _passed_on(self, found: Foreign, key: Key | None, query: wire.Query, via: Via) -> bytes:
        """What came from upstream a moment ago, with the TTL that the cache gives it if it went there."""
        reply = found.reply
        if key is not None and self._replies is not None:
            reply = with_ttl(reply, self._replies.ttl_of(query.question, found))
        return self._written(query, reply, found, via, is_relayed=True)

    async def _shared(
        self, forwarder: Forwarder, key: Key | None, query: wire.Query, via: Via, client: bytes
    ) -> Foreign:
        """One exchange for all that ask the same at the same time in the same way."""
        edns = query.edns
        same = (
            query.question.lower,
            query.question.type,
            query.flags & 0x0130,
            None if edns is None else (edns.size, edns.dnssec_ok),
            via.proto,
        )
        task = self._under_way.get(same)
        if task is None:
            task = asyncio.create_task(self._exchanged(forwarder, key, query, via, client))
            self._under_way[same] = task

            def done(ended: asyncio.Task[Foreign]) -> None:
                self._under_way.pop(same, None)
                if not ended.cancelled():
                    ended.exception()  # somebody may have stopped waiting

            task.add_done_callback(done)
        return await asyncio.shield(task)

    async def _exchanged(
        self, forwarder: Forwarder, key: Key | None, query: wire.Query, via: Via, client: bytes
    ) -> Foreign:
        request = foreign.request(query, key is not None)
        packet = await forwarder.exchange(request, tcp=via.proto == "tcp", client=client)
        found = foreign.read(packet, query.question)
        if key is not None and self._replies is not None:
            self._replies.keep(key, query.question, found, self._clock())
            for kind in KINDS:
                self._meter.set("cache_entries", self._replies.size(kind), via.server, kind, self._zones, "")
                if evicted := self._replies.evicted(kind):
                    self._meter.set("cache_evictions", evicted, via.server, kind, self._zones, "")
        return found

    async def _relayed(self, forwarder: Forwarder, query: wire.Query, via: Via, client: bytes) -> bytes:
        """What is not of class IN, or no plain query: the upstream's octets, nothing kept."""
        try:
            packet = await forwarder.exchange(query.packet, tcp=via.proto == "tcp", client=client)
        except _FAILURES as error:
            return self._refusal(query, REFUSED if isinstance(error, BusyError) else SERVFAIL, error, via)
        limit = query.limit(via.proto)
        if len(packet) <= limit:
            return packet
        empty = wire.write(query, Reply(packet[3] & 0xF, "too long", authoritative=False), limit)
        return empty[:2] + bytes((empty[2] | _TC,)) + empty[3:]

    def _refusal(self, query: wire.Query, rcode: int, error: Exception, via: Via) -> bytes:
        self.trouble(query.question, rcode, error)
        limit = query.limit(via.proto)
        return wire.write(query, Reply(rcode, str(error), authoritative=False), limit)

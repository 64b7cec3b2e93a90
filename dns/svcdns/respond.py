"""From a client's message to the reply, through the cluster's names or an upstream.

In: the octets of one message and how it came. Out: the octets of the reply; None for silence; or an awaitable of the
reply where an upstream has to be asked, so that what we know ourselves never passes through a task. Failures of
upstreams are replies (SERVFAIL, REFUSED), never exceptions. The order of addresses is shuffled here, so that clients
spread.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Protocol, TypeAlias

import msgspec

from svcdns import wire
from svcdns.answer import Chase, Elsewhere, Question, Reply, Zones, answer
from svcdns.forward import BusyError, Forwarder, NoAnswerError
from svcdns.index import Index
from svcdns.names import labels_above
from svcdns.records import AAAA, REFUSED, SERVFAIL, SOA, A, Record, text_of
from svcdns.tally import Tally, Via
from svcdns.wirecache import Dated, Kept, Turning, WireCache
from svckube.observe import fields

Shuffle: TypeAlias = Callable[[list[Any]], None]

_log = logging.getLogger(__name__)


class Knowledge(Protocol):
    @property
    def index(self) -> Index: ...
    @property
    def synced(self) -> bool: ...


class Responder:
    """Answers with what `cluster` knows at that moment. `shuffle` works in place; None keeps the order.

    `cache` is filled here, with what depends on the cluster alone; who changes the cluster has to empty it.
    """

    def __init__(
        self,
        cluster: Knowledge,
        zones: Zones,
        tally: Tally,
        forwarder: Forwarder | None,
        shuffle: Shuffle | None,
        cache: WireCache,
    ) -> None:
        self._cluster = cluster
        self._zones = zones
        self._tally = tally
        self._forwarder = forwarder
        self._shuffle = shuffle
        self._cache = cache

    def respond(self, packet: bytes, via: Via) -> bytes | Awaitable[bytes] | None:
        """The reply to one message, complete with its length limit, without the length prefix of TCP."""
        began = perf_counter()
        kept = self._cache.find(packet[2:])
        if kept is not None:
            return self._again(packet, kept, via, began)
        query = wire.read(packet)
        if not isinstance(query, wire.Query):
            self._tally.dropped(via)
            return query
        question = query.question
        if query.klass == wire.IN:
            outcome = answer(question, self._cluster.index, self._zones, self._cluster.synced)
        else:
            outcome = self._of_another_class(question)
        if isinstance(outcome, Reply):
            said = self._written(query, outcome, via)
            self._tally.reply(via, question.type, outcome.rcode, len(packet), len(said), perf_counter() - began)
            if (
                outcome.service is not None
                and via.proto == "udp"
                and query.is_common
                and self._cache.is_wanted(packet[2:])
            ):
                self._keep(query, outcome, outcome.service, said)
            return said
        return self._from_upstream(query, outcome, via, began)

    def _again(self, packet: bytes, kept: Kept, via: Via, began: float) -> bytes:
        reply, shape, _ = kept
        self._tally.shapes(via)[shape] += 1
        self._tally.burst(via, 1, perf_counter() - began)
        return packet[:2] + (reply if isinstance(reply, bytes) else reply.octets())

    def _keep(self, query: wire.Query, reply: Reply, service: str, said: bytes) -> None:
        """Keeps what is whole and small. What is compressed cannot be taken apart, and what is large is rare."""
        if len(said) > wire.ONE_PACKET or wire.is_truncated(said):
            return
        kept: bytes | Turning | Dated = said[2:]
        if any(record.type == SOA for record in (*reply.answer, *reply.authority)):
            kept = Dated(*wire.around_serial(query, said), self._cache)
        elif self._shuffle is not None:
            pieces = wire.pieces(query, reply, said)
            if pieces is None:
                return
            if len(pieces[1]) > 1:
                kept = Turning(*pieces, self._shuffle)
        shape = (query.question.type, reply.rcode, len(query.packet), len(said))
        self._cache.keep(query.packet[2:], (kept, shape, service))

    def _of_another_class(self, question: Question) -> Reply | Elsewhere:
        if any(labels_above(question.lower, zone) is not None for zone in self._zones.all):
            return Reply(REFUSED, "the cluster has names of class IN only", authoritative=False)
        return Elsewhere("of another class")

    def _written(self, query: wire.Query, reply: Reply, via: Via) -> bytes:
        if self._shuffle is not None and (len(reply.answer) > 1 or len(reply.additional) > 1):
            reply = msgspec.structs.replace(
                reply,
                answer=_shuffled(reply.answer, self._shuffle),
                additional=_shuffled(reply.additional, self._shuffle),
            )
        return wire.write(query, reply, wire.TCP_LIMIT if via.proto == "tcp" else query.udp_limit)

    async def _from_upstream(self, query: wire.Query, outcome: Chase | Elsewhere, via: Via, began: float) -> bytes:
        if isinstance(outcome, Chase):
            said = self._written(query, await self._chased(query, outcome, via), via)
        else:
            said = await self._relayed(query, via)
        self._tally.reply(via, query.question.type, said[3] & 0xF, len(query.packet), len(said), perf_counter() - began)
        return said

    async def _relayed(self, query: wire.Query, via: Via) -> bytes:
        if self._forwarder is None:
            refusal = Reply(REFUSED, "outside the zones served, and there is no upstream", authoritative=False)
            return self._written(query, refusal, via)
        try:
            return await self._forwarder.exchange(query.packet, tcp=via.proto == "tcp")
        except BusyError:
            self._tally.rejected += 1
            return self._written(query, Reply(REFUSED, "too many forwarded queries", authoritative=False), via)
        except NoAnswerError as error:
            _log.debug("no answer", extra=fields(name=text_of(query.question.name), reason=error))
            return self._written(query, Reply(SERVFAIL, "no upstream answers", authoritative=False), via)

    async def _chased(self, query: wire.Query, chase: Chase, via: Via) -> Reply:
        """The reply with what its last CNAME leads to, or as it stands if that cannot be had, as in CoreDNS."""
        reply = chase.reply
        if self._forwarder is None:
            return reply
        request = wire.request(query, query.id, chase.target)
        try:
            found = await self._forwarder.exchange(request, tcp=via.proto == "tcp")
            records = wire.answer_records(found)
        except (BusyError, NoAnswerError, wire.BadMessageError) as error:
            _log.debug("alias not followed", extra=fields(target=text_of(chase.target), reason=error))
            return reply
        return msgspec.structs.replace(reply, answer=reply.answer + records, truncated=wire.is_truncated(found))


def _shuffled(records: tuple[Record, ...], shuffle: Shuffle) -> tuple[Record, ...]:
    """The addresses in another order, after all else, as CoreDNS's `loadbalance` has them."""
    addresses = [record for record in records if record.type in (A, AAAA)]
    if len(addresses) < 2:
        return records
    shuffle(addresses)
    return (*(record for record in records if record.type not in (A, AAAA)), *addresses)

"""From a client's message to the reply, through the cluster's names or an upstream.

In: the octets of one message and how it came. Out: the octets of the reply; None for silence; or an awaitable of the
reply where an upstream has to be asked, so that what we know ourselves never passes through a task. Failures of
upstreams are replies (SERVFAIL, REFUSED), never exceptions. The order of addresses is shuffled here, so that clients
spread.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from time import perf_counter
from typing import Any, Protocol, TypeAlias

import msgspec

from svcdns import wire
from svcdns.answer import LONGEST_CHAIN, Chase, Elsewhere, Question, Reply, Zones, answer
from svcdns.beyond import Beyond
from svcdns.index import Index
from svcdns.names import labels_above
from svcdns.records import AAAA, NOERROR, REFUSED, SOA, A, Record, text_of
from svcdns.tally import Tally, Via
from svcdns.wirecache import Dated, Kept, Turning, WireCache
from svckube.observe import fields

Shuffle: TypeAlias = Callable[[list[Any]], None]
Respond: TypeAlias = Callable[[bytes, Via], bytes | Awaitable[bytes] | None]

_chases: ContextVar[int] = ContextVar("chases", default=0)
"""How many CNAMEs this query has been chased through already: two server blocks may point at each other."""

_log = logging.getLogger(__name__)


class Knowledge(Protocol):
    @property
    def index(self) -> Index: ...
    @property
    def synced(self) -> bool: ...


class Responder:
    """Answers with what `cluster` knows at that moment. `shuffle` works in place; None keeps the order.

    `cache` is filled here, with what depends on the cluster alone; who changes the cluster has to empty it. `again`
    answers what a CNAME leads to. Without `keeps_denials` it holds only what is so for every client.
    """

    def __init__(
        self,
        cluster: Knowledge,
        zones: Zones,
        tally: Tally,
        beyond: Beyond | None,
        shuffle: Shuffle | None,
        cache: WireCache,
        *,
        keeps_denials: bool = True,
    ) -> None:
        self._cluster = cluster
        self._zones = zones
        self._tally = tally
        self._beyond = beyond
        self._shuffle = shuffle
        self.cache = cache
        self._keeps_denials = keeps_denials
        self.again: Respond = self.respond

    def respond(self, packet: bytes, via: Via) -> bytes | Awaitable[bytes] | None:
        """The reply to one message, complete with its length limit, without the length prefix of TCP."""
        began = perf_counter()
        kept = self.cache.find(packet[2:])
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
            said = self.written(query, outcome, via)
            self._tally.reply(via, question.type, outcome.rcode, len(packet), len(said), perf_counter() - began)
            if (
                outcome.service is not None
                and via.proto == "udp"
                and query.is_common
                and (self._keeps_denials or outcome.rcode == NOERROR)
                and self.cache.is_wanted(packet[2:])
            ):
                self._keep(query, outcome, outcome.service, said)
            return said
        if isinstance(outcome, Chase):
            return self._later(query, self._chased(query, outcome, via, via.client, via.is_stranger), via, began)
        return self._from_beyond(query, via, began)

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
            kept = Dated(*wire.around_serial(query, said), self.cache)
        elif self._shuffle is not None:
            pieces = wire.pieces(query, reply, said)
            if pieces is None:
                return
            if len(pieces[1]) > 1:
                kept = Turning(*pieces, self._shuffle)
        shape = (query.question.type, reply.rcode, len(query.packet), len(said))
        self.cache.keep(query.packet[2:], (kept, shape, service))

    def _of_another_class(self, question: Question) -> Reply | Elsewhere:
        if any(labels_above(question.lower, zone) is not None for zone in self._zones.all):
            return Reply(REFUSED, "the cluster has names of class IN only", authoritative=False)
        return Elsewhere("of another class")

    def written(self, query: wire.Query, reply: Reply, via: Via) -> bytes:
        """The octets of a reply, its addresses shuffled, within the client's limit."""
        reply = shuffled(reply, self._shuffle)
        return wire.write(query, reply, query.limit(via.proto))

    def _from_beyond(self, query: wire.Query, via: Via, began: float) -> bytes | Awaitable[bytes]:
        said = None if self._beyond is None or self._is_refused(via) else self._beyond.ask(query, via)
        if said is None:
            because = "outside the zones served, and no upstream takes it, or the client is a stranger"
            said = self.written(query, Reply(REFUSED, because, authoritative=False), via)
        if not isinstance(said, bytes):
            return self._later(query, said, via, began)
        self._count(query, said, via, began)
        return said

    def _is_refused(self, via: Via) -> bool:
        """Whether what upstreams say is not for this client. An endpoint's address is the cluster's, whatever it is."""
        if not via.is_stranger or self._cluster.index.has_endpoint(via.client):
            return False
        self._tally.count("acl_blocked_requests", via.server, via.zone, "")
        return True

    async def _later(self, query: wire.Query, reply: Awaitable[bytes], via: Via, began: float) -> bytes:
        said = await reply
        self._count(query, said, via, began)
        return said

    def _count(self, query: wire.Query, said: bytes, via: Via, began: float) -> None:
        self._tally.reply(via, query.question.type, said[3] & 0xF, len(query.packet), len(said), perf_counter() - began)

    async def _chased(self, query: wire.Query, chase: Chase, via: Via, client: bytes, is_stranger: bool) -> bytes:
        """The reply with what its last CNAME leads to, or as it stands if that cannot be had, as in CoreDNS.

        The target is asked of the server as a client would ask: another server block may know it.
        """
        reply, depth = chase.reply, _chases.get()
        if depth >= LONGEST_CHAIN:
            return self.written(query, reply, via)
        _chases.set(depth + 1)
        via.client, via.is_stranger = client, is_stranger
        found = self.again(wire.request(query, query.id, chase.target), via)
        try:
            said = found if isinstance(found, bytes) or found is None else await found
            records = wire.answer_records(said) if said else ()
        except wire.BadMessageError as error:
            _log.debug("alias not followed", extra=fields(target=text_of(chase.target), reason=error))
            return self.written(query, reply, via)
        cut = bool(said) and wire.is_truncated(said or b"")
        return self.written(query, msgspec.structs.replace(reply, answer=reply.answer + records, truncated=cut), via)


def shuffled(reply: Reply, shuffle: Shuffle | None) -> Reply:
    """The reply with its addresses in another order."""
    if shuffle is None or (len(reply.answer) < 2 and len(reply.additional) < 2):
        return reply
    return msgspec.structs.replace(
        reply, answer=_shuffled(reply.answer, shuffle), additional=_shuffled(reply.additional, shuffle)
    )


def _shuffled(records: tuple[Record, ...], shuffle: Shuffle) -> tuple[Record, ...]:
    """The addresses in another order, after all else, as CoreDNS's `loadbalance` has them."""
    addresses = [record for record in records if record.type in (A, AAAA)]
    if len(addresses) < 2:
        return records
    shuffle(addresses)
    return (*(record for record in records if record.type not in (A, AAAA)), *addresses)

"""One server block as a chain of handlers, and the choice of the block that answers a question.

In: the octets of one message and how it came. Out: what `Responder.respond` gives. The block is the one with the
longest zone that the name is in; a name in none is REFUSED. Within a block, in CoreDNS's order: the log, the look-out
for loops, `rewrite`, `autopath`, `acl`, `hosts`, then the responder, which knows the cluster, the cache and the
upstreams.

A block with none of these hands its messages to the responder unread. With none of them but `autopath` its replies may
be given out by the sockets' cache without a call to here.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from time import perf_counter
from typing import TypeAlias, cast

from svcdns import report, wire
from svcdns.acl import AccessList, turned_away
from svcdns.answer import Reply
from svcdns.autopath import Completion, gone_along
from svcdns.hosts import Table
from svcdns.records import LONGEST_NAME, NOERROR, REFUSED, Name, packed, text_of
from svcdns.respond import Responder
from svcdns.rewrite import rewritten, turned_back
from svcdns.settings import ROOT, AccessRule, LogRule, Rewrite
from svcdns.tally import Tally, Via
from svcdns.transfer import Whole

Said: TypeAlias = bytes | Awaitable[bytes] | None
Step: TypeAlias = Callable[[wire.Query, Via], Said]
Steps: TypeAlias = Generator[wire.Query, bytes | None, bytes | None]

_LONGEST_QUESTION = 12 + LONGEST_NAME
_DONE = {"block": "blocked", "filter": "filtered", "drop": "dropped"}


class Chain:
    """`hosts` may be replaced while it runs. `probe`: the name by which `loop` would see its own question come back.

    `step` answers what a question is tried as along a search path.
    """

    def __init__(
        self,
        responder: Responder,
        tally: Tally,
        *,
        hosts: Table | None = None,
        rewrites: Sequence[Rewrite] = (),
        log: Sequence[LogRule] = (),
        completion: Completion | None = None,
        access: Sequence[AccessRule] = (),
    ) -> None:
        self.responder = responder
        self.step: Step = self.answered
        self.hosts = hosts
        self.probe: Name | None = None
        self.seen: Callable[[], None] = lambda: None
        self.transfer: Whole | None = None
        self._tally = tally
        self._rewrites = rewrites
        self._log = log
        self._completion = completion
        self._access = AccessList(access) if access else None

    @property
    def is_plain(self) -> bool:
        """Whether replies about the cluster are the responder's own, told to nobody."""
        return self.is_the_same_to_all and self._completion is None

    @property
    def is_the_same_to_all(self) -> bool:
        """Whether what the responder keeps may be given out as it is."""
        return self.hosts is None and not self._rewrites and not self._log and self._access is None

    def respond(self, packet: bytes, via: Via) -> Said:
        """The reply to one message, complete with its length limit, without the length prefix of TCP."""
        if self.probe is not None and packet[12:].lower().startswith(self.probe):
            self.seen()
        return self.responder.respond(packet, via) if self.is_plain else self._logged(packet, via)

    def _logged(self, packet: bytes, via: Via) -> Said:
        query = wire.read(packet)
        if not isinstance(query, wire.Query):
            return self.responder.respond(packet, via)
        if not self._log:
            return self._rewritten(query, via)
        began, peer = perf_counter(), via.peer
        said = self._rewritten(query, via)

        def told(reply: bytes) -> bytes:
            if rule := report.rule_for(self._log, query.question, reply):
                exchange = report.Exchange(query, via, peer, reply, perf_counter() - began)
                sys.stdout.write(report.line(rule.format, exchange) + "\n")
                sys.stdout.flush()
            return reply

        return _then(said, told)

    def _rewritten(self, query: wire.Query, via: Via) -> Said:
        found = rewritten(query, self._rewrites) if self._rewrites else None
        if found is None:
            return self._completed(query, via)
        inner, back = found
        limit = query.limit(via.proto)
        return _then(self._completed(inner, via), lambda reply: turned_back(reply, query, inner, back, limit))

    def _completed(self, query: wire.Query, via: Via) -> Said:
        names = self._completion.names(query, via.client) if self._completion is not None else []
        if len(names) < 2:
            return self.answered(query, via)
        began, client, is_stranger = perf_counter(), via.client, via.is_stranger
        limit = query.limit(via.proto)
        steps = gone_along(query, names, limit, lambda: self._tally.count("autopath_success", via.server))

        def counted(reply: bytes) -> bytes:
            seconds = perf_counter() - began
            self._tally.reply(via, query.question.type, reply[3] & 0xF, len(query.packet), len(reply), seconds)
            return reply

        def ask(inner: wire.Query) -> Said:
            own = Via(via.server, via.proto, via.family, via.zone, is_counted=False)
            own.client, own.is_stranger = client, is_stranger
            return self.step(inner, own)

        return _then(_driven(steps, ask), counted)

    def transferred(self, packet: bytes, peer: str) -> Iterator[bytes] | None:
        """The messages of a zone transfer, None if that is not what is asked for, or this client may not have it."""
        query = wire.read(packet) if self._access is not None else None
        if self._access is not None and isinstance(query, wire.Query):
            access, _ = self._access.verdict(query.question.lower, query.question.type, packed(peer) or b"")
            if access != "allow":
                return None
        return self.transfer(packet, peer) if self.transfer is not None else None

    def answered(self, query: wire.Query, via: Via) -> Said:
        """The reply by `acl`, `hosts` and the responder."""
        if self._access is not None:
            access, zone = self._access.verdict(query.question.lower, query.question.type, via.client)
            if access != "allow":
                self._tally.count(f"acl_{_DONE[access]}_requests", via.server, text_of(zone), "")
                said = turned_away(query, access, query.limit(via.proto))
                rcode = said[3] & 0xF if said else NOERROR
                self._tally.reply(via, query.question.type, rcode, len(query.packet), len(said or b""), 0.0)
                return said
            self._tally.count("acl_allowed_requests", via.server, "")
        reply = self.hosts.answer(query.question) if self.hosts is not None and query.klass == wire.IN else None
        if reply is None:
            return self.responder.respond(query.packet, via)
        began = perf_counter()
        said = self.responder.written(query, reply, via)
        self._tally.reply(via, query.question.type, reply.rcode, len(query.packet), len(said), perf_counter() - began)
        return said


def _driven(steps: Steps, ask: Callable[[wire.Query], Said]) -> Said:
    """Puts the queries of `steps` one after the other; without a task as long as replies come at once."""
    try:
        said = ask(next(steps))
        while said is None or isinstance(said, bytes):
            said = ask(steps.send(said))
    except StopIteration as end:
        return cast(bytes | None, end.value)
    return _driven_on(steps, ask, said)


async def _driven_on(steps: Steps, ask: Callable[[wire.Query], Said], said: Awaitable[bytes]) -> bytes:
    waiting: Said = said
    try:
        while True:
            found = waiting if waiting is None or isinstance(waiting, bytes) else await waiting
            waiting = ask(steps.send(found))
    except StopIteration as end:
        return cast(bytes | None, end.value) or b""


def _then(said: Said, step: Callable[[bytes], bytes]) -> Said:
    """The step done to the reply, now or when it comes."""
    if said is None:
        return None
    if isinstance(said, bytes):
        return step(said)

    async def later() -> bytes:
        return step(await said)

    return later()


class Router:
    """The server blocks of one address. `zones` by name in lower case, with the text that metrics show."""

    def __init__(self, zones: Mapping[Name, tuple[str, Chain]], tally: Tally) -> None:
        self.zones = dict(zones)
        self._tally = tally
        self._vias: dict[tuple[Via, str], Via] = {}
        self.chains = list(dict.fromkeys(chain for _, chain in self.zones.values()))

    def respond(self, packet: bytes, via: Via) -> Said:
        """The reply to one message, by the block whose zone is the longest that its name is in."""
        found = self._found(packet)
        if found is None:
            return self._stray(packet, via)
        text, chain = found
        if text != via.zone or via.wants_peer:
            via = self._via(via, text)
        return chain.respond(packet, via)

    def step(self, query: wire.Query, via: Via) -> Said:
        """The reply to a query of our own, by the same choice, past log and `rewrite`; None where no block has it."""
        found = self._found(query.packet)
        return found[1].answered(query, via) if found is not None else None

    def transfer(self, packet: bytes, peer: str) -> Iterator[bytes] | None:
        """The messages of a zone transfer, None if that is not what is asked for, or nobody here may have it."""
        found = self._found(packet)
        return found[1].transferred(packet, peer) if found is not None else None

    def _found(self, packet: bytes) -> tuple[str, Chain] | None:
        zones = self.zones
        if len(zones) == 1 and ROOT in zones:
            return zones[ROOT]
        at, name = 0, packet[12:_LONGEST_QUESTION].lower()
        end, size = 0, len(name)
        while end < size and name[end]:
            end += name[end] + 1
        end += 1
        while at < end <= size:
            if (found := zones.get(name[at:end])) is not None:
                return found
            at += name[at] + 1
        return None

    def _via(self, via: Via, zone: str) -> Via:
        """How it came, with the zone that metrics name."""
        own = self._vias.get((via, zone))
        if own is None:
            own = self._vias[via, zone] = Via(via.server, via.proto, via.family, zone)
        own.peer, own.client, own.is_stranger = via.peer, via.client, via.is_stranger
        return own

    def _stray(self, packet: bytes, via: Via) -> Said:
        """A name in no zone, or no query at all."""
        query = wire.read(packet)
        self._tally.dropped(via)
        if not isinstance(query, wire.Query):
            return query
        limit = query.limit(via.proto)
        return wire.write(query, Reply(REFUSED, "in no zone that is served", authoritative=False), limit)

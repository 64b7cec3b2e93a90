"""Search paths gone along here in place of by the client: the Corefile's `autopath`.

A pod asks for `www.example.org` as `www.example.org.dev.svc.cluster.local` first, then along the rest of its search
path, a question and a reply at a time. A question that ends in the first domain of its client's path is tried here with
all of them; what is no NXDOMAIN is the answer, with a CNAME from the question to the name that was found. If there is
none, the first reply goes out, and the client goes on by itself.

In: a question, who asks, a search path. Out: the names to try, and the reply as the client gets it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias

import msgspec

from svcdns import foreign, wire
from svcdns.answer import Question, Reply, Zones
from svcdns.names import labels_above, relative
from svcdns.records import AXFR, CNAME, IXFR, LONGEST_NAME, NOERROR, NXDOMAIN, REFUSED, Name, Record
from svcdns.settings import ROOT

SearchPath: TypeAlias = Sequence[Name]
"""Domains in lower case, in the order in which they are tried; the last one is the root."""
Finder: TypeAlias = Callable[[Name, bytes], SearchPath | None]
"""The path for a name in lower case and a client's address, 4 or 16 octets; None if it does not begin one."""


class Completion(msgspec.Struct, frozen=True):
    """`zones`: only for names below them."""

    zones: tuple[Name, ...]
    find: Finder

    def names(self, query: wire.Query, client: bytes) -> list[Name]:
        """What the question is to be tried as, itself first; nothing if it is no question along a search path."""
        question = query.question
        if query.klass != wire.IN or query.flags & 0x7800 or question.type in (AXFR, IXFR):
            return []
        if all(labels_above(question.lower, zone) is None for zone in self.zones):
            return []
        path = self.find(question.lower, client)
        if path is None:
            return []
        base = question.name[: len(question.name) - len(path[0])]
        names = [question.name, *(base + domain for domain in path[1:])]
        return [name for name in dict.fromkeys(names) if len(name) <= LONGEST_NAME]


def along(path: SearchPath) -> Finder:
    """The same path for everybody, as a file has it."""
    whole = (*path, ROOT)
    return lambda lower, client: whole if labels_above(lower, whole[0]) and whole[0] != ROOT else None


def path_of_pod(lower: Name, zones: Zones, namespaces: Sequence[str], more: Sequence[Name]) -> SearchPath | None:
    """The path that the kubelet gives to pods of one of these namespaces; `more` is the node's own part of it."""
    zone = next((zone for zone in zones.all if labels_above(lower, zone) is not None), None)
    if zone is None:
        return None
    for namespace in namespaces:
        first = relative(namespace, "svc") + zone
        if labels_above(lower, first):
            return first, b"\3svc" + zone, zone, *more, ROOT
    return None


def gone_along(
    query: wire.Query, names: Sequence[Name], limit: int, found: Callable[[], None]
) -> Generator[wire.Query, bytes | None, bytes | None]:
    """Yields queries and is sent their replies; returns the one for the client. `found` is called if there is one."""
    first: bytes | None = None
    for name in names:
        inner = _under(query, name)
        said = yield inner
        if name == names[0]:
            first = said
        if said is None or said[3] & 0xF in (NXDOMAIN, REFUSED):
            continue
        if said[3] & 0xF == NOERROR:
            found()
        return said if name == names[0] else completed(said, query, inner, limit)
    return first


def _under(query: wire.Query, name: Name) -> wire.Query:
    packet = query.packet[:12] + name + query.packet[12 + len(query.question.name) :]
    question = Question(name, name.lower(), query.question.type)
    return msgspec.structs.replace(query, question=question, packet=packet)


def completed(packet: bytes, query: wire.Query, inner: wire.Query, limit: int) -> bytes:
    """The reply to `inner` as the reply to `query`, with a CNAME from the one name to the other."""

    def led(reply: Reply) -> Reply:
        if not reply.answer:
            return reply
        first = reply.answer[0]
        alias = Record(query.question.name, CNAME, first.ttl, first.owner)
        return msgspec.structs.replace(reply, answer=(alias, *reply.answer))

    return foreign.retold(packet, query, inner, led, limit)

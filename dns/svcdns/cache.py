"""Replies of other resolvers, kept: what may be kept, for how long, and what a kept one still says.

In: questions, replies and the time. Out: a `Kept` with what is left of its TTL, or None. Two tables of bounded size,
the least recently asked goes first: what exists, and what does not, so that a flood of names that do not exist
cannot push out the others. Keys are the name in lower case, the type, DO and CD. The rules are CoreDNS's `cache`: a
reply has one TTL, the smallest of its records', brought between the bounds of its table. A negative one lives as its
SOA says (RFC 2308).

Not kept: what was cut short, NXDOMAIN and CNAMEs that lead nowhere without an SOA (nobody says for how long), errors
other than SERVFAIL and NOTIMP.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, TypeAlias

import msgspec

from svcdns.answer import Question, Reply
from svcdns.foreign import Foreign, is_denial, negative_ttl
from svcdns.names import labels_above
from svcdns.records import NOERROR, NOTIMP, NXDOMAIN, SERVFAIL, Name, Record
from svcdns.settings import Cache

Kind: TypeAlias = Literal["success", "denial"]

UNSAID_TTL = 5  # seconds, of a reply without any record
KINDS: tuple[Kind, Kind] = ("success", "denial")


class Key(msgspec.Struct, frozen=True, gc=False):
    name: Name
    type: int
    dnssec_ok: bool
    checking_disabled: bool


class Kept:
    """One entry. Times as the caller's clock."""

    __slots__ = ("asked", "foreign", "kind", "last", "refreshing", "since", "ttl", "written")

    def __init__(self, foreign: Foreign, kind: Kind, ttl: int, since: float) -> None:
        self.foreign = foreign
        self.kind: Kind = kind
        self.ttl = ttl
        self.since = since
        self.asked = 0
        self.last = since
        self.refreshing = False
        self.written: tuple[bytes, int, bytes] = b"", 0, b""
        """The question, without its ID, and the TTL for which the reply was last written, and that reply."""

    def left(self, now: float) -> float:
        """Seconds of its TTL that are left; negative once it is stale."""
        return self.since + self.ttl - now


class Replies:
    """What one server block keeps."""

    def __init__(self, options: Cache) -> None:
        self.options = options
        self._evicted: dict[Kind, int] = {"success": 0, "denial": 0}
        self._tables: dict[Kind, OrderedDict[Key, Kept]] = {"success": OrderedDict(), "denial": OrderedDict()}
        self._entries: dict[Kind, int] = {"success": options.success.entries, "denial": options.denial.entries}

    def size(self, kind: Kind) -> int:
        return len(self._tables[kind])

    def evicted(self, kind: Kind) -> int:
        """How many entries went for want of room, so far."""
        return self._evicted[kind]

    def covers(self, name: Name) -> bool:
        """Whether replies about this name pass through this cache at all."""
        return any(labels_above(name, zone) is not None for zone in self.options.zones)

    def find(self, key: Key, now: float) -> Kept | None:
        """A fresh reply, else a stale one that may be given out. A stale answer is better than a fresh SERVFAIL."""
        stale: Kept | None = None
        for table in self._tables.values():
            kept = table.get(key)
            if kept is None:
                continue
            left, is_answer = kept.left(now), kept.foreign.reply.rcode in (NOERROR, NXDOMAIN)
            if left > 0 and (is_answer or stale is None):
                table.move_to_end(key)
                return kept
            if left <= -self.options.stale:
                del table[key]
            elif left <= 0 and is_answer:
                stale = stale or kept
        return stale

    def keep(self, key: Key, question: Question, foreign: Foreign, now: float) -> None:
        """Keeps the reply if it may be kept."""
        kind, ttl = self._lifetime(question, foreign)
        if kind is None or ttl <= 0 or self._is_disabled(kind, key.name):
            return
        table = self._tables[kind]
        if foreign.reply.rcode in (NOERROR, NXDOMAIN):
            self._tables["denial" if kind == "success" else "success"].pop(key, None)
        table[key] = Kept(foreign, kind, ttl, now)
        table.move_to_end(key)
        if len(table) > self._entries[kind]:
            table.popitem(last=False)
            self._evicted[kind] += 1

    def ttl_of(self, question: Question, foreign: Foreign) -> int:
        """The TTL of all records of a reply that passes through here, kept or not."""
        return self._lifetime(question, foreign)[1]

    def wants_prefetch(self, kept: Kept, now: float) -> bool:
        """Counts one more question; whether the entry is asked for often and near its end."""
        options = self.options
        kept.asked = kept.asked + 1 if now - kept.last < options.prefetch_seconds else 1
        kept.last = now
        if not options.prefetch or kept.refreshing or kept.asked < options.prefetch:
            return False
        threshold = -(-options.prefetch_percent * kept.ttl // 100)
        return kept.left(now) <= threshold

    def _is_disabled(self, kind: Kind, name: Name) -> bool:
        zones = self.options.not_success if kind == "success" else self.options.not_denial
        return any(labels_above(name, zone) is not None for zone in zones)

    def _lifetime(self, question: Question, foreign: Foreign) -> tuple[Kind | None, int]:
        """Which table, None for neither; and the TTL that the reply gets either way."""
        options, reply = self.options, foreign.reply
        if reply.rcode in (SERVFAIL, NOTIMP):
            return ("denial" if options.servfail else None), int(options.servfail)
        least = min((record.ttl for record in foreign.records), default=UNSAID_TTL)
        negative, lacks = negative_ttl(foreign), is_denial(foreign, question)
        kind: Kind = "denial" if reply.rcode == NXDOMAIN or (lacks and negative is not None) else "success"
        if kind == "denial":
            bounds = options.denial
            may_be_kept = negative is not None
            least = min(least, negative or 0)
        else:
            bounds = options.success
            may_be_kept = reply.rcode == NOERROR and not (lacks and reply.answer)
        return (kind if may_be_kept and not reply.truncated else None), bounds.bounded(least)


def with_ttl(reply: Reply, ttl: int) -> Reply:
    """The reply with one TTL for all its records."""
    return msgspec.structs.replace(
        reply,
        answer=tuple(Record(one.owner, one.type, ttl, one.data) for one in reply.answer),
        authority=tuple(Record(one.owner, one.type, ttl, one.data) for one in reply.authority),
        additional=tuple(Record(one.owner, one.type, ttl, one.data) for one in reply.additional),
    )

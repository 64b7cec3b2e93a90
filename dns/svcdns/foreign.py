"""What another resolver said: octets to a reply that may be trusted as far as its question goes.

In: a message that came back from an upstream for a question of ours. Out: a `Foreign`: records as values, names in them
decompressed, so that they can be kept, shuffled, cut to a client's size and written like records of our own. Left out
are records that have nothing to do with the question (RFC 2181 section 5.4.1, RFC 5452 section 6): in ANSWER what is
not the name asked for or where its CNAMEs lead; in AUTHORITY what is not above such a name; in ADDITIONAL what is no
address of a name that the other two mention. A message that does not parse is refused with BadMessageError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from struct import Struct

import msgspec

from svcdns.answer import Question, Reply
from svcdns.names import labels_above
from svcdns.records import (
    AAAA,
    CNAME,
    LONGEST_NAME,
    MX,
    NOERROR,
    NS,
    NXDOMAIN,
    OPT,
    PTR,
    SOA,
    SRV,
    A,
    Name,
    Record,
    name_at,
)
from svcdns.wire import IN, BadMessageError, Query, write

DNAME, RRSIG = 39, 46
_NAPTR, _KX, _RP, _AFSDB = 35, 36, 17, 18
_HEADER = Struct("!6H")
_FIXED = Struct("!HHIH")
AA, RD, RA, Z, AD, CD = 0x0400, 0x0100, 0x0080, 0x0040, 0x0020, 0x0010
_TC = 0x0200
_DO = 0x8000
_BEFORE_NAMES = {
    CNAME: (0, 1), NS: (0, 1), PTR: (0, 1), DNAME: (0, 1), SOA: (0, 2), MX: (2, 1), SRV: (6, 1), _KX: (2, 1),
    _RP: (0, 2), _AFSDB: (2, 1),
}  # fmt: skip
"""Octets before the names in a record's data, and how many names: the types that may be compressed (RFC 3597)."""
LARGEST_TTL = (1 << 31) - 1


class Foreign(msgspec.Struct, frozen=True):
    """`reply` without AA; `flags` as they came."""

    reply: Reply
    flags: int

    @property
    def records(self) -> tuple[Record, ...]:
        reply = self.reply
        return (*reply.answer, *reply.authority, *reply.additional)


def request(query: Query, wants_ad: bool = False) -> bytes:
    """The client's question as it goes upstream, with ID 0: RD, CD, AD, and EDNS without its options.

    `wants_ad`: what is kept is for other clients too, so ask whether it is authentic (RFC 6840 section 5.7).

    Options speak between two ends (a cookie), or about one client (its subnet), and a reply is for many.
    """
    question, edns = query.question, query.edns
    opt = b"" if edns is None else b"\0" + _FIXED.pack(OPT, edns.size, _DO if edns.dnssec_ok else 0, 0)
    header = _HEADER.pack(0, query.flags & (RD | CD | AD) | (AD if wants_ad else 0), 1, 0, 0, 1 if opt else 0)
    return header + question.name + struct.pack("!HH", question.type, query.klass) + opt


def read(packet: bytes, question: Question) -> Foreign:
    """The reply to `question` of class IN. Raises BadMessageError."""
    try:
        _, flags, questions, *counts = _HEADER.unpack_from(packet)
        at = _HEADER.size
        for _ in range(questions):
            at = _name(packet, at)[1] + 4
        sections = []
        for count in counts:
            section, at = _section(packet, at, count)
            sections.append(section)
    except (IndexError, struct.error) as error:
        raise BadMessageError("an upstream's reply is cut short") from error
    answer, authority, additional = _relevant(question, *sections)
    reply = Reply(flags & 0xF, "an upstream says so", answer, authority, additional, False, bool(flags & _TC))
    return Foreign(reply, flags)


def retold(packet: bytes, query: Query, inner: Query, change: Callable[[Reply], Reply], limit: int) -> bytes:
    """The reply to `inner`, changed, as the reply to `query`. One that cannot be read goes on by its header alone."""
    try:
        found = read(packet, inner.question)
    except BadMessageError:
        return packet[:4] + bytes(8)
    reply = msgspec.structs.replace(change(found.reply), authoritative=bool(found.flags & AA))
    said = write(query, reply, limit)
    flags = int.from_bytes(said[2:4]) | int.from_bytes(packet[2:4]) & (RA | AD)
    return said[:2] + flags.to_bytes(2) + said[4:]


def _section(packet: bytes, at: int, count: int) -> tuple[list[Record], int]:
    found = []
    for _ in range(count):
        owner, at = _name(packet, at)
        kind, klass, ttl, length = _FIXED.unpack_from(packet, at)
        at += _FIXED.size
        end = at + length
        if end > len(packet):
            raise BadMessageError("an upstream's record is cut short")
        if kind != OPT and klass == IN:
            found.append(Record(owner, kind, ttl if ttl <= LARGEST_TTL else 0, _data(packet, kind, at, end)))
        at = end
    return found, at


def _data(packet: bytes, kind: int, at: int, end: int) -> bytes:
    if (kind == A and end - at != 4) or (kind == AAAA and end - at != 16):
        raise BadMessageError("an upstream's address has the wrong size")
    if kind == _NAPTR:
        return _naptr(packet, at, end)
    if kind not in _BEFORE_NAMES:
        return packet[at:end]
    before, names = _BEFORE_NAMES[kind]
    parts = [packet[at : at + before]]
    at += before
    for _ in range(names):
        name, at = _name(packet, at)
        parts.append(name)
    if at > end or (kind != SOA and at != end) or (kind == SOA and end - at != 20):
        raise BadMessageError("a name in an upstream's record does not end where the record does")
    return b"".join((*parts, packet[at:end]))


def _naptr(packet: bytes, at: int, end: int) -> bytes:
    start = at
    at += 4
    for _ in range(3):
        at += 1 + packet[at]
    if at >= end:
        raise BadMessageError("an upstream's NAPTR record is cut short")
    return packet[start:at] + _name(packet, at)[0]


def _name(packet: bytes, at: int) -> tuple[Name, int]:
    """The name that begins at `at`, and where the message goes on after it. Pointers lead backwards only."""
    parts: list[bytes] = []
    after, limit, size = 0, at, 1
    while length := packet[at]:
        if length >= 0xC0:
            target = (length & 0x3F) << 8 | packet[at + 1]
            after = after or at + 2
            if target >= limit:
                raise BadMessageError("a compressed name in an upstream's reply leads nowhere")
            at = limit = target
        elif length > 63:
            raise BadMessageError("a label of unknown kind in an upstream's reply")
        else:
            size += length + 1
            label = packet[at : at + length + 1]
            if size > LONGEST_NAME or len(label) <= length:
                raise BadMessageError("a name in an upstream's reply is too long")
            parts.append(label)
            at += length + 1
    return b"".join((*parts, b"\0")), after or at + 1


def _relevant(
    question: Question, answer: list[Record], authority: list[Record], additional: list[Record]
) -> tuple[tuple[Record, ...], tuple[Record, ...], tuple[Record, ...]]:
    about = _about(question.lower, answer)
    answers = tuple(record for record in answer if record.owner.lower() in about or _is_redirection(record, about))
    authorities = tuple(record for record in authority if any(_is_within(name, record.owner.lower()) for name in about))
    mentioned = {target for record in (*answers, *authorities) if (target := _target(record)) is not None}
    additionals = tuple(
        record for record in additional if record.type in (A, AAAA, RRSIG) and record.owner.lower() in mentioned
    )
    return answers, authorities, additionals


def _about(name: Name, answer: Iterable[Record]) -> set[Name]:
    """The name asked for and where its CNAMEs lead."""
    aliases = {record.owner.lower(): record.data.lower() for record in answer if record.type == CNAME}
    about = {name}
    while name in aliases and aliases[name] not in about:
        name = aliases[name]
        about.add(name)
    return about


def _is_redirection(record: Record, about: set[Name]) -> bool:
    return record.type in (DNAME, RRSIG) and any(_is_within(name, record.owner.lower()) for name in about)


def _is_within(name: Name, zone: Name) -> bool:
    return labels_above(name, zone) is not None


def _target(record: Record) -> Name | None:
    before = {NS: 0, MX: 2, SRV: 6, CNAME: 0}.get(record.type)
    return None if before is None else record.data[before:].lower()


def negative_ttl(foreign: Foreign) -> int | None:
    """How long "there is nothing" may be believed: the SOA's TTL or its minimum, the smaller (RFC 2308 section 5)."""
    for record in foreign.reply.authority:
        if record.type == SOA:
            mname = name_at(record.data, 0)
            end = len(mname) + len(name_at(record.data, len(mname)))
            return min(record.ttl, int.from_bytes(record.data[end + 16 : end + 20]))
    return None


def is_denial(foreign: Foreign, question: Question) -> bool:
    """NXDOMAIN, or NOERROR without a record of the type asked for."""
    if foreign.reply.rcode == NXDOMAIN:
        return True
    kind = question.type
    return foreign.reply.rcode == NOERROR and not any(
        record.type == kind or kind == 255 for record in foreign.reply.answer
    )

"""DNS messages: octets to questions, replies to octets.

In: a datagram, or one message of a TCP stream. Out: a `Query`, or the octets to send back at once, or None for
silence; and for a `Reply` the octets within a size limit. What a client may send and how a bad message is met follows
CoreDNS (miekg/dns): shorter than a header or a response: silence; an opcode other than QUERY and NOTIFY: NOTIMP;
other than one question, or octets that do not parse: FORMERR; these two without a question. EDNS: RFC 6891.

Written by hand are the parts that every query passes: reading one question and writing eight kinds of records takes 3
microseconds where dnslib takes 38 (one A record, Python 3.11). What other servers wrote, with any type in it, is read
by dnslib. Names are compressed only if the reply is too large else; SRV data never is (RFC 2782).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from struct import Struct

import msgspec
from dnslib import DNSError, DNSRecord
from dnslib.buffer import BufferError as DNSBufferError
from dnslib.label import DNSBuffer, DNSLabelError

from svcdns.answer import Question, Reply
from svcdns.records import (
    AAAA,
    BADVERS,
    CNAME,
    FORMERR,
    LONGEST_NAME,
    NOTIMP,
    NS,
    OPT,
    PTR,
    SOA,
    SRV,
    A,
    Name,
    Record,
    name_at,
)

UDP_LIMIT = 512  # octets of a reply to a client that does not say how much it takes (RFC 1035 section 2.3.4)
UDP_LARGEST = 65507  # what fits into one datagram
TCP_LIMIT = 65535
ONE_PACKET = 1200  # octets of records that cross any link unfragmented, even uncompressed

IN = 1
_QUERY, _NOTIFY = 0, 4
_QR, _AA, _TC, _RD, _CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0010
_MIRRORED = 0x03B0  # TC, RD, RA, AD, CD: what CoreDNS leaves standing in a message that it sends back at once
_DO = 0x8000
_ECHOED_OPTIONS = frozenset((3, 9, 10, 11, 12))  # NSID, EXPIRE, COOKIE, TCP-KEEPALIVE, PADDING
_HEADER = Struct("!6H")
_PAIR = Struct("!HH")
_FIXED = Struct("!HHIH")
_POINTER = 0xC000
_TO_QUESTION = b"\xc0\x0c"


class Edns(msgspec.Struct, frozen=True, gc=False):
    """The client's OPT record: the reply size it takes, its flags (eight of sixteen), the options that go back.

    `has_options`: whether there were any, also such as do not go back.
    """

    size: int
    flags: int
    options: bytes = b""
    has_options: bool = False

    @property
    def dnssec_ok(self) -> bool:
        return bool(self.flags & _DO)


class Query(msgspec.Struct, frozen=True):
    """One question and what its reply has to repeat. `packet` is what the client sent, for an upstream."""

    id: int
    flags: int
    klass: int
    question: Question
    edns: Edns | None
    packet: bytes

    @property
    def udp_limit(self) -> int:
        return UDP_LIMIT if self.edns is None else min(max(self.edns.size, UDP_LIMIT), UDP_LARGEST)

    def limit(self, proto: str) -> int:
        """How many octets the reply may have over `udp` or `tcp`."""
        return TCP_LIMIT if proto == "tcp" else self.udp_limit

    @property
    def is_common(self) -> bool:
        """Whether others ask in the same octets: with EDNS options or in the case of 0x20 hardly anybody does."""
        edns = self.edns
        return self.klass == IN and self.question.name == self.question.lower and not (edns and edns.has_options)


class BadMessageError(ValueError):
    """An upstream's fault: an answer that cannot be read."""


def read(packet: bytes) -> Query | bytes | None:
    """A client's message: the query, or what to send back at once, or None if it deserves no reply."""
    if len(packet) < 12:
        return None
    identity, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(packet)
    if flags & _QR:
        return None
    if (flags >> 11) & 0xF not in (_QUERY, _NOTIFY):
        return _bare(identity, flags, NOTIMP)
    if questions != 1 or answers > 1 or authorities > 1 or additionals > 2:
        return _bare(identity, flags, FORMERR)
    try:
        at = 12
        while size := packet[at]:
            if size > 63:
                return _bare(identity, flags, FORMERR)
            at += size + 1
        at += 1
        name = packet[12:at]
        kind, klass = _PAIR.unpack_from(packet, at)
        edns = (
            _edns(packet, at + 4, answers + authorities, additionals) if answers + authorities + additionals else None
        )
    except (IndexError, struct.error, BadMessageError):
        return _bare(identity, flags, FORMERR)
    if len(name) > LONGEST_NAME:
        return _bare(identity, flags, FORMERR)
    query = Query(identity, flags, klass, Question(name, name.lower(), kind), edns, packet)
    if edns is not None and edns.size < 0:
        query = Query(identity, flags, klass, query.question, Edns(0, 0), packet)
        return write(query, Reply(BADVERS, "EDNS version", authoritative=False), UDP_LIMIT)
    return query


def serial_held(query: Query) -> int | None:
    """The serial of the zone that a client of IXFR has, from the SOA in AUTHORITY; None if there is none."""
    packet, at = query.packet, 12 + len(query.question.name) + _PAIR.size
    if packet[8:10] != b"\0\1" or packet[6:8] != b"\0\0":
        return None
    at = _after_name(packet, at)
    kind, _, _, length = _FIXED.unpack_from(packet, at)
    if kind != SOA or length < 22:
        return None
    end = at + _FIXED.size + length
    return int.from_bytes(packet[end - 20 : end - 16])


def _bare(identity: int, flags: int, rcode: int) -> bytes:
    opcode = flags & 0x7800 if rcode == NOTIMP else 0
    return _HEADER.pack(identity, _QR | opcode | flags & _MIRRORED | rcode, 0, 0, 0, 0)


def _edns(packet: bytes, at: int, others: int, additionals: int) -> Edns | None:
    """The OPT record among the additional ones. Its size is -1 if it is of a version that does not exist yet."""
    found = None
    for number in range(others + additionals):
        start = at
        at = _after_name(packet, at)
        kind, size, ttl, length = _FIXED.unpack_from(packet, at)
        at += 10 + length
        if at > len(packet):
            raise BadMessageError("a record is cut short")
        if kind != OPT or number < others:
            continue
        if found is not None or packet[start]:
            raise BadMessageError("more than one OPT record, or one with a name")
        options = _echoed(packet[at - length : at])
        found = Edns(-1 if (ttl >> 16) & 0xFF else size, ttl & 0xFF00, options, length > 0)
    return found


def _after_name(packet: bytes, at: int) -> int:
    while size := packet[at]:
        if size >= 0xC0:
            return at + 2
        if size > 63:
            raise BadMessageError("a label of unknown kind")
        at += size + 1
    return at + 1


def _echoed(options: bytes) -> bytes:
    kept, at = b"", 0
    while at < len(options):
        code, length = _PAIR.unpack_from(options, at)
        end = at + 4 + length
        if end > len(options):
            raise BadMessageError("an EDNS option is cut short")
        if code in _ECHOED_OPTIONS:
            kept += options[at:end]
        at = end
    return kept


def write(query: Query, reply: Reply, limit: int) -> bytes:
    """The reply in at most `limit` octets. Records that do not fit are left out from the end, and TC says so."""
    question = query.question
    head = question.name + _PAIR.pack(question.type, query.klass)
    opt = b"" if query.edns is None else _opt(query.edns, reply.rcode)
    sections = (reply.answer, reply.authority, reply.additional)
    body = b"".join([_plain(record, question.name) for section in sections for record in section])
    counts = list(map(len, sections))
    truncated = reply.truncated
    room = limit - _HEADER.size - len(head) - len(opt)
    if len(body) > min(room, ONE_PACKET):
        body, kept = _compressed(head, sections, question.name, room)
        truncated |= kept != counts
        counts = kept
    flags = _QR | query.flags & (0x7800 if query.flags & 0x7800 else _RD | _CD) | reply.rcode & 0xF
    if reply.authoritative:
        flags |= _AA
    if truncated:
        flags |= _TC
    header = _HEADER.pack(query.id, flags, 1, counts[0], counts[1], counts[2] + (1 if opt else 0))
    return b"".join((header, head, body, opt))


def pieces(query: Query, reply: Reply, said: bytes) -> tuple[bytes, list[bytes], bytes] | None:
    """`said`, written for `reply`, in three pieces, the first without the ID; None if names in it are compressed.

    The middle one is the addresses of the answer, else of the additional section, each by itself.
    """
    name = query.question.name
    sections = (reply.answer, reply.authority, reply.additional)
    plain = [[_plain(record, name) for record in section] for section in sections]
    size = sum(map(len, chain.from_iterable(plain)))
    if len(said) != _HEADER.size + len(name) + _PAIR.size + size + _opt_size(query):
        return None
    which = 0 if any(record.type in (A, AAAA) for record in reply.answer) else 2
    turned = [octets for octets, record in zip(plain[which], sections[which], strict=True) if record.type in (A, AAAA)]
    end = len(said) - _opt_size(query) - sum(map(len, chain.from_iterable(plain[which + 1 :])))
    return said[2 : end - sum(map(len, turned))], turned, said[end:]


def around_serial(query: Query, said: bytes) -> tuple[bytes, bytes]:
    """What stands before and after the serial of a reply whose last record, but for OPT, is an SOA; without the ID."""
    at = len(said) - _opt_size(query) - 20  # five numbers end the SOA, the serial is the first of them
    return said[2:at], said[at + 4 :]


def _opt_size(query: Query) -> int:
    return 0 if query.edns is None else 11 + len(query.edns.options)


def _plain(record: Record, question: Name) -> bytes:
    """The record with nothing compressed but an owner that is the question: quick, and small enough as a rule."""
    owner = _TO_QUESTION if record.owner == question else record.owner
    return b"".join((owner, _FIXED.pack(record.type, IN, record.ttl, len(record.data)), record.data))


def _compressed(
    head: bytes, sections: Sequence[Sequence[Record]], question: Name, room: int
) -> tuple[bytes, list[int]]:
    """As many records as fit into `room`, and how many of each section those are."""
    message = bytearray(_HEADER.size) + head
    start = len(message)
    names: dict[bytes, int] = {}
    _remember(names, question, _HEADER.size)
    counts = [0] * len(sections)
    for number, section in enumerate(sections):
        for record in section:
            mark = len(message)
            _append(message, record, names)
            if len(message) - start > room:
                return bytes(message[start:mark]), counts
            counts[number] += 1
    return bytes(message[start:]), counts


def _opt(edns: Edns, rcode: int) -> bytes:
    ttl = (rcode >> 4) << 24 | edns.flags
    return b"\0" + _FIXED.pack(OPT, edns.size, ttl, len(edns.options)) + edns.options


def _append(message: bytearray, record: Record, names: dict[bytes, int]) -> None:
    _append_name(message, record.owner, names)
    data = record.data
    message += _FIXED.pack(record.type, IN, record.ttl, len(data))
    if record.type not in (CNAME, PTR, NS, SOA, SRV):
        message += data
        return
    start = len(message)
    if record.type == SRV:
        message += data[:6]
        _append_name(message, data[6:], names, compress=False)
    elif record.type == SOA:
        mname = name_at(data, 0)
        rname = name_at(data, len(mname))
        _append_name(message, mname, names)
        _append_name(message, rname, names)
        message += data[len(mname) + len(rname) :]
    else:
        _append_name(message, data, names)
    message[start - 2 : start] = (len(message) - start).to_bytes(2)


def _append_name(message: bytearray, name: Name, names: dict[bytes, int], compress: bool = True) -> None:
    """Writes the name, its end as a pointer to where that stands already (RFC 1035 section 4.1.4) in the same case."""
    at = 0
    while name[at]:
        known = names.get(name[at:]) if compress else None
        if known is not None:
            _remember(names, name, len(message), at)
            message += name[:at] + (_POINTER | known).to_bytes(2)
            return
        at += name[at] + 1
    _remember(names, name, len(message))
    message += name


def _remember(names: dict[bytes, int], name: Name, offset: int, end: int = LONGEST_NAME) -> None:
    """Where each end of the name stands, for those that begin before `end` and within a pointer's reach."""
    at = 0
    while at < end and name[at] and offset + at < _POINTER >> 2:
        names.setdefault(name[at:], offset + at)
        at += name[at] + 1


def request(query: Query, identity: int, name: Name) -> bytes:
    """A question of our own on behalf of a client: its type, RD, CD and EDNS, another name (where a CNAME leads)."""
    edns = b"" if query.edns is None else _opt(Edns(query.edns.size, query.edns.flags), 0)
    header = _HEADER.pack(identity, query.flags & (_RD | _CD), 1, 0, 0, 1 if edns else 0)
    return header + name + _PAIR.pack(query.question.type, IN) + edns


def with_identity(packet: bytes, identity: int) -> bytes:
    return identity.to_bytes(2) + packet[2:]


def answers(packet: bytes, request: bytes) -> bool:
    """Whether `packet` is a reply to `request`: same ID, same question. An error may come without the question."""
    if len(packet) < 12 or packet[:2] != request[:2] or not packet[2] & 0x80:
        return False
    if packet[4:6] == b"\0\0":
        return bool(packet[3] & 0xF)
    end = _after_name(request, 12) + 4
    return packet[12:end].lower() == request[12:end].lower() and packet[4:6] == b"\0\1"


def is_truncated(packet: bytes) -> bool:
    return bool(packet[2] & (_TC >> 8))


def answer_records(packet: bytes) -> tuple[Record, ...]:
    """The ANSWER section of an upstream's reply, in its order. Octets that do not parse raise BadMessageError."""
    try:
        message = DNSRecord.parse(packet)
        records = []
        for found in message.rr:
            data = _Plain()
            found.rdata.pack(data)
            records.append(Record(_name(found.rname.label), found.rtype, found.ttl, bytes(data.data)))
    except (DNSError, DNSBufferError, DNSLabelError, ValueError, struct.error, IndexError) as error:
        raise BadMessageError(f"an upstream's reply does not parse: {error}") from error
    return tuple(records)


class _Plain(DNSBuffer):  # type: ignore[misc]  # dnslib has no types
    """A buffer that never compresses: each record's data has to stand alone."""

    def encode_name(self, name: object) -> None:
        self.encode_name_nocompress(name)


def _name(labels: tuple[bytes, ...]) -> Name:
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"

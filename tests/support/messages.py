"""A DNS message as it stands, octet for octet: for names that are no text, which dnslib does not read.

In: a reply. Out: a `Message`, with names written out and compared exactly, also in records. Raises IndexError,
ValueError or struct.error where a message is broken, as a judge should.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import msgspec

from svcdns.records import Record, line_of, text_of

NAMED = {2: 0, 5: 0, 12: 0, 15: 2, 33: 6}
"""Types whose data ends in a name, and the octets before it."""
SOA, OPT = 6, 41

Options: TypeAlias = tuple[tuple[int, bytes], ...]


class Message(msgspec.Struct, frozen=True):
    """`flags` whole; `question` as it stands; `sections` as lines of a zone file; `opts`: size, TTL and options."""

    flags: int
    question: bytes
    sections: tuple[tuple[str, ...], ...]
    opts: tuple[tuple[int, int, Options], ...]


def read(packet: bytes) -> Message:
    _, flags, questions, *counts = struct.unpack_from("!6H", packet)
    at = 12
    for _ in range(questions):
        at = _name(packet, at)[1] + 4
    question, sections, opts = packet[12:at], [], []
    for count in counts:
        lines = []
        for _ in range(count):
            owner, at = _name(packet, at)
            kind, klass, ttl, length = struct.unpack_from("!HHIH", packet, at)
            at += 10 + length
            if at > len(packet):
                raise IndexError("a record is cut short")
            if kind == OPT:
                opts.append((klass, ttl, _options(packet[at - length : at])))
            else:
                data = _data(packet, kind, at - length, at)
                lines.append(f"{klass} {line_of(Record(owner, kind, ttl, data))}")
        sections.append(tuple(sorted(lines)))
    if at != len(packet):
        raise ValueError(f"{len(packet) - at} octets too many")
    return Message(flags, question, tuple(sections), tuple(opts))


def _data(packet: bytes, kind: int, start: int, end: int) -> bytes:
    if kind == SOA:
        first, at = _name(packet, start)
        second, at = _name(packet, at)
        return first + second + packet[at:end]
    if kind in NAMED:
        name, after = _name(packet, start + NAMED[kind])
        if after != end:
            raise ValueError(f"the data of a record of type {kind} goes on after its name")
        return packet[start : start + NAMED[kind]] + name
    return packet[start:end]


def _name(packet: bytes, at: int) -> tuple[bytes, int]:
    """The name that begins at `at`, and where it ends there. Pointers lead back only."""
    name, end, before = b"", 0, at
    while size := packet[at]:
        if size >= 0xC0:
            end = end or at + 2
            at = int.from_bytes(packet[at : at + 2]) & 0x3FFF
            if at >= before:
                raise ValueError(f"a pointer that leads on, to {at}")
            before = at
        else:
            name += packet[at : at + 1 + size]
            at += 1 + size
    return name + b"\0", end or at + 1


def _options(data: bytes) -> Options:
    found, at = [], 0
    while at < len(data):
        code, length = struct.unpack_from("!HH", data, at)
        found.append((code, data[at + 4 : at + 4 + length]))
        at += 4 + length
    return tuple(found)


def question_text(question: bytes) -> str:
    """One question for people."""
    name, at = _name(question, 0)
    kind, klass = struct.unpack_from("!HH", question, at)
    return f"{text_of(name)} TYPE{kind} CLASS{klass}"

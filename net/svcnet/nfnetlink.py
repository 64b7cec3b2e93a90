"""nfnetlink messages as bytes: attributes, headers, batches, both ways. Pure.

Sources: struct nlmsghdr (linux/netlink.h), struct nfgenmsg (linux/netfilter/nfnetlink.h), struct nlattr. Attributes are
padded to 4 bytes; integers of nf_tables are big-endian. What is cut short raises `struct.error`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

import msgspec

NESTED = 0x8000
REQUEST, ACK, DUMP, CREATE, APPEND = 0x1, 0x4, 0x300, 0x400, 0x800
ERROR, DONE = 2, 3
INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
BATCH_BEGIN, BATCH_END = 0x10, 0x11
NF_TABLES = 10

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, port
_GENERIC = struct.Struct("!BBH")  # family, version, resource id
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")  # by length modulo 4
_ENDING = tuple(b"\0" + padding for padding in _PADDING)


class Message(msgspec.Struct, frozen=True):
    """One received message. `kind` is subsystem << 8 | message; `error` is an errno, 0 for an acknowledgement.

    `interrupted` if the table changed during the dump that this is a part of.
    """

    kind: int
    sequence: int
    attributes: Mapping[int, bytes]
    error: int = 0
    interrupted: bool = False


def attribute(kind: int, *parts: bytes) -> bytes:
    """One attribute around a payload; with `NESTED` in its kind around attributes."""
    payload = b"".join(parts)
    size = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(size, kind) + payload + _PADDING[size & 3]


def text(kind: int, value: str) -> bytes:
    payload = value.encode()
    size = _ATTRIBUTE.size + len(payload) + 1
    return _ATTRIBUTE.pack(size, kind) + payload + _ENDING[size & 3]


def number(kind: int, value: int) -> bytes:
    """32 bits, big-endian."""
    return attribute(kind, struct.pack("!I", value & 0xFFFFFFFF))


def long(kind: int, value: int) -> bytes:
    """64 bits, big-endian."""
    return attribute(kind, struct.pack("!Q", value))


def message(kind: int, flags: int, sequence: int, family: int, *attributes: bytes, resource: int = 0) -> bytes:
    """A request; `kind` as in `Message`."""
    body = _GENERIC.pack(family, 0, resource) + b"".join(attributes)
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | REQUEST, sequence, 0) + body


def batch(messages: list[bytes], sequence: int) -> bytes:
    """One transaction: all of the messages, or none."""
    begin = message(BATCH_BEGIN, 0, sequence, 0, resource=NF_TABLES)
    end = message(BATCH_END, 0, sequence, 0, resource=NF_TABLES)
    return b"".join((begin, *messages, end))


def attributes(data: bytes) -> dict[int, bytes]:
    """The payloads by kind, the flag of nesting taken off; of a repeated kind the last one."""
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size:
            raise struct.error(f"an attribute of {size} bytes")
        found[kind & 0x3FFF] = data[at + _ATTRIBUTE.size : at + size]
        at += size + (-size % 4)
    return found


def pieces(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(type, flags, sequence number, what follows the header) of each message of one datagram, whatever the family."""
    at = 0
    while at + _HEADER.size <= len(data):
        size, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        yield kind, flags, sequence, data[at + _HEADER.size : at + size]
        at += max(size + (-size % 4), _HEADER.size)


def messages(data: bytes) -> Iterator[Message]:
    """What one datagram holds."""
    for kind, flags, sequence, body in pieces(data):
        interrupted = bool(flags & INTERRUPTED)
        if kind == ERROR:
            yield Message(kind, sequence, {}, -struct.unpack_from("=i", body)[0])
        elif kind == DONE:
            yield Message(kind, sequence, {}, interrupted=interrupted)
        else:
            yield Message(kind, sequence, attributes(body[_GENERIC.size :]), interrupted=interrupted)

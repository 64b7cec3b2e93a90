"""Resource records as values, and their text as in a zone file.

In: names and data as octets. Out: `Record`, and lines like `web.prod.svc.cluster.local. 5 IN A 10.96.0.20`.

A `Name` is the octets of RFC 1035 section 3.1: length-prefixed labels up to the root's zero, not compressed. That form
holds any octet without escapes, compares and hashes at C speed, and `lower()` is safe on it: ASCII capitals begin at 65
and a length ends at 63. The data of a record is kept the same way, as it stands on the wire without compression,
so records that an upstream sent and records of our own are the same kind of value.

Refuses: text that is no domain name (`ValueError` with the text).
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import TypeAlias

import msgspec

Name: TypeAlias = bytes

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, OPT = 1, 2, 5, 6, 12, 15, 16, 28, 33, 41
IXFR, AXFR = 251, 252

TYPE_NAMES = {
    A: "A",
    NS: "NS",
    CNAME: "CNAME",
    SOA: "SOA",
    PTR: "PTR",
    13: "HINFO",
    MX: "MX",
    TXT: "TXT",
    AAAA: "AAAA",
    SRV: "SRV",
    35: "NAPTR",
    39: "DNAME",
    43: "DS",
    46: "RRSIG",
    47: "NSEC",
    48: "DNSKEY",
    50: "NSEC3",
    64: "SVCB",
    65: "HTTPS",
    IXFR: "IXFR",
    AXFR: "AXFR",
    255: "ANY",
    257: "CAA",
}
TYPE_NUMBERS = {name: number for number, name in TYPE_NAMES.items()}

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
RCODE_NAMES = {
    NOERROR: "NOERROR",
    FORMERR: "FORMERR",
    SERVFAIL: "SERVFAIL",
    NXDOMAIN: "NXDOMAIN",
    NOTIMP: "NOTIMP",
    REFUSED: "REFUSED",
    BADVERS: "BADVERS",
}

OCTETS = {str(value): value for value in range(256)}
LONGEST_NAME = 255  # octets, the root included (RFC 1035 section 2.3.4)
LONGEST_LABEL = 63

_SRV, _TIMERS = Struct("!3H"), Struct("!5I")
_PIECE = re.compile(r"\\([0-9]{3})|\\(.)|(\.)|([^\\.]+)", re.DOTALL)


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record of class IN. `ttl` in seconds; `data` as RDATA on the wire, names in it not compressed."""

    owner: Name
    type: int
    ttl: int
    data: bytes


def name_of(text: str) -> Name:
    """The name that `text` spells, always absolute, with the escapes of a zone file (RFC 1035 section 5.1)."""
    if text == ".":
        return b"\0"
    labels, at = [bytearray()], 0
    for piece in _PIECE.finditer(text):
        number, char, dot, plain = piece.groups()
        at = piece.end()
        if dot:
            labels.append(bytearray())
        elif number and int(number) > 255:
            raise ValueError(f"{text!r} is no domain name: \\{number} is no octet")
        else:
            labels[-1] += bytes([int(number)]) if number else (char or plain).encode()
    if not labels[-1] and len(labels) > 1:
        labels.pop()  # the last dot
    if at != len(text) or not all(0 < len(label) <= LONGEST_LABEL for label in labels):
        raise ValueError(f"{text!r} is no domain name: between dots stand 1 to {LONGEST_LABEL} octets")
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    if len(name) > LONGEST_NAME:
        raise ValueError(f"{text!r} is no domain name: it is longer than {LONGEST_NAME} octets")
    return name


def labels_of(name: Name) -> list[bytes]:
    """The labels from left to right, without the root's."""
    labels, at = [], 0
    while size := name[at]:
        labels.append(name[at + 1 : at + 1 + size])
        at += size + 1
    return labels


def text_of(name: Name) -> str:
    """The name as in a zone file, with the last dot; octets outside printable ASCII as `\\DDD`."""
    return "".join(_label_text(label) + "." for label in labels_of(name)) or "."


def _label_text(label: bytes) -> str:
    return "".join(
        f"\\{chr(octet)}" if octet in b'.\\"();@$' else chr(octet) if 33 <= octet < 127 else f"\\{octet:03d}"
        for octet in label
    )


def line_of(record: Record) -> str:
    """One line: owner, TTL, class, type, data. A type we cannot spell is `TYPE64 \\# 3 010203` (RFC 3597)."""
    kind = TYPE_NAMES.get(record.type, f"TYPE{record.type}")
    return f"{text_of(record.owner)} {record.ttl} IN {kind} {_data_text(record.type, record.data)}"


def _data_text(kind: int, data: bytes) -> str:
    if kind == A:
        return str(IPv4Address(data))
    if kind == AAAA:
        return str(IPv6Address(data))
    if kind in (NS, CNAME, PTR):
        return text_of(data)
    if kind == SRV:
        return f"{_u16(data, 0)} {_u16(data, 2)} {_u16(data, 4)} {text_of(data[6:])}"
    if kind == SOA:
        mname = name_at(data, 0)
        rname = name_at(data, len(mname))
        tail = len(mname) + len(rname)
        numbers = (int.from_bytes(data[at : at + 4]) for at in range(tail, tail + 20, 4))
        return " ".join([text_of(mname), text_of(rname), *map(str, numbers)])
    if kind == TXT:
        return " ".join(f'"{_string_text(part)}"' for part in _strings(data))
    return f"\\# {len(data)} {data.hex()}"


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2])


def _strings(data: bytes) -> list[bytes]:
    parts, at = [], 0
    while at < len(data):
        parts.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return parts


def _string_text(part: bytes) -> str:
    return "".join(
        f"\\{chr(octet)}" if octet in b'\\"' else chr(octet) if 32 <= octet < 127 else f"\\{octet:03d}"
        for octet in part
    )


def name_at(data: bytes, start: int) -> Name:
    """The name that begins at `start` of uncompressed octets."""
    at = start
    while size := data[at]:
        at += size + 1
    return data[start : at + 1]


def packed(address: str) -> bytes | None:
    """4 or 16 octets, None where the text is no IP address. An IPv4 address mapped into IPv6 is 4 octets, as in Go."""
    octets = address.split(".")
    if len(octets) == 4 and all(octet in OCTETS for octet in octets):
        return bytes([OCTETS[octet] for octet in octets])
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        if parsed.scope_id is not None:
            return None
        if parsed.ipv4_mapped is not None:
            return parsed.ipv4_mapped.packed
    return parsed.packed


def srv_data(priority: int, weight: int, port: int, target: Name) -> bytes:
    return _SRV.pack(priority, weight, port) + target


def soa_data(mname: Name, rname: Name, serial: int, minimum: int) -> bytes:
    """RFC 1035 section 3.3.13 with the timers that CoreDNS gives a cluster zone: 7200, 1800 and 86400 seconds."""
    return mname + rname + _TIMERS.pack(serial & 0xFFFFFFFF, 7200, 1800, 86400, minimum)


def txt_data(text: str) -> bytes:
    """One character-string of at most 255 octets."""
    octets = text.encode()
    return bytes([len(octets)]) + octets

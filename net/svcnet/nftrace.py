"""The kernel's own trace of packets through nf_tables, for as long as a `with` lasts.

In: what packets to follow. Out: which rules each of them met, by table, chain and number, and its headers. A table of
our own marks the packets (`meta nftrace set 1`) and belongs to our socket (NFT_TABLE_F_OWNER, Linux 5.12): the kernel
removes it when the socket closes, however this program ends. Of TCP only the first packet of a connection is marked,
of UDP at most `LIMIT` packets a second. Everything happens in the network namespace of the calling thread.

Refused with `LiveTraceError`: no right (CAP_NET_ADMIN), a kernel without nf_tables or owned tables. Packets are seen by
rules of nf_tables alone; those of iptables-legacy do not report.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Mapping
from types import TracebackType

import msgspec

from svcnet import nfnetlink
from svcnet.nfnetlink import APPEND, CREATE, DUMP, ERROR, NESTED, NF_TABLES, attribute, long, message, number, text
from svcnet.rules import Family

TABLE = "svcplane-trace"
LIMIT = 50
BUFFER = 4 << 20  # bytes of trace messages that may wait
QUIET = 0.3
"""Seconds without a message after which a packet's way is over."""

_NETFILTER = 12  # NETLINK_NETFILTER
_TRACE_GROUP = 9  # NFNLGRP_NFTRACE
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_SO_RCVBUFFORCE = 33
_NEWTABLE, _NEWCHAIN, _NEWRULE, _GETRULE, _TRACE = (NF_TABLES << 8 | number for number in (0, 3, 6, 7, 17))
_OWNER = 0x2  # NFT_TABLE_F_OWNER
_FAMILIES = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}
_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": 132}
_HOOKS = {"prerouting": 0, "output": 3}  # NF_INET_PRE_ROUTING, NF_INET_LOCAL_OUT
_BEFORE_RAW = -310
_RULE, _POLICY = 3, 1  # NFT_TRACETYPE_RULE, NFT_TRACETYPE_POLICY
_NETWORK, _TRANSPORT = 1, 2  # NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER
_ADDRESSES = {"IPv4": (12, 16, 4), "IPv6": (8, 24, 16)}  # offsets of source and destination, length


class LiveTraceError(Exception):
    """The kernel does not trace for us; the message says why."""


class Met(msgspec.Struct, frozen=True):
    """A rule that matched; `number` counts from 1, as `iptables -L --line-numbers` does."""

    table: str
    chain: str
    number: int


class Followed(msgspec.Struct, frozen=True):
    """One packet's way. `destination` and `port` are the last that a chain saw: after DNAT.

    `dropped` tells a verdict of DROP, by a rule (a REJECT is one) or by the policy of a chain; `chains` the base
    chains on its way in order, as `table chain`.
    """

    source: str
    destination: str
    port: int
    met: tuple[Met, ...]
    chains: tuple[str, ...]
    dropped: bool


class LiveTrace:
    """Follows packets to an address and port, from `source` if given, while entered."""

    def __init__(self, family: Family, destination: str, port: int, protocol: str, source: str = "") -> None:
        self._family = family
        self._match = (destination, port, protocol, source)
        self._sequence = 0
        self._handles: dict[tuple[str, str], dict[int, int]] = {}

    def __enter__(self) -> LiveTrace:
        self._listening = _socket()
        self._asking = _socket()
        try:
            self._listening.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER)
            self._listening.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _TRACE_GROUP)
            self._mark_packets()
        except BaseException as error:
            self.__exit__(None, None, None)
            if isinstance(error, OSError):
                raise LiveTraceError(_why(error)) from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._asking.close()  # and with it goes the table
        self._listening.close()

    def first(self, seconds: float) -> Followed | None:
        """The first packet that went through a nat chain; None if none came in time.

        Packets of a connection that is known already never do.
        """
        ways: dict[bytes, list[Mapping[int, bytes]]] = {}
        senders: dict[bytes, bytes] = {}
        deadline = time.monotonic() + seconds
        quiet_at = deadline
        while (left := min(deadline, quiet_at) - time.monotonic()) > 0:
            if not select.select([self._listening], [], [], left)[0]:
                continue
            for each in nfnetlink.messages(self._listening.recv(1 << 16)):
                if each.kind == _TRACE:
                    sender = senders.setdefault(each.attributes.get(6, b""), self._sender(each.attributes))
                    ways.setdefault(sender, []).append(each.attributes)
            quiet_at = time.monotonic() + QUIET if _through_nat(ways) else deadline
        way = _through_nat(ways)
        return self._followed(way) if way else None

    def _sender(self, found: Mapping[int, bytes]) -> bytes:
        """Source address and port: the kernel's own id of a packet changes when it passes loopback."""
        source_at, _, size = _ADDRESSES[self._family]
        return found.get(8, b"")[source_at : source_at + size] + found.get(9, b"")[:2]

    def _mark_packets(self) -> None:
        family = _FAMILIES[self._family]
        sent = [message(_NEWTABLE, CREATE | nfnetlink.ACK, 1, family, text(1, TABLE), number(2, _OWNER))]
        for name, hook in _HOOKS.items():
            where = attribute(4 | NESTED, number(1, hook), number(2, _BEFORE_RAW))
            sent.append(message(_NEWCHAIN, CREATE, 2, family, text(1, TABLE), text(3, name), where, text(7, "filter")))
            rule = attribute(4 | NESTED, *marking(self._family, *self._match))
            sent.append(message(_NEWRULE, CREATE | APPEND, 3, family, text(1, TABLE), text(2, name), rule))
        self._asking.send(nfnetlink.batch(sent, 0))
        self._asking.settimeout(5.0)
        for each in nfnetlink.messages(self._asking.recv(1 << 16)):
            if each.kind == ERROR and each.error:
                raise OSError(each.error, os.strerror(each.error))

    def _followed(self, way: list[Mapping[int, bytes]]) -> Followed:
        met, chains = [], []
        source = destination = ""
        port = 0
        dropped = False
        for found in way:
            table, chain = (found.get(kind, b"").rstrip(b"\0").decode() for kind in (1, 2))
            if 8 in found:
                source, destination = _addresses(self._family, found[8])
                port = struct.unpack_from("!H", found[9], 2)[0] if len(found.get(9, b"")) >= 4 else port
            if table == TABLE:
                continue
            if 8 in found:
                chains.append(f"{table} {chain}")
            if _number(found, 4) == _RULE and 3 in found:  # the end of a chain is told as a rule without handle
                index = self._index(table, chain, struct.unpack("!Q", found[3])[0])
                met.append(Met(table, chain, index))
            dropped = dropped or _verdict(found) == 0
        return Followed(source, destination, port, tuple(met), tuple(chains), dropped)

    def _index(self, table: str, chain: str, handle: int) -> int:
        """The number of a rule in its chain; 0 if it is gone."""
        if (table, chain) not in self._handles:
            self._sequence += 1
            family = _FAMILIES[self._family]
            self._asking.send(message(_GETRULE, DUMP, self._sequence, family, text(1, table), text(2, chain)))
            handles: dict[int, int] = {}
            while not self._take_handles(handles):
                pass
            self._handles[table, chain] = handles
        return self._handles[table, chain].get(handle, 0)

    def _take_handles(self, handles: dict[int, int]) -> bool:
        """Reads one datagram of a dump; whether it was the last."""
        for each in nfnetlink.messages(self._asking.recv(1 << 16)):
            if each.sequence == self._sequence:
                if each.kind in (nfnetlink.DONE, ERROR):
                    return True
                handles[struct.unpack("!Q", each.attributes[3])[0]] = len(handles) + 1
        return False


def marking(family: Family, destination: str, port: int, protocol: str, source: str) -> list[bytes]:
    """The expressions of the marking rule: addresses, protocol, port, SYN of TCP, then `meta nftrace set 1`."""
    source_at, destination_at, _ = _ADDRESSES[family]
    spelled = socket.AF_INET if family == "IPv4" else socket.AF_INET6
    compared = [
        _meta_compared(16, bytes([_PROTOCOLS[protocol]])),  # NFT_META_L4PROTO
        _payload_compared(_NETWORK, destination_at, socket.inet_pton(spelled, destination)),
        _payload_compared(_TRANSPORT, 2, struct.pack("!H", port)),
    ]
    if source:
        compared.append(_payload_compared(_NETWORK, source_at, socket.inet_pton(spelled, source)))
    if protocol == "tcp":
        compared.append(_payload_compared(_TRANSPORT, 13, b"\x02", mask=b"\x12"))  # SYN and not ACK
    else:
        # NFTA_LIMIT_RATE, _UNIT (seconds), _BURST, _TYPE (packets), _FLAGS
        compared.append(_expression("limit", long(1, LIMIT), long(2, 1), number(3, 5), number(4, 0), number(5, 0)))
    one = attribute(2 | NESTED, attribute(1, b"\x01"))
    return [
        *compared,
        _expression("immediate", number(1, 1), one),
        _expression("meta", number(2, 12), number(3, 1)),  # NFT_META_NFTRACE from register 1
    ]


def _expression(name: str, *attributes: bytes) -> bytes:
    return attribute(1 | NESTED, text(1, name), attribute(2 | NESTED, *attributes))


def _compared(value: bytes) -> bytes:
    return _expression("cmp", number(1, 1), number(2, 0), attribute(3 | NESTED, attribute(1, value)))


def _meta_compared(key: int, value: bytes) -> bytes:
    return _expression("meta", number(2, key), number(1, 1)) + _compared(value)


def _payload_compared(base: int, offset: int, value: bytes, mask: bytes = b"") -> bytes:
    loaded = _expression("payload", number(1, 1), number(2, base), number(3, offset), number(4, len(value)))
    if mask:
        parts = (number(1, 1), number(2, 1), number(3, len(mask)))
        zero = attribute(5 | NESTED, attribute(1, bytes(len(mask))))
        loaded += _expression("bitwise", *parts, attribute(4 | NESTED, attribute(1, mask)), zero)
    return loaded + _compared(value)


def _through_nat(ways: Mapping[bytes, list[Mapping[int, bytes]]]) -> list[Mapping[int, bytes]]:
    """The first way that met a nat chain, [] if none did."""
    return next((way for way in ways.values() if any(found.get(1) == b"nat\0" for found in way)), [])


def _number(found: Mapping[int, bytes], kind: int) -> int:
    return int.from_bytes(found.get(kind, b""), "big")


def _verdict(found: Mapping[int, bytes]) -> int:
    """The code of a verdict: 0 is DROP, 1 ACCEPT, negative ones go on; a chain's policy counts as one."""
    if 16 in found and _number(found, 4) == _POLICY:
        return _number(found, 16)
    if 5 not in found:
        return 1
    return int.from_bytes(nfnetlink.attributes(found[5]).get(1, b"\0\0\0\1"), "big", signed=True)


def _addresses(family: Family, header: bytes) -> tuple[str, str]:
    source_at, destination_at, size = _ADDRESSES[family]
    spelled = _FAMILIES[family]
    return (
        socket.inet_ntop(spelled, header[source_at : source_at + size]),
        socket.inet_ntop(spelled, header[destination_at : destination_at + size]),
    )


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
    made.bind((0, 0))
    return made


def _why(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"the kernel's trace needs root (CAP_NET_ADMIN), and no other trace beside it (table {TABLE})"
    if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.EPROTONOSUPPORT):
        return f"this kernel has no nf_tables with tables that end with their owner (Linux 5.12): {error.strerror}"
    return f"the kernel refuses to trace: {error.strerror}"

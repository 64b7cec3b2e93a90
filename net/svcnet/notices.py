"""What the kernel announces by itself: that somebody changed netfilter's rules, or an interface's addresses.

A `Notices` calls back from a thread of its own, for the network namespace of the thread that made it. A notice of rules
names the chains that were changed, if they were few. On legacy hosts nothing is announced; there `fingerprint` tells in
one call, whatever a table's size, whether rules were added or removed; nf_tables count transactions: `generation`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

from svcnet import nfnetlink
from svcnet.rules import Family

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
ADDRESSES = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
NF_TABLES = 1 << (7 - 1)  # NFNLGRP_NFTABLES
NEWGEN, GETGEN = 10 << 8 | 15, 10 << 8 | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN, NFT_MSG_GETGEN
NEWTABLE, DELTABLE, NEWCHAIN, DELCHAIN, NEWRULE, DELRULE = (10 << 8 | each for each in (0, 2, 3, 5, 6, 8))
TABLES = frozenset({"raw", "mangle", "nat", "filter", "security"})
"""Of iptables."""
MOST_NAMED = 64
"""Chains that a notice names at most."""
ANSWER_SECONDS = 10.0
UNKNOWN = 0
"""Stands for a sender whose notice was lost: the kernel's own port."""

Named: TypeAlias = frozenset[tuple[Family, str, str]]
"""Family, table and chain."""

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_WAITING = 1 << 20  # bytes of messages that may wait for a transaction's end
# A classic BPF program over the first message of a packet: it passes if its type, at offset 4, is NEWGEN.
_BPF = struct.Struct("=HBBI")
_ONLY_NEWGEN = b"".join(
    _BPF.pack(*instruction)
    for instruction in (
        (0x28, 0, 0, 4),  # load a half word, in network order
        (0x15, 0, 1, socket.htons(NEWGEN)),  # skip one instruction if it differs
        (0x06, 0, 0, 0xFFFFFFFF),  # pass
        (0x06, 0, 0, 0),  # drop
    )
)
# Drops what a port sent that no process ID reaches: our own writers have such, and write most of all.
_FROM_A_PROCESS = b"".join(
    _BPF.pack(*instruction)
    for instruction in (
        (0x30, 0, 0, 15 if sys.byteorder == "little" else 12),  # load the port's highest byte
        (0x45, 0, 1, 0x80),  # skip one instruction if the highest bit is not set
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # pass
    )
)


class Notices:
    """Calls `deliver` with the netlink port of whoever caused a notice, or `UNKNOWN` if some were lost."""

    def __init__(
        self,
        name: str,
        listening: socket.socket,
        deliver: Callable[[int], None],
        closing: Callable[[], None] = lambda: None,
    ) -> None:
        self._listening = listening
        self._close = closing
        self._deliver = deliver
        self._closing = False
        self._thread = threading.Thread(target=self._read, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; nothing is delivered afterwards."""
        self._closing = True
        # A netlink socket cannot be shut down; a message from ourselves wakes the reader.
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, self._listening.proto) as waker:
            waker.sendto(_HEADER.pack(_HEADER.size, NEWGEN, 0, 0, 0), (self._listening.getsockname()[0], 0))
        self._thread.join(2.0)
        self._listening.close()
        self._close()

    def _read(self) -> None:
        while True:
            try:
                message = self._listening.recv(1 << 16)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    return
                message = b""
            if self._closing:
                return
            self._deliver(_HEADER.unpack_from(message)[4] if len(message) >= _HEADER.size else UNKNOWN)


def _listening(protocol: int, groups: int, program: bytes = b"") -> socket.socket:
    found = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    if program:
        held = ctypes.create_string_buffer(program)
        # struct sock_fprog: number of instructions, pointer to them
        fprog = struct.pack("HL", len(program) // _BPF.size, ctypes.addressof(held))
        found.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
    found.bind((0, groups))
    return found


class _Changed:
    """The chains of transactions, read when their end is told: the kernel tells of a transaction's parts before that.

    What is lost, or too much, makes the transaction one of which nothing is known.
    """

    def __init__(self) -> None:
        self._listening = _listening(NETLINK_NETFILTER, NF_TABLES, _FROM_A_PROCESS)
        self._listening.setblocking(False)
        with suppress(PermissionError):
            self._listening.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _WAITING)
        self._found: dict[int, set[tuple[Family, str, str]] | None] = {}
        self.close = self._listening.close

    def by(self, writer: int) -> Named | None:
        """The chains in the transaction of this writer that has just ended; None if that is not known."""
        lost = False
        with suppress(BlockingIOError):
            while True:
                try:
                    self._take(self._listening.recv(1 << 16))
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    lost = True
        if lost:
            self._found = dict.fromkeys(self._found)
        found = self._found.pop(writer, None)
        return None if found is None else frozenset(found)

    def _take(self, received: bytes) -> None:
        _, kind, _, _, writer = _HEADER.unpack_from(received)
        found = self._found.setdefault(writer, set()) if kind != NEWGEN else None
        if found is None:
            return
        for kind, _, _, body in nfnetlink.pieces(received):
            where = _where(kind, body)
            if where:
                found.add(where)
            if where is None or len(found) > MOST_NAMED:
                self._found[writer] = None
                return


def _where(kind: int, body: bytes) -> tuple[Family, str, str] | tuple[()] | None:
    """The chain that a message is about; () if it is not about chains, None if it is about all of a table."""
    family = _NUMBERS.get(body[0])
    if family is None or kind not in (NEWTABLE, DELTABLE, NEWCHAIN, DELCHAIN, NEWRULE, DELRULE):
        return ()
    attributes = nfnetlink.attributes(body[4:])
    table = _text(attributes[1])  # NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE
    if kind in (NEWTABLE, DELTABLE):
        return None if table in TABLES else ()
    # NFTA_CHAIN_NAME, NFTA_RULE_CHAIN
    return family, table, _text(attributes[3 if kind in (NEWCHAIN, DELCHAIN) else 2])


def _text(attribute: bytes) -> str:
    return attribute.rstrip(b"\0").decode(errors="replace")


def rule_changes(deliver: Callable[[int, Named | None], None]) -> Notices:
    """Tells of every nf_tables transaction, and the chains in it; None if that is not known, or too many.

    iptables-nft and nft have their process ID as port: one knows one's own. The message that ends a transaction is
    never lost, however many rules were in it: it comes by a socket of its own.
    """
    listening = _listening(NETLINK_NETFILTER, NF_TABLES, _ONLY_NEWGEN)
    changed = _Changed()
    return Notices("nf_tables notices", listening, lambda writer: deliver(writer, changed.by(writer)), changed.close)


def address_changes(deliver: Callable[[int], None]) -> Notices:
    """Tells of every address that an interface gains or loses."""
    return Notices("address notices", _listening(NETLINK_ROUTE, ADDRESSES), deliver)


def generation() -> int:
    """Another number after every transaction of nf_tables, of whatever family. OSError if it cannot be read."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as asking:
        asking.settimeout(ANSWER_SECONDS)
        asking.sendto(nfnetlink.message(GETGEN, 0, 0, 0), (0, 0))
        (answer, *_) = nfnetlink.messages(asking.recv(1 << 12))
        if answer.kind != NEWGEN:
            raise OSError(answer.error, os.strerror(answer.error), "generation of nf_tables")
        return int.from_bytes(answer.attributes[1], "big")


_INFO, _ENTRIES = struct.Struct("=32sI5I5III"), 12  # struct ipt_getinfo, ip6t_getinfo; num_entries in it
_GET_INFO = 64  # IPT_SO_GET_INFO, IP6T_SO_GET_INFO
_NUMBERS: dict[int, Family] = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
_FAMILIES = {"IPv4": (socket.AF_INET, socket.IPPROTO_IP), "IPv6": (socket.AF_INET6, socket.IPPROTO_IPV6)}


def fingerprint(family: Family, *tables: str) -> bytes:
    """Another value whenever rules came to or left one of these legacy tables. OSError if one cannot be read.

    Number of entries, size and hook offsets: an edit that keeps all of them is not seen.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    domain, level = _FAMILIES[family]
    found = b""
    with socket.socket(domain, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for table in tables:
            info = ctypes.create_string_buffer(table.encode(), _INFO.size)
            size = ctypes.c_uint32(_INFO.size)
            if libc.getsockopt(raw.fileno(), level, _GET_INFO, info, ctypes.byref(size)) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), f"{family} table {table}")
            found += info.raw
    return found


def entries(fingerprint: bytes) -> int:
    """How many rules and chains the tables of a fingerprint hold."""
    return sum(fields[_ENTRIES] for fields in _INFO.iter_unpack(fingerprint))

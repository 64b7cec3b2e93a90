"""What the kernel announces by itself: that somebody changed netfilter's rules, or an interface's addresses.

A `Notices` calls back from a thread of its own, for the network namespace of the thread that made it. A notice does not
say what is different now: a full look has to follow. On legacy hosts nothing is announced; there `fingerprint` tells in
one call, whatever a table's size, whether rules were added or removed; nf_tables count transactions: `generation`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import threading
from collections.abc import Callable

from svcnet import nfnetlink
from svcnet.rules import Family

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
ADDRESSES = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
NF_TABLES = 1 << (7 - 1)  # NFNLGRP_NFTABLES
NEWGEN, GETGEN = 10 << 8 | 15, 10 << 8 | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN, NFT_MSG_GETGEN
ANSWER_SECONDS = 10.0
UNKNOWN = 0
"""Stands for a sender whose notice was lost: the kernel's own port."""

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_SO_ATTACH_FILTER = 26
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


class Notices:
    """Calls `deliver` with the netlink port of whoever caused a notice, or `UNKNOWN` if some were lost."""

    def __init__(self, name: str, listening: socket.socket, deliver: Callable[[int], None]) -> None:
        self._listening = listening
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


def rule_changes(deliver: Callable[[int], None]) -> Notices:
    """Tells of every nf_tables transaction. iptables-nft and nft have their process ID as port: one knows one's own.

    Only the message that ends a transaction passes, so that one of a million rules costs one message.
    """
    return Notices("nf_tables notices", _listening(NETLINK_NETFILTER, NF_TABLES, _ONLY_NEWGEN), deliver)


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


_INFO = struct.Struct("=32sI5I5III")  # struct ipt_getinfo, ip6t_getinfo
_GET_INFO = 64  # IPT_SO_GET_INFO, IP6T_SO_GET_INFO
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

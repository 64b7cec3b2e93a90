"""Named packet counters of netfilter (nfacct): rules count into them, and they outlive the rules.

Spoken to over nfnetlink (linux/netfilter/nfnetlink_acct.h) in the network namespace of the calling thread. Kernels
without nfnetlink_acct have no such counters; `ensure` says so by False.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator

_NETLINK_NETFILTER = 12  # linux/netlink.h; the socket module does not name it
_SUBSYSTEM = 7  # NFNL_SUBSYS_ACCT
_NEW, _GET, _DELETE = 0, 1, 3
_NAME, _PACKETS = 1, 2
_REQUEST, _ACK, _CREATE = 0x1, 0x4, 0x400
_ERROR = 2  # NLMSG_ERROR
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_GENERIC = bytes(4)  # struct nfgenmsg: AF_UNSPEC, version 0, resource 0
SECONDS = 2.0


def ensure(names: Iterable[str]) -> bool:
    """Whether counters of all these names (31 bytes at most) exist, made now if need be; counts are kept."""
    try:
        return all(_request(_NEW, _CREATE | _ACK, name) in (0, errno.EBUSY) for name in names)
    except OSError:
        return False


def delete(names: Iterable[str]) -> list[str]:
    """Deletes the counters of these names that exist and that no rule counts into; returns which those were."""
    try:
        return [name for name in names if _request(_DELETE, _ACK, name) == 0]
    except OSError:
        return []


def packets(name: str) -> int:
    """How many packets were counted; OSError if there is no such counter."""
    answer = _request(_GET, 0, name)
    if isinstance(answer, int):
        raise OSError(answer, os.strerror(answer), name)
    for kind, value in _attributes(answer):
        if kind == _PACKETS:
            return int.from_bytes(value, "big")
    raise OSError(errno.EPROTO, "the kernel's answer has no packet count", name)


def _request(command: int, flags: int, name: str) -> int | bytes:
    """The kernel's error number (0: done), or the attributes it answers with."""
    value = name.encode() + b"\0"
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), _NAME) + value
    body = _GENERIC + attribute + bytes(-len(attribute) % 4)
    message = _HEADER.pack(_HEADER.size + len(body), _SUBSYSTEM << 8 | command, _REQUEST | flags, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
        netlink.settimeout(SECONDS)
        netlink.send(message)
        answer = netlink.recv(8192)
    length, kind = _HEADER.unpack_from(answer)[:2]
    if kind == _ERROR:
        return -int.from_bytes(answer[_HEADER.size : _HEADER.size + 4], sys.byteorder, signed=True)
    return answer[_HEADER.size + len(_GENERIC) : length]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[max(_ATTRIBUTE.size, (length + 3) & ~3) :]

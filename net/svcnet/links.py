"""Addresses of this host and its network namespaces, by rtnetlink and setns(2).

All functions work on the network namespace of the calling thread. Spoken to without pyroute2, which takes 10 MiB and a
tenth of a second of a program that begins. Sources: struct nlmsghdr (linux/netlink.h), struct ifaddrmsg
(linux/if_addr.h).
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from svcnet import nfnetlink

_ATTEMPTS = 5
_SECONDS = 10.0
_CLONE_NEWNET = 0x40000000
_NEW_ADDRESS, _GET_ADDRESS = 20, 22  # RTM_NEWADDR, RTM_GETADDR
_ADDRESS, _LOCAL = 1, 2  # IFA_ADDRESS, IFA_LOCAL
_HEADER = struct.Struct("=IHHII")
_ABOUT = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index of the interface


class NamespaceError(Exception):
    """A network namespace that does not exist or may not be entered."""


def enter(namespace: str) -> None:
    """Moves the calling thread, and every process it starts from now on, into a network namespace (setns(2)).

    `namespace` is a name under /run/netns or a path such as /proc/PID/ns/net.
    """
    try:
        _enter(namespace if "/" in namespace else f"/run/netns/{namespace}")
    except OSError as error:
        raise NamespaceError(f"cannot enter network namespace {namespace!r}: {error}") from error


def _enter(path: str) -> None:
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(opened, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(opened)


class LinkError(Exception):
    """The addresses of this host could not be read."""


def local_addresses() -> frozenset[str]:
    """Every address that an interface of this namespace carries, as canonical text.

    On a busy node addresses come and go while they are read; then they are read again, a few times.
    """
    return frozenset(str(address) for _, address in _addresses("this host"))


def addresses_of(interface: str) -> tuple[str, ...]:
    """The addresses of one interface as canonical text, link-local IPv6 with its zone; empty if there is none."""
    try:
        wanted = socket.if_nametoindex(interface)
    except OSError:
        return ()
    found = [address for index, address in _addresses(interface) if index == wanted]
    return tuple(f"{one}%{interface}" if one.version == 6 and one.is_link_local else str(one) for one in found)


def _addresses(what: str) -> list[tuple[int, IPv4Address | IPv6Address]]:
    """(index of the interface, address) of each, in the kernel's order."""
    for _ in range(_ATTEMPTS):
        try:
            found = list(_dump())
        except (OSError, struct.error) as error:
            raise LinkError(f"cannot read the addresses of {what}: {error}") from error
        if None not in found:
            return [each for each in found if each]
    raise LinkError(f"the addresses of {what} changed while they were read, {_ATTEMPTS} times")


def _dump() -> Iterator[tuple[int, IPv4Address | IPv6Address] | None]:
    """What one reading gives; None if it was disturbed."""
    request = _ABOUT.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    header = _HEADER.pack(_HEADER.size + len(request), _GET_ADDRESS, nfnetlink.REQUEST | nfnetlink.DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as kernel:
        kernel.settimeout(_SECONDS)
        kernel.send(header + request)
        while True:
            for kind, flags, _, body in nfnetlink.pieces(kernel.recv(1 << 16)):
                if flags & nfnetlink.INTERRUPTED:
                    yield None
                if kind == nfnetlink.DONE:
                    return
                if kind == nfnetlink.ERROR:
                    number = -struct.unpack_from("=i", body)[0]
                    raise OSError(number, os.strerror(number))
                if kind == _NEW_ADDRESS:
                    attributes = nfnetlink.attributes(body[_ABOUT.size :])
                    if packed := attributes.get(_LOCAL) or attributes.get(_ADDRESS):
                        yield _ABOUT.unpack_from(body)[4], ip_address(packed)

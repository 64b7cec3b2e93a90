"""Addresses of this host, links that carry them, and its network namespaces, by pyroute2.

All functions work on the network namespace of the calling thread.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from ipaddress import ip_address

import pyroute2
from pyroute2 import netns
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

_ATTEMPTS = 5


class NamespaceError(Exception):
    """A network namespace that does not exist or may not be entered."""


def enter(namespace: str) -> None:
    """Moves the calling thread, and every process it starts from now on, into a network namespace (setns(2)).

    `namespace` is a name under /run/netns or a path such as /proc/PID/ns/net.
    """
    try:
        netns.setns(namespace, flags=0)
    except OSError as error:
        raise NamespaceError(f"cannot enter network namespace {namespace!r}: {error}") from error


class LinkError(Exception):
    """The addresses of this host could not be read."""


def local_addresses() -> frozenset[str]:
    """Every address that an interface of this namespace carries, as canonical text.

    On a busy node addresses come and go while they are read; then they are read again, a few times.
    """
    last: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            with pyroute2.IPRoute() as route:
                messages = list(route.get_addr())
        except NetlinkDumpInterrupted as error:
            last = error
        except (NetlinkError, OSError) as error:
            raise LinkError(f"cannot read the addresses of this host: {error}") from error
        else:
            found = (message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS") for message in messages)
            return frozenset(str(ip_address(address)) for address in found if address)
    raise LinkError(f"the addresses of this host changed while they were read, {_ATTEMPTS} times: {last}")


def addresses_of(interface: str) -> tuple[str, ...]:
    """The addresses of one interface as canonical text, link-local IPv6 with its zone; empty if there is none."""
    try:
        with pyroute2.IPRoute() as route:
            indexes = route.link_lookup(ifname=interface)
            messages = list(route.get_addr(index=indexes[0])) if indexes else []
    except (NetlinkError, OSError) as error:
        raise LinkError(f"cannot read the addresses of {interface}: {error}") from error
    found = (message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS") for message in messages)
    parsed = (ip_address(address) for address in found if address)
    return tuple(f"{one}%{interface}" if one.version == 6 and one.is_link_local else str(one) for one in parsed)


LINK_KINDS = ("dummy", "bridge", "ifb")
"""What a link may be that carries addresses and no cable, in the order of trying; kernels lack one or the other."""
LOOPBACK = "lo"
_IFA_F_NODAD = 0x02
_IFF_UP = 0x1


def ensure_link(name: str) -> str:
    """The interface to put addresses on: that of this name, made if there is none; `lo` where none can be made."""
    try:
        with pyroute2.IPRoute() as route:
            if route.link_lookup(ifname=name):
                return name
            for kind in LINK_KINDS:
                try:
                    route.link("add", ifname=name, kind=kind)
                    return name
                except NetlinkError as error:
                    if error.code not in (errno.EOPNOTSUPP, errno.ENOENT):
                        raise
            return LOOPBACK
    except (NetlinkError, OSError) as error:
        raise LinkError(f"cannot make the interface {name}: {error}") from error


def ensure_addresses(interface: str, addresses: Iterable[str]) -> int:
    """Puts each address on the interface as a host's own; how many were not there.

    The interface need not be up: such an address is local as soon as it is there.
    """
    added = 0
    try:
        with pyroute2.IPRoute() as route:
            index = _index(route, interface)
            for address in addresses:
                six = ":" in address
                try:
                    route.addr(
                        "add",
                        index=index,
                        address=address,
                        prefixlen=128 if six else 32,
                        flags=_IFA_F_NODAD if six else 0,
                    )
                    added += 1
                except NetlinkError as error:
                    if error.code != errno.EEXIST:
                        raise
    except (NetlinkError, OSError) as error:
        raise LinkError(f"cannot put addresses on {interface}: {error}") from error
    return added


def remove_addresses(interface: str, addresses: Iterable[str]) -> None:
    """Takes host addresses from an interface; what is not there is gone already."""
    try:
        with pyroute2.IPRoute() as route:
            if not (found := route.link_lookup(ifname=interface)):
                return
            for address in addresses:
                try:
                    route.addr("del", index=found[0], address=address, prefixlen=128 if ":" in address else 32)
                except NetlinkError as error:
                    if error.code not in (errno.EADDRNOTAVAIL, errno.ENODEV):
                        raise
    except (NetlinkError, OSError) as error:
        raise LinkError(f"cannot take addresses from {interface}: {error}") from error


def is_carrier(name: str) -> bool:
    """Whether there is a link of this name that only carries addresses: of LINK_KINDS, and never set up."""
    try:
        with pyroute2.IPRoute() as route:
            for link in route.get_links(ifname=name) if route.link_lookup(ifname=name) else ():
                info = link.get_attr("IFLA_LINKINFO")
                kind = info.get_attr("IFLA_INFO_KIND") if info is not None else None
                return kind in LINK_KINDS and not link["flags"] & _IFF_UP
    except (NetlinkError, OSError) as error:
        raise LinkError(f"cannot look at the interface {name}: {error}") from error
    return False


def remove_link(name: str) -> None:
    """Removes a link; nothing happens if it is gone."""
    try:
        with pyroute2.IPRoute() as route:
            for index in route.link_lookup(ifname=name):
                route.link("del", index=index)
    except (NetlinkError, OSError) as error:
        raise LinkError(f"cannot remove the interface {name}: {error}") from error


def _index(route: pyroute2.IPRoute, interface: str) -> int:
    found: list[int] = route.link_lookup(ifname=interface)
    if not found:
        raise LinkError(f"there is no interface {interface}")
    return found[0]

"""Links that carry addresses and no cable, by pyroute2.

All functions work on the network namespace of the calling thread, and raise `LinkError`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

import pyroute2
from pyroute2.netlink.exceptions import NetlinkError

from svcnet.links import LinkError

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

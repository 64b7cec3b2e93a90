"""Addresses of this host and its network namespaces, by pyroute2.

All functions work on the network namespace of the calling thread.
"""

from __future__ import annotations

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

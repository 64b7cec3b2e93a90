"""Which address a new pod gets: the next free one of the node's range, as CNI's host-local chooses. Pure.

The first two addresses of a range and, for IPv4, the last are never given: network, gateway by custom, broadcast.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


class ExhaustedError(Exception):
    """A range without a free address."""


def next_free(cidr: str, taken: Collection[str], last: str) -> str:
    """The first free address after `last` ("": from the start), going round. Raises ExhaustedError."""
    network = ip_network(cidr)
    low = int(network.network_address) + 2
    high = int(network.broadcast_address) - (1 if network.version == 4 else 0)
    if high < low:
        raise ExhaustedError(f"no IP addresses available in range set: {cidr} is too small")
    before = int(ip_address(last)) if last and ip_address(last) in network else low - 1
    kind = IPv4Address if network.version == 4 else IPv6Address
    size = high - low + 1
    for step in range(min(size, len(taken) + 2)):
        candidate = str(kind(low + (before - low + 1 + step) % size))
        if candidate not in taken:
            return candidate
    raise ExhaustedError(f"no IP addresses available in range set: {kind(low)}-{kind(high)}")

"""Which clients are at home, and how much a stranger may be told.

In: packed source addresses, networks, replies. Out: which of the addresses are strangers', and what becomes of a reply
to one. At home is who has a private or link-local address, who is in a network that this machine is attached to, and
whom the configuration names. Strangers are asked nothing and believed nothing: over UDP their address may be forged, so
that what we say hits somebody who never asked. Then a reply is worth as much as it is larger than its question.

Response-rate limiting is that of BIND and NSD: replies are counted by second, by the client's network and by what they
say, all denials being one answer. What is more than the limit is dropped, every second one cut to its question with
TC set (a "slip"): who is really there asks again over TCP, and nobody is hit by more than was sent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

HOME: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
            "100.64.0.0/10",  # RFC 6598; pods of several providers
            *("::1/128", "fc00::/7", "fe80::/10"),
        ),
    )
)
EVERYBODY: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
MOST_KNOWN = 1 << 16  # addresses at home that are recognised without a look at the networks
MOST_COUNTED = 1 << 15  # answers and networks counted in one second
ALL = 10  # times the limit: what one network is told a second, whatever it is
SHORTEST_ATTACHED = 8  # a route for half of the world is a way out, not a network that we are in
_GATEWAY, _UP = 0x2, 0x1  # linux/route.h
_TC = 0x02  # in the first octet of the flags


class Clients:
    """`at_home`: networks beside HOME."""

    def __init__(self, at_home: Iterable[Network] = ()) -> None:
        self.at_home = tuple(at_home)
        self._networks: dict[int, dict[int, set[int]]] = {4: {}, 16: {}}
        for network in (*HOME, *self.at_home):
            bits = network.max_prefixlen - network.prefixlen
            of_size = self._networks[network.max_prefixlen // 8].setdefault(bits, set())
            of_size.add(int(network.network_address) >> bits)
        self._known: set[bytes] = set()

    def strangers(self, sources: Collection[bytes]) -> frozenset[bytes]:
        """Those of the packed addresses that are not at home."""
        known = self._known
        if known.issuperset(sources):
            return frozenset()
        if len(known) > MOST_KNOWN:
            known.clear()
        found = set()
        for source in set(sources) - known:
            if self._is_at_home(source):
                known.add(source)
            else:
                found.add(source)
        return frozenset(found)

    def _is_at_home(self, source: bytes) -> bool:
        number = int.from_bytes(source)
        return any(number >> bits in of_size for bits, of_size in self._networks[len(source)].items())


class Limiter:
    """At most `most` equal replies a second to a network (IPv4 /24, IPv6 /56), ALL times that in all; 0: no limit."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._second = 0
        self._counts: dict[tuple[bytes, bytes], int] = {}

    def passed(self, reply: bytes, client: bytes, now: float) -> bytes:
        """The reply, or what goes out in its place; nothing for silence. `now` in seconds, monotonic."""
        if not self._most or len(reply) < 12:
            return reply
        if int(now) != self._second or len(self._counts) > MOST_COUNTED:
            self._second = int(now)
            self._counts.clear()
        network = client[:3] if len(client) == 4 else client[:7]
        end = reply.find(b"\0", 12) + 5
        is_answer = not reply[3] & 0xF and reply[6:8] != b"\0\0"
        told = self._counted(network, reply[12:end].lower() if is_answer else reply[3:4])
        in_all = self._counted(network, b"")
        over = max(told - self._most, in_all - ALL * self._most)
        if over <= 0:
            return reply
        if over % 2 or reply[4:6] != b"\0\1" or len(reply) < end:
            return b""
        return reply[:2] + bytes((reply[2] | _TC, reply[3])) + b"\0\1" + bytes(6) + reply[12:end]

    def _counted(self, network: bytes, answer: bytes) -> int:
        count = self._counts[network, answer] = self._counts.get((network, answer), 0) + 1
        return count


class Guard:
    """Who is at home, and the limit for all others."""

    def __init__(self, at_home: Iterable[Network] = (), replies_a_second: int = 0) -> None:
        self.clients = Clients(at_home)
        self.limiter = Limiter(replies_a_second)


def attached(route: str, inet6: str) -> tuple[Network, ...]:
    """The networks that this machine is in, from /proc/net/route and /proc/net/if_inet6."""
    found: list[Network] = []
    for line in route.splitlines()[1:]:
        words = line.split()
        flags, destination, mask = int(words[3], 16), words[1], words[7]
        prefix = int(mask, 16).bit_count()
        if flags & _UP and not flags & _GATEWAY and prefix >= SHORTEST_ATTACHED:
            found.append(IPv4Network((bytes.fromhex(destination)[::-1], prefix)))
    for line in inet6.splitlines():
        address, _, prefix_length, *_ = line.split()
        if int(prefix_length, 16) >= SHORTEST_ATTACHED:
            found.append(IPv6Network((bytes.fromhex(address), int(prefix_length, 16)), strict=False))
    return tuple(dict.fromkeys(found))

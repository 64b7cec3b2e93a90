"""Random questions about the pools of `support.dns_objects`, from usual to broken.

In: a seed. Out: `Asked`: the octets of a message, whether it goes over TCP, and what it is for people.
"""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

import msgspec

from support.dns_objects import HOSTNAMES, NAMESPACES, PODS, PORTS, PROTOCOLS, SERVICES, V4, V6, cluster_ip
from svcdns.records import TYPE_NUMBERS, name_of

ZONE = "cluster.local"
OUTSIDE = ("www.example.org.", "alias.example.org.", "gone.example.org.")
TYPES = (1, 1, 1, 1, 28, 28, 33, 33, 12, 16, 2, 6, 5, 15, 255, 65, 64, 257, 43, 48, 35, 13, 41, 99, 65280)
OPTIONS = {
    "NSID": (3, b""),
    "ECS": (8, b"\0\1\x18\0\x0a\0\0"),
    "EXPIRE": (9, b""),
    "COOKIE": (10, b"12345678"),
    "KEEPALIVE": (11, b""),
    "PADDING": (12, bytes(9)),
    "EDE": (15, b"\0\7"),
    "LOCAL": (65001, b"x"),
}


class Asked(msgspec.Struct, frozen=True):
    """`wellformed`: a message with one question, as clients send it, whatever its flags."""

    packet: bytes
    tcp: bool
    name: str
    type: int
    wellformed: bool = True

    def __str__(self) -> str:
        return f"{self.name} TYPE{self.type} {'tcp' if self.tcp else 'udp'} {self.packet.hex()}"


class Questions:
    """An endless source. The same seed gives the same questions."""

    def __init__(self, seed: int) -> None:
        self._draw = Random(seed)  # noqa: S311  # it has to be repeated, not to be kept secret

    def question(self) -> Asked:
        draw = self._draw
        name, kind = self._spelt(self._name()), draw.choice(TYPES)
        if draw.random() < 0.4:
            kind = {"arpa": TYPE_NUMBERS["PTR"]}.get(name.lower().rstrip(".").rpartition(".")[2], kind)
        identity, tcp = draw.randrange(1 << 16), draw.random() < 0.25
        flags, klass = self._flags(), 1 if draw.random() < 0.98 else draw.choice((3, 4, 254, 255))
        body = name_of(name) + kind.to_bytes(2) + klass.to_bytes(2)
        opt = self._opt() if draw.random() < 0.5 else b""
        if name in OUTSIDE:
            # What a resolver makes of the rest is its own affair.
            opt, flags, klass = b"", 0x0100, 1
        header = (identity, flags, 1, 0, 0, 1 if opt else 0)
        packet = b"".join(value.to_bytes(2) for value in header) + body + opt
        asked = Asked(packet, tcp, name, kind, klass == 1 and not flags & 0x7800)
        return self._broken(asked) if draw.random() < 0.08 and name not in OUTSIDE else asked

    def _flags(self) -> int:
        draw = self._draw
        if draw.random() < 0.6:
            return 0x0100
        flags = draw.choice((0, 0x0100, 0x0010, 0x0020, 0x0040, 0x0130, 0x0400, 0x0200, 0x0080, 0x0103, 0x0007))
        return flags | (draw.randrange(16) << 11 if draw.random() < 0.2 else 0)

    def _opt(self) -> bytes:
        draw = self._draw
        options = draw.sample(tuple(OPTIONS.values()), draw.choice((0, 0, 0, 1, 2)))
        data = b"".join(code.to_bytes(2) + len(octets).to_bytes(2) + octets for code, octets in options)
        size = draw.choice((0, 100, 512, 1232, 4096, 65535))
        version = draw.choice((0,) * 20 + (1, 255))
        flags = draw.choice((0, 0, 0x8000, 0x4000, 0xFFFF))
        extended = draw.choice((0,) * 20 + (1,))
        ttl = extended << 24 | version << 16 | flags
        return b"\0\0\x29" + size.to_bytes(2) + ttl.to_bytes(4) + len(data).to_bytes(2) + data

    def _broken(self, asked: Asked) -> Asked:
        draw, octets = self._draw, bytearray(asked.packet)
        match draw.randrange(6):
            case 0:
                del octets[draw.randrange(len(octets)) :]
            case 1:
                octets[draw.randrange(2, len(octets))] = draw.randrange(256)
            case 2:
                octets += bytes(draw.randrange(1, 9))
            case 3:
                octets[draw.choice((5, 7, 9, 11))] = draw.randrange(4)
            case 4:
                octets[12:12] = b"\xc0\x0c"
            case _:
                octets[2] |= 0x80
        return msgspec.structs.replace(asked, packet=bytes(octets), wellformed=False)

    def _spelt(self, name: str) -> str:
        """Mostly as it is; sometimes in mixed case, or with a label too many or too few."""
        draw = self._draw
        chance = draw.random()
        if chance < 0.1:
            return "".join(draw.choice((letter, letter.upper())) for letter in name)
        if chance < 0.13:
            return f"{draw.choice(('x', '_', '_tcp', '*', 'any', 'web', 'svc', 'pod'))}.{name}"
        if chance < 0.16:
            return name.partition(".")[2] or "."
        return name

    def _name(self) -> str:
        draw = self._draw
        kinds = (self._service, self._below, self._pod, self._reverse, self._zone, self._outside)
        (kind,) = draw.choices(kinds, (42, 28, 8, 12, 8, 2))
        return kind()

    def _key(self) -> str:
        draw = self._draw
        service = draw.choice((*SERVICES, *SERVICES, "missing"))
        return f"{service}.{draw.choice((*NAMESPACES * 4, 'nowhere'))}.svc.{ZONE}."

    def _service(self) -> str:
        return self._key()

    def _below(self) -> str:
        draw = self._draw
        port, protocol = draw.choice((*PORTS[:3], "none")), draw.choice(PROTOCOLS).lower()
        address = ip_address(draw.choice((*V4, *V6, "10.244.9.9")))
        text = str(address).replace(".", "-").replace(":", "-")
        dashed = text + "0" if text.endswith("-") else text
        below = (f"_{port}._{protocol}", f"{port}.{protocol}", draw.choice(HOSTNAMES), draw.choice(PODS), dashed)
        return f"{draw.choice(below)}.{self._key()}"

    def _pod(self) -> str:
        draw = self._draw
        address = draw.choice((*V4, *V6[:2], "10.244.9.9", "1.2.3", "300.1.1.1", "::", "nothing"))
        name = f"{address.replace('.', '-').replace(':', '-')}.{draw.choice((*NAMESPACES, 'nowhere'))}.pod.{ZONE}."
        return draw.choice((name, name, f"x.{name}", f"_a._tcp.{name}"))

    def _reverse(self) -> str:
        draw = self._draw
        own = [cluster_ip(n, s, family) for n in NAMESPACES for s in SERVICES for family in ("IPv4", "IPv6")]
        address = ip_address(draw.choice((*V4, *V4, *V6, *own, "192.0.2.200")))
        name = address.reverse_pointer + "."
        return draw.choice((name, name, name, name.partition(".")[2]))

    def _zone(self) -> str:
        namespace = self._draw.choice((*NAMESPACES, "nowhere"))
        inside = ("", "svc.", "pod.", "dns.", "ns.dns.", "dns-version.", f"{namespace}.svc.", f"{namespace}.pod.")
        zones = [f"{name}{ZONE}." for name in (*inside, "www.example.org.", "nope.", f"{namespace}.")]
        return self._draw.choice((*zones, "in-addr.arpa.", "ip6.arpa.", "10.in-addr.arpa."))

    def _outside(self) -> str:
        return self._draw.choice(OUTSIDE)

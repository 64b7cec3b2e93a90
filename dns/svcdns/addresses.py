"""Addresses, zones and times as an operator writes them.

In: text from a command line, a Corefile or a resolv.conf. Out: endpoints, names in lower case, seconds. Refuses what it
cannot read: ValueError, with a sentence that quotes the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from svcdns.answer import PodMode, Zones
from svcdns.names import is_reverse, relative, reverse_name
from svcdns.records import Name, labels_of, name_of
from svcdns.settings import DNS_PORT, Endpoint

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_STEP = re.compile(r"(\d+\.?\d*|\.\d+)([a-zµμ]+)")


def endpoint_of(text: str, port: int | None) -> Endpoint:
    """`ADDRESS:PORT` or `[ADDRESS]:PORT`; without a port the address alone, if `port` says what that means."""
    host, colon, digits = text.rpartition(":")
    bracketed = text.startswith("[")
    if not colon or (":" in host and not bracketed) or text.endswith("]"):
        host, digits = text, "" if port is None else str(port)
    try:
        address = str(ip_address(host.removeprefix("[").removesuffix("]")))
        number = int(digits)
    except ValueError:
        raise ValueError(f"{text!r} is not ADDRESS:PORT; an IPv6 address goes in brackets") from None
    if not 0 <= number <= 65535:
        raise ValueError(f"{text!r}: {number} is no port")
    return Endpoint(address, number)


def nameservers(resolv_conf: str) -> list[Endpoint]:
    """The `nameserver` lines of a resolv.conf; what is no address there is skipped, as resolvers skip it."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                found.append(Endpoint(str(ip_address(words[1])), DNS_PORT))
            except ValueError:
                continue
    return found


def search_domains(resolv_conf: str) -> tuple[Name, ...]:
    """The last `search` or `domain` line of a resolv.conf; what is no name there is skipped."""
    found: tuple[Name, ...] = ()
    for line in resolv_conf.splitlines():
        words = line.split()
        if words[:1] in (["search"], ["domain"]):
            texts = words[1:] if words[0] == "search" else words[1:2]
            found = tuple(name for name in map(_domain, texts) if name)
    return found


def _domain(text: str) -> Name:
    try:
        return name_of(text).lower()
    except ValueError:
        return b""


def zones_of(zones: Sequence[str], ttl: int = 5, pods: PodMode = "disabled", fallthrough: Sequence[str] = ()) -> Zones:
    """The zones as `answer` wants them. CIDRs become reverse zones; without a forward zone ValueError."""
    names = [name for text in zones for name in zone_names(text)]
    through = tuple(name for text in fallthrough for name in zone_names(text))
    return served(names, ttl, pods, through)


def served(names: Sequence[Name], ttl: int, pods: PodMode, fallthrough: tuple[Name, ...]) -> Zones:
    """The same for zones that are names already."""
    forward = [name for name in names if not is_reverse(name)]
    if not forward:
        raise ValueError("at least one zone must be no reverse zone; add for example cluster.local")
    by_depth = sorted(dict.fromkeys(names), key=lambda name: -len(labels_of(name)))
    return Zones(tuple(by_depth), forward[0], ttl, pods, fallthrough)


def zone_names(text: str) -> list[Name]:
    """The zone, or the reverse zones that a CIDR means: one, or several where its length is no label's boundary."""
    if "/" not in text:
        return [name_of(text).lower()]
    network = ip_network(text, strict=False)
    bits = 8 if network.version == 4 else 4
    longest = -(-network.prefixlen // bits) * bits
    kept = longest // bits
    labels = 4 if network.version == 4 else 32
    names = []
    for part in network.subnets(new_prefix=longest):
        name = reverse_name(part.network_address.packed)
        own = labels_of(name)[labels - kept :]
        names.append(relative(*(label.decode() for label in own)) + b"\0")
    return names


def seconds_of(text: str) -> float:
    """A duration as Go writes it: `5s`, `1h30m`, `250ms`, `0`. Negative ones are refused."""
    if text in ("0", "+0", "-0"):
        return 0.0
    if text.startswith("-"):
        raise ValueError(f"{text!r} is negative")
    rest = text.removeprefix("+")
    total, at = 0.0, 0
    while at < len(rest):
        step = _STEP.match(rest, at)
        if step is None or step[2] not in _SECONDS:
            break
        total += float(step[1]) * _SECONDS[step[2]]
        at = step.end()
    if not rest or at < len(rest):
        raise ValueError(f"{text!r} is no duration; write for example 5s, 1m30s or 250ms")
    return total

"""The command line of `svcplane-dns`, as a frozen value.

In: the words after the command's name. Out: `Run` or `Lookup`, whole and checked. Bad words end the program as argparse
ends it: the usage and one sentence on stderr, status 2. Names and defaults follow CoreDNS where it has them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import msgspec

from svcdns.answer import PodMode, Zones
from svcdns.names import is_reverse, relative, reverse_name
from svcdns.records import TYPE_NUMBERS, Name, labels_of, name_of

DEFAULT_ZONES = ("cluster.local", "in-addr.arpa", "ip6.arpa")
DNS_PORT = 53


class Endpoint(msgspec.Struct, frozen=True):
    """An IP address in canonical text, and a port; 0 lets the kernel choose."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Source(msgspec.Struct, frozen=True):
    """Where the API server is, and what is served of it."""

    kubeconfig: str
    server: str
    zones: Zones
    endpoint_pod_names: bool


class Run(msgspec.Struct, frozen=True):
    """`upstreams` may name resolv.conf files. Times in seconds."""

    source: Source
    listen: tuple[Endpoint, ...]
    upstreams: tuple[Endpoint | str, ...]
    max_concurrent: int
    loadbalance: bool
    startup_timeout: float
    lameduck: float
    http: tuple[str, ...]
    transfer_to: tuple[IPv4Network | IPv6Network, ...] = ()


class Lookup(msgspec.Struct, frozen=True):
    source: Source
    name: Name
    type: int


Command: TypeAlias = Run | Lookup


def parse(words: Sequence[str]) -> Command:
    """The command that the words ask for. Raises SystemExit, after a message on stderr, if they make no sense."""
    parser = argparse.ArgumentParser(
        "svcplane-dns", description="Cluster DNS: answers Service names, forwards the rest."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="serve DNS")
    _add_cluster(run)
    _add_run(run)
    lookup = commands.add_parser("lookup", help="print what would be answered, and why")
    _add_cluster(lookup)
    lookup.add_argument("name", type=_name, metavar="NAME", help="the name; it is taken as absolute")
    lookup.add_argument("type", type=_type, nargs="?", default="A", metavar="TYPE", help="A, AAAA, SRV, PTR, ...")
    found = parser.parse_args(words)
    source = _source(parser, found)
    if found.command == "lookup":
        return Lookup(source, found.name, found.type)
    if source.zones.fallthrough and not found.forward:
        parser.error("--fallthrough sends names to an upstream: name one with --forward")
    return Run(
        source,
        tuple(found.listen or [Endpoint("0.0.0.0", DNS_PORT)]),
        tuple(found.forward),
        found.max_concurrent,
        found.loadbalance,
        found.startup_timeout,
        found.lameduck,
        tuple(found.http),
        tuple(network for networks in found.transfer_to for network in networks),
    )


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--kubeconfig", default="", metavar="FILE", help="how to reach the API server")
    where.add_argument("--in-cluster", action="store_true", help="use the service account of the pod we are in")
    add("--server", default="", metavar="URL", help="an API server other than the kubeconfig's")
    zones = " ".join(DEFAULT_ZONES)
    add("--zone", action="append", default=[], metavar="ZONE", help=f"a zone or CIDR served; by default {zones}")
    add("--ttl", type=_ttl, default=5, metavar="SECONDS", help="TTL of the records, 0 to 3600; by default 5")
    pods = ("disabled", "insecure", "verified")
    add("--pods", choices=pods, default="disabled", help="names like 10-0-0-1.ns.pod; by default disabled")
    add("--endpoint-pod-names", action="store_true", help="endpoints without a hostname get their pod's name")
    add(
        "--fallthrough", action="append", default=[], metavar="ZONE", help="ask an upstream where we would say NXDOMAIN"
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--listen", action="append", type=_listen, metavar="ADDRESS:PORT", help="UDP and TCP; by default 0.0.0.0:53")
    add(
        "--forward",
        action="append",
        default=[],
        type=_upstream,
        metavar="ADDRESS[:PORT]|FILE",
        help="upstream resolver",
    )
    most = "forwarded queries at a time, by default 1000; more are REFUSED"
    add("--max-concurrent", type=_count, default=1000, metavar="N", help=most)
    shuffled = "shuffle the addresses of a reply, which is the default"
    add("--loadbalance", action=argparse.BooleanOptionalAction, default=True, help=shuffled)
    patience = "wait so long for the API server before answering, by default 5"
    add("--startup-timeout", type=_seconds, default=5.0, metavar="SECONDS", help=patience)
    add("--lameduck", type=_seconds, default=0.0, metavar="SECONDS", help="go on answering this long after SIGTERM")
    whom = "whom to give the zone whole (AXFR): an address, a CIDR, or * for everybody; repeatable, by default nobody"
    add("--transfer-to", action="append", default=[], type=_networks, metavar="ADDRESS|CIDR|*", help=whom)
    add("--http", action="append", default=[], metavar="ADDRESS:PORT", help="serves /health /ready /metrics")


def _source(parser: argparse.ArgumentParser, found: argparse.Namespace) -> Source:
    try:
        zones = zones_of(found.zone or DEFAULT_ZONES, found.ttl, found.pods, found.fallthrough)
    except ValueError as error:
        parser.error(str(error))
    return Source(found.kubeconfig, found.server, zones, found.endpoint_pod_names)


def zones_of(zones: Sequence[str], ttl: int = 5, pods: PodMode = "disabled", fallthrough: Sequence[str] = ()) -> Zones:
    """The zones as `answer` wants them. CIDRs become reverse zones; without a forward zone ValueError."""
    names = [name for text in zones for name in _zone_names(text)]
    forward = [name for name in names if not is_reverse(name)]
    if not forward:
        raise ValueError("--zone: at least one zone must be no reverse zone; add for example --zone cluster.local")
    by_depth = sorted(dict.fromkeys(names), key=lambda name: -len(labels_of(name)))
    through = tuple(name for text in fallthrough for name in _zone_names(text))
    return Zones(tuple(by_depth), forward[0], ttl, pods, through)


def _zone_names(text: str) -> list[Name]:
    if "/" not in text:
        return [name_of(text).lower()]
    network = ip_network(text)
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


def _endpoint(text: str, port: int | None) -> Endpoint:
    host, colon, digits = text.rpartition(":")
    bracketed = text.startswith("[")
    if not colon or (":" in host and not bracketed) or text.endswith("]"):
        host, digits = text, "" if port is None else str(port)
    try:
        address = str(ip_address(host.removeprefix("[").removesuffix("]")))
        number = int(digits)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not ADDRESS:PORT; an IPv6 address goes in brackets") from None
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: {number} is no port")
    return Endpoint(address, number)


def _listen(text: str) -> Endpoint:
    return _endpoint(text, None)


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(map(ip_network, ("0.0.0.0/0", "::/0") if text == "*" else (text,)))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no address, no CIDR and not *") from None


def _upstream(text: str) -> Endpoint | str:
    return text if "/" in text else _endpoint(text, DNS_PORT)


def upstreams_of(resolv_conf: str) -> list[Endpoint]:
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


def _name(text: str) -> Name:
    try:
        return name_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _type(text: str) -> int:
    number = TYPE_NUMBERS.get(text.upper())
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no record type we can spell")
    return number


def _ttl(text: str) -> int:
    if not text.isdecimal() or int(text) > 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 3600")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to below 3600")
    return value

"""What a lab is called, which addresses it has, and what they may not meet; pure.

In: flags. Out: a `Plan`: every name, address and interface name that the rest needs. Refused with `PlanError`, which
names the flag: ranges that are no ranges, too small, overlapping one another, or taken on this machine.

Of the segment's range (--node-cidr) these are used, counted from its first address: 1 this machine, 10 the control
plane, 11 and up the nodes, 100 the host outside the cluster, and the last one before broadcast the router. The lab's
internet is TEST-NET-3 (RFC 5737), where nobody is.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, summarize_address_range
from typing import Any

import msgspec

INTERNET = IPv4Network("203.0.113.0/24")
INTERNET_HOSTS = IPv4Network("203.0.113.0/25")  # every address of this half is the internet host's own
UPSTREAM_DNS = "203.0.113.53"
NODE_DNS = "169.254.20.10"  # of the cache on each node
CLUSTER_DOMAIN = "cluster.local"
API_PORT = 6443

MACHINE, CONTROL, FIRST_NODE, OUTSIDE = 1, 10, 11, 100  # places in the segment's range
NODE_MASK = 24  # every node's pods: 254 addresses
MOST_NODES = OUTSIDE - FIRST_NODE
WIDEST = 8  # a route to more than a /8 is a default route in disguise


class PlanError(Exception):
    """The flags ask for what cannot be; the message names the flag."""


class Plan(msgspec.Struct, frozen=True):
    """What `up` was asked for; the rest is derived. Ranges are canonical text, `lb_pool` is `A-B`, a CIDR or empty."""

    name: str = "lab"
    nodes: int = 3
    cluster_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/12"
    node_cidr: str = "192.168.56.0/24"
    lb_pool: str = "192.168.56.200-192.168.56.250"
    images: str = ""

    @property
    def node_names(self) -> tuple[str, ...]:
        return tuple(f"node{number}" for number in range(1, self.nodes + 1))

    @property
    def hosts(self) -> dict[str, str]:
        """Every host on the segment that is a namespace, and its address."""
        nodes = {name: self._place(FIRST_NODE + index) for index, name in enumerate(self.node_names)}
        return {"control": self._place(CONTROL), **nodes, "outside": self._place(OUTSIDE)}

    @property
    def machine(self) -> str:
        """This machine's own address on the segment."""
        return self._place(MACHINE)

    @property
    def router(self) -> str:
        return self._place(-2)

    @property
    def length(self) -> int:
        """Prefix length of the segment's addresses."""
        return IPv4Network(self.node_cidr).prefixlen

    @property
    def link(self) -> str:
        """The one interface that this machine gets; an interface name has 15 characters at most."""
        name = self.name if len(self.name) <= 10 else hashlib.sha256(self.name.encode()).hexdigest()[:10]
        return f"svcp-{name}"

    @property
    def api_server(self) -> str:
        return f"https://{self.hosts['control']}:{API_PORT}"

    @property
    def api_service(self) -> str:
        """ClusterIP of the Service `kubernetes`: the first of the range, as everywhere."""
        return str(IPv4Network(self.service_cidr)[1])

    @property
    def dns_service(self) -> str:
        """ClusterIP of `kube-dns`: the tenth, as kubeadm has it."""
        return str(IPv4Network(self.service_cidr)[10])

    @property
    def dns_upstream(self) -> str:
        """ClusterIP of `kube-dns-upstream`: where the nodes' caches ask, since the other one is theirs on each node."""
        return str(IPv4Network(self.service_cidr)[11])

    @property
    def pool(self) -> tuple[str, ...]:
        """The load balancer addresses as the fewest CIDRs, for routes."""
        return tuple(map(str, _pool(self.lb_pool)))

    def namespace(self, host: str) -> str:
        """Name of the network namespace of a host: of `hosts`, `segment` or `internet`."""
        return f"svcp-{self.name}-{host}"

    @property
    def namespaces(self) -> tuple[str, ...]:
        return tuple(map(self.namespace, ("segment", "internet", *self.hosts)))

    def _place(self, number: int) -> str:
        return str(IPv4Network(self.node_cidr)[number])


FLAGS = {
    "name": ("NAME", "name of the lab: lower-case letters and digits", str),
    "nodes": ("COUNT", "how many nodes", int),
    "cluster_cidr": ("CIDR", "addresses of the pods; each node gets a /24 of it", str),
    "service_cidr": ("CIDR", "cluster IPs of the services", str),
    "node_cidr": ("CIDR", "addresses of the nodes; this machine gets the first one", str),
    "lb_pool": ("A-B|CIDR", "addresses for services of type LoadBalancer; empty: none", str),
    "images": ("FILE", "more images: YAML, name to {exec, command, env}", str),
}
"""Field of the plan: what stands in the help for its value, what it is, its type."""

SPELLED = {"service_cidr": "--service-cluster-ip-range"}


def spelled(field: str) -> str:
    """The flag of a field."""
    return SPELLED.get(field, "--" + field.replace("_", "-"))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `up`. None stands for a flag that was not given."""
    for field, default in msgspec.structs.asdict(Plan()).items():
        metavar, what, kind = FLAGS[field]
        shown = f"{what} (default: {default})" if default else what
        parser.add_argument(spelled(field), dest=field, type=kind, metavar=metavar, help=shown)


def given(parsed: argparse.Namespace) -> dict[str, Any]:
    """The flags that were given, by field, ranges in canonical spelling. Raises PlanError for what is no range."""
    found = {field: value for field in FLAGS if (value := getattr(parsed, field)) is not None}
    for field in ("cluster_cidr", "service_cidr", "node_cidr"):
        if field in found:
            found[field] = str(_network(field, found[field]))
    if "lb_pool" in found:
        found["lb_pool"] = found["lb_pool"].replace(" ", "")
    return found


def differences(plan: Plan, asked: Mapping[str, Any]) -> list[str]:
    """Where a running lab is not what is asked for, as sentences."""
    has = msgspec.structs.asdict(plan)
    return [
        f"{spelled(field)} is {has[field] or 'empty'}, not {value or 'empty'}"
        for field, value in asked.items()
        if has[field] != value
    ]


def checked(plan: Plan) -> Plan:
    """The plan, if it can be; PlanError otherwise."""
    if not re.fullmatch(r"[a-z][a-z0-9]{0,19}", plan.name):
        raise PlanError(
            f"--name {plan.name!r}: begin with a letter, go on with lower-case letters and digits, 20 at most"
        )
    if not 1 <= plan.nodes <= MOST_NODES:
        raise PlanError(f"--nodes {plan.nodes}: between 1 and {MOST_NODES}")
    ranges = {field: _network(field, getattr(plan, field)) for field in ("cluster_cidr", "service_cidr", "node_cidr")}
    _check_sizes(plan, ranges)
    ranges["internet"] = INTERNET
    fields = list(ranges)
    for index, one in enumerate(fields):
        for other in fields[index + 1 :]:
            if ranges[one].overlaps(ranges[other]):
                whose = "the lab's internet" if other == "internet" else spelled(other)
                raise PlanError(f"{spelled(one)} {ranges[one]} overlaps {whose} {ranges[other]}")
    _check_pool(plan, ranges)
    return plan


def _check_sizes(plan: Plan, ranges: Mapping[str, IPv4Network]) -> None:
    nodes, pods, services = (ranges[field] for field in ("node_cidr", "cluster_cidr", "service_cidr"))
    if not 16 <= nodes.prefixlen <= 25:
        raise PlanError(f"--node-cidr {nodes}: a /16 to /25 is needed, the hosts are numbered 1 to {OUTSIDE} in it")
    if pods.prefixlen > NODE_MASK or 1 << (NODE_MASK - pods.prefixlen) < plan.nodes:
        raise PlanError(f"--cluster-cidr {pods} has no /{NODE_MASK} for each of {plan.nodes} nodes")
    if not 8 <= services.prefixlen <= 28:
        raise PlanError(
            f"{spelled('service_cidr')} {services}: a /8 to /28 is needed, DNS is the tenth and eleventh address"
        )


def _check_pool(plan: Plan, ranges: Mapping[str, IPv4Network]) -> None:
    try:
        pool = _pool(plan.lb_pool)
    except ValueError as error:
        raise PlanError(f"--lb-pool {plan.lb_pool}: {error}") from None
    for part in pool:
        for field in ("cluster_cidr", "service_cidr"):
            if part.overlaps(ranges[field]):
                raise PlanError(f"--lb-pool {plan.lb_pool} overlaps {spelled(field)} {ranges[field]}")
        if part.overlaps(INTERNET):
            raise PlanError(f"--lb-pool {plan.lb_pool} overlaps the lab's internet {INTERNET}")
        for host, address in {**plan.hosts, "the router": plan.router, "this machine": plan.machine}.items():
            if IPv4Address(address) in part:
                raise PlanError(f"--lb-pool {plan.lb_pool} contains {address}, which is {host}'s")


def check_machine(plan: Plan, addresses: Sequence[Mapping[str, Any]], routes: Sequence[Mapping[str, Any]]) -> None:
    """Refuses ranges that this machine uses already: `ip -j address` and `ip -j route show table all` say which.

    What lies on the lab's own interface does not count. Only the segment and the pool are seen by the machine; pods
    and services live behind the nodes.
    """
    wanted = [("node_cidr", IPv4Network(plan.node_cidr)), *(("lb_pool", IPv4Network(part)) for part in plan.pool)]
    for what, network in (*_addressed(plan, addresses), *_routed(plan, routes)):
        for field, part in wanted:
            if network.overlaps(part):
                raise PlanError(
                    f"{spelled(field)} {getattr(plan, field)} is taken on this machine: {what}; "
                    f"choose another range with {spelled(field)}"
                    + ("" if field == "lb_pool" or not plan.lb_pool else f" and {spelled('lb_pool')}")
                )


def _addressed(plan: Plan, links: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, IPv4Network]]:
    for link in links:
        for each in link.get("addr_info", ()):
            if each.get("family") == "inet" and link.get("ifname") != plan.link:
                text = f"{each['local']}/{each['prefixlen']}"
                yield f"interface {link['ifname']} has {text}{_owner(link['ifname'])}", IPv4Network(text, strict=False)


def _routed(plan: Plan, routes: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, IPv4Network]]:
    for route in routes:
        target = str(route.get("dst", "default"))
        if target == "default" or ":" in target or route.get("dev") == plan.link:
            continue
        network = IPv4Network(target, strict=False)
        if network.prefixlen >= WIDEST and route.get("type", "unicast") != "broadcast":
            yield f"a route to {network} leads to {route.get('dev', 'nowhere')}{_owner(route.get('dev', ''))}", network


def _owner(link: str) -> str:
    return ", another lab's" if link.startswith("svcp-") else ""


def _network(field: str, text: str) -> IPv4Network:
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise PlanError(f"{spelled(field)} {text}: {error}") from None


def _pool(text: str) -> list[IPv4Network]:
    first, dash, last = text.partition("-")
    if not text:
        return []
    if not dash:
        return [IPv4Network(text)]
    return list(summarize_address_range(IPv4Address(first), IPv4Address(last)))

"""The packet matrix: all policies, sources, destinations, endpoints and families, and how each packet must end.

`OBJECTS` are Kubernetes manifests, one Service for each pair of policies and set of endpoints. `ROWS` are generated,
and `endings` tells what must become of each from the rules of Kubernetes in words; it shares no code with the agent.
The rows are judged by `trace` over rules (`traced`) and by real packets (`send_all`), over ours and over kube-proxy's.

Left out: 127.0.0.1 from anywhere but the node itself, because no such packet reaches the node's rules; and a node port
on ::1, which no proxy serves.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Literal, TypeAlias, get_args

import msgspec

from support.flows import (
    LOOPBACK,
    NODE,
    NODE6,
    NODE_NAME,
    ON_NODE,
    PODS,
    PODS6,
    Flow,
    Manifest,
    Pods,
    endpoints,
    load_balancer,
    port,
    service,
)
from support.judge import KINDS, NODE_ADDRESSES, packet
from support.site import Site
from svckube.objects import KubeObject
from svcnet.rules import FAMILIES, Family, Tables
from svcnet.trace import Host, Outcome, sentence, trace

Policy: TypeAlias = Literal["Cluster", "Local"]
Destination: TypeAlias = Literal["cluster IP", "node port", "node port on localhost", "load balancer IP", "external IP"]
Ending: TypeAlias = tuple[str, bool]
"""Where a packet ends (a pod, REFUSED, DROPPED or LEFT_ALONE), and whether its source becomes the node's address."""

REFUSED, DROPPED = "refused", "dropped"
LEFT_ALONE = "left alone"
"""No rule takes the packet: it goes on towards the address as if no Service had it."""

PORT, TARGET = 80, 8080
POLICIES: tuple[Policy, ...] = get_args(Policy)
SOURCES = {
    "pod1": "a pod that may be an endpoint",
    "pod2": "another pod",
    "pod3": "a pod of another node",
    "node": "the node",
    "client": "an outside host",
}
DESTINATIONS: tuple[Destination, ...] = get_args(Destination)
ENDPOINTS: dict[str, Pods] = {
    "local": {"pod1": "ready"},
    "remote": {"pod3": "ready"},
    "local and remote": {"pod1": "ready", "pod3": "ready"},
    "local draining": {"pod1": "draining"},
    "remote draining": {"pod3": "draining"},
    "local draining, remote ready": {"pod1": "draining", "pod3": "ready"},
    "none": {},
    "unready": {"pod1": "unready", "pod3": "unready"},
}


def answering(pods: Pods) -> list[str]:
    """Ready pods take new connections; those that drain do so only where no other is left (KEP-1669)."""
    return [pod for pod, state in pods.items() if state == "ready"] or [
        pod for pod, state in pods.items() if state == "draining"
    ]


def endings(external: Policy, internal: Policy, source: str, to: Destination, pods: Pods) -> frozenset[Ending]:
    """What may become of a packet, by the rules of "Virtual IPs and Service Proxies" and of the Service API.

    Which policy rules. The internal one is for the cluster IP, whoever asks. The external one is for all other
    addresses, but only when the asker is outside: pods and nodes get Cluster semantics there. The Service API promises
    them that for load balancer and external IPs; kube-proxy does the same for node ports.
    Which pods answer. Under Local those of this node, chosen before readiness is looked at.
    Nobody. With no usable endpoint anywhere the asker is told so; with some elsewhere only, Local drops, so that a load
    balancer tries another node. The node's own packets to addresses that it does not hold are not told: kube-proxy
    refuses those only where they come in or pass through.
    Whose address is seen. A pod must answer by way of this node wherever the asker would not take an answer from the
    pod itself: an outside host or the node behind a cluster IP; anybody behind an external address under Cluster; the
    node under Local (its source may be 127.0.0.1); and a pod that reaches itself.
    """
    from_inside = to == "cluster IP"
    local = internal == "Local" if from_inside else external == "Local" and source == "client"
    if not answering(pods):
        away = source == "node" and to in ("load balancer IP", "external IP")
        return frozenset({(LEFT_ALONE if away else REFUSED, False)})
    chosen = answering({pod: state for pod, state in pods.items() if ON_NODE[pod] == NODE_NAME} if local else pods)
    if not chosen:
        return frozenset({(DROPPED, False)})
    if from_inside:
        masqueraded = source not in PODS
    elif external == "Cluster":
        masqueraded = True
    else:
        masqueraded = source == "node"
    return frozenset((pod, masqueraded or pod == source) for pod in chosen)


class Row(msgspec.Struct, frozen=True):
    """One packet to send, and every way in which it may end."""

    flow: Flow
    endings: frozenset[Ending]

    @property
    def id(self) -> str:
        return self.flow.id


class Subject(msgspec.Struct, frozen=True):
    """One Service of the matrix; `number` makes its addresses and ports."""

    number: int
    external: Policy
    internal: Policy
    endpoints: str

    def address(self, to: Destination, family: Family) -> str:
        four, six = {
            "cluster IP": (f"10.96.1.{self.number}", f"fd00:10:96::{100 + self.number}"),
            "node port": (NODE, NODE6),
            "node port on localhost": (LOOPBACK, ""),
            "load balancer IP": (f"198.51.100.{self.number}", f"fd00:198::{self.number}"),
            "external IP": (f"203.0.113.{self.number}", f"fd00:203::{self.number}"),
        }[to]
        return six if family == "IPv6" else four

    def port(self, to: Destination) -> int:
        return 31300 + self.number if to.startswith("node port") else PORT

    def manifests(self) -> list[Manifest]:
        """The Service and its slices."""

        def both(to: Destination) -> tuple[str, str]:
            return self.address(to, "IPv4"), self.address(to, "IPv6")

        health = {"healthCheckNodePort": 32300 + self.number} if self.external == "Local" else {}
        made = service(
            f"matrix-{self.number}",
            ",".join(both("cluster IP")),
            [port(PORT, TARGET, node_port=self.port("node port"))],
            type="LoadBalancer",
            externalTrafficPolicy=self.external,
            internalTrafficPolicy=self.internal,
            externalIPs=list(both("external IP")),
            status=load_balancer(*both("load balancer IP")),
            **health,
        )
        pods = ENDPOINTS[self.endpoints]
        return [made, *(endpoints(made, pods) if pods else [])]

    def rows(self) -> list[Row]:
        return [self._row(*each) for each in itertools.product(SOURCES, DESTINATIONS, FAMILIES) if can_be_sent(*each)]

    def _row(self, source: str, to: Destination, family: Family) -> Row:
        wanted = endings(self.external, self.internal, source, to, ENDPOINTS[self.endpoints])
        policies = f"external {self.external}, internal {self.internal}"
        what = f"{policies}: {SOURCES[source]} to {to}, {self.endpoints}, {family}"
        return Row(Flow(what, source, self.address(to, family), self.port(to), target=TARGET), wanted)


def can_be_sent(source: str, to: Destination, family: Family) -> bool:
    return to != "node port on localhost" or (source == "node" and family == "IPv4")


SUBJECTS = [
    Subject(number, external, internal, which)
    for number, (external, internal, which) in enumerate(itertools.product(POLICIES, POLICIES, ENDPOINTS), 1)
]
OBJECTS = [manifest for subject in SUBJECTS for manifest in subject.manifests()]
ROWS = [row for subject in SUBJECTS for row in subject.rows()]
IDS = [row.id for row in ROWS]


def objects() -> list[KubeObject]:
    """The matrix's objects, decoded as the API server's would be."""
    return [msgspec.convert(each, KINDS[each["kind"]]) for each in OBJECTS]


def traced(row: Row, tables: dict[Family, Tables]) -> None:
    """AssertionError, with the rules that were met, unless they end the packet in exactly the ways of the row."""
    six = ":" in row.flow.address
    outcomes = trace(tables["IPv6" if six else "IPv4"], Host(NODE_ADDRESSES), packet(row.flow))
    shown = "\n".join(f"{sentence(each)}\n  " + "\n  ".join(map(str, each.steps)) for each in outcomes)
    shares: dict[Ending, Fraction] = defaultdict(Fraction)
    for each in outcomes:
        shares[_ending(each, row.flow)] += each.share
    assert set(shares) == row.endings, shown
    assert all(abs(share - Fraction(1, len(shares))) < Fraction(1, 10**6) for share in shares.values()), shown


def _ending(outcome: Outcome, flow: Flow) -> Ending:
    if outcome.verdict != "ACCEPT":
        return {"REJECT": REFUSED, "DROP": DROPPED}[outcome.verdict], False
    reached = outcome.destination, outcome.port
    if reached == (flow.address, flow.port) and outcome.delivered == "forwarded":
        return LEFT_ALONE, outcome.masqueraded
    pods = {(address, TARGET): pod for pod, address in (PODS6 if ":" in flow.address else PODS).items()}
    return pods.get(reached, f"{outcome.destination} port {outcome.port}"), outcome.masqueraded


def lead_to_node(site: Site) -> None:
    """Routes for the matrix's addresses, from everywhere to `node`; what `node` leaves alone does not come back."""
    backend, client = site["backend"], site["client"]
    for host, ranges in (
        (client, (("198.51.100.0/24", NODE), ("fd00:198::/64", NODE6))),
        (
            backend,
            (("198.51.100.0/24", NODE), ("203.0.113.0/24", NODE), ("fd00:198::/64", NODE6), ("fd00:203::/64", NODE6)),
        ),
    ):
        for destination, via in ranges:
            host.add_route(destination, via=via)
    for family in ("ipv4", "ipv6"):
        backend.sysctl(f"{family}/conf/all/forwarding", "0")
        # A host that does not forward believes redirects, and would then go past `node`.
        backend.sysctl(f"{family}/conf/all/accept_redirects", "0")
        backend.sysctl(f"{family}/conf/eth0/accept_redirects", "0")


Seen: TypeAlias = Counter[tuple[str, str]]


def send_all(site: Site, rows: Iterable[Row]) -> dict[str, Seen]:
    """What came of each row, by its id, as `Site.send` tells it.

    Side by side, because what is dropped or refused takes seconds to be known. Often enough to meet both of two pods
    but for a chance of 2^-39.
    """
    with ThreadPoolExecutor(64) as senders:
        sent = {row.id: senders.submit(site.send, row.flow, _times(row)) for row in rows}
        return {name: each.result() for name, each in sent.items()}


def _times(row: Row) -> int:
    if len(row.endings) > 1:
        return 40
    return 8 if all(where in PODS for where, _ in row.endings) else 1


def judge_sent(row: Row, seen: Seen) -> None:
    """AssertionError unless connections of this row ended in exactly its ways, as far as sockets can tell."""
    assert set(seen) == {_visible(row.flow.source, ending) for ending in row.endings}, seen


def _visible(source: str, ending: Ending) -> tuple[str, str]:
    where, masqueraded = ending
    if where == REFUSED:
        return REFUSED, ""
    if where in (DROPPED, LEFT_ALONE):
        return DROPPED, ""
    return where, "node" if masqueraded or source == "node" else "sender"


assert len(set(IDS)) == len(IDS), "two rows of one name"

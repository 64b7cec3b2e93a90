"""Which conntrack entries are stale: UDP flows that go on to an endpoint their service no longer has.

A UDP flow lives in conntrack as long as its client keeps sending, and the NAT rules see only its first packet. When an
endpoint goes, its flows must go too, so that the next packet meets the rules again. In: the services that changed, as
they were and as they are, and the conntrack entries. Out: the entries to delete. TCP ends by itself and is left alone.

Unlike kube-proxy's reconciliation this also covers a Service that was deleted, that lost its last endpoint, or whose
addresses or node port changed; and a node port is matched on this node's own addresses only.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from svcagent.resolve import ResolvedPort
from svcnet.flow import Flow


class Frontend(msgspec.Struct, frozen=True):
    """Where flows to a UDP service port begin. The address "" stands for any of this node's (a node port)."""

    address: str
    port: int


Allowed = dict[Frontend, frozenset[tuple[str, int]]]
"""Which endpoints (address, port) serve each frontend; an empty set for a frontend that is gone or has none."""


def frontends(ports: Iterable[ResolvedPort]) -> Allowed:
    """The frontends of all UDP ports of a service, with every endpoint that a flow may go on to.

    A terminating endpoint that still serves keeps the flows it has, though it gets no new ones.
    """
    allowed: Allowed = {}
    for port in ports:
        if port.protocol != "udp":
            continue
        targets = frozenset((each.address, each.port) for each in port.endpoints.serving)
        for address in (port.cluster_ip, *port.external_ips, *port.load_balancer_ips):
            allowed[Frontend(address, port.port)] = targets
        if port.node_port:
            allowed[Frontend("", port.node_port)] = targets
    return allowed


class Frontends:
    """The UDP frontends of all services, and which of them changed since their flows were last looked at.

    Two services may share a frontend (an external IP is nobody's own): then an endpoint of either is allowed.
    """

    def __init__(self) -> None:
        self._of_service: dict[str, Allowed] = {}
        self._owners: dict[Frontend, set[str]] = {}
        self._suspects: set[Frontend] = set()

    @property
    def services(self) -> frozenset[str]:
        return frozenset(self._of_service)

    def put(self, service: str, wanted: Allowed) -> None:
        """Replaces the frontends of a service."""
        before = self._of_service.pop(service, {})
        for frontend in before.keys() | wanted.keys():
            if before.get(frontend) == wanted.get(frontend):
                continue
            self._suspects.add(frontend)
            owners = self._owners.setdefault(frontend, set())
            if frontend in wanted:
                owners.add(service)
            else:
                owners.discard(service)
            if not owners:
                del self._owners[frontend]
        if wanted:
            self._of_service[service] = wanted

    def suspects(self) -> Allowed:
        """The frontends that changed, with the endpoints that they have now."""
        return {each: self._allowed(each) for each in self._suspects}

    def _allowed(self, frontend: Frontend) -> frozenset[tuple[str, int]]:
        owners = self._owners.get(frontend, ())
        return frozenset().union(*(self._of_service[service][frontend] for service in owners))

    def settled(self) -> None:
        """The flows of all suspects have been dealt with."""
        self._suspects.clear()


def stale(flows: Iterable[Flow], suspects: Allowed, local_addresses: frozenset[str]) -> list[Flow]:
    """The flows to a suspect frontend whose answers come from elsewhere than an allowed endpoint."""
    found = []
    for flow in flows:
        targets = suspects.get(Frontend(flow.destination, flow.destination_port))
        if targets is None and flow.destination in local_addresses:
            targets = suspects.get(Frontend("", flow.destination_port))
        if targets is not None and (flow.reply_source, flow.reply_source_port) not in targets:
            found.append(flow)
    return found

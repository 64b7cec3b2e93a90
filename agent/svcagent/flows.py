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
    """The UDP frontends of all services, and which of them changed since their flows were last looked at."""

    def __init__(self) -> None:
        self._of_service: dict[str, tuple[Frontend, ...]] = {}
        self._known: dict[Frontend, tuple[str, frozenset[tuple[str, int]]]] = {}
        self._suspects: set[Frontend] = set()

    @property
    def services(self) -> frozenset[str]:
        return frozenset(self._of_service)

    def put(self, service: str, wanted: Allowed) -> None:
        """Replaces the frontends of a service. One that another service has taken over meanwhile stays with that."""
        for frontend in self._of_service.pop(service, ()):
            if frontend not in wanted and self._known[frontend][0] == service:
                del self._known[frontend]
                self._suspects.add(frontend)
        for frontend, targets in wanted.items():
            if self._known.get(frontend) != (service, targets):
                self._known[frontend] = (service, targets)
                self._suspects.add(frontend)
        if wanted:
            self._of_service[service] = tuple(wanted)

    def suspects(self) -> Allowed:
        """The frontends that changed, with the endpoints that they have now."""
        return {each: self._known.get(each, ("", frozenset()))[1] for each in self._suspects}

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

"""Which endpoints a service port may use on this node.

In: the endpoints of one service port, its traffic policies, and where this node stands. Out: the endpoints for traffic
to the cluster IP and from outside (`cluster`), for traffic under a Local policy (`local`), and all that some rule will
mention (`reachable`). Same answers as kube-proxy 1.36: readiness (KEP-1669), hints (KEP-2433, KEP-3015), policies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """One address and port behind a service port. `text` is how chain names and comments spell it."""

    address: str
    port: int
    text: str
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    local: bool = False
    zone_hints: frozenset[str] = frozenset()
    node_hints: frozenset[str] = frozenset()

    @property
    def draining(self) -> bool:
        """Terminating but still serving: used when nothing better is left."""
        return self.serving and self.terminating


class Choice(msgspec.Struct, frozen=True, gc=False):
    """The endpoints of one service port as this node may use them, each list sorted by text.

    `known` says whether there is any usable endpoint anywhere: with none traffic is refused, with some but none here
    under a Local policy it is dropped. `serving` is every endpoint that may keep the flows it already has, on whatever
    node and under whatever policy.
    """

    cluster: tuple[Endpoint, ...] = ()
    local: tuple[Endpoint, ...] = ()
    reachable: tuple[Endpoint, ...] = ()
    known: bool = False
    serving: tuple[Endpoint, ...] = ()


def _hinted(ready: list[Endpoint], node: str, zone: str) -> Callable[[Endpoint], bool]:
    """The filter that the hints ask for; hints count only if every ready endpoint carries them and one is for us."""
    if ready and all(each.node_hints for each in ready) and any(node in each.node_hints for each in ready):
        return lambda each: node in each.node_hints
    if zone and ready and all(each.zone_hints for each in ready) and any(zone in each.zone_hints for each in ready):
        return lambda each: zone in each.zone_hints
    return lambda each: True


def _ready_or_draining(endpoints: Iterable[Endpoint], allowed: Callable[[Endpoint], bool]) -> list[Endpoint]:
    endpoints = list(endpoints)
    return [each for each in endpoints if each.ready and allowed(each)] or [each for each in endpoints if each.draining]


def choose(endpoints: tuple[Endpoint, ...], *, uses_cluster: bool, uses_local: bool, node: str, zone: str) -> Choice:
    """The endpoints of a port whose traffic uses the cluster-wide list, the node's own list, or both."""
    serving = tuple(each for each in endpoints if each.serving)
    cluster: list[Endpoint] = []
    if uses_cluster:
        ready = [each for each in endpoints if each.ready]
        cluster = _ready_or_draining(endpoints, _hinted(ready, node, zone))
    if not uses_local:
        return Choice(cluster=tuple(cluster), reachable=tuple(cluster), known=bool(cluster), serving=serving)
    local = _ready_or_draining((each for each in endpoints if each.local), lambda each: True)
    known = any(each.ready or each.draining for each in endpoints)
    reachable = sorted({each.text: each for each in (*cluster, *local)}.values(), key=lambda each: each.text)
    return Choice(tuple(cluster), tuple(local), tuple(reachable), known, serving)

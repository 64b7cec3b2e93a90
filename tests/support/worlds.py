"""Services and EndpointSlices as hypothesis strategies, and short ways to write single ones by hand.

A world is what the API server may hold: names, addresses and node ports do not collide; everything else may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from hypothesis import strategies as st

from svcagent.pipeline import Touched
from svckube.objects import EndpointSlice, Service
from svcnet.rules import Family

NAMES = ("alpha", "beta", "gamma")
NODE, OTHER_NODE, ZONE = "node", "backend", "zone-a"
POLICIES = st.sampled_from(["Cluster", "Local"])
RANGES = ("192.0.2.0/24", "198.51.100.7/32", "0.0.0.0/0", "fd00:99::/32", "junk", "203.0.113.000/025")


def service(name: str = "web", **spec: Any) -> Service:
    """A Service `ns/NAME` at 10.96.0.10 and fd00:10:96::a, port 80, unless `spec` says otherwise; `status` apart."""
    status = spec.pop("status", {})
    usual = {
        "clusterIP": "10.96.0.10",
        "clusterIPs": ["10.96.0.10", "fd00:10:96::a"],
        "ipFamilies": ["IPv4", "IPv6"],
        "ports": [{"port": 80}],
    }
    metadata = {"name": name, "namespace": "ns"}
    return msgspec.convert({"metadata": metadata, "spec": {**usual, **spec}, "status": status}, Service)


def endpoint(*addresses: str, node: str = NODE, hints: Mapping[str, Any] | None = None, **conditions: Any) -> Any:
    """An entry of a slice; `conditions` as in the API, ready by default."""
    found = {"addresses": addresses, "nodeName": node, "conditions": conditions or {"ready": True}}
    return {**found, "hints": hints} if hints else found


def slice_of(
    owner: str = "web", *endpoints: Any, name: str = "", ports: Any = None, family: Family = "IPv4", version: str = ""
) -> EndpointSlice:
    """A slice of `ns/OWNER` with unnamed TCP port 8080."""
    labels = {"kubernetes.io/service-name": owner}
    metadata = {"name": name or f"{owner}-1", "namespace": "ns", "labels": labels, "resourceVersion": version}
    ports = [{"name": "", "port": 8080, "protocol": "TCP"}] if ports is None else ports
    return msgspec.convert(
        {"metadata": metadata, "addressType": family, "ports": ports, "endpoints": endpoints}, EndpointSlice
    )


def _address(family: Family, host: int) -> str:
    return f"10.244.1.{host}" if family == "IPv4" else f"fd00:10:244:1::{host:x}"


@st.composite
def endpoints(draw: st.DrawFn, family: Family) -> Any:
    optional = st.sampled_from([None, True, False])
    conditions = {name: draw(optional) for name in ("ready", "serving", "terminating")}
    found = endpoint(_address(family, draw(st.integers(1, 6))), node=draw(st.sampled_from([NODE, OTHER_NODE])))
    zones = draw(st.sampled_from([None, [ZONE], ["zone-b"], [ZONE, "zone-b"]]))
    nodes = draw(st.sampled_from([None, [NODE], [OTHER_NODE]]))
    hints = {
        "forZones": zones and [{"name": each} for each in zones],
        "forNodes": nodes and [{"name": each} for each in nodes],
    }
    return {**found, "conditions": conditions, "hints": hints}


@st.composite
def slices(draw: st.DrawFn, owner: str, number: int) -> EndpointSlice:
    family: Family = draw(st.sampled_from(["IPv4", "IPv4", "IPv6"]))
    ports = [
        {"name": name, "port": draw(st.sampled_from([8080, 5353])), "protocol": protocol}
        for name, protocol in (("http", "TCP"), ("dns", "UDP"))
    ]
    entries = draw(st.lists(endpoints(family), max_size=4))
    return slice_of(owner, *entries, name=f"{owner}-{number}", ports=ports, family=family)


@st.composite
def services(draw: st.DrawFn, name: str) -> Service:
    number = NAMES.index(name)
    kind = draw(st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]))
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    if kind != "ClusterIP":
        ports = [{**port, "nodePort": 30000 + 10 * number + index} for index, port in enumerate(ports)]
    shared = st.sampled_from([[], ["203.0.113.7"], ["203.0.113.7", f"203.0.113.2{number}", "fd00:203::7"]])
    ingress = draw(st.sampled_from([[], [f"192.168.56.20{number}"], [f"192.168.56.20{number}", "fd00:56::200"]]))
    return service(
        name,
        type=kind,
        clusterIP=f"10.96.0.{number + 10}",
        clusterIPs=[f"10.96.0.{number + 10}", f"fd00:10:96::{number + 10}"],
        ports=draw(st.sampled_from([ports, ports[:1], ports[1:]])),
        externalIPs=draw(shared),
        externalTrafficPolicy=draw(POLICIES),
        internalTrafficPolicy=draw(POLICIES),
        sessionAffinity=draw(st.sampled_from(["None", "ClientIP"])),
        loadBalancerSourceRanges=draw(st.lists(st.sampled_from(RANGES), max_size=3)),
        healthCheckNodePort=draw(st.sampled_from([0, 32100 + number])),
        status={"loadBalancer": {"ingress": [{"ip": each} for each in ingress]}},
    )


class World(msgspec.Struct, frozen=True):
    """The API server's state: services and slices by name."""

    services: Mapping[str, Service]
    slices: Mapping[str, EndpointSlice]

    def touched(self, keys: Iterable[str] = NAMES) -> Touched:
        """What the pipeline is told about these services, there or not."""
        for name in sorted(keys):
            mine = (each for key, each in sorted(self.slices.items()) if each.service_key == f"ns/{name}")
            yield f"ns/{name}", self.services.get(name), tuple(mine)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Up to three services with up to two slices each; slices without a Service too."""
    found = {name: draw(services(name)) for name in draw(st.sets(st.sampled_from(NAMES)))}
    kept = [
        draw(slices(name, number))
        for name in NAMES
        for number in range(draw(st.integers(0, 2)))
        if name in found or draw(st.booleans())
    ]
    return World(found, {each.metadata.name: each for each in kept})

"""API objects for histories: drafts, and what the API server takes for each.

A draft is a frozen struct whose default fields are the dullest. `manifest` turns it into an object and leaves out what
the type of a Service does not allow, but not all that the API refuses. Addresses are numbers within fixed ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

Manifest: TypeAlias = dict[str, Any]

NAMESPACE = "changes"
OWN_NODE, OTHER_NODE = "node", "elsewhere"
ZONES = ("zone-a", "zone-b", "zone-c")
SERVICE_NAMES = tuple(f"svc{number}" for number in range(8))
PROXY_LABEL, HEADLESS_LABEL = "service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"
SERVICE_LABEL, ZONE_LABEL = "kubernetes.io/service-name", "topology.kubernetes.io/zone"


class PortDraft(msgspec.Struct, frozen=True):
    name: str = ""
    port: int = 80
    protocol: str = "TCP"
    node_port: int = 0


class ServiceDraft(msgspec.Struct, frozen=True):
    """`number` makes the cluster IPs: a draft with another number is another Service of the same name."""

    name: str
    number: int
    type: str = "ClusterIP"
    families: tuple[str, ...] = ("IPv4",)
    ports: tuple[PortDraft, ...] = (PortDraft(),)
    external_policy: str = "Cluster"
    internal_policy: str = "Cluster"
    affinity_seconds: int = 0
    external_ips: tuple[str, ...] = ()
    ingress: tuple[tuple[str, str], ...] = ()
    source_ranges: tuple[str, ...] = ()
    health_port: int = 0
    proxy_name: str = ""
    distribution: str = ""
    note: str = ""


class EndpointDraft(msgspec.Struct, frozen=True):
    """Conditions are None where the API object has none. `address` is a number in its family's pod range."""

    address: int = 2
    ready: bool | None = True
    serving: bool | None = None
    terminating: bool | None = None
    node: str = OWN_NODE
    zones: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()

    @property
    def attributes(self) -> tuple[object, ...]:
        return (self.ready, self.serving, self.terminating, self.node, frozenset(self.zones), frozenset(self.nodes))


class TargetDraft(msgspec.Struct, frozen=True):
    """A port of a slice; `port` is 0 where the object has none."""

    name: str = ""
    port: int = 8080
    protocol: str = "TCP"


class SliceDraft(msgspec.Struct, frozen=True):
    name: str
    service: str = ""
    family: str = "IPv4"
    targets: tuple[TargetDraft, ...] = (TargetDraft(),)
    endpoints: tuple[EndpointDraft, ...] = ()
    headless: bool = False
    note: str = ""


class NodeDraft(msgspec.Struct, frozen=True):
    """The node that both programs stand for; it is changed, but never made or deleted."""

    name: str = OWN_NODE
    zone: str = ""
    taint: str = ""


Draft: TypeAlias = ServiceDraft | SliceDraft | NodeDraft
Key: TypeAlias = tuple[str, str]
"""(kind, name)."""
World: TypeAlias = dict[Key, Draft]
KINDS: dict[type[Draft], str] = {ServiceDraft: "Service", SliceDraft: "EndpointSlice", NodeDraft: "Node"}


def key_of(draft: Draft) -> Key:
    return KINDS[type(draft)], draft.name


class Step(msgspec.Struct, frozen=True):
    """Drafts to put, and the keys of what to delete before."""

    puts: tuple[Draft, ...] = ()
    deletes: tuple[Key, ...] = ()

    def __str__(self) -> str:
        lines = [f"delete {kind} {name}" for kind, name in self.deletes]
        return "\n".join([*lines, *(f"put {told(draft)}" for draft in self.puts)])


def told(value: Any) -> str:
    """A draft in words that can be pasted into Python: what is not as usual."""
    if isinstance(value, tuple):
        return "(" + "".join(f"{told(each)}, " for each in value).rstrip() + ")"
    if not isinstance(value, msgspec.Struct):
        return repr(value)
    fields = [(field, getattr(value, field.name)) for field in msgspec.structs.fields(value)]
    words = [f"{field.name}={told(found)}" for field, found in fields if found != field.default]
    return f"{type(value).__name__}({', '.join(words)})"


def after(world: Mapping[Key, Draft], step: Step) -> World:
    """The world that a step leaves."""
    left = {key: draft for key, draft in world.items() if key not in step.deletes}
    return {**left, **{key_of(draft): draft for draft in step.puts}}


def is_another(old: Draft, new: Draft) -> bool:
    """Whether `new` has to be another object of the same name.

    The API never changes a Service's first cluster IP. A slice that moves to another Service it does allow, and there
    kube-proxy is wrong: it looks at the new label only, and goes on sending the old Service's traffic to the slice's
    endpoints for as long as it runs. So slices are not moved here; ours follows (tests/kube/test_store.py).
    """
    if isinstance(old, ServiceDraft) and isinstance(new, ServiceDraft):
        kinds, first = {old.type, new.type}, [(each.number, each.families[0]) for each in (old, new)]
        if "ExternalName" in kinds:
            return False
        return first[0] != first[1] or ("Headless" in kinds and len(kinds) > 1)
    return isinstance(old, SliceDraft) and isinstance(new, SliceDraft) and old.service != new.service


# What the API server takes


def manifest(draft: Draft) -> Manifest:
    """The object of a draft, with its status where it has one."""
    if isinstance(draft, ServiceDraft):
        return _service(draft)
    return _slice(draft) if isinstance(draft, SliceDraft) else _node(draft)


def _metadata(name: str, note: str, labels: Mapping[str, str]) -> Manifest:
    found: Manifest = {"name": name, "namespace": NAMESPACE, "labels": dict(labels)}
    return {**found, "annotations": {"note": note}} if note else found


def cluster_ip(number: int, family: str) -> str:
    return f"10.96.1.{number}" if family == "IPv4" else f"fd00:10:96::{number:x}"


def _service(draft: ServiceDraft) -> Manifest:
    labels = {PROXY_LABEL: draft.proxy_name} if draft.proxy_name else {}
    found = {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(draft.name, draft.note, labels)}
    open_to_world = draft.type in ("NodePort", "LoadBalancer")
    ports = [
        {
            "name": each.name,
            "port": each.port,
            "protocol": each.protocol,
            **({"nodePort": each.node_port} if open_to_world and each.node_port else {}),
        }
        for each in draft.ports
    ]
    spec: Manifest = {"type": draft.type, "ports": ports}
    if draft.type == "ExternalName":
        return {**found, "spec": {**spec, "externalName": "elsewhere.example"}}
    headless = draft.type == "Headless"
    addresses = ["None"] if headless else [cluster_ip(draft.number, family) for family in draft.families]
    spec |= {
        "type": "ClusterIP" if headless else draft.type,
        "clusterIP": addresses[0],
        "clusterIPs": addresses,
        "ipFamilies": list(draft.families),
        "ipFamilyPolicy": "SingleStack" if len(draft.families) == 1 else "RequireDualStack",
        "internalTrafficPolicy": draft.internal_policy,
        "externalIPs": list(draft.external_ips),
    }
    if draft.affinity_seconds:
        config = {"clientIP": {"timeoutSeconds": draft.affinity_seconds}}
        spec |= {"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}
    if draft.distribution:
        spec["trafficDistribution"] = draft.distribution
    if open_to_world or (draft.external_ips and not headless):
        spec["externalTrafficPolicy"] = draft.external_policy
    if draft.type != "LoadBalancer":
        return {**found, "spec": spec}
    # Without numbers of its own the API server would draw some, and a history would not play twice alike.
    spec["allocateLoadBalancerNodePorts"] = False
    spec["loadBalancerSourceRanges"] = list(draft.source_ranges)
    if draft.external_policy == "Local" and draft.health_port:
        spec["healthCheckNodePort"] = draft.health_port
    ingress = [_ingress(address, mode) for address, mode in draft.ingress]
    return {**found, "spec": spec, "status": {"loadBalancer": {"ingress": ingress}}}


def _ingress(address: str, mode: str) -> Manifest:
    if mode == "hostname":
        return {"hostname": address}
    return {"ip": address, "ipMode": mode} if mode else {"ip": address}


def _slice(draft: SliceDraft) -> Manifest:
    labels = {SERVICE_LABEL: draft.service} if draft.service else {}
    if draft.headless:
        labels[HEADLESS_LABEL] = ""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _metadata(draft.name, draft.note, labels),
        "addressType": draft.family,
        "ports": [
            {
                "name": each.name,
                "protocol": each.protocol,
                **({"port": each.port} if each.port else {}),
            }
            for each in draft.targets
        ],
        "endpoints": [_endpoint(each, draft.family) for each in draft.endpoints],
    }


def address(number: int, family: str) -> str:
    """The number-th pod; in FQDN slices it has a name."""
    return {
        "IPv4": f"10.244.1.{number}",
        "IPv6": f"fd00:10:244:1::{number:x}",
        "FQDN": f"pod{number}.example",
    }[family]


def _endpoint(draft: EndpointDraft, family: str) -> Manifest:
    conditions = {name: getattr(draft, name) for name in ("ready", "serving", "terminating")}
    hints = {
        "forZones": [{"name": zone} for zone in draft.zones],
        "forNodes": [{"name": node} for node in draft.nodes],
    }
    found: Manifest = {
        "addresses": [address(draft.address, family)],
        "conditions": {name: value for name, value in conditions.items() if value is not None},
    }
    if draft.node:
        found["nodeName"] = draft.node
    if draft.zones or draft.nodes:
        found["hints"] = {name: hint for name, hint in hints.items() if hint}
    return found


def _node(draft: NodeDraft) -> Manifest:
    return {
        "metadata": {"name": draft.name, "labels": {ZONE_LABEL: draft.zone} if draft.zone else {}},
        "spec": {"taints": [{"key": draft.taint, "effect": "NoSchedule"}] if draft.taint else []},
    }

"""API objects, as values: only the fields that svcplane reads.

In: JSON as the API server sends it (also CBOR or YAML decoded by msgspec). Out: frozen structs that compare by value.
What is not declared here is skipped while decoding and costs no memory; labels and annotations too are structs
of the few keys we read. A field of the wrong type raises `msgspec.ValidationError`, whose message names the path.

Shapes: Kubernetes API v1.36, `core/v1` and `discovery.k8s.io/v1`. Go writes an empty list as `null` where the
field is required, so those lists are optional here: read them as `slice.endpoints or ()`.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import field


class Value(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """Base of all API structs. They form trees, never cycles, so the garbage collector need not visit them."""


class Labels(Value, frozen=True, rename=None):
    service_name: str = field(default="", name="kubernetes.io/service-name")
    zone: str = field(default="", name="topology.kubernetes.io/zone")


class Annotations(Value, frozen=True, rename=None):
    last_change_trigger_time: str = field(default="", name="endpoints.kubernetes.io/last-change-trigger-time")


class ObjectMeta(Value, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    deletion_timestamp: str | None = None
    labels: Labels | None = None
    annotations: Annotations | None = None


class KubeObject(Value, frozen=True):
    metadata: ObjectMeta = ObjectMeta()

    @property
    def key(self) -> str:
        """`namespace/name`, or `name` for cluster-scoped objects: how logs and kubectl name an object."""
        meta = self.metadata
        return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name


class Document(KubeObject, frozen=True):
    """An object of any kind with all its fields, as JSON values: for programs that write objects back."""

    body: dict[str, Any] = {}

    @classmethod
    def of(cls, body: dict[str, Any]) -> Document:
        """Raises msgspec.ValidationError if the metadata is none."""
        return cls(msgspec.convert(body.get("metadata"), ObjectMeta), body)


Protocol: TypeAlias = Literal["TCP", "UDP", "SCTP"]


class ServicePort(Value, frozen=True):
    port: int
    name: str = ""
    protocol: Protocol = "TCP"
    node_port: int = 0


class ClientIPConfig(Value, frozen=True):
    timeout_seconds: int | None = None


class SessionAffinityConfig(Value, frozen=True):
    client_ip: ClientIPConfig | None = field(default=None, name="clientIP")


class ServiceSpec(Value, frozen=True):
    type: str = "ClusterIP"
    cluster_ip: str = field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] | None = field(default=None, name="clusterIPs")
    ip_families: tuple[str, ...] | None = None
    ports: tuple[ServicePort, ...] | None = None
    external_ips: tuple[str, ...] | None = field(default=None, name="externalIPs")
    external_name: str = ""
    external_traffic_policy: str = ""
    internal_traffic_policy: str = ""
    session_affinity: str = ""
    session_affinity_config: SessionAffinityConfig | None = None
    load_balancer_source_ranges: tuple[str, ...] | None = None
    health_check_node_port: int = 0


class LoadBalancerIngress(Value, frozen=True):
    ip: str = ""
    hostname: str = ""
    ip_mode: str | None = None


class LoadBalancerStatus(Value, frozen=True):
    ingress: tuple[LoadBalancerIngress, ...] | None = None


class ServiceStatus(Value, frozen=True):
    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(KubeObject, frozen=True):
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class EndpointConditions(Value, frozen=True):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(Value, frozen=True):
    name: str = ""


class ForNode(Value, frozen=True):
    name: str = ""


class EndpointHints(Value, frozen=True):
    for_zones: tuple[ForZone, ...] | None = None
    for_nodes: tuple[ForNode, ...] | None = None


class ObjectReference(Value, frozen=True):
    kind: str = ""
    name: str = ""


class Endpoint(Value, frozen=True):
    addresses: tuple[str, ...] | None = None
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None
    target_ref: ObjectReference | None = None


class EndpointPort(Value, frozen=True):
    name: str | None = None
    port: int | None = None
    protocol: Protocol | None = None


class EndpointSlice(KubeObject, frozen=True):
    address_type: str = ""
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[EndpointPort, ...] | None = None

    @property
    def service_key(self) -> str:
        """`namespace/name` of the Service this slice belongs to (by label, KEP-752), "" if it names none."""
        labels = self.metadata.labels
        if labels is None or not labels.service_name:
            return ""
        return f"{self.metadata.namespace}/{labels.service_name}"


class Taint(Value, frozen=True):
    key: str = ""


class NodeSpec(Value, frozen=True):
    pod_cidr: str = field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] | None = field(default=None, name="podCIDRs")
    taints: tuple[Taint, ...] | None = None


class NodeAddress(Value, frozen=True):
    type: str = ""
    address: str = ""


class NodeStatus(Value, frozen=True):
    addresses: tuple[NodeAddress, ...] | None = None


class Node(KubeObject, frozen=True):
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class Namespace(KubeObject, frozen=True):
    pass


class PodIP(Value, frozen=True):
    ip: str = ""


class PodStatus(Value, frozen=True):
    phase: str = ""
    pod_ip: str = field(default="", name="podIP")
    pod_ips: tuple[PodIP, ...] | None = field(default=None, name="podIPs")


class Pod(KubeObject, frozen=True):
    status: PodStatus = PodStatus()

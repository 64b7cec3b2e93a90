"""API objects without what no answer depends on: the same types, fewer fields, what is equal held once.

In: objects as decoded, perhaps in several threads. Out: lighter ones, from which `index.service_records` makes the same
records. Of 10,000 Services with 5 endpoints each that is most of what the server holds: as decoded, an
endpoint has its conditions, node, zone and Pod, some 500 octets; here it is one address in its slice, some 70.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar, cast

from svckube.objects import (
    Endpoint,
    EndpointSlice,
    KubeObject,
    Labels,
    Namespace,
    ObjectMeta,
    ObjectReference,
    Pod,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
)

MOST_SHARED = 4096  # values that are held once; more, and what comes from then on shares anew

T = TypeVar("T")


class Slimmer:
    """`pod_names`: endpoints are named after their Pods, so these names stay."""

    def __init__(self, pod_names: bool = False) -> None:
        self._pod_names = pod_names
        self._shared: dict[object, object] = {}

    def slim(self, thing: KubeObject) -> KubeObject:
        match thing:
            case Service():
                return Service(self._meta(thing), self._spec(thing.spec))
            case EndpointSlice():
                return self._slice(thing)
            case Pod():
                first, others = thing.status.pod_ip, thing.status.pod_ips or ()
                more = tuple(one for one in others if one.ip != first)
                return Pod(self._meta(thing), PodStatus(pod_ip=first, pod_ips=more or None))
            case Namespace():
                return Namespace(self._meta(thing))
        return thing

    def _meta(self, thing: KubeObject, labels: Labels | None = None) -> ObjectMeta:
        meta = thing.metadata
        return ObjectMeta(name=meta.name, namespace=self._once(meta.namespace), labels=labels)

    def _spec(self, spec: ServiceSpec) -> ServiceSpec:
        ports = tuple(ServicePort(one.port, self._once(one.name), one.protocol) for one in spec.ports or ())
        ips = spec.cluster_ips
        return ServiceSpec(
            type=self._once(spec.type),
            cluster_ip=self._once(spec.cluster_ip) if spec.cluster_ip == "None" else spec.cluster_ip,
            cluster_ips=None if ips == (spec.cluster_ip,) else ips,
            ports=self._once(ports) or None,
            external_name=spec.external_name,
        )

    def _slice(self, thing: EndpointSlice) -> EndpointSlice:
        labels = thing.metadata.labels
        if labels is None or not labels.service_name:
            return EndpointSlice(self._meta(thing))
        return EndpointSlice(
            self._meta(thing, Labels(service_name=labels.service_name)),
            self._once(thing.address_type),
            tuple(self._endpoints(thing.endpoints or ())),
            None if thing.ports is None else self._once(thing.ports),
        )

    def _endpoints(self, endpoints: Iterable[Endpoint]) -> Iterable[Endpoint]:
        """Those that count. Neighbours that are named after their addresses become one with all of these."""
        nameless: list[str] = []
        for one in endpoints:
            if one.conditions.ready is False:
                continue
            pod = ObjectReference(name=one.target_ref.name) if self._pod_names and one.target_ref is not None else None
            if not one.hostname and pod is None:
                nameless += one.addresses or ()
                continue
            if nameless:
                yield Endpoint(tuple(nameless))
                nameless = []
            yield Endpoint(one.addresses, hostname=one.hostname, target_ref=pod)
        if nameless:
            yield Endpoint(tuple(nameless))

    def _once(self, value: T) -> T:
        if len(self._shared) > MOST_SHARED:
            self._shared.clear()
        return cast(T, self._shared.setdefault(value, value))

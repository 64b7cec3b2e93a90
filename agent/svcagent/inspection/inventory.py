"""The objects of a cluster as one command looks at them: all at once, and with the labels that the daemon leaves out.

In: decoded API objects, from a file or from lists. Out: an `Inventory`, by name, and questions to it. The structs here
add what only people ask for (selectors, all labels of a pod) to those of `svckube.objects`; the daemon does not use
them, because it would have to keep them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from svcagent.pipeline import Touched
from svcagent.resolve import canonical_address
from svckube.objects import EndpointSlice, KubeObject, Node, ObjectMeta, Pod, PodStatus, Service, ServiceSpec, Value


def canonical(texts: Iterable[str]) -> tuple[str, ...]:
    """Those of the texts that are IP addresses, as canonical text; a host name is none."""
    found = []
    for text in texts:
        try:
            found.append(canonical_address(text))
        except ValueError:
            continue
    return tuple(found)


class SelectingSpec(ServiceSpec, frozen=True):
    selector: dict[str, str] | None = None


class SelectingService(Service, frozen=True):
    """A Service with its selector."""

    spec: SelectingSpec = SelectingSpec()


class LabelledMeta(ObjectMeta, frozen=True):
    labels: dict[str, str] | None = None  # type: ignore[assignment]  # all labels, in place of the few that we know


class PodCondition(Value, frozen=True):
    type: str = ""
    status: str = ""


class LabelledPodSpec(Value, frozen=True):
    node_name: str = ""


class LabelledPodStatus(PodStatus, frozen=True):
    conditions: tuple[PodCondition, ...] | None = None


class LabelledPod(Pod, frozen=True):
    """A Pod with its labels, its node and its conditions."""

    metadata: LabelledMeta = LabelledMeta()
    spec: LabelledPodSpec = LabelledPodSpec()
    status: LabelledPodStatus = LabelledPodStatus()

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.labels or {}

    @property
    def addresses(self) -> tuple[str, ...]:
        """Canonical text, one a family; none before the pod's network is up."""
        return canonical([each.ip for each in self.status.pod_ips or ()] or [self.status.pod_ip])

    @property
    def ended(self) -> bool:
        """Its containers have ended for good, so it is nobody's endpoint."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def ready(self) -> bool:
        return any(each.type == "Ready" and each.status == "True" for each in self.status.conditions or ())


class Inventory(msgspec.Struct, frozen=True):
    """Objects by `namespace/name` (nodes by name); slices by the `namespace/name` of their Service."""

    services: Mapping[str, SelectingService] = {}
    slices: Mapping[str, tuple[EndpointSlice, ...]] = {}
    nodes: Mapping[str, Node] = {}
    pods: Mapping[str, LabelledPod] = {}

    def touched(self, keys: Iterable[str] | None = None) -> Touched:
        """What a pipeline is told: these Services, or all of them, by name."""
        for key in sorted(self.services if keys is None else keys):
            yield key, self.services.get(key), self.slices.get(key, ())

    def holders(self) -> Iterator[tuple[str, str, str]]:
        """(address, "namespace/name" of the pod or "", node name or "") for every endpoint and pod address."""
        for pod in self.pods.values():
            for address in pod.addresses:
                yield address, pod.key, pod.spec.node_name
        for slices in self.slices.values():
            for each in slices:
                for endpoint in each.endpoints or ():
                    named = endpoint.target_ref
                    pod_key = f"{each.metadata.namespace}/{named.name}" if named and named.kind == "Pod" else ""
                    for address in canonical((endpoint.addresses or ())[:1]):
                        yield address, pod_key, endpoint.node_name or ""


def inventory(objects: Iterable[KubeObject]) -> Inventory:
    """The objects by kind and name. Of two with one name the later counts, as with `kubectl apply`."""
    services: dict[str, SelectingService] = {}
    slices: dict[str, EndpointSlice] = {}
    nodes: dict[str, Node] = {}
    pods: dict[str, LabelledPod] = {}
    for each in objects:
        match each:
            case SelectingService():
                services[each.key] = each
            case EndpointSlice():
                slices[each.key] = each
            case Node():
                nodes[each.key] = each
            case LabelledPod():
                pods[each.key] = each
    of_service: dict[str, list[EndpointSlice]] = {}
    for _, found in sorted(slices.items()):
        of_service.setdefault(found.service_key, []).append(found)
    of_service.pop("", None)
    return Inventory(services, {key: tuple(found) for key, found in of_service.items()}, nodes, pods)

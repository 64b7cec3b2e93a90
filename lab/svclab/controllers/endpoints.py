"""Endpoints of Services with a selector: one object each, for clients that do not read EndpointSlices (p).

In: services, pods and Endpoints. Out: one creation, update or deletion. Subsets are in canonical form; above 1000
addresses they are cut and annotated (pkg/controller/endpoint). Endpoints go with their Service, also those written by
hand; Endpoints that never had a Service are left alone, unless they carry our label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from svclab.controllers import backends
from svclab.controllers.reduce import Body, Create, Delete, Outcome, Seen, Update, World, node_of
from svclab.controllers.selection import labels_of
from svclab.controllers.subsets import CAPACITY, repacked, same, size, truncated

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"

_KIND = {"apiVersion": "v1", "kind": "Endpoints"}


class EndpointsController:
    name = "endpoints-controller"
    watches = ("services", "pods", "endpoints")

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        """Keys are those of Services, which are those of Endpoints."""
        if seen.resource == "pods":
            return backends.services_touched(seen, world)
        if seen.resource == "services" or seen.new is None or labels_of(seen.new).get(MANAGED_BY) == MANAGER:
            return (seen.key,)
        return ()

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        service, current = world.get("services", key), world.get("endpoints", key)
        if service is None:
            gone = () if current is None else (Delete("endpoints", key, uid=current["metadata"]["uid"]),)
            return Outcome(gone)
        if not backends.is_selecting(service):
            return Outcome()
        pods = backends.pods_of(service, world)
        wanted = repacked(_subsets(service, pods))
        created = str(service["metadata"].get("creationTimestamp") or "")
        if current is None:
            made = {
                **_KIND,
                "metadata": {"name": service["metadata"]["name"], "namespace": service["metadata"]["namespace"]},
            }
            return Outcome((Create("endpoints", _filled(made, service, wanted, created)),))
        if _is_right(current, service, wanted):
            return Outcome()
        is_new_to_us = labels_of(current).get(MANAGED_BY) != MANAGER
        trigger = created if is_new_to_us else _trigger(current.get("subsets") or [], wanted, pods)
        return Outcome((Update("endpoints", _filled({**current, **_KIND}, service, wanted, trigger)),))


def _subsets(service: Body, pods: list[Body]) -> Iterator[Body]:
    """One for each pod and port."""
    spec = service.get("spec") or {}
    lenient = bool(spec.get("publishNotReadyAddresses"))
    for pod in pods:
        if not backends.belongs_in_endpoints(pod, with_terminating=lenient):
            continue
        addresses = backends.addresses_of(pod, _family(service, pod))
        if not addresses:
            continue
        field = "addresses" if lenient or backends.is_ready(pod) else "notReadyAddresses"
        subset = {field: [_address(pod, service, addresses[0])]}
        if not spec.get("ports") and spec.get("clusterIP") == "None":
            yield subset
        for port in spec.get("ports") or ():
            number = backends.port_on(pod, port)
            if number is not None:
                yield {**subset, "ports": [_port(port, number)]}


def _family(service: Body, pod: Body) -> str:
    """The Service's first family; without a word, that of its address, else of the pod's."""
    spec = service.get("spec") or {}
    if spec.get("ipFamilies"):
        return str(spec["ipFamilies"][0])
    for address in (spec.get("clusterIP") or "", (pod.get("status") or {}).get("podIP") or ""):
        family = backends.address_and_family(address)[1]
        if family:
            return family
    return "IPv4"


def _address(pod: Body, service: Body, ip: str) -> Body:
    """Without a node's name if it has none: the real one sends "" then, and is refused."""
    optional = {"nodeName": node_of(pod), "hostname": backends.hostname_of(pod, service)}
    named = {name: value for name, value in optional.items() if value}
    return {"ip": ip, "targetRef": backends.reference_to(pod), **named}


def _port(port: Body, number: int) -> Body:
    made = {"name": port.get("name"), "port": number, "protocol": port.get("protocol") or "TCP"}
    return {name: value for name, value in {**made, "appProtocol": port.get("appProtocol")}.items() if value}


def _is_right(current: Body, service: Body, wanted: list[Body]) -> bool:
    present, fitting = current.get("subsets") or [], truncated(wanted)
    if not same(present, fitting) and not same(repacked(present), fitting):
        return False
    labels = dict(labels_of(current))
    managed = labels.pop(MANAGED_BY, None) == MANAGER
    labels.pop(backends.IS_HEADLESS, None)
    annotated = OVER_CAPACITY in (current["metadata"].get("annotations") or {})
    return managed and labels == labels_of(service) and annotated == (size(wanted) > CAPACITY)


def _filled(current: Body, service: Body, subsets: list[Body], trigger: str) -> Body:
    stamped = backends.stamped(current, trigger)
    annotations = dict(stamped["metadata"].get("annotations") or {})
    annotations.pop(OVER_CAPACITY, None)
    if size(subsets) > CAPACITY:
        annotations[OVER_CAPACITY] = "truncated"
    labels = {**labels_of(service), MANAGED_BY: MANAGER}
    labels.pop(backends.IS_HEADLESS, None)
    if backends.is_headless(service):
        labels[backends.IS_HEADLESS] = ""
    metadata = {**stamped["metadata"], "labels": labels, "annotations": annotations}
    return {**stamped, "metadata": metadata, "subsets": truncated(subsets)}


def _trigger(present: list[Body], wanted: list[Body], pods: list[Body]) -> str:
    """The earliest change of readiness that is newly shown."""
    before, after = _shown(present), _shown(wanted)
    newly = {uid for uid, _ in after.keys() - before.keys()}
    was_ready = {uid: ready for (uid, _), ready in before.items()}
    moved = []
    for pod in pods:
        uid = pod["metadata"]["uid"]
        if uid in newly or (uid in was_ready and was_ready[uid] != backends.is_ready(pod)):
            moved.append(pod)
    return backends.earliest(backends.became_ready_or_unready(pod) for pod in moved)


def _shown(subsets: list[Body]) -> dict[tuple[str, str], bool]:
    """(uid of a pod, address) → is it ready in all subsets?"""
    found: dict[tuple[str, str], bool] = {}
    for subset in subsets:
        for field, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in subset.get(field) or ():
                who = (address.get("targetRef") or {}).get("uid") or "", address["ip"]
                found[who] = found.get(who, True) and ready
    return found

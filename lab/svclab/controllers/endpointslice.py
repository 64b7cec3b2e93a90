"""EndpointSlices of Services with a selector: at most 100 endpoints each, as few writes as possible (p).

In: services, pods, nodes and slices. Out: creations, updates and deletions of the slices labelled as ours. Pods that
resolve a named port differently stand in different slices; a Service without endpoints has one empty slice. What is
already said is not written again: changed endpoints change in place, new ones fill up slices that are written anyway,
else the fullest one with room (KEP-752; k8s.io/endpointslice/reconciler.go). A pod on a node that does not exist is
left out and told in an Event. Hints follow `trafficDistribution`; the older annotation
`service.kubernetes.io/topology-mode: Auto` gives none here.

When a change was made (the annotation last-change-trigger-time, from which latencies are measured) is read off the
objects: the first slice carries the Service's creation, later ones the earliest change of readiness they newly show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from svclab.controllers import backends, slices
from svclab.controllers.pods import is_terminating
from svclab.controllers.reduce import Body, Outcome, Record, Seen, World, Write, key_of, node_of
from svclab.controllers.selection import labels_of
from svclab.controllers.slices import MANAGED_BY, SERVICE_NAME, Changes, Identity, PortKey

MANAGER = "endpointslice-controller.k8s.io"
COMPONENT = "endpoint-slice-controller"
MAX_ENDPOINTS = 100

_RESERVED = (SERVICE_NAME, MANAGED_BY, backends.IS_HEADLESS)
_NEAR = ("PreferClose", "PreferSameZone", "PreferSameNode")
_TOPOLOGY_MODES = ("service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode")


class _Group(msgspec.Struct):
    """The endpoints wanted for one set of ports, not yet placed in a slice."""

    ports: list[Body]
    endpoints: dict[Identity, Body]


class EndpointSliceController:
    name = "endpointslice-controller"
    watches = ("services", "pods", "nodes", "endpointslices")

    def __init__(self, max_endpoints: int = MAX_ENDPOINTS) -> None:
        """`max_endpoints`: of one slice (kube-controller-manager's --max-endpoints-per-slice)."""
        self._max = max_endpoints

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        """Keys are those of Services."""
        if seen.resource == "services":
            return (seen.key,)
        if seen.resource == "pods":
            return backends.services_touched(seen, world)
        if seen.resource == "nodes":
            return backends.services_on_node(seen, world)
        return sorted(slices.service_keys((seen.old, seen.new), MANAGER))

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        """The slices themselves go with their Service: the garbage collector sees to that."""
        service = world.get("services", key)
        if service is None or not backends.is_selecting(service):
            return Outcome()
        existing = [one for one in slices.managed_slices(key, MANAGER, world) if not is_terminating(one)]
        pods = backends.pods_of(service, world)
        changes, faults = Changes(), []
        families = address_types(service)
        for family in families:
            of_family = [one for one in existing if one["addressType"] == family]
            planned, lost = _planned(service, family, pods, of_family, world.all("nodes"), self._max)
            changes.extend(planned)
            faults += lost
        changes.delete += [one for one in existing if one["addressType"] not in families]
        if is_terminating(service):
            changes.create = []  # the garbage collector would race with us
        _stamp(changes, _trigger(service, pods, existing, changes))
        return Outcome((*changes.writes(), *_told(service, faults)))


def address_types(service: Body) -> list[str]:
    """Families of its slices: as the Service says; without a word, by its address, or both when it has none."""
    spec = service.get("spec") or {}
    families = {family for family in spec.get("ipFamilies") or () if family in ("IPv4", "IPv6")}
    if not families:
        _, family = backends.address_and_family(spec.get("clusterIP") or "")
        families = {family} if family else {"IPv4", "IPv6"}
    return sorted(families)


def _planned(
    service: Body, family: str, pods: list[Body], existing: list[Body], nodes: Mapping[str, Body], limit: int
) -> tuple[Changes, list[str]]:
    """What to do about the slices of one family, and what is wrong with the pods."""
    changes = Changes(delete=[one for one in existing if not _owned(one, service)])
    by_ports: dict[PortKey, list[Body]] = {}
    for one in existing:
        if _owned(one, service):
            by_ports.setdefault(slices.port_key(one.get("ports")), []).append(one)
    groups, faults = _wanted(service, family, pods, nodes)
    for ports in sorted(groups):
        changes.extend(_placed(service, family, groups[ports], by_ports.get(ports, []), limit))
    changes.delete += [one for ports in sorted(by_ports) if ports not in groups for one in by_ports[ports]]
    if len(existing) == len(changes.delete) and not changes.create:
        empty = _new_slice(service, family, [])
        if len(changes.delete) == 1 and _is_placeholder(changes.delete[0], empty):
            changes.delete = []
        else:
            changes.create.append(empty)
    _hint(service, changes, existing)
    changes.recycle({one["metadata"]["uid"] for one in existing if _owned(one, service)})
    return changes, faults


def _wanted(
    service: Body, family: str, pods: list[Body], nodes: Mapping[str, Body]
) -> tuple[dict[PortKey, _Group], list[str]]:
    """The endpoints there should be, grouped by the ports they resolve."""
    groups: dict[PortKey, _Group] = {}
    faults = []
    lenient = bool((service.get("spec") or {}).get("publishNotReadyAddresses"))
    for pod in pods:
        if not backends.belongs_in_endpoints(pod, with_terminating=True):
            continue
        ports = _ports(service, pod)
        group = groups.setdefault(slices.port_key(ports), _Group(ports, {}))
        node_name = node_of(pod)
        if node_name not in nodes and not lenient:
            faults.append(
                f"skipping Pod {pod['metadata']['name']} for Service {key_of(service)}: Node {node_name} Not Found"
            )
            continue
        endpoint = _endpoint(pod, nodes.get(node_name), service, family)
        if endpoint["addresses"]:
            group.endpoints[slices.identity(endpoint)] = endpoint
    return groups, faults


def _ports(service: Body, pod: Body) -> list[Body]:
    found = []
    for port in (service.get("spec") or {}).get("ports") or ():
        number = backends.port_on(pod, port)
        if number is not None:
            made = {"name": port.get("name") or "", "port": number, "protocol": port.get("protocol") or "TCP"}
            found.append({**made, "appProtocol": port["appProtocol"]} if port.get("appProtocol") else made)
    return slices.sorted_ports(found)


def _endpoint(pod: Body, node: Body | None, service: Body, family: str) -> Body:
    serving, terminating = backends.is_ready(pod), is_terminating(pod)
    lenient = bool((service.get("spec") or {}).get("publishNotReadyAddresses"))
    ready = lenient or (serving and not terminating)
    made: Body = {
        "addresses": backends.addresses_of(pod, family),
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": backends.reference_to(pod),
    }
    optional = {
        "nodeName": node_of(pod),
        "zone": None if node is None else labels_of(node).get(backends.ZONE),
        "hostname": backends.hostname_of(pod, service),
    }
    return {**made, **{name: value for name, value in optional.items() if value}}


def _placed(service: Body, family: str, group: _Group, existing: list[Body], limit: int) -> Changes:
    """Spreads the group's endpoints over the slices there are, and new ones. Empties the group."""
    updated, unchanged, changes = _in_place(service, group, existing)
    missing = group.endpoints
    for one in sorted(updated, key=lambda one: -len(one["endpoints"])):
        _fill(one, missing, limit)
    while missing:
        slice_ = _fullest_fit(unchanged, len(missing), limit)
        if slice_ is None:
            slice_ = _new_slice(service, family, group.ports)
            changes.create.append(slice_)
        else:
            unchanged.remove(slice_)
            slice_ = {**slice_, "endpoints": list(slice_.get("endpoints") or ())}
            updated.append(slice_)
        _fill(slice_, missing, limit)
    changes.update += updated
    return changes


def _in_place(service: Body, group: _Group, existing: list[Body]) -> tuple[list[Body], list[Body], Changes]:
    """(slices to update, slices as they are, deletions); takes the endpoints that it finds out of the group."""
    updated, unchanged, changes = [], [], Changes()
    for one in existing:
        present = one.get("endpoints") or []
        kept, differs = [], False
        for endpoint in present:
            wanted = group.endpoints.pop(slices.identity(endpoint), None)
            if wanted is not None:
                kept.append(wanted)
                differs = differs or not slices.same_state(wanted, endpoint)
        labels = _labels(service)
        if differs or len(kept) != len(present):
            if kept:
                updated.append(_relabelled({**one, "endpoints": kept}, labels))
            else:
                changes.delete.append(one)
        elif _own(labels_of(one)) != _own(labels):
            updated.append(_relabelled({**one, "endpoints": list(present)}, labels))
        else:
            unchanged.append(one)
    return updated, unchanged, changes


def _fill(slice_: Body, missing: dict[Identity, Body], limit: int) -> None:
    endpoints = slice_["endpoints"]
    while missing and len(endpoints) < limit:
        endpoints.append(missing.pop(next(iter(missing))))


def _fullest_fit(candidates: list[Body], count: int, limit: int) -> Body | None:
    """The slice that will be closest to full with `count` more endpoints, if they all fit in one."""
    sizes = [len(one.get("endpoints") or ()) for one in candidates]
    fitting = [(limit - size, at) for at, size in enumerate(sizes) if count < limit and size + count <= limit]
    return candidates[min(fitting)[1]] if fitting else None


def _new_slice(service: Body, family: str, ports: list[Body]) -> Body:
    return slices.made(service, "Service", family, ports, _labels(service), {})


def _labels(service: Body) -> dict[str, str]:
    """The Service's own, and the reserved ones."""
    headless = {backends.IS_HEADLESS: ""} if backends.is_headless(service) else {}
    return {**_own(labels_of(service)), **headless, SERVICE_NAME: service["metadata"]["name"], MANAGED_BY: MANAGER}


def _own(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name not in _RESERVED}


def _relabelled(slice_: Body, labels: Mapping[str, str]) -> Body:
    return {**slice_, "metadata": {**slice_["metadata"], "labels": labels}}


def _owned(slice_: Body, service: Body) -> bool:
    owners = slice_["metadata"].get("ownerReferences") or ()
    wanted = ("v1", "Service", service["metadata"]["uid"])
    return any((owner.get("apiVersion"), owner.get("kind"), owner.get("uid")) == wanted for owner in owners)


def _is_placeholder(slice_: Body, empty: Body) -> bool:
    return not slice_.get("endpoints") and not slice_.get("ports") and labels_of(slice_) == labels_of(empty)


def _hint(service: Body, changes: Changes, existing: list[Body]) -> None:
    """Puts hints into the slices that are written, and writes those whose hints are wrong."""
    distribution = (service.get("spec") or {}).get("trafficDistribution")
    annotations = service["metadata"].get("annotations") or {}
    mode = next((annotations[name] for name in _TOPOLOGY_MODES if name in annotations), "")
    near = distribution in _NEAR and mode not in ("Auto", "auto")
    by_node = distribution == "PreferSameNode"
    touched = {one["metadata"].get("name") for one in (*changes.update, *changes.delete)}
    for one in existing:
        if one["metadata"]["name"] not in touched and _wrongly_hinted(one, near, by_node):
            changes.update.append(one)
    for batch in (changes.create, changes.update):
        batch[:] = [{**one, "endpoints": [_hinted(each, near, by_node) for each in one["endpoints"]]} for one in batch]


def _wrongly_hinted(slice_: Body, near: bool, by_node: bool) -> bool:
    endpoints = slice_.get("endpoints") or ()
    return any((each.get("hints") or None) != _hinted(each, near, by_node).get("hints") for each in endpoints)


def _hinted(endpoint: Body, near: bool, by_node: bool) -> Body:
    if near and not (endpoint.get("conditions") or {}).get("ready"):
        return endpoint
    hints: dict[str, Any] = {}
    if near and endpoint.get("zone"):
        hints["forZones"] = [{"name": endpoint["zone"]}]
    if near and by_node and endpoint.get("nodeName"):
        hints["forNodes"] = [{"name": endpoint["nodeName"]}]
    bare = {name: value for name, value in endpoint.items() if name != "hints"}
    return {**bare, "hints": hints} if hints else bare


def _trigger(service: Body, pods: list[Body], existing: list[Body], changes: Changes) -> str:
    if not any(_owned(one, service) for one in existing):
        return str(service["metadata"].get("creationTimestamp") or "")
    before, after = _shown(existing), _shown([*changes.create, *changes.update])
    known = {name for name, _ in before}
    newly = {who[0] for who in after if before.get(who, after[who])[0] != after[who][0] or who[0] not in known}
    served = {name: serving for (name, _), (_, serving) in before.items()}
    moved = []
    for pod in pods:
        name = pod["metadata"]["name"]
        if name in newly or (name in known and served[name] != backends.is_ready(pod)):
            moved.append(pod)
    return backends.earliest(backends.became_ready_or_unready(pod) for pod in moved)


def _shown(written: list[Body]) -> dict[tuple[str, str], tuple[tuple[str, ...], bool | None]]:
    """(name of a pod, family) → (its addresses, is it serving)."""
    found = {}
    for one in written:
        for each in one.get("endpoints") or ():
            who = (each.get("targetRef") or {}).get("name") or "", one["addressType"]
            found[who] = tuple(each["addresses"]), (each.get("conditions") or {}).get("serving")
    return found


def _stamp(changes: Changes, trigger: str) -> None:
    for batch in (changes.create, changes.update):
        batch[:] = [backends.stamped(one, trigger) for one in batch]


def _told(service: Body, faults: list[str]) -> Iterator[Write]:
    if faults:
        unique = list(dict.fromkeys(faults))
        said = unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"
        message = f"Error updating Endpoint Slices for Service {key_of(service)}: {said}"
        about = {**service, "apiVersion": "v1", "kind": "Service"}
        yield Record(about, "Warning", "FailedToUpdateEndpointSlices", message, COMPONENT)

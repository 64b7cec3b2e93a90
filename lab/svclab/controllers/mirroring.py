"""EndpointSlices of Endpoints that somebody wrote by hand, for Services without a selector (p).

In: Endpoints, services and the slices labelled as ours. Out: one slice for each set of ports and family, with the
labels and annotations of the Endpoints. Endpoints labelled `endpointslice.kubernetes.io/skip-mirror: "true"`, those of
a leader election, and those of a Service with a selector or without a Service are not mirrored, and what was mirrored
of them goes. Addresses that are none are left out and told in an Event (pkg/controller/endpointslicemirroring).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from svclab.controllers import backends, slices
from svclab.controllers.pods import is_terminating
from svclab.controllers.reduce import Body, Outcome, Record, Seen, World, Write
from svclab.controllers.selection import labels_of
from svclab.controllers.slices import MANAGED_BY, SERVICE_NAME, Changes, Identity, PortKey
from svclab.controllers.subsets import repacked

MANAGER = "endpointslicemirroring-controller.k8s.io"
COMPONENT = "endpoint-slice-mirroring-controller"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
MAX_ENDPOINTS = 1000  # of one subset

_NOT_COPIED = (backends.LAST_CHANGE, "kubectl.kubernetes.io/last-applied-configuration")

_Key = tuple[str, PortKey]


class _Wanted(msgspec.Struct):
    """(family, ports) → ports and endpoints; and how many addresses could not be mirrored."""

    ports: dict[_Key, list[Body]] = {}
    endpoints: dict[_Key, dict[Identity, Body]] = {}
    invalid: int = 0
    skipped: int = 0


class EndpointSliceMirroringController:
    name = "endpointslicemirroring-controller"
    watches = ("services", "endpoints", "endpointslices")

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        """Keys are those of Endpoints, which are those of Services."""
        if seen.resource == "endpointslices":
            return sorted(slices.service_keys((seen.old, seen.new), MANAGER))
        if seen.resource == "services":
            had, has = (None if one is None else _has_selector(one) for one in (seen.old, seen.new))
            return (seen.key,) if had != has else ()
        return (seen.key,)

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        endpoints, service = world.get("endpoints", key), world.get("services", key)
        existing = slices.managed_slices(key, MANAGER, world)
        if endpoints is None or service is None or not _is_mirrored(endpoints) or _has_selector(service):
            return Outcome(tuple(slices.deletion(one) for one in existing))
        wanted = _wanted(endpoints)
        by_key: dict[_Key, list[Body]] = {}
        for one in existing:
            by_key.setdefault((one["addressType"], slices.port_key(one.get("ports"))), []).append(one)
        changes = Changes()
        for each in sorted(wanted.endpoints):
            changes.extend(
                _planned(endpoints, each[0], wanted.ports[each], wanted.endpoints[each], by_key.get(each, []))
            )
        changes.delete += [one for each in sorted(by_key) if each not in wanted.endpoints for one in by_key[each]]
        changes.recycle({one["metadata"]["uid"] for one in existing})
        if is_terminating(endpoints):
            changes.create = []
        return Outcome((*_told(endpoints, wanted), *changes.writes()))


def _is_mirrored(endpoints: Body) -> bool:
    annotations = endpoints["metadata"].get("annotations") or {}
    return labels_of(endpoints).get(SKIP) != "true" and LEADER not in annotations


def _has_selector(service: Body) -> bool:
    return bool((service.get("spec") or {}).get("selector"))


def _wanted(endpoints: Body) -> _Wanted:
    wanted = _Wanted()
    for subset in repacked(endpoints.get("subsets") or ()):
        ports = slices.sorted_ports([_port(port) for port in subset.get("ports") or ()])
        for family in ("IPv4", "IPv6"):
            wanted.ports[family, slices.port_key(ports)] = ports
            wanted.endpoints.setdefault((family, slices.port_key(ports)), {})
        ready, unready = (subset.get(field) or [] for field in ("addresses", "notReadyAddresses"))
        added = 0
        for address, is_ready in [(one, True) for one in ready] + [(one, False) for one in unready]:
            if added >= MAX_ENDPOINTS:
                break
            endpoint, family = _endpoint(address, is_ready)
            if family:
                wanted.endpoints[family, slices.port_key(ports)][slices.identity(endpoint)] = endpoint
                added += 1
            else:
                wanted.invalid += 1
        wanted.skipped += len(ready) + len(unready) - added
    return wanted


def _endpoint(address: Body, ready: bool) -> tuple[Body, str]:
    """(endpoint, family); the family is "" if the address is none."""
    ip, family = backends.address_and_family(address["ip"])
    optional = {name: address.get(name) for name in ("targetRef", "nodeName", "hostname")}
    made = {"addresses": [ip], "conditions": {"ready": ready}}
    return {**made, **{name: value for name, value in optional.items() if value}}, family


def _port(port: Body) -> Body:
    made = {"name": port.get("name") or "", "port": port["port"], "protocol": port.get("protocol") or "TCP"}
    return {**made, "appProtocol": port["appProtocol"]} if port.get("appProtocol") else made


def _planned(
    endpoints: Body, family: str, ports: list[Body], wanted: dict[Identity, Body], existing: list[Body]
) -> Changes:
    if not wanted:
        return Changes(delete=list(existing))
    changes = Changes(delete=list(existing[1:]))
    if existing and _is_right(existing[0], endpoints, wanted):
        return changes
    labels = {**labels_of(endpoints), SERVICE_NAME: endpoints["metadata"]["name"], MANAGED_BY: MANAGER}
    new = slices.made(endpoints, "Endpoints", family, ports, labels, _annotations(endpoints))
    new["endpoints"] = list(wanted.values())[:MAX_ENDPOINTS]
    if existing:
        del new["metadata"]["generateName"]  # as the real one: it stays only on slices that were never written again
        changes.update.append(slices.renamed(new, existing[0]))
    else:
        changes.create.append(new)
    return changes


def _is_right(slice_: Body, endpoints: Body, wanted: dict[Identity, Body]) -> bool:
    present = {slices.identity(each): each for each in slice_.get("endpoints") or ()}
    if present.keys() != wanted.keys() or not all(slices.same_state(wanted[who], present[who]) for who in wanted):
        return False
    labels = {name: value for name, value in labels_of(slice_).items() if name not in (SERVICE_NAME, MANAGED_BY)}
    if labels != labels_of(endpoints) or (slice_["metadata"].get("annotations") or {}) != _annotations(endpoints):
        return False
    meta = endpoints["metadata"]
    owners = slice_["metadata"].get("ownerReferences") or ()
    former = (one for one in owners if one["kind"] == "Endpoints" and one["name"] == meta["name"])
    return all(one["uid"] == meta["uid"] for one in former)


def _annotations(endpoints: Body) -> dict[str, str]:
    annotations = endpoints["metadata"].get("annotations") or {}
    return {name: value for name, value in annotations.items() if name not in _NOT_COPIED}


def _told(endpoints: Body, wanted: _Wanted) -> Iterator[Write]:
    about = {**endpoints, "apiVersion": "v1", "kind": "Endpoints"}
    if wanted.invalid:
        said = f"Skipped {wanted.invalid} invalid IP addresses when mirroring to EndpointSlices"
        yield Record(about, "Warning", "InvalidIPAddress", said, COMPONENT)
    if wanted.skipped > wanted.invalid:
        said = (
            f"A max of {MAX_ENDPOINTS} addresses can be mirrored to EndpointSlices per Endpoints subset."
            f" {wanted.skipped} addresses were skipped"
        )
        yield Record(about, "Warning", "TooManyAddressesToMirror", said, COMPONENT)

"""EndpointSlices as values: who an endpoint is, what of it may change, and how changes become few writes (p).

In and out: slices, endpoints and ports as JSON values. Both writers of slices stand on this, the one for selected pods
and the one that mirrors Endpoints written by hand (k8s.io/endpointslice/util).
"""

from __future__ import annotations

from typing import Any

import msgspec

from svclab.controllers import fingerprint
from svclab.controllers.reduce import Body, Create, Delete, Update, World, Write, key_of
from svclab.controllers.selection import labels_of

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"

Identity = tuple[tuple[str, ...], str, str, str]
PortKey = tuple[tuple[str, int, str, str], ...]


class Changes(msgspec.Struct):
    """Slices to write. `update` and `delete` hold slices that exist, `create` ones without a name."""

    create: list[Body] = []
    update: list[Body] = []
    delete: list[Body] = []

    def extend(self, other: Changes) -> None:
        self.create += other.create
        self.update += other.update
        self.delete += other.delete

    def recycle(self, owned: set[str]) -> None:
        """Turns pairs of a creation and a deletion into one update, for slices whose uid is in `owned`."""
        for gone in list(self.delete):
            if not self.create:
                return
            new = self.create[-1]
            if gone["metadata"]["uid"] in owned and gone["addressType"] == new["addressType"]:
                self.create.pop()
                self.delete.remove(gone)
                self.update.append(renamed(new, gone))

    def writes(self) -> list[Write]:
        made: list[Write] = [Create("endpointslices", body) for body in self.create]
        made += [Update("endpointslices", {**_KIND, **body}) for body in self.update]
        made += [deletion(body) for body in self.delete]
        return made


_KIND = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"}


def deletion(body: Body) -> Delete:
    return Delete("endpointslices", key_of(body), uid=body["metadata"]["uid"])


def made(owner: Body, owner_kind: str, address_type: str, ports: list[Body], labels: Body, annotations: Body) -> Body:
    """A new, empty slice, named after its owner."""
    meta = owner["metadata"]
    name = meta["name"]
    reference = {"apiVersion": "v1", "kind": owner_kind, "name": name, "uid": meta["uid"]}
    metadata: Body = {
        "generateName": f"{name}-" if len(name) < 253 else name,  # as long as it is a name with the dash
        "namespace": meta["namespace"],
        "labels": labels,
        "ownerReferences": [{**reference, "controller": True, "blockOwnerDeletion": True}],
    }
    if annotations:
        metadata["annotations"] = annotations
    return {**_KIND, "metadata": metadata, "addressType": address_type, "endpoints": [], "ports": ports}


def renamed(new: Body, existing: Body) -> Body:
    """The new slice in place of an existing one."""
    kept = {field: existing["metadata"][field] for field in ("name", "uid", "resourceVersion")}
    return {**new, "metadata": {**new["metadata"], **kept}}


def managed_slices(key: str, manager: str, world: World) -> list[Body]:
    """The slices of a Service (`namespace/name`) that this manager writes, by name."""
    namespace, _, name = key.partition("/")
    found = []
    for each in world.by_namespace("endpointslices", namespace):
        labels = labels_of(each)
        if labels.get(SERVICE_NAME) == name and labels.get(MANAGED_BY) == manager:
            found.append(each)
    return sorted(found, key=lambda each: str(each["metadata"]["name"]))


def service_keys(bodies: tuple[Body | None, ...], manager: str) -> set[str]:
    """Keys of the Services that these slices of the manager belong to."""
    found = set()
    for body in bodies:
        labels = {} if body is None else labels_of(body)
        if body is not None and labels.get(MANAGED_BY) == manager and labels.get(SERVICE_NAME):
            found.add(f"{body['metadata']['namespace']}/{labels[SERVICE_NAME]}")
    return found


def identity(endpoint: Body) -> Identity:
    """Who an endpoint is: everything else about it may change in place."""
    target = endpoint.get("targetRef") or {}
    addresses = tuple(sorted(endpoint.get("addresses") or ()))
    return addresses, endpoint.get("hostname") or "", target.get("namespace") or "", target.get("name") or ""


def same_state(one: Body, other: Body) -> bool:
    """Do two endpoints of one identity say the same? Hints are another matter."""
    return bool(_state(one) == _state(other))


def port_key(ports: list[Body] | None) -> PortKey:
    """Slices with the same key hold the endpoints of the same set of ports."""
    return tuple(sorted(_port_key(port) for port in ports or ()))


def sorted_ports(ports: list[Body]) -> list[Body]:
    return sorted(ports, key=fingerprint.of_slice_port)


def _port_key(port: Body) -> tuple[str, int, str, str]:
    number = -1 if port.get("port") is None else int(port["port"])
    return port.get("name") or "", number, port.get("protocol") or "TCP", port.get("appProtocol") or ""


def _state(endpoint: Body) -> Any:
    conditions = endpoint.get("conditions") or {}
    target = {name: value for name, value in (endpoint.get("targetRef") or {}).items() if name != "resourceVersion"}
    said = [conditions.get(name) for name in ("ready", "serving", "terminating")]
    return endpoint.get("nodeName"), endpoint.get("zone"), said, target

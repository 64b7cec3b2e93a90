"""What is served: resources, their subresources and verbs, and which of them a path names.

In: the discovery part of `Schema`. Out: `Resource` values and `Target`s of paths. A path that names nothing gives
None; a resource without that verb is the caller's to refuse. Source: apiserver pkg/endpoints/request/requestinfo.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from svclab.apiserver.schema import Schema
from svclab.apiserver.strategy import Strategy, of

# Stored once, shown in both groups: events.k8s.io/v1 is another view of the same objects.
STORED_AS = {"events.k8s.io/events": "/events"}
# POST to these makes an answer, not an object.
REVIEWS = {"selfsubjectreviews", "tokenreviews", "selfsubjectaccessreviews", "subjectaccessreviews"}

# Kinds that we do not have, but that real schedulers, controllers and kubelets want to list before they start. They
# are not in discovery; lists of them are empty, watches silent. Plural, kind, and `*` for what is in no namespace.
EMPTY = {
    "": "limitranges:LimitRange persistentvolumeclaims:PersistentVolumeClaim *persistentvolumes:PersistentVolume "
    "podtemplates:PodTemplate replicationcontrollers:ReplicationController resourcequotas:ResourceQuota",
    "apps": "controllerrevisions:ControllerRevision daemonsets:DaemonSet statefulsets:StatefulSet",
    "batch": "cronjobs:CronJob jobs:Job",
    "networking.k8s.io": "ingresses:Ingress *ingressclasses:IngressClass *ipaddresses:IPAddress "
    "*servicecidrs:ServiceCIDR",
    "node.k8s.io": "*runtimeclasses:RuntimeClass",
    "policy": "poddisruptionbudgets:PodDisruptionBudget",
    "rbac.authorization.k8s.io": "*clusterrolebindings:ClusterRoleBinding *clusterroles:ClusterRole "
    "rolebindings:RoleBinding roles:Role",
    "resource.k8s.io": "*deviceclasses:DeviceClass resourceclaims:ResourceClaim "
    "resourceclaimtemplates:ResourceClaimTemplate *resourceslices:ResourceSlice",
    "scheduling.k8s.io": "*priorityclasses:PriorityClass",
    "storage.k8s.io": "*csidrivers:CSIDriver *csinodes:CSINode csistoragecapacities:CSIStorageCapacity "
    "*storageclasses:StorageClass *volumeattachments:VolumeAttachment *volumeattributesclasses:VolumeAttributesClass",
}
READING = frozenset(("get", "list", "watch"))


class Resource(msgspec.Struct, frozen=True):
    """One resource, or one subresource of it. `kind_group` is the kind's own group (Scale: autoscaling)."""

    group: str
    plural: str
    kind: str
    kind_group: str
    namespaced: bool
    verbs: frozenset[str]
    subresource: str = ""
    singular: str = ""

    @property
    def store(self) -> str:
        """The name under which `state` keeps the objects."""
        name = f"{self.group}/{self.plural}"
        return STORED_AS.get(name, name)

    @property
    def api_version(self) -> str:
        return f"{self.group}/v1" if self.group else "v1"

    @property
    def kind_version(self) -> str:
        return f"{self.kind_group}/v1" if self.kind_group else "v1"

    def key(self, namespace: str, name: str) -> str:
        return f"{namespace}/{name}" if self.namespaced else name


def strategy_of(resource: Resource) -> Strategy:
    """What its kind means; that of the resource whose objects it shows."""
    if resource.subresource == "scale":
        return of("autoscaling", "scales")
    group, _, plural = resource.store.partition("/")
    return Strategy() if resource.verbs == READING else of(group, plural)


class Target(msgspec.Struct, frozen=True):
    """What a path names: a collection (`name` empty), an object, or a subresource of it."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    rest: str = ""
    watch: bool = False

    @property
    def key(self) -> str:
        return self.resource.key(self.namespace, self.name)


class Served:
    """All resources by group and plural; `find` reads paths."""

    def __init__(self, schema: Schema) -> None:
        self.groups: dict[str, list[Mapping[str, Any]]] = {}
        self._known: dict[tuple[str, str, str], Resource] = {}
        for told_group in schema.groups:
            path: str = told_group["path"]
            name = "" if path == "api/v1" else path.split("/")[1]
            self.groups[name] = told_group["resources"]
            for told in told_group["resources"]:
                plural, _, subresource = told["name"].partition("/")
                self._known[name, plural, subresource] = Resource(
                    name,
                    plural,
                    told["kind"],
                    told.get("group", name),
                    told["namespaced"],
                    frozenset(told["verbs"]),
                    subresource,
                    told["singularName"],
                )

        for group, listed in EMPTY.items():
            for one in listed.split():
                plural, _, kind = one.lstrip("*").partition(":")
                known = Resource(group, plural, kind, group, not one.startswith("*"), READING)
                self._known.setdefault((group, plural, ""), known)

    def get(self, group: str, plural: str, subresource: str = "") -> Resource | None:
        return self._known.get((group, plural, subresource))

    def resource(self, group: str, plural: str) -> Resource:
        return self._known[group, plural, ""]

    def stored(self) -> Iterable[Resource]:
        """Those that hold objects, each once."""
        return [
            one
            for one in self._known.values()
            if not one.subresource and "list" in one.verbs and one.store == f"{one.group}/{one.plural}"
        ]

    def find(self, path: str) -> Target | None:
        """The target of a path such as `/apis/apps/v1/namespaces/a/deployments/b/scale`; None if it names none."""
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "v1"]:
            group, parts = "", parts[2:]
        elif len(parts) > 2 and parts[0] == "apis" and parts[2] == "v1":
            group, parts = parts[1], parts[3:]
        else:
            return None
        watch = bool(parts) and parts[0] == "watch"
        if watch:
            parts = parts[1:]
        if not parts or "" in parts:
            return None
        namespace = ""
        if parts[0] == "namespaces" and len(parts) > 2 and not self._of_namespace(group, parts):
            namespace, parts = parts[1], parts[2:]
        plural, name = parts[0], parts[1] if len(parts) > 1 else ""
        subresource, rest = parts[2] if len(parts) > 2 else "", "/".join(parts[3:])
        found = self.get(group, plural, subresource)
        if found is None or (rest and subresource != "proxy"):
            return None
        if found.namespaced and name and not namespace:
            return None  # /api/v1/pods/a names nothing
        if namespace and not found.namespaced:
            return None
        if plural == "namespaces":
            namespace = name
        return Target(found, namespace, name, rest, watch)

    def _of_namespace(self, group: str, parts: list[str]) -> bool:
        """`namespaces/a/status`: a subresource of the namespace, not a collection in it."""
        return len(parts) == 3 and not group and parts[2] in ("status", "finalize")

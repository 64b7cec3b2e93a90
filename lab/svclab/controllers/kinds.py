"""The kinds that the controllers know: plural, apiVersion, kind, path. Pure.

The API leaves `kind` and `apiVersion` out of the items of a list, so whoever refers to an object (an ownerReference,
an Event) asks here by its plural.
"""

from __future__ import annotations

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """`plural` is unique among them; `path` is the collection over all namespaces."""

    plural: str
    api_version: str
    kind: str
    namespaced: bool = True

    @property
    def root(self) -> str:
        return f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"

    @property
    def path(self) -> str:
        return f"{self.root}/{self.plural}"

    def collection(self, namespace: str) -> str:
        """The path to POST to."""
        return f"{self.root}/namespaces/{namespace}/{self.plural}" if self.namespaced else self.path

    def object(self, key: str, subresource: str = "") -> str:
        """The path of one object; `key` is `namespace/name`, or `name`."""
        namespace, _, name = key.rpartition("/")
        path = f"{self.collection(namespace)}/{name}"
        return f"{path}/{subresource}" if subresource else path


KINDS = {
    kind.plural: kind
    for kind in (
        Kind("configmaps", "v1", "ConfigMap"),
        Kind("endpoints", "v1", "Endpoints"),
        Kind("events", "v1", "Event"),
        Kind("namespaces", "v1", "Namespace", namespaced=False),
        Kind("nodes", "v1", "Node", namespaced=False),
        Kind("pods", "v1", "Pod"),
        Kind("secrets", "v1", "Secret"),
        Kind("serviceaccounts", "v1", "ServiceAccount"),
        Kind("services", "v1", "Service"),
        Kind("deployments", "apps/v1", "Deployment"),
        Kind("replicasets", "apps/v1", "ReplicaSet"),
        Kind("leases", "coordination.k8s.io/v1", "Lease"),
        Kind("endpointslices", "discovery.k8s.io/v1", "EndpointSlice"),
    )
}


def plural_of(api_version: str, kind: str) -> str:
    """The plural of a kind as an ownerReference names it, any version of its group; "" if it is none of ours."""
    group = api_version.rpartition("/")[0]
    for known in KINDS.values():
        if known.kind == kind and known.api_version.rpartition("/")[0] == group:
            return known.plural
    return ""

"""What the server tells about itself: groups, resources, versions.

In: `Served`. Out: bodies of /api, /apis, /api/v1, /apis/GROUP/v1 (the old form) and the aggregated documents that
kubectl asks for by its Accept header. Source: KEP-3352, apiserver pkg/endpoints/discovery.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from svclab.apiserver.resources import Served

Body: TypeAlias = dict[str, Any]

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
GIT_VERSION = "v1.36.3+svcplane"
VERSION: Body = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": GIT_VERSION,
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}


def api_versions(server_address: str) -> Body:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    }


def group_list(served: Served) -> Body:
    groups = [_group(name) for name in served.groups if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(name: str) -> Body:
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)}


def _group(name: str) -> Body:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def resource_list(served: Served, name: str) -> Body:
    version = f"{name}/v1" if name else "v1"
    head: Body = {"kind": "APIResourceList"} | ({"apiVersion": "v1"} if name else {})
    return {**head, "groupVersion": version, "resources": list(served.groups[name])}


def aggregated(served: Served, *, core: bool) -> Body:
    """`core`: the document at /api, else that at /apis."""
    items = []
    for name in served.groups:
        if (name == "") is core:
            version = {"version": "v1", "resources": _resources(served, name), "freshness": "Current"}
            items.append({"metadata": {"name": name} if name else {}, "versions": [version]})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _resources(served: Served, name: str) -> list[Body]:
    found: dict[str, Body] = {}
    for told in served.groups[name]:
        plural, _, subresource = told["name"].partition("/")
        kind = {"group": told.get("group", ""), "version": told.get("version", ""), "kind": told["kind"]}
        if not subresource:
            found[plural] = {
                "resource": plural,
                "responseKind": kind,
                "scope": "Namespaced" if told["namespaced"] else "Cluster",
                "singularResource": told["singularName"],
                "verbs": told["verbs"],
                **{key: told[key] for key in ("shortNames", "categories") if key in told},
            }
        else:
            below = {"subresource": subresource, "responseKind": kind, "verbs": told["verbs"]}
            found[plural].setdefault("subresources", []).append(below)
    return list(found.values())


def paths(served: Served) -> Body:
    """The answer of `/`."""
    found = ["/api", "/api/v1", "/apis", "/apis/", "/healthz", "/livez", "/metrics", "/openapi/v3", "/openapi/v3/"]
    for name in served.groups:
        if name:
            found += [f"/apis/{name}", f"/apis/{name}/v1"]
    return {"paths": sorted([*found, "/readyz", "/version"])}

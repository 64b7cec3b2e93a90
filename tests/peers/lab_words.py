"""Words that the tables of raw requests share: paths, content types, and small bodies."""

from __future__ import annotations

from typing import Any

from peers.lab_judge import Ask

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC, APPLY = "application/strategic-merge-patch+json", "application/apply-patch+yaml"

CM, PODS, SVC = (f"/api/v1/namespaces/{{ns}}/{plural}" for plural in ("configmaps", "pods", "services"))
SERVED = (
    "^(configmaps|endpoints|events|namespaces|nodes|secrets|serviceaccounts|services|deployments|replicasets)(/status|/scale|/finalize|/token)?$"
    "|^pods(/binding|/eviction|/status)?$"
)
DEPLOY = "/apis/apps/v1/namespaces/{ns}/deployments"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices"


def config(name: str, labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels or {}}, **more}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "web", "image": "nginx:1"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}


def deployment(name: str, replicas: int = 0) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": pod(name)["spec"]}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def posts(path: str, *bodies: dict[str, Any]) -> list[Ask]:
    return [Ask("POST", path, body) for body in bodies]

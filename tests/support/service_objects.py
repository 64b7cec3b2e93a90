"""Services, pods, nodes and Endpoints as JSON values, in namespace `ns`, for tests of controllers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Body = dict[str, Any]

EARLY, LATE = "2026-01-01T00:00:01Z", "2026-01-01T00:00:59Z"


def service(name: str = "web", *, labels: Mapping[str, str] | None = None, **spec: Any) -> Body:
    """Selects `app=web`, port 80 to `http`, unless `spec` says otherwise; fields set to None are left out."""
    usual = {
        "selector": {"app": "web"},
        "clusterIP": "10.96.0.10",
        "ipFamilies": ["IPv4"],
        "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
    }
    wanted = {field: value for field, value in {**usual, **spec}.items() if value is not None}
    return {"metadata": {"name": name, "namespace": "ns", "labels": dict(labels or {})}, "spec": wanted}


def pod(
    name: str,
    *ips: str,
    ready: bool = True,
    node: str = "node1",
    app: str = "web",
    port: int = 8080,
    phase: str = "Running",
    terminating: bool = False,
    at: str = EARLY,
    **spec: Any,
) -> Body:
    """A pod whose port `http` is `port`; `at` is when its readiness last changed."""
    meta: Body = {"name": name, "namespace": "ns", "labels": {"app": app}}
    if terminating:
        meta["deletionTimestamp"] = LATE
    container = {"name": "c", "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}]}
    status: Body = {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": at}]}
    if ips:
        status |= {"podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]}
    return {"metadata": meta, "spec": {"containers": [container], "nodeName": node, **spec}, "status": status}


def node(name: str, zone: str = "", cidr: str = "") -> Body:
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    spec = {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


def endpoints(name: str, *subsets: Body, **metadata: Any) -> Body:
    return {"metadata": {"name": name, "namespace": "ns", **metadata}, "subsets": list(subsets)}

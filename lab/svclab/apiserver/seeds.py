"""What a cluster has before anybody asks: four namespaces, the Service `kubernetes`, and where it leads.

In: the state's objects, the addresses of this server. Out: bodies to create or to put in place. Source: kubernetes
pkg/controlplane/controller/kubernetesservice, pkg/controlplane/reconcilers, v1.36.3.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, TypeAlias

Body: TypeAlias = dict[str, Any]

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def namespace(name: str) -> Body:
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}


def service(address: str, port: int) -> Body:
    """`address` is the first of the service range; `port` where the server listens."""
    labels = {"component": "apiserver", "provider": "kubernetes"}
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
            "clusterIP": address,
            "clusterIPs": [address],
            "type": "ClusterIP",
            "sessionAffinity": "None",
        },
    }


def endpoints(address: str, port: int) -> Body:
    """The label keeps the mirroring controller away: there is a slice already."""
    return {
        "kind": "Endpoints",
        "apiVersion": "v1",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{"addresses": [{"ip": address}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}],
    }


def endpoint_slice(address: str, port: int) -> Body:
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": f"IPv{ip_address(address).version}",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }

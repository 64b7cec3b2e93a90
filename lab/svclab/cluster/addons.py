"""What a fresh cluster is given: cluster DNS, and what the nodes' caches are told; pure.

In: a plan. Out: objects, in the order of creating, each with the path it is POSTed to. DNS is a Deployment as kubeadm
has it, with one replica for each node, behind the Service `kube-dns`, whose name and selector everything expects. It
reaches the API server as every pod does: through the Service `kubernetes`, with its service account's token.

Each node has a cache in front of it (`svcplane-dns nodelocal`), on the cluster IP too, as NodeLocal DNSCache has it; so
it asks cluster DNS through a second Service, `kube-dns-upstream`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from svclab.cluster.plan import CLUSTER_DOMAIN, UPSTREAM_DNS, Plan

NAMESPACE = "kube-system"
DNS = "svcplane-dns"
HTTP_PORT = 8080

# What does not exist yet may in a second: who types `expose` and `curl` shall not have to wait for it.
COREFILE = f"""\
{CLUSTER_DOMAIN}:53 in-addr.arpa:53 ip6.arpa:53 {{
    errors
    cache {{
        success 9984 30 1
        denial 9984 1 1
        servfail 0
    }}
    bind __PILLAR__LOCAL__DNS__
    forward . __PILLAR__CLUSTER__DNS__ {{
        force_tcp
    }}
    prometheus :9253
    health __PILLAR__LOCAL__DNS__:8080
}}
.:53 {{
    errors
    cache 30
    bind __PILLAR__LOCAL__DNS__
    forward . __PILLAR__UPSTREAM__SERVERS__
    prometheus :9253
}}
"""


class Addon(msgspec.Struct, frozen=True):
    """`collection` is the path to POST to; the object is then at `collection/NAME`."""

    collection: str
    body: dict[str, Any]

    @property
    def path(self) -> str:
        return f"{self.collection}/{self.body['metadata']['name']}"


def addons(plan: Plan) -> tuple[Addon, ...]:
    """All of them."""
    core, apps = f"/api/v1/namespaces/{NAMESPACE}", f"/apis/apps/v1/namespaces/{NAMESPACE}"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(DNS)}
    return (
        Addon(f"{core}/serviceaccounts", account),
        Addon(f"{core}/services", _service(plan)),
        Addon(f"{core}/services", _upstream(plan)),
        Addon(f"{apps}/deployments", _deployment(plan)),
    )


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "labels": {"k8s-app": "kube-dns"}}


def _service(plan: Plan) -> dict[str, Any]:
    metadata = _metadata("kube-dns")
    metadata["labels"] |= {"kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    metrics = {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": HTTP_PORT}
    return _service_of_dns(metadata, plan.dns_service, metrics)


def _upstream(plan: Plan) -> dict[str, Any]:
    return _service_of_dns(_metadata("kube-dns-upstream"), plan.dns_upstream)


def _service_of_dns(metadata: dict[str, Any], address: str, *more: dict[str, Any]) -> dict[str, Any]:
    """One in front of cluster DNS; `more` are ports beside the two of DNS."""
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
        *more,
    ]
    spec = {"clusterIP": address, "selector": {"k8s-app": "kube-dns"}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _deployment(plan: Plan) -> dict[str, Any]:
    labels = {"k8s-app": "kube-dns"}
    zones = [f"--zone={zone}" for zone in (CLUSTER_DOMAIN, "in-addr.arpa", "ip6.arpa")]
    reverse = ["--fallthrough=in-addr.arpa", "--fallthrough=ip6.arpa"]
    ready = {"httpGet": {"path": "/ready", "port": HTTP_PORT}, "periodSeconds": 1}
    alive = {"httpGet": {"path": "/health", "port": HTTP_PORT}, "initialDelaySeconds": 30, "failureThreshold": 5}
    container = {
        "name": "dns",
        "image": DNS,
        "args": [
            "run",
            "--in-cluster",
            "--listen=0.0.0.0:53",
            f"--http=0.0.0.0:{HTTP_PORT}",
            f"--forward={UPSTREAM_DNS}",
            *zones,
            *reverse,
        ],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": ready,
        "livenessProbe": alive,
    }
    tolerations = [{"key": "CriticalAddonsOnly", "operator": "Exists"}]
    pod = {
        "serviceAccountName": DNS,
        "dnsPolicy": "Default",
        "tolerations": tolerations,
        "containers": [container],
        "terminationGracePeriodSeconds": 5,
    }
    spec = {
        "replicas": plan.nodes,
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(DNS), "spec": spec}

"""What the API means, kind by kind: defaults, rules, allocation, tables. All of it pure.

`of(group, resource)` gives the `Strategy` of a kind; `kind` says in which order the server asks it. Objects are JSON
values whose types have been checked against the schema. One module a family of kinds; `normal_form` (with the table
`shapes`) is how Go's structs would keep an object, `errors` how the API says what is wrong, `allocation` how Services
get addresses and ports. Messages are protocol and are those of Kubernetes v1.36.3; maps are visited in sorted order.

Missing: Windows, resource claims, security profiles, the insides of storage volumes, matchLabelKeys, pod-level
resources; two IP families. Columns have no descriptions.
"""

from __future__ import annotations

from svclab.apiserver.strategy.account import Lease, ServiceAccount
from svclab.apiserver.strategy.endpoints import Endpoints, EndpointSlice
from svclab.apiserver.strategy.event import Event
from svclab.apiserver.strategy.keyed import ConfigMap, Secret
from svclab.apiserver.strategy.kind import Column, RefusedError, Strategy
from svclab.apiserver.strategy.network_policy import NetworkPolicy
from svclab.apiserver.strategy.node import Namespace, Node
from svclab.apiserver.strategy.pod import Pod
from svclab.apiserver.strategy.service import Service
from svclab.apiserver.strategy.workload import Deployment, ReplicaSet, Scale

STRATEGIES: dict[tuple[str, str], Strategy] = {
    ("", "configmaps"): ConfigMap(),
    ("", "endpoints"): Endpoints(),
    ("", "events"): Event(),
    ("", "namespaces"): Namespace(),
    ("", "nodes"): Node(),
    ("", "pods"): Pod(),
    ("", "secrets"): Secret(),
    ("", "serviceaccounts"): ServiceAccount(),
    ("", "services"): Service(),
    ("apps", "deployments"): Deployment(),
    ("apps", "replicasets"): ReplicaSet(),
    ("autoscaling", "scales"): Scale(),
    ("coordination.k8s.io", "leases"): Lease(),
    ("discovery.k8s.io", "endpointslices"): EndpointSlice(),
    ("networking.k8s.io", "networkpolicies"): NetworkPolicy(),
}

__all__ = ["STRATEGIES", "Column", "RefusedError", "Strategy", "of"]


def of(group: str, resource: str) -> Strategy:
    """`resource` is the plural. KeyError if it is not served."""
    return STRATEGIES[group, resource]

"""Objects, good and bad, for the judge of the lab's API semantics: what a client creates, and what it changes.

A row is an id, a resource and a patch on that resource's plain object; an update has two patches: what is stored
first, and what changes. Maps are merged, everything else replaces; GONE removes.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

GONE = object()
Body = dict[str, Any]

CONTAINER: Body = {"name": "c", "image": "nginx"}
TEMPLATE: Body = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [CONTAINER]}}
PLAIN: dict[str, Body] = {
    "services": {
        "apiVersion": "v1",
        "kind": "Service",
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    },
    "pods": {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [CONTAINER]}},
    "deployments": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE},
    },
    "replicasets": {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE},
    },
    "endpoints": {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}],
    },
    "endpointslices": {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"]}],
        "ports": [{"port": 80}],
    },
    "nodes": {"apiVersion": "v1", "kind": "Node"},
    "namespaces": {"apiVersion": "v1", "kind": "Namespace"},
    "configmaps": {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}},
    "secrets": {"apiVersion": "v1", "kind": "Secret", "data": {"a": "MQ=="}},
    "serviceaccounts": {"apiVersion": "v1", "kind": "ServiceAccount"},
    "leases": {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "me"}},
    "events": {
        "apiVersion": "v1",
        "kind": "Event",
        "involvedObject": {"kind": "Pod", "name": "x", "namespace": "default"},
        "reason": "Tried",
        "message": "it was tried",
        "type": "Normal",
    },
    "networkpolicies": {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "spec": {"podSelector": {"matchLabels": {"a": "b"}}, "ingress": [{"ports": [{"port": 80}]}]},
    },
}
GROUPS = {
    "deployments": "apps",
    "replicasets": "apps",
    "endpointslices": "discovery.k8s.io",
    "leases": "coordination.k8s.io",
    "networkpolicies": "networking.k8s.io",
}
CLUSTER_WIDE = ("nodes", "namespaces")


class Create(NamedTuple):
    id: str
    resource: str
    patch: Body


class Update(NamedTuple):
    id: str
    resource: str
    first: Body
    change: Body
    subresource: str = ""


def merged(body: Any, patch: Any) -> Any:
    """`body` with `patch`; neither is changed."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    body = body if isinstance(body, dict) else {}
    kept = {key: deepcopy(value) for key, value in body.items() if patch.get(key) is not GONE}
    for key, value in patch.items():
        if value is not GONE:
            kept[key] = merged(kept.get(key), value)
    return kept


def plain(resource: str, name: str) -> Body:
    body = merged(PLAIN[resource], {"metadata": {"name": name}})
    if resource not in CLUSTER_WIDE:
        body["metadata"]["namespace"] = "default"
    return body


def spec(**fields: Any) -> Body:
    return {"spec": fields}


def meta(**fields: Any) -> Body:
    return {"metadata": fields}


def ports(*given: Body, **fields: Any) -> Body:
    return {"spec": {"ports": list(given), **fields}}


def container(**fields: Any) -> Body:
    return spec(containers=[{**CONTAINER, **fields}])


def template(**fields: Any) -> Body:
    return {"spec": {"template": {"spec": fields}}}


def subset(**fields: Any) -> Body:
    return {"subsets": [merged({"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}, fields)]}


def endpoint(**fields: Any) -> Body:
    return {"endpoints": [{"addresses": ["10.1.2.3"], **fields}]}


def ingress(**fields: Any) -> Body:
    return {"spec": {"ingress": [fields]}}


def volumes(*given: Body, **fields: Any) -> Body:
    return {"spec": {"volumes": list(given), "containers": [{**CONTAINER, **fields}]}}


LONG = "x" * 64
TWO = ({"name": "a", "port": 80}, {"name": "b", "port": 81})
LOCAL = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}

METADATA: dict[str, Body] = {
    "name with capitals": meta(name="Web"),
    "name with underscore": meta(name="a_b"),
    "name with dots": meta(name="a.b"),
    "name that begins with a digit": meta(name="1a"),
    "name too long": meta(name="x" * 254),
    "long label name": meta(name=LONG),
    "label value": meta(labels={"a": "b c"}),
    "label key": meta(labels={"a b": "c"}),
    "label key with slashes": meta(labels={"a/b/c": "c"}),
    "label key with bad prefix": meta(labels={"A/b": "c"}),
    "label key without prefix": meta(labels={"/b": "c"}),
    "label key without name": meta(labels={"a/": "c"}),
    "label value too long": meta(labels={"a": LONG}),
    "label key too long": meta(labels={LONG: "a"}),
    "annotation key": meta(annotations={"a b": "c"}),
    "annotation key in capitals": meta(annotations={"A/B": "c"}),
    "finalizer unqualified": meta(finalizers=["mine"]),
    "finalizer qualified": meta(finalizers=["a.example/mine"]),
    "finalizer malformed": meta(finalizers=["a b"]),
    "both deletion finalizers": meta(finalizers=["orphan", "foregroundDeletion"]),
    "owner without anything": meta(ownerReferences=[{"apiVersion": "", "kind": "", "name": "", "uid": ""}]),
    "owner": meta(ownerReferences=[{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1"}]),
    "owner is an event": meta(ownerReferences=[{"apiVersion": "v1", "kind": "Event", "name": "x", "uid": "1"}]),
    "two controllers": meta(
        ownerReferences=[
            {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": name, "controller": True} for name in ("a", "b")
        ]
    ),
}

SERVICES: dict[str, Body] = {
    "plain": {},
    "without ports": spec(ports=GONE),
    "without selector": spec(selector=GONE),
    "named ports": ports(*TWO),
    "unnamed ports": ports({"port": 80}, {"port": 81}),
    "one unnamed port": ports({"name": "a", "port": 80}, {"port": 81}),
    "same names": ports({"name": "a", "port": 80}, {"name": "a", "port": 81}),
    "same ports": ports({"name": "a", "port": 80}, {"name": "b", "port": 80}),
    "same port of two protocols": ports({"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}),
    "port 0": ports({"port": 0}),
    "port 70000": ports({"port": 70000}),
    "negative port": ports({"port": -1}),
    "port name in capitals": ports({"name": "HTTP", "port": 80}),
    "port name with dot": ports({"name": "a.b", "port": 80}),
    "port name too long": ports({"name": LONG, "port": 80}),
    "protocol": ports({"port": 80, "protocol": "tcp"}),
    "protocol SCTP": ports({"port": 80, "protocol": "SCTP"}),
    "target port by name": ports({"port": 80, "targetPort": "http"}),
    "target port by bad name": ports({"port": 80, "targetPort": "HTTP!"}),
    "target port by long name": ports({"port": 80, "targetPort": "a-name-of-sixteen"}),
    "target port name without letter": ports({"port": 80, "targetPort": "80"}),
    "target port name with hyphens": ports({"port": 80, "targetPort": "-a--b-"}),
    "target port 70000": ports({"port": 80, "targetPort": 70000}),
    "target port empty": ports({"port": 80, "targetPort": ""}),
    "app protocol": ports({"port": 80, "appProtocol": "kubernetes.io/h2c"}),
    "bad app protocol": ports({"port": 80, "appProtocol": "a b"}),
    "node port on ClusterIP": ports({"port": 80, "nodePort": 30080}),
    "node port": ports({"port": 80, "nodePort": 30080}, type="NodePort"),
    "node port allocated": spec(type="NodePort"),
    "two node ports allocated": ports(*TWO, type="NodePort"),
    "node port shared by protocols": ports(
        {"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}, type="NodePort"
    ),
    "same node ports": ports(
        {"name": "a", "port": 80, "nodePort": 30080}, {"name": "b", "port": 81, "nodePort": 30080}, type="NodePort"
    ),
    "type wrong": spec(type="ClusterIp"),
    "headless": spec(clusterIP="None"),
    "headless without ports": spec(clusterIP="None", ports=GONE),
    "headless without selector": spec(clusterIP="None", selector=GONE),
    "headless node port": spec(clusterIP="None", type="NodePort"),
    "headless load balancer": spec(clusterIP="None", type="LoadBalancer"),
    "headless with affinity": spec(clusterIP="None", sessionAffinity="ClientIP"),
    "cluster address": spec(clusterIP="10.96.77.7"),
    "cluster address by plural only": spec(clusterIPs=["10.96.77.7"]),
    "cluster addresses differ": spec(clusterIP="10.96.77.7", clusterIPs=["10.96.77.8"]),
    "cluster address out of range": spec(clusterIP="192.0.2.1"),
    "cluster address is the network": spec(clusterIP="10.96.0.0"),
    "cluster address is the broadcast": spec(clusterIP="10.111.255.255"),
    "cluster address malformed": spec(clusterIP="10.96.0"),
    "cluster address with zeros": spec(clusterIP="10.96.077.7"),
    "cluster address in words": spec(clusterIP="none"),
    "cluster address IPv6": spec(clusterIP="fd00::1"),
    "cluster address mapped": spec(clusterIP="::ffff:10.96.77.7"),
    "None and more": spec(clusterIP="None", clusterIPs=["None", "10.96.77.7"]),
    "two addresses of a family": spec(clusterIP="10.96.77.7", clusterIPs=["10.96.77.7", "10.96.77.8"]),
    "three addresses": spec(clusterIP="10.96.77.7", clusterIPs=["10.96.77.7", "fd00::1", "10.96.77.8"]),
    "external name": spec(type="ExternalName", externalName="www.example.com", ports=GONE),
    "external name with dot at the end": spec(type="ExternalName", externalName="www.example.com.", ports=GONE),
    "external name with ports": spec(type="ExternalName", externalName="www.example.com"),
    "external name missing": spec(type="ExternalName"),
    "external name malformed": spec(type="ExternalName", externalName="-bad-"),
    "external name is a URL": spec(type="ExternalName", externalName="http://a.b/"),
    "external name with address": spec(type="ExternalName", externalName="a.b", clusterIP="10.96.77.7"),
    "external name with None": spec(type="ExternalName", externalName="a.b", clusterIP="None"),
    "external name with families": spec(
        type="ExternalName", externalName="a.b", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack"
    ),
    "external name elsewhere": spec(externalName="a.b"),
    "external name with external addresses": spec(type="ExternalName", externalName="a.b", externalIPs=["192.0.2.7"]),
    "affinity": spec(sessionAffinity="ClientIP"),
    "affinity wrong": spec(sessionAffinity="clientIP"),
    "affinity with seconds": spec(
        sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}}
    ),
    "affinity with empty configuration": spec(sessionAffinity="ClientIP", sessionAffinityConfig={}),
    "affinity too long": spec(
        sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 86401}}
    ),
    "affinity of no time": spec(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 0}}),
    "configuration without affinity": spec(sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}}),
    "external traffic policy on ClusterIP": spec(externalTrafficPolicy="Local"),
    "external traffic policy": spec(type="NodePort", externalTrafficPolicy="Local"),
    "external traffic policy wrong": spec(type="NodePort", externalTrafficPolicy="local"),
    "internal traffic policy": spec(internalTrafficPolicy="Local"),
    "internal traffic policy wrong": spec(internalTrafficPolicy="Nearby"),
    "traffic distribution": spec(trafficDistribution="PreferClose"),
    "traffic distribution by node": spec(trafficDistribution="PreferSameNode"),
    "traffic distribution wrong": spec(trafficDistribution="Near"),
    "load balancer": spec(type="LoadBalancer"),
    "load balancer local": spec(**LOCAL),
    "load balancer with health check": spec(**LOCAL, healthCheckNodePort=31234),
    "load balancer with health check out of ports": spec(**LOCAL, healthCheckNodePort=70000),
    "health check elsewhere": spec(healthCheckNodePort=31234),
    "load balancer without node ports": spec(type="LoadBalancer", allocateLoadBalancerNodePorts=False),
    "allocation elsewhere": spec(allocateLoadBalancerNodePorts=True),
    "load balancer class": spec(type="LoadBalancer", loadBalancerClass="a.example/b"),
    "load balancer class malformed": spec(type="LoadBalancer", loadBalancerClass="a b"),
    "load balancer class elsewhere": spec(loadBalancerClass="a.example/b"),
    "load balancer address": spec(type="LoadBalancer", loadBalancerIP="192.0.2.9"),
    "source ranges": spec(type="LoadBalancer", loadBalancerSourceRanges=["192.0.2.0/24", " 198.51.100.0/24 "]),
    "source ranges malformed": spec(type="LoadBalancer", loadBalancerSourceRanges=["192.0.2.0"]),
    "source ranges with bits": spec(type="LoadBalancer", loadBalancerSourceRanges=["192.0.2.7/24"]),
    "source ranges with zeros": spec(type="LoadBalancer", loadBalancerSourceRanges=["192.000.2.0/24"]),
    "source ranges elsewhere": spec(loadBalancerSourceRanges=["192.0.2.0/24"]),
    "source ranges as annotation": {
        **meta(annotations={"service.beta.kubernetes.io/load-balancer-source-ranges": "1.2.3.4"}),
        **spec(type="LoadBalancer"),
    },
    "external addresses": spec(externalIPs=["192.0.2.7"]),
    "external address loopback": spec(externalIPs=["127.0.0.1"]),
    "external address link-local": spec(externalIPs=["169.254.1.1"]),
    "external address unspecified": spec(externalIPs=["0.0.0.0"]),
    "external address multicast": spec(externalIPs=["224.0.0.5"]),
    "external address malformed": spec(externalIPs=["nowhere"]),
    "external address with zeros": spec(externalIPs=["192.0.2.007"]),
    "external address in long form": spec(externalIPs=["2001:db8:0:0:0:0:0:1"]),
    "families": spec(ipFamilies=["IPv4"]),
    "families wrong": spec(ipFamilies=["ipv4"]),
    "families twice": spec(ipFamilies=["IPv4", "IPv4"], ipFamilyPolicy="PreferDualStack"),
    "family that is not there": spec(ipFamilies=["IPv6"]),
    "two families": spec(ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="PreferDualStack"),
    "two families, single stack": spec(ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="SingleStack"),
    "family policy wrong": spec(ipFamilyPolicy="Dual"),
    "prefers two families": spec(ipFamilyPolicy="PreferDualStack"),
    "requires two families": spec(ipFamilyPolicy="RequireDualStack"),
    "family and address differ": spec(ipFamilies=["IPv6"], clusterIP="10.96.77.7"),
    "selector malformed": spec(selector={"a": "b c"}),
    "topology annotations differ": meta(
        annotations={
            "service.kubernetes.io/topology-aware-hints": "auto",
            "service.kubernetes.io/topology-mode": "disabled",
        }
    ),
    "old topology annotation": meta(annotations={"service.kubernetes.io/topology-aware-hints": "auto"}),
    "publishes not ready": spec(publishNotReadyAddresses=True),
    "status is dropped": {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}},
    "many mistakes": spec(type="Cluster", sessionAffinity="x", ports=[{"port": 0}, {"port": 0}]),
}

SERVICE_UPDATES: list[Update] = [
    Update(name, "services", first, change)
    for name, first, change in (
        ("selector", {}, spec(selector={"app": "other"})),
        ("nothing", {}, {}),
        ("without allocated values", {}, spec(clusterIP=GONE, clusterIPs=GONE, ipFamilies=GONE, ipFamilyPolicy=GONE)),
        ("another address", {}, spec(clusterIP="10.96.77.9")),
        ("both addresses", {}, spec(clusterIP="10.96.77.9", clusterIPs=["10.96.77.9"])),
        ("to headless", {}, spec(clusterIP="None")),
        ("from headless", spec(clusterIP="None"), spec(clusterIP="10.96.77.9")),
        ("address cleared", {}, spec(clusterIP="")),
        ("to NodePort", {}, spec(type="NodePort")),
        ("to LoadBalancer", {}, spec(type="LoadBalancer")),
        ("to ExternalName", {}, spec(type="ExternalName", externalName="a.b")),
        ("to ExternalName without name", {}, spec(type="ExternalName")),
        ("NodePort to ClusterIP", spec(type="NodePort"), spec(type="ClusterIP")),
        ("NodePort to LoadBalancer", spec(type="NodePort"), spec(type="LoadBalancer")),
        ("NodePort to ExternalName", spec(type="NodePort"), spec(type="ExternalName", externalName="a.b")),
        ("LoadBalancer to ClusterIP", spec(**LOCAL), spec(type="ClusterIP")),
        ("LoadBalancer to NodePort", spec(**LOCAL), spec(type="NodePort")),
        (
            "LoadBalancer with class to ClusterIP",
            spec(type="LoadBalancer", loadBalancerClass="a.b/c"),
            spec(type="ClusterIP"),
        ),
        ("class changes", spec(type="LoadBalancer", loadBalancerClass="a.b/c"), spec(loadBalancerClass="a.b/d")),
        ("class comes", spec(type="LoadBalancer"), spec(loadBalancerClass="a.b/d")),
        ("class goes", spec(type="LoadBalancer", loadBalancerClass="a.b/c"), spec(loadBalancerClass=GONE)),
        (
            "ExternalName to ClusterIP",
            spec(type="ExternalName", externalName="a.b"),
            spec(type="ClusterIP", externalName=GONE),
        ),
        ("Local to Cluster", spec(**LOCAL), spec(externalTrafficPolicy="Cluster")),
        ("Cluster to Local", spec(type="LoadBalancer"), spec(externalTrafficPolicy="Local")),
        ("health check port", spec(**LOCAL), spec(healthCheckNodePort=32111)),
        ("node port given", spec(type="NodePort"), ports({"port": 80, "nodePort": 32112})),
        ("node port not said", spec(type="NodePort"), ports({"port": 80})),
        ("second port", spec(type="NodePort", ports=[TWO[0]]), ports(*TWO)),
        ("port changes", {}, ports({"port": 81, "targetPort": 8080})),
        ("ports removed", {}, spec(ports=[])),
        ("to two families", {}, spec(ipFamilyPolicy="PreferDualStack")),
        ("to required two families", {}, spec(ipFamilyPolicy="RequireDualStack")),
        ("family changes", {}, spec(ipFamilies=["IPv6"])),
        ("external address comes", {}, spec(externalIPs=["192.0.2.7"])),
        ("external address goes", spec(externalIPs=["192.0.2.7"]), spec(externalIPs=GONE)),
        ("type wrong", {}, spec(type="x")),
        ("label wrong", {}, meta(labels={"a": "b c"})),
        ("two mistakes", {}, {**meta(labels={"a b": "c"}), **spec(sessionAffinity="x")}),
        ("affinity", {}, spec(sessionAffinity="ClientIP")),
        ("affinity goes", spec(sessionAffinity="ClientIP"), spec(sessionAffinity="None")),
        ("status is kept", {}, {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}),
    )
] + [
    Update(f"status: {name}", "services", first, {"status": {"loadBalancer": {"ingress": [given]}}}, "status")
    for name, first, given in (
        ("address", spec(type="LoadBalancer"), {"ip": "192.0.2.1"}),
        ("address elsewhere", {}, {"ip": "192.0.2.1"}),
        ("bad address", spec(type="LoadBalancer"), {"ip": "x"}),
        ("host name", spec(type="LoadBalancer"), {"hostname": "a.b"}),
        ("host name is an address", spec(type="LoadBalancer"), {"hostname": "192.0.2.1"}),
        ("mode", spec(type="LoadBalancer"), {"ip": "192.0.2.1", "ipMode": "Proxy"}),
        ("bad mode", spec(type="LoadBalancer"), {"ip": "192.0.2.1", "ipMode": "x"}),
        ("mode without address", spec(type="LoadBalancer"), {"hostname": "a.b", "ipMode": "VIP"}),
    )
]

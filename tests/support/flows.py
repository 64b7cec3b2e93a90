"""The shared table of flows: who sends what where, where it must land, masqueraded or not.

`OBJECTS` are Kubernetes manifests, `FLOWS` the rows. The same rows are judged four times: by `trace` over what we
compile, by real sockets in namespaces, by `trace` over the rules of the real kube-proxy, and by sockets through them.

The site (`support.site`): node `node` 192.168.56.11 with pods pod1 and pod2; node `backend` 192.168.56.12, which holds
pod3; and `client`, a host outside the cluster at 192.168.56.100. Rules are programmed on `node` only.
"""

from __future__ import annotations

from typing import Any

import msgspec

NODE_NAME = "node"
CLUSTER_CIDR = "10.244.0.0/16,fd00:10:244::/56"
SERVICE_CIDR = "10.96.0.0/16,fd00:10:96::/112"
NODE, NODE6 = "192.168.56.11", "fd00:56::11"
BACKEND, BACKEND6 = "192.168.56.12", "fd00:56::12"
CLIENT, CLIENT6 = "192.168.56.100", "fd00:56::100"
PODS = {"pod1": "10.244.1.2", "pod2": "10.244.1.3", "pod3": "10.244.2.2"}
PODS6 = {"pod1": "fd00:10:244:1::2", "pod2": "fd00:10:244:1::3", "pod3": "fd00:10:244:2::2"}
ON_NODE = {"pod1": NODE_NAME, "pod2": NODE_NAME, "pod3": "backend"}
NAMESPACE = "flows"

Manifest = dict[str, Any]


def port(number: int, target: int, *, name: str = "", protocol: str = "TCP", node_port: int = 0) -> Manifest:
    """A port of a Service and what its endpoints listen on (`target` goes into the slices)."""
    found: Manifest = {"port": number, "targetPort": target, "protocol": protocol}
    if name:
        found["name"] = name
    if node_port:
        found["nodePort"] = node_port
    return found


def service(name: str, ip: str, ports: list[Manifest], **spec: Any) -> Manifest:
    """A Service without selector, at a fixed cluster IP (or two, with a comma)."""
    addresses = ip.split(",")
    families = ["IPv6" if ":" in address else "IPv4" for address in addresses]
    status = spec.pop("status", None)
    found: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": addresses[0],
            "clusterIPs": addresses,
            "ipFamilies": families,
            "ipFamilyPolicy": "SingleStack" if len(families) == 1 else "RequireDualStack",
            "ports": ports,
            **spec,
        },
    }
    if status:
        found["status"] = status
    return found


def load_balancer(*addresses: str) -> Manifest:
    return {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}


Pods = dict[str, str]
"""Pod name to state: "ready", "unready" or "draining" (terminating, still serving)."""

CONDITIONS = {
    "ready": {"ready": True, "serving": True, "terminating": False},
    "unready": {"ready": False, "serving": False, "terminating": False},
    "draining": {"ready": False, "serving": True, "terminating": True},
}


def endpoints(of: Manifest, pods: Pods) -> list[Manifest]:
    """The EndpointSlices of a Service: one for each of its families."""
    name = of["metadata"]["name"]
    return [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-{family.lower()}",
                "namespace": NAMESPACE,
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": family,
            "ports": [
                {"name": each.get("name", ""), "port": each["targetPort"], "protocol": each["protocol"]}
                for each in of["spec"]["ports"]
            ],
            "endpoints": [
                {
                    "addresses": [(PODS if family == "IPv4" else PODS6)[pod]],
                    "conditions": CONDITIONS[state],
                    "nodeName": ON_NODE[pod],
                }
                for pod, state in pods.items()
            ],
        }
        for family in of["spec"]["ipFamilies"]
    ]


ALL = {"pod1": "ready", "pod2": "ready", "pod3": "ready"}
HTTP = [port(80, 8080)]

SERVICES: list[tuple[Manifest, Pods]] = [
    (service("web", "10.96.0.20,fd00:10:96::20", [port(80, 8080, node_port=31111)], type="NodePort"), ALL),
    (service("multi", "10.96.0.21", [port(80, 8080, name="http"), port(443, 8443, name="https")]), {"pod1": "ready"}),
    (
        service("dns", "10.96.0.22", [port(53, 5353, name="dns", protocol="UDP"), port(53, 5353, name="dns-tcp")]),
        {"pod1": "ready", "pod2": "ready"},
    ),
    (service("empty", "10.96.0.23,fd00:10:96::23", [port(80, 8080, node_port=31112)], type="NodePort"), {}),
    (service("unready", "10.96.0.24", HTTP), {"pod1": "unready"}),
    (service("sticky", "10.96.0.25", HTTP, sessionAffinity="ClientIP"), ALL),
    (service("hairpin", "10.96.0.26,fd00:10:96::26", HTTP), {"pod1": "ready"}),
    (service("external", "10.96.0.27", HTTP, externalIPs=["203.0.113.27"]), {"pod2": "ready"}),
    (
        service(
            "balanced",
            "10.96.0.28,fd00:10:96::28",
            [port(8080, 8080, node_port=32002)],
            type="LoadBalancer",
            status=load_balancer("192.168.56.200", "fd00:56::200"),
        ),
        {"pod1": "ready", "pod3": "ready"},
    ),
    (
        service(
            "ranges",
            "10.96.0.29",
            [port(80, 8080, node_port=32003)],
            type="LoadBalancer",
            loadBalancerSourceRanges=["192.168.56.100/32"],
            status=load_balancer("192.168.56.201"),
        ),
        {"pod1": "ready"},
    ),
    (
        service(
            "closed",
            "10.96.0.30",
            [port(80, 8080, node_port=32004)],
            type="LoadBalancer",
            loadBalancerSourceRanges=["198.51.100.0/24"],
            status=load_balancer("192.168.56.202"),
        ),
        {"pod1": "ready"},
    ),
    (
        service(
            "local", "10.96.0.31", [port(80, 8080, node_port=31113)], type="NodePort", externalTrafficPolicy="Local"
        ),
        {"pod1": "ready", "pod3": "ready"},
    ),
    (
        service(
            "elsewhere", "10.96.0.32", [port(80, 8080, node_port=31114)], type="NodePort", externalTrafficPolicy="Local"
        ),
        {"pod3": "ready"},
    ),
    (
        service("inside", "10.96.0.33", HTTP, internalTrafficPolicy="Local"),
        {"pod2": "ready", "pod3": "ready"},
    ),
    (service("outside", "10.96.0.34", HTTP, internalTrafficPolicy="Local"), {"pod3": "ready"}),
    (service("draining", "10.96.0.35", HTTP), {"pod1": "draining", "pod2": "unready"}),
    (service("draining-not", "10.96.0.36", HTTP), {"pod1": "draining", "pod2": "ready"}),
]

OBJECTS: list[Manifest] = [
    each for manifest, pods in SERVICES for each in (manifest, *(endpoints(manifest, pods) if pods else []))
]


class Flow(msgspec.Struct, frozen=True):
    """One row. `source` is a host of the site ("node" is a process on the node itself).

    lands        pods that answer, each with an even share; empty if none does
    otherwise    what happens instead: "refused" or "dropped"
    masqueraded  whether the pod sees the node's address in place of the sender's; None where nobody can tell
    """

    id: str
    source: str
    address: str
    port: int
    lands: tuple[str, ...] = ()
    otherwise: str = ""
    masqueraded: bool | None = None
    protocol: str = "tcp"
    target: int = 8080
    sticky: bool = False


EVERYWHERE = ("pod1", "pod2", "pod3")
LOOPBACK = "127.0.0.1"

FLOWS = [
    # cluster IPs: from pods the sender's address stays, from anywhere else it does not
    Flow("pod to cluster IP", "pod2", "10.96.0.20", 80, EVERYWHERE),
    Flow("node to cluster IP", "node", "10.96.0.20", 80, EVERYWHERE, masqueraded=True),
    Flow("outside host to cluster IP", "client", "10.96.0.20", 80, EVERYWHERE, masqueraded=True),
    Flow("pod of another node to cluster IP", "pod3", "10.96.0.21", 80, ("pod1",), masqueraded=False),
    Flow("pod to cluster IP, v6", "pod2", "fd00:10:96::20", 80, EVERYWHERE),
    Flow("outside host to cluster IP, v6", "client", "fd00:10:96::20", 80, EVERYWHERE, masqueraded=True),
    # ports and protocols
    Flow("first port of two", "pod2", "10.96.0.21", 80, ("pod1",), masqueraded=False),
    Flow("second port of two", "pod2", "10.96.0.21", 443, ("pod1",), masqueraded=False, target=8443),
    Flow("UDP", "pod3", "10.96.0.22", 53, ("pod1", "pod2"), masqueraded=False, protocol="udp", target=5353),
    Flow("TCP on UDP's port number", "pod3", "10.96.0.22", 53, ("pod1", "pod2"), masqueraded=False, target=5353),
    # nobody there
    Flow("no endpoints", "pod2", "10.96.0.23", 80, otherwise="refused"),
    Flow("no endpoints, from the node", "node", "10.96.0.23", 80, otherwise="refused"),
    Flow("no endpoints, node port", "client", NODE, 31112, otherwise="refused"),
    Flow("no endpoints, v6", "pod2", "fd00:10:96::23", 80, otherwise="refused"),
    Flow("no endpoints, node port, v6", "client", NODE6, 31112, otherwise="refused"),
    Flow("no ready endpoint", "pod2", "10.96.0.24", 80, otherwise="refused"),
    # one's own service
    Flow("hairpin", "pod1", "10.96.0.26", 80, ("pod1",), masqueraded=True),
    Flow("hairpin, v6", "pod1", "fd00:10:96::26", 80, ("pod1",), masqueraded=True),
    Flow("session affinity", "pod3", "10.96.0.25", 80, EVERYWHERE, masqueraded=None, sticky=True),
    # node ports
    Flow("outside host to node port", "client", NODE, 31111, EVERYWHERE, masqueraded=True),
    Flow("outside host to node port, v6", "client", NODE6, 31111, EVERYWHERE, masqueraded=True),
    Flow("pod to node port", "pod2", NODE, 31111, EVERYWHERE, masqueraded=True),
    Flow("node to its own node port", "node", NODE, 31111, EVERYWHERE, masqueraded=True),
    Flow("node to node port on localhost", "node", LOOPBACK, 31111, EVERYWHERE, masqueraded=True),
    # addresses from outside
    Flow("external IP", "client", "203.0.113.27", 80, ("pod2",), masqueraded=True),
    Flow("external IP from a pod", "pod1", "203.0.113.27", 80, ("pod2",), masqueraded=True),
    Flow("load balancer IP", "client", "192.168.56.200", 8080, ("pod1", "pod3"), masqueraded=True),
    Flow("load balancer IP, v6", "client", "fd00:56::200", 8080, ("pod1", "pod3"), masqueraded=True),
    Flow("load balancer IP from a pod", "pod2", "192.168.56.200", 8080, ("pod1", "pod3"), masqueraded=True),
    Flow("load balancer's node port", "client", NODE, 32002, ("pod1", "pod3"), masqueraded=True),
    Flow("source range that has us", "client", "192.168.56.201", 80, ("pod1",), masqueraded=True),
    Flow("source range that has not", "pod2", "192.168.56.201", 80, otherwise="dropped"),
    Flow("source range, not us", "client", "192.168.56.202", 80, otherwise="dropped"),
    Flow("source ranges leave node ports alone", "client", NODE, 32004, ("pod1",), masqueraded=True),
    # traffic policies
    Flow("external Local keeps the client", "client", NODE, 31113, ("pod1",), masqueraded=False),
    Flow("external Local, cluster IP", "pod2", "10.96.0.31", 80, ("pod1", "pod3"), masqueraded=False),
    Flow("external Local, node port from a pod", "pod2", NODE, 31113, ("pod1", "pod3"), masqueraded=False),
    Flow("external Local, node port from the node", "node", NODE, 31113, ("pod1", "pod3"), masqueraded=True),
    Flow("external Local, none here", "client", NODE, 31114, otherwise="dropped"),
    Flow("external Local, none here, cluster IP", "pod2", "10.96.0.32", 80, ("pod3",), masqueraded=False),
    Flow("internal Local", "pod1", "10.96.0.33", 80, ("pod2",), masqueraded=False),
    Flow("internal Local, none here", "pod1", "10.96.0.34", 80, otherwise="dropped"),
    # endings
    Flow("only a draining endpoint", "pod3", "10.96.0.35", 80, ("pod1",), masqueraded=False),
    Flow("draining and ready", "pod3", "10.96.0.36", 80, ("pod2",), masqueraded=False),
]

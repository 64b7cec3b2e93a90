"""A few services that between them need a rule of every shape, to try a host's iptables with. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from svckube.objects import EndpointSlice, Service

NODE = "specimen"
_NAMESPACE = "svcplane-specimens"


def _service(name: str, number: int, **spec: object) -> Service:
    addresses = [f"192.0.2.{number}", f"2001:db8::{number}"]
    usual = {
        "clusterIP": addresses[0],
        "clusterIPs": addresses,
        "ipFamilies": ["IPv4", "IPv6"],
        "externalIPs": [f"198.51.100.{number}", f"2001:db8:1::{number}"],
        "ports": [{"name": "p", "port": 80, "nodePort": 30000 + number}],
    }
    balancer = {"ingress": [{"ip": f"203.0.113.{number}"}, {"ip": f"2001:db8:2::{number}"}]}
    status = {"loadBalancer": balancer} if spec.get("type") == "LoadBalancer" else {}
    metadata = {"name": name, "namespace": _NAMESPACE}
    return msgspec.convert({"metadata": metadata, "spec": {**usual, **spec}, "status": status}, Service)


def _slices(name: str, protocol: str) -> tuple[EndpointSlice, ...]:
    """Three endpoints of each family, the first on this node."""
    return tuple(
        msgspec.convert(
            {
                "metadata": {
                    "name": f"{name}-{family}",
                    "namespace": _NAMESPACE,
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": family,
                "ports": [{"name": "p", "port": 8080, "protocol": protocol}],
                "endpoints": [
                    {"addresses": [f"{network}{host}"], "nodeName": NODE if host == 1 else "", "conditions": {}}
                    for host in (1, 2, 3)
                ],
            },
            EndpointSlice,
        )
        for family, network in (("IPv4", "192.0.2.20"), ("IPv6", "2001:db8:3::"))
    )


_BALANCED = {
    "type": "LoadBalancer",
    "externalTrafficPolicy": "Local",
    "healthCheckNodePort": 32000,
    "loadBalancerSourceRanges": ["192.0.2.0/24", "198.51.100.7/32", "192.0.2.128/25", "2001:db8::/32", "2001:db8::/47"],
    "sessionAffinity": "ClientIP",
    "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
}


def touched() -> Iterator[tuple[str, Service, tuple[EndpointSlice, ...]]]:
    """(namespace/name, Service, its slices), as a pipeline takes them."""
    for number, protocol in enumerate(("TCP", "UDP", "SCTP"), 1):
        ports = [{"name": "p", "port": 80, "protocol": protocol, "nodePort": 30000 + number}]
        name = f"local-{protocol.lower()}"
        yield f"{_NAMESPACE}/{name}", _service(name, number, ports=ports, **_BALANCED), _slices(name, protocol)
        number, name = number + 4, f"cluster-{protocol.lower()}"
        ports = [{"name": "p", "port": 80, "protocol": protocol, "nodePort": 30000 + number}]
        yield f"{_NAMESPACE}/{name}", _service(name, number, ports=ports, type="NodePort"), _slices(name, protocol)
    yield f"{_NAMESPACE}/nobody", _service("nobody", 4, type="NodePort"), ()

"""What the API server holds in the agent's benchmark: so many Services with so many endpoints each, by number.

Cluster IPs are spread over the whole range, as the API server's own choice is. Every endpoint is an address of
`PODS`, and all of them answer (`bench.responder`). A change puts fresh addresses in the place of a service's first
endpoints; which write they came with can be told from the address that a connection lands at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, ip_network
from typing import Any
from uuid import UUID

from bench.cost import spent
from peers.control_plane import ControlPlane
from support.crowd import name_of
from support.waiting import eventually

NAMESPACE = "bench"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
IP_ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"
SERVICE_CIDR = "10.96.0.0/12"
PODS = "10.128.0.0/10"
FIRST_CLUSTER_IP, FIRST_POD, FIRST_FRESH = (
    int(IPv4Address(address)) for address in ("10.96.0.2", "10.128.0.0", "10.160.0.0")
)
PRIME = 2**20 - 3
"""Of addresses in the service range, less the first two and the last."""
IN_A_SLICE = 100
"""maxEndpointsPerSlice of the EndpointSlice controller."""

Object = dict[str, Any]
Request = Callable[..., dict[str, Any]]


class Crowd:
    """`services` Services with `endpoints` endpoints each, and one more, `kept`, for connections that last."""

    def __init__(self, services: int, endpoints: int) -> None:
        self.services = services
        self.endpoints = endpoints
        self.kept = services
        self.stranger = services + 1
        """A number that has a slice and not always a Service."""
        self._fresh = 0

    def addresses(self, number: int) -> list[str]:
        first = FIRST_POD + number * self.endpoints
        return [str(IPv4Address(first + each)) for each in range(self.endpoints)]

    def changed(self, number: int, count: int = 1) -> tuple[int, dict[str, Any]]:
        """The service's first slice with that many fresh endpoints, and the number of this change."""
        self._fresh += 1
        first = FIRST_FRESH + self._fresh * self._stride
        fresh = [str(IPv4Address(first + each)) for each in range(count)]
        return self._fresh, endpoint_slice(number, 0, (fresh + self.addresses(number)[count:])[:IN_A_SLICE])

    def change_of(self, address: str) -> int:
        """The number of the change that an address came with; 0 for one that was there from the beginning."""
        if not address or int(IPv4Address(address)) < FIRST_FRESH:
            return 0
        return (int(IPv4Address(address)) - FIRST_FRESH) // self._stride

    def slices(self, number: int) -> Iterator[dict[str, Any]]:
        every = self.addresses(number)
        for index in range(0, len(every), IN_A_SLICE):
            yield endpoint_slice(number, index // IN_A_SLICE, every[index : index + IN_A_SLICE])

    def populate(self, plane: ControlPlane) -> None:
        """The Service `kept` is written, and all others stored as that was."""
        plane.request(
            "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        )
        first = plane.request("POST", SERVICES, service(self.kept))
        its_slice = endpoint_slice(self.kept, 0, self.addresses(self.kept)[:1], port=8081)
        first_slice = plane.request("POST", SLICES, its_slice)
        first_address = plane.get(f"{IP_ADDRESSES}/{cluster_ip(self.kept)}")
        # Awake, it would mend what it sees in part: Services whose addresses it does not know yet, for minutes.
        plane.kill("kube-apiserver")
        for stored in (self._addresses(first_address), self._slices(first_slice), self._services(first)):
            plane.store(stored)
        plane.restart("kube-apiserver")
        eventually(lambda: _rests(plane), "the API server has taken in what was stored", 600)

    def _addresses(self, first: Object) -> Iterator[tuple[str, Object]]:
        for number in range(self.services):
            address, parent = cluster_ip(number), first["spec"]["parentRef"] | {"name": name_of(number)}
            yield f"/registry/ipaddresses/{address}", _copy(first, address, number, spec={"parentRef": parent})

    def _slices(self, first: Object) -> Iterator[tuple[str, Object]]:
        for number in (*range(self.services), self.stranger):
            for index, each in enumerate(self.slices(number)):
                name = each["metadata"]["name"]
                made = _copy(first, name, number * IN_A_SLICE + index, **_payload(each, first))
                made["metadata"]["labels"] = each["metadata"]["labels"]
                yield f"/registry/endpointslices/{NAMESPACE}/{name}", made

    def _services(self, first: Object) -> Iterator[tuple[str, Object]]:
        for number in range(self.services):
            address, name = cluster_ip(number), name_of(number)
            spec = first["spec"] | {"clusterIP": address, "clusterIPs": [address]}
            yield f"/registry/services/specs/{NAMESPACE}/{name}", _copy(first, name, number, spec=spec)

    @property
    def _stride(self) -> int:
        return max(1, self.endpoints // 10)


def cluster_ip(number: int) -> str:
    return str(IPv4Address(FIRST_CLUSTER_IP + number * 648_391 % PRIME))


def service(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name_of(number), "namespace": NAMESPACE},
        "spec": {"clusterIP": cluster_ip(number), "ports": [{"name": "http", "port": 80}]},
    }


def endpoint_slice(number: int, index: int, addresses: list[str], port: int = 8080) -> dict[str, Any]:
    name = name_of(number)
    labels = {"kubernetes.io/service-name": name}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-{index}", "namespace": NAMESPACE, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address]} for address in addresses],
    }


def _copy(first: Object, name: str, number: int, **fields: object) -> Object:
    metadata = first["metadata"] | {"name": name, "uid": str(UUID(int=number + 1))}
    for field in ("resourceVersion", "managedFields"):
        metadata.pop(field, None)
    return first | {"metadata": metadata} | fields


def _payload(made: Object, first: Object) -> Object:
    """Ports and endpoints, with the fields that the API server has added to those of the first."""
    ports = [had | port for had, port in zip(first["ports"], made["ports"], strict=True)]
    return {"ports": ports, "endpoints": [first["endpoints"][0] | each for each in made["endpoints"]]}


def _rests(plane: ControlPlane) -> bool:
    """Whether the API server takes less than a tenth of a processor for a while."""
    pid = plane.pids["kube-apiserver"]
    before, began = spent(pid), time.monotonic()
    time.sleep(0.5)
    return (spent(pid) - before).both < (time.monotonic() - began) * 100


CLIENT = str(ip_network(PODS)[-2])
"""A pod's address that nobody else has: where the sender sends from."""

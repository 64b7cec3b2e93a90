"""What the API server holds in the agent's benchmark: so many Services with so many endpoints each, by number.

Cluster IPs are spread over the whole range, as the API server's own choice is. Every endpoint is an address of
`PODS`, and all of them answer (`bench.responder`). A change puts fresh addresses in the place of a service's first
endpoints; which write they came with can be told from the address that a connection lands at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, ip_network
from typing import Any

from peers.control_plane import ControlPlane
from support.crowd import name_of

NAMESPACE = "bench"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
SERVICE_CIDR = "10.96.0.0/12"
PODS = "10.128.0.0/10"
FIRST_CLUSTER_IP, FIRST_POD, FIRST_FRESH = (
    int(IPv4Address(address)) for address in ("10.96.0.2", "10.128.0.0", "10.160.0.0")
)
PRIME = 2**20 - 3
"""Of addresses in the service range, less the first two and the last."""
IN_A_SLICE = 100
"""maxEndpointsPerSlice of the EndpointSlice controller."""
WRITERS = 8

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
        plane.request(
            "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        )

        def write(worker: int) -> None:
            with plane.session() as request:
                for number in range(worker, self.services, WRITERS):
                    for each in self.slices(number):
                        request("POST", SLICES, each)
                    request("POST", SERVICES, service(number))

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(write, range(WRITERS)))
        for each in self.slices(self.stranger):
            plane.request("POST", SLICES, each)
        plane.request("POST", SLICES, endpoint_slice(self.kept, 0, self.addresses(self.kept)[:1], port=8081))
        plane.request("POST", SERVICES, service(self.kept))

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


CLIENT = str(ip_network(PODS)[-2])
"""A pod's address that nobody else has: where the sender sends from."""

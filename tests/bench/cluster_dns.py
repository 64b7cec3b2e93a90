"""The DNS server beside CoreDNS, on one real API server, in one run.

    python tests/bench/cluster_dns.py [--services 1000] [--seconds 10] [--smoke]

Prints medians and the ratio ours / theirs; a ratio below 1 means that we need less. Machines differ and are noisy, so
nothing is asserted but that every measurement was made.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.resolvers import resolvers
from peers.build import built
from peers.control_plane import ControlPlane

NAMESPACE = "bench"
ENDPOINTS = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=10, help="length of each run")
    parser.add_argument("--smoke", action="store_true", help="small and short: does it run at all?")
    chosen = parser.parse_args()
    if chosen.smoke:
        chosen.services, chosen.seconds = 100, 2
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(built(), controllers=()))
        populate(plane, chosen.services)
        print(f"{chosen.services} services x {ENDPOINTS} endpoints, {os.cpu_count()} cores")
        print(f"{'':44}{'svcplane':>12}{'peer':>12}{'ratio':>8}")

        def change(turn: int) -> None:
            changed = endpoint_slice(turn % chosen.services, shift=100 + turn % 100)
            plane.request("PUT", f"{SLICES}/{changed['metadata']['name']}", changed)

        resolvers(stack, plane, NAMESPACE, chosen.services, chosen.seconds, row, change)
    return 0


def row(what: str, unit: str, ours: float, theirs: float) -> None:
    print(f"{f'{what}, {unit}':44}{ours:>12.3f}{theirs:>12.3f}{ours / theirs:>8.2f}", flush=True)


# what the API server holds


def service(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"svc-{number}", "namespace": NAMESPACE},
        "spec": {"clusterIP": cluster_ip(number), "ports": [{"name": "http", "port": 80}]},
    }


def cluster_ip(number: int) -> str:
    return f"10.96.{8 + number // 250}.{1 + number % 250}"


def endpoint_slice(number: int, shift: int = 0) -> dict[str, Any]:
    """Five endpoints; another `shift` gives the first of them another address."""
    block, last = divmod(number, 250)
    addresses = [f"10.{244 + index}.{block + (0 if index else shift)}.{1 + last}" for index in range(ENDPOINTS)]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"svc-{number}-1",
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": f"svc-{number}"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address]} for address in addresses],
    }


SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"


def populate(plane: ControlPlane, services: int) -> None:
    plane.add_node("node", ["192.168.56.11"])
    plane.request(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    )

    def create(number: int) -> None:
        plane.request("POST", f"/api/v1/namespaces/{NAMESPACE}/services", service(number))
        plane.request("POST", SLICES, endpoint_slice(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(services)))


if __name__ == "__main__":
    sys.exit(main())

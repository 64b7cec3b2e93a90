"""The DNS server beside CoreDNS, on one real API server, in one run.

    python tests/bench/cluster_dns.py [--services 1000] [--seconds 10] [--processes 1] [--smoke]

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

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.crowd import NAMESPACE, SERVICE_CIDR, SERVICES, SLICES, Crowd, service
from bench.resolvers import resolvers
from peers.build import built
from peers.control_plane import ControlPlane

ENDPOINTS = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=10, help="length of each run")
    parser.add_argument("--processes", type=int, default=1, help="ours, and CoreDNS's sockets; then of many clients")
    parser.add_argument("--smoke", action="store_true", help="small and short: does it run at all?")
    chosen = parser.parse_args()
    if chosen.smoke:
        chosen.services, chosen.seconds = 100, 2
    with ExitStack() as stack:
        crowd = Crowd(chosen.services, ENDPOINTS)
        plane = stack.enter_context(ControlPlane(built(), controllers=(), service_cidrs=(SERVICE_CIDR,)))
        populate(plane, crowd)
        print(f"{chosen.services} services x {ENDPOINTS} endpoints, {os.cpu_count()} cores")
        print(f"{'':44}{'svcplane':>12}{'peer':>12}{'ratio':>8}")

        def change(turn: int) -> None:
            _, changed = crowd.changed(turn % chosen.services)
            plane.request("PUT", f"{SLICES}/{changed['metadata']['name']}", changed)

        resolvers(stack, plane, NAMESPACE, chosen.services, chosen.seconds, row, change, chosen.processes)
    return 0


def row(what: str, unit: str, ours: float, theirs: float) -> None:
    print(f"{f'{what}, {unit}':44}{ours:>12.3f}{theirs:>12.3f}{ours / theirs:>8.2f}", flush=True)


def populate(plane: ControlPlane, crowd: Crowd) -> None:
    """Through the API server, which is to know of each as it comes."""
    plane.add_node("node", ["192.168.56.11"])
    plane.request(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    )

    def create(number: int) -> None:
        plane.request("POST", SERVICES, service(number))
        for each in crowd.slices(number):
            plane.request("POST", SLICES, each)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(crowd.services)))


if __name__ == "__main__":
    sys.exit(main())

"""`make bench`: svcplane beside kube-proxy and CoreDNS, on one real API server, in one run.

    python tests/bench/side_by_side.py [--services 1000] [--flavour nft|legacy] [--rounds 9]
        [--part proxy|dns] [--smoke]

Prints medians and the ratio ours / theirs; a ratio below 1 means that we need less. Machines differ and are noisy, so
nothing is asserted but that every measurement was made. Needs root: each proxy programs a namespace of its own.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.resolvers import resolvers
from peers.build import built
from peers.control_plane import ControlPlane
from peers.kube_proxy import KubeProxy
from peers.processes import Process
from support.waiting import eventually
from svcagent.names import endpoint_chain
from svclab import netns
from svclab.netns import Host

PROGRAMS = Path(sys.executable).parent
CLUSTER_CIDR = "10.244.0.0/16"
NAMESPACE = "bench"
ENDPOINTS = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--flavour", choices=("nft", "legacy"), default="legacy")
    parser.add_argument("--rounds", type=int, default=9, help="single changes that are timed")
    parser.add_argument("--seconds", type=int, default=10, help="length of each DNS run")
    parser.add_argument("--part", choices=("all", "proxy", "dns"), default="all", help="measure only this")
    parser.add_argument("--smoke", action="store_true", help="small and short: does it run at all?")
    chosen = parser.parse_args()
    if chosen.smoke:
        chosen.services, chosen.rounds, chosen.seconds = 100, 3, 2
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(built(), controllers=()))
        populate(plane, chosen.services)
        print(f"{chosen.services} services x {ENDPOINTS} endpoints, iptables-{chosen.flavour}, {os.cpu_count()} cores")
        print(f"{'':44}{'svcplane':>12}{'peer':>12}{'ratio':>8}")
        if chosen.part != "dns":
            proxies(stack, plane, chosen.flavour, chosen.services, chosen.rounds)
        if chosen.part != "proxy":

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


# proxies


class Node:
    """A namespace, the proxy that programs it, and how to look at its rules."""

    def __init__(self, host: Host, process: Process, flavour: str) -> None:
        self.host = host
        self.process = process
        self._iptables = f"iptables-{flavour}"

    def count(self, word: str) -> int:
        """Rules of nat with this word."""
        with self.host.entered():
            shown = subprocess.run([f"{self._iptables}-save", "-t", "nat"], capture_output=True, text=True, check=True)
        return shown.stdout.count(word)

    def has_endpoint(self, service_port: str, endpoint: str) -> bool:
        """Whether the chain of an endpoint is there; asks for that chain alone, so that looking costs little."""
        chain = endpoint_chain(service_port, "tcp", endpoint)
        with self.host.entered():
            return subprocess.run([self._iptables, "-t", "nat", "-S", chain], capture_output=True).returncode == 0

    def resident(self) -> float:
        """MiB of memory that belong to the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024


@contextmanager
def namespace(name: str) -> Iterator[Host]:
    host = Host(f"{netns.PREFIX}t{os.getpid()}-bench-{name}")
    host.create()
    try:
        yield host
    finally:
        host.remove()


def proxies(stack: ExitStack, plane: ControlPlane, flavour: str, services: int, rounds: int) -> None:
    ours, theirs = stack.enter_context(namespace("ours")), stack.enter_context(namespace("theirs"))
    server = stack.enter_context(plane.reached_from(theirs.name))
    folder = plane.folder
    agent = agent_process(plane, ours, flavour, folder)
    peer = KubeProxy(
        built(),
        folder,
        netns=theirs.name,
        kubeconfig=plane.kubeconfig("system:kube-proxy", server=server),
        hostname="node",
        cluster_cidr=CLUSTER_CIDR,
        flavour="nft" if flavour == "nft" else "legacy",
    )
    stack.callback(agent.stop)
    stack.callback(peer.stop)
    nodes = (Node(ours, agent, flavour), Node(theirs, peer.process, flavour))
    rules = services * ENDPOINTS
    row("start to programmed", "s", *(time_until(node, rules) for node in nodes))
    changes: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds):
        changed = endpoint_slice(turn % services, shift=100 + turn)
        address = changed["endpoints"][0]["addresses"][0]
        began = time.monotonic()
        plane.request("PUT", f"{SLICES}/{changed['metadata']['name']}", changed)
        waiting = dict(enumerate(nodes))
        while waiting and time.monotonic() - began < 60:
            for index, node in list(waiting.items()):
                if node.has_endpoint(f"{NAMESPACE}/svc-{turn % services}:http", f"{address}:8080"):
                    changes[index].append(time.monotonic() - began)
                    del waiting[index]
        # Both hold back a second after a pass; what is timed is a change that comes to a rested proxy.
        time.sleep(1.5)
    row("one endpoint changes, median", "s", *(statistics.median(each) for each in changes))
    row("memory", "MiB", *(node.resident() for node in nodes))


def agent_process(plane: ControlPlane, host: Host, flavour: str, folder: Path) -> Process:
    kubeconfig = plane.kubeconfig("system:kube-proxy", groups=["system:node-proxier"])
    flags = ("--kubeconfig", kubeconfig, "--netns", host.name, "--hostname-override", "node")
    more = ("--cluster-cidr", CLUSTER_CIDR, "--iptables-flavour", flavour, "--conntrack-max-per-core", "0")
    environment = {**os.environ, "XTABLES_LOCKFILE": str(folder / "agent.lock")}
    argv = (PROGRAMS / "svcplane-agent", "run", *flags, *more)
    return Process(argv, folder / "agent.log", environment=environment)


def time_until(node: Node, rules: int) -> float:
    """Seconds from the proxy's start until so many endpoints have their rule."""
    began = time.monotonic()
    node.process.start()
    eventually(lambda: node.count("-j DNAT") >= rules, "all rules are there", 600)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())

"""The agent beside kube-proxy, one after the other, on one real API server: seconds, memory, and what packets meet.

    python tests/bench/agent.py [--sizes 1000x5,10000x5] [--programs agent-nft,...] [--rounds 20] [--json FILE]

Seconds are those of a packet's sender: from a program's start until the last service answers, from a write to the API
server until a new connection lands on the new endpoint. Each program has the machine for itself and a namespace of its
own. A program that does not get ready within --patience is said to take longer, and its other columns stay empty.
Needs root; asserts nothing but that what was measured was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.side_by_side import CLUSTER_CIDR, agent_process, cluster_ip, namespace
from peers.build import built
from peers.control_plane import ControlPlane
from peers.kube_proxy import KubeProxy
from peers.processes import Process
from support.crowd import name_of
from svclab.netns import Host

NAMESPACE = "bench"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
OLD, NEW = "10.244.9.1", "10.244.9.2"
"""Endpoints that answer, with their own address; all others lead nowhere."""
PROGRAMS = ("agent-nft", "agent-legacy", "kube-proxy-legacy", "kube-proxy-nft", "kube-proxy-nftables")
"""The last but one takes minutes with some thousands of services; the last needs the command nft."""
REST = 1.5
"""Every program holds back for a second after a pass; what is timed is a change that comes to a rested one."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default="1000x5,10000x5", help="services x endpoints, with commas")
    parser.add_argument("--programs", default=",".join(PROGRAMS[:3]), help=f"of {', '.join(PROGRAMS)}")
    parser.add_argument("--rounds", type=int, default=20, help="changes of each sort")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds")
    parser.add_argument("--json", type=Path, help="where the same goes for programs")
    parser.add_argument("--smoke", action="store_true", help="small and short: does it run at all?")
    chosen = parser.parse_args()
    if chosen.smoke:
        chosen.sizes, chosen.rounds = "50x5", 2
    found = []
    for size in chosen.sizes.split(","):
        services, endpoints = map(int, size.split("x"))
        with ControlPlane(built(), controllers=()) as plane:
            populate(plane, services, endpoints)
            print(f"\n{size}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
            print("".join(f"{title:>{width}}" for title, width in COLUMNS), flush=True)
            for program in chosen.programs.split(","):
                row: dict[str, float | str | None] = {"size": size, "program": program}
                try:
                    row |= measured(plane, program, services, endpoints, chosen.rounds, chosen.patience)
                except (OSError, AssertionError) as error:  # its connections do not land: that is a result, too
                    row |= {"start s": "failed", "error": str(error)}
                    print(f"{program}: {error}", file=sys.stderr)
                found.append(row)
                print("".join(f"{shown(row.get(title)):>{width}}" for title, width in COLUMNS), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    return int(any("error" in row for row in found))


COLUMNS = (
    ("program", 20),
    ("start s", 10),
    ("change p50 ms", 15),
    ("p99", 8),
    ("new ms", 8),
    ("deleted ms", 12),
    ("CPU ms", 8),
    ("RSS MiB", 9),
    ("peak", 6),
    ("first us", 10),
    ("middle", 8),
    ("last", 8),
)
"""CPU is what the program itself and its children take for one change; the last three are connects to a service."""


def shown(value: object) -> str:
    return "" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


# what the API server holds


def service(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name_of(number), "namespace": NAMESPACE},
        "spec": {"clusterIP": cluster_ip(number), "ports": [{"name": "http", "port": 80}]},
    }


def endpoint_slice(number: int, addresses: list[str]) -> dict[str, Any]:
    name = name_of(number)
    labels = {"kubernetes.io/service-name": name}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "namespace": NAMESPACE, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address]} for address in addresses],
    }


def nowhere(number: int, endpoints: int) -> list[str]:
    first = number * endpoints
    return [
        f"10.{128 + each // 62500 % 64}.{each // 250 % 250}.{1 + each % 250}"
        for each in range(first, first + endpoints)
    ]


def populate(plane: ControlPlane, services: int, endpoints: int) -> None:
    plane.add_node("node", ["192.168.56.11"])
    plane.request(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    )
    live = {0, services // 2, services - 1}

    def make(number: int) -> None:
        plane.request("POST", SERVICES, service(number))
        plane.request("POST", SLICES, endpoint_slice(number, [OLD] if number in live else nowhere(number, endpoints)))

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(make, range(services)):
            pass


# packets


@contextmanager
def place(name: str) -> Iterator[Host]:
    """A namespace in which the endpoints `OLD` and `NEW` answer with their own address."""
    with namespace(name) as host, ExitStack() as stack:
        host.add_route("default", via="127.0.0.1")
        for address in (OLD, NEW):
            host.add_address("lo", f"{address}/32")
            with host.entered():
                listening = stack.enter_context(socket.create_server((address, 8080), backlog=512))
            threading.Thread(target=_serve, args=(listening, address.encode()), daemon=True).start()
            stack.callback(listening.shutdown, socket.SHUT_RDWR)
        yield host


def _serve(listening: socket.socket, answer: bytes) -> None:
    with suppress(OSError):
        while True:
            with listening.accept()[0] as one, suppress(OSError):
                one.sendall(answer)


def landed(address: str) -> str:
    """Which endpoint a new connection meets; "" if none."""
    with suppress(OSError), socket.create_connection((address, 80), timeout=0.02) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return made.recv(20).decode()
    return ""


def until(host: Host, address: str, wanted: str, patience: float) -> float | None:
    """Seconds until connections land there; None if they do not."""
    began = time.monotonic()
    with host.entered():
        while landed(address) != wanted:
            if time.monotonic() - began > patience:
                return None
            time.sleep(0.001)
    return time.monotonic() - began


def connect_microseconds(host: Host, address: str, times: int = 500) -> float:
    """The median of a connect to a service: one first packet, and its answer. OSError if it takes a second packet."""
    taken = []
    with host.entered():
        for _ in range(times):
            with socket.socket() as made:
                made.settimeout(0.9)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                began = time.perf_counter()
                made.connect((address, 80))
                taken.append(time.perf_counter() - began)
                made.recv(20)
    return statistics.median(taken) * 1e6


# programs


def program_of(stack: ExitStack, plane: ControlPlane, host: Host, name: str) -> Process:
    kind = name.rpartition("-")[2]
    if name.startswith("agent"):
        return agent_process(plane, host, kind, plane.folder)
    server = stack.enter_context(plane.reached_from(host.name))
    return KubeProxy(
        built(),
        plane.folder,
        netns=host.name,
        kubeconfig=plane.kubeconfig("system:kube-proxy", server=server),
        hostname="node",
        cluster_cidr=CLUSTER_CIDR,
        flavour="legacy" if kind == "legacy" else "nft",
        config={"mode": "nftables"} if kind == "nftables" else None,
    ).process


def measured(
    plane: ControlPlane, name: str, services: int, endpoints: int, rounds: int, patience: float
) -> dict[str, float | str | None]:
    with ExitStack() as stack:
        host = stack.enter_context(place(name))
        process = program_of(stack, plane, host, name)
        stack.callback(process.stop)
        last = cluster_ip(services - 1)
        process.start()
        start = until(host, last, OLD, patience)
        if start is None:
            return {"start s": f"> {patience:.0f}"}
        time.sleep(REST)
        cpu = cpu_milliseconds(process.pid)
        changes = [change(plane, host, services - 1, NEW if turn % 2 == 0 else OLD, patience) for turn in range(rounds)]
        cpu = (cpu_milliseconds(process.pid) - cpu) / rounds
        change(plane, host, services - 1, OLD, patience)
        new, deleted = come_and_go(plane, host, services, max(2, rounds // 4), patience)
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "kB" in line
        )
        return {
            "start s": start,
            "change p50 ms": statistics.median(changes),
            "p99": sorted(changes)[max(0, round(len(changes) * 0.99) - 1)],
            "new ms": statistics.median(new),
            "deleted ms": statistics.median(deleted),
            "CPU ms": cpu,
            "RSS MiB": int(status["VmRSS"].split()[0]) / 1024,
            "peak": int(status["VmHWM"].split()[0]) / 1024,
            "first us": connect_microseconds(host, cluster_ip(0)),
            "middle": connect_microseconds(host, cluster_ip(services // 2)),
            "last": connect_microseconds(host, last),
        }


def timed(act: Callable[[], object], host: Host, address: str, wanted: str, patience: float) -> float:
    """Milliseconds from before the write to the API server until connections land so."""
    began = time.monotonic()
    act()
    if until(host, address, wanted, patience) is None:
        raise AssertionError(f"connections to {address} do not land on {wanted or 'nothing'} within {patience} s")
    taken = time.monotonic() - began
    time.sleep(REST)
    return taken * 1e3


def change(plane: ControlPlane, host: Host, number: int, to: str, patience: float) -> float:
    wanted = endpoint_slice(number, [to])
    return timed(
        lambda: plane.request("PUT", f"{SLICES}/{name_of(number)}-1", wanted), host, cluster_ip(number), to, patience
    )


def come_and_go(
    plane: ControlPlane, host: Host, number: int, rounds: int, patience: float
) -> tuple[list[float], list[float]]:
    """A service more and less. Its slice is there before and after, as that of a Service without selector may be."""
    plane.request("POST", SLICES, endpoint_slice(number, [OLD]))
    time.sleep(REST)
    new, deleted = [], []
    for _ in range(rounds):
        address = cluster_ip(number)
        new.append(timed(lambda: plane.request("POST", SERVICES, service(number)), host, address, OLD, patience))
        path = f"{SERVICES}/{name_of(number)}"
        deleted.append(timed(lambda: plane.request("DELETE", path), host, address, "", patience))  # noqa: B023
    plane.request("DELETE", f"{SLICES}/{name_of(number)}-1")
    return new, deleted


def cpu_milliseconds(pid: int) -> float:
    """User and system time of a process and its ended children (proc(5), fields 14 to 17)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * 1000 / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())

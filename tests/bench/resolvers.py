"""The DNS part of `make bench`: dnsperf before CoreDNS and before ours, in turns, on the same cores.

    hits        every service once after the other, A
    mix         what ndots:5 brings: 40 % A and 10 % AAAA of services, 10 % SRV, 40 % NXDOMAIN along search paths
    different   names that nobody asks for twice, so that no cache helps

In: a control plane with the services of `bench.crowd` in a namespace. Out: for each server and kind of questions the
seconds for a thousand queries and the CPU of a query, medians of some runs; the mix again while endpoints change;
latencies where a fixed rate is offered, which both can serve, at rest and while endpoints change; memory.
"""

from __future__ import annotations

import itertools
import re
import statistics
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import msgspec

from bench.cost import resident, spent
from peers.build import built
from peers.control_plane import ControlPlane
from peers.core_dns import CoreDNS
from peers.our_dns import svcplane_dns
from support.askers import workers_of
from support.crowd import name_of

COREFILE = """.:{$PORT} {
    bind 127.0.0.1
    ready 127.0.0.1:{$READY_PORT}
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
    }
    loadbalance
    more
}
"""
ZONE = "svc.cluster.local"
ROUNDS = 3
OFFERED = 20_000  # queries a second
CHANGES = 50  # a second
CLIENTS = 16

Row = Callable[[str, str, float, float], None]


class Server(msgspec.Struct, frozen=True):
    """`clients`: how many ask it."""

    port: int
    pid: int
    clients: int


class Measured(msgspec.Struct, frozen=True):
    queries: int
    rate: float
    cpu: float


def resolvers(
    stack: ExitStack,
    plane: ControlPlane,
    namespace: str,
    services: int,
    seconds: int,
    row: Row,
    change: Callable[[int], None],
    processes: int = 1,
) -> None:
    """Prints the rows. `change(n)` changes the endpoints of some service.

    With more than one of `processes` CoreDNS has as many sockets, and CLIENTS ask: the kernel deals clients out.
    """
    kubeconfig = plane.kubeconfig()
    corefile = COREFILE.replace("more", f"multisocket {processes}" if processes > 1 else "")
    peer = stack.enter_context(CoreDNS(built(), plane.folder, kubeconfig=kubeconfig, corefile=corefile))
    own = stack.enter_context(svcplane_dns(plane.folder / "ours", kubeconfig, "--workers", str(processes)))
    clients = 1 if processes == 1 else CLIENTS
    servers = Server(own.address[1], own.process.pid, clients), Server(peer.port, peer.process.pid, clients)
    kinds = {
        "hits": (f"{name_of(number)}.{namespace}.{ZONE} A" for number in range(services)),
        "mix": mix(namespace, services),
        "different": (f"n{number}.{namespace}.{ZONE} A" for number in range(200_000 * seconds)),
    }
    for kind, lines in kinds.items():
        file = plane.folder / f"queries-{kind}"
        file.write_text("".join(f"{line}\n" for line in lines))
        runs = [[measured(server, file, seconds) for server in servers] for _ in range(ROUNDS)]
        ours, theirs = (list(each) for each in zip(*runs, strict=True))
        row(
            f"DNS {kind}",
            "s/1000 queries",
            *(1000 / statistics.median(run.rate for run in each) for each in (ours, theirs)),
        )
        row(
            f"DNS {kind}",
            "CPU µs/query",
            *(1e6 * statistics.median(run.cpu for run in each) for each in (ours, theirs)),
        )
    with changing(change):
        busy = [measured(server, plane.folder / "queries-mix", seconds) for server in servers]
        changed = [latencies(server, plane.folder / "queries-mix", seconds) for server in servers]
    row(f"DNS mix, {CHANGES} changes a second", "s/1000 queries", *(1000 / run.rate for run in busy))
    row(f"DNS mix, {CHANGES} changes a second", "CPU µs/query", *(1e6 * run.cpu for run in busy))
    offered = [latencies(server, plane.folder / "queries-mix", seconds) for server in servers]
    for percent in (50, 99):
        row(f"DNS p{percent} at {OFFERED} a second", "ms", *(1000 * each[percent - 1] for each in offered))
        row(f"DNS p{percent}, also {CHANGES} changes", "ms", *(1000 * each[percent - 1] for each in changed))
    row("DNS memory", "MiB", *(resident(server.pid) for server in servers))


@contextmanager
def changing(change: Callable[[int], None]) -> Iterator[None]:
    """CHANGES a second, if the API server takes so many, until the block ends."""
    stopped = threading.Event()

    def work() -> None:
        for turn in itertools.count():
            change(turn)
            if stopped.wait(1 / CHANGES):
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def mix(namespace: str, services: int) -> Iterator[str]:
    draw = Random(7)  # noqa: S311  # the same questions in every run
    for _ in range(4 * services):
        service = f"{name_of(draw.randrange(services))}.{namespace}.{ZONE}"
        chance = draw.random()
        if chance < 0.4:
            yield f"{service} A"
        elif chance < 0.5:
            yield f"{service} AAAA"
        elif chance < 0.6:
            yield f"_http._tcp.{service} SRV"
        else:
            search = draw.choice((f"{namespace}.{ZONE}", ZONE, "cluster.local"))
            yield f"host-{draw.randrange(1000)}.example.org.{search} {draw.choice(('A', 'AAAA'))}"


def measured(server: Server, queries: Path, seconds: int) -> Measured:
    """As many queries as the server takes."""
    before = used(server.pid)
    shown = dnsperf(server, queries, seconds)
    cpu = (used(server.pid) - before) / 1e3
    completed = number(r"Queries completed:\s+(\d+)", shown)
    return Measured(int(completed), number(r"Queries per second:\s+([\d.]+)", shown), cpu / completed)


def used(pid: int) -> float:
    """Milliseconds of processor time, of workers too."""
    return sum(spent(one).both for one in (pid, *workers_of(pid)))


def latencies(server: Server, queries: Path, seconds: int) -> list[float]:
    """Percentiles in seconds where OFFERED queries a second come."""
    shown = dnsperf(server, queries, seconds, "-Q", str(OFFERED), "-v")
    found = [float(one) for one in re.findall(r"^> \S+ \S+ \S+ ([\d.]+)$", shown, re.MULTILINE)]
    return statistics.quantiles(found, n=100)


def dnsperf(server: Server, queries: Path, seconds: int, *more: str) -> str:
    where = ("-s", "127.0.0.1", "-p", str(server.port), "-c", str(server.clients))
    command = ("dnsperf", *where, "-d", str(queries), "-l", str(seconds), *more)
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
    if not number(r"Queries completed:\s+(\d+)", shown):
        raise AssertionError(f"dnsperf measured nothing:\n{shown[-2000:]}")
    return shown


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise AssertionError(f"dnsperf said something else:\n{text[-2000:]}")
    return float(found[1])

"""Connections while programs are restarted, change their ways, take each other's place, and are disturbed by others.

    python tests/bench/disturbances.py [--size 10000x5] [--flavours nft,legacy] [--only NAME,...] [--json FILE]

Loops open connections to the first, the middle, the last service and to random ones, to a node port from another
machine, and over UDP, one real kube-apiserver behind it all. Printed for each disturbance: connections, those that
failed, the longest time between two good ones of a loop, and the time from the first failed one to the last. Whoever
flushes our rules breaks connections until they are healed; else none may fail. kube-proxy plays what it can of that on
a node of its own. Needs root; asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import report, stage
from bench.crowd import NAMESPACE, SERVICES, SLICES, Crowd, cluster_ip
from bench.loops import Loop, Seen, Way
from peers.control_plane import ControlPlane
from peers.kube_proxy import HEALTHZ_PORT, LAST_TIME, METRICS_PORT
from peers.processes import Process
from peers.reach import HttpServer
from support.crowd import name_of
from support.waiting import eventually
from svcagent import names
from svclab.netns import Host

SIZE = "10000x5"
PATIENCE = 900.0
"""Seconds until a program has written everything: kube-proxy on iptables-nft takes minutes."""
HEALING = 45.0
"""Seconds that a flush is watched at most; kube-proxy looks for its canaries every thirty."""
SETTLED = 40
"""So many good connections of each loop in a row: then all is well again."""
EVERY = "everything"
NODE_PORT, UDP_PORT = 30080, 53
FOREIGN = "*nat\n:THEIRS - [0:0]\n-A PREROUTING -j THEIRS\n-A THEIRS -j RETURN\nCOMMIT\n"
TITLES = ("program", "disturbance", "connections", "failed", "longest gap, ms", "outage, s", "took, s")


@dataclass(frozen=True, slots=True)
class Row:
    """One disturbance; `took` seconds the program was about it, and `healed` is whether all was well at the end."""

    program: str
    name: str
    seen: dict[str, Seen]
    took: float
    healed: bool

    @property
    def tried(self) -> int:
        return sum(each.tried for each in self.seen.values())

    @property
    def failed(self) -> int:
        return sum(each.failed for each in self.seen.values())

    @property
    def outage(self) -> float:
        """Seconds from the first failed connection to the last."""
        hurt = [each for each in self.seen.values() if each.failed]
        return max(each.last_failed for each in hurt) - min(each.first_failed for each in hurt) if hurt else 0.0

    def cells(self) -> tuple[str, ...]:
        gap = max(each.gap for each in self.seen.values())
        outage = f"{'' if self.healed else '> '}{self.outage:.2f}" if self.failed else ""
        return (
            self.program,
            self.name,
            str(self.tried),
            str(self.failed),
            f"{gap * 1e3:.0f}",
            outage,
            f"{self.took:.2f}",
        )


@dataclass(slots=True)
class Playing:
    """One node, what runs on it now, and the loops."""

    plane: ControlPlane
    host: Host
    crowd: Crowd
    loops: list[Loop]
    flavour: str
    told: Callable[[Row], None]
    patience: float = HEALING
    running: Process | None = None
    name: str = ""
    rows: list[Row] = field(default_factory=list)

    def start(self, name: str, *flags: str) -> None:
        """Returns when the program has written everything."""
        self.running = stage.program(self.plane, self.host, name, *flags)
        self.name = name
        self.running.start()
        self.running.wait_until(self.synced, f"{name} has synced", PATIENCE)

    def stop(self, *, kill: bool = False) -> None:
        assert self.running is not None
        if kill:
            self.running.kill()
        else:
            self.running.stop(30.0)

    def text(self, port: int, path: str) -> str:
        return HttpServer("127.0.0.1", port, self.host.name).request("GET", path).body.decode()

    def synced(self) -> bool:
        """Whether every family has synced since that was last asked for; kube-proxy's own words, and the agent's."""
        times = {(bool(queued), family): float(at) for queued, family, at in LAST_TIME.findall(self.metrics())}
        asked = {family: at for (queued, family), at in times.items() if queued and at}
        healthy = HttpServer("127.0.0.1", HEALTHZ_PORT, self.host.name).request("GET", "/healthz").status == 200
        return healthy and "IPv4" in asked and all(times.get((False, each), 0.0) >= at for each, at in asked.items())

    def metrics(self) -> str:
        return self.text(METRICS_PORT, "/metrics")

    def metric(self, name: str) -> float:
        """The sum of a series over its labels."""
        lines = [line for line in self.metrics().splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def iptables(self, *words: str, text: str | None = None, verb: str = "") -> None:
        lock = f"XTABLES_LOCKFILE={self.plane.folder / 'xtables.lock'}"
        self.host.run("env", lock, f"iptables-{self.flavour}{verb}", *words, text=text, seconds=600)

    def play(self, name: str, act: Callable[[], object]) -> Row:
        """Disturbs, and waits until all is well again, or for as long as patience lasts."""
        for each in self.loops:
            each.forget()
        began = time.monotonic()
        act()
        took = time.monotonic() - began
        healed = self.well(self.patience)
        seen = {each.way.name: each.seen(began) for each in self.loops}
        row = Row(self.name, name, seen, took, healed)
        self.rows.append(row)
        self.told(row)
        return row

    def well(self, seconds: float) -> bool:
        began = time.monotonic()
        try:
            eventually(lambda: all(each.good_since(began, SETTLED) for each in self.loops), "connections", seconds)
        except AssertionError:
            return False
        return True

    # what happens

    def restart(self, *flags: str, kill: bool = False) -> None:
        self.stop(kill=kill)
        self.start(self.name, *flags)

    def take_over(self, name: str) -> None:
        self.stop()
        self.start(name)

    def resync(self) -> None:
        """Another zone of the node may choose other endpoints: everything is looked at anew."""
        full = "kubeproxy_sync_full_proxy_rules_duration_seconds_count"
        before = self.metric(full)
        node = self.plane.get("/api/v1/nodes/node")
        node["metadata"].setdefault("labels", {})["topology.kubernetes.io/zone"] = f"zone-{time.monotonic_ns()}"
        self.plane.request("PUT", "/api/v1/nodes/node", node)
        eventually(lambda: self.metric(full) > before and self.synced(), "a full pass", PATIENCE)

    def disturbed(self, act: Callable[[], object]) -> None:
        """What somebody else does; an agent has healed it when it says so."""
        before = self.metric("svcplane_healed_total")
        act()
        if self.name.startswith("agent"):
            eventually(lambda: self.metric("svcplane_healed_total") > before and self.synced(), "healed", PATIENCE)

    def flush_nat(self) -> None:
        self.iptables("-t", "nat", "-F")

    def restore_foreign(self) -> None:
        """As a firewall does that restores a saved state: all that is not in it goes."""
        self.iptables(text=FOREIGN, verb="-restore")

    def flush_ruleset(self) -> None:
        self.host.run("nft", "flush", "ruleset", seconds=600)

    def delete_rule(self) -> None:
        """The last endpoint of the middle service is reached no more: a fifth of its connections find none."""
        port = names.service_port_name(NAMESPACE, name_of(self.crowd.services // 2), "http")
        chain = f"KUBE-SVC-{names.port_hash(port, 'tcp')}"
        rules = self.host.run(f"iptables-{self.flavour}", "-t", "nat", "-S", chain).count("-A ")
        self.iptables("-t", "nat", "-D", chain, str(rules))

    def delete_table(self) -> None:
        for family in ("ip", "ip6"):
            self.host.run("nft", "delete", "table", family, "kube-proxy")


def restarts(now: Playing) -> None:
    now.play("nothing", lambda: time.sleep(2.0))
    now.play("restart, SIGTERM", now.restart)
    now.play("restart, SIGKILL", lambda: now.restart(kill=True))


def resyncs(now: Playing) -> None:
    now.play("full resync", now.resync)


def dispatches(now: Playing) -> None:
    now.play("tree to flat", lambda: now.restart("--dispatch", "flat"))
    now.play("flat to tree", lambda: now.restart("--dispatch", "tree"))
    now.play("tree to flat, killed", lambda: now.restart("--dispatch", "flat", kill=True))
    now.play("flat to tree, killed", lambda: now.restart("--dispatch", "tree", kill=True))


def handovers(now: Playing) -> None:
    """To kube-proxy in iptables mode and back."""
    ours = now.name
    now.play(f"{ours} to kube-proxy", lambda: now.take_over(f"kube-proxy-{now.flavour}"))
    now.play(f"kube-proxy to {ours}", lambda: now.take_over(ours))


def nftables(now: Playing) -> None:
    """To kube-proxy in nftables mode, which removes the agent's rules before it writes its own; and back."""
    ours = now.name
    now.play(f"{ours} to nftables mode", lambda: now.take_over("kube-proxy-nftables"))
    now.play(f"nftables mode to {ours}", lambda: now.take_over(ours))
    now.play("its table deleted", now.delete_table)


def foreign(now: Playing) -> None:
    now.play("one rule deleted", lambda: now.disturbed(now.delete_rule))
    now.play("iptables -t nat -F", lambda: now.disturbed(now.flush_nat))
    now.play("iptables-restore of a foreign nat", lambda: now.disturbed(now.restore_foreign))
    if now.flavour == "nft":
        now.play("nft flush ruleset", lambda: now.disturbed(now.flush_ruleset))


GROUPS: dict[str, Callable[[Playing], None]] = {
    "restarts": restarts,
    "resync": resyncs,
    "dispatch": dispatches,
    "handover": handovers,
    "nftables": nftables,
    "foreign": foreign,
}
PEERS: dict[str, tuple[str, ...]] = {"nft": ("kube-proxy-nftables",), "legacy": ("kube-proxy-legacy",)}


def theirs(now: Playing) -> None:
    """kube-proxy's own: restarts, and what others do to its rules."""
    restarts(now)
    if now.name == "kube-proxy-nftables":
        now.play("nft flush ruleset", now.flush_ruleset)
        return
    now.play("one rule deleted", now.delete_rule)
    now.play("iptables -t nat -F", now.flush_nat)
    now.restart()
    now.well(now.patience)
    now.play("iptables-restore of a foreign nat", now.restore_foreign)


def ways(machine: Host, host: Host, crowd: Crowd) -> list[Way]:
    """From the node itself to cluster IPs, and from the other machine to a node port. `served` makes what is asked."""
    random = Random(3)  # noqa: S311

    def service(number: int) -> tuple[str, int, list[str]]:
        return cluster_ip(number), 80, crowd.addresses(number)

    def fixed(number: int) -> Callable[[], tuple[str, int, list[str]]]:
        return lambda: service(number)

    both = crowd.addresses(_both(crowd))
    last = crowd.services - 1
    return [
        Way("first", host, fixed(0)),
        Way("middle", host, fixed(crowd.services // 2)),
        Way("last", host, fixed(last)),
        Way("random", host, lambda: service(random.randrange(crowd.services))),
        Way("node port", machine, lambda: (stage.NODE, NODE_PORT, both)),
        Way("UDP", host, lambda: (cluster_ip(_both(crowd)), UDP_PORT, both), socket.SOCK_DGRAM),
    ]


def _both(crowd: Crowd) -> int:
    """The number of the service that has a node port, and one port of either protocol."""
    return crowd.services + 2


def serve(plane: ControlPlane, crowd: Crowd) -> None:
    number = _both(crowd)
    ports: list[dict[str, Any]] = [
        {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": NODE_PORT},
        {"name": "dns", "port": UDP_PORT, "protocol": "UDP", "targetPort": 8053, "nodePort": NODE_PORT + 1},
    ]
    metadata = {"name": name_of(number), "namespace": NAMESPACE}
    spec = {"clusterIP": cluster_ip(number), "type": "NodePort", "ports": ports}
    plane.request("POST", SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata | {"labels": {"kubernetes.io/service-name": name_of(number)}},
        "addressType": "IPv4",
        "ports": [{"name": each["name"], "port": each["targetPort"], "protocol": each["protocol"]} for each in ports],
        "endpoints": [{"addresses": [address]} for address in crowd.addresses(number)],
    }
    plane.request("POST", SLICES, slice_)


@contextmanager
def playing(
    machine: Host, plane: ControlPlane, crowd: Crowd, name: str, told: Callable[[Row], None]
) -> Iterator[Playing]:
    """A node on which a program has written everything, and loops that lose nothing."""
    kind = name.rpartition("-")[2]
    with stage.node(machine, plane.folder) as host, ExitStack() as stack:
        for timeout in ("udp_timeout", "udp_timeout_stream"):
            host.sysctl(f"netfilter/nf_conntrack_{timeout}", "1")  # as for TCP: ports come again
        loops = [Loop(way) for way in ways(machine, host, crowd)]
        now = Playing(plane, host, crowd, loops, "legacy" if kind == "legacy" else "nft", told)
        now.start(name)
        stack.callback(now.stop)
        for each in loops:
            stack.enter_context(each)
        if not now.well(60.0):
            raise AssertionError(f"{name}: connections fail before anything is done: {_failing(now)}")
        yield now


def _failing(now: Playing) -> str:
    return ", ".join(each.way.name for each in now.loops if each.seen(0.0).failed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default=SIZE, help="services x endpoints")
    parser.add_argument("--flavours", default="nft,legacy")
    parser.add_argument("--only", default=EVERY, help=f"of {', '.join((*GROUPS, 'peers'))}")
    parser.add_argument("--json", type=Path, help="where the figures go")
    chosen = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    crowd = Crowd(*map(int, chosen.size.split("x")))
    only = (*GROUPS, "peers") if chosen.only == EVERY else chosen.only.split(",")
    rows: list[Row] = []

    def told(row: Row) -> None:
        rows.append(row)
        print("  ".join(row.cells()), flush=True)
        if chosen.json:
            chosen.json.write_text(json.dumps([asdict(each) for each in rows], indent=1))

    with stage.machine() as (machine, plane):
        crowd.populate(plane)
        serve(plane, crowd)
        for flavour in chosen.flavours.split(","):
            with playing(machine, plane, crowd, f"agent-{flavour}", told) as now:
                for group in (each for each in GROUPS if each in only):
                    GROUPS[group](now)
            for peer in PEERS[flavour] if "peers" in only else ():
                with playing(machine, plane, crowd, peer, told) as now:
                    theirs(now)
    print(f"\n{chosen.size}\n{report.text([list(TITLES), *(list(row.cells()) for row in rows)])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

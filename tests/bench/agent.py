"""The agent beside kube-proxy, one after the other, before one real API server: seconds, memory, and what packets meet.

    python tests/bench/agent.py [--sizes 1000x5,10000x5] [--programs agent-nft,...] [--rounds 100] [--seconds 60]
        [--json FILE] [--svg FILE]

Times are those of a packet's sender: from a program's start until every service answers, from a write to the API server
until a new connection lands on the new endpoint, at a new service, or nowhere. Each program has a node of its own and
the machine for itself, but for the API server. What a row holds is said in `bench.report`, which makes the tables and
the plot; --json is written after every row, so that a run that is stopped leaves what it has.
Needs root; asserts nothing but that what was measured was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import plot, report, sender, stage
from bench.cost import peak, resident, spent
from bench.crowd import SERVICES, SLICES, Crowd, Request, cluster_ip, service
from peers.control_plane import ControlPlane
from peers.processes import Process
from support.crowd import name_of
from svclab.netns import Host

SIZES = "100x5,1000x5,10000x5,100x1000,30000x5"
SLOW, SLOW_ENDPOINTS = "kube-proxy-nft", 15_000
"""It takes minutes with more endpoints, and is left out there unless it is named."""
REST = 1.2
"""Every program holds back for a second after a pass; what is timed is a change that comes to a rested one."""
RATE = 50
TOLD = 40.0
"""Milliseconds: the kernel tells user's time from its own by ticks of 4, and with few of them nothing is told."""
FEW = 3


def main() -> int:
    chosen = parsed(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without it
    data: dict[str, Any] = {
        "command": command(chosen),
        "cores": os.cpu_count(),
        "kernel": os.uname().release.partition("-")[0],
        "load": os.getloadavg()[0],
        "rows": [],
    }
    for size in chosen.sizes.split(","):
        crowd = Crowd(*map(int, size.split("x")))
        programs = chosen.programs or tuple(
            name for name in stage.PROGRAMS if name != SLOW or crowd.services * crowd.endpoints <= SLOW_ENDPOINTS
        )
        with stage.machine() as (host, plane):
            began = time.monotonic()
            crowd.populate(plane)
            print(f"\n{size}, written in {time.monotonic() - began:.0f} s, {os.cpu_count()} cores")
            print(report.heading(), flush=True)
            for name in programs:
                data["rows"].append(
                    row := {"size": size, "program": name, **measured(host, plane, crowd, name, chosen)}
                )
                print(report.line(row), flush=True)
                if chosen.json:
                    chosen.json.write_text(json.dumps(data, indent=1) + "\n")
    print(f"\n{report.text(report.packets(data))}\n\n{report.text(report.ratios(data))}")
    if chosen.svg:
        chosen.svg.write_text(plot.svg(data))
    return int(any("error" in row for row in data["rows"]))


def parsed(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default=SIZES, help="services x endpoints, with commas")
    parser.add_argument(
        "--programs",
        type=lambda text: tuple(text.split(",")),
        help=f"of {', '.join(stage.PROGRAMS)}; all, but {SLOW} only up to {SLOW_ENDPOINTS} endpoints",
    )
    parser.add_argument("--rounds", type=int, default=100, help="changes that are timed one by one")
    parser.add_argument("--budget", type=float, default=240.0, help="seconds after which fewer rounds must do")
    parser.add_argument("--seconds", type=int, default=60, help=f"length of the storm of {RATE} changes a second")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds: what takes longer is said to")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--svg", type=Path, help="where a plot goes")
    parser.add_argument("--smoke", action="store_true", help="small and short: does it run at all?")
    chosen = parser.parse_args(argv)
    if chosen.smoke:
        chosen.sizes, chosen.rounds, chosen.seconds, chosen.patience = "60x5", 1, 1, 60.0
        chosen.programs = chosen.programs or ("agent-nft", "kube-proxy-legacy", "kube-proxy-nftables")
    unknown = set(chosen.programs or ()) - set(stage.PROGRAMS)
    if unknown:
        parser.error(f"no such program: {', '.join(sorted(unknown))}")
    return chosen


def command(chosen: argparse.Namespace) -> str:
    """What makes the same figures: without what was not chosen, and without files."""
    usual = parsed([])
    words = [
        f"--{flag} {','.join(value) if isinstance(value, tuple) else value}"
        for flag in ("sizes", "programs", "rounds", "seconds", "patience")
        if (value := getattr(chosen, flag)) != getattr(usual, flag)
    ]
    return " ".join(["python tests/bench/agent.py", *words])


def measured(
    machine: Host, plane: ControlPlane, crowd: Crowd, name: str, effort: argparse.Namespace
) -> dict[str, object]:
    """What could be measured; with "error", where something could not."""
    row: dict[str, object] = {}
    with stage.node(machine, plane.folder) as host, stage.program(plane, host, name) as process:
        try:
            Measuring(plane, host, crowd, process, effort).everything(row)
        except (OSError, AssertionError) as error:
            row["error"] = str(error)
            print(f"{name}: {error}\n{process.log_tail()}", file=sys.stderr)
    return row


@dataclass(frozen=True, slots=True)
class Measuring:
    """One program on one node. Its measurements follow one another; each leaves the program rested."""

    plane: ControlPlane
    host: Host
    crowd: Crowd
    process: Process
    effort: argparse.Namespace

    def everything(self, row: dict[str, object]) -> None:
        for measure in (self.start, self.changes, self.come_and_go, self.packets, self.storm):
            row |= measure()
            if "start_over_s" in row:
                break
        row["peak_mib"] = peak(self.process.pid)

    def start(self) -> dict[str, object]:
        began = time.monotonic()
        self.process.start()
        at = began
        some = Random(1).sample(range(self.crowd.services), min(50, self.crowd.services))  # noqa: S311
        for number in (self.last, 0, *some):
            answered = self.until(number, bool, 1)
            if answered is None:
                return {"start_over_s": self.effort.patience}
            at = max(at, answered)
        self.rest(at - began)
        return {"start_s": at - began}

    def changes(self) -> dict[str, object]:
        taken, costs, sizes = [], [], []
        began = time.monotonic()
        while len(taken) < self.effort.rounds:
            if time.monotonic() - began > self.effort.budget and len(taken) >= FEW:
                break
            before = spent(self.process.pid)
            taken.append(self.change())
            costs.append(spent(self.process.pid) - before)
            sizes.append(resident(self.process.pid))
        median = statistics.median(cost.both for cost in costs)
        # Without those rounds into which something periodic fell: an audit, a collector of garbage.
        usual = [cost for cost in costs if cost.both <= 2 * median + 5]
        cpu, user = (statistics.mean(each) for each in zip(*((cost.both, cost.user) for cost in usual), strict=True))
        return {
            "changes": len(taken),
            "change_p50_ms": report.share(taken, 0.5),
            "change_p99_ms": report.share(taken, 0.99),
            "change_cpu_ms": cpu,
            "change_user_ms": min(cpu, user) if user * len(usual) >= TOLD else None,
            "sharp_ms": self.sharpness(),
            "rss_mib": statistics.median(sizes),
        }

    def change(self) -> float:
        """One endpoint of the last service gives way to another."""
        wanted, changed = self.crowd.changed(self.last)
        path = f"{SLICES}/{name_of(self.last)}-0"
        return self.timed(
            lambda request: request("PUT", path, changed),
            self.last,
            lambda where: self.crowd.change_of(where) >= wanted,
            self.crowd.endpoints,
        )

    def come_and_go(self) -> dict[str, object]:
        """A service more and less. Its slices are there before and after, as those of one without selector may be."""
        new, deleted = [], []
        number = self.crowd.stranger
        path = f"{SERVICES}/{name_of(number)}"
        began = time.monotonic()
        for _ in range(max(1, self.effort.rounds // 10)):
            new.append(self.timed(lambda request: request("POST", SERVICES, service(number)), number, bool, 1))
            deleted.append(self.timed(lambda request: request("DELETE", path), number, lambda where: not where, 1))
            if time.monotonic() - began > self.effort.budget / 2:
                break
        return {"new_ms": statistics.median(new), "deleted_ms": statistics.median(deleted)}

    def packets(self) -> dict[str, object]:
        row: dict[str, object] = {}
        times = min(1000, 100 * self.effort.rounds)
        random = Random(2)  # noqa: S311
        middle = self.crowd.services // 2
        choices = {
            "first": [0] * times,
            "middle": [middle] * times,
            "last": [self.last] * times,
            "random": [random.randrange(self.crowd.services) for _ in range(times)],
        }
        taken, row["lost"] = sender.connects(self.host, choices)
        for name, each in taken.items():
            row[f"{name}_p50_us"], row[f"{name}_p99_us"] = report.share(each, 0.5), report.share(each, 0.99)
        row["kept_per_s"] = sender.kept_requests(self.host, self.crowd.kept, times / 1000)
        return row

    def storm(self) -> dict[str, object]:
        before, began = spent(self.process.pid), time.monotonic()
        storm = sender.Storm(self.plane, self.host, self.crowd)
        taken, missing, rate = storm.run(RATE, self.effort.seconds, self.effort.patience)
        used = (spent(self.process.pid) - before).both / (time.monotonic() - began) / 10
        found: dict[str, object] = {"storm_rate": rate, "storm_cpu_percent": used}
        if missing:
            return found | {"storm_over_ms": self.effort.patience * 1e3}
        return found | {"storm_p50_ms": report.share(taken, 0.5), "storm_p99_ms": report.share(taken, 0.99)}

    @property
    def last(self) -> int:
        return self.crowd.services - 1

    def until(self, number: int, wanted: Callable[[str], bool], burst: int) -> float | None:
        def checked(where: str) -> bool:
            if not self.process.running:
                raise AssertionError("the program has ended")
            return wanted(where)

        return sender.until(self.host, cluster_ip(number), checked, burst, self.effort.patience)

    def timed(self, act: Callable[[Request], object], number: int, wanted: Callable[[str], bool], burst: int) -> float:
        """Milliseconds from before the write to the API server until connections land so."""
        # A connection of its own, made before: one that waits is closed after half a minute.
        with self.plane.session(seconds=60) as request:
            began = time.monotonic()
            act(request)
        at = self.until(number, wanted, burst)
        if at is None:
            raise AssertionError(f"connections to {name_of(number)} do not land so within {self.effort.patience:g} s")
        self.rest(at - began)
        return (at - began) * 1e3

    def sharpness(self) -> float:
        """Milliseconds that the sender itself needs, by the median, to meet one endpoint of a service's."""
        began = time.monotonic()
        with self.host.entered():
            for _ in range(BURSTS):
                sender.landed(cluster_ip(self.last))
        return (time.monotonic() - began) / BURSTS * 1e3 * self.crowd.endpoints * 0.69

    def rest(self, after: float) -> None:
        """`after` seconds of work: what took long may have more to do when its effect is seen."""
        time.sleep(REST + min(5.0, after * 0.2))


BURSTS = 200


if __name__ == "__main__":
    sys.exit(main())

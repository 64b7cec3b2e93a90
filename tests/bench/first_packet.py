"""What a first packet costs with the rules of several programs, which stand side by side: connects take turns.

    python tests/bench/first_packet.py [--sizes 100x5,10000x5] [--programs agent-nft,kube-proxy-nftables,...]

Where a machine has other things to do, figures of two programs can only be compared if they were taken at the same
time, and `bench.agent` takes one after the other. Here each program writes its rules in a node of its own and ends;
then one sender goes from node to node, connects to services at random, and begins anew. Prints microseconds.
Needs root; asserts nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import report, sender, stage
from bench.crowd import Crowd, cluster_ip
from peers.control_plane import ControlPlane
from svclab.netns import Host

SIZES, PROGRAMS = "100x5,10000x5", "agent-nft,agent-legacy,kube-proxy-legacy,kube-proxy-nftables"
BLOCK = 50
"""Connects to one node in a row: what caches hold for it is mostly its own."""
PATIENCE = 600.0
TITLES = ("services x endpoints", "program", "connects", "p10", "p25", "p50", "p90", "p50 / the last program's")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default=SIZES, help="services x endpoints, with commas")
    parser.add_argument("--programs", default=PROGRAMS, help=f"of {', '.join(stage.PROGRAMS)}")
    parser.add_argument("--rounds", type=int, default=100, help=f"turns, each of {BLOCK} connects to every node")
    chosen = parser.parse_args()
    table = [TITLES]
    for size in chosen.sizes.split(","):
        crowd = Crowd(*map(int, size.split("x")))
        with ExitStack() as stack:
            machine, plane = stack.enter_context(stage.machine())
            crowd.populate(plane)
            hosts = {}
            for name in chosen.programs.split(","):
                hosts[name] = stack.enter_context(stage.node(machine, plane.folder, f"to{len(hosts)}"))
                programmed(plane, hosts[name], crowd, name)
                print(f"{size} {name}: written", flush=True)
            table += rows(size, taken(hosts, crowd, chosen.rounds))
    print(f"\n{report.text(table)}")
    return 0


def programmed(plane: ControlPlane, host: Host, crowd: Crowd, name: str) -> None:
    """Lets a program write its rules; they stay."""
    with stage.program(plane, host, name) as process:
        began = time.monotonic()
        process.start()
        for number in (crowd.services - 1, 0, *Random(1).sample(range(crowd.services), min(50, crowd.services))):  # noqa: S311
            if sender.until(host, cluster_ip(number), bool, 1, PATIENCE) is None:
                raise SystemExit(f"{name} has not written the rules of service {number} in {PATIENCE:g} s")
        time.sleep(1.0 + 0.2 * (time.monotonic() - began))  # what it may have to do yet


def taken(hosts: dict[str, Host], crowd: Crowd, rounds: int) -> dict[str, list[float]]:
    """Microseconds of each connect, by program."""
    found: dict[str, list[float]] = {name: [] for name in hosts}
    random = Random(2)  # noqa: S311
    for _ in range(rounds):
        for name, host in hosts.items():
            choice = [random.randrange(crowd.services) for _ in range(BLOCK)]
            found[name] += sender.connects(host, {name: choice})[0][name]
    return found


def rows(size: str, found: dict[str, list[float]]) -> list[tuple[str, ...]]:
    shares = {name: [report.share(each, part) or 0.0 for part in (0.1, 0.25, 0.5, 0.9)] for name, each in found.items()}
    measure = list(shares.values())[-1][2]
    return [
        (size, name, str(len(found[name])), *map(report.number, each), f"{each[2] / measure:.2f}")
        for name, each in shares.items()
    ]


if __name__ == "__main__":
    sys.exit(main())

"""Labs for tests: plans that meet nobody else's, and all that a lab could leave behind.

Names and ranges come from the number of the test's process, so that test runs side by side do not disturb one another.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from svclab.cluster import belongings, topology
from svclab.cluster.plan import Plan, checked

PROGRAM = Path(sys.executable).with_name("svcplane-lab")


def plan_of(tag: str, nodes: int = 2, **more: str) -> Plan:
    """A plan for this process alone; `tag` is one letter."""
    number = (os.getpid() * 26 + ord(tag) - ord("a")) % (64 * 256)
    segment = f"10.{128 + number // 256}.{number % 256}"
    ranges = {"node_cidr": f"{segment}.0/24", "lb_pool": f"{segment}.200-{segment}.210", **more}
    return checked(Plan(name=f"t{os.getpid()}{tag}", nodes=nodes, **ranges))


def lab_command(*words: str, seconds: float = 100.0) -> subprocess.CompletedProcess[str]:
    """`svcplane-lab WORDS`, to its end."""
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=seconds, check=False)


def traces(plan: Plan, folder: Path) -> list[str]:
    """What is there of a lab, as lines: namespaces, link, routes, mounts, processes, files."""
    found = [f"namespace {name}" for name in topology.existing(plan.name)]
    found += [f"link {plan.link}"] if topology.has_link(plan.link) else []
    found += [f"route {each}" for each in topology.machine_view("route show table all") if plan.link in str(each)]
    found += [f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if plan.name in line]
    networks = topology.networks(topology.existing(plan.name))
    found += [f"process {who.pid} by place" for who in belongings.belonging(networks, folder)]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            said = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if (f"SVCPLANE_LAB={plan.name}\0".encode() in said or os.fsencode(folder) in said) and entry.name != "self":
            found.append(f"process {entry.name} by words: {(entry / 'cmdline').read_bytes()[:200]!r}")
    return [*found, f"files in {folder}"] if folder.exists() else found

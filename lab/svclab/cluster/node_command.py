"""`svcplane-lab node stop NAME` is the power switch of a node, not a shutdown; `node start NAME` boots it again.

Off: its daemons and pods end without a word and its network is gone, rules and connections included. What is on its
disk stays, the kubelet's state among it. The cluster finds out by itself.
"""

from __future__ import annotations

import argparse

from svclab.cluster import places, removal, state, supervisor, topology
from svclab.cluster.state import Lab
from svclab.errors import LabError


def configure(parser: argparse.ArgumentParser) -> None:
    places.add_flags(parser)
    parser.add_argument("action", choices=["stop", "start"], help="the power switch: off is no shutdown")
    parser.add_argument("node", metavar="NODE", help="such as node1")


def run(parsed: argparse.Namespace) -> int:
    lab = places.asked(parsed)
    node = parsed.node.removeprefix("node/")
    if node not in lab.plan.node_names:
        raise LabError(f"no node {node!r} in lab {lab.plan.name}; there are {', '.join(lab.plan.node_names)}")
    with state.locked(lab.folder):
        (stop if parsed.action == "stop" else start)(lab, node)
    return 0


def stop(lab: Lab, node: str) -> None:
    """Nothing happens to one that is off already, but for what may be left of it."""
    removal.power_off(lab, node)
    print(f"{node} is off; back with svcplane-lab node start {node}")


def start(lab: Lab, node: str) -> None:
    """LabError if the lab's supervisor does not run: nobody would start the daemons."""
    if not lab.off(node).exists():
        print(f"{node} is on")
        return
    if not supervisor.is_running(lab):
        raise LabError(f"lab {lab.plan.name} has no supervisor: svcplane-lab up --name {lab.plan.name}")
    topology.add_host(lab, node)
    lab.off(node).unlink()
    supervisor.look_again(lab)
    print(f"{node} is on")

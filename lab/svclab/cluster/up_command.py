"""`svcplane-lab up`: a cluster on this machine; what it does as it does it, and what to type next."""

from __future__ import annotations

import argparse
import shutil
import signal

from svclab.cluster import launching, plan, state
from svclab.cluster.bringing_up import bring_up, with_absolute_images
from svclab.cluster.plan import PlanError
from svclab.cluster.state import Lab
from svclab.errors import LabError


def configure(parser: argparse.ArgumentParser) -> None:
    plan.add_flags(parser)
    where = "the lab's folder (default: /var/lib/svcplane-lab/NAME)"
    parser.add_argument("--state", default="", metavar="DIR", help=where)
    parser.add_argument("--keep", action="store_true", help="leave a lab that could not be finished as it is")


def run(parsed: argparse.Namespace) -> int:
    try:
        asked = with_absolute_images(plan.given(parsed))
    except PlanError as error:
        raise LabError(str(error)) from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # removes what it has made, as after Ctrl-C
    try:
        lab, kubectl = bring_up(asked, state.folder_of(asked.get("name", "lab"), parsed.state), _tell, keep=parsed.keep)
    except KeyboardInterrupt:
        raise LabError("interrupted") from None
    for line in next_steps(lab, kubectl):
        _tell(line)
    return 0


def next_steps(lab: Lab, kubectl: str) -> list[str]:
    """What to type now."""
    name = "" if lab.plan.name == "lab" else f" --name {lab.plan.name}"
    name += "" if lab.folder == state.folder_of(lab.plan.name) else f" --state {lab.folder}"
    lab_word = "svcplane-lab" if shutil.which("svcplane-lab") else launching.command("svcplane-lab")
    word = "kubectl" if kubectl and shutil.which("kubectl") == kubectl else kubectl or f"{lab_word} kubectl{name} --"
    node = next(iter(lab.plan.node_names))
    return [
        "",
        f"  export KUBECONFIG={lab.admin_conf}",
        f"  {word} get nodes,pods,services -A",
        f"  {word} create deployment web --image=nginx --replicas={lab.plan.nodes}",
        f"  {word} expose deployment web --port=80 --type=NodePort",
        f"  {lab_word} exec{name} node/{node} -- iptables -t nat -L -n",
        f"  {lab_word} exec{name} outside -- curl -s http://{lab.plan.hosts[node]}:NODEPORT",
        f"  {lab_word} status{name}",
        f"  {lab_word} down{name}",
    ]


def _tell(line: str) -> None:
    print(line, flush=True)

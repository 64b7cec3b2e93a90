"""Which lab a command means, and how to run something at one of its places.

In: a place as people write it. Out: the command's result. Places are `node1` or `node/node1`, `control`, `outside`,
`internet`, `machine`, and `pod/NAMESPACE/NAME` or `pod/NAMESPACE/NAME/CONTAINER`. On a host a command sees the host's
network, name, /run and /etc/resolv.conf; the rest of the file system is this machine's. Refused with LabError: an
unknown place, a node that is switched off, a pod that is not there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from svclab.cluster import placement, state, topology
from svclab.cluster.api import Api, ApiError
from svclab.cluster.placement import NAMESPACES
from svclab.cluster.state import Lab
from svclab.errors import LabError


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say which lab."""
    parser.add_argument("--name", default="lab", metavar="NAME", help="name of the lab (default: lab)")
    where = "the lab's folder (default: /var/lib/svcplane-lab/NAME)"
    parser.add_argument("--state", default="", metavar="DIR", help=where)


def asked(parsed: argparse.Namespace) -> Lab:
    return state.load(parsed.name, parsed.state)


def run_in(
    lab: Lab, place: str, argv: Sequence[str], *, text: str | None = None, seconds: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Runs a command at a place and waits for it. TimeoutExpired (subprocess) after so many seconds."""
    before, words, environment = _way(lab, place, argv)
    # One thread: C code between fork and exec, and nothing here that takes a lock.
    return subprocess.run(
        words, input=text, capture_output=True, text=True, timeout=seconds, check=False,
        env=environment, preexec_fn=before,
    )  # fmt: skip


def replace_with(lab: Lab, place: str, argv: Sequence[str]) -> int:
    """This process becomes the command: its terminal, its signals and its exit status are the command's own."""
    before, words, environment = _way(lab, place, argv)
    if before is not None:
        before()
    sys.stdout.flush()
    try:
        os.execvpe(words[0], words, os.environ if environment is None else environment)  # noqa: S606  # no shell is what we want
    except FileNotFoundError:
        print(f"svcplane-lab: {words[0]}: command not found", file=sys.stderr)
        return 127


def host_of(lab: Lab, place: str) -> str:
    """The host that a place names; "" is this machine. LabError if it is none, or off."""
    name = place.removeprefix("node/")
    if place == "machine":
        return ""
    if name not in (*lab.plan.hosts, "internet", "segment") or (place != name and name not in lab.plan.node_names):
        there = ", ".join((*lab.plan.node_names, "control", "outside", "internet", "machine"))
        raise LabError(f"no place {place!r} in lab {lab.plan.name}; there are {there}, and pod/NAMESPACE/NAME")
    if lab.off(name).exists():
        raise LabError(f"{name} is switched off; svcplane-lab node start {name}")
    if not (NAMESPACES / lab.plan.namespace(name)).exists():
        raise LabError(f"{name} is not there; svcplane-lab up --name {lab.plan.name} repairs it")
    return name


def pod_argv(lab: Lab, namespace: str, name: str, container: str = "") -> list[str]:
    """The beginning of a command line that enters a container; "" is the first one of the pod."""
    try:
        pod = Api(lab).get(f"/api/v1/namespaces/{namespace}/pods/{name}")
    except ApiError as error:
        if error.status == 404:
            raise LabError(f"no pod {name} in namespace {namespace}; svcplane-lab kubectl -- get pods -A") from error
        raise
    node = pod.get("spec", {}).get("nodeName", "")
    if node not in lab.plan.node_names:
        raise LabError(f"pod {namespace}/{name} is on no node of the lab yet")
    from svclab.kubelet.enter import argv_to_enter

    found: list[str] = argv_to_enter(lab.kubelet_root(node), namespace, name, container)
    return found


def _way(
    lab: Lab, place: str, argv: Sequence[str]
) -> tuple[Callable[[], None] | None, list[str], dict[str, str] | None]:
    """What to do in the new process, the command line, and the environment if it is not ours."""
    if place.startswith("pod/"):
        words = place.split("/")[1:]
        if len(words) not in (2, 3) or not all(words):
            raise LabError(f"{place}: write pod/NAMESPACE/NAME or pod/NAMESPACE/NAME/CONTAINER")
        return None, [*pod_argv(lab, *words), *argv], None
    host = host_of(lab, place)
    if not host:
        return None, list(argv), None
    there = topology.place(lab, host)
    environment = {
        **os.environ,
        "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
        "KUBECONFIG": str(lab.admin_conf),
    }
    return (lambda: placement.enter(there)), list(argv), environment

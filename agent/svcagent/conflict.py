"""Another program that programs Services on the same node: what was seen of it, and what ends the conflict.

In: a process by its name and cgroup, or the sign that it left. Out: one sentence for the operator. It guesses nothing:
a process that cannot be seen (another container's, without the host's process IDs) gets the commands that are usual.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

import msgspec

Program: TypeAlias = Literal["kube-proxy", "svcplane-agent"]
MODES = ("iptables", "ipvs", "nftables", "userspace", "kernelspace")
"""What kube-proxy answers at /proxyMode, on whatever system."""
FLAG = "--beside-kube-proxy"

_DELETE = "kubectl -n kube-system delete daemonset kube-proxy"
_POD = re.compile(r"kubepods|/pod[0-9a-f]{8}[-_]")
_UNIT = re.compile(r"/([^/\n]+\.service)(?:/|$)", re.MULTILINE)


class Rival(msgspec.Struct, frozen=True):
    """`sign` is what was seen of it; `pid` is 0 where it cannot be seen, `command` and `cgroup` are "" then."""

    program: Program
    sign: str
    pid: int = 0
    command: str = ""
    cgroup: str = ""


def sentence(rival: Rival) -> str:
    """What is there, and how to end it."""
    process = f" (process {rival.pid}, {rival.command})" if rival.pid else ""
    what = "another svcplane-agent" if rival.program == "svcplane-agent" else rival.program
    return (
        f"{what} is at work on this node: {rival.sign}{process}; "
        f"two programs on the same chains undo each other's rules: {remedy(rival)} (or go on all the same with {FLAG})"
    )


def remedy(rival: Rival) -> str:
    """The command that ends the conflict, as the operator would type it."""
    if rival.command.startswith("k3s"):
        return "start k3s with --disable-kube-proxy"
    if _POD.search(rival.cgroup):
        return f"remove it with `{_DELETE}`" if rival.program == "kube-proxy" else "delete its DaemonSet or this one"
    unit = _UNIT.search(rival.cgroup)
    if unit and not unit[1].startswith("user@"):
        return f"stop it with `systemctl disable --now {unit[1]}`"
    if rival.pid:
        return f"stop it with `kill {rival.pid}`"
    if rival.program == "kube-proxy":
        return f"remove it with `{_DELETE}`, or as a service of the host with `systemctl disable --now kube-proxy`"
    return "stop one of the two"

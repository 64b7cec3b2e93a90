"""A pod's sandbox: a process that does nothing but hold its network, ipc and host name namespaces, and its cable.

In: a Pod and its addresses. Out: a `Sandbox` behind a gate; taken down again by killing the process, with which the
namespaces, the cable and the addresses go. Nothing is mounted and no namespace has a name: nothing can be left over.
"""

from __future__ import annotations

import hashlib
import signal
from contextlib import suppress
from pathlib import Path

from svclab import netns
from svclab.kubelet import syscalls
from svclab.kubelet.containers import Launched, paused
from svclab.kubelet.deaths import ended
from svclab.kubelet.pods import Pod, Sandbox
from svclab.kubelet.resolution import host_name
from svclab.processes import signalled

END_SECONDS = 5.0

# What containerd sets for pods: programs without root may open ports below 1024, and ping.
_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}


def sandbox(pod: Pod, addresses: tuple[str, ...], node: str) -> tuple[Sandbox, Launched]:
    """Makes it, up to the gate. Raises OSError or LaunchError; then nothing of it is left."""
    spec = pod.body["spec"]
    flags = 0 if spec.get("hostIPC") else syscalls.CLONE_NEWIPC
    flags |= 0 if pod.host_network else syscalls.CLONE_NEWNET | syscalls.CLONE_NEWUTS
    name = node if pod.host_network else host_name(pod.body)
    own = {one["name"]: str(one["value"]) for one in (spec.get("securityContext") or {}).get("sysctls") or []}

    def prepare() -> None:
        if not pod.host_network:
            for key, value in {**_SYSCTLS, **own}.items():
                _sysctl(key, value, must=key in own)

    held = paused(flags, name, prepare, bool(spec.get("shareProcessNamespace")))
    interface = "" if pod.host_network else interface_of(pod.uid)
    try:
        if interface:
            netns.hang_pod(held.shim.pid, interface, *addresses)
    except Exception:
        signalled(held.init, signal.SIGKILL)
        signalled(held.shim, signal.SIGKILL)
        raise
    return Sandbox(held.shim, held.init, addresses, interface), held


def interface_of(uid: str) -> str:
    """The node's end of the pod's cable: ours by its beginning, at most 15 characters."""
    return f"svcp{hashlib.sha256(uid.encode()).hexdigest()[:10]}"


def dissolve(found: Sandbox) -> None:
    """Ends the process; returns when it and the cable are gone."""
    if found.interface:
        netns.remove_link(found.interface)  # now, and not when the kernel gets to the dead namespace
    for process in (found.init, found.pause):
        signalled(process, signal.SIGKILL)
        ended(process, END_SECONDS)


def _sysctl(name: str, value: str, *, must: bool) -> None:
    path = Path("/proc/sys") / name.replace(".", "/")
    if must:
        path.write_text(value)
        return
    with suppress(OSError):
        path.write_text(value)

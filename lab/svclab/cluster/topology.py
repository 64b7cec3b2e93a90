"""Makes the hosts of a lab and their cables, and removes them: `ip` with the lines of `wiring`.

In: a lab. Out: network namespaces called svcp-LAB-HOST, and one interface on this machine. What is there and complete
is left alone, so `build` also repairs. LabError says what `ip` said. Removing a namespace removes its links and rules;
its processes must have ended before.

The machine's own namespace gets one interface, its address and the routes to the load balancer addresses, no rule and
no setting. `ip netns` mounts a folder the first time it is used on a machine; if that was here, it is unmounted again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from svclab.cluster import placement, wiring
from svclab.cluster.placement import NAMESPACES, Place
from svclab.cluster.plan import UPSTREAM_DNS, Plan
from svclab.cluster.state import Lab, write
from svclab.cluster.wiring import Wiring
from svclab.errors import LabError

MOUNTED = "netns-mounted"  # a file in the lab's folder: the mount of /run/netns is ours


def build(lab: Lab) -> None:
    """Everything that is not there yet; a node that is switched off stays away."""
    NAMESPACES.parent.mkdir(exist_ok=True)
    if not is_mounted(NAMESPACES):
        (lab.folder / MOUNTED).touch()
    plan = lab.plan
    if not _has_address(plan.namespace("segment"), wiring.BRIDGE, plan.router):
        for namespace in plan.namespaces:  # their cables end in the old segment
            _remove_namespace(namespace)
        _remove_link(plan.link)
        _lay(wiring.segment(plan))
    if not _has_address(plan.namespace("internet"), "eth0", wiring.INTERNET_HOST):
        _replace(lab, "internet")
    for name in plan.hosts:
        if not lab.off(name).exists() and not _has_address(plan.namespace(name), "eth0", plan.hosts[name]):
            _replace(lab, name)
    if not _has_address("", plan.link, plan.machine):
        _remove_link(plan.link)
        here, there = wiring.machine(plan)
        _ip("", here)
        _ip(plan.namespace("segment"), there)


def add_host(lab: Lab, name: str) -> None:
    """A host and its cable, as after power-on."""
    _replace(lab, name)


def remove_host(plan: Plan, name: str) -> None:
    """As after power-off: its addresses, routes, rules and connections are gone."""
    _remove_namespace(plan.namespace(name))


def remove(plan: Plan, folder: Path) -> None:
    """Every namespace and link of the lab, whether it was finished or not."""
    for namespace in existing(plan.name):
        _remove_namespace(namespace)
    _remove_link(plan.link)
    if (folder / MOUNTED).exists() and NAMESPACES.is_dir() and not any(NAMESPACES.iterdir()):
        with suppress(LabError, OSError):  # somebody made a namespace just now
            unmount(NAMESPACES)
            NAMESPACES.rmdir()


def existing(name: str) -> list[str]:
    """Network namespaces of the lab of this name. Names of labs have no dash, so none is the beginning of another."""
    found = NAMESPACES.iterdir() if NAMESPACES.is_dir() else ()
    return sorted(path.name for path in found if path.name.startswith(f"svcp-{name}-"))


def networks(namespaces: Iterable[str]) -> set[tuple[int, int]]:
    """Device and inode of those that exist, as /proc/PID/ns/net has them."""
    found = set()
    for namespace in namespaces:
        with suppress(FileNotFoundError):
            seen = os.stat(NAMESPACES / namespace)
            found.add((seen.st_dev, seen.st_ino))
    return found


def place(lab: Lab, host: str) -> Place:
    folder = lab.host(host)
    return Place(lab.plan.namespace(host), host, folder / "run", folder / "resolv.conf")


def lead_pool(plan: Plan, host: str, address: str) -> None:
    """Routes of `host` ("" is this machine) to the load balancer addresses, by way of a node's address."""
    _ip(plan.namespace(host) if host else "", wiring.pool_routes(plan, address))


def is_mounted(folder: Path) -> bool:
    """Also where it is mounted on itself, as `ip netns` does, which os.path.ismount does not see. From proc(5)."""
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return str(folder.resolve()) in points


def unmount(folder: Path) -> None:
    _must(["umount", "-n", str(folder)])


def machine_view(what: str) -> list[dict[str, Any]]:
    """What `ip -j WHAT` says of this machine."""
    done = subprocess.run(["ip", "-j", "-4", *what.split()], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip {what}: {done.stderr.strip()}")
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found


def _replace(lab: Lab, name: str) -> None:
    plan = lab.plan
    _remove_namespace(plan.namespace(name))
    with suppress(LabError):  # it goes with its other end, but perhaps only in a moment
        _ip(plan.namespace("segment"), (f"link delete {name}",))
    folder = lab.host(name)
    shutil.rmtree(folder / "run", ignore_errors=True)
    (folder / "run").mkdir(parents=True)
    write(folder / "resolv.conf", f"nameserver {UPSTREAM_DNS}\n", 0o644)
    _lay(wiring.internet(plan) if name == "internet" else wiring.host(plan, name), plan.namespace("segment"))


def _lay(one: Wiring, segment: str = "") -> None:
    _must(["ip", "netns", "add", one.namespace])
    with placement.network(one.namespace):
        for path, value in one.settings.items():
            with suppress(FileNotFoundError):  # no IPv6 here, or no bridge netfilter: then there is nothing to set
                Path("/proc/sys/net", path).write_text(value)
    if one.plug:
        _ip(segment, one.plug)
    _ip(one.namespace, one.lines)


def _has_address(namespace: str, interface: str, address: str) -> bool:
    inside = ["-n", namespace] if namespace else []
    done = subprocess.run(
        ["ip", *inside, "-j", "address", "show", "dev", interface], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return False
    links = json.loads(done.stdout or "[]")
    return any(
        "UP" in link.get("flags", ()) and any(each.get("local") == address for each in link.get("addr_info", ()))
        for link in links
    )


def _remove_namespace(namespace: str) -> None:
    if (NAMESPACES / namespace).exists():
        _must(["ip", "netns", "delete", namespace])


def has_link(name: str) -> bool:
    """Does this machine have an interface of this name?"""
    return Path("/sys/class/net", name).exists()


def _remove_link(name: str) -> None:
    if has_link(name):
        with suppress(LabError):  # its other end's namespace is being removed at this moment
            _must(["ip", "link", "delete", name])


def _ip(namespace: str, lines: Iterable[str]) -> None:
    inside = ["-n", namespace] if namespace else []
    _must(["ip", *inside, "-batch", "-"], "".join(f"{line}\n" for line in lines))


def _must(argv: Sequence[str], text: str = "") -> None:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split())
        raise LabError(f"{' '.join(argv)}: {said}" + (f" (lines: {text!r})" if text else ""))

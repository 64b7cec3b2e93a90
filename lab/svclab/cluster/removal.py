"""Ends and removes a lab, or one node of it, in whatever state it is.

In: a name and a folder. Out: nothing of it is left: processes, namespaces, links, routes, mounts, files. Ended is what
the lab wrote down (pid and start time), what its kubelets wrote down, and what lives in its network namespaces, has one
of its folders mounted, or was begun with its name in the environment. Removed are namespaces called svcp-NAME-…, the
lab's one interface, and its folder. Nothing else is touched. LabError if a process does not end.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from svclab import processes
from svclab.cluster import belongings, launching, topology
from svclab.cluster.daemons import daemons
from svclab.cluster.state import ROOT, Lab
from svclab.errors import LabError
from svclab.identity import Identity


def remove(lab: Lab) -> None:
    """The whole lab. Its supervisor first, or it would start again what is ended."""
    _end(lab, _recorded(lab, ["supervisor"]))
    _end(lab, _recorded(lab, [each.name for each in daemons(lab.plan, str(lab.folder))]))
    for node in lab.plan.node_names:
        _end_pods(lab, node)
    _end_all(lab, lambda: unrecorded(lab.plan.name, lab.folder))
    topology.remove(lab.plan, lab.folder)
    _unmount_below(lab.folder)
    with suppress(FileNotFoundError):
        shutil.rmtree(lab.folder)
    if lab.folder.parent == ROOT:
        with suppress(OSError):  # another lab is there
            ROOT.rmdir()


def unrecorded(name: str, folder: Path) -> list[Identity]:
    """Every process that belongs to the lab of this name, whoever wrote it down."""
    networks = topology.networks(topology.existing(name))
    return belongings.belonging(networks, folder, f"{launching.VARIABLE}={name}")


def power_off(lab: Lab, node: str) -> None:
    """The node's processes and pods end at once, its network goes; what is on its disk stays."""
    lab.off(node).touch()
    _end(lab, _recorded(lab, [each.name for each in daemons(lab.plan, str(lab.folder)) if each.node == node]))
    _end_pods(lab, node)
    network = topology.networks([lab.plan.namespace(node)])
    _end_all(lab, lambda: belongings.belonging(network, lab.host(node)))
    topology.remove_host(lab.plan, node)


def _recorded(lab: Lab, names: Iterable[str]) -> list[Identity]:
    records = (launching.recorded(lab, name) for name in names)
    return [record.who for record in records if record is not None]


def _end_pods(lab: Lab, node: str) -> None:
    root = lab.kubelet_root(node)
    if root.is_dir():
        from svclab.kubelet.teardown import end_everything

        end_everything(root)


def _end_all(lab: Lab, find: Callable[[], list[Identity]]) -> None:
    """What nobody wrote down: commands that somebody runs there, and what a daemon began just before it was killed."""
    for _ in range(5):  # one that forks while we look has children that we have not seen
        found = find()
        if not found:
            return
        processes.end(found)
    raise LabError(f"processes {[who.pid for who in found]} of lab {lab.plan.name} do not end; try again")


def _end(lab: Lab, whom: list[Identity]) -> None:
    if left := processes.end(whom):
        raise LabError(f"processes {[who.pid for who in left]} of lab {lab.plan.name} do not end; try again")


def _unmount_below(folder: Path) -> None:
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed(mounts):
        if Path(mount).is_relative_to(folder):
            topology.unmount(Path(mount))

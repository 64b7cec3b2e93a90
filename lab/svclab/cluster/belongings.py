"""Which processes belong to a lab, though nobody wrote them down: by network, by mounts, by how they began."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from svclab.identity import Identity
from svclab.processes import identity


def belonging(networks: Collection[tuple[int, int]], folder: Path, variable: str = "") -> list[Identity]:
    """Processes in one of these network namespaces, with mounts out of a folder, or begun with `NAME=value`.

    A namespace is given as (device, inode) of its file. Mounts find pods: their network is their own, but their mount
    namespace comes from their node's, whose /run lies in the lab's folder. Processes that share our own mount namespace
    are not looked at for that: there nothing of the lab is mounted. The variable finds a supervisor.
    """
    device, path = _in_its_file_system(folder)
    ours = os.stat("/proc/self/ns/mnt").st_ino
    found = []
    for entry in os.listdir("/proc"):
        with suppress(OSError):
            if not entry.isdecimal():
                continue
            network = os.stat(f"/proc/{entry}/ns/net")
            within = (network.st_dev, network.st_ino) in networks or (
                os.stat(f"/proc/{entry}/ns/mnt").st_ino != ours and _mounts(entry, device, path)
            )
            within = within or (variable != "" and _began_with(entry, variable))
            if within and (who := identity(int(entry))) is not None:
                found.append(who)
    return found


def _began_with(pid: str, variable: str) -> bool:
    return variable.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def _mounts(pid: str, device: str, path: str) -> bool:
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        words = line.split(" ", 4)
        if words[2] == device and (words[3] == path or words[3].startswith(f"{path}/")):
            return True
    return False


def _in_its_file_system(folder: Path) -> tuple[str, str]:
    """Its device as `major:minor`, and its path from the root of the file system that holds it: proc(5), mountinfo."""
    best = ("", "", "/")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        _, _, device, root, target, _ = line.split(" ", 5)
        if folder.is_relative_to(target) and len(target) >= len(best[2]):
            best = (device, root, target)
    device, root, target = best
    return device, str(Path(root) / folder.relative_to(target))

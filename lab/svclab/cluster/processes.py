"""Processes by pid and start time: to find one again, to know that it has ended, to end it and no other.

In: pids. Out: identities that hold over a restart of whoever wrote them down; a pid alone may be somebody else's by
then. Signals go through a pidfd, which cannot change its process under us. From /proc; see proc(5), pidfd_open(2).
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec


class Identity(msgspec.Struct, frozen=True):
    """`started` is in clock ticks since boot, `boot` the kernel's id of that boot."""

    pid: int
    started: int
    boot: str


def identity(pid: int) -> Identity | None:
    """Who has this pid now; None if nobody has, or only a zombie."""
    try:
        # The name in brackets may hold anything; the fields after it are state, ppid, ..., the 20th is the start.
        rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None if rest[0] in "ZX" else Identity(pid, int(rest[19]), boot)


def lives(who: Identity) -> bool:
    return identity(who.pid) == who


def seconds_lived(who: Identity) -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) - who.started / os.sysconf("SC_CLK_TCK")


def watched(who: Identity) -> int | None:
    """A pidfd, readable when the process ends; None if it has ended."""
    try:
        descriptor = os.pidfd_open(who.pid)
    except ProcessLookupError:
        return None
    if lives(who):
        return descriptor
    os.close(descriptor)
    return None


def end(processes: Iterable[Identity], seconds: float = 10.0) -> list[Identity]:
    """SIGKILL to all of them, at once; returns those that did not end in time."""
    poll, left = select.poll(), {}
    for who in processes:
        descriptor = watched(who)
        if descriptor is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            left[descriptor] = who
            poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + seconds
    while left and (wait := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(wait * 1000):
            poll.unregister(descriptor)
            os.close(descriptor)
            del left[descriptor]
    for descriptor in left:
        os.close(descriptor)
    return list(left.values())


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

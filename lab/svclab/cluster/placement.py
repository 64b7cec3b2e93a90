"""Puts the calling process onto a host of the lab: its network, its name, its own /run and /etc/resolv.conf.

In: a `Place`. Out: nothing; from then on this process, and what it starts, is there. What is mounted is seen by nobody
else: the mount namespace is new and a slave of ours, so mounts of the machine arrive in it and none of its own leave.
/run is a folder of the lab, the same for all that run on a host: they share the lock of iptables (/run/xtables.lock)
with one another and not with the machine.

By system calls: starting nsenter, unshare and sh for each daemon would cost more than the daemon's own fork.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from svclab.kubelet import syscalls
from svclab.kubelet.syscalls import CLONE_NEWNS, CLONE_NEWUTS, MS_BIND, MS_REC

MS_SLAVE = 1 << 19
NAMESPACES = Path("/run/netns")  # where `ip netns` keeps them


class Place(msgspec.Struct, frozen=True):
    """A host of the lab. `run` and `resolv_conf` are the folder and the file to be mounted."""

    namespace: str
    hostname: str
    run: Path
    resolv_conf: Path


def enter(place: Place) -> None:
    """Moves this process; it must have one thread. OSError names what could not be done."""
    syscalls.enter(str(NAMESPACES / place.namespace))
    syscalls.unshare(CLONE_NEWNS | CLONE_NEWUTS)
    syscalls.mount("", "/", flags=MS_REC | MS_SLAVE)
    syscalls.set_host_name(place.hostname)
    syscalls.mount(str(place.run), "/run", flags=MS_BIND)
    target = Path(os.path.realpath("/etc/resolv.conf"))
    if target.is_relative_to("/run"):  # a link into /run, as systemd-resolved has it: that is our own folder now
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    if target.exists():
        syscalls.mount(str(place.resolv_conf), str(target), flags=MS_BIND)


@contextmanager
def network(namespace: str) -> Iterator[None]:
    """The calling thread works in this network namespace meanwhile: sockets made here stay here."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.enter(str(NAMESPACES / namespace))
        yield
    finally:
        syscalls.enter(f"/proc/thread-self/fd/{before}")
        os.close(before)

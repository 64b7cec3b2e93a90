"""The kernel calls that Python 3.11 does not have: namespaces, mounts, host name. Linux only.

All of them act on the calling thread. Every failure is an OSError that names the call and its object.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_PRIVATE = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Gives the calling thread namespaces of its own; unshare(2)."""
    _check(_libc.unshare(ctypes.c_int(flags)), f"unshare {flags:#x}")


def enter(path: str) -> None:
    """Moves the calling thread into the namespace at a path such as /proc/PID/ns/net; setns(2)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(0)), f"setns {path}")
    finally:
        os.close(descriptor)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    words = [os.fsencode(word) if word else None for word in (source, target, kind)]
    data = os.fsencode(options) if options else None
    _check(_libc.mount(*words, ctypes.c_ulong(flags), data), f"mount {source or kind} on {target}")


def set_host_name(name: str) -> None:
    coded = os.fsencode(name)
    _check(_libc.sethostname(coded, ctypes.c_size_t(len(coded))), f"sethostname {name}")


def mount_points() -> list[tuple[str, str]]:
    """Path and file system type of every mount that the calling thread sees, parents first."""
    found = []
    for line in Path("/proc/thread-self/mountinfo").read_text().splitlines():
        head, _, tail = line.partition(" - ")
        path = head.split(" ")[4].encode().decode("unicode_escape")
        found.append((path, tail.split(" ")[0]))
    return found


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")

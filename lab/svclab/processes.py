"""Processes by pid and start time: to find one again, to know that it has ended, to end it and no other.

In: pids. Out: identities that hold over a restart of whoever wrote them down; a pid alone may be somebody else's by
then. Signals go through a pidfd, which cannot change its process under us. From /proc; see proc(5), pidfd_open(2).
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from svclab.identity import Identity


def born(pid: int) -> Identity:
    """Who has this pid now, dead and not yet waited for included. Raises OSError if nobody has."""
    return _read(pid)[0]


def identity(pid: int) -> Identity | None:
    """Who has this pid now; None if nobody has, or only a zombie."""
    try:
        who, state = _read(pid)
    except OSError:
        return None
    return None if state in "ZX" else who


def _read(pid: int) -> tuple[Identity, str]:
    # The name in brackets may hold anything; the fields after it are state, ppid, ..., the 20th is the start.
    rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Identity(pid, int(rest[19]), _boot()), rest[0]


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def lives(who: Identity) -> bool:
    return identity(who.pid) == who


def seconds_lived(who: Identity) -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) - who.started / os.sysconf("SC_CLK_TCK")


def opened(pid: int) -> int | None:
    """A pidfd, readable when the process ends; None if no process has this pid."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        # A thread's, or that of a session whose leader has ended; EINVAL says so before Linux 6.15, ENOENT after it.
        if error.errno not in (errno.ESRCH, errno.ENOENT, errno.EINVAL):
            raise
        return None


def watched(who: Identity) -> int | None:
    """A pidfd, readable when the process ends; None if it has ended."""
    descriptor = opened(who.pid)
    if descriptor is None:
        return None
    if lives(who):
        return descriptor
    os.close(descriptor)
    return None


def signalled(who: Identity, number: signal.Signals) -> bool:
    """Sends a signal; False if the process is gone."""
    descriptor = watched(who)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


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

"""Processes that outlive the kubelet: found again by number and start time, watched by pidfd, ended by signal.

In: pids. Out: `Process` values, signals sent to the right process or to none, and from `Deaths` a call when a watched
process has ended. A process that was reused is never touched: its start time differs.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from svclab.kubelet.pods import Process


def identified(pid: int) -> Process:
    """The process that has this number now. Raises OSError if there is none."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return Process(pid, int(text.rpartition(")")[2].split()[19]))


def alive(process: Process) -> bool:
    """Is it there, and no zombie?"""
    try:
        words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return int(words[19]) == process.began and words[0] not in "ZX"


def opened(process: Process) -> int | None:
    """A pidfd, None if the process is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return None
    if alive(process):
        return descriptor
    os.close(descriptor)
    return None


def signalled(process: Process, number: signal.Signals) -> bool:
    """Sends a signal; False if the process is gone."""
    descriptor = opened(process)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def child_of(pid: int) -> int | None:
    """The first child of a process, None if it has none."""
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(words[0]) if words else None


def ended(process: Process, seconds: float) -> bool:
    """Waits for a process to end; False if it has not within so many seconds."""
    descriptor = opened(process)
    if descriptor is None:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        _reap(descriptor)
        os.close(descriptor)


class Deaths:
    """Calls back, from a thread of its own, when a watched process has ended. Reaps it if it is our child."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._called: dict[int, Callable[[], None]] = {}
        self._thread = threading.Thread(target=self._wait, name="deaths", daemon=True)
        self._thread.start()

    def watch(self, process: Process, call: Callable[[], None]) -> None:
        """At once, if it is gone already."""
        descriptor = opened(process)
        if descriptor is None:
            with suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
            call()
            return
        self._called[descriptor] = call
        self._epoll.register(descriptor, select.EPOLLIN)

    def _wait(self) -> None:
        while True:
            for descriptor, _ in self._epoll.poll():
                call = self._called.pop(descriptor)
                self._epoll.unregister(descriptor)
                _reap(descriptor)
                os.close(descriptor)
                call()


def _reap(descriptor: int) -> None:
    with suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)

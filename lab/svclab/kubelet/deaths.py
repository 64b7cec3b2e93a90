"""The ends of processes that the kubelet started, and of those that it found: watched by pidfd, reaped if ours.

In: identities. Out: `ended`, or from `Deaths` a call.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from svclab.identity import Identity
from svclab.processes import watched


def child_of(pid: int) -> int | None:
    """The first child of a process, None if it has none."""
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(words[0]) if words else None


def ended(process: Identity, seconds: float) -> bool:
    """Waits for a process to end; False if it has not within so many seconds."""
    descriptor = watched(process)
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

    def watch(self, process: Identity, call: Callable[[], None]) -> None:
        """At once, if it is gone already."""
        descriptor = watched(process)
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

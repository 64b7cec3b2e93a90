"""Keeps the daemons of a lab running. One loop, which sleeps until a daemon ends, a start is due or a signal comes.

In: a lab. Out: each daemon runs, once. A daemon that ends is started again as `restarts` says. Daemons are processes of
their own: they outlive a supervisor that dies, and the next one finds them by their records and watches them by pidfd,
which works for other people's children too. Refused: a second supervisor of the same lab.

SIGHUP: look again at which nodes are switched off, and start what is due without waiting. `up` sends it, too, when a
new API server answers: until then those that need it wait, and what they import is imported. SIGTERM: end, and leave
the daemons alone.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import signal
import time
from contextlib import suppress

from svckube.observe import fields
from svclab import processes
from svclab.cluster import launching, restarts
from svclab.cluster.daemons import Daemon, daemons
from svclab.cluster.restarts import History
from svclab.cluster.state import Lab
from svclab.errors import LabError

PATIENCE = 3.0  # seconds for a new API server to answer, if nobody tells

_log = logging.getLogger(__name__)


class Supervisor:
    """`run` returns after SIGTERM."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._daemons = {each.name: each for each in daemons(lab.plan, str(lab.folder))}
        self._histories: dict[str, History] = {}
        self._watched: dict[int, tuple[str, int]] = {}
        self._poll = select.poll()
        self._stopping = False

    def run(self) -> None:
        lock = os.open(self._lab.folder / "supervisor.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(f"lab {self._lab.plan.name} has a supervisor already") from None
        woken = self._take_signals()
        launching.record_self(self._lab, "supervisor")
        for daemon in self._daemons.values():
            self._adopt(daemon)
        self._start_what_is_due()
        self._import_all()
        while not self._stopping:
            for descriptor, _ in self._poll.poll(self._start_what_is_due() * 1000):
                if descriptor == woken:
                    self._obey(os.read(woken, 64))
                else:
                    self._note_end(descriptor)

    def _take_signals(self) -> int:
        """The descriptor on which signals arrive as bytes."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)  # a handler of any kind, or the byte is not written
        self._poll.register(reading, select.POLLIN)
        return reading

    def _obey(self, signals: bytes) -> None:
        if set(signals) & {signal.SIGTERM, signal.SIGINT}:
            self._stopping = True
        elif signal.SIGHUP in signals:
            now = time.monotonic()
            for name, history in self._histories.items():
                if history.next is not None:
                    self._histories[name] = History(restarts=history.restarts, next=now)

    def _adopt(self, daemon: Daemon) -> None:
        record = launching.running(self._lab, daemon.name)
        if record is None:
            known = launching.recorded(self._lab, daemon.name)
            patience = PATIENCE if daemon.needs_api and "apiserver" not in self._names_watched() else 0.0
            due = time.monotonic() + patience
            self._histories[daemon.name] = History(restarts=known.restarts + 1 if known else 0, next=due)
        elif self._watch(daemon.name, record.who.pid):
            self._histories[daemon.name] = restarts.resumed(record.restarts, time.monotonic())
            _log.info("found running", extra=fields(daemon=daemon.name, pid=record.who.pid))

    def _names_watched(self) -> set[str]:
        return {name for name, _ in self._watched.values()}

    def _import_all(self) -> None:
        for daemon in self._daemons.values():
            with suppress(Exception):  # it is told when the daemon is started
                launching.imported(daemon)

    def _start_what_is_due(self) -> float:
        """Starts it; the seconds until the next start, or -0.001 (for ever) if none is planned."""
        soonest: float | None = None
        for name, history in self._histories.items():
            if history.next is None or self._is_off(self._daemons[name]):
                continue
            now = time.monotonic()
            if history.next <= now:
                self._start(self._daemons[name], now)
            elif soonest is None or history.next < soonest:
                soonest = history.next
        return -0.001 if soonest is None else max(soonest - time.monotonic(), 0.0)

    def _start(self, daemon: Daemon, now: float) -> None:
        history = restarts.started(self._histories[daemon.name], now)
        self._histories[daemon.name] = history
        try:
            pid = launching.start(self._lab, daemon, history.restarts)
        except Exception:
            _log.exception("daemon cannot be started", extra=fields(daemon=daemon.name))
            pid = 0
        if not pid or not self._watch(daemon.name, pid):
            self._histories[daemon.name] = restarts.ended(history, time.monotonic())

    def _watch(self, name: str, pid: int) -> bool:
        descriptor = processes.opened(pid)
        if descriptor is None:
            return False
        self._watched[descriptor] = (name, pid)
        self._poll.register(descriptor, select.POLLIN)
        return True

    def _note_end(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        os.close(descriptor)
        name, pid = self._watched.pop(descriptor)
        how = "unknown"
        with suppress(ChildProcessError):  # adopted: its parent is whoever takes orphans here
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            how = f"exit status {code}" if code >= 0 else signal.Signals(-code).name
        self._histories[name] = restarts.ended(self._histories[name], time.monotonic())
        if not self._is_off(self._daemons[name]):
            _log.warning("daemon ended", extra=fields(daemon=name, pid=pid, how=how, log=self._lab.log(name)))

    def _is_off(self, daemon: Daemon) -> bool:
        return bool(daemon.node) and self._lab.off(daemon.node).exists()


def is_running(lab: Lab) -> bool:
    return launching.running(lab, "supervisor") is not None


def look_again(lab: Lab) -> None:
    """SIGHUP to the lab's supervisor. LabError if there is none."""
    record = launching.running(lab, "supervisor")
    descriptor = processes.watched(record.who) if record is not None else None
    if descriptor is None:
        raise LabError(f"the supervisor of lab {lab.plan.name} does not run: svcplane-lab up --name {lab.plan.name}")
    signal.pidfd_send_signal(descriptor, signal.SIGHUP)
    os.close(descriptor)

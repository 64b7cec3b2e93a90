"""Real programs as child processes of the test session.

In: an argv, a log file, a namespace. Out: a process that can be awaited, stopped, killed, frozen and started again.
Everything is done by the pid that we started; a child dies with the session, `kill -9` included (PR_SET_PDEATHSIG,
which the kernel ties to the *thread* that started it: start from one that lives as long as the process shall).
Refuses to start twice. A failure shows the end of the log.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from support.waiting import eventually

T = TypeVar("T")

LOG_LINES = 25


class ProcessError(Exception):
    """A program ended, or did not do what was awaited; the message carries the end of its log."""


class Process:
    """One program. `start` after `stop` or `kill` runs the same argv again and appends to the same log.

    `inherited` are file descriptors that the program finds open, under the same numbers.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        log: Path,
        *,
        netns: str = "",
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        inherited: Sequence[int] = (),
    ) -> None:
        self.argv = tuple(str(part) for part in argv)
        self.name = Path(self.argv[0]).name
        self.log = log
        self._netns = netns
        self._folder = folder
        self._environment = None if environment is None else dict(environment)
        self._inherited = tuple(inherited)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the current or the last run."""
        return self._started().pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        if self.running:
            raise ProcessError(f"{self.name} runs already, pid {self.pid}")
        # ip and setpriv each exec the next program, so the child's pid is the pid of the program itself.
        enter = ("ip", "netns", "exec", self._netns) if self._netns else ()
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                (*enter, "setpriv", "--pdeathsig", "KILL", "--", *self.argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=self._environment,
                pass_fds=self._inherited,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops us in order
            )

    def wait_until(self, probe: Callable[[], T | None], what: str, seconds: float = 120.0) -> T:
        """`eventually(probe)`, but a process that ends ends the wait at once. Raises ProcessError.

        A kube-apiserver that misses its first chance to make the namespaces it needs has the next a minute later.
        """

        def outcome() -> tuple[T | None] | None:
            if not self.running:
                return (None,)
            value = probe()
            return (value,) if value else None

        try:
            (value,) = eventually(outcome, what, seconds)
        except AssertionError as error:
            raise ProcessError(f"{self.name}: {error}\n{self.log_tail()}") from error
        if value is None:
            code = self._started().returncode
            raise ProcessError(f"{self.name} ended with {code} before: {what}\n{self.log_tail()}")
        return value

    def stop(self, seconds: float = 5.0) -> None:
        """SIGTERM, and SIGKILL when it has not ended after `seconds`. Nothing to do when it does not run."""
        if not self.running:
            return
        child = self._started()
        child.terminate()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait for the end: after this the pid and its sockets are gone. Works on a paused one."""
        if self.running:
            self._started().kill()
            self._started().wait()

    def pause(self) -> None:
        """SIGSTOP: sockets stay open and the kernel goes on acknowledging, nothing answers. Returns when frozen."""
        self.send(signal.SIGSTOP)
        eventually(lambda: self._state() == "T", f"{self.name} is stopped")

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        if not self.running:
            raise ProcessError(f"{self.name} does not run: cannot send it {number.name}\n{self.log_tail()}")
        self._started().send_signal(number)

    def log_tail(self, lines: int = LOG_LINES) -> str:
        """The last lines of the log, under a heading that names the file."""
        written = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"--- the end of {self.log} ---", *written[-lines:]])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise ProcessError(f"{self.name} was never started")
        return self._child

    def _state(self) -> str:
        # proc_pid_stat(5): the name in parentheses may itself hold parentheses and spaces.
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]

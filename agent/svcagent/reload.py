"""Following the configuration file: it is read again and again, and a good change makes the process begin anew.

In: the file's path and how to judge its text. Out: one call when it holds another, usable configuration. kube-proxy
ends when its file is written; we look at it first. A file that cannot be used is one error line, and the old
configuration goes on. The file is simply read: two kilobytes each few seconds, and the symbolic links that a kubelet
swaps under a ConfigMap need no care.

Nothing is changed in a running agent. The loop stops as for a signal, rules stay, `begin_again` starts the same command
in the same process, and a start on a programmed node writes only differences.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from svcagent.configuration import Configuration, ConfigurationError
from svcagent.options import OptionsError
from svckube.observe import fields

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0


class ConfigurationFile:
    """A file and the configuration that is in force. `judge` makes a `Configuration` of a text, or raises."""

    def __init__(self, path: Path, text: str, current: Configuration, judge: Callable[[str], Configuration]) -> None:
        self._path = path
        self._seen: str | None = text
        self._current = current
        self._judge = judge
        self._complaint = ""

    def changed(self) -> bool:
        """One look: whether the file now asks for something else that can be had. Each fault is logged once."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self._seen = None
            self._complain(error)
            return False
        if text == self._seen:
            return False
        self._seen = text
        try:
            found = self._judge(text)
        except (ConfigurationError, OptionsError) as error:
            self._complain(error)
            return False
        self._complaint = ""
        return found.options != self._current.options

    def _complain(self, error: Exception) -> None:
        if str(error) != self._complaint:
            self._complaint = str(error)
            log.error(
                "configuration file cannot be used: the old one goes on", extra=fields(file=self._path, error=error)
            )


class Follower:
    """Looks at a file from a thread and calls `tell` once, when it has changed; then `due` is true."""

    def __init__(self, file: ConfigurationFile, tell: Callable[[], None], every: float = POLL_SECONDS) -> None:
        self.due = False
        self._file = file
        self._tell = tell
        self._every = every
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="configuration file", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stopping.wait(self._every):
            if self._file.changed():
                self.due = True
                self._tell()
                return


def begin_again() -> NoReturn:
    """Replaces this process by the same command: same pid, arguments, environment and network namespace (execve(2)).

    To be called in the namespace where the process began, after everything it listens on is closed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # our own command line

"""A program as a systemd service: that it is ready, that its loop still turns, that it stops (sd_notify(3)).

In: the environment that systemd sets (NOTIFY_SOCKET; WATCHDOG_USEC and WATCHDOG_PID where the unit has WatchdogSec=).
Out: datagrams. Without systemd nothing is sent. The program's own loop calls `alive`, and no thread beside it does:
such a thread would go on telling that all is well when the loop hangs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from svckube.observe import sd_notify


class Unit:
    """The unit that this process is the main process of, if it is one's.

    `period`: seconds within which `alive` is to be called again, half of what systemd waits; infinite if nobody does.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._environment = environment
        self._clock = clock
        self._limit = _limit(environment)
        self._next = 0.0
        self._ready = False
        self.period = self._limit / 2_000_000 if self._limit else float("inf")

    def ready(self, status: str = "") -> None:
        """Start-up is over; said once."""
        if not self._ready:
            self._ready = True
            self._tell("READY=1", f"STATUS={status}")

    def waiting(self, status: str) -> None:
        """What start-up waits for, for people: `systemctl status` shows it."""
        self._tell(f"STATUS={status}")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """The loop turns. May be called as often as it does: a quarter of the limit lies between two notices."""
        now = self._clock()
        if self._limit and now >= self._next:
            self._next = now + self.period / 2
            self._tell("WATCHDOG=1")

    @contextmanager
    def patient(self, seconds: float) -> Iterator[None]:
        """Within the block systemd waits so long, or as long as ever if that is longer: what is done there is bounded.

        A command of iptables may take minutes with very many rules; a loop that hangs elsewhere is found sooner.
        """
        longer = int(seconds * 1_000_000)
        if not self._limit or longer <= self._limit:
            yield
            return
        self._tell(f"WATCHDOG_USEC={longer}")  # starts the time anew as well (service_override_watchdog_timeout)
        try:
            yield
        finally:
            self._tell(f"WATCHDOG_USEC={self._limit}")

    def _tell(self, *lines: str) -> None:
        sd_notify("\n".join(lines), self._environment)


def _limit(environment: Mapping[str, str]) -> int:
    """Microseconds that systemd waits for a sign of life, 0 for ever (sd_watchdog_enabled(3))."""
    text, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not text.isdecimal() or (pid and pid != str(os.getpid())):
        return 0
    return int(text)

"""When a daemon that died is started again; pure.

In: when it was started and when it ended. Out: the moment of the next start. At once the first time; then after 0.5 s,
doubling to 10 s, as long as it keeps dying. One that has lived for a minute begins anew.
"""

from __future__ import annotations

import msgspec

FIRST, LONGEST = 0.5, 10.0
SETTLED = 60.0  # seconds


class History(msgspec.Struct, frozen=True):
    """`failures` in a row, `restarts` in all; `next` is the moment of the next start, None while it runs."""

    failures: int = 0
    restarts: int = 0
    started: float = 0.0
    next: float | None = 0.0


def started(history: History, now: float) -> History:
    return msgspec.structs.replace(history, started=now, next=None)


def ended(history: History, now: float) -> History:
    """It died: when it shall start again."""
    failures = 1 if now - history.started >= SETTLED else history.failures + 1
    pause = 0.0 if failures == 1 else min(FIRST * 2 ** (failures - 2), LONGEST)
    return History(failures, history.restarts + 1, history.started, now + pause)


def resumed(restarts: int, now: float) -> History:
    """It was found running."""
    return History(0, restarts, now, None)

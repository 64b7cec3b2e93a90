"""Waiting for a condition: the only place in the tests that sleeps.

In: a probe and what it stands for. Out: the probe's first truthy value. Refuses to wait past the deadline: then an
AssertionError says what was awaited and what the probe last returned or raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.1


def eventually(probe: Callable[[], T | None], what: str, seconds: float = 10.0) -> T:
    """Call `probe` until it returns something truthy, and return that.

    An exception of the probe counts as "not yet". The probe is always called at least once, and once more at the
    deadline, so a slow machine cannot fail a condition that holds. Raises AssertionError `seconds` after the call.
    """
    deadline = time.monotonic() + seconds
    pause = FIRST_PAUSE
    while True:
        last_call = time.monotonic() >= deadline
        failure: Exception | None = None
        try:
            value = probe()
        except Exception as error:
            failure, seen = error, f"raised {type(error).__name__}: {error}"
        else:
            if value:
                return value
            seen = f"returned {value!r}"
        if last_call:
            raise AssertionError(f"not within {seconds:g} s: {what}; the probe last {seen}") from failure
        time.sleep(max(0.0, min(pause, deadline - time.monotonic())))
        pause = min(pause * 1.5, LONGEST_PAUSE)

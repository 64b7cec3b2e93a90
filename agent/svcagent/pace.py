"""When to synchronise: a state machine over (now, event), with no clock of its own.

The first request is served at once; after a pass the next one waits `min_interval`, so a burst becomes one pass. A
failed pass is tried again with back-off and nothing else is needed to trigger it, the very first one included. An audit
(does the kernel still hold what we wrote?) comes every `audit_interval`, or more rarely if it takes long: it may cost
at most one per cent of the time. Changes that keep coming do not put it off. Where somebody else is known to have
written, it comes at once, but not so often that it takes more than a tenth of the time. Passes go on while an audit is
under way. All times are seconds of one monotonic clock.
"""

from __future__ import annotations

FIRST_RETRY = 1.0
AUDIT_SHARE = 0.01
DISTURBED_SHARE = 0.1


class Pace:
    """Decides when a pass and when an audit are due. `auditing` is whether one is under way."""

    def __init__(self, min_interval: float, audit_interval: float, max_retry: float) -> None:
        self._min_interval = min_interval
        self._audit_interval = audit_interval
        self._max_retry = max_retry
        self._not_before = 0.0
        self._failures = 0
        self._requested = False
        self._audit_at: float | None = None
        self._audit_not_before = 0.0
        self.auditing = False
        self._disturbed = False

    def request(self) -> None:
        """Something changed: a pass is wanted."""
        self._requested = True

    def succeeded(self, now: float) -> None:
        self._requested = False
        self._failures = 0
        self._not_before = now + self._min_interval
        if self._audit_at is None:
            self._audit_at = now + self._audit_interval

    def failed(self, now: float) -> None:
        """The pass did not succeed: it stays requested, and waits longer each time."""
        self._requested = True
        delay = min(FIRST_RETRY * 2**self._failures, self._max_retry)
        self._failures = min(self._failures + 1, 30)
        self._not_before = now + max(delay, self._min_interval)

    def audit_begins(self) -> None:
        self.auditing = True
        self._disturbed = False

    def audited(self, now: float, took: float) -> None:
        self.auditing = False
        self._audit_at = now + max(self._audit_interval, took / AUDIT_SHARE)
        self._audit_not_before = now + took / DISTURBED_SHARE
        if self._disturbed:
            self.disturbed(now)

    def disturbed(self, now: float) -> None:
        """Somebody else wrote rules: an audit is wanted as soon as may be, another one if one is under way."""
        if self.auditing:
            self._disturbed = True
        elif self._audit_at is not None:
            self._audit_at = min(self._audit_at, max(now, self._audit_not_before))

    def pass_due(self, now: float) -> bool:
        return self._requested and now >= self._not_before

    def audit_due(self, now: float) -> bool:
        return self._next_audit is not None and now >= self._next_audit

    @property
    def _next_audit(self) -> float | None:
        """Not after a failure: then nothing is known of the kernel, and the next pass will look."""
        return None if self._failures or self.auditing else self._audit_at

    def wait(self, now: float, at_most: float) -> float:
        """Seconds until something is due, never negative."""
        due = [self._not_before] if self._requested else []
        if self._next_audit is not None:
            due.append(self._next_audit)
        return max(0.0, min([at_most, *(each - now for each in due)]))

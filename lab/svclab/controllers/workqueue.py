"""Which keys are to be reconciled, and when. Pure: time is a parameter, in seconds of any steady clock.

A key is held once however often it is added, and is never handed out while it is being worked on: what comes meanwhile
makes it ready again. A key that fails comes back after 5 ms, 10 ms, 20 ms, … as in client-go, but at most SLOWEST.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FASTEST = 0.005  # seconds
SLOWEST = 30.0


class WorkQueue(Generic[K]):
    def __init__(self) -> None:
        self._ready: dict[K, None] = {}
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._due: dict[K, float] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._order = 0
        self._failures: dict[K, int] = {}

    def add(self, key: K) -> None:
        if key in self._working:
            self._again.add(key)
        else:
            self._ready[key] = None

    def add_at(self, key: K, due: float) -> None:
        """Replaces an earlier appointment of the key."""
        self._due[key] = due
        self._order += 1
        heapq.heappush(self._timers, (due, self._order, key))

    def take(self, now: float) -> list[K]:
        """All that is ready, in the order it became so; `done` must be called for each."""
        while self._timers and self._timers[0][0] <= now:
            due, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        taken = list(self._ready)
        self._ready.clear()
        self._working.update(taken)
        return taken

    def done(self, key: K) -> None:
        """It went well: the next failure is a first one."""
        self._failures.pop(key, None)
        self._end(key)

    def failed(self, key: K, now: float, slowest: float = SLOWEST) -> None:
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        self._end(key)
        self.add_at(key, now + min(FASTEST * 2 ** min(count, 30), slowest))

    def next_due(self, now: float) -> float | None:
        """Seconds until something is ready; None if nothing is awaited."""
        if self._ready:
            return 0.0
        while self._timers and self._due.get(self._timers[0][2]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        return max(self._timers[0][0] - now, 0.0) if self._timers else None

    def _end(self, key: K) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self._ready[key] = None

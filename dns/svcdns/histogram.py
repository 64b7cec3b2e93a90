"""Counts of values by size, as Prometheus wants them: the bounds, and a histogram that can be added to another.

In: values. Out: how many were up to each bound, and beyond the last; their sum. It knows no metrics library, so that
a worker can count without one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

DURATIONS = tuple(0.00025 * 2**power for power in range(16))
SIZES = (0.0, 100.0, 200.0, 300.0, 400.0, 511.0, 1023.0, 2047.0, 4095.0, 8291.0, 16e3, 32e3, 48e3, 64e3)
LATENESS = tuple(0.00025 * 10**power for power in range(5))
PROGRAMMING = tuple(0.001 * 2**power for power in range(20))


class Family(Protocol):
    def add_metric(self, labels: Sequence[str], buckets: Sequence[tuple[str, float]], sum_value: float, /) -> None: ...


class Histogram:
    """`counts` has one more than `bounds`; `sum` is that of all values."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def note(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self._bounds, value)] += times
        self.sum += value * times

    def add(self, counts: Sequence[int], total: float) -> None:
        """Adds the `counts` and the `sum` of another one with the same bounds."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, counts, strict=True)]
        self.sum += total

    def add_to(self, family: Family, labels: Sequence[str]) -> None:
        total, buckets = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self.counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        family.add_metric(labels, buckets, self.sum)

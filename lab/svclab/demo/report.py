"""What a demo has shown, as values; as lines for people and as data for programs.

In: steps as they end. Out: lines with the row's name in front, because rows play at the same time; and plain values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

WIDTH = 5


class Step(msgspec.Struct, frozen=True):
    """`failure` is empty if it did what it should."""

    what: str
    seconds: float
    evidence: tuple[str, ...] = ()
    failure: str = ""


class Played(msgspec.Struct, frozen=True):
    """One row, to its end or its first failure."""

    row: str
    title: str
    seconds: float
    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        return bool(self.steps) and not any(step.failure for step in self.steps)


def step_lines(row: str, step: Step) -> list[str]:
    """A line with a mark and the time; below it the evidence."""
    front = f"{row:>{WIDTH}} "
    lines = [f"{front}{'✗' if step.failure else '✓'} {step.seconds:5.1f} s  {step.what}"]
    lines += [f"{'':>{WIDTH}} │          {line}" for line in step.evidence]
    lines += [f"{'':>{WIDTH}} │ {line}" for line in step.failure.splitlines()]
    return lines


def summary_lines(played: Sequence[Played], seconds: float) -> list[str]:
    good = sum(row.ok for row in played)
    lines = ["", f"{good} of {len(played)} rows did what they should, in {seconds:.0f} s"]
    for row in played:
        lines.append(f"  {'✓' if row.ok else '✗'} {row.row:>{WIDTH}}  {row.seconds:5.1f} s  {row.title}")
        lines += [f"      failed: {step.what}" for step in row.steps if step.failure]
    return lines


def as_data(played: Sequence[Played], seconds: float, **more: Any) -> dict[str, Any]:
    """JSON values."""
    return {
        "ok": all(row.ok for row in played),
        "seconds": round(seconds, 1),
        "rows": [
            {
                "row": row.row,
                "title": row.title,
                "ok": row.ok,
                "seconds": round(row.seconds, 1),
                "steps": [
                    {
                        "what": step.what,
                        "ok": not step.failure,
                        "seconds": round(step.seconds, 2),
                        "evidence": list(step.evidence),
                        "failure": step.failure,
                    }
                    for step in row.steps
                ],
            }
            for row in played
        ],
        **more,
    }

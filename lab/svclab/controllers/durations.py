"""Durations as Go's flags write them: `40s`, `1m30s`, `500ms`, `2h`. Pure."""

from __future__ import annotations

import re

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


def seconds_of(text: str) -> float:
    """Raises ValueError for what is no duration; "0" is one."""
    if text == "0":
        return 0.0
    parts = PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration: write 40s or 1m30s")
    return sum(float(number) * UNITS[unit] for number, unit in parts)

"""Times as the API writes them (RFC 3339) ⇄ seconds since the epoch. Pure: it never asks what time it is."""

from __future__ import annotations

from datetime import UTC, datetime


def stamp(now: float) -> str:
    """metav1.Time: whole seconds, `2026-11-21T12:00:00Z`."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_stamp(now: float) -> str:
    """metav1.MicroTime: microseconds."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds(text: str | None) -> float:
    """Of either form; 0 for None and "". Raises ValueError for what is no time."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0

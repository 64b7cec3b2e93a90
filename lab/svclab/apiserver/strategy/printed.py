"""Small texts of tables: ages, selectors, yes and no.

Source: apimachinery pkg/util/duration, kubernetes pkg/printers/internalversion, v1.36.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def seconds(time: str) -> float:
    """RFC 3339 as the API writes it, in seconds since 1970."""
    return datetime.fromisoformat(time).astimezone(UTC).timestamp()


def age(obj: Mapping[str, Any], now: float) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)


def since(time: str | None, now: float) -> str:
    return duration(now - seconds(time)) if time else "<unknown>"


def duration(passed: float) -> str:
    """Two units at most, one where the second would not matter."""
    whole = int(passed)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _pair(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _pair(days, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{days}d"
    if hours < 24 * 365 * 8:
        return _pair(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _pair(large: int, unit: str, small: int, less: str) -> str:
    return f"{large}{unit}{small}{less}" if small else f"{large}{unit}"


def labels(given: Mapping[str, str] | None) -> str:
    """As `a=b,c=d`; `<none>` if there are none."""
    return ",".join(f"{key}={value}" for key, value in sorted((given or {}).items())) or "<none>"


def selector(given: Mapping[str, Any] | None) -> str:
    """A label selector; `<none>` for None, and nothing for one that selects everything."""
    if given is None:
        return "<none>"
    parts = [(key, f"{key}={value}") for key, value in (given.get("matchLabels") or {}).items()]
    parts += [(each["key"], _requirement(each)) for each in given.get("matchExpressions") or ()]
    return ",".join(text for _, text in sorted(parts, key=lambda part: part[0])) or "<none>"


def _requirement(each: Mapping[str, Any]) -> str:
    key, operator = each["key"], each["operator"]
    if operator == "Exists":
        return str(key)
    if operator == "DoesNotExist":
        return f"!{key}"
    return f"{key} {'in' if operator == 'In' else 'notin'} ({','.join(sorted(each.get('values') or ()))})"

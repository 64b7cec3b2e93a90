"""What is wrong in which objects, as the families see it: each problem is reported once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Problems:
    """The problems of services (`namespace/name`) that each family has found."""

    def __init__(self, families: Iterable[str]) -> None:
        self._found: dict[str, dict[str, tuple[str, ...]]] = {family: {} for family in families}

    @property
    def every(self) -> dict[str, tuple[str, ...]]:
        """By service; may be read from any thread."""
        return {key: problems for each in self._found.values() for key, problems in each.copy().items()}

    def take(self, family: str, now: Mapping[str, tuple[str, ...]]) -> list[tuple[str, tuple[str, ...]]]:
        """What a family has found now, all of it; returns what no family knew before."""
        new = [
            (key, problems)
            for key, problems in now.items()
            if all(each.get(key) != problems for each in self._found.values())
        ]
        self._found[family].clear()
        self._found[family].update(now)
        return new

"""The agent's benchmark as a picture: figures over the number of services, a line a program, both scales logarithmic.

In: what `agent.py --json` writes. Out: the text of an SVG. Sizes with five endpoints a service are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from typing import Any
from xml.sax.saxutils import escape

PANELS = (
    ("start_s", "start until all services answer, s"),
    ("change_p50_ms", "a change of one endpoint, p50, ms"),
    ("rss_mib", "resident memory, MiB"),
    ("random_p50_us", "connect to a random service, p50, µs"),
)
COLOURS = {
    "agent-nft": "#0b6e4f",
    "agent-legacy": "#6bbf59",
    "kube-proxy-legacy": "#d1495b",
    "kube-proxy-nftables": "#30638e",
    "kube-proxy-nft": "#edae49",
}
WIDTH, HEIGHT = 360, 210
LEFT, TOP, RIGHT, BOTTOM = 46, 34, 28, 26
LEGEND = 28

Point = tuple[float, float]


def svg(data: Mapping[str, Any]) -> str:
    lines = {name: _rows(data, name) for name in COLOURS}
    drawn = [
        _panel(
            index % 2 * WIDTH,
            index // 2 * HEIGHT,
            title,
            {
                name: [(services, row[field]) for services, row in rows if row.get(field)]
                for name, rows in lines.items()
            },
        )
        for index, (field, title) in enumerate(PANELS)
    ]
    legend = [
        f'<g transform="translate({12 + index * 142},{2 * HEIGHT + 14})"><rect width="12" height="4" y="-6" '
        f'fill="{colour}"/><text x="16">{escape(name)}</text></g>'
        for index, (name, colour) in enumerate(COLOURS.items())
    ]
    size = f'width="{2 * WIDTH}" height="{2 * HEIGHT + LEGEND}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    return "\n".join([opening, '<rect width="100%" height="100%" fill="white"/>', *drawn, *legend, "</svg>"]) + "\n"


def _rows(data: Mapping[str, Any], program: str) -> list[tuple[int, Mapping[str, Any]]]:
    found = [
        (int(row["size"].partition("x")[0]), row)
        for row in data["rows"]
        if row["program"] == program and row["size"].endswith("x5")
    ]
    return sorted(found, key=lambda each: each[0])


def _panel(x: float, y: float, title: str, lines: Mapping[str, Sequence[Point]]) -> str:
    points = [point for line in lines.values() for point in line]
    parts = [f'<g transform="translate({x},{y})">', f'<text x="{LEFT}" y="20">{escape(title)}</text>']
    if points:
        across = _Scale([point[0] for point in points], LEFT, WIDTH - RIGHT)
        upward = _Scale([point[1] for point in points], HEIGHT - BOTTOM, TOP)
        for tick in upward.ticks():
            level = upward.at(tick)
            parts.append(f'<path d="M{LEFT} {level:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
            parts.append(f'<text x="{LEFT - 5}" y="{level + 4:.1f}" text-anchor="end">{tick:g}</text>')
        for services in sorted({point[0] for point in points}):
            place = f'x="{across.at(services):.1f}" y="{HEIGHT - 10}"'
            parts.append(f'<text {place} text-anchor="middle">{services:,.0f}</text>')
        for name, line in lines.items():
            if not line:
                continue
            spots = [(across.at(one), upward.at(other)) for one, other in line]
            path = " ".join(f"{one:.1f},{other:.1f}" for one, other in spots)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
            parts += [f'<circle cx="{one:.1f}" cy="{other:.1f}" r="3" fill="{COLOURS[name]}"/>' for one, other in spots]
    return "\n".join([*parts, "</g>"])


class _Scale:
    """From figures, by their logarithm, to places between two ends."""

    def __init__(self, values: Sequence[float], low: float, high: float) -> None:
        self._low, self._high = low, high
        self._least, self._most = log10(min(values)), log10(max(values))
        if self._most - self._least < 0.3:
            self._least, self._most = self._least - 0.15, self._most + 0.15

    def at(self, value: float) -> float:
        share = (log10(value) - self._least) / (self._most - self._least)
        return self._low + share * (self._high - self._low)

    def ticks(self) -> list[float]:
        """1, 2 and 5 times powers of ten; powers alone where that is enough."""
        exponents = range(floor(self._least), ceil(self._most) + 1)
        every = [factor * 10.0**exponent for exponent in exponents for factor in (1, 2, 5)]
        inside = [tick for tick in every if self._least <= log10(tick) <= self._most]
        powers = [tick for tick in inside if log10(tick) % 1 < 1e-9]
        return powers if len(powers) > 2 else inside

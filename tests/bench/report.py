"""Tables from the figures of the agent's benchmark.

    python tests/bench/report.py FILE.json... [--into README.md] [--svg FILE]

Several files are several runs in one table. Without more, the tables as text; --into writes them between the two marks
of a Markdown file. Fields of a row, `_s` seconds, `_ms` milliseconds, `_us` microseconds, `_mib` MiB:

    start_s                  from the program's start until all services answer; start_over_s, if it takes longer
    change_p50_ms, _p99      one endpoint of a service gives way to another: API write to new connection; of `changes`
    change_cpu_ms, _user     CPU of one change, and what of it is not the kernel's, if that is known; with children
    sharp_ms                 what of change_p50_ms the sender needs to meet one endpoint among many
    new_ms, deleted_ms       medians of a service's coming and going
    storm_p50_ms, _p99       the same where 50 changes come in a second; storm_cpu_percent of one core meanwhile
    rss_mib, peak_mib        resident memory between changes, children included; the program's own, at most
    first_p50_us, ...        connect to the first, middle, last service, and to random ones; `lost` took a second packet
    kept_per_s               requests a second over one kept connection
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUNS = ("tests/bench/agent.json", "tests/bench/agent-30000.json")
COMMAND = f"python tests/bench/report.py {' '.join(RUNS)} --into agent/README.md --svg tests/bench/agent.svg"
BEGIN, END = f"<!-- figures: {COMMAND} -->", "<!-- end of the figures -->"

Row = Mapping[str, Any]
Table = list[list[str]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--into", type=Path, help="a Markdown file with the two marks")
    parser.add_argument("--svg", type=Path, help="where a plot goes")
    chosen = parser.parse_args()
    data = joined(chosen.files)
    if chosen.into:
        chosen.into.write_text(placed(chosen.into.read_text(), markdown(data)))
    if chosen.svg:
        sys.path.insert(0, str(Path(__file__).parents[1]))
        from bench import plot

        chosen.svg.write_text(plot.svg(data))
    if not (chosen.into or chosen.svg):
        print("\n\n".join(text(table(data)) for table in (figures, packets, ratios)))
    return 0


def joined(files: Iterable[Path]) -> dict[str, Any]:
    """Runs as one: `runs`, what each says of itself, and the `rows` of all."""
    runs = [json.loads(file.read_text()) for file in files]
    return {"runs": runs, "rows": [row for run in runs for row in run["rows"]]}


def share(values: Sequence[float], part: float) -> float | None:
    """The value that `part` of them do not exceed."""
    return sorted(values)[max(0, -int(-len(values) * part // 1) - 1)] if values else None


def number(value: object) -> str:
    """Three digits that count."""
    if not isinstance(value, int | float):
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def pair(one: str, other: str) -> Callable[[Row], str]:
    return lambda row: f"{number(row[one])} / {number(row[other]) or '-'}" if row.get(one) is not None else ""


def start(row: Row) -> str:
    return f"> {row['start_over_s']:.0f}" if "start_over_s" in row else number(row.get("start_s"))


def storm(row: Row) -> str:
    if "storm_over_ms" in row:
        return f"> {row['storm_over_ms'] / 1e3:.0f} / {number(row['storm_cpu_percent'])}"
    if "storm_p99_ms" not in row:
        return ""
    return f"{number(row['storm_p99_ms'] / 1e3)} / {number(row['storm_cpu_percent'])}"


COLUMNS: tuple[tuple[str, int, Callable[[Row], str]], ...] = (
    ("services x endpoints", 22, lambda row: row["size"]),
    ("program", 21, lambda row: row["program"]),
    ("start, s", 10, start),
    ("a change p50 / p99, ms", 24, pair("change_p50_ms", "change_p99_ms")),
    ("its CPU / user's part, ms", 27, pair("change_cpu_ms", "change_user_ms")),
    ("new / deleted, ms", 19, pair("new_ms", "deleted_ms")),
    ("50/s: p99, s / CPU, %", 23, storm),
    ("RSS / peak, MiB", 17, pair("rss_mib", "peak_mib")),
)
PACKETS: tuple[tuple[str, int, Callable[[Row], str]], ...] = (
    *COLUMNS[:2],
    *((f"{each}, µs", 15, pair(f"{each}_p50_us", f"{each}_p99_us")) for each in ("first", "middle", "last", "random")),
    ("kept, requests/s", 16, lambda row: number(row.get("kept_per_s"))),
)


def heading() -> str:
    return "".join(title.ljust(width) for title, width, _ in COLUMNS)


def line(row: Row) -> str:
    shown = "".join(cell(row).ljust(width) for _, width, cell in COLUMNS)
    return f"{shown.rstrip()}{'  failed: ' + row['error'] if 'error' in row else ''}"


def figures(data: Mapping[str, Any]) -> Table:
    return _table(COLUMNS, data["rows"])


def packets(data: Mapping[str, Any]) -> Table:
    """Connects to services, p50 / p99, and the kept connection."""
    return _table(PACKETS, data["rows"])


def _table(columns: Iterable[tuple[str, int, Callable[[Row], str]]], rows: Iterable[Row]) -> Table:
    columns = list(columns)
    return [[title for title, _, _ in columns], *([cell(row) for _, _, cell in columns] for row in rows)]


# ratios


@dataclass(frozen=True, slots=True)
class Aim:
    """Ours divided by theirs, of one field, each at its size; of several of theirs the least counts."""

    what: str
    field: str
    ours: tuple[str, str]
    theirs: tuple[tuple[str, str], ...]
    at_most: float | None


NFT, LEGACY = "agent-nft", "agent-legacy"
PEER_NFT, PEER_LEGACY, PEER_TABLES = "kube-proxy-nft", "kube-proxy-legacy", "kube-proxy-nftables"
LARGE = ("10000x5", "30000x5")
AIMS = (
    Aim("start", "start_s", ("10000x5", NFT), (("10000x5", PEER_NFT),), 1 / 50),
    Aim("start", "start_s", ("10000x5", NFT), (("10000x5", PEER_TABLES),), 1 / 3),
    Aim("start", "start_s", ("30000x5", NFT), (("30000x5", PEER_TABLES),), 1 / 15),
    *(Aim("start", "start_s", (size, LEGACY), ((size, PEER_LEGACY),), 1) for size in LARGE),
    *(
        Aim("a change, p50", "change_p50_ms", (size, ours), ((size, theirs),), at_most)
        for size in LARGE
        for ours, theirs, at_most in (
            (NFT, PEER_LEGACY, 1 / 8),
            (NFT, PEER_TABLES, 1 / 25),
            (LEGACY, PEER_LEGACY, None),
        )
    ),
    *(
        Aim("first packet, random service, p50", "random_p50_us", (size, NFT), ((other, theirs),), at_most)
        for size in LARGE
        for other, theirs, at_most in (("100x5", NFT, 1.3), (size, PEER_TABLES, 1.2))
    ),
    *(
        Aim("RSS", "rss_mib", (size, ours), tuple((size, peer) for peer in (PEER_NFT, PEER_LEGACY, PEER_TABLES)), most)
        for size, most in zip(LARGE, (0.6, 0.55), strict=True)
        for ours in (NFT, LEGACY)
    ),
    Aim("CPU of a change, user's part", "change_user_ms", ("30000x5", NFT), (("100x5", NFT),), 1.5),
    Aim("CPU of a change, the kernel's too", "change_cpu_ms", ("30000x5", NFT), (("100x5", NFT),), None),
)


def ratios(data: Mapping[str, Any]) -> Table:
    """What the benchmark is about: ours divided by theirs, and what it shall be at most."""
    rows = {(row["size"], row["program"]): row for row in data["rows"]}
    table = [["ours / theirs", "ours", "theirs", "ratio", "at most"]]
    for aim in AIMS:
        mine = rows.get(aim.ours, {}).get(aim.field)
        known = [
            (value, key, bound)
            for key in aim.theirs
            if (value := _value(rows.get(key, {}), aim.field)[0])
            for bound in (_value(rows[key], aim.field)[1],)
        ]
        if not mine or not known:
            continue
        theirs, key, bound = min(known)
        names = [f"{program} {size}" for size, program in (aim.ours, key)]
        most = "" if aim.at_most is None else f"{aim.at_most:.3f}"
        table.append([aim.what, *names, f"{bound}{mine / theirs:.3f}", most])
    return table


def _value(row: Row, field: str) -> tuple[float | None, str]:
    """A figure, and "< " if the ratio to it is only bounded by it, since it took longer than anybody waited."""
    if field == "start_s" and "start_over_s" in row:
        return row["start_over_s"], "< "
    return row.get(field), ""


# forms


def origin(data: Mapping[str, Any]) -> str:
    return f"`{data['command']}` on {data['cores']} cores, Linux {data['kernel']}, load {data['load']:.1f} before"


def text(table: Table) -> str:
    widths = [max(map(len, column)) + 2 for column in zip(*table, strict=True)]
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def markdown(data: Mapping[str, Any]) -> str:
    origins = "; ".join(map(origin, data["runs"]))
    return "\n\n".join([f"{origins}:", *(_markdown(table(data)) for table in (figures, packets, ratios))])


def _markdown(table: Table) -> str:
    rule = ["---"] * len(table[0])
    return "\n".join(f"| {' | '.join(row)} |" for row in (table[0], rule, *table[1:]))


def placed(document: str, tables: str) -> str:
    """The document with the tables between its marks. ValueError if it has none."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no lines {BEGIN!r} and {END!r}")
    return f"{head}{BEGIN}\n\n{tables}\n\n{END}{tail}"


if __name__ == "__main__":
    sys.exit(main())

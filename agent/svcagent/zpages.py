"""/flagz and /statusz: what the agent runs with, and since when, as text for people (KEP-4827, KEP-4828).

In: `Options`, times, versions, paths. Out: bodies in the shape of kube-proxy's, with our name in them. Ours shows the
switches in effect, those of a --config file included; kube-proxy's shows its flags alone. The typed answers (JSON, YAML
and CBOR by Accept) are not given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from svcagent.options import Options

WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees "
    "and is for debugging purposes only."
)


def flagz(options: Options) -> bytes:
    """One `name: value` a line, sorted; names are the flags' where there is a flag."""
    lines = sorted(_switches(options, ""))
    return _page("flagz", *(f"{name}: {value}" for name, value in lines)).encode()


def statusz(started: float, now: float, python: str, version: str, paths: Iterable[str]) -> bytes:
    """`started` and `now` in Unix seconds; `paths` are those of the metrics server."""
    minutes, seconds = divmod(int(now - started), 60)
    hours, minutes = divmod(minutes, 60)
    return _page(
        "statusz",
        "",
        f"Started: {datetime.fromtimestamp(started, UTC):%a %b %e %H:%M:%S UTC %Y}",
        f"Up: {hours} hr {minutes:02} min {seconds:02} sec",
        f"Python version: {python}",
        f"Binary version: {version}",
        f"Paths: {' '.join(sorted(paths))}",
    ).encode()


def _page(name: str, *lines: str) -> str:
    return "\n".join(("", f"svcplane-agent {name}", WARNING, *lines, ""))


def _switches(value: msgspec.Struct, prefix: str) -> Iterator[tuple[str, str]]:
    for field in value.__struct_fields__:
        name, held = prefix + field.replace("_", "-"), getattr(value, field)
        if isinstance(held, msgspec.Struct):
            yield from _switches(held, f"{name}-")
        else:
            yield name, _text(held)


def _text(held: Any) -> str:
    if isinstance(held, bool):
        return str(held).lower()
    if isinstance(held, tuple):
        return ",".join("=".join(map(_text, one)) if isinstance(one, tuple) else str(one) for one in held)
    return f"{held:g}s" if isinstance(held, float) else str(held)

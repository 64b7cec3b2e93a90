"""`svcplane-dns top`: the busiest names and clients of a server that runs on this machine, as a table.

In: the name of its socket, or none if only one runs. Out: lines for people. Raises OSError.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from svcdns import local
from svcdns.busiest import Busiest

PATH = "/top"


def top(name: str, count: int) -> Iterator[str]:
    found = [name] if name else local.names()
    if not found:
        raise OSError("no svcplane-dns runs in this network namespace; in a pod: kubectl exec POD -- svcplane-dns top")
    if len(found) > 1:
        raise OSError(f"several run here: say which, --socket {' or '.join(found)}")
    return table(msgspec.json.decode(local.ask(found[0], PATH), type=Busiest), count)


def table(busiest: Busiest, count: int) -> Iterator[str]:
    """Both lists, at most `count` rows each."""
    seconds = max(busiest.seconds, 1.0)
    yield f"{busiest.questions} questions in {busiest.seconds:.0f} s, {busiest.questions / seconds:.1f} a second"
    for title, rows in (("name", busiest.names), ("client", busiest.clients)):
        yield ""
        yield f"{'a second':>12} {'share':>6}  {title}"
        for text, times in rows[:count]:
            yield f"{times / seconds:>12.1f} {times / max(busiest.questions, 1):>6.1%}  {text}"

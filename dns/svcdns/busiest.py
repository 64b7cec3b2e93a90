"""Which names and which clients ask most, of late: for `svcplane-dns top`, in bounded memory and next to no time.

In: some of the questions, each with how many it stands for. Out: the names and clients with the most questions in the
last one to two minutes. Names never become labels of a metric: there is no end of them.

Counted is by Misra and Gries, in batches: of more than twice MOST different keys the MOST most frequent stay, less what
the next one had, so that nobody's count is too large, and none is too small by more than 1/MOST of all. A flood of
names that come once takes the places of nobody who is asked for often.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TypeAlias

import msgspec

from svcdns.records import TYPE_NAMES, labels_of, text_of

MOST = 500
WINDOW = 60.0  # seconds; what is shown is of the last whole window and the one that runs

Counts: TypeAlias = dict[bytes, int]


class Busiest(msgspec.Struct, frozen=True):
    """Of `seconds`: questions in all, and by name with type and by client, the most first."""

    seconds: float
    questions: int
    names: tuple[tuple[str, int], ...]
    clients: tuple[tuple[str, int], ...]


class Sketch:
    """Counts of the most frequent keys. `total` is of all keys."""

    def __init__(self) -> None:
        self.counts: Counts = {}
        self.total = 0

    def note(self, key: bytes, weight: int) -> None:
        counts = self.counts
        self.total += weight
        counts[key] = counts.get(key, 0) + weight
        if len(counts) > 2 * MOST:
            least = sorted(counts.values(), reverse=True)[MOST]
            self.counts = {one: count - least for one, count in counts.items() if count > least}


class Traffic:
    """What came of late. `now` is monotonic, in seconds."""

    def __init__(self) -> None:
        self._windows: list[tuple[float, Sketch, Sketch]] = []

    def note(self, packet: bytes, client: bytes, weight: int, now: float) -> None:
        """A message that stands for `weight` of them; who sent it as 4 or 16 octets."""
        windows = self._windows
        if not windows or now >= windows[-1][0] + WINDOW:
            self._windows = windows = [*self._recent(now), (now, Sketch(), Sketch())]
        _, names, clients = windows[-1]
        # Up to the first zero goes the name, unless a label holds one; after it the type.
        names.note(packet[12 : packet.find(b"\0", 12) + 3].lower(), weight)
        clients.note(client, weight)

    def _recent(self, now: float) -> list[tuple[float, Sketch, Sketch]]:
        return [one for one in self._windows[-2:] if now < one[0] + 2 * WINDOW]

    def busiest(self, count: int, now: float) -> Busiest:
        recent = self._recent(now)
        if not recent:
            return Busiest(0.0, 0, (), ())
        names = _most([of_names.counts for _, of_names, _ in recent], count)
        clients = _most([of_clients.counts for _, _, of_clients in recent], count)
        return Busiest(
            now - recent[0][0],
            sum(window[1].total for window in recent),
            tuple((_asked(key), times) for key, times in names),
            tuple((str(ip_address(key)) if key else "-", times) for key, times in clients),
        )


def _most(tables: list[Counts], count: int) -> list[tuple[bytes, int]]:
    found: Counts = {}
    for table in tables:
        for key, times in table.items():
            found[key] = found.get(key, 0) + times
    return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:count]


def _asked(key: bytes) -> str:
    """`name. TYPE`; `?` for what is no question."""
    name, kind = key[:-2], int.from_bytes(key[-2:])
    try:
        labels_of(name)
    except IndexError:
        return "?"
    return f"{text_of(name)} {TYPE_NAMES.get(kind, f'TYPE{kind}')}" if name else "?"

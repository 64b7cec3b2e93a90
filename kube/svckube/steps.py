"""What to do next so as to know the state of one kind: list, watch, or wait. No I/O, no clock, no dice.

In: the outcome of the last step, the time, a random number. Out: the next step, and the state that remembers what
matters. The rules are those of client-go's reflector (KEP-956 for bookmarks, API concepts for resourceVersion):

    outcome                          next step
    Began                            List("0"): anything the watch cache has; cheap for the server
    ListDone(version)                Watch(version)
    WatchDone                        Watch(version last seen), at once; but not at once if it lived less than a second
    Expired (410)                    List(""): a consistent state, in pages; at once unless trouble was recent
    Expired in the middle of pages   List("") in one piece, because paging takes longer than the server remembers
    Trouble                          Wait, then what was due: Watch(version last seen), or the same List
    Mute                             Wait, then List("")
    Waited                           what was due

A mute watch was accepted and never said a word, not even a bookmark. That is what kube-apiserver gives to a version
from its future, as we have one after etcd was restored from a backup: resuming would leave us blind for ever.

Waiting is exponential with full jitter: a random share of 0.8 s, doubling to 30 s, back to 0.8 s after two quiet
minutes; Retry-After is a floor below it. Random shares keep a thousand nodes from coming back in the same instant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

FIRST_DELAY = 0.8  # seconds, as client-go
LAST_DELAY = 30.0
QUIET = 120.0  # seconds without trouble after which the delay starts anew
SHORTEST_WATCH = 1.0  # seconds; a server that ends watches faster would be asked in a tight loop
RETRY_AFTER_LIMIT = 300.0  # seconds; a server's word, but not for ever
WATCH_SECONDS = (300, 600)  # drawn from this range, so that the watches of a cluster end spread over time
PAGE_SIZE = 500


@dataclass(frozen=True, slots=True)
class List:
    """`resource_version` "0" is any state, "" the newest; `limit` 0 is one piece."""

    resource_version: str
    limit: int


@dataclass(frozen=True, slots=True)
class Watch:
    resource_version: str
    timeout_seconds: int


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class Began:
    pass


@dataclass(frozen=True, slots=True)
class ListDone:
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchDone:
    pass


@dataclass(frozen=True, slots=True)
class Expired:
    pass


@dataclass(frozen=True, slots=True)
class Trouble:
    retry_after: float | None = None  # seconds


@dataclass(frozen=True, slots=True)
class Mute:
    pass


@dataclass(frozen=True, slots=True)
class Waited:
    pass


Step: TypeAlias = List | Watch | Wait
Outcome: TypeAlias = Began | ListDone | WatchDone | Expired | Trouble | Mute | Waited

ANY = List("0", 0)
NEWEST = List("", PAGE_SIZE)
NEWEST_WHOLE = List("", 0)


@dataclass(frozen=True, slots=True)
class State:
    """`list_due` is the list to make, None while `resource_version` can be watched from. Times in seconds."""

    list_due: List | None = ANY
    resource_version: str = ""
    delay: float = FIRST_DELAY
    troubled_at: float = float("-inf")
    step_began_at: float = 0.0

    def seen(self, resource_version: str) -> State:
        """A watch came as far as this version: where the next one resumes."""
        return replace(self, resource_version=resource_version) if resource_version else self


def advance(state: State, outcome: Outcome, now: float, chance: float) -> tuple[State, Step]:
    """The state and the step that follow. `now` is monotonic, in seconds; `chance` is in [0, 1)."""
    if now - state.troubled_at > QUIET:
        state = replace(state, delay=FIRST_DELAY)
    match outcome:
        case Trouble(retry_after):
            return _back_off(state, retry_after or 0.0, now, chance)
        case Mute():
            return _back_off(replace(state, list_due=NEWEST), 0.0, now, chance)
        case WatchDone() if now - state.step_began_at < SHORTEST_WATCH:
            return _back_off(state, 0.0, now, chance)
        case Expired():
            state = replace(state, list_due=NEWEST_WHOLE if state.list_due in (NEWEST, NEWEST_WHOLE) else NEWEST)
            if now - state.troubled_at <= QUIET:
                return _back_off(state, 0.0, now, chance)
            state = replace(state, troubled_at=now)  # at once, but only once: a second 410 soon after has to wait
        case ListDone(version):
            state = replace(state, list_due=None, resource_version=version)
    return replace(state, step_began_at=now), _due(state, chance)


def _due(state: State, chance: float) -> Step:
    if state.list_due is not None:
        return state.list_due
    shortest, longest = WATCH_SECONDS
    return Watch(state.resource_version, shortest + int(chance * (longest - shortest)))


def _back_off(state: State, floor: float, now: float, chance: float) -> tuple[State, Step]:
    wait = Wait(min(floor, RETRY_AFTER_LIMIT) + chance * state.delay)
    return replace(state, delay=min(2 * state.delay, LAST_DELAY), troubled_at=now), wait

"""The world as controllers see it: what the watches said, and what we wrote ourselves, whichever is newer. Pure.

A controller must not act twice because its own write has not come back by the watch. So the server's answer to a write
goes into the world at once; after that, older states of the object that are still on their way are ignored. States of
one resource are ordered by resourceVersion (a number, comparable since KEP-5504); one that is none counts as newer.
"""

from __future__ import annotations

import msgspec

from svclab.controllers.reduce import Body, Seen, World, key_of

MEMORY = 4096  # objects whose end was seen last


class Change(msgspec.Struct, frozen=True):
    """A `Seen` of the merged world."""

    resource: str
    key: str
    old: Body | None
    new: Body | None


class View:
    def __init__(self, world: World) -> None:
        self.world = world
        self._removed: dict[tuple[str, str], str] = {}
        self._ended: dict[str, None] = {}
        self._unconfirmed: dict[tuple[str, str], float] = {}

    def watched(self, seen: Seen) -> Change | None:
        """Takes in what a watch said; None if we knew, or know better."""
        where = (seen.resource, seen.key)
        held = self.world.get(*where)
        if seen.new is None:
            uid = _uid(seen.old)
            self._ended[uid] = None  # an answer may be slower than the watch
            if len(self._ended) > MEMORY:
                del self._ended[next(iter(self._ended))]
            if self._removed.get(where) == uid:
                del self._removed[where]
            if held is None or _uid(held) != uid:
                return None
            return self._put(*where, None)
        if self._removed.get(where) == _uid(seen.new):
            return None
        if held is not None and _version(seen.new) <= _version(held):
            if _version(seen.new) == _version(held) and _uid(seen.new) == _uid(held):
                self._unconfirmed.pop(where, None)
            return None
        self._removed.pop(where, None)
        return self._put(*where, seen.new)

    def answered(self, resource: str, body: Body, now: float) -> Change | None:
        """Takes in an object as the server stored it; `now` is for `unconfirmed`."""
        key = key_of(body)
        held = self.world.get(resource, key)
        if held is not None and _version(body) <= _version(held):
            return None
        if self._removed.get((resource, key)) == _uid(body) or _uid(body) in self._ended:
            return None
        change = self._put(resource, key, body)
        self._unconfirmed[resource, key] = now
        return change

    def removed(self, resource: str, key: str, uid: str) -> Change | None:
        """The server says that it is gone for good; "" stands for whatever is there."""
        held = self.world.get(resource, key)
        if held is None or (uid and _uid(held) != uid):
            return None
        self._removed[resource, key] = _uid(held)
        return self._put(resource, key, None)

    def assumed(self, resource: str, body: Body) -> Change:
        """A state we expect to see soon; the next one that is seen or answered replaces it."""
        return self._put(resource, key_of(body), body)

    def withdrawn(self, assumed: Change) -> Change | None:
        """It did not come so: what was there before is put back, unless something newer is there."""
        if assumed.old is None or self.world.get(assumed.resource, assumed.key) is not assumed.new:
            return None
        return self._put(assumed.resource, assumed.key, assumed.old)

    def unconfirmed(self, before: float) -> list[tuple[str, str]]:
        """What was written before this moment and never came back by a watch; each is told once."""
        found = [where for where, since in self._unconfirmed.items() if since < before]
        for where in found:
            del self._unconfirmed[where]
        return found

    def _put(self, resource: str, key: str, new: Body | None) -> Change:
        change = Change(resource, key, self.world.get(resource, key), new)
        self._unconfirmed.pop((resource, key), None)
        self.world.apply(change)
        return change


def _uid(body: Body | None) -> str:
    return "" if body is None else str(body["metadata"].get("uid", ""))


def _version(body: Body) -> float:
    text = body["metadata"].get("resourceVersion", "")
    return int(text) if text.isdecimal() else float("inf")

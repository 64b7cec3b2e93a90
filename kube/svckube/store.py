"""What the API server said, kept: apply a message, learn what it changed.

In: `Listed` (the complete state of one kind), `Applied`, `Deleted`. Out: `Change` values, and the tables themselves.
Work is proportional to the change, but for `Listed`, which is read once through. A message that brings nothing new
(an object as it was, the deletion of something unknown) gives no Change, so that whatever stands behind the
store does nothing either. An object that was skipped because it did not decode keeps its last good value: a field
we cannot read is no reason to take a working service down.

A Store belongs to one thread. It refuses kinds it was not made for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar, cast

import msgspec

from svckube.objects import EndpointSlice, KubeObject, Service
from svckube.stream import Applied, Deleted

K = TypeVar("K", bound=KubeObject)


class Listed(msgspec.Struct, frozen=True):
    """The complete state of one kind. `skipped` holds the keys of objects that exist but did not decode."""

    kind: type[KubeObject]
    objects: tuple[KubeObject, ...]
    skipped: frozenset[str] = frozenset()


class Change(msgspec.Struct, frozen=True):
    """One object came (`old` is None), went (`new` is None) or became another."""

    kind: type[KubeObject]
    key: str
    old: KubeObject | None
    new: KubeObject | None

    @property
    def service_keys(self) -> tuple[str, ...]:
        """The Services whose picture changed: one, or two when a slice moved between them, or none; sorted."""
        if self.kind is Service:
            return (self.key,)
        slices = (one for one in (self.old, self.new) if isinstance(one, EndpointSlice))
        return tuple(sorted({one.service_key for one in slices} - {""}))


class Store:
    """The tables of the given kinds, and the index from a Service to its EndpointSlices."""

    def __init__(self, kinds: Iterable[type[KubeObject]]) -> None:
        self._tables: dict[type[KubeObject], dict[str, KubeObject]] = {kind: {} for kind in kinds}
        self._listed: set[type[KubeObject]] = set()
        self._slices: dict[str, tuple[EndpointSlice, ...]] = {}

    def apply(self, message: Listed | Applied | Deleted) -> list[Change]:
        """Takes the message in and returns what it changed; a relist in the list's order, then its deletions by key."""
        if isinstance(message, Listed):
            return self._relist(message)
        kind = type(message.object)
        change = (
            self._put(kind, message.object) if isinstance(message, Applied) else self._drop(kind, message.object.key)
        )
        return [change] if change is not None else []

    def synced(self, *kinds: type[KubeObject]) -> bool:
        """Whether each of these kinds was listed at least once; never goes back to False."""
        return self._listed.issuperset(kinds)

    def get(self, kind: type[K], key: str) -> K | None:
        return cast("K | None", self._table(kind).get(key))

    def objects(self, kind: type[K]) -> Mapping[str, K]:
        """A read-only view that follows the store; copy it if it has to outlive the next `apply`."""
        return MappingProxyType(cast("dict[str, K]", self._table(kind)))

    def slices(self, service_key: str) -> tuple[EndpointSlice, ...]:
        """The EndpointSlices of one Service, sorted by name; also of one that does not exist (yet)."""
        return self._slices.get(service_key, ())

    def _table(self, kind: type[KubeObject]) -> dict[str, KubeObject]:
        try:
            return self._tables[kind]
        except KeyError:
            raise ValueError(f"this store holds no {kind.__name__} objects; name the kind when making it") from None

    def _relist(self, message: Listed) -> list[Change]:
        table = self._table(message.kind)
        changes = [self._put(message.kind, obj) for obj in message.objects]
        missing = table.keys() - {obj.key for obj in message.objects} - message.skipped
        changes += [self._drop(message.kind, key) for key in sorted(missing)]
        self._listed.add(message.kind)
        return [change for change in changes if change is not None]

    def _put(self, kind: type[KubeObject], new: KubeObject) -> Change | None:
        table, key = self._table(kind), new.key
        old = table.get(key)
        if old == new:
            return None
        table[key] = new
        self._reindex(key, old, new)
        return Change(kind, key, old, new)

    def _drop(self, kind: type[KubeObject], key: str) -> Change | None:
        old = self._table(kind).pop(key, None)
        if old is None:
            return None
        self._reindex(key, old, None)
        return Change(kind, key, old, None)

    def _reindex(self, key: str, old: KubeObject | None, new: KubeObject | None) -> None:
        if isinstance(old, EndpointSlice) and old.service_key in self._slices:
            rest = tuple(one for one in self._slices[old.service_key] if one.key != key)
            if rest:
                self._slices[old.service_key] = rest
            else:
                del self._slices[old.service_key]
        if isinstance(new, EndpointSlice) and (owner := new.service_key):
            others = self._slices.get(owner, ())
            self._slices[owner] = tuple(sorted((*others, new), key=lambda one: one.key)) if others else (new,)

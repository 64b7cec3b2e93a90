"""Local copies of several resources, kept up to date by reflectors; for a program with one loop.

In: an `Access` and the resources to follow. Out: `tables`, and from `wait` what changed in them since the last time.
Reflector threads only put messages into a queue: the tables belong to the thread that calls `wait`.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from svckube.access import Access
from svckube.objects import Document
from svckube.reflector import Batch, Reflector, Resource
from svckube.store import Listed
from svckube.stream import Deleted

Body: TypeAlias = dict[str, Any]
"""An API object as JSON values. Shared: whoever changes one copies it first."""


class Seen(msgspec.Struct, frozen=True):
    """One object came (`old` is None), went (`new` is None) or became another. `resource` is the plural."""

    resource: str
    key: str
    old: Body | None
    new: Body | None


def resource(path: str, **selectors: str) -> Resource:
    """Whole objects at a path such as `/apis/apps/v1/replicasets`; selectors as `Resource` has them."""
    return Resource(Document, path, **selectors)


class Watched:
    """Follows resources from `start` to `stop`.

    `tables[plural][key]` is an object; a key is `namespace/name`, or `name` of what is in no namespace.
    """

    def __init__(self, access: Access, resources: Iterable[Resource]) -> None:
        self._arrived: queue.SimpleQueue[tuple[str, Batch] | None] = queue.SimpleQueue()
        self._unlisted: set[str] = set()
        self._reflectors: list[Reflector] = []
        self.tables: dict[str, dict[str, Body]] = {}
        for each in resources:
            plural = each.path.rpartition("/")[2]
            self.tables[plural] = {}
            self._unlisted.add(plural)
            self._reflectors.append(Reflector(access, each, self._receiver(plural)))

    @property
    def synced(self) -> bool:
        """Has every resource been listed?"""
        return not self._unlisted

    def start(self) -> None:
        for reflector in self._reflectors:
            reflector.start()

    def stop(self) -> None:
        for reflector in self._reflectors:
            reflector.stop()
        self.wake()

    def wake(self) -> None:
        """Makes `wait` return; from any thread, also from a signal handler."""
        self._arrived.put(None)

    def wait(self, seconds: float) -> list[Seen]:
        """Waits at most so long for something to happen; takes in all that has arrived; returns what it changed."""
        seen: list[Seen] = []
        deadline = time.monotonic() + max(seconds, 0.0)
        try:
            item = self._arrived.get(timeout=max(deadline - time.monotonic(), 0.0)) if seconds > 0 else None
            while True:
                if item is not None:
                    seen += self._take(*item)
                item = self._arrived.get_nowait()
        except queue.Empty:
            return seen

    def _receiver(self, plural: str) -> Any:
        return lambda batch: self._arrived.put((plural, batch))

    def _take(self, plural: str, batch: Batch) -> list[Seen]:
        table, seen = self.tables[plural], []
        for message in batch:
            if isinstance(message, Listed):
                self._unlisted.discard(plural)
                there = {one.key: one for one in message.objects}
                gone = [key for key in table if key not in there and key not in message.skipped]
                changes = [*there.items(), *((key, None) for key in gone)]
            elif isinstance(message, Deleted):
                changes = [(message.object.key, None)]
            else:
                changes = [(message.object.key, message.object)]
            for key, document in changes:
                old = table.pop(key, None)
                new = document.body if isinstance(document, Document) else None
                if new is not None:
                    table[key] = new
                if _version(old) != _version(new):
                    seen.append(Seen(plural, key, old, new))
        return seen


def _version(body: Body | None) -> str | None:
    return None if body is None else body["metadata"].get("resourceVersion", "")

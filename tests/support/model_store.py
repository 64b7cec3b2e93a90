"""An API server in a dictionary, for controllers: it carries out their writes and shows them what came of it.

In: controllers, and changes by "users". Out: the objects after all controllers have come to rest, and which writes
that took. It checks what the real one would: unique names, the resourceVersion of an update, the uid of a patch or
deletion. It knows no defaults and no validation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import msgspec

from svclab.apiserver.patches import merged
from svclab.controllers.moments import stamp
from svclab.controllers.reduce import (
    Body,
    Controller,
    Create,
    Delete,
    DeleteAll,
    Patch,
    Record,
    Update,
    World,
    Write,
    key_of,
)

NOW = 1_800_000_000.0
MOST_PASSES = 1000


class Change(msgspec.Struct, frozen=True):
    """What `svclab.watched.Seen` is."""

    resource: str
    key: str
    old: Body | None
    new: Body | None


class ConflictError(AssertionError):
    """A write that the API server would refuse: no controller may make one while nobody else writes."""


class ModelStore:
    def __init__(self, *controllers: Controller) -> None:
        self.world = World()
        self.controllers = controllers
        self.writes: list[Write] = []
        self.events: list[Record] = []
        self._versions = itertools.count(1)
        self._queue: dict[tuple[int, str], None] = {}

    def all(self, resource: str) -> list[Body]:
        """Sorted by key."""
        return [body for _, body in sorted(self.world.all(resource).items())]

    def put(self, resource: str, body: Body) -> Body:
        """A user's create or replace; uid and creation survive a replacement."""
        old = self.world.get(resource, key_of(body))
        known = {} if old is None else {field: old["metadata"][field] for field in ("uid", "creationTimestamp")}
        return self._store(resource, {**body, "metadata": {**body["metadata"], **known}})

    def remove(self, resource: str, key: str) -> Body | None:
        """A user's deletion; returns what was there."""
        old = self.world.get(resource, key)
        if old is not None:
            self.world.put(resource, key, None)
            self._notice(Change(resource, key, old, None))
        return old

    def settle(self) -> list[Write]:
        """Lets the controllers work until nothing is left to do; returns their writes, Events apart."""
        done: list[Write] = []
        for _ in range(MOST_PASSES):
            if not self._queue:
                self.writes += done
                return done
            number, key = next(iter(self._queue))
            del self._queue[number, key]
            for write in self.controllers[number].reconcile(key, self.world, NOW).writes:
                if isinstance(write, Record):
                    self.events.append(write)
                else:
                    self._carry_out(write)
                    done.append(write)
        raise AssertionError(f"no rest after {MOST_PASSES} passes; the last writes were {done[-3:]}")

    def again(self, keys: Iterable[str]) -> list[Write]:
        """What all controllers would still do about some keys, without doing it."""
        outcomes = [one.reconcile(key, self.world, NOW) for one in self.controllers for key in keys]
        return [write for outcome in outcomes for write in outcome.writes if not isinstance(write, Record)]

    def _carry_out(self, write: Create | Update | Patch | Delete | DeleteAll) -> None:
        if isinstance(write, Create):
            self._create(write)
        elif isinstance(write, Update):
            old = self._existing(write.resource, key_of(write.body), "")
            if write.body["metadata"].get("resourceVersion") != old["metadata"]["resourceVersion"]:
                raise ConflictError(f"{write} was made from another version than {old}")
            self._store(write.resource, write.body)
        elif isinstance(write, Patch):
            self._store(write.resource, merged(self._existing(write.resource, write.key, write.uid), write.patch))
        elif isinstance(write, DeleteAll):
            for body in self.world.by_namespace(write.resource, write.namespace):
                self.remove(write.resource, key_of(body))
        else:
            self._existing(write.resource, write.key, write.uid)
            self.remove(write.resource, write.key)

    def _create(self, write: Create) -> None:
        meta = dict(write.body["metadata"])
        if "name" not in meta:
            meta["name"] = f"{meta['generateName']}{next(self._versions):05}"
        body = {**write.body, "metadata": meta}
        if self.world.get(write.resource, key_of(body)) is not None:
            raise ConflictError(f"{write} is there already")
        self._store(write.resource, body)

    def _existing(self, resource: str, key: str, uid: str) -> Body:
        old = self.world.get(resource, key)
        if old is None or uid not in ("", old["metadata"]["uid"]):
            raise ConflictError(f"there is no {resource} {key} with uid {uid!r}")
        return old

    def _store(self, resource: str, body: Body) -> Body:
        version = next(self._versions)
        new_marks = {"uid": f"uid-{version}", "creationTimestamp": stamp(NOW + version)}
        body = {**body, "metadata": {**new_marks, **body["metadata"], "resourceVersion": str(version)}}
        old = self.world.get(resource, key_of(body))
        self.world.put(resource, key_of(body), body)
        self._notice(Change(resource, key_of(body), old, body))
        return body

    def _notice(self, change: Change) -> None:
        for number, controller in enumerate(self.controllers):
            if change.resource in controller.watches:
                self._queue.update(dict.fromkeys((number, key) for key in controller.keys(change, self.world)))

"""A cluster in memory for pure controllers: it answers writes as the API server would, and nothing else happens in it.

In: objects and controllers. Out: the objects after everyone has written what they wanted, at a time the test chooses.
Each change is given to the controllers' `keys`, each key to `reconcile`, until nothing is written any more. Refuses to
go on after LIMIT rounds (two controllers that fight, or one that never has enough), and a controller that writes the
same thing again although it was done.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence

from svclab.apiserver.patches import merged
from svclab.controllers.kinds import KINDS
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
from svclab.watched import Seen

LIMIT = 400


class Modelled:
    """`now` moves only by `pass_time`. `records` are the events that were recorded, as (reason, message)."""

    def __init__(self, controllers: Sequence[Controller], now: float = 1_800_000_000.0) -> None:
        self.world = World(KINDS)
        self.now = now
        self.records: list[tuple[str, str]] = []
        self.writes = 0
        self.refuse: Callable[[Write], str] = lambda write: ""
        self._controllers = controllers
        self._version = 0
        self._waiting: dict[tuple[int, str], None] = {}
        self._later: dict[tuple[int, str], float] = {}

    # What a user or a kubelet does

    def add(self, resource: str, body: Body) -> Body:
        """As POST does; returns it as stored."""
        body = copy.deepcopy(body)
        metadata = body["metadata"]
        if "name" not in metadata:
            metadata["name"] = f"{metadata['generateName']}{self._version:05}"
        metadata.setdefault("uid", f"uid-{self._version + 1}")
        metadata.setdefault("creationTimestamp", stamp(self.now))
        metadata.setdefault("generation", 1)
        if resource == "pods":
            metadata.setdefault("generation", 1)
            body.setdefault("status", {"phase": "Pending"})
        if resource == "namespaces":
            body.setdefault("spec", {"finalizers": ["kubernetes"]})
        assert self.world.get(resource, key_of(body)) is None, f"{resource} {key_of(body)} exists"
        return self._store(resource, body)

    def change(self, resource: str, key: str, patch: Body) -> Body:
        """As PATCH does, on the object and on its status; a changed spec makes a new generation."""
        old = self.world.tables[resource][key]
        new: Body = merged(old, patch)
        if new == old:
            return old
        if new.get("spec") != old.get("spec"):
            new["metadata"] = {**new["metadata"], "generation": old["metadata"].get("generation", 1) + 1}
        if new["metadata"].get("deletionTimestamp") and self._is_free(resource, new):
            self._drop(resource, key)
            return new
        return self._store(resource, new)

    def remove(self, resource: str, key: str, propagation: str = "", grace: int | None = None) -> None:
        """As DELETE does: pods on a node and objects with finalizers only begin to go."""
        old = self.world.tables[resource][key]
        metadata = dict(old["metadata"])
        finalizers = list(metadata.get("finalizers") or ())
        wanted = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(propagation)
        if wanted and wanted not in finalizers:
            finalizers.append(wanted)
        metadata["finalizers"] = finalizers
        if not metadata.get("deletionTimestamp"):
            metadata["deletionTimestamp"] = stamp(self.now)
        if resource == "pods":
            bound = bool(old["spec"].get("nodeName"))
            metadata["deletionGracePeriodSeconds"] = grace if grace is not None else 30 if bound else 0
        new = {**old, "metadata": metadata}
        if self._is_free(resource, new):
            self._drop(resource, key)
        elif new != old:
            self._store(resource, new)

    def pass_time(self, seconds: float) -> None:
        """And then do what was due by the end of it."""
        self.now += seconds
        due = [key for key, moment in self._later.items() if moment <= self.now]
        for key in due:
            del self._later[key]
            self._waiting[key] = None
        self.settle()

    def settle(self) -> None:
        """Until nobody wants anything. Every key is asked once more after its writes, and must then be content."""
        for _ in range(LIMIT):
            waiting, self._waiting = self._waiting, {}
            if not waiting:
                return
            for number, key in waiting:
                self._reconcile(number, key)
        raise AssertionError(f"no rest after {LIMIT} rounds; the last keys: {list(waiting)}")

    def all(self, resource: str, namespace: str = "shop") -> list[Body]:
        return self.world.by_namespace(resource, namespace)

    # The API server

    def _reconcile(self, number: int, key: str) -> None:
        controller = self._controllers[number]
        outcome = controller.reconcile(key, self.world, self.now)
        refused = ""
        for write in outcome.writes:
            refused = self.refuse(write)
            if refused:
                if isinstance(write, Create) and write.otherwise is not None:
                    self.records.append((write.otherwise.reason, write.otherwise.message + refused))
                break
            self._perform(write)
        if self.world.note_failure(controller.name, key, refused):
            self._waiting[number, key] = None
        if outcome.again_after is not None:
            self._later[number, key] = self.now + outcome.again_after

    def _perform(self, write: Write) -> None:
        if isinstance(write, Record):
            self.records.append((write.reason, write.message))
            return
        self.writes += 1
        match write:
            case Create(resource="pods", subresource="binding"):
                self.change("pods", key_of(write.body), {"spec": {"nodeName": write.body["target"]["name"]}})
            case Create():
                made = self.add(write.resource, write.body)
                if write.then is not None:
                    self.records.append((write.then.reason, write.then.message + made["metadata"]["name"]))
            case Update(resource, body):
                self.change(resource, key_of(body), {"spec": body.get("spec")})
                self._end_of_namespace(resource, key_of(body))
            case Patch(resource, key, patch, _, uid):
                current = self.world.get(resource, key)
                if current is not None and (not uid or current["metadata"]["uid"] == uid):
                    self.change(resource, key, without_version(patch))
            case Delete():
                if self.world.get(write.resource, write.key) is not None:
                    self.remove(write.resource, write.key, write.propagation, write.grace_seconds)
            case DeleteAll(resource, namespace):
                for body in self.world.by_namespace(resource, namespace):
                    self.remove(resource, key_of(body))

    def _end_of_namespace(self, resource: str, key: str) -> None:
        body = self.world.get(resource, key)
        if resource == "namespaces" and body is not None and body["metadata"].get("deletionTimestamp"):
            self._drop(resource, key)

    @staticmethod
    def _is_free(resource: str, body: Body) -> bool:
        """Nothing holds a deleted object any more."""
        if body["metadata"].get("finalizers"):
            return False
        if resource == "namespaces":
            return not body["spec"].get("finalizers")
        return resource != "pods" or body["metadata"].get("deletionGracePeriodSeconds", 0) == 0

    def _store(self, resource: str, body: Body) -> Body:
        self._version += 1
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self._version)}}
        self._tell(Seen(resource, key_of(body), self.world.get(resource, key_of(body)), body))
        return body

    def _drop(self, resource: str, key: str) -> None:
        self._version += 1
        self._tell(Seen(resource, key, self.world.get(resource, key), None))

    def _tell(self, seen: Seen) -> None:
        self.world.apply(seen)
        for number, controller in enumerate(self._controllers):
            if seen.resource in controller.watches:
                self._waiting.update(dict.fromkeys((number, key) for key in controller.keys(seen, self.world)))


def without_version(patch: Body) -> Body:
    metadata = {name: value for name, value in (patch.get("metadata") or {}).items() if name != "resourceVersion"}
    return {**patch, "metadata": metadata}


def wanting_nothing(controllers: Iterable[Controller], world: World, keys: Iterable[str], now: float) -> bool:
    """Does no controller want to write anything about these keys?"""
    return not any(one.reconcile(key, world, now).writes for one in controllers for key in keys)

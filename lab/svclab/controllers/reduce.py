"""What every controller is: a pure function from the objects of the cluster to the writes it wants made.

In: a `World` (local copies of the API objects) and a key. Out: an `Outcome`: writes as values, and when to look again.
A controller keeps no memory between two calls: what it must remember stands in API objects. The runner carries the
writes out and puts the server's answers into the World before the next call, so a controller sees its own writes.
Nothing here changes an object: bodies are shared, and whoever wants another one makes a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias

import msgspec

Body: TypeAlias = dict[str, Any]
"""An API object as JSON values."""


class Seen(Protocol):
    """One object came (`old` is None), went (`new` is None) or became another: what `svclab.watched.Seen` is."""

    @property
    def resource(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def old(self) -> Body | None: ...
    @property
    def new(self) -> Body | None: ...


class Create(msgspec.Struct, frozen=True):
    """POST; namespace and name (or generateName) stand in `body["metadata"]`. `resource` is the plural.

    `subresource` is one of the object named in the metadata: "binding" of pods. `then` is recorded when it
    is done, with the name that the object got at the end of the message, `otherwise` if the server refuses, with the
    server's message at the end.
    """

    resource: str
    body: Body
    subresource: str = ""
    otherwise: Record | None = None
    then: Record | None = None


class Update(msgspec.Struct, frozen=True):
    """PUT of the whole object with the resourceVersion it was read at."""

    resource: str
    body: Body
    subresource: str = ""


class Patch(msgspec.Struct, frozen=True):
    """A merge patch (RFC 7396); with `uid` it is refused (409) if the object is another one by now."""

    resource: str
    key: str
    patch: Body
    subresource: str = ""
    uid: str = ""


class Delete(msgspec.Struct, frozen=True):
    """`propagation` is "" (the server's choice), "Background", "Foreground" or "Orphan".

    With `absent` (plural, key, uid), the server is asked first, and if any of those objects exists the write fails:
    our copy of them may be late.
    """

    resource: str
    key: str
    uid: str = ""
    grace_seconds: int | None = None
    propagation: str = ""
    absent: tuple[tuple[str, str, str], ...] = ()


class DeleteAll(msgspec.Struct, frozen=True):
    """DELETE of the collection in a namespace."""

    resource: str
    namespace: str


class Record(msgspec.Struct, frozen=True):
    """An Event about an object; `type` is "Normal" or "Warning". Repetitions are counted in one Event object."""

    about: Body
    type: str
    reason: str
    message: str
    component: str


Write: TypeAlias = Create | Update | Patch | Delete | DeleteAll | Record


class Outcome(msgspec.Struct, frozen=True):
    """What to write, in this order; with `again_after`, this key is looked at again after so many seconds.

    A write that the server refuses does not stop the others, but for the Records right behind it, which tell of it; one
    with `otherwise` does stop them. The key is looked at again, later each time something fails.
    """

    writes: tuple[Write, ...] = ()
    again_after: float | None = None


class Controller(Protocol):
    """`reconcile` is pure and level-triggered: it looks only at the world, not at what happened."""

    @property
    def name(self) -> str:
        """As in kube-controller-manager: "replicaset-controller"."""

    @property
    def watches(self) -> tuple[str, ...]:
        """The plurals it reads."""

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        """Which of its keys an event touches. The event is already in the world. Keys are the controller's own."""

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        """What to do about a key; `now` is in seconds since the epoch. A key of what is gone gives no writes."""


class World:
    """Tables of objects by plural and key (`namespace/name`, or `name`), with indexes. Read-only for controllers."""

    def __init__(self, plurals: Iterable[str] = ()) -> None:
        self.tables: dict[str, dict[str, Body]] = {plural: {} for plural in plurals}
        self._by_namespace: dict[tuple[str, str], dict[str, Body]] = {}
        self._owned: dict[str, dict[tuple[str, str], Body]] = {}
        self._pods_on: dict[str, dict[str, Body]] = {}
        self._uids: dict[str, tuple[str, str]] = {}
        self._failures: dict[tuple[str, str], str] = {}

    def apply(self, seen: Seen) -> None:
        """Takes one change in; `seen.old` is not believed: what the tables hold is replaced."""
        self.put(seen.resource, seen.key, seen.new)

    def put(self, resource: str, key: str, new: Body | None) -> None:
        """The object at a key is this one now; None: there is none."""
        table = self.tables.setdefault(resource, {})
        old = table.pop(key, None)
        if old is not None:
            self._unlink(resource, key, old)
        if new is not None:
            table[key] = new
            self._link(resource, key, new)

    def get(self, resource: str, key: str) -> Body | None:
        return self.tables.get(resource, {}).get(key)

    def all(self, resource: str) -> Mapping[str, Body]:
        """key → object, in no order."""
        return self.tables.get(resource, {})

    def by_namespace(self, resource: str, namespace: str) -> list[Body]:
        """Sorted by key."""
        found = self._by_namespace.get((resource, namespace), {})
        return [found[key] for key in sorted(found)]

    def owned_by(self, uid: str) -> list[tuple[str, Body]]:
        """(plural, object) of all that name this uid in an ownerReference, controller or not; sorted."""
        found = self._owned.get(uid, {})
        return [(where[0], found[where]) for where in sorted(found)]

    def pods_on(self, node: str) -> list[Body]:
        """Pods bound to a node (`spec.nodeName`), sorted by key; "" gives the unbound ones."""
        found = self._pods_on.get(node, {})
        return [found[key] for key in sorted(found)]

    def by_uid(self, uid: str) -> tuple[str, Body] | None:
        """(plural, object)."""
        where = self._uids.get(uid)
        return None if where is None else (where[0], self.tables[where[0]][where[1]])

    def failure(self, controller: str, key: str) -> str:
        """What the server said when it refused the last outcome of this controller for this key; "" if it did not."""
        return self._failures.get((controller, key), "")

    def note_failure(self, controller: str, key: str, message: str) -> bool:
        """For the runner. Whether that is news."""
        before = self._failures.pop((controller, key), "")
        if message:
            self._failures[controller, key] = message
        return before != message

    def _link(self, resource: str, key: str, body: Body) -> None:
        metadata = body["metadata"]
        if namespace := metadata.get("namespace"):
            self._by_namespace.setdefault((resource, namespace), {})[key] = body
        for owner in metadata.get("ownerReferences") or ():
            self._owned.setdefault(owner["uid"], {})[resource, key] = body
        if uid := metadata.get("uid"):
            self._uids[uid] = (resource, key)
        if resource == "pods":
            self._pods_on.setdefault(node_of(body), {})[key] = body

    def _unlink(self, resource: str, key: str, body: Body) -> None:
        metadata = body["metadata"]
        _drop(self._by_namespace, (resource, metadata.get("namespace", "")), key)
        for owner in metadata.get("ownerReferences") or ():
            _drop(self._owned, owner["uid"], (resource, key))
        if self._uids.get(metadata.get("uid", "")) == (resource, key):
            del self._uids[metadata["uid"]]
        if resource == "pods":
            _drop(self._pods_on, node_of(body), key)


def key_of(body: Body) -> str:
    """`namespace/name`, or `name` of what is in no namespace."""
    metadata = body["metadata"]
    namespace = metadata.get("namespace", "")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def node_of(pod: Body) -> str:
    """The node a pod is bound to, "" if to none."""
    return (pod.get("spec") or {}).get("nodeName") or ""


def controller_of(body: Body) -> Body | None:
    """The ownerReference with `controller: true`."""
    owners = body["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def _drop(index: dict[Any, dict[Any, Body]], value: Any, key: Any) -> None:
    found = index.get(value)
    if found is not None:
        found.pop(key, None)
        if not found:
            del index[value]

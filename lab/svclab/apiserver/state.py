"""The objects of a cluster, as values: what is there now, and what changed lately.

In: bodies to store, keys to remove. Out: `Change`s, each with a revision of its own from one global counter, and what
they leave behind: tables, lists as of a past revision, the changes since one. Nothing here judges an object: names,
locking and finalizers are `verbs`' business. Bodies belong to the state once they are given and are never changed.

A resource is named `group/plural` ("/pods", "apps/deployments"), an object in it `namespace/name`, or `name` where
there are no namespaces. The history of a resource is bounded: who asks for what lies before it gets `ExpiredError`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from svclab.apiserver import go_json

Body: TypeAlias = dict[str, Any]

_HEAD = ("kind", "apiVersion", "metadata")
HISTORY = 4096  # changes kept for each resource


class ExpiredError(Exception):
    """The history does not reach back so far. `oldest` is the first revision that can be asked for."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {asked} ({oldest})")
        self.oldest = oldest


class Stored:
    """An object as it was written. `encoded` is its JSON, made once for all who list and watch it.

    `item` is the same without kind and apiVersion: so it stands in a list.
    """

    __slots__ = ("_encoded", "body", "revision")

    def __init__(self, body: Body, revision: int) -> None:
        self.body = body
        self.revision = revision
        self._encoded = b""

    @property
    def encoded(self) -> bytes:
        if not self._encoded:
            self._encoded = go_json.encoded(self.body)
        return self._encoded

    @property
    def item(self) -> bytes:
        whole = self.encoded
        head = go_json.encoded({key: self.body[key] for key in ("kind", "apiVersion")})[:-1] + b","
        return b"{" + whole.removeprefix(head) if whole.startswith(head) else whole


class Change:
    """One write. `old` is None for a new object; `new` of a removal is the last body with the removal's revision."""

    __slots__ = ("key", "new", "old", "removed", "resource")

    def __init__(self, resource: str, key: str, old: Stored | None, new: Stored, removed: bool) -> None:
        self.resource = resource
        self.key = key
        self.old = old
        self.new = new
        self.removed = removed

    @property
    def revision(self) -> int:
        return self.new.revision


class State:
    """Starts with the objects of `before` (resource → key → body) at `revision`, and without history."""

    def __init__(
        self, before: Mapping[str, Mapping[str, Body]] | None = None, revision: int = 1, history: int = HISTORY
    ) -> None:
        self.revision = revision
        self._begin = revision
        self._limit = history
        self._history: dict[str, deque[Change]] = {}
        self._forgotten: dict[str, int] = {}
        self._tables: dict[str, dict[str, Stored]] = {
            resource: {key: Stored(body, int(body["metadata"]["resourceVersion"])) for key, body in table.items()}
            for resource, table in (before or {}).items()
        }

    def get(self, resource: str, key: str) -> Stored | None:
        return self._tables.get(resource, {}).get(key)

    def write(self, resource: str, key: str, body: Body) -> Change:
        """Stores `body` with a new resourceVersion; the caller's dictionary is not kept."""
        revision = self.revision + 1
        new = Stored(versioned(body, revision), revision)
        change = Change(resource, key, self.get(resource, key), new, removed=False)
        self._tables.setdefault(resource, {})[key] = new
        self._remember(change)
        return change

    def remove(self, resource: str, key: str, last: Body | None = None) -> Change:
        """Removes an object; `last` is its final body where that differs from the stored one. KeyError if absent."""
        old = self._tables[resource].pop(key)
        revision = self.revision + 1
        change = Change(resource, key, old, Stored(versioned(last or old.body, revision), revision), removed=True)
        self._remember(change)
        return change

    def objects(self, resource: str, namespace: str = "") -> list[Stored]:
        """All of a resource, or of it in one namespace, sorted by key."""
        table = self._tables.get(resource, {})
        if not namespace:
            return [table[key] for key in sorted(table)]
        prefix = f"{namespace}/"
        return [table[key] for key in sorted(key for key in table if key.startswith(prefix))]

    def objects_at(self, resource: str, namespace: str, revision: int) -> list[Stored]:
        """The same as it was at a past revision. Raises ExpiredError."""
        if revision >= self.revision:
            return self.objects(resource, namespace)
        then = dict(self._tables.get(resource, {}))
        for change in reversed(self.changes_since(resource, revision)):
            if change.old is not None:
                then[change.key] = change.old
            else:
                then.pop(change.key, None)
        prefix = f"{namespace}/" if namespace else ""
        return [then[key] for key in sorted(then) if key.startswith(prefix)]

    def changes_since(self, resource: str, revision: int) -> list[Change]:
        """All changes after a revision, oldest first. Raises ExpiredError."""
        forgotten = self._forgotten.get(resource, self._begin)
        if revision < forgotten and not self._is_whole(resource, revision):
            raise ExpiredError(revision, forgotten)
        found: list[Change] = []
        for change in reversed(self._history.get(resource, ())):
            if change.revision <= revision:
                break
            found.append(change)
        found.reverse()
        return found

    def _is_whole(self, resource: str, revision: int) -> bool:
        """Has nothing happened before the history began? So it is in a new cluster, where any revision may be asked."""
        return self._begin == 1 and resource not in self._forgotten and revision > 0

    def _remember(self, change: Change) -> None:
        self.revision = change.revision
        history = self._history.setdefault(change.resource, deque())
        history.append(change)
        if len(history) > self._limit:
            self._forgotten[change.resource] = history.popleft().revision


def versioned(body: Body, revision: int) -> Body:
    """A copy with the resourceVersion, in the place where Go writes it."""
    metadata = {}
    for key in ("name", "generateName", "namespace", "selfLink", "uid"):
        if key in body["metadata"]:
            metadata[key] = body["metadata"][key]
    metadata["resourceVersion"] = str(revision)
    metadata.update((key, value) for key, value in body["metadata"].items() if key not in metadata)
    head: Body = {key: body[key] for key in ("kind", "apiVersion") if key in body}
    return {**head, "metadata": metadata, **{key: value for key, value in body.items() if key not in _HEAD}}


def list_body(kind: str, api_version: str, metadata: Body, items: Iterable[Stored]) -> bytes:
    """A list, from the bytes that its objects already have."""
    head = {"kind": kind, "apiVersion": api_version, "metadata": metadata}
    joined = b",".join(one.item for one in items)
    return go_json.encoded(head)[:-1] + b',"items":[' + joined + b"]}\n"


def reread(data: bytes) -> Body:
    """A stored body from its JSON."""
    body: Body = json.loads(data)
    return body

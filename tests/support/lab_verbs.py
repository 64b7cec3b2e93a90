"""The API server's verbs without HTTP and disk: what a test of objects stands on.

In: nothing but what a test sends. Out: answers, changes. Time stands still unless the test moves it, uids count up,
dice fall as a counter says: the same test gives the same objects.
"""

from __future__ import annotations

import itertools
import json
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from svclab.apiserver import seeds
from svclab.apiserver.options import Deleting, Query, Writing
from svclab.apiserver.resources import Served, Target
from svclab.apiserver.schema import Schema
from svclab.apiserver.state import Change, State
from svclab.apiserver.strategy.allocation import Ranges
from svclab.apiserver.verbs import Answer, Moment, Verbs
from svclab.apiserver.writing import Writer

BEGIN = 1_800_000_000.0
FACTS = Path(__file__).parents[2] / "lab/svclab/apiserver/schema.json"


@cache
def schema() -> Schema:
    return Schema(FACTS.read_bytes())


class Cluster:
    """A cluster with the namespaces `default` and `other`, and a service account in each."""

    def __init__(self, history: int = 4096) -> None:
        self.now = BEGIN
        self.served = Served(schema())
        self.state = State(history=history)
        self.verbs = Verbs(schema(), self.served, self.state, Ranges(ip_network("10.96.0.0/16")))
        self.writer = Writer(self.verbs)
        self._uids = itertools.count(1)
        self._dice = itertools.count()
        for name in ("default", "other"):
            self.create("/api/v1/namespaces", seeds.namespace(name))
            self.create(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
        self.verbs.taken()

    def moment(self) -> Moment:
        return Moment(self.now, f"uid-{next(self._uids)}", lambda limit: next(self._dice) % limit)

    def target(self, path: str) -> Target:
        found = self.served.find(path)
        assert found is not None, path
        return found

    def create(self, path: str, body: dict[str, Any], dry_run: bool = False) -> Answer:
        return self.verbs.create(self.target(path), body, Writing(dry_run), self.moment())

    def update(self, path: str, body: dict[str, Any], dry_run: bool = False) -> Answer:
        return self.verbs.update(self.target(path), body, Writing(dry_run), self.moment())

    def patch(self, path: str, patch: Any, kind: str = "merge-patch", query: Query | None = None) -> Answer:
        data, media = json.dumps(patch).encode(), f"application/{kind}+json"
        return self.writer.patched(self.target(path), data, media, query or {}, self.moment())

    def delete(self, path: str, **options: Any) -> Answer:
        return self.verbs.delete(self.target(path), Deleting(**options), self.moment())

    def find(self, path: str) -> dict[str, Any] | None:
        target = self.target(path)
        found = self.state.get(target.resource.store, target.key)
        return found.body if found else None

    def seen(self) -> list[tuple[str, str, str]]:
        """What has happened since the last call: (ADDED, MODIFIED or DELETED, resource, key)."""
        return [(_type(one), one.resource, one.key) for one in self.verbs.taken()]


def _type(change: Change) -> str:
    return "DELETED" if change.removed else "ADDED" if change.old is None else "MODIFIED"

"""The server's heart without HTTP: verbs, reads and watchers over one state, each write on disk before it is told.

In: targets, bodies, options. Out: answers. `settle` is the one place where changes go to the database and then to the
watchers; a database that cannot be written ends the program, because memory would be ahead of the disk.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeAlias

from svclab.apiserver import seeds
from svclab.apiserver.database import Database
from svclab.apiserver.openapi import OpenApi
from svclab.apiserver.options import Writing
from svclab.apiserver.resources import Served, Target
from svclab.apiserver.schema import Schema
from svclab.apiserver.state import Change, State
from svclab.apiserver.strategy import allocation
from svclab.apiserver.verbs import Moment, Verbs
from svclab.apiserver.writing import Writer

Body: TypeAlias = dict[str, Any]
Listener: TypeAlias = Callable[[Change], None]


class Core:
    """One cluster's objects. `listeners` are told of every change of a resource, after it is on disk."""

    def __init__(self, schema: Schema, database: Database, ranges: allocation.Ranges) -> None:
        self._database = database
        self.schema = schema
        self.served = Served(schema)
        self.openapi = OpenApi(schema, self.served)
        objects, revision = database.read()
        self.state = State(objects, revision)
        self.verbs = Verbs(schema, self.served, self.state, ranges)
        self.writer = Writer(self.verbs)
        self.listeners: dict[str, set[Listener]] = {}
        self.failed: Callable[[Exception], None] = lambda error: None
        self._ranges = ranges

    def moment(self) -> Moment:
        return Moment(time.time(), str(uuid.uuid4()), secrets.randbelow)

    def settle(self) -> None:
        """Writes what has changed, then tells the watchers. Call it before an answer goes out."""
        changes = self.verbs.taken()
        if not changes:
            return
        try:
            self._database.commit(changes)
        except Exception as error:
            self.failed(error)
            raise
        for change in changes:
            for listener in tuple(self.listeners.get(change.resource, ())):
                listener(change)

    def find(self, resource: str, key: str) -> Body | None:
        found = self.state.get(resource, key)
        return found.body if found else None

    def seed(self, address: str, port: int) -> None:
        """Makes what every cluster has, and lets the Service `kubernetes` lead to `address:port`."""
        for name in seeds.NAMESPACES:
            self._ensure("", "namespaces", seeds.namespace(name))
        first = str(self._ranges.service_cidr[1])
        self._ensure("", "services", seeds.service(first, port))
        self._put("", "endpoints", seeds.endpoints(address, port))
        self._put("discovery.k8s.io", "endpointslices", seeds.endpoint_slice(address, port))
        self.settle()

    def _target(self, group: str, plural: str, body: Body) -> Target:
        metadata = body["metadata"]
        return Target(self.served.resource(group, plural), metadata.get("namespace", ""), metadata["name"])

    def _ensure(self, group: str, plural: str, body: Body) -> None:
        target = self._target(group, plural, body)
        if self.state.get(target.resource.store, target.key) is None:
            self.verbs.create(target, body, Writing(), self.moment())

    def _put(self, group: str, plural: str, body: Body) -> None:
        target = self._target(group, plural, body)
        if self.state.get(target.resource.store, target.key) is None:
            self.verbs.create(target, body, Writing(), self.moment())
        else:
            self.verbs.update(target, body, Writing(), self.moment())

    def close(self) -> None:
        self._database.close()

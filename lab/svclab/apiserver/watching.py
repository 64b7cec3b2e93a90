"""Watches: streams of what changes, over chunked HTTP.

In: a request, its target and options. Out: one JSON document a line: what exists (if the client asked for it), then
every change that the selection sees, bookmarks once a minute and at the end. A client that does not read is cut off
when more than PENDING events wait for it: it will come back and list. Source: apiserver pkg/endpoints/handlers/
watch.go, KEP-956, KEP-3157.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from aiohttp import web

from svclab.apiserver import event_views, go_json, lists, tables
from svclab.apiserver.core import Core
from svclab.apiserver.failures import expired
from svclab.apiserver.lists import Page
from svclab.apiserver.options import Listing
from svclab.apiserver.resources import Resource, Target, strategy_of
from svclab.apiserver.state import Change, ExpiredError, Stored
from svclab.apiserver.tables import Shape

Body: TypeAlias = dict[str, Any]

BOOKMARK_SECONDS = 60.0
LAST_SECONDS = 2.0  # before a watch ends
LEAST_SECONDS = 1800  # of a watch whose client sets no limit; up to twice that
PENDING = 20_000


class Watches:
    """All open watches."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._open: set[_Watch] = set()

    async def serve(
        self,
        request: web.BaseRequest,
        target: Target,
        asked: Listing,
        shape: Shape,
        include: str,
        headers: Mapping[str, str],
    ) -> web.StreamResponse:
        """Raises StatusError before the stream begins."""
        if asked.initial and asked.version:
            lists.check_not_future(self._core.state, asked.version)
        watch = _Watch(self._core, target, asked, shape, include)
        store = target.resource.store
        listeners = self._core.listeners.setdefault(store, set())
        listeners.add(watch.changed)
        self._open.add(watch)
        response = web.StreamResponse(headers={"Cache-Control": "no-cache, private", **headers})
        response.content_type = shape.media
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            await watch.send(response)
            with suppress(ConnectionError):
                await response.write_eof()
        except ConnectionError:
            pass  # the client has gone
        finally:
            listeners.discard(watch.changed)
            self._open.discard(watch)
        return response

    def close(self) -> None:
        """Ends all watches, cleanly for their clients."""
        for watch in tuple(self._open):
            watch.end()

    def __len__(self) -> int:
        return len(self._open)


class _Watch:
    """One stream. It begins by taking what exists, or what has changed since the client's version."""

    def __init__(self, core: Core, target: Target, asked: Listing, shape: Shape, include: str) -> None:
        self._state = core.state
        self._resource: Resource = target.resource
        self._namespace = target.namespace if target.resource.namespaced else ""
        self._chosen = lists.selection(target, asked)
        self._asked = asked
        self._shown = _Shown(target.resource, shape, include)
        self._after = asked.version or 0
        self._pending: list[bytes] = []
        self._ended = False
        self._wake = asyncio.Event()
        seconds = asked.seconds or random.uniform(LEAST_SECONDS, 2 * LEAST_SECONDS)  # noqa: S311  # no secret
        self._seconds = seconds
        self._deadline = math.inf
        self._begin(target)

    def _begin(self, target: Target) -> None:
        initial = self._asked.initial
        if initial or (initial is None and not self._asked.version):
            # What exists, also for version 0: an event for each object.
            page: Page = lists.listed(
                self._state, target, Listing(labels=self._asked.labels, fields=self._asked.fields)
            )
            self._pending += [self._shown.event("ADDED", one) for one in page.items]
            self._after = self._state.revision
            if initial and self._asked.bookmarks:
                self._pending.append(lists.bookmark(self._resource, self._after, initial_ends=True))
            return
        if not self._asked.version:
            self._after = self._state.revision
            return
        try:
            for change in self._state.changes_since(self._resource.store, self._asked.version):
                self.changed(change)
        except ExpiredError as error:
            self._pending.append(lists.error_event(expired(str(error))))
            self._ended = True

    def changed(self, change: Change) -> None:
        if self._ended or change.revision <= self._after:
            return
        seen = lists.seen(change, self._chosen, self._namespace)
        if seen is not None:
            self._pending.append(self._shown.event(*seen))
            self._wake.set()
            if len(self._pending) > PENDING:
                self._pending.clear()
                self._ended = True

    def end(self) -> None:
        self._ended = True
        self._wake.set()

    async def send(self, response: web.StreamResponse) -> None:
        self._deadline = time.monotonic() + self._seconds  # the client counts from the first answer on
        bookmark_at = self._next_bookmark(time.monotonic())
        while True:
            if self._pending:
                data, self._pending = b"".join(self._pending), []
                await response.write(data)
                continue
            now = time.monotonic()
            if self._ended:
                return
            if now >= self._deadline:
                return
            if now >= bookmark_at:
                if self._asked.bookmarks:
                    await response.write(lists.bookmark(self._resource, max(self._state.revision, self._after)))
                bookmark_at = self._next_bookmark(now)
                continue
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), min(self._deadline, bookmark_at) - now)

    def _next_bookmark(self, now: float) -> float:
        """In a minute, or shortly before the end if that is sooner; never, once that has passed."""
        last = self._deadline - LAST_SECONDS
        return min(now + BOOKMARK_SECONDS, last) if now < last else math.inf


class _Shown:
    """How events look: whole objects, or in another shape."""

    def __init__(self, resource: Resource, shape: Shape, include: str) -> None:
        self._shape = shape
        self._include = include
        self._resource = resource
        self._heads = True

    def event(self, type_: str, stored: Stored) -> bytes:
        if self._resource.group == event_views.GROUP and self._shape.as_ != "Table":
            stored = event_views.viewed(stored)
        if not self._shape.as_:
            return lists.event(type_, stored)
        if self._shape.as_ == "Table":
            metadata = {"resourceVersion": stored.body["metadata"]["resourceVersion"]}
            strategy = strategy_of(self._resource)
            shown = tables.table(
                strategy, [stored.body], metadata, time.time(), self._include, self._shape.version, self._heads
            )
            self._heads = False
        else:
            shown = tables.partial(stored.body, self._shape.version)
        return go_json.encoded({"type": type_, "object": shown}) + b"\n"

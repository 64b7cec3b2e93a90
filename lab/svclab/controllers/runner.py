"""The one loop of all controllers: watches → view → work queue → reconcile → writes → view.

In: an Access and controllers. Out: their writes. The loop's thread alone touches the world and calls controllers; a few
threads send requests, one for a key at a time. A bound pod counts as bound from the moment its binding is sent, so
that the next pod is placed beside it.

One object that fails never stops the others: its key comes back, later each time, and is told about once. Conflicts
are no failures: somebody was faster, and the next look is at what they wrote. Nothing is done before all is listed.
"""

from __future__ import annotations

import http.client
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import msgspec

from svckube.access import Access, AccessError
from svckube.observe import fields
from svclab.controllers import writer
from svclab.controllers.kinds import KINDS
from svclab.controllers.recorder import Recorder
from svclab.controllers.reduce import (
    Controller,
    Create,
    Delete,
    Outcome,
    Patch,
    Record,
    Seen,
    Update,
    World,
    Write,
    key_of,
)
from svclab.controllers.view import Change, View
from svclab.controllers.workqueue import SLOWEST, WorkQueue
from svclab.controllers.writer import Answer, OwnerThereError
from svclab.watched import Watched, resource

THREADS = 6
LONGEST_WAIT = 5.0  # seconds
CONFIRMED_WITHIN = 5.0  # seconds after which a write that no watch has shown is looked at
RETRY_WHEN_AWAY = 1.0  # seconds, at most, between two tries while there is no server
TERMINATING = "because it is being terminated"

Key: TypeAlias = tuple[int, str]
"""Which controller, and its key."""

_log = logging.getLogger(__name__)


class _Finished(msgspec.Struct, frozen=True):
    """A key's writes have been tried. `refused` is the server's message, for the controller to see."""

    key: Key
    failure: Exception | None = None
    refused: str = ""


class Runner:
    """`run` returns after `stop`, which any thread may call. `ready` is called when all is known."""

    def __init__(
        self,
        access: Access,
        controllers: Sequence[Controller],
        ready: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._access = access
        self._controllers = tuple(controllers)
        self._ready = ready
        self._now = now
        plurals = sorted({plural for one in controllers for plural in one.watches})
        self._watched = Watched(access, [resource(KINDS[plural].path) for plural in plurals])
        self.view = View(World(plurals))
        self._queue: WorkQueue[Key] = WorkQueue()
        self._results: queue.SimpleQueue[Answer | _Finished] = queue.SimpleQueue()
        self._recorder = Recorder(access)
        self._told: set[tuple[object, ...]] = set()
        self._assumed: dict[Key, Change] = {}
        self._stopping = threading.Event()
        self._interested = {
            plural: [number for number, one in enumerate(self._controllers) if plural in one.watches]
            for plural in plurals
        }

    def run(self) -> None:
        self._recorder.start()
        self._watched.start()
        waiting_for_lists = True
        try:
            with ThreadPoolExecutor(THREADS, "write") as self._pool:
                while not self._stopping.is_set():
                    due = self._queue.next_due(time.monotonic())
                    for seen in self._watched.wait(LONGEST_WAIT if due is None else min(due, LONGEST_WAIT)):
                        self._take(self.view.watched(seen))
                    self._take_results()
                    if not self._watched.synced:
                        continue
                    if waiting_for_lists:
                        waiting_for_lists = False
                        _log.info("listed", extra=fields(objects=sum(map(len, self.view.world.tables.values()))))
                        self._ready()
                    self._reconcile_all()
        finally:
            self._watched.stop()
            self._recorder.stop()

    def stop(self) -> None:
        self._stopping.set()
        self._watched.wake()

    def _take(self, change: Change | None) -> None:
        """Queues the keys that a change touches."""
        if change is None:
            return
        for number in self._interested.get(change.resource, ()):
            for key in self._keys(self._controllers[number], change):
                self._queue.add((number, key))

    def _keys(self, controller: Controller, seen: Seen) -> Iterable[str]:
        try:
            return list(controller.keys(seen, self.view.world))
        except Exception:
            if self._is_news("keys", controller.name, seen.resource, seen.key):
                _log.exception("object skipped", extra=fields(controller=controller.name, object=seen.key))
            return ()

    def _take_results(self) -> None:
        try:
            while True:
                result = self._results.get_nowait()
                if isinstance(result, _Finished):
                    self._finish(result)
                elif result.body is None:
                    self._take(self.view.removed(result.resource, result.key, result.uid))
                else:
                    self._take(self.view.answered(result.resource, result.body, time.monotonic()))
        except queue.Empty:
            pass
        for plural, key in self.view.unconfirmed(time.monotonic() - CONFIRMED_WITHIN):
            self._pool.submit(self._look, plural, key)

    def _reconcile_all(self) -> None:
        for key in self._queue.take(time.monotonic()):
            if self._stopping.is_set():
                return
            controller = self._controllers[key[0]]
            try:
                outcome = controller.reconcile(key[1], self.view.world, self._now())
                writes = tuple(self._prepared(key, write) for write in outcome.writes)
            except Exception:
                if self._is_news("reconcile", controller.name, key[1]):
                    _log.exception("reconcile failed", extra=fields(controller=controller.name, key=key[1]))
                self._queue.failed(key, time.monotonic())
                continue
            if outcome.again_after is not None:
                self._queue.add_at(key, time.monotonic() + outcome.again_after)
            if writes:
                self._pool.submit(self._send, key, msgspec.structs.replace(outcome, writes=writes))
            else:
                self._finish(_Finished(key))

    def _prepared(self, key: Key, write: Write) -> Write:
        """Records name the kind of their object; a binding is assumed to succeed."""
        if isinstance(write, Record):
            return self._with_kind(write)
        if isinstance(write, Create):
            if write.resource == "pods" and write.subresource == "binding":
                self._assume(key, write)
            otherwise, then = (one and self._with_kind(one) for one in (write.otherwise, write.then))
            return msgspec.structs.replace(write, otherwise=otherwise, then=then)
        return write

    def _with_kind(self, record: Record) -> Record:
        if "kind" in record.about and "apiVersion" in record.about:
            return record
        found = self.view.world.by_uid(record.about["metadata"].get("uid", ""))
        kind = KINDS[found[0]] if found is not None else KINDS["pods"]
        about = {**record.about, "apiVersion": kind.api_version, "kind": kind.kind}
        return msgspec.structs.replace(record, about=about)

    def _assume(self, key: Key, binding: Create) -> None:
        pod = self.view.world.get("pods", key_of(binding.body))
        if pod is not None:
            bound = {**pod, "spec": {**pod["spec"], "nodeName": binding.body["target"]["name"]}}
            self._assumed[key] = self.view.assumed("pods", bound)
            self._take(self._assumed[key])

    # In the threads that write

    def _send(self, key: Key, outcome: Outcome) -> None:
        failure: Exception | None = None
        refused, went_well = "", True
        try:
            for write in outcome.writes:
                if isinstance(write, Record):
                    if went_well:
                        self._recorder.record(write)
                    continue
                try:
                    answer = writer.perform(self._access, write)
                    went_well = True
                    if answer is not None:
                        self._results.put(answer)
                    if isinstance(write, Create) and write.then is not None and answer is not None:
                        self._recorder.record(_completed(write.then, answer.key.rpartition("/")[2]))
                except (AccessError, OwnerThereError) as error:
                    went_well = False
                    failure, refused = self._refused(write, error, failure, refused)
                    away = isinstance(error, AccessError) and error.status == 0
                    if away or (refused and isinstance(write, Create) and write.otherwise is not None):
                        break
        except Exception as error:
            failure = error
        self._results.put(_Finished(key, failure, refused))
        self._watched.wake()

    def _refused(
        self, write: Write, error: AccessError | OwnerThereError, failure: Exception | None, refused: str
    ) -> tuple[Exception | None, str]:
        """What the key's failure is now, and the message for its controller."""
        status = error.status if isinstance(error, AccessError) else http.client.CONFLICT
        if isinstance(error, AccessError) and TERMINATING in error.message:
            return failure, refused  # nothing can be made there any more, and nothing has to
        resource_key = _target(write)
        if status in (http.client.NOT_FOUND, http.client.CONFLICT) and resource_key is not None:
            # Ours was an old copy, or a pod we took for bound: look at what is there before trying again.
            self._look(*resource_key)
        if status == http.client.NOT_FOUND and not isinstance(write, Create):
            return failure, refused
        if status in (0, http.client.CONFLICT):
            return failure or error, refused
        message = str(error).partition(f": {status} ")[2] or str(error)
        if isinstance(write, Create) and write.otherwise is not None:
            self._recorder.record(_completed(write.otherwise, message))
        return error, message

    def _look(self, plural: str, key: str) -> None:
        try:
            self._results.put(writer.fetch(self._access, plural, key))
        except AccessError as error:
            _log.debug("not looked at", extra=fields(resource=plural, key=key, reason=error.message))
        self._watched.wake()

    # Afterwards

    def _finish(self, finished: _Finished) -> None:
        key, failure = finished.key, finished.failure
        controller = self._controllers[key[0]]
        assumed = self._assumed.pop(key, None)
        if assumed is not None and failure is not None:
            self._take(self.view.withdrawn(assumed))
        news = self.view.world.note_failure(controller.name, key[1], finished.refused)
        if failure is None:
            self._queue.done(key)
            self._told.discard(("write", controller.name, key[1]))
            if news:
                self._queue.add(key)
            return
        away = isinstance(failure, AccessError) and failure.status == 0
        self._queue.failed(key, time.monotonic(), RETRY_WHEN_AWAY if away else SLOWEST)
        if _is_conflict(failure):
            return
        if away:  # the reflectors tell of it, once for all
            _log.debug("write failed", extra=fields(controller=controller.name, key=key[1], reason=str(failure)))
        elif self._is_news("write", controller.name, key[1]):
            told = fields(controller=controller.name, key=key[1], reason=str(failure))
            _log.warning("write failed", extra=told, exc_info=None if isinstance(failure, AccessError) else failure)

    def _is_news(self, *what: object) -> bool:
        if what in self._told:
            return False
        self._told.add(what)
        return True


def _completed(record: Record, end: str) -> Record:
    return msgspec.structs.replace(record, message=record.message + end)


def _is_conflict(failure: Exception) -> bool:
    if isinstance(failure, OwnerThereError):
        return True
    return isinstance(failure, AccessError) and failure.status == http.client.CONFLICT


def _target(write: Write) -> tuple[str, str] | None:
    """The object that a write is about."""
    match write:
        case Update(resource=resource, body=body) | Create(resource=resource, body=body):
            return (resource, key_of(body)) if "name" in body["metadata"] else None
        case Patch(resource=resource, key=key):
            return resource, key
        case Delete(resource=resource, key=key):
            return resource, key
    return None

"""Events: records → Event objects, the same one counted up, from a thread of its own.

In: records from any thread. Out: `v1.Event` objects like client-go's recorder makes them. An event is worth a second
try when the server was away, and then it is dropped: nobody waits for it. Nothing is recorded twice as long as this
process remembers it (MEMORY different events); then a new object begins at 1.
"""

from __future__ import annotations

import http.client
import logging
import queue
import threading
import time

import msgspec

from svckube.access import Access, AccessError
from svckube.observe import fields
from svclab.controllers.kinds import KINDS
from svclab.controllers.moments import stamp
from svclab.controllers.reduce import Body, Record

MEMORY = 4096
SIMILAR, SIMILAR_SECONDS = 10, 600.0  # from so many messages of one kind on they share one Event
COMBINED = "(combined from similar events): "
PATIENCE = 5.0  # seconds between two tries

_log = logging.getLogger(__name__)


class Recorder:
    """`about` of a record must have apiVersion and kind. Threads begin with `start`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._waiting: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        self._known: dict[tuple[str, ...], tuple[str, int]] = {}
        self._similar: dict[tuple[str, ...], tuple[float, set[str]]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What waits is still sent, if the server answers."""
        self._stopping.set()
        self._waiting.put(None)
        self._thread.join(PATIENCE)

    def record(self, record: Record) -> None:
        self._waiting.put(record)

    def _run(self) -> None:
        while (record := self._waiting.get()) is not None:
            try:
                self._send(record)
            except AccessError as error:
                if error.status == 0 and not self._stopping.wait(PATIENCE):
                    self._retry(record)
                elif error.status:
                    _log.debug("event refused", extra=fields(reason=error.message))
            except Exception:
                _log.exception("event dropped", extra=fields(about=record.message))

    def _retry(self, record: Record) -> None:
        try:
            self._send(record)
        except AccessError as error:
            _log.info("event dropped", extra=fields(about=record.message, reason=error.message))

    def _send(self, record: Record) -> None:
        metadata = record.about["metadata"]
        namespace = metadata.get("namespace") or "default"
        same: tuple[str, ...] = (
            metadata.get("uid", ""),
            metadata["name"],
            record.type,
            record.reason,
            record.component,
        )
        if self._is_one_of_many(same, record.message):
            record = msgspec.structs.replace(record, message=COMBINED + record.message)
        else:
            same = (*same, record.message)
        name, count = self._known.pop(same, ("", 0))
        if name and self._counted(namespace, name, count + 1, record.message):
            self._known[same] = (name, count + 1)
            return
        event = event_of(record, namespace, time.time_ns())
        self._access.create(KINDS["events"].collection(namespace), msgspec.json.encode(event))
        self._known[same] = (event["metadata"]["name"], 1)
        if len(self._known) > MEMORY:
            del self._known[next(iter(self._known))]

    def _is_one_of_many(self, kind: tuple[str, ...], message: str) -> bool:
        now = time.monotonic()
        last, messages = self._similar.pop(kind, (now, set()))
        if now - last > SIMILAR_SECONDS:
            messages = set()
        messages.add(message)
        self._similar[kind] = (now, messages)
        if len(self._similar) > MEMORY:
            del self._similar[next(iter(self._similar))]
        if len(messages) < SIMILAR:
            return False
        messages.discard(message)  # it is not one more kind of message
        return True

    def _counted(self, namespace: str, name: str, count: int, message: str) -> bool:
        change = {"count": count, "lastTimestamp": stamp(time.time()), "message": message}
        try:
            self._access.patch(KINDS["events"].object(f"{namespace}/{name}"), msgspec.json.encode(change))
        except AccessError as error:
            if error.status != http.client.NOT_FOUND:  # it has expired
                raise
            return False
        return True


def event_of(record: Record, namespace: str, nanoseconds: int) -> Body:
    """A first Event; named like client-go does: the object's name and the time in hexadecimal."""
    about, moment = record.about, stamp(nanoseconds / 1e9)
    metadata = about["metadata"]
    involved = {"apiVersion": about["apiVersion"], "kind": about["kind"], "name": metadata["name"]}
    involved |= {field: metadata[field] for field in ("namespace", "uid", "resourceVersion") if metadata.get(field)}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{nanoseconds:x}", "namespace": namespace},
        "involvedObject": involved,
        "reason": record.reason,
        "message": record.message,
        "type": record.type,
        "source": {"component": record.component},
        "reportingComponent": record.component,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }

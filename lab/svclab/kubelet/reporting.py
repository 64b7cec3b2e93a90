"""What the kubelet tells the API server: pod statuses, pods that are gone, events.

In: statuses, deletions and events, from any thread, at once. Out: requests, from one thread for statuses and one for
events, so that the loop never waits for the network. A status that could not be sent is sent again, unless a newer one
came; an event that could not be sent for a while is dropped. A pod that the server no longer has ends the matter.
"""

from __future__ import annotations

import http.client
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

import msgspec

from svckube.access import STRATEGIC_MERGE_PATCH, Access, AccessError
from svckube.observe import fields
from svclab.kubelet.status import moment

Body: TypeAlias = dict[str, Any]

RETRY_SECONDS = 1.0
EVENT_TRIES = 5
EVENT_BURST = 25  # of one object; then one in EVENT_SECONDS, as client-go's recorder
EVENT_SECONDS = 300.0
REMEMBERED = 4096

_log = logging.getLogger(__name__)


class Statuses:
    """Sends the newest status of each pod, in the order in which pods came up; and deletions after them."""

    def __init__(self, access: Access, gone: Callable[[str], None]) -> None:
        """`gone` is called with the uid of a pod that the server no longer has."""
        self._access = access
        self._gone = gone
        self._lock = threading.Condition()
        self._wanted: dict[str, tuple[str, Body | None, bool]] = {}  # uid → path, status, delete afterwards
        self._thread = threading.Thread(target=self._run, name="statuses", daemon=True)
        self._thread.start()

    def report(self, uid: str, path: str, status: Body) -> None:
        self._put(uid, path, status, delete=False)

    def delete(self, uid: str, path: str) -> None:
        """The pod has ended: the server may forget it, once it has heard the last status."""
        self._put(uid, path, None, delete=True)

    def pending(self, uid: str) -> bool:
        """Is something about this pod still to be sent?"""
        with self._lock:
            return uid in self._wanted

    def _put(self, uid: str, path: str, status: Body | None, *, delete: bool) -> None:
        with self._lock:
            _, before, deleting = self._wanted.get(uid, (path, None, False))
            self._wanted[uid] = (path, status or before, delete or deleting)
            self._lock.notify()

    def _run(self) -> None:
        failing = False
        while True:
            with self._lock:
                while not self._wanted:
                    self._lock.wait()
                uid = next(iter(self._wanted))
                path, status, delete = self._wanted.pop(uid)
            try:
                if status is not None:
                    self._send(uid, path, status)
                    status = None
                if delete:
                    self._send(uid, path, None)
            except AccessError as error:
                if not failing:
                    _log.warning("status not sent", extra=fields(pod=path, reason=error.message))
                failing = True
                with self._lock:
                    _, newer, deleting = self._wanted.get(uid, (path, None, False))
                    self._wanted[uid] = (path, newer or status, delete or deleting)
                time.sleep(error.retry_after or RETRY_SECONDS)
            else:
                failing = False

    def _send(self, uid: str, path: str, status: Body | None) -> None:
        try:
            if status is None:
                self._access.delete(path, msgspec.json.encode({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}))
                return
            patch = {"metadata": {"uid": uid}, "status": _complete(status)}
            self._access.patch(f"{path}/status", msgspec.json.encode(patch), STRATEGIC_MERGE_PATCH)
        except AccessError as error:
            if error.status in (http.client.NOT_FOUND, http.client.CONFLICT):
                self._gone(uid)
            elif 400 <= error.status < 500 and error.status not in (401, 403, 429):
                _log.warning("status refused", extra=fields(pod=path, reason=error.message))
            else:
                raise


def _complete(status: Body) -> Body:
    """As a strategic merge patch: it says what is no more, and replaces addresses, which are merged by default."""
    words: Body = {"reason": None, "message": None}
    patch: Body = {**words, **status, "conditions": [{**words, **condition} for condition in status["conditions"]]}
    lists: Body = {key: [{"$patch": "replace"}, *status[key]] for key in ("podIPs", "hostIPs") if key in status}
    return {**patch, **lists}


class Events:
    """Records events about objects, as client-go does: the same one again raises its count."""

    def __init__(self, access: Access, host: str) -> None:
        self._access = access
        self._host = host
        self._queue: queue.Queue[tuple[Body, str, str, str, str, float]] = queue.Queue(1000)
        self._known: dict[tuple[str, ...], tuple[str, int]] = {}
        self._spent: dict[str, tuple[float, float]] = {}
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def about_pod(self, pod: Body, kind: str, reason: str, message: str, path: str = "") -> None:
        """`kind` is Normal or Warning; `path` such as `spec.containers{web}`."""
        meta = pod["metadata"]
        about = {
            "kind": "Pod",
            "apiVersion": "v1",
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
            "resourceVersion": meta.get("resourceVersion", ""),
        }
        self._put({**about, "fieldPath": path} if path else about, kind, reason, message)

    def about_node(self, kind: str, reason: str, message: str) -> None:
        self._put({"kind": "Node", "name": self._host, "uid": self._host}, kind, reason, message)

    def _put(self, about: Body, kind: str, reason: str, message: str) -> None:
        with suppress(queue.Full):
            self._queue.put_nowait((about, kind, reason, message, about.get("namespace", "default"), time.time()))

    def _run(self) -> None:
        while True:
            about, kind, reason, message, namespace, now = self._queue.get()
            if not self._affordable(about["uid"], now):
                continue
            for attempt in range(EVENT_TRIES):
                try:
                    self._send(about, kind, reason, message, namespace, now)
                    break
                except AccessError as error:
                    if 400 <= error.status < 500 or attempt == EVENT_TRIES - 1:
                        _log.debug("event dropped", extra=fields(reason=error.message))
                        break
                    time.sleep(RETRY_SECONDS)

    def _affordable(self, uid: str, now: float) -> bool:
        tokens, since = self._spent.get(uid, (float(EVENT_BURST), now))
        tokens = min(tokens + (now - since) / EVENT_SECONDS, EVENT_BURST)
        self._spent[uid] = (max(tokens - 1, 0.0), now)
        if len(self._spent) > REMEMBERED:
            self._spent.pop(next(iter(self._spent)))
        return tokens >= 1

    def _send(self, about: Body, kind: str, reason: str, message: str, namespace: str, now: float) -> None:
        key = (about["uid"], about.get("fieldPath", ""), kind, reason, message)
        folder = f"/api/v1/namespaces/{namespace}/events"
        if (known := self._known.get(key)) is not None:
            name, count = known
            try:
                patch = {"count": count + 1, "lastTimestamp": moment(now), "message": message}
                self._access.patch(f"{folder}/{name}", msgspec.json.encode(patch))
                self._known[key] = (name, count + 1)
                return
            except AccessError as error:
                if error.status != http.client.NOT_FOUND:
                    raise
        name = f"{about['name']}.{int(now * 1e9) ^ int.from_bytes(os.urandom(2), 'big'):x}"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": about,
            "reason": reason,
            "message": message,
            "type": kind,
            "count": 1,
            "firstTimestamp": moment(now),
            "lastTimestamp": moment(now),
            "source": {"component": "kubelet", "host": self._host},
            "reportingComponent": "kubelet",
            "reportingInstance": self._host,
        }
        self._access.create(folder, msgspec.json.encode(event))
        self._known[key] = (name, 1)
        if len(self._known) > REMEMBERED:
            self._known.pop(next(iter(self._known)))

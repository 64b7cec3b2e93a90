"""Events: what an operator sees in `kubectl get events` and `kubectl describe`.

In: what happened to which object. Out: an Event (events.k8s.io/v1) on the API server, posted from a thread, because
nothing on the way of packets may wait for that server. An Event that cannot be posted is dropped and counted; so are
those that come while `LONGEST_QUEUE` others wait.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from svckube.access import Access, AccessError

CONTROLLER = "svcplane-agent"
LONGEST_QUEUE = 100
LONGEST_NOTE = 1024  # characters; the API refuses more


class Happening(msgspec.Struct, frozen=True):
    """One Event. `regarding` is (kind, namespace, name); a Node has no namespace."""

    type: str
    reason: str
    action: str
    note: str
    regarding: tuple[str, str, str]


def service_warning(service: str, reason: str, action: str, note: str) -> Happening:
    """A Warning about a Service (`namespace/name`)."""
    namespace, _, name = service.partition("/")
    return Happening("Warning", reason, action, note, ("Service", namespace, name))


def body(happening: Happening, node: str, nanoseconds: int) -> dict[str, object]:
    """The Event as the API takes it; `nanoseconds` of Unix time make its name unique."""
    kind, namespace, name = happening.regarding
    moment = datetime.fromtimestamp(nanoseconds / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{nanoseconds:x}", "namespace": _home(happening)},
        "eventTime": moment,
        "reportingController": CONTROLLER,
        "reportingInstance": f"{CONTROLLER}-{node}",
        "type": happening.type,
        "reason": happening.reason,
        "action": happening.action,
        "note": happening.note[:LONGEST_NOTE],
        "regarding": {
            "kind": kind,
            "name": name,
            "apiVersion": "v1",
            **({"namespace": namespace} if namespace else {}),
        },
    }


def _home(happening: Happening) -> str:
    """The namespace an Event lives in: its object's, or `default` for what has none."""
    return happening.regarding[1] or "default"


class Events:
    """Posts from a thread that lasts as long as the process. `dropped` counts what was not posted."""

    def __init__(self, access: Access, node: str, clock: Callable[[], int] = time.time_ns) -> None:
        self.dropped = 0
        self._access = access
        self._node = node
        self._clock = clock
        self._waiting: queue.Queue[Happening] = queue.Queue(LONGEST_QUEUE)
        threading.Thread(target=self._post, name="events", daemon=True).start()

    def announce(self, happening: Happening) -> None:
        """Posts soon, or never; does not wait."""
        try:
            self._waiting.put_nowait(happening)
        except queue.Full:
            self.dropped += 1

    def _post(self) -> None:
        while True:
            happening = self._waiting.get()
            event = body(happening, self._node, self._clock())
            try:
                path = f"/apis/events.k8s.io/v1/namespaces/{_home(happening)}/events"
                self._access.create(path, msgspec.json.encode(event))
            except AccessError:
                self.dropped += 1

"""Events in two groups: core/v1 is how they are stored, events.k8s.io/v1 is another view of them.

In: a body of one group. Out: the same event in the other group's words. Source: kubernetes pkg/apis/events/v1
conversion.go, v1.36.3.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from svclab.apiserver.state import Stored

Body: TypeAlias = dict[str, Any]

GROUP = "events.k8s.io"
# events.k8s.io: core
RENAMED = {
    "regarding": "involvedObject",
    "note": "message",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "reportingController": "reportingComponent",
}
TO_CORE = RENAMED
TO_EVENTS = {core: new for new, core in RENAMED.items()}


def core_of(body: Body) -> Body:
    return {**{TO_CORE.get(key, key): value for key, value in body.items()}, "apiVersion": "v1"}


def events_of(body: Body) -> Body:
    shown = {TO_EVENTS.get(key, key): value for key, value in body.items()}
    for key in ("reportingController", "reportingInstance", "action"):
        if not shown.get(key):
            shown.pop(key, None)  # the other group leaves them out when they are empty
    return {**shown, "apiVersion": f"{GROUP}/v1"}


def viewed(stored: Stored) -> Stored:
    return Stored(events_of(stored.body), stored.revision)

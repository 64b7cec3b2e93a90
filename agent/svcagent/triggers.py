"""How long a change of endpoints takes from its cause to the kernel: the network programming latency.

The EndpointSlice controller writes into an annotation when the pod or Service changed that made it write. In: changes
of slices, and the moments of successful passes. Out: latencies in seconds. Only causes later than our own start count:
what was there before says nothing of us. Times are Unix seconds. (SIG Scalability's network programming latency SLO.)
"""

from __future__ import annotations

from datetime import datetime

from svckube.objects import EndpointSlice, KubeObject
from svckube.store import Change


def caused_at(slice_: KubeObject | None) -> float | None:
    """When the last cause for writing this slice came; None if it does not tell."""
    annotations = slice_.metadata.annotations if isinstance(slice_, EndpointSlice) else None
    if annotations is None or not annotations.last_change_trigger_time:
        return None
    try:
        return datetime.fromisoformat(annotations.last_change_trigger_time).timestamp()
    except ValueError:
        return None


class Triggers:
    """The causes that no pass has served yet, by service."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._waiting: dict[str, list[float]] = {}

    def see(self, change: Change) -> None:
        """Takes a change in. A deleted slice takes its service's causes with it, as in kube-proxy."""
        if change.new is None:
            for service in change.service_keys:
                self._waiting.pop(service, None)
            return
        cause = caused_at(change.new)
        if cause is not None and cause > self._started and cause != caused_at(change.old):
            for service in change.service_keys:
                self._waiting.setdefault(service, []).append(cause)

    def served(self, now: float) -> list[float]:
        """The latencies of everything that waited for the pass which just succeeded."""
        latencies = [now - cause for causes in self._waiting.values() for cause in causes]
        self._waiting.clear()
        return latencies

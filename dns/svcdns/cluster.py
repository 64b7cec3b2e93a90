"""The cluster as this server knows it: fed by the reflectors, read by the answers.

In: batches of what the API server said, in the loop's thread. Out: the index, and whether it is complete. Refuses
nothing: what did not decode was left out by the reflector.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from svcdns.index import Index
from svcdns.slim import Slimmer
from svcdns.wirecache import WireCache
from svckube.objects import EndpointSlice, KubeObject, Namespace, Pod, Service
from svckube.store import Change, Listed, Store
from svckube.stream import Applied, Deleted


class Meter(Protocol):
    def programmed(self, headless: bool, seconds: float) -> None: ...


class Cluster:
    """`on_synced` is called once, when every kind watched has been listed.

    Pods are watched if `pods`, EndpointSlices if `endpoints`, nothing but Pods if `only_pods`. Of other namespaces than
    `namespaces`, if any are given, nothing is known. `pod_names` and `ignore_empty` as for `index.service_records`.

    What changes is made light here (`slimmer`); what is listed should be light when it comes. Of `caches` is forgotten
    what changes have made untrue; asked for at each change.
    """

    def __init__(
        self,
        meter: Meter,
        on_synced: Callable[[], None] = lambda: None,
        caches: Callable[[], Iterable[WireCache]] = tuple,
        *,
        pods: bool = False,
        pod_names: bool = False,
        endpoints: bool = True,
        ignore_empty: bool = False,
        namespaces: frozenset[str] = frozenset(),
        only_pods: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        wanted = {EndpointSlice: endpoints, Pod: pods}
        kinds: tuple[type[KubeObject], ...] = (Service, EndpointSlice, Namespace, Pod)
        self.kinds = (Pod,) if only_pods else tuple(kind for kind in kinds if wanted.get(kind, True))
        self.index = Index(pod_names, ignore_empty)
        self.synced = False
        self._store = Store(self.kinds)
        self.slimmer = Slimmer(pod_names)
        self._namespaces = namespaces
        self._meter = meter
        self._on_synced = on_synced
        self._caches = caches
        self._clock = clock

    def apply(self, batch: Iterable[Listed | Applied | Deleted]) -> None:
        """Takes a batch in. An answer sees all of a batch or nothing of it."""
        for message in batch:
            light = Applied(self.slimmer.slim(message.object)) if isinstance(message, Applied) else message
            changes = [change for change in self._store.apply(light) if self._is_exposed(change)]
            if not changes and self.synced:
                continue
            self._forget(changes, self.index.apply(changes, self._store, self._clock()))
            if not isinstance(message, Listed):
                for change in changes:
                    self._measure(change, message.object)
        if not self.synced and self._store.synced(*self.kinds):
            self.synced = True
            self._on_synced()

    def _forget(self, changes: Iterable[Change], services: Sequence[str]) -> None:
        is_other = any(change.kind is Namespace and (change.old is None) != (change.new is None) for change in changes)
        for cache in self._caches():
            if is_other:
                cache.clear()
            cache.forget(services, self.index.serial)

    def _is_exposed(self, change: Change) -> bool:
        return not self._namespaces or change.key.partition("/")[0] in self._namespaces

    def counts(self) -> dict[str, int]:
        """How many objects of each kind are held, for a log line."""
        return {kind.__name__.lower(): len(self._store.objects(kind)) for kind in self.kinds}

    def _measure(self, change: Change, new: KubeObject) -> None:
        """`new`: the object as it came, with what the store does not hold."""
        if change.new is None or not isinstance(new, EndpointSlice) or new.metadata.annotations is None:
            return
        service = self._store.get(Service, new.service_key)
        try:
            triggered = datetime.fromisoformat(new.metadata.annotations.last_change_trigger_time).timestamp()
        except ValueError:
            return
        if service is not None:
            self._meter.programmed(service.spec.cluster_ip == "None", max(self._clock() - triggered, 0.0))

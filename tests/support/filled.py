"""A cluster of the table's objects in memory, as the DNS server holds it, without an API server.

In: manifests. Out: a store and the index over it, fed message by message.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from support.questions import KINDS, Manifest, cluster
from svcdns.index import Index
from svckube.objects import EndpointSlice, KubeObject, Namespace, Pod, Service
from svckube.store import Listed, Store
from svckube.stream import Applied, Deleted

WATCHED = (Service, EndpointSlice, Namespace, Pod)
NOW = 1_700_000_000.0


def objects(manifests: Iterable[Manifest]) -> list[KubeObject]:
    return [msgspec.convert(one, KINDS[one["kind"]]) for one in manifests]


def lists(manifests: Iterable[Manifest]) -> list[Listed | Applied | Deleted]:
    """What the reflectors would deliver first."""
    found = objects([*manifests, {"kind": "Namespace", "metadata": {"name": "kube-system"}}])
    return [Listed(kind, tuple(one for one in found if isinstance(one, kind))) for kind in WATCHED]


class Filled:
    def __init__(self, manifests: Iterable[Manifest] | None = None, *, pod_names: bool = False) -> None:
        self.store = Store(WATCHED)
        self.index = Index(pod_names)
        for message in lists(cluster() if manifests is None else manifests):
            self.say(message)

    def say(self, message: Listed | Applied | Deleted, now: float = NOW) -> list[str]:
        """One message through store and index; the keys of the services it changed."""
        return self.index.apply(self.store.apply(message), self.store, now)

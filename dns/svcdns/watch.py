"""A cluster that is kept up to date: the reflectors' threads on one side, the loop that answers on the other.

In: a `Source`. Out: a `Watched`, whose cluster follows the API server from `start` to `stop`. Belongs to the running
loop. Raises AccessError where the credentials cannot be had.
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

import msgspec

from svcdns.answer import Zones
from svcdns.cluster import Cluster
from svcdns.settings import Source
from svcdns.tally import Tally
from svcdns.wirecache import WireCache
from svckube import memory
from svckube.access import Access, at_server, from_kubeconfig, in_cluster
from svckube.objects import EndpointSlice, KubeObject, Namespace, Pod, Service
from svckube.reflector import ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES, Batch, Reflector, Resource
from svckube.store import Listed

# A finished pod's address may belong to another one already.
RUNNING = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown"


class Watched:
    """Its caches hold replies about the cluster, and lose those that a change made untrue."""

    def __init__(self, source: Source, tally: Tally) -> None:
        self.source = source
        self.synced = asyncio.Event()
        # A cache lives as long as somebody answers from it.
        self._caches: WeakValueDictionary[tuple[Zones, bool, bool], WireCache] = WeakValueDictionary()
        self.cluster = Cluster(
            tally,
            self.synced.set,
            lambda: self._caches.values(),
            pods=source.zones.pods == "verified",
            pod_names=source.endpoint_pod_names,
            endpoints=source.endpoints,
            ignore_empty=source.ignore_empty,
            namespaces=source.namespaces,
            only_pods=bool(source.node),
        )
        self._access: Access | None = None
        self._reflectors: list[Reflector] = []

    def cache(self, zones: Zones, shuffles: bool, denials: bool) -> WireCache:
        """The cache of all who answer alike: of the same zones, our own addresses among them, in the same order.

        `denials`: whether it may hold what denies a name.
        """
        found = self._caches.get((zones, shuffles, denials))
        if found is None:
            found = self._caches[zones, shuffles, denials] = WireCache()
            found.forget((), self.cluster.index.serial)
        return found

    def start(self) -> None:
        """Begins to list and watch."""
        loop = asyncio.get_running_loop()

        def deliver(batch: Batch) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._take, batch)

        access = self._access = access_of(self.source)
        slim = self.cluster.slimmer.slim
        self._reflectors = [
            Reflector(access, _resource(kind, self.source), deliver, lighter=slim) for kind in self.cluster.kinds
        ]
        for reflector in self._reflectors:
            reflector.start()

    def _take(self, batch: Batch) -> None:
        was_synced = self.cluster.synced
        self.cluster.apply(batch)
        if was_synced and any(isinstance(one, Listed) for one in batch):
            asyncio.get_running_loop().call_soon(memory.give_back)  # once the list, of which little was new, is gone

    def stop(self) -> None:
        for reflector in self._reflectors:
            reflector.stop()
        if self._access is not None:
            self._access.close()


def access_of(source: Source) -> Access:
    """The way to the API server. Raises AccessError where the credentials cannot be had."""
    if source.kubeconfig:
        return from_kubeconfig(source.kubeconfig, server=source.server, context=source.context)
    if source.server:
        files = source.certificates
        return at_server(source.server, certificate=files.certificate, key=files.key, authority=files.authority)
    return in_cluster()


def _resource(kind: type[KubeObject], source: Source) -> Resource:
    """What is listed of a kind. EndpointSlices bear the labels of their Service, so its selector picks them too."""
    resources: dict[type[KubeObject], Resource] = {
        Service: SERVICES,
        EndpointSlice: ENDPOINT_SLICES,
        Namespace: NAMESPACES,
        Pod: msgspec.structs.replace(
            PODS, field_selector=f"spec.nodeName={source.node},{RUNNING}" if source.node else RUNNING
        ),
    }
    selector = source.namespace_labels if kind is Namespace else source.labels
    return msgspec.structs.replace(resources[kind], label_selector=selector)

"""Our DNS server in a thread: the cluster of `questions` behind real sockets, without an API server.

In: addresses to listen on, upstreams, limits, how many workers. Out: the addresses, the metrics, and a way to work in
its thread.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
from prometheus_client import CollectorRegistry, generate_latest

from support.filled import lists
from support.outward import beyond
from support.questions import LOCAL, TTL, ZONES, cluster
from svcdns.addresses import zones_of
from svcdns.answer import Zones
from svcdns.clients import Guard
from svcdns.cluster import Cluster
from svcdns.records import packed
from svcdns.respond import Responder
from svcdns.server import Server
from svcdns.settings import Endpoint
from svcdns.tally import Tally
from svcdns.wirecache import WireCache
from svcdns.workers import Workers

V4, V6 = Endpoint("127.0.0.1", 0), Endpoint("::1", 0)


class Running:
    """A server in a thread of its own, with a cluster fed by hand."""

    def __init__(
        self,
        listen: Sequence[Endpoint],
        upstreams: Sequence[Endpoint],
        zones: Zones,
        limit: int,
        guard: Guard | None,
        workers: int,
    ) -> None:
        self.registry = CollectorRegistry()
        self._listen, self._upstreams, self._zones, self._limit = listen, upstreams, zones, limit
        self._guard, self._workers = guard, workers
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._started.wait(10), "the server did not start"

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        tally = self.tally = Tally(self.registry)
        cache = WireCache()
        self.cluster = Cluster(tally, caches=lambda: [cache], pods=True)
        out = beyond(self._upstreams, tally, max_concurrent=self._limit) if self._upstreams else None
        responder = Responder(self.cluster, self._zones, tally, out, random.shuffle, cache)
        workers = Workers(self._workers, self._guard.clients.at_home if self._guard is not None else ())
        workers.start()
        server = self.server = Server(responder.respond, tally, guard=self._guard, workers=workers)
        await server.start(self._listen)
        server.use(cache)
        self.cache = cache
        self.addresses = [(one.address, one.port) for one in server.addresses]
        self._started.set()
        await self._stop.wait()
        await server.close()
        await workers.close()
        if out is not None:
            await out.close()

    @property
    def address(self) -> tuple[str, int]:
        return self.addresses[0]

    def do(self, work: Callable[[], None]) -> None:
        """Runs `work` in the server's thread, and waits for it."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(work)
        self._loop.call_soon_threadsafe(done.set)
        assert done.wait(10), "the server's loop is stuck"

    def fill(self) -> None:
        self.do(lambda: self.cluster.apply(lists(cluster())))

    def metric(self, line: str) -> float:
        found = [one for one in generate_latest(self.registry).decode().splitlines() if one.startswith(line)]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the server did not stop"


@contextmanager
def running(
    *upstreams: tuple[str, int],
    listen: Sequence[Endpoint] = (V4,),
    fallthrough: Sequence[str] = (),
    limit: int = 100,
    guard: Guard | None = None,
    workers: int = 0,
) -> Iterator[Running]:
    own = packed(LOCAL)
    assert own is not None
    zones = msgspec.structs.replace(zones_of(ZONES, TTL, "insecure", fallthrough), local=(own,))
    server = Running(listen, [Endpoint(*one) for one in upstreams], zones, limit, guard, workers)
    try:
        yield server
    finally:
        server.close()

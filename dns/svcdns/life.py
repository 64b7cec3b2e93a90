"""The life of a server: ports opened and kept, settings taken anew, the end.

In: where the settings come from, and the stop signal. Out: a server that answers. Order of a start, as in CoreDNS: the
HTTP endpoints open; the cluster is watched; the DNS ports open when it is known or after the startup timeout, so that a
client is not told SERVFAIL while a second's patience gives it the answer.

A changed Corefile is made ready beside the one that runs, and takes its place only when all of it is there: files,
credentials, the cluster listed, new ports bound. If anything fails, nothing has changed, and `coredns_reload_failed`
says so.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Protocol

import msgspec

from svcdns.assembly import Assembly, Place, Running, read_hosts
from svcdns.chain import Chain, Router
from svcdns.clients import Guard
from svcdns.corefile import CorefileError
from svcdns.hostnames import with_addresses
from svcdns.local import tell
from svcdns.server import Server
from svcdns.settings import Endpoint, Settings
from svcdns.tally import Tally, Via
from svcdns.top import PATH
from svcdns.workers import Workers
from svckube import memory
from svckube.access import AccessError
from svckube.observe import Answer, Registry, Route, exposition, fields, serve
from svckube.observe import Server as Http
from svckube.systemd import Unit

LOOP_SECONDS = 30.0  # how long a loop is looked for
LOOP_PAUSE = 1.0
LOOP_SIGHTINGS = 2  # one is our own question, a second may be a resolver's repetition
HINFO = 13
MOST_TOLD = 200  # names, and clients

_log = logging.getLogger(__name__)


class LoopError(Exception):
    """What we forward comes back to us."""


class _Port:
    """A server, and the router it asks at the moment."""

    def __init__(self, router: Router, tally: Tally, guard: Guard, workers: Workers) -> None:
        self.router = router
        self.server = Server(self.respond, tally, transfer=self.transfer, guard=guard, workers=workers)

    def respond(self, packet: bytes, via: Via) -> bytes | Awaitable[bytes] | None:
        return self.router.respond(packet, via)

    def transfer(self, packet: bytes, peer: str) -> Iterator[bytes] | None:
        return self.router.transfer(packet, peer)


class Around(Protocol):
    """Who has to know when ports are open and when their end begins; `serving` with the sockets for datagrams."""

    async def serving(self, sockets: Sequence[socket.socket]) -> None: ...
    async def leaving(self) -> None: ...


class Life:
    """One process's. `load` gives the settings and a hash of their text, and raises CorefileError or OSError.

    `http`: addresses that serve all three of /health, /ready and /metrics, beside those of the settings. `workers`:
    processes that answer beside this one.
    """

    def __init__(
        self,
        load: Callable[[], tuple[Settings, str]],
        metrics: Registry,
        tally: Tally,
        stop: asyncio.Event,
        http: Iterable[str] = (),
        guard: Guard | None = None,
        around: Around | None = None,
        workers: int = 0,
    ) -> None:
        self._around = around
        self.asked = asyncio.Event()  # somebody wants the settings taken anew now
        self._load, self._metrics, self._tally, self._stop = load, metrics, tally, stop
        self._more_http = tuple(http)
        self._guard = Guard() if guard is None else guard
        self._workers = Workers(workers, self._guard.clients.at_home)
        self._http: dict[str, tuple[frozenset[str], Http]] = {}
        self._ports: dict[Place, _Port] = {}
        self._assembly: Assembly | None = None
        self._hash = ""
        self._looping: asyncio.Event = asyncio.Event()
        self._unit = Unit()

    async def run(self) -> None:
        """Serves until `stop`. Raises what keeps the first settings from being served, and LoopError."""
        settings, self._hash = self._load()
        telling = await tell({PATH: self._busiest})
        self._workers.start()
        try:
            await self._adopt(settings)
            if self._stop.is_set() or self._assembly is None:
                return
            assembly = self._assembly
            addresses = " ".join(str(address) for port in self._ports.values() for address in port.server.addresses)
            counts = {name: count for one in assembly.watched.values() for name, count in one.cluster.counts().items()}
            _log.info("serving dns", extra=fields(addresses=addresses, synced=assembly.synced, **counts))
            self._unit.ready("answering" if assembly.synced else "forwarding; the API server has not answered yet")
            await self._live()
            self._unit.stopping()
            if self._around is not None:
                await self._around.leaving()
            lameduck = max((block.lameduck for block in self._assembly.settings.blocks), default=0.0)
            _log.info("stopping", extra=fields(lameduck=lameduck))
            await asyncio.sleep(lameduck)
        finally:
            telling.close()
            for port in self._ports.values():
                await port.server.close()
            await self._workers.close()
            if self._assembly is not None:
                await self._assembly.drop(None)
            for _, http in self._http.values():
                http.close()

    def _busiest(self) -> bytes:
        return msgspec.json.encode(self._tally.traffic.busiest(MOST_TOLD, perf_counter()))

    async def _live(self) -> None:
        works = (
            self._reloading(),
            self._hosts(),
            self._syncing(),
            self._look_for_loops(),
            self._lateness(),
            self._beat(),
        )
        tasks = [asyncio.create_task(work) for work in works]
        for task in tasks:
            task.add_done_callback(_told)
        waiting = [asyncio.create_task(event.wait()) for event in (self._stop, self._looping)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (*tasks, *waiting):
                one.cancel()
            await asyncio.gather(*tasks, *waiting, return_exceptions=True)
        if self._looping.is_set():
            raise LoopError(
                "a loop was detected: what is forwarded comes back here; see whether the upstream, perhaps a "
                "nameserver of /etc/resolv.conf such as 127.0.0.53, is this server or forwards to it"
            )

    async def _adopt(self, settings: Settings) -> None:
        """Makes the settings the ones that are served. If it raises, what was served still is."""
        before = self._assembly
        after = Assembly(await with_addresses(settings, self._tally), self._tally)
        opened: dict[Place, _Port] = {}
        http: dict[str, tuple[frozenset[str], Http]] = {}
        try:
            self._open_http(settings, http)
            begun = after.watch(before)
            for watched in begun:
                patience = watched.source.startup_timeout
                if not await _either(watched.synced, self._stop, patience) and not self._stop.is_set():
                    _log.warning("starting before the API server has answered", extra=fields(waited=patience))
            if self._stop.is_set():
                await after.drop(before)
                self._http |= http
                return
            after.connect(before)
            for place, router in after.routers.items():
                if place not in self._ports:
                    port = opened[place] = _Port(router, self._tally, self._guard, self._workers)
                    await port.server.start(place, place in after.everywhere)
        except BaseException:
            for port in opened.values():
                await port.server.close()
            for address in http.keys() - self._http.keys():
                http[address][1].close()
            await after.drop(before)
            raise
        await self._switch(before, after, opened, http)

    async def _switch(
        self,
        before: Assembly | None,
        after: Assembly,
        opened: dict[Place, _Port],
        http: dict[str, tuple[frozenset[str], Http]],
    ) -> None:
        self._ports |= opened
        self._tally.clear("plugin_enabled")
        for place, router in after.routers.items():
            port = self._ports[place]
            port.router = router
            cache, zone = after.front(place)
            port.server.use(cache)
            has_log = any(running.block.log for running in after.blocks if running.chain in router.chains)
            for via in port.server.vias:
                via.zone, via.wants_peer = zone, has_log
                self._note_plugins(after, router, via)
        self._assembly = after
        _settle()
        self._tally.clear("reload_version_info")
        self._tally.set("reload_version_info", 1, "sha512", self._hash)
        for place in self._ports.keys() - after.routers.keys():
            await self._ports.pop(place).server.close()
        for address, (_, server) in self._http.items():
            if address not in http or http[address][1] is not server:
                server.close()
        self._http = http
        if self._around is not None:
            await self._around.serving([one for port in self._ports.values() for one in port.server.udp])
        if before is not None:
            await before.drop(after)

    def _note_plugins(self, after: Assembly, router: Router, via: Via) -> None:
        plugins = {running.chain: running.block.plugins for running in after.blocks}
        for text, chain in router.zones.values():
            for name in plugins[chain]:
                self._tally.set("plugin_enabled", 1, via.server, text, "", name)

    def _open_http(self, settings: Settings, http: dict[str, tuple[frozenset[str], Http]]) -> None:
        """Fills `http` with the servers there are to be, those that run already among them."""
        wanted: dict[str, set[str]] = {address: {"/health", "/ready", "/metrics"} for address in self._more_http}
        for block in settings.blocks:
            for address, path in ((block.health, "/health"), (block.ready, "/ready"), (block.prometheus, "/metrics")):
                if address:
                    wanted.setdefault(address, set()).add(path)
        routes: dict[str, Route] = {
            "/health": lambda: (200, "text/plain", b"OK"),
            "/ready": self._ready,
            "/metrics": exposition(self._metrics),
        }
        for address, paths in wanted.items():
            there = self._http.get(address)
            if there is not None and there[0] == paths:
                http[address] = there
                continue
            if there is not None:
                there[1].close()
            server = serve(address, {path: routes[path] for path in paths})
            http[address] = frozenset(paths), server
            _log.info("serving http", extra=fields(address=server.address))

    def _ready(self) -> Answer:
        is_ready = self._assembly is not None and self._assembly.synced and not self._stop.is_set()
        return (200, "text/plain", b"OK") if is_ready else (503, "text/plain", b"kubernetes")

    async def _syncing(self) -> None:
        """Says when a cluster that was not known at the start is."""
        assembly = self._assembly
        if assembly is None or assembly.synced:
            return
        for watched in assembly.watched.values():
            await watched.synced.wait()
        _settle()
        counts = {name: count for one in assembly.watched.values() for name, count in one.cluster.counts().items()}
        _log.info("synced", extra=fields(**counts))

    async def _reloading(self) -> None:
        """Looks at the settings every so often, and when asked to."""
        refused = ""
        while True:
            assert self._assembly is not None  # noqa: S101 - something is served
            reload = self._assembly.settings.reload
            pause = None
            if reload is not None:  # so that not all servers of a cluster read the same change at once
                pause = reload.seconds + (random.random() - 0.5) * reload.jitter  # noqa: S311 - it need not be secret
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.asked.wait()
            asked = self.asked.is_set()
            self.asked.clear()
            found = ""
            try:
                settings, found = self._load()
                if (found == self._hash or found == refused) and not asked:
                    continue
                _log.info("taking changed settings", extra=fields(sha512=found))
                old, self._hash = self._hash, found
                try:
                    await self._adopt(settings)
                except BaseException:
                    self._hash = old
                    raise
                refused = ""
                _log.info("serving changed settings", extra=fields(sha512=found))
            except (CorefileError, AccessError, OSError, ValueError) as error:
                if not found or found != refused:
                    self._tally.count("reload_failed")
                    _log.error("settings not changed", extra=fields(reason=error))
                refused = found

    async def _hosts(self) -> None:
        """Reads hosts files anew when they change; the first look came with the assembly."""
        due: dict[Running, float] = {}
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            for running in self._assembly.hosts() if self._assembly is not None else ():
                options = running.block.hosts
                if options is not None and due.setdefault(running, loop.time() + options.reload) <= loop.time():
                    due[running] = loop.time() + options.reload
                    read_hosts(running, options, self._tally)

    async def _lateness(self) -> None:
        """Notes how busy the loop is."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 1.0
            await asyncio.sleep(1.0)
            self._tally.late(max(loop.time() - due, 0.0))

    async def _beat(self) -> None:
        """Tells systemd's watchdog, from the loop that answers, that it turns."""
        while self._unit.period < float("inf"):
            self._unit.alive()
            await asyncio.sleep(self._unit.period / 2)

    async def _look_for_loops(self) -> None:
        assembly = self._assembly
        if assembly is None:
            return
        looks = []
        for running in assembly.blocks:
            place = next((place for place, router in assembly.routers.items() if running.chain in router.chains), None)
            if running.block.loop and place is not None:
                looks.append(self._look(running.chain, running.block.serving[0].zone, self._ports[place]))
        await asyncio.gather(*looks)

    async def _look(self, chain: Chain, zone: bytes, port: _Port) -> None:
        """Asks ourselves for a name that nobody else asks for, and counts how often the question comes by."""
        digits = [str(int.from_bytes(os.urandom(7)) + 1).encode() for _ in range(2)]
        name = b"".join(bytes([len(one)]) + one for one in digits) + zone
        sightings = 0

        def seen() -> None:
            nonlocal sightings
            sightings += 1
            if sightings > LOOP_SIGHTINGS:
                self._looping.set()

        chain.probe, chain.seen = name + HINFO.to_bytes(2), seen
        try:
            loop = asyncio.get_running_loop()
            deadline = loop.time() + LOOP_SECONDS
            while loop.time() < deadline and not await _answered(name, port.server.addresses[0]):
                sightings = 0
                await asyncio.sleep(LOOP_PAUSE)
            await asyncio.sleep(2.0)
        finally:
            chain.probe = None


def _settle() -> None:
    """Spares the collector what is known by now and mostly stays: walking through it would keep clients waiting."""
    gc.unfreeze()  # of what an earlier call spared, some may be gone by now
    gc.collect()
    gc.freeze()
    memory.give_back()  # the lists as they came were large


def _told(task: asyncio.Task[None]) -> None:
    """A task that fails is an error of ours; the others go on."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a task failed", exc_info=error)


async def _answered(name: bytes, address: Endpoint) -> bool:
    """Asks for HINFO of the name over UDP; whether anything came back."""
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.address, address.address)
    packet = os.urandom(2) + b"\1\0\0\1" + bytes(6) + name + HINFO.to_bytes(2) + b"\0\1"
    came = asyncio.get_running_loop().create_future()

    class Asking(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, peer: object) -> None:
            if not came.done():
                came.set_result(True)

        def error_received(self, error: Exception) -> None:
            if not came.done():
                came.set_result(False)

    try:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            Asking, remote_addr=(target, address.port)
        )
    except OSError:
        return False
    try:
        transport.sendto(packet)
        async with asyncio.timeout(5):
            return bool(await came)
    except TimeoutError:
        return False
    finally:
        transport.close()


async def _either(wanted: asyncio.Event, stop: asyncio.Event, seconds: float | None) -> bool:
    """Waits for one of the two, or so long; whether it was the first."""
    waiting = [asyncio.ensure_future(event.wait()) for event in (wanted, stop)]
    await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return wanted.is_set()

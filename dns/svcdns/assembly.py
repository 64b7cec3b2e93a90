"""Settings made to work: clusters watched, upstreams ready to be asked, one router for each address.

In: `Settings`, and what ran before. Out: an `Assembly`. What is equal to a part of what ran before is that part: a
changed Corefile costs neither the watch of the cluster nor the cache's content nor a connection, unless it is about
them. Nothing here listens; `life` does. Raises OSError for files and interfaces, AccessError for credentials.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TypeAlias

import msgspec

from svcdns import wire
from svcdns.addresses import nameservers, search_domains
from svcdns.answer import Question, Zones
from svcdns.autopath import Completion, SearchPath, along, path_of_pod
from svcdns.beyond import Beyond
from svcdns.cache import Replies
from svcdns.chain import Chain, Router, Said
from svcdns.forward import Forwarder
from svcdns.hosts import Table
from svcdns.index import Index
from svcdns.records import Name, packed
from svcdns.report import Troubles
from svcdns.respond import Responder, shuffled
from svcdns.settings import ROOT, Cache, Endpoint, Errors, Forward, Hosts, ServerBlock, Settings, Source, Upstream
from svcdns.tally import Tally, Via
from svcdns.transfer import messages
from svcdns.watch import Watched
from svcdns.wirecache import WireCache
from svcnet.links import LinkError, addresses_of

# Somewhere outside, never sent to: the kernel says which of our addresses it would use (RFC 5737, RFC 3849).
OUTSIDE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
RESOLV_CONF = "/etc/resolv.conf"
PATIENCE = 5.0  # seconds for queries that still wait where a changed configuration will not ask any more

Way: TypeAlias = tuple[Cache | None, tuple[tuple[Forward, tuple[Upstream, ...]], ...], bool, Errors | None]
"""What makes two server blocks' ways out the same: cache, upstreams, order of addresses, what is told."""
Place: TypeAlias = tuple[Endpoint, ...]
"""What one server listens on: one address, or all of them in both families."""


class Nothing:
    """The cluster of a server block that has none."""

    index = Index()
    synced = True


class Running:
    """A server block at work. `hosts_seen` is when and how large the hosts file was when it was read."""

    def __init__(self, block: ServerBlock, chain: Chain, watched: Watched | None) -> None:
        self.block, self.chain, self.watched = block, chain, watched
        self.hosts_seen: tuple[int, int] | None = None


class Assembly:
    """`ways` and `watched` by what they are made from; `routers` by where they are to be listened for."""

    def __init__(self, settings: Settings, tally: Tally) -> None:
        self.settings = settings
        self.watched: dict[Source, Watched] = {}
        self.ways: dict[Way, tuple[Beyond, Troubles | None]] = {}
        self.blocks: list[Running] = []
        self.routers: dict[Place, Router] = {}
        self.everywhere: set[Place] = set()
        self._tally = tally

    @property
    def synced(self) -> bool:
        return all(one.cluster.synced for one in self.watched.values())

    def watch(self, before: Assembly | None) -> list[Watched]:
        """Takes over or begins to watch the clusters that are served; returns those begun."""
        begun = []
        wanted = [source for block in self.settings.blocks for source in _sources(block)]
        for source in dict.fromkeys(wanted):
            if before is not None and source in before.watched:
                self.watched[source] = before.watched[source]
                continue
            watched = self.watched[source] = Watched(source, self._tally)
            begun.append(watched)
            watched.start()
        return begun

    def connect(self, before: Assembly | None) -> None:
        """Makes the blocks, and the routers."""
        routes: dict[Place, dict[Name, tuple[str, Chain]]] = {}
        for block in self.settings.blocks:
            places = list(_places(block))
            running = self._running(block, before, [place for place, _ in places])
            self.blocks.append(running)
            for serving in block.serving:
                for place, port in places:
                    if port in (None, serving.port):
                        routes.setdefault(place, {})[serving.zone] = (serving.text, running.chain)
            if not block.bind and not block.listen:
                self.everywhere.update(place for place, _ in places)
        self.routers = {place: Router(zones, self._tally) for place, zones in routes.items()}
        for place, router in self.routers.items():
            for chain in router.chains:
                # What a CNAME leads to is asked at the address where the query came in, of whichever block has it.
                chain.responder.again = partial(_again, self.routers, place)
                chain.step = partial(_step, self.routers, place)

    def front(self, place: Place) -> tuple[WireCache | None, str]:
        """The cache that the sockets of an address may answer from, if any, and the zone that metrics count it for."""
        chains = {running.chain: running for running in self.blocks}
        for text, chain in self.routers[place].zones.values():
            running = chains[chain]
            if chain.is_the_same_to_all and running.watched is not None:
                return chain.responder.cache, text
        return None, "."

    def hosts(self) -> Iterable[Running]:
        """The blocks with a hosts file that is to be read anew when it changes."""
        return [one for one in self.blocks if one.block.hosts is not None and one.block.hosts.reload]

    async def drop(self, after: Assembly | None) -> None:
        """Ends what the next one did not take over."""
        for source, watched in self.watched.items():
            if after is None or after.watched.get(source) is not watched:
                watched.stop()
        for way, (beyond, troubles) in self.ways.items():
            if after is None or way not in after.ways:
                await beyond.close(PATIENCE if after is not None else 0.0)
                if troubles is not None:
                    troubles.close()

    def _running(self, block: ServerBlock, before: Assembly | None, places: Iterable[Place]) -> Running:
        watched = self.watched[block.kubernetes] if block.kubernetes is not None else None
        # Spreading load needs no secret order.
        shuffle: Callable[[list[object]], None] | None = random.shuffle if block.loadbalance else None
        zones = Zones((), ROOT)
        if watched is not None:
            zones = msgspec.structs.replace(
                watched.source.zones, local=_local(one for place in places for one in place)
            )
        cluster = watched.cluster if watched is not None else Nothing()
        denials = block.autopath is None
        cache = watched.cache(zones, block.loadbalance, denials) if watched is not None else WireCache()
        beyond = self._beyond(block, before)
        responder = Responder(cluster, zones, self._tally, beyond, shuffle, cache, keeps_denials=denials)
        table = Table(block.hosts) if block.hosts is not None else None
        completion = self._completion(block)
        chain = Chain(
            responder,
            self._tally,
            hosts=table,
            rewrites=block.rewrites,
            log=block.log,
            completion=completion,
            access=block.access,
        )
        if block.transfers:

            def transfer(packet: bytes, peer: str) -> Iterator[bytes] | None:
                return messages(packet, peer, block.transfers, cluster.index, zones, cluster.synced)

            chain.transfer = transfer
        running = Running(block, chain, watched)
        if block.hosts is not None:
            read_hosts(running, block.hosts, self._tally)
        return running

    def _completion(self, block: ServerBlock) -> Completion | None:
        """What goes along search paths. Nothing does where pods are not known, as in CoreDNS."""
        wanted = block.autopath
        if wanted is None:
            return None
        if wanted.path:
            path = _search(wanted.path)
            return Completion(wanted.zones, along(path)) if path else None
        source = wanted.pods or block.kubernetes
        if source is None or not (source.node or source.zones.pods == "verified"):
            return None
        index, more = self.watched[source].cluster.index, _search(RESOLV_CONF)

        def find(lower: Name, client: bytes) -> SearchPath | None:
            return path_of_pod(lower, source.zones, index.namespaces_at(client), more)

        return Completion(wanted.zones, find)

    def _beyond(self, block: ServerBlock, before: Assembly | None) -> Beyond | None:
        if not block.forwards:
            return None
        forwards = tuple((one, _upstreams(one)) for one in block.forwards)
        way: Way = (block.cache, forwards, block.loadbalance, block.errors)
        found = self.ways.get(way) or (before.ways.get(way) if before is not None else None)
        if found is None:
            troubles = Troubles(block.errors) if block.errors is not None else None
            beyond = Beyond(
                Replies(block.cache) if block.cache is not None else None,
                [Forwarder(options, upstreams, self._tally) for options, upstreams in forwards],
                self._tally,
                shuffled=partial(shuffled, shuffle=random.shuffle if block.loadbalance else None),
                trouble=troubles or _untold,
            )
            found = beyond, troubles
        self.ways[way] = found
        return found[0]


def _untold(question: Question, rcode: int, error: Exception) -> None:
    """Without the plugin `errors` a failure is the client's to see."""


def _sources(block: ServerBlock) -> Iterator[Source]:
    """The clusters that a block speaks of."""
    if block.kubernetes is not None:
        yield block.kubernetes
    if block.autopath is not None and block.autopath.pods is not None:
        yield block.autopath.pods


def _step(routers: dict[Place, Router], place: Place, query: wire.Query, via: Via) -> Said:
    return routers[place].step(query, via)


def _search(path: str) -> tuple[Name, ...]:
    """The search path of a resolv.conf; the node's own may be missing. OSError for another that cannot be read."""
    try:
        return search_domains(Path(path).read_text(errors="replace"))
    except OSError as error:
        if path == RESOLV_CONF:
            return ()
        raise OSError(f"autopath: {path}: {error.strerror}") from error


def _again(routers: dict[Place, Router], place: Place, packet: bytes, via: Via) -> Said:
    return routers[place].respond(packet, via)


def read_hosts(running: Running, options: Hosts, tally: Tally) -> None:
    """Reads the hosts file if it changed since it was last read; one that cannot be read is an empty one."""
    path = Path(options.path)
    try:
        status = path.stat()
        seen = status.st_mtime_ns, status.st_size
        if seen == running.hosts_seen:
            return
        text = path.read_text(errors="replace")
    except OSError:
        if running.hosts_seen is not None:
            return  # what was there last is better than nothing, as in CoreDNS
        seen, text = (0, 0), ""
    running.hosts_seen = seen
    running.chain.hosts = Table(options, text)
    tally.set("hosts_entries", running.chain.hosts.entries)
    tally.set("hosts_reload_timestamp_seconds", time.time())


def _upstreams(forward: Forward) -> tuple[Upstream, ...]:
    """The upstreams, those of resolv.conf files among them. OSError for a file that cannot be read or names none."""
    found: list[Upstream] = []
    for one in forward.to:
        if isinstance(one, Upstream):
            found.append(one)
            continue
        assert isinstance(one, str)  # noqa: S101 - host names have addresses by now
        try:
            named = nameservers(Path(one).read_text(errors="replace"))
        except OSError as error:
            raise OSError(f"forward: {one}: {error.strerror}") from error
        if not named:
            raise OSError(f"forward: {one}: the file names no nameserver")
        found += [Upstream(endpoint) for endpoint in named]
    return tuple(dict.fromkeys(found))


def _places(block: ServerBlock) -> Iterable[tuple[Place, int | None]]:
    """What the block listens on, each with the port whose zones are served there; None for all."""
    if block.listen:
        yield from (((endpoint,), None) for endpoint in block.listen)
        return
    unwanted = {address for word in block.not_bind for address in _addresses(word)}
    addresses = [address for word in block.bind for address in _addresses(word) if address not in unwanted]
    for port in dict.fromkeys(serving.port for serving in block.serving):
        if block.bind:
            yield from (((Endpoint(address, port),), port) for address in dict.fromkeys(addresses))
        else:
            v6 = (Endpoint("::", port),) if _has_ipv6() else ()
            yield (Endpoint("0.0.0.0", port), *v6), port


def _addresses(word: str) -> tuple[str, ...]:
    """An address as it is, or those of the interface of this name."""
    try:
        return (str(ip_address(word)),)
    except ValueError:
        pass
    try:
        found = addresses_of(word)
    except LinkError as error:
        raise OSError(f"bind: {error}") from error
    if not found:
        raise OSError(f"bind: not a valid IP address or interface name: {word!r}")
    return found


def _has_ipv6() -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _local(listen: Iterable[Endpoint]) -> tuple[bytes, ...]:
    """Our own addresses but for loopback: those we listen on, and those we would use towards the outside."""
    addresses = [endpoint.address for endpoint in listen]
    for family, outside in OUTSIDE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((outside, 53))
                addresses.append(probe.getsockname()[0])
        except OSError:
            continue  # no route in this family, or no such family
    found = (packed(address) for address in addresses)
    unwanted = {bytes(4), bytes(16), b"\x7f\0\0\1", bytes(15) + b"\1"}
    return tuple(dict.fromkeys(one for one in found if one is not None and one not in unwanted))

"""`svcplane-dns run` and `svcplane-dns lookup`: the parts put together, and the life of the process.

In: argv and signals. Out: a server, or one answer printed; exit status 0, 1 for what could not be done (one sentence
on stderr says what and what to try), 2 for a bad command line.

Order of `run`: the HTTP endpoints open; the reflectors start; the DNS ports open when the cluster is known or after
the startup timeout, as CoreDNS has it, so that a client is not told SERVFAIL while a second's patience gives it the
answer.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import signal
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import assert_never

import msgspec

from svcdns.answer import Chase, Elsewhere, Question, Reply, answer
from svcdns.cluster import Cluster
from svcdns.forward import Forwarder
from svcdns.options import Endpoint, Lookup, Run, Source, parse, upstreams_of
from svcdns.records import RCODE_NAMES, line_of, packed, text_of
from svcdns.respond import Responder
from svcdns.server import Server
from svcdns.tally import Tally
from svcdns.transfer import messages
from svcdns.wirecache import WireCache
from svckube.access import Access, AccessError, from_kubeconfig, in_cluster
from svckube.objects import EndpointSlice, Namespace, Pod, Service
from svckube.observe import Answer, exposition, fields, log_to, registry, sd_notify, serve
from svckube.reflector import ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES, Reflector, Resource
from svckube.store import Listed
from svckube.stream import Applied, Deleted

# Somewhere outside, never sent to: the kernel says which of our addresses it would use (RFC 5737, RFC 3849).
OUTSIDE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
LOOKUP_SECONDS = 30.0

_WATCHED: dict[type, Resource] = {
    Service: SERVICES,
    EndpointSlice: ENDPOINT_SLICES,
    Namespace: NAMESPACES,
    # A finished pod's address may belong to another one already.
    Pod: msgspec.structs.replace(
        PODS, field_selector="status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown"
    ),
}

_log = logging.getLogger(__name__)


def main(words: Sequence[str] | None = None) -> int:
    """The program; `words` are argv without the name. Returns the exit status."""
    command = parse(sys.argv[1:] if words is None else words)
    log_to(sys.stderr)
    try:
        match command:
            case Run():
                return asyncio.run(_run(command))
            case Lookup():
                return asyncio.run(_lookup(command))
            case _:
                assert_never(command)
    except (AccessError, OSError, ValueError) as error:
        print(f"svcplane-dns: {error}", file=sys.stderr)
        return 1


async def _run(options: Run) -> int:
    loop = asyncio.get_running_loop()
    stop, synced = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = registry()
    tally = Tally(metrics)
    cache = WireCache()
    cluster = _cluster(options.source, tally, synced, cache)
    with ExitStack() as closing:
        routes = {
            "/health": lambda: (200, "text/plain", b"OK"),
            "/ready": lambda: _ready(cluster.synced and not stop.is_set()),
            "/metrics": exposition(metrics),
        }
        for address in options.http:
            http = serve(address, routes)
            closing.callback(http.close)
            _log.info("serving http", extra=fields(address=http.address))
        closing.enter_context(_watching(_access(options.source), cluster))
        if not await _either(synced, stop, options.startup_timeout) and not stop.is_set():
            _log.warning("starting before the API server has answered", extra=fields(waited=options.startup_timeout))
        if not stop.is_set():
            await _serve(options, cluster, cache, tally, stop, synced)
    return 0


async def _serve(
    options: Run, cluster: Cluster, cache: WireCache, tally: Tally, stop: asyncio.Event, synced: asyncio.Event
) -> None:
    upstreams = _upstreams(options.upstreams)
    zones = msgspec.structs.replace(options.source.zones, local=_local(options.listen))
    forwarder = Forwarder(upstreams, tally, max_concurrent=options.max_concurrent) if upstreams else None
    # Spreading load needs no secret order.
    shuffle = random.shuffle if options.loadbalance else None
    responder = Responder(cluster, zones, tally, forwarder, shuffle, cache)
    allowed = options.transfer_to

    def transfer(packet: bytes, peer: str) -> Iterator[bytes] | None:
        return messages(packet, peer, allowed, cluster.index, zones, cluster.synced)

    server = Server(responder.respond, tally, cache, transfer if allowed else None)
    _settle()
    await server.start(options.listen)
    addresses = " ".join(map(str, server.addresses))
    _log.info("serving dns", extra=fields(addresses=addresses, synced=cluster.synced, **cluster.counts()))
    sd_notify("READY=1")
    if not cluster.synced and await _either(synced, stop, None):
        _settle()
        _log.info("synced", extra=fields(**cluster.counts()))
    await stop.wait()
    sd_notify("STOPPING=1")
    _log.info("stopping", extra=fields(lameduck=options.lameduck))
    await asyncio.sleep(options.lameduck)
    await server.close()


def _settle() -> None:
    """Spares the collector what is known by now and mostly stays: walking through it would keep clients waiting."""
    gc.collect()
    gc.freeze()


async def _either(wanted: asyncio.Event, stop: asyncio.Event, seconds: float | None) -> bool:
    """Waits for one of the two, or so long; whether it was the first."""
    waiting = [asyncio.ensure_future(event.wait()) for event in (wanted, stop)]
    await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return wanted.is_set()


async def _lookup(options: Lookup) -> int:
    """Prints the reply as zone-file lines, with comments that say why and whether an upstream would be asked."""
    stop, synced = asyncio.Event(), asyncio.Event()
    cluster = _cluster(options.source, Tally(registry()), synced, WireCache())
    with _watching(_access(options.source), cluster):
        if not await _either(synced, stop, LOOKUP_SECONDS):
            raise OSError(f"the API server did not list everything within {LOOKUP_SECONDS:g} s; see the lines above")
    question = Question(options.name, options.name.lower(), options.type)
    outcome = answer(question, cluster.index, options.source.zones)
    for line in explained(outcome):
        print(line)
    return 0


def explained(outcome: Reply | Chase | Elsewhere) -> Iterator[str]:
    """What would be answered, and why, in lines."""
    if isinstance(outcome, Elsewhere):
        yield f"; an upstream is asked: {outcome.because}"
        return
    reply = outcome if isinstance(outcome, Reply) else outcome.reply
    yield f"; {RCODE_NAMES[reply.rcode]}: {reply.because}"
    for section, records in (
        ("answer", reply.answer),
        ("authority", reply.authority),
        ("additional", reply.additional),
    ):
        if records:
            yield f"; {section}"
            yield from map(line_of, records)
    if isinstance(outcome, Chase):
        yield f"; an upstream is asked for {text_of(outcome.target)}, and its answer appended"


def _cluster(source: Source, tally: Tally, synced: asyncio.Event, cache: WireCache) -> Cluster:
    return Cluster(tally, synced.set, cache, pods=source.zones.pods == "verified", pod_names=source.endpoint_pod_names)


def _access(source: Source) -> Access:
    return from_kubeconfig(source.kubeconfig, server=source.server) if source.kubeconfig else in_cluster()


@contextmanager
def _watching(access: Access, cluster: Cluster) -> Iterator[None]:
    """Keeps the cluster up to date from reflectors' threads, through this loop, until left."""
    loop = asyncio.get_running_loop()

    def deliver(batch: list[Listed | Applied | Deleted]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(cluster.apply, batch)

    reflectors = [Reflector(access, _WATCHED[kind], deliver) for kind in cluster.kinds]
    try:
        for reflector in reflectors:
            reflector.start()
        yield
    finally:
        for reflector in reflectors:
            reflector.stop()
        access.close()


def _ready(is_ready: bool) -> Answer:
    return (200, "text/plain", b"OK") if is_ready else (503, "text/plain", b"kubernetes")


def _upstreams(given: Iterable[Endpoint | str]) -> list[Endpoint]:
    found: list[Endpoint] = []
    for one in given:
        addresses = [one] if isinstance(one, Endpoint) else upstreams_of(Path(one).read_text(errors="replace"))
        if not addresses:
            raise ValueError(f"--forward {one}: the file names no nameserver")
        found += addresses
    return list(dict.fromkeys(found))


def _local(listen: Iterable[Endpoint]) -> tuple[bytes, ...]:
    """Our own addresses but for loopback: those we listen on, and those we would use towards the outside."""
    addresses = [endpoint.address for endpoint in listen]
    for family, outside in OUTSIDE:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((outside, 53))
            except OSError:
                continue  # no route in this family
            addresses.append(probe.getsockname()[0])
    found = (packed(address) for address in addresses)
    unwanted = {bytes(4), bytes(16), b"\x7f\0\0\1", bytes(15) + b"\1"}
    return tuple(dict.fromkeys(one for one in found if one is not None and one not in unwanted))


if __name__ == "__main__":
    sys.exit(main())

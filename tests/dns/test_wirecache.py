"""Kept replies: true after every change, bounded, their addresses in every order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest
from dnslib import EDNS0, DNSRecord
from prometheus_client import CollectorRegistry

from support.filled import lists, objects
from support.questions import LOCAL, ROWS, TTL, ZONES, Manifest, cluster, said_in
from support.resolvers import question
from svcdns.addresses import zones_of
from svcdns.answer import PodMode
from svcdns.cluster import Cluster
from svcdns.records import packed
from svcdns.respond import Responder
from svcdns.settings import Source
from svcdns.tally import Tally, Via
from svcdns.watch import Watched
from svcdns.wirecache import Dated, Turning, WireCache
from svckube.stream import Applied, Deleted

UDP, TCP = Via("dns://:53", "udp", "1"), Via("dns://:53", "tcp", "1")
WEB = question("web.prod.svc.cluster.local.")


class Resolver:
    """A cluster of the table's objects, and its answers with and without what is kept."""

    def __init__(self, manifests: list[Manifest] | None = None, pods: PodMode = "insecure") -> None:
        self._now = 1000.0
        self.cache = WireCache()
        self._tally = Tally(CollectorRegistry())
        self.cluster = Cluster(self._tally, caches=lambda: [self.cache], pods=True, clock=lambda: self._now)
        self.cluster.apply(lists(cluster() if manifests is None else manifests))
        own = packed(LOCAL)
        assert own is not None
        self._zones = msgspec.structs.replace(zones_of(ZONES, TTL, pods), local=(own,))
        self._responder = self._with(self.cache)

    def _with(self, cache: WireCache) -> Responder:
        return Responder(self.cluster, self._zones, self._tally, None, random.Random(1).shuffle, cache)  # noqa: S311

    def ask(self, packet: bytes, via: Via = UDP) -> bytes:
        reply = self._responder.respond(packet, via)
        assert isinstance(reply, bytes)
        return reply

    def ask_anew(self, packet: bytes) -> bytes:
        reply = self._with(WireCache()).respond(packet, UDP)
        assert isinstance(reply, bytes)
        return reply

    def change(self, *manifests: Manifest, gone: bool = False) -> None:
        self._now += 1
        self.cluster.apply([(Deleted if gone else Applied)(one) for one in objects(manifests)])


@pytest.fixture
def resolver() -> Resolver:
    return Resolver()


def manifest(name: str, kind: str = "Service") -> Manifest:
    (found,) = [one for one in cluster() if (one["kind"], one["metadata"]["name"]) == (kind, name)][:1]
    return found


def is_kept(resolver: Resolver, packet: bytes) -> bool:
    return resolver.cache.find(packet[2:]) is not None


def test_a_reply_is_kept_when_its_question_comes_again(resolver: Resolver) -> None:
    first = resolver.ask(WEB)
    assert not is_kept(resolver, WEB)
    assert resolver.ask(WEB) == first
    assert is_kept(resolver, WEB)
    assert resolver.ask(b"\x12\x34" + WEB[2:]) == b"\x12\x34" + first[2:]
    assert resolver.ask(WEB, TCP) == first


def twice(resolver: Resolver, packet: bytes) -> bytes:
    resolver.ask(packet)
    return resolver.ask(packet)


def test_a_change_forgets_what_is_about_it_and_nothing_else(resolver: Resolver) -> None:
    names = ("web", "single", "missing", "_http._tcp.web", "a.b.c")
    packets = [question(f"{name}.prod.svc.cluster.local.") for name in names]
    for packet in packets:
        twice(resolver, packet)
    resolver.change(manifest("web"), gone=True)
    assert [is_kept(resolver, packet) for packet in packets] == [False, True, True, False, True]


def test_a_namespace_that_goes_takes_all_with_it(resolver: Resolver) -> None:
    twice(resolver, WEB)
    resolver.change(manifest("prod", "Namespace"), gone=True)
    assert said_in(resolver.ask(WEB)).rcode == "NXDOMAIN"


def test_a_kept_denial_tells_the_serial_of_now(resolver: Resolver) -> None:
    missing = question("missing.prod.svc.cluster.local.")
    twice(resolver, missing)
    resolver.change(manifest("web"), gone=True)
    assert is_kept(resolver, missing)
    assert resolver.ask(missing) == resolver.ask_anew(missing)
    assert DNSRecord.parse(resolver.ask(missing)).auth[0].rdata.times[0] == 1001


def with_edns(packet: bytes, **fields: object) -> bytes:
    query = DNSRecord.parse(packet)
    query.add_ar(EDNS0(**fields))
    return bytes(query.pack())


@pytest.mark.parametrize(
    "alter",
    [lambda packet: packet, lambda packet: with_edns(packet, udp_len=1232, flags="do")],
    ids=["plain", "EDNS"],
)
def test_no_history_makes_a_kept_reply_untrue(resolver: Resolver, alter: Callable[[bytes], bytes]) -> None:
    """Objects come and go at random; what is kept says what a server that keeps nothing says."""
    draw = random.Random(7)  # noqa: S311
    there = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]): one for one in cluster()}
    away: dict[tuple[str, str | None, str], Manifest] = {}
    packets = [alter(question(row.name, row.type)) for row in ROWS]
    kept = 0
    for _ in range(60):
        source, target = (there, away) if not away or (there and draw.random() < 0.5) else (away, there)
        key = draw.choice(sorted(source, key=str))
        target[key] = source.pop(key)
        resolver.change(target[key], gone=target is away)
        for packet in draw.sample(packets, 40):
            kept += is_kept(resolver, packet)
            assert said_in(twice(resolver, packet)) == said_in(resolver.ask_anew(packet))
    assert kept > 400


def test_verified_pods_and_aliases_are_not_kept() -> None:
    resolver = Resolver(pods="verified")
    for name in ("10-244-1-5.prod.pod", "alias.prod.svc", "ns.dns"):
        packet = question(f"{name}.cluster.local.")
        twice(resolver, packet)
        assert not is_kept(resolver, packet), name


@pytest.mark.parametrize(
    "packet",
    [
        question("WEB.prod.svc.cluster.local."),
        with_edns(WEB, udp_len=1232, opts=[])[:-2] + b"\0\x04\0\x0b\0\0",
        WEB[:-1] + b"\x03",
    ],
    ids=["mixed case", "an EDNS option", "class CH"],
)
def test_what_hardly_anybody_asks_is_not_kept(resolver: Resolver, packet: bytes) -> None:
    twice(resolver, packet)
    assert not is_kept(resolver, packet)


def test_every_address_is_first_as_often(resolver: Resolver) -> None:
    packet = question("db.prod.svc.cluster.local.")
    twice(resolver, packet)
    orders = Counter(tuple(str(one.rdata) for one in DNSRecord.parse(resolver.ask(packet)).rr) for _ in range(300))
    first = Counter({order[0]: 0 for order in orders})
    for order, count in orders.items():
        first[order[0]] += count
    assert set(first.values()) == {100}
    assert len(orders) == 6


def test_a_flood_of_names_takes_a_bounded_memory_and_the_popular_stay() -> None:
    cache = WireCache(100_000)
    cache.keep(b"popular", (b"reply", (1, 0, 0, 0), ""))
    for number in range(5000):
        cache.keep(b"flood %d" % number, (bytes(100), (1, 0, 0, 0), f"prod/{number}"))
        assert cache.find(b"popular") is not None
    kept = sum(cache.find(b"flood %d" % number) is not None for number in range(5000))
    assert 0 < kept < 100_000 // 550


def test_questions_that_never_come_again_are_not_kept(resolver: Resolver) -> None:
    wanted = sum(resolver.cache.is_wanted(b"%d" % number) for number in range(100_000))
    assert wanted < 6000  # some meet another's mark
    assert resolver.cache.is_wanted(b"99999")


def test_pieces_in_turn() -> None:
    turning = Turning(b"<", [b"1", b"22", b"333"], b">", lambda records: records.reverse())
    assert [turning.octets() for _ in range(6)] == [
        b"<333221>",
        b"<221333>",
        b"<133322>",
        b"<122333>",
        b"<223331>",
        b"<333122>",
    ]
    cache = WireCache()
    dated = Dated(b"<", b">", cache)
    cache.forget((), 0x1_0000_0002)
    assert dated.octets() == b"<\0\0\0\2>"


def test_only_those_who_answer_alike_share_a_cache_and_all_hear_of_changes() -> None:
    source = Source("", "http://127.0.0.1:1", zones_of(["cluster.local"], pods="verified"))
    zones, here = source.zones, msgspec.structs.replace(source.zones, local=(b"\x0a\0\0\1",))
    watched = Watched(source, Tally(CollectorRegistry()))
    keys = ((zones, True, True), (zones, False, True), (here, True, True), (zones, True, False))
    caches = [watched.cache(*key) for key in keys]
    assert len(set(map(id, caches))) == len(keys)
    assert watched.cache(msgspec.structs.replace(here), True, True) is caches[2]
    watched.cluster.apply(lists(cluster()))
    late = watched.cache(here, False, True)
    assert {cache.serial for cache in (*caches, late)} == {watched.cluster.index.serial.to_bytes(4)}
    assert caches[0].serial != bytes(4)

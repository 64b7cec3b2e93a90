"""The cache of what upstreams say: what is kept and for how long, what is stale, what is fetched before it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from dnslib import DNSRecord

from support.outward import Noted, beyond
from support.questions import Said, said_in
from support.resolvers import question
from support.scripted_upstream import ScriptedUpstream
from svcdns import wire
from svcdns.beyond import Beyond
from svcdns.records import name_of
from svcdns.settings import Cache, Capacity, Endpoint, HealthCheck
from svcdns.tally import Via

UDP, TCP = Via("dns://x", "udp", "1"), Via("dns://x", "tcp", "1")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Asker:
    """One way out, asked as clients ask."""

    def __init__(self, out: Beyond, upstream: ScriptedUpstream, clock: Clock, noted: Noted) -> None:
        self.out, self.upstream, self.clock, self.noted = out, upstream, clock, noted

    async def __call__(self, name: str, kind: str = "A", via: Via = UDP, packet: bytes = b"") -> Said:
        said = said_in(await self.octets(name, kind, via, packet))
        await asyncio.sleep(0)
        return said

    async def octets(self, name: str, kind: str = "A", via: Via = UDP, packet: bytes = b"") -> bytes:
        query = wire.read(packet or question(f"{name}.example.org.", kind))
        assert isinstance(query, wire.Query)
        reply = self.out.ask(query, via)
        assert reply is not None
        return reply if isinstance(reply, bytes) else await reply

    def asked(self) -> int:
        """How often the upstream was asked, but for probes."""
        return sum(not one.startswith(". ") for one in self.upstream.asked)

    async def until_asked(self, count: int) -> None:
        async with asyncio.timeout(10):
            while self.asked() < count:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # until the reply is in the cache


def with_cache(work: Callable[[Asker], Awaitable[None]], patience: float = 5.0, **options: object) -> Noted:
    """`patience`: seconds until a question is asked again, which a busy machine should not make happen."""
    noted = Noted()

    async def run(upstream: ScriptedUpstream) -> None:
        clock = Clock()
        cache = msgspec.structs.replace(Cache(), **options)
        to = [Endpoint(*upstream.address)]
        out = beyond(to, noted, cache, clock, read_timeout=patience, check=HealthCheck(0.05))
        try:
            await work(Asker(out, upstream, clock, noted))
        finally:
            await out.close()

    with ScriptedUpstream() as upstream:
        asyncio.run(run(upstream))
    return noted


def test_a_reply_is_kept_for_its_ttl() -> None:
    async def work(ask: Asker) -> None:
        assert (await ask("plain")).answer == ("plain.example.org. 60 IN A 192.0.2.80",)
        ask.clock.now += 59.5
        assert (await ask("plain")).answer == ("plain.example.org. 1 IN A 192.0.2.80",)
        assert ask.asked() == 1
        ask.clock.now += 0.5
        assert (await ask("plain")).answer == ("plain.example.org. 60 IN A 192.0.2.80",)
        assert ask.asked() == 2

    noted = with_cache(work)
    assert noted.counts.count("cache_hits") == 1
    assert noted.counts.count("cache_misses") == 2


@pytest.mark.parametrize(
    ("name", "kind", "lives", "ttls"),
    [
        ("short", "A", 5, {5}),
        ("long", "A", 3600, {3600}),
        ("alias", "A", 50, {50}),
        ("nothing", "A", 30, {30}),
        ("brief", "A", 7, {7}),
        ("nodata", "AAAA", 30, {30}),
        ("failing", "A", 5, set()),
        ("refused", "A", 0, set()),
        ("nothing-said", "A", 0, set()),
        ("dangling", "A", 0, {300}),
        ("cut", "A", 0, {60}),
    ],
)
def test_how_long_it_is_kept(name: str, kind: str, lives: int, ttls: set[int]) -> None:
    async def work(ask: Asker) -> None:
        message = DNSRecord.parse(await ask.octets(name, kind))
        assert {record.ttl for record in (*message.rr, *message.auth, *message.ar)} == ttls
        ask.clock.now += max(lives - 0.1, 0)
        await ask(name, kind)
        assert ask.asked() == (1 if lives else 2)
        ask.clock.now += 0.2
        before = ask.asked()
        await ask(name, kind)
        assert ask.asked() == before + 1

    with_cache(work)


def test_case_and_do_and_cd() -> None:
    async def work(ask: Asker) -> None:
        await ask("plain")
        assert (await ask("PLAIN")).answer == ("plain.example.org. 60 IN A 192.0.2.80",)
        assert ask.asked() == 1
        checked = bytearray(question("plain.example.org."))
        checked[3] |= 0x10
        await ask("", packet=bytes(checked))
        assert ask.asked() == 2

    with_cache(work)


def test_the_table_is_bounded_and_the_oldest_goes() -> None:
    async def work(ask: Asker) -> None:
        for name in ("plain", "two", "plain", "long"):
            await ask(name)
        assert ask.asked() == 3
        await ask("plain")
        assert ask.asked() == 3
        await ask("two")
        assert ask.asked() == 4

    with_cache(work, success=Capacity(2, 3600))


def test_denials_do_not_push_out_answers() -> None:
    async def work(ask: Asker) -> None:
        await ask("plain")
        for number in range(20):
            await ask("", packet=question(f"{number}.nothing.example.org."))
        asked = ask.asked()
        await ask("plain")
        assert ask.asked() == asked

    with_cache(work, success=Capacity(1, 3600), denial=Capacity(5, 3600))


def test_zones_that_are_not_kept() -> None:
    async def work(ask: Asker) -> None:
        for _ in range(2):
            assert (await ask("plain")).answer == ("plain.example.org. 60 IN A 192.0.2.80",)
        assert ask.asked() == 2

    with_cache(work, not_success=(name_of("example.org"),))
    with_cache(work, zones=(name_of("example.net"),))


def test_what_is_asked_often_is_fetched_before_it_expires() -> None:
    async def work(ask: Asker) -> None:
        await ask("plain")
        for _ in range(3):
            await ask("plain")
        ask.clock.now += 55
        assert (await ask("plain")).answer == ("plain.example.org. 5 IN A 192.0.2.80",)
        await ask.until_asked(2)
        assert (await ask("plain")).answer == ("plain.example.org. 60 IN A 192.0.2.80",)
        ask.clock.now += 55
        await ask("plain")
        assert ask.asked() == 2

    noted = with_cache(work, prefetch=3)
    assert noted.counts.count("cache_prefetch") == 1


def test_stale_at_once_and_fresh_the_next_time() -> None:
    async def work(ask: Asker) -> None:
        await ask("plain")
        ask.clock.now += 100
        assert (await ask("plain")).answer == ("plain.example.org. 0 IN A 192.0.2.80",)
        await ask.until_asked(2)
        assert (await ask("plain")).answer == ("plain.example.org. 60 IN A 192.0.2.80",)
        ask.clock.now += 60 + 3600
        ask.upstream.away = True
        assert (await ask("plain")).rcode == "SERVFAIL"

    noted = with_cache(work, patience=1.0, stale=3600.0)
    assert noted.counts.count("cache_served_stale") == 1


def test_stale_only_if_nobody_answers() -> None:
    async def work(ask: Asker) -> None:
        await ask("plain")
        ask.clock.now += 100
        assert (await ask("plain")).answer == ("plain.example.org. 60 IN A 192.0.2.80",)
        ask.clock.now += 100
        ask.upstream.away = True
        assert (await ask("plain")).answer == ("plain.example.org. 0 IN A 192.0.2.80",)
        assert (await ask("plain")).rcode == "NOERROR"

    with_cache(work, stale=3600.0, verify=True, verify_seconds=0.3)


def test_a_reply_written_once_has_the_id_of_each_client() -> None:
    async def work(ask: Asker) -> None:
        await ask("plain")
        for identity in (1, 2, 65535):
            reply = await ask.octets("", packet=question("plain.example.org.", identity=identity))
            assert int.from_bytes(reply[:2]) == identity
            assert said_in(reply).answer == ("plain.example.org. 60 IN A 192.0.2.80",)
        ask.clock.now += 1
        assert (await ask("plain")).answer == ("plain.example.org. 59 IN A 192.0.2.80",)
        assert len(await ask.octets("plain", via=TCP)) == len(reply)

    with_cache(work)


def test_equal_questions_share_one_exchange() -> None:
    async def work(ask: Asker) -> None:
        names = ["plain", "PLAIN", "plain"] * 20
        replies = await asyncio.gather(*(ask(name) for name in names))
        assert {reply.answer for reply in replies} == {("plain.example.org. 60 IN A 192.0.2.80",)}
        assert ask.asked() == 1

    with_cache(work)


def test_a_kept_reply_fits_each_client() -> None:
    async def work(ask: Asker) -> None:
        whole = await ask.octets("many", via=TCP)
        cut = await ask.octets("many")
        assert ask.asked() == 1
        assert len(DNSRecord.parse(whole).rr) == 60
        message = DNSRecord.parse(cut)
        assert len(cut) <= 512
        assert (message.header.tc, message.header.ra, len(message.rr) > 20) == (1, 1, True)

    with_cache(work)


def test_what_is_about_something_else_is_not_kept() -> None:
    async def work(ask: Asker) -> None:
        assert (await ask("poison")).answer == ("poison.example.org. 60 IN A 192.0.2.85",)
        assert (await ask("", packet=question("bank.example.com."))).rcode == "NXDOMAIN"

    with_cache(work)

"""Upstreams that are slow, silent, gone or behind TLS: the question moves on, and the trouble is told once."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from support.outward import Noted, forwarder
from support.questions import said_in
from support.resolvers import SILENT, Upstream, question
from support.scripted_upstream import ScriptedUpstream
from svcdns.forward import BusyError, Forwarder, NoAnswerError
from svcdns.records import name_of
from svcdns.settings import Certificates, Endpoint, HealthCheck
from svcdns.settings import Upstream as To
from svclab.certificates import Authority

T = TypeVar("T")

NAME = "www.example.org."
PLAIN = "plain.example.org."
OFTEN = HealthCheck(0.05)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as one:
        yield one


@pytest.fixture
def scripted() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as one:
        yield one


@pytest.fixture
def silent() -> Iterator[Endpoint]:
    """Takes connections and datagrams, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(tcp.getsockname())
        yield Endpoint(*tcp.getsockname())


def with_one(made: Callable[[], Forwarder], work: Callable[[Forwarder], Awaitable[T]]) -> T:
    """Runs `work` with a forwarder in a loop of their own."""

    async def run() -> T:
        one = made()
        try:
            return await work(one)
        finally:
            one.close()

    return asyncio.run(run())


def exchange(made: Callable[[], Forwarder], name: str = NAME, *, tcp: bool = False) -> bytes:
    return with_one(made, lambda one: one.exchange(question(name, identity=5), tcp=tcp))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
def test_the_reply_has_the_callers_id(upstream: Upstream, tcp: bool) -> None:
    noted = Noted()
    reply = exchange(lambda: forwarder([Endpoint(*upstream.address)], noted), tcp=tcp)
    assert reply[:2] == (5).to_bytes(2)
    assert said_in(reply).answer == (f"{NAME} 60 IN A 192.0.2.80",)
    assert noted.rcodes == [0]


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
def test_silence_is_an_error_that_names_the_upstream(silent: Endpoint, tcp: bool) -> None:
    noted = Noted()
    with pytest.raises(NoAnswerError, match=str(silent)):
        exchange(lambda: forwarder([silent], noted, read_timeout=0.05), tcp=tcp)
    assert noted.rcodes == []


def test_an_upstream_that_hangs_up_is_an_error(upstream: Upstream) -> None:
    with pytest.raises(NoAnswerError, match="closed the connection"):
        exchange(lambda: forwarder([Endpoint(*upstream.address)]), SILENT, tcp=True)


def test_a_place_is_free_again_after_a_failure(silent: Endpoint) -> None:
    async def work(one: Forwarder) -> None:
        for _ in range(3):
            with pytest.raises(NoAnswerError):
                await one.exchange(question(NAME), tcp=False)

    with_one(lambda: forwarder([silent], max_concurrent=1, read_timeout=0.01), work)


def test_one_too_many_is_told_at_once(silent: Endpoint) -> None:
    noted = Noted()

    async def work(one: Forwarder) -> None:
        first = asyncio.create_task(one.exchange(question(NAME), tcp=False))
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="exceeded maximum 1"):
            await one.exchange(question(NAME), tcp=False)
        first.cancel()

    with_one(lambda: forwarder([silent], noted, max_concurrent=1), work)
    assert noted.rejections == 1


def test_the_doubtful_one_is_asked_last_until_it_answers_a_probe(silent: Endpoint, scripted: ScriptedUpstream) -> None:
    good = Endpoint(*scripted.address)

    async def work(one: Forwarder) -> None:
        bad, fine = one.resolvers
        await one.exchange(question(PLAIN), tcp=False)
        assert one.order() == [fine, bad]
        bad.upstream = To(good)  # as if somebody answered there from now on
        await until(lambda: not bad.doubtful)
        assert one.order() == [bad, fine]

    with_one(lambda: forwarder([silent, good], policy="sequential", read_timeout=0.05, check=OFTEN), work)


def test_an_outage_is_told_once_and_so_is_its_end(scripted: ScriptedUpstream, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    noted = Noted()

    async def work(one: Forwarder) -> None:
        (only,) = one.resolvers
        scripted.away = True
        with pytest.raises(NoAnswerError):
            await one.exchange(question(PLAIN), tcp=True)
        await until(lambda: only.down)
        with pytest.raises(NoAnswerError):
            await one.exchange(question(PLAIN), tcp=False)
        assert noted.outages > 0
        scripted.away = False
        await until(lambda: not only.down and not only.doubtful)
        await one.exchange(question(PLAIN), tcp=False)

    to = [Endpoint(*scripted.address)]
    options = {"max_fails": 1, "read_timeout": 0.05, "check": OFTEN}
    with_one(lambda: forwarder(to, noted, **options), work)
    assert noted.probes >= 2
    ours = [record.message for record in caplog.records if record.name == "svcdns.upstream"]
    assert ours == ["upstream does not answer", "upstream answers again"]


def test_without_probes_nothing_is_ever_down(silent: Endpoint) -> None:
    noted = Noted()

    async def work(one: Forwarder) -> None:
        for _ in range(3):
            with pytest.raises(NoAnswerError):
                await one.exchange(question(NAME), tcp=False)
        assert not one.resolvers[0].down
        assert not one.resolvers[0].doubtful

    with_one(lambda: forwarder([silent], noted, max_fails=0, read_timeout=0.01), work)
    assert (noted.probes, noted.outages) == (0, 0)


def test_all_down_and_told_to_fail_fast(silent: Endpoint) -> None:
    async def work(one: Forwarder) -> None:
        with pytest.raises(NoAnswerError):
            await one.exchange(question(NAME), tcp=False)
        await until(lambda: one.resolvers[0].down)
        with pytest.raises(NoAnswerError, match="no healthy upstream"):
            await one.exchange(question(NAME), tcp=False)

    options = {"max_fails": 1, "read_timeout": 0.01, "fail_fast": True}
    with_one(lambda: forwarder([silent], check=OFTEN, **options), work)


A, B, C = (Endpoint("127.0.0.1", port) for port in (1, 2, 3))


@pytest.mark.parametrize(
    ("policy", "firsts"),
    [("sequential", {A: 30}), ("round_robin", {A: 10, B: 10, C: 10}), ("random", None)],
)
def test_policies(policy: str, firsts: dict[Endpoint, int] | None) -> None:
    async def work(one: Forwarder) -> Counter[Endpoint]:
        orders = [[resolver.upstream.endpoint for resolver in one.order()] for _ in range(30)]
        assert all(sorted(map(str, order)) == sorted(map(str, (A, B, C))) for order in orders)
        return Counter(order[0] for order in orders)

    found = with_one(lambda: forwarder([A, B, C], policy=policy), work)
    assert found == firsts if firsts is not None else len(found) > 1


@pytest.mark.parametrize(
    ("name", "takes"),
    [("example.org", True), ("a.example.org", True), ("example.net", False), ("x.no.example.org", False)],
)
def test_which_names_it_takes(name: str, takes: bool) -> None:
    one = forwarder([A], origin=name_of("example.org"), excepted=(name_of("no.example.org"),))
    assert one.takes(name_of(name)) is takes


def test_a_connection_is_used_again_until_it_is_old(scripted: ScriptedUpstream) -> None:
    now = 1000.0
    noted = Noted()

    async def work(one: Forwarder) -> None:
        nonlocal now
        for _ in range(3):
            await one.exchange(question(PLAIN), tcp=True)
        assert scripted.connections == 1
        now += 10
        await one.exchange(question(PLAIN), tcp=True)
        assert scripted.connections == 2

    with_one(lambda: forwarder([Endpoint(*scripted.address)], noted, clock=lambda: now), work)
    assert noted.reused == [False, True, True, False]


def test_a_connection_that_was_closed_meanwhile_is_no_failure(upstream: Upstream) -> None:
    """This upstream closes after each reply."""
    noted = Noted()

    async def work(one: Forwarder) -> None:
        for _ in range(3):
            assert said_in(await one.exchange(question(NAME), tcp=True)).answer
        assert not one.resolvers[0].doubtful

    with_one(lambda: forwarder([Endpoint(*upstream.address)], noted), work)


def test_many_at_a_time_get_their_own_replies(scripted: ScriptedUpstream) -> None:
    async def work(one: Forwarder) -> list[bytes]:
        names = [f"plain{'' if number % 2 else '-not'}.example.org." for number in range(100)]
        asked = [one.exchange(question(name, identity=number), tcp=True) for number, name in enumerate(names)]
        return await asyncio.gather(*asked)

    replies = with_one(lambda: forwarder([Endpoint(*scripted.address)]), work)
    assert [int.from_bytes(reply[:2]) for reply in replies] == list(range(100))
    assert [said_in(reply).rcode for reply in replies] == ["NXDOMAIN", "NOERROR"] * 50


def test_source_ports_and_ids_are_not_to_be_guessed() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(5)

        async def work(one: Forwarder) -> None:
            for _ in range(20):
                with pytest.raises(NoAnswerError):
                    await one.exchange(question(NAME, identity=5), tcp=False)

        to = [Endpoint(*listening.getsockname())]
        with_one(lambda: forwarder(to, read_timeout=0.001, max_fails=0, max_attempts=1), work)
        seen = [listening.recvfrom(512) for _ in range(20)]
    assert len({peer[1] for _, peer in seen}) > 10
    assert len({packet[:2] for packet, _ in seen}) > 15


@pytest.mark.parametrize(
    ("server_name", "trusted", "said"),
    [
        ("", True, ""),
        ("dns.example", True, ""),
        ("other.example", True, "certificate verify failed"),
        ("", False, "certificate verify failed"),
    ],
)
def test_over_tls(tmp_path: Path, server_name: str, trusted: bool, said: str) -> None:
    authority, stranger = Authority("ours"), Authority("a stranger's")
    pair = authority.server("dns", ["127.0.0.1", "dns.example"])
    for name, text in (("c", pair.certificate), ("k", pair.key)):
        (tmp_path / name).write_text(text)
    (tmp_path / "ca").write_text((authority if trusted else stranger).certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c", tmp_path / "k")
    with ScriptedUpstream(context) as behind:
        to = To(Endpoint(*behind.address), True, server_name)

        def made() -> Forwarder:
            return forwarder([to], certificates=Certificates(authority=str(tmp_path / "ca")))

        if said:
            with pytest.raises(NoAnswerError, match=said):
                exchange(made, PLAIN)
        else:
            assert said_in(exchange(made, PLAIN)).answer == (f"{PLAIN} 60 IN A 192.0.2.80",)

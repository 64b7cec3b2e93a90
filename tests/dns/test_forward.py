"""Upstreams that are slow, silent or gone: the question moves on, and the trouble is told once."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator

import pytest

from support.questions import said_in
from support.resolvers import SILENT, Upstream, question
from svcdns.forward import REST_SECONDS, Forwarder, NoAnswerError
from svcdns.options import Endpoint

NAME = "www.example.org."


class Noted:
    def __init__(self) -> None:
        self.rcodes: list[int] = []

    def upstream(self, address: str, rcode: int, seconds: float) -> None:
        self.rcodes.append(rcode)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as one:
        yield one


@pytest.fixture
def silent() -> Iterator[Endpoint]:
    """Takes connections and datagrams, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(tcp.getsockname())
        yield Endpoint(*tcp.getsockname())


def exchange(forwarder: Forwarder, name: str = NAME, *, tcp: bool = False) -> bytes:
    return asyncio.run(forwarder.exchange(question(name, identity=5), tcp=tcp))


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
def test_the_reply_has_the_callers_id(upstream: Upstream, tcp: bool) -> None:
    noted = Noted()
    reply = exchange(Forwarder([Endpoint(*upstream.address)], noted), tcp=tcp)
    assert reply[:2] == (5).to_bytes(2)
    assert said_in(reply).answer == (f"{NAME} 60 IN A 192.0.2.80",)
    assert noted.rcodes == [0]


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
def test_silence_is_an_error_that_names_the_upstream(silent: Endpoint, tcp: bool) -> None:
    noted = Noted()
    with pytest.raises(NoAnswerError, match=str(silent)):
        exchange(Forwarder([silent], noted, read_seconds=0.05), tcp=tcp)
    assert noted.rcodes == []


def test_an_upstream_that_hangs_up_is_an_error(upstream: Upstream) -> None:
    with pytest.raises(NoAnswerError):
        exchange(Forwarder([Endpoint(*upstream.address)], Noted()), SILENT, tcp=True)


def test_the_silent_one_is_asked_last_until_it_has_rested(silent: Endpoint, upstream: Upstream) -> None:
    now = 1000.0
    good = Endpoint(*upstream.address)
    forwarder = Forwarder([silent, good], Noted(), read_seconds=0.05, clock=lambda: now)
    for _ in range(20):
        exchange(forwarder)
    assert forwarder.order() == [good, silent]
    now += REST_SECONDS
    assert {forwarder.order()[0] for _ in range(100)} == {good, silent}


def test_an_outage_is_told_once_and_so_is_its_end(upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    forwarder = Forwarder([Endpoint(*upstream.address)], Noted(), read_seconds=0.05)
    for name in [SILENT] * 3 + [NAME] * 2:
        try:
            exchange(forwarder, name)
        except NoAnswerError:
            continue
    ours = [record.message for record in caplog.records if record.name == "svcdns.forward"]
    assert ours == ["upstream does not answer", "upstream answers again"]


def test_a_place_is_free_again_after_a_failure(silent: Endpoint) -> None:
    forwarder = Forwarder([silent], Noted(), max_concurrent=1, read_seconds=0.01)
    for _ in range(3):
        with pytest.raises(NoAnswerError):
            exchange(forwarder)

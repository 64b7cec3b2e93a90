"""Workers: real processes beside a server, which answer what it would, lose nothing when they die, and are counted.

Which askers a worker answers is seen by keeping the server's own loop busy: then only a worker answers, and only what
it has kept.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from support.askers import MANY, Askers, askers, named, workers_of
from support.dns_server import V4, Running, running
from support.filled import objects
from support.questions import FORWARDED, ROWS, cluster, said_in
from support.resolvers import Upstream, question
from support.waiting import eventually
from svcdns.batch import SLOTS
from svcdns.settings import Endpoint
from svckube.objects import Service
from svckube.stream import Applied, Deleted

WEB, NOBODY = question("web.prod.svc.cluster.local."), question("nobody.prod.svc.cluster.local.")


@pytest.fixture
def server() -> Iterator[Running]:
    with running(workers=1) as one:
        one.fill()
        yield one


@contextmanager
def held(server: Running) -> Iterator[None]:
    """The server's own loop stands still."""
    begun, free = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        free.wait(60)

    holding = threading.Thread(target=server.do, args=(hold,))
    holding.start()
    assert begun.wait(10)
    try:
        yield
    finally:
        free.set()
        holding.join()


def kept_elsewhere(server: Running, many: Askers, packet: bytes) -> set[int]:
    """The askers that a worker answers: some, and not all, as soon as it keeps the reply."""

    def found() -> set[int]:
        for _ in range(3):
            assert None not in many.ask(packet)
        with held(server):
            replies = many.ask(packet, seconds=1.0, wanted=MANY)
        return {number for number, reply in enumerate(replies) if reply is not None}

    answered = eventually(found, "a worker answers", seconds=60)
    assert len(answered) < MANY
    return answered


@pytest.mark.parametrize("listen", [V4, Endpoint("::", 0)], ids=["IPv4", "any IPv6"])
def test_the_table_is_answered_by_all(listen: Endpoint) -> None:
    with Upstream() as upstream, running(upstream.address, workers=1, listen=[listen]) as one:
        one.fill()
        address = ("::1", one.address[1]) if listen.address == "::" else one.address
        with askers(address) as many:
            kept_elsewhere(one, many, WEB)
            for row in (*ROWS, *FORWARDED):
                packet = question(row.name, row.type)
                said = {said_in(reply) for _ in range(3) for reply in many.ask(packet) if reply is not None}
                assert said == {row.said}
        assert one.tally.failures == 0


def test_addresses_take_turns_at_a_worker(server: Running) -> None:
    packet = question("db.prod.svc.cluster.local.")
    with askers(server.address) as many:
        mine = kept_elsewhere(server, many, packet)
        with held(server):
            said = [reply for _ in range(8) for reply in many.ask(packet, wanted=len(mine)) if reply is not None]
    assert len({reply[-4:] for reply in said}) > 1


def test_a_change_is_seen_by_all_at_once(server: Running) -> None:
    web = next(one for one in objects(cluster()) if isinstance(one, Service) and one.metadata.name == "web")
    with askers(server.address) as many:
        kept_elsewhere(server, many, WEB)
        before = {said_in(reply).answer for reply in many.ask(WEB) if reply is not None}
        changes = (([Deleted(web)], {()}), ([Applied(web)], before))
        for _ in range(20):
            for change, wanted in changes:
                server.do(partial(server.cluster.apply, change))
                for _ in range(3):
                    said = {said_in(reply).answer for reply in many.ask(WEB) if reply is not None}
                    assert said == wanted


def test_a_worker_that_is_killed(server: Running) -> None:
    """What it had taken in is lost; the server answers in its place until the next one is there."""
    with askers(server.address) as many:
        kept_elsewhere(server, many, WEB)
        (first,) = workers_of(os.getpid())
        lost = 0
        os.kill(first, signal.SIGKILL)
        for _ in range(5):
            lost += many.ask(WEB, seconds=2.0).count(None)
        assert lost <= SLOTS

        def successor() -> bool:
            return workers_of(os.getpid()) not in ([], [first])

        eventually(successor, "another one is started", seconds=60)
        kept_elsewhere(server, many, WEB)


def test_a_worker_that_does_not_listen_is_ended(server: Running) -> None:
    with askers(server.address) as many:
        kept_elsewhere(server, many, WEB)
        (first,) = workers_of(os.getpid())
        os.kill(first, signal.SIGSTOP)
        names = [f"prod/service-{number:04}" for number in range(500)]

        def talk() -> None:
            for serial in range(10_000):
                server.cache.forget(names, serial)

        server.do(talk)
        eventually(lambda: named(first) == "", "the stopped one has ended", seconds=60)
        assert None not in many.ask(WEB)


def test_what_workers_answer_is_counted(server: Running) -> None:
    with askers(server.address) as many:
        kept_elsewhere(server, many, NOBODY)

        def total(family: str) -> float:
            return sum(
                sample.value
                for metric in server.registry.collect()
                for sample in metric.samples
                if sample.name == family
            )

        before = total("coredns_dns_requests_total")
        replies = sum(reply is not None for _ in range(10) for reply in many.ask(NOBODY))
        eventually(lambda: total("coredns_dns_requests_total") >= before + replies, "all are counted", 30)
        assert total("coredns_dns_request_duration_seconds_count") == total("coredns_dns_requests_total")
        assert total("coredns_dns_responses_total") == total("coredns_dns_requests_total")

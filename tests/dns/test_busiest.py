"""The busiest names and clients: what is kept of a flood, how long, and what is told of it to whom."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from random import Random

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from support.dns_server import running
from support.resolvers import over_tcp, over_udp, question
from svcdns import local
from svcdns.busiest import MOST, WINDOW, Busiest, Sketch, Traffic
from svcdns.tally import Tally
from svcdns.top import PATH, table, top

CLIENT, OTHER = bytes((10, 244, 1, 5)), bytes(15) + b"\1"


def test_a_sketch_holds_the_frequent_in_bounded_room_and_never_counts_too_much() -> None:
    draw = Random(5)  # noqa: S311
    sketch, true = Sketch(), Counter[bytes]()
    for number in range(60_000):
        key = b"often-%d" % draw.randrange(20) if draw.random() < 0.3 else b"once-%d" % number
        weight = draw.randrange(1, 4)
        sketch.note(key, weight)
        true[key] += weight
        assert len(sketch.counts) <= 2 * MOST
    assert sketch.total == true.total()
    for number in range(20):
        key = b"often-%d" % number
        assert true[key] - true.total() / MOST <= sketch.counts[key] <= true[key]


@pytest.mark.parametrize(
    ("packet", "asked"),
    [
        (question("WEB.prod.svc.cluster.local."), "web.prod.svc.cluster.local. A"),
        (question("x.", "SRV"), "x. SRV"),
        (question("x.")[:-4] + b"\x12\x34\0\1", "x. TYPE4660"),
        (question("."), ". A"),
        (question("x.")[:14], "?"),
        (b"", "?"),
        (b"\0" * 12 + b"\x3fshort\0\0\1", "?"),
        (b"\xff" * 40, "?"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_message_by_its_question(packet: bytes, asked: str) -> None:
    traffic = Traffic()
    traffic.note(packet, CLIENT, 3, 0.0)
    assert traffic.busiest(10, 1.0) == Busiest(1.0, 3, ((asked, 3),), (("10.244.1.5", 3),))


def test_what_is_told_is_of_the_last_two_windows() -> None:
    traffic = Traffic()
    packets = [question(f"{name}.") for name in "abc"]
    for number, packet in enumerate(packets):
        traffic.note(packet, OTHER, 1, WINDOW * number)
    assert traffic.busiest(10, 2.5 * WINDOW) == Busiest(1.5 * WINDOW, 2, (("b. A", 1), ("c. A", 1)), (("::1", 2),))
    assert traffic.busiest(1, 2.5 * WINDOW).names == (("b. A", 1),)
    assert traffic.busiest(10, 9 * WINDOW) == Busiest(0.0, 0, (), ())
    traffic.note(packets[0], OTHER, 1, 9 * WINDOW)
    assert traffic.busiest(10, 9 * WINDOW + 1).questions == 1


def test_questions_of_both_transports_are_noted() -> None:
    with running() as server:
        server.fill()
        over_udp(server.address, question("web.prod.svc.cluster.local."))
        over_tcp(server.address, question("db.prod.svc.cluster.local."))
    found = server.tally.traffic.busiest(10, 0.0)
    assert found.clients[0][0] == "127.0.0.1"
    assert dict(found.names).keys() == {"web.prod.svc.cluster.local. A", "db.prod.svc.cluster.local. A"}
    assert found.questions == 2


def test_a_server_tells_its_own_user_what_it_is_asked_for() -> None:
    tally = Tally(CollectorRegistry())
    tally.traffic.note(question("web.prod.svc.cluster.local."), CLIENT, 30, 0.0)
    tally.traffic.note(question("x."), OTHER, 10, 0.0)

    async def scene() -> None:
        server = await local.tell({PATH: lambda: msgspec.json.encode(tally.traffic.busiest(200, 10.0))})
        name = server.sockets[0].getsockname()[1:].decode()
        assert name in local.names()
        lines = await asyncio.to_thread(lambda: list(top(name, 10)))
        with pytest.raises(OSError, match="does not know /other"):
            await asyncio.to_thread(local.ask, name, "/other")
        server.close()
        await server.wait_closed()
        assert name not in local.names()
        with pytest.raises(OSError, match="refused"):
            await asyncio.to_thread(local.ask, name, PATH)
        assert lines == [
            "40 questions in 10 s, 4.0 a second",
            "",
            "    a second  share  name",
            "         3.0  75.0%  web.prod.svc.cluster.local. A",
            "         1.0  25.0%  x. A",
            "",
            "    a second  share  client",
            "         3.0  75.0%  10.244.1.5",
            "         1.0  25.0%  ::1",
        ]

    asyncio.run(scene())


@pytest.mark.parametrize(("user", "status"), [(0, b"200"), (os.geteuid(), b"200"), (os.geteuid() + 1, b"403")])
def test_others_are_told_nothing(user: int, status: bytes) -> None:
    said = local._response(b"GET /top HTTP/1.1\r\n\r\n", user, {PATH: lambda: b"names"})
    assert said.split()[1] == status
    assert (b"names" in said) == (status == b"200")


def test_a_table_of_nothing() -> None:
    assert next(table(Busiest(0.0, 0, (), ()), 5)) == "0 questions in 0 s, 0.0 a second"

"""What strangers get, and what those at home still get while strangers and greedy neighbours press.

Loopback addresses stand for both: 127.0.0.0/24 is at home here, the rest of 127.0.0.0/8 is strange.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_network
from time import monotonic

import pytest
from dnslib import DNSRecord
from prometheus_client import CollectorRegistry

from support.dns_server import Running, running
from support.filled import lists
from support.questions import TTL, ZONES, cluster, said_in
from support.resolvers import SILENT, Upstream, datagrams, question
from svcdns import clients
from svcdns.addresses import zones_of
from svcdns.clients import Guard
from svcdns.cluster import Cluster
from svcdns.records import packed
from svcdns.respond import Responder
from svcdns.tally import Tally, Via
from svcdns.wirecache import WireCache

HOME, STRANGER = "127.0.0.1", "127.9.9.9"
WEB, OUTSIDE, ALIAS = "web.prod.svc.cluster.local.", "www.example.org.", "outside.prod.svc.cluster.local."
LIMIT = 20


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as one:
        yield one


@pytest.fixture
def server(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(clients, "HOME", ())
    with running(upstream.address, guard=Guard([ip_network("127.0.0.0/24")], LIMIT), limit=16) as one:
        one.fill()
        yield one


def ask(server: Running, name: str, source: str, proto: str = "udp") -> DNSRecord:
    packet = question(name)
    kind = socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(10)
        client.bind((source, 0))
        client.connect(server.address)
        if proto == "udp":
            client.send(packet)
            return DNSRecord.parse(client.recv(65535))
        client.sendall(len(packet).to_bytes(2) + packet)
        stream = client.makefile("rb")
        return DNSRecord.parse(stream.read(int.from_bytes(stream.read(2))))


@pytest.mark.parametrize("proto", ["udp", "tcp"])
@pytest.mark.parametrize(
    ("name", "source", "rcode", "records"),
    [
        (WEB, HOME, 0, 1),
        (WEB, STRANGER, 0, 1),
        (OUTSIDE, HOME, 0, 1),
        (OUTSIDE, STRANGER, 5, 0),
        (ALIAS, HOME, 0, 2),
        (ALIAS, STRANGER, 0, 1),
    ],
)
def test_what_upstreams_say_is_not_for_strangers(
    server: Running, proto: str, name: str, source: str, rcode: int, records: int
) -> None:
    for _ in range(3):  # from the second time on, replies come from a cache
        said = ask(server, name, source, proto)
        assert (said.header.rcode, len(said.rr)) == (rcode, records)


def test_a_refused_stranger_is_counted_and_no_upstream_hears_of_it(server: Running, upstream: Upstream) -> None:
    before = len(upstream.asked)
    ask(server, "never.asked.example.org.", STRANGER)
    assert upstream.asked[before:] == []
    assert server.metric("coredns_acl_blocked_requests_total") == 1


@pytest.mark.parametrize(("address", "refused"), [("10.244.1.20", False), ("10.244.200.200", True)])
def test_an_endpoint_is_no_stranger(address: str, refused: bool) -> None:
    known, tally = Cluster(Tally(CollectorRegistry()), pods=True), Tally(CollectorRegistry())
    known.apply(lists(cluster()))
    responder = Responder(known, zones_of(ZONES, TTL), tally, None, None, WireCache())
    client = packed(address)
    assert client is not None
    assert responder._is_refused(Via("x", "udp", "1", client=client, is_stranger=True)) is refused


def flood(server: Running, source: str, count: int, name: str) -> list[bytes]:
    """Sends the questions without a look at the replies, and returns those."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        client.bind((source, 0))
        client.connect(server.address)
        for number in range(count):
            client.send(question(name.format(number), identity=number & 0xFFFF))
        # What is asked last, over TCP, is answered after all of it was read.
        for _ in range(3):
            ask(server, WEB, HOME, "tcp")
        found = []
        client.settimeout(0.5)
        try:
            while True:
                found.append(client.recv(65535))
        except TimeoutError:
            return found


@pytest.mark.parametrize(
    "name", [WEB, "x{}.prod.svc.cluster.local.", "x{}.example.org."], ids=["name", "NX", "REFUSED"]
)
def test_a_strangers_address_is_not_flooded(server: Running, name: str) -> None:
    """Somebody writes a stranger's address into 400 questions: what is sent there is less than what came."""
    began = monotonic()
    said = flood(server, STRANGER, 400, name)
    seconds = int(monotonic() - began) + 2
    whole = [reply for reply in said if not DNSRecord.parse(reply).header.tc]
    assert 0 < len(whole) <= LIMIT * seconds
    assert server.metric("coredns_rrl_responses_exceeded_total") > 0
    assert ask(server, WEB, STRANGER, "tcp").header.tc == 0  # who is really there gets through
    assert len(flood(server, HOME, 400, WEB)) == 400


def test_a_greedy_neighbour_leaves_room_for_others(server: Running, upstream: Upstream) -> None:
    """16 questions may be under way; of the last two places none is for who has 14."""
    with datagrams(server.address) as greedy:
        for number in range(30):
            # Types differ, so that each is an exchange of its own; the upstream stays silent.
            packet = question(SILENT, identity=number)
            greedy.send(packet[:-4] + (100 + number).to_bytes(2) + packet[-2:])
        refused = [DNSRecord.parse(greedy.recv(65535)).header.rcode for _ in range(16)]
        assert refused == [5] * 16
        assert said_in(bytes(ask(server, OUTSIDE, "127.0.0.2").pack())).rcode == "NOERROR"
        assert said_in(bytes(ask(server, WEB, HOME).pack())).rcode == "NOERROR"


def test_connections_of_one_client_end_each_other(server: Running) -> None:
    """Slow clients: 300 connections that say half a question, and the one that was there before them still answers."""
    packet = question(WEB)
    framed = len(packet).to_bytes(2) + packet
    with ExitStack() as stack:
        first = stack.enter_context(socket.create_connection(server.address, 10, ("127.0.0.3", 0)))
        first.sendall(framed)
        stream = first.makefile("rb")
        assert said_in(stream.read(int.from_bytes(stream.read(2)))).rcode == "NOERROR"
        for _ in range(300):
            slow = stack.enter_context(socket.create_connection(server.address, 10, ("127.0.0.2", 0)))
            slow.sendall(framed[:9])
        first.sendall(framed)
        assert said_in(stream.read(int.from_bytes(stream.read(2)))).rcode == "NOERROR"
        assert ask(server, WEB, HOME, "tcp").header.rcode == 0

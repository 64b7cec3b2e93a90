"""The table of questions through our sockets, and what only sockets show: order, sources, odd packets, upstreams."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
from dnslib import EDNS0, DNSRecord
from prometheus_client import CollectorRegistry

from support.dns_server import V4, V6, Running, running
from support.filled import lists
from support.questions import FORWARDED, ROWS, Row, cluster, said_in
from support.resolvers import FORGED, REFUSED, SILENT, TRUNCATED, Upstream, datagrams, over_tcp, over_udp, question
from support.waiting import eventually
from svcdns.server import Server
from svcdns.settings import Endpoint
from svcdns.tally import Tally

FALLTHROUGH = ("in-addr.arpa", "ip6.arpa")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as one:
        yield one


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Running]:
    with running(upstream.address, listen=(V4, V6)) as one:
        one.fill()
        yield one


@pytest.mark.parametrize("row", [*ROWS, *FORWARDED], ids=lambda row: row.id)
def test_table(server: Running, row: Row) -> None:
    packet = question(row.name, row.type)
    over4, over6 = server.addresses
    assert said_in(over_udp(over4, packet)) == row.said
    assert said_in(over_udp(over6, packet)) == row.said
    assert said_in(over_tcp(over4, packet)[0]) == row.said


def test_one_connection_many_questions_answers_in_order(server: Running) -> None:
    names = ["www.example.org.", "web.prod.svc.cluster.local.", "alias.example.org.", "missing.prod.svc.cluster.local."]
    replies = over_tcp(server.address, *(question(name, identity=n) for n, name in enumerate(names)))
    assert [DNSRecord.parse(reply).header.id for reply in replies] == [0, 1, 2, 3]
    assert [str(DNSRecord.parse(reply).q.qname) for reply in replies] == names


def test_a_question_in_pieces_over_tcp(server: Running) -> None:
    packet = question("web.prod.svc.cluster.local.")
    with socket.create_connection(server.address, timeout=5) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in len(packet).to_bytes(2) + packet:
            client.sendall(bytes([octet]))
        stream = client.makefile("rb")
        assert said_in(stream.read(int.from_bytes(stream.read(2)))).rcode == "NOERROR"


def test_silence_is_not_the_end(server: Running) -> None:
    with datagrams(server.address) as client:
        for nonsense in (b"", b"\0" * 11, question("x.")[:2] + b"\x80" + question("x.")[3:]):
            client.send(nonsense)
        client.send(question("web.prod.svc.cluster.local.", identity=7))
        assert client.recv(65535)[:2] == (7).to_bytes(2)


@pytest.mark.parametrize(("wildcard", "asked"), [("0.0.0.0", "127.9.8.7"), ("::", "::1")], ids=["IPv4", "IPv6"])
def test_a_reply_leaves_from_the_address_that_was_asked(wildcard: str, asked: str) -> None:
    with running(listen=(Endpoint(wildcard, 0),)) as server:
        server.fill()
        where = (asked, server.address[1])
        assert said_in(over_udp(where, question("web.prod.svc.cluster.local."))).rcode == "NOERROR"


def test_both_wildcards_listen_side_by_side() -> None:
    with running(listen=(Endpoint("0.0.0.0", 0),)) as server:
        port = server.address[1]
        with running(listen=(Endpoint("::", port),)) as other:
            assert other.address == ("::", port)


def test_a_taken_address_is_named() -> None:
    with running() as server:
        taken = Endpoint(*server.address)

        async def start() -> None:
            await Server(lambda packet, via: None, Tally(CollectorRegistry())).start([taken])

        with pytest.raises(OSError, match=f"cannot listen on {taken}"):
            asyncio.run(start())


def test_what_is_not_listed_yet_is_servfail_and_then_known() -> None:
    packet = question("web.prod.svc.cluster.local.")
    with running() as server:
        before = said_in(over_udp(server.address, packet))
        assert (before.rcode, before.aa, len(before.authority)) == ("SERVFAIL", True, 1)
        server.fill()
        assert said_in(over_udp(server.address, packet)).answer == ("web.prod.svc.cluster.local. 5 IN A 10.96.1.10",)


def test_a_change_is_answered_from_the_next_question_on() -> None:
    with running() as server:
        server.fill()
        changed = [{**one, "metadata": {**one["metadata"], "resourceVersion": "2"}} for one in cluster()]
        kept = [one for one in changed if one["metadata"]["name"] != "single"]
        server.do(lambda: server.cluster.apply(lists(kept)))
        assert said_in(over_udp(server.address, question("single.prod.svc.cluster.local."))).rcode == "NXDOMAIN"
        assert said_in(over_udp(server.address, question("web.prod.svc.cluster.local."))).rcode == "NOERROR"


def test_addresses_are_shuffled(server: Running) -> None:
    def first() -> str:
        return str(DNSRecord.parse(over_udp(server.address, question("db.prod.svc.cluster.local."))).rr[0].rdata)

    assert {first() for _ in range(100)} == {"10.244.1.20", "10.244.2.20", "10.244.4.20"}


def test_the_transport_is_kept_towards_the_upstream(server: Running, upstream: Upstream) -> None:
    over_udp(server.address, question("www.example.org.", "AAAA"))
    assert upstream.asked[-1] == "www.example.org. AAAA udp"
    over_tcp(server.address, question("www.example.org.", "AAAA"))
    assert upstream.asked[-1] == "www.example.org. AAAA tcp"


def test_an_upstreams_reply_is_relayed_as_it_is(server: Running) -> None:
    relayed = DNSRecord.parse(over_udp(server.address, question("www.example.org.", identity=99)))
    assert (relayed.header.id, relayed.header.ra, relayed.header.aa) == (99, 1, 0)


@pytest.mark.parametrize(
    ("name", "rcode", "truncated"),
    [(TRUNCATED, "NOERROR", 1), (REFUSED, "REFUSED", 0), ("nobody.example.org.", "NXDOMAIN", 0)],
)
def test_an_upstreams_refusal_is_the_clients(server: Running, name: str, rcode: str, truncated: int) -> None:
    reply = over_udp(server.address, question(name))
    assert (said_in(reply).rcode, DNSRecord.parse(reply).header.tc) == (rcode, truncated)


def test_forged_replies_are_waited_past(server: Running) -> None:
    assert said_in(over_udp(server.address, question(FORGED))).answer == (f"{FORGED} 60 IN A 192.0.2.99",)


def nobody() -> tuple[str, int]:
    """An address where nothing listens, so that a connection is refused."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        address: tuple[str, int] = probe.getsockname()
        return address


def test_a_refused_upstream_is_servfail_at_once() -> None:
    with running(nobody()) as server:
        for reply in (
            over_udp(server.address, question("www.example.org."), seconds=1.5),
            over_tcp(server.address, question("www.example.org."), seconds=1.5)[0],
        ):
            said = said_in(reply)
            assert (said.rcode, said.aa, said.authority) == ("SERVFAIL", False, ())


def test_an_alias_stands_alone_when_nobody_can_follow_it() -> None:
    with running(nobody()) as server:
        server.fill()
        said = said_in(over_udp(server.address, question("outside.prod.svc.cluster.local."), seconds=1.5))
        assert (said.rcode, said.aa) == ("NOERROR", True)
        assert said.answer == ("outside.prod.svc.cluster.local. 5 IN CNAME www.example.org.",)


def test_the_second_upstream_is_asked_when_the_first_is_gone(upstream: Upstream) -> None:
    with running(nobody(), upstream.address) as server:
        for _ in range(5):
            assert said_in(over_udp(server.address, question("www.example.org."))).rcode == "NOERROR"


def test_without_an_upstream_the_rest_is_refused() -> None:
    with running() as server:
        assert said_in(over_udp(server.address, question("www.example.org."))).rcode == "REFUSED"


def test_one_forwarded_query_too_many_is_refused_and_the_cluster_is_not(upstream: Upstream) -> None:
    with running(upstream.address, limit=1) as server, datagrams(server.address) as client:
        server.fill()
        client.send(question(SILENT))
        eventually(lambda: f"{SILENT} A udp" in upstream.asked, "the first query waits for its upstream")
        assert said_in(over_udp(server.address, question("www.example.org."))).rcode == "REFUSED"
        assert said_in(over_udp(server.address, question("web.prod.svc.cluster.local."))).rcode == "NOERROR"
        assert server.metric("coredns_forward_max_concurrent_rejects_total") == 1


def test_fallthrough_asks_the_upstream(upstream: Upstream) -> None:
    with running(upstream.address, fallthrough=FALLTHROUGH) as server:
        server.fill()
        said = said_in(over_udp(server.address, question("1.51.100.198.in-addr.arpa.", "PTR")))
        assert said.answer == ("1.51.100.198.in-addr.arpa. 60 IN PTR host.example.org.",)
        ours = said_in(over_udp(server.address, question("10.1.96.10.in-addr.arpa.", "PTR")))
        assert ours.answer == ("10.1.96.10.in-addr.arpa. 5 IN PTR web.prod.svc.cluster.local.",)


def test_edns_comes_back_with_a_forwarded_alias(server: Running) -> None:
    query = DNSRecord.parse(question("outside.prod.svc.cluster.local."))
    query.add_ar(EDNS0(udp_len=1400, flags="do"))
    reply = DNSRecord.parse(over_udp(server.address, bytes(query.pack())))
    assert len(reply.rr) == 2
    assert (reply.ar[0].edns_len, reply.ar[0].edns_do) == (1400, 1)


def test_what_was_answered_is_counted() -> None:
    with running() as server:
        server.fill()
        where = f"dns://127.0.0.1:{server.address[1]}"
        over_udp(server.address, question("web.prod.svc.cluster.local."))
        over_udp(server.address, question("missing.prod.svc.cluster.local.", "HTTPS"))
        over_tcp(server.address, question("web.prod.svc.cluster.local."), question("www.example.org.", "HINFO"))
        for proto, kind in (("udp", "A"), ("udp", "HTTPS"), ("tcp", "A"), ("tcp", "other")):
            labels = f'{{family="1",proto="{proto}",server="{where}",type="{kind}",view="",zone="."}}'
            assert server.metric("coredns_dns_requests_total" + labels) == 1, (proto, kind)
        for rcode, count in (("NOERROR", 2), ("NXDOMAIN", 1), ("REFUSED", 1)):
            labels = f'{{plugin="",rcode="{rcode}",server="{where}",view="",zone="."}}'
            assert server.metric("coredns_dns_responses_total" + labels) == count, rcode
        duration = f'coredns_dns_request_duration_seconds_count{{server="{where}",view="",zone="."}}'
        assert server.metric(duration) == 4

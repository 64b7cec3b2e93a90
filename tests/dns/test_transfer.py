"""Zones whole: what a transfer holds is what questions get, and nobody has it who may not."""

from __future__ import annotations

from ipaddress import ip_network

import msgspec
import pytest
from dnslib import QTYPE, DNSRecord

from support.filled import NOW, Filled
from support.questions import LOCAL, TTL, ZONES
from support.resolvers import question
from svcdns import wire
from svcdns.addresses import zones_of
from svcdns.answer import Question, Reply, answer
from svcdns.records import Record, line_of, name_of, packed, soa_data
from svcdns.settings import ROOT, Transfer
from svcdns.transfer import CHUNK, messages

AXFR = question("cluster.local.", "AXFR")
LOCALHOST = (Transfer((ROOT,), (ip_network("127.0.0.0/8"), ip_network("::1"))),)


@pytest.fixture(scope="module")
def filled() -> Filled:
    return Filled()


def asked(filled: Filled, packet: bytes, peer: str = "127.0.0.1", synced: bool = True) -> list[DNSRecord] | None:
    own = packed(LOCAL)
    assert own is not None
    zones = msgspec.structs.replace(zones_of(ZONES, TTL, "insecure"), local=(own,))
    found = messages(packet, peer, LOCALHOST, filled.index, zones, synced)
    return None if found is None else [DNSRecord.parse(one) for one in found]


def lines(found: list[DNSRecord] | None) -> list[tuple[str, str, str]]:
    assert found is not None
    return [(str(one.rname), QTYPE[one.rtype], str(one.rdata)) for message in found for one in message.rr]


def test_the_soa_stands_first_and_last(filled: Filled) -> None:
    found = lines(asked(filled, AXFR))
    assert found[0] == found[-1]
    assert found[0][1] == "SOA"
    assert not any(kind == "SOA" for _, kind, _ in found[1:-1])
    assert found[1][1:] == ("NS", "kube-dns.kube-system.svc.cluster.local.")


def test_every_record_is_what_a_question_gets_once(filled: Filled) -> None:
    found = asked(filled, AXFR)
    assert found is not None
    records = [one for message in found for one in message.rr][:-1]
    zones = msgspec.structs.replace(zones_of(ZONES, TTL, "insecure"), local=(packed(LOCAL) or b"",))
    for one in records:
        name = name_of(str(one.rname))
        reply = answer(Question(name, name, one.rtype), filled.index, zones)
        said = reply.answer if isinstance(reply, Reply) else reply.reply.answer  # type: ignore[union-attr]
        assert str(one.rdata).lower() in " ".join(line_of(record) for record in said), one
    assert len(set(map(str, records))) == len(records)


@pytest.mark.parametrize(
    ("owner", "kind", "count"),
    [
        ("web.prod.svc.cluster.local.", "A", 1),
        ("web.prod.svc.cluster.local.", "SRV", 2),
        ("_http._tcp.web.prod.svc.cluster.local.", "SRV", 1),
        ("10-244-1-5.web.prod.svc.cluster.local.", "A", 0),
        ("db.prod.svc.cluster.local.", "A", 3),
        ("db-0.db.prod.svc.cluster.local.", "A", 1),
        ("db.prod.svc.cluster.local.", "SRV", 0),
        ("_pg._tcp.db.prod.svc.cluster.local.", "SRV", 3),
        ("outside.prod.svc.cluster.local.", "CNAME", 1),
        ("literal.prod.svc.cluster.local.", "CNAME", 0),
        ("waiting.prod.svc.cluster.local.", "A", 0),
        ("dual.prod.svc.cluster.local.", "AAAA", 1),
    ],
)
def test_contents(filled: Filled, owner: str, kind: str, count: int) -> None:
    assert sum(line[:2] == (owner, kind) for line in lines(asked(filled, AXFR))) == count


def test_all_but_an_apex_an_allowed_peer_and_a_transfer_is_left_to_others(filled: Filled) -> None:
    assert asked(filled, AXFR, "::ffff:127.0.0.1") is not None
    assert asked(filled, AXFR, "192.0.2.1") is None
    for name in ("prod.svc.cluster.local.", "in-addr.arpa.", "example.org."):
        assert asked(filled, question(name, "AXFR")) is None, name
    assert asked(filled, question("cluster.local.", "SOA")) is None
    assert asked(filled, AXFR[:20]) is None


def ixfr(serial: int) -> bytes:
    zone = name_of("cluster.local")
    soa = Record(zone, 6, 0, soa_data(zone, zone, serial, 5))
    packet = question("cluster.local.", "IXFR")
    record = soa.owner + b"\0\6\0\1" + bytes(4) + len(soa.data).to_bytes(2) + soa.data
    return packet[:8] + b"\0\1" + packet[10:] + record


def test_ixfr_is_the_soa_alone_where_nothing_is_new(filled: Filled) -> None:
    assert [kind for _, kind, _ in lines(asked(filled, ixfr(int(NOW))))] == ["SOA"]
    assert len(lines(asked(filled, ixfr(int(NOW) - 1)))) > 50
    assert len(lines(asked(filled, question("cluster.local.", "IXFR")))) > 50


def test_half_a_zone_is_none(filled: Filled) -> None:
    (refusal,) = asked(filled, AXFR, synced=False) or []
    assert (refusal.header.rcode, refusal.rr) == (2, [])


def test_many_records_are_many_messages_and_of_one_moment() -> None:
    def service(number: int) -> dict[str, object]:
        spec = {"clusterIP": f"10.96.{number // 250}.{number % 250 + 1}", "ports": [{"port": 80, "protocol": "TCP"}]}
        return {"kind": "Service", "metadata": {"name": f"s{number}", "namespace": "prod"}, "spec": spec}

    namespace = {"kind": "Namespace", "metadata": {"name": "prod"}}
    filled = Filled([namespace, *map(service, range(1000))])
    zones = zones_of(ZONES, TTL)
    found = messages(AXFR, "127.0.0.1", LOCALHOST, filled.index, zones, True)
    assert found is not None
    first = next(found)
    filled.index.namespaces.clear()
    rest = list(found)
    assert len(rest) > 2000 // CHUNK - 2
    assert sum(len(DNSRecord.parse(one).rr) for one in (first, *rest)) == 2002
    assert max(map(len, rest)) < wire.TCP_LIMIT

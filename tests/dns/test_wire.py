"""Messages: odd ones in, replies within their limit out, and nothing that makes the reader fall over."""

from __future__ import annotations

import pytest
from dnslib import DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from support.questions import UPSTREAM, Said, said, said_in
from support.resolvers import question
from svcdns import wire
from svcdns.answer import Reply
from svcdns.records import AAAA, NOERROR, PTR, SOA, SRV, A, Record, line_of, name_of, soa_data, srv_data

WEB = question("web.prod.svc.cluster.local.", identity=0x1267)
OPT = b"\0\0\x29"


def header(flags: int, *counts: int) -> bytes:
    return b"".join(value.to_bytes(2) for value in (0x1267, flags, *counts))


def edns(size: int, ttl: int = 0, options: bytes = b"") -> bytes:
    record = OPT + size.to_bytes(2) + ttl.to_bytes(4) + len(options).to_bytes(2) + options
    return header(0x0100, 1, 0, 0, 1) + WEB[12:] + record


def option(code: int, data: bytes = b"") -> bytes:
    return code.to_bytes(2) + len(data).to_bytes(2) + data


def test_opt_goes_back_with_its_flags_and_bare_if_its_version_is_unknown() -> None:
    query = wire.read(edns(1232, 0x4055, option(10, b"12345678")))
    assert isinstance(query, wire.Query)
    assert wire.write(query, Reply(NOERROR, ""), 512).endswith(edns(1232, 0x4000, option(10, b"12345678"))[-23:])
    said = wire.read(edns(1232, 0x01C000, option(10, b"12345678")))
    assert isinstance(said, bytes)
    assert said == header(0x8100, 1, 0, 0, 1) + WEB[12:] + edns(0, 0x01000000)[-11:]


NOTHING = [b"", WEB[:11], header(0x8100, 1, 0, 0, 0) + WEB[12:]]
NOTIMP, FORMERR = header(0x9104, 0, 0, 0, 0), header(0x8101, 0, 0, 0, 0)
BARE = {
    "opcode STATUS": (header(0x1100, 1, 0, 0, 0) + WEB[12:], NOTIMP),
    "opcode STATUS without RD": (header(0x1000, 1, 0, 0, 0) + WEB[12:], header(0x9004, 0, 0, 0, 0)),
    "all flags": (header(0x17F0, 1, 0, 0, 0) + WEB[12:], header(0x93B4, 0, 0, 0, 0)),
    "NOTIFY of nothing": (header(0x21F3, 0, 0, 0, 0), header(0x81B1, 0, 0, 0, 0)),
    "no question": (header(0x0100, 0, 0, 0, 0), FORMERR),
    "two questions": (header(0x0100, 2, 0, 0, 0) + WEB[12:] * 2, FORMERR),
    "two answers": (header(0x0100, 1, 2, 0, 0) + WEB[12:], FORMERR),
    "two authorities": (header(0x0100, 1, 0, 2, 0) + WEB[12:], FORMERR),
    "three additional": (header(0x0100, 1, 0, 0, 3) + WEB[12:], FORMERR),
    "question missing": (WEB[:12], FORMERR),
    "name cut short": (WEB[:20], FORMERR),
    "class cut short": (WEB[:-1], FORMERR),
    "a label of 64 octets": (WEB[:12] + b"\x40" + b"x" * 64 + b"\0\0\1\0\1", FORMERR),
    "a pointer": (WEB[:12] + b"\xc0\x0c\0\1\0\1", FORMERR),
    "a name of 256 octets": (WEB[:12] + b"\x3f" + (b"x" * 63 + b"\x3f") * 3 + b"x" * 63 + b"\0\0\1\0\1", FORMERR),
    "OPT cut short": (edns(1232)[:-1], FORMERR),
    "two OPT": (header(0x0100, 1, 0, 0, 2) + edns(1232)[12:] + OPT + b"\4\xd0" + bytes(6), FORMERR),
    "OPT with a name": (edns(1232)[:-11] + b"\1x\0" + edns(1232)[-10:], FORMERR),
    "option longer than OPT": (edns(1232, 0, b"\0\x0a\0\x09xxxx"), FORMERR),
}


@pytest.mark.parametrize("packet", NOTHING, ids=["empty", "short", "a reply"])
def test_silence(packet: bytes) -> None:
    assert wire.read(packet) is None


@pytest.mark.parametrize(("packet", "reply"), BARE.values(), ids=BARE.keys())
def test_what_is_no_question_is_answered_by_a_header(packet: bytes, reply: bytes) -> None:
    assert wire.read(packet) == reply


def test_a_question() -> None:
    query = wire.read(WEB.replace(b"web", b"WEB"))
    assert isinstance(query, wire.Query)
    assert query.question.name == name_of("WEB.prod.svc.cluster.local")
    assert query.question.lower == name_of("web.prod.svc.cluster.local")
    assert (query.id, query.question.type, query.klass, query.edns) == (0x1267, A, wire.IN, None)


@pytest.mark.parametrize(
    ("packet", "limit", "options"),
    [
        (WEB, 512, None),
        (edns(100), 512, b""),
        (edns(1232), 1232, b""),
        (edns(65535), 65507, b""),
        (edns(1232, 0, option(3)), 1232, option(3)),
        (edns(1232, 0, option(8, b"xxxx") + option(10, b"12345678")), 1232, option(10, b"12345678")),
    ],
    ids=["none", "100", "1232", "65535", "NSID of no length last", "ECS is dropped, COOKIE kept"],
)
def test_edns(packet: bytes, limit: int, options: bytes | None) -> None:
    query = wire.read(packet)
    assert isinstance(query, wire.Query)
    assert query.udp_limit == limit
    assert (query.edns.options if query.edns else None) == options


def test_edns_of_another_version_is_badvers() -> None:
    reply = wire.read(edns(1232, 0x00010000))
    assert isinstance(reply, bytes)
    message = DNSRecord.parse(reply)
    assert (message.header.rcode, message.ar[0].edns_rcode, message.ar[0].edns_ver) == (0, 1, 0)
    assert str(message.q.qname) == "web.prod.svc.cluster.local."


def asked(name: str, kind: str = "A", extra: bytes = b"") -> wire.Query:
    query = wire.read(question(name, kind))
    assert isinstance(query, wire.Query)
    return query


def many(count: int) -> Reply:
    """SRV with addresses and an SOA: every way a name can stand in a record."""
    zone = name_of("cluster.local")
    hosts = [name_of(f"pod-{n}.db.prod.svc.cluster.local") for n in range(count)]
    return Reply(
        NOERROR,
        "",
        tuple(Record(name_of("db.prod.svc.cluster.local"), SRV, 5, srv_data(0, 1, 80, host)) for host in hosts),
        (Record(zone, SOA, 5, soa_data(name_of("ns.dns.cluster.local"), name_of("x.cluster.local"), 0, 5)),),
        (
            *(Record(host, A, 5, bytes([10, 0, n, 1])) for n, host in enumerate(hosts)),
            *(Record(host, AAAA, 5, bytes(15) + bytes([n])) for n, host in enumerate(hosts)),
            Record(zone, PTR, 5, hosts[0]),
        ),
    )


@pytest.mark.parametrize("count", [1, 5, 200], ids=["plain", "a few", "compressed"])
def test_dnslib_reads_what_we_write(count: int) -> None:
    packet = wire.write(asked("db.prod.svc.cluster.local.", "SRV"), many(count), wire.TCP_LIMIT)
    assert said_in(packet) == said(many(count))
    assert (len(packet) > wire.ONE_PACKET) == (count == 200)


def test_a_large_reply_is_compressed() -> None:
    plain = sum(len(record.owner) + 10 + len(record.data) for record in many(200).additional)
    packet = wire.write(asked("db.prod.svc.cluster.local.", "SRV"), many(200), wire.TCP_LIMIT)
    names = sum(len(record.data) + 12 for record in many(200).answer)
    assert len(packet) - names < plain // 2


@pytest.mark.parametrize("limit", [512, 513, 600, 1232, 4096])
def test_what_does_not_fit_is_left_out_from_the_end(limit: int) -> None:
    whole = said(many(100))
    packet = wire.write(asked("db.prod.svc.cluster.local.", "SRV"), many(100), limit)
    assert limit - 60 < len(packet) <= limit
    message = DNSRecord.parse(packet)
    assert message.header.tc == 1
    assert str(message.q.qname) == "db.prod.svc.cluster.local."
    part = said_in(packet)
    assert set(part.answer) <= set(whole.answer)
    assert not part.authority or part.answer == whole.answer
    assert not part.additional or part.authority == whole.authority


def test_the_opt_record_is_never_left_out() -> None:
    query = wire.read(edns(512, 0x8000, option(10, b"12345678")))
    assert isinstance(query, wire.Query)
    packet = wire.write(query, many(100), query.udp_limit)
    assert len(packet) <= 512
    last = DNSRecord.parse(packet).ar[-1]
    assert (last.rtype, last.edns_len, last.edns_do, last.rdata[0].code) == (41, 512, 1, 10)


@pytest.mark.parametrize("lines", UPSTREAM.values(), ids=[f"{name} {kind}" for name, kind in UPSTREAM])
def test_records_of_an_upstream_stand_alone(lines: list[str]) -> None:
    reply = DNSRecord.parse(question(lines[0].split()[0])).replyZone("\n".join(lines))
    found = wire.answer_records(bytes(reply.pack()))
    rewritten = wire.write(asked("x.cluster.local."), Reply(NOERROR, "", found), wire.TCP_LIMIT)
    assert said_in(rewritten) == Said("NOERROR", True, tuple(sorted(lines)))
    if " MX " not in lines[0]:
        assert [line_of(one) for one in found] == lines


def test_a_broken_reply_of_an_upstream_is_named() -> None:
    with pytest.raises(wire.BadMessageError):
        wire.answer_records(header(0x8180, 1, 1, 0, 0) + WEB[12:] + b"\xc0")


REPLY = WEB[:2] + b"\x81\x80" + WEB[4:]


@pytest.mark.parametrize(
    ("reply", "accepted"),
    [
        (REPLY, True),
        (REPLY.replace(b"web", b"WeB"), True),
        (header(0x8181, 0, 0, 0, 0), True),
        (header(0x8180, 0, 0, 0, 0), False),
        (WEB, False),
        (b"\0\0" + REPLY[2:], False),
        (REPLY.replace(b"web", b"wab"), False),
        (REPLY[:-4] + b"\0\x1c\0\1", False),
        (REPLY[:11], False),
    ],
    ids=[
        *("the reply", "in another case", "an error by its header", "a header without an error", "the question"),
        *("another ID", "another name", "another type", "cut short"),
    ],
)
def test_which_reply_belongs_to_a_request(reply: bytes, accepted: bool) -> None:
    assert wire.answers(reply, WEB) == accepted


def survives(packet: bytes) -> None:
    read = wire.read(packet)
    if isinstance(read, wire.Query):
        assert len(wire.write(read, many(3), read.udp_limit)) <= read.udp_limit
    elif read is not None:
        assert read[:2] == packet[:2]
        assert read[2] & 0x80


@given(st.binary(max_size=600))
def test_any_octets_are_survived(packet: bytes) -> None:
    survives(packet)


@given(st.sampled_from([WEB, edns(1232, 0x8000, option(10, b"12345678") + option(3))]), st.data())
def test_any_damage_is_survived(packet: bytes, data: st.DataObject) -> None:
    octets = bytearray(packet)
    for at in data.draw(st.lists(st.integers(2, len(packet) - 1), max_size=4)):
        octets[at] = data.draw(st.integers(0, 255))
    survives(bytes(octets[: data.draw(st.integers(0, len(octets)))]))

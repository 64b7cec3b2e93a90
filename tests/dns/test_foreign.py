"""What other resolvers say: read, trimmed to the question, and what nobody can read."""

from __future__ import annotations

from typing import Any

import pytest
from dnslib import RR, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from support.questions import said
from svcdns import foreign, wire
from svcdns.answer import Question
from svcdns.records import TYPE_NUMBERS, name_of
from svcdns.wire import BadMessageError

NAME = "www.example.org."


def reply(name: str = NAME, kind: str = "A", *, auth: str = "", more: str = "", answer: str = "", **bits: int) -> bytes:
    message = DNSRecord.question(name, kind).reply(ra=1, aa=0)
    for field, value in bits.items():
        setattr(message.header, field, value)
    for text, add in ((answer, message.add_answer), (auth, message.add_auth), (more, message.add_ar)):
        for line in filter(None, text.split("\n")):
            add(*RR.fromZone(line.strip()))
    return bytes(message.pack())


def asked(name: str = NAME, kind: str = "A") -> Question:
    return Question(name_of(name), name_of(name).lower(), TYPE_NUMBERS[kind])


LINES = {
    "A": "www.example.org. 60 IN A 192.0.2.1",
    "AAAA": "www.example.org. 60 IN AAAA 2001:db8::1",
    "PTR": "www.example.org. 60 IN PTR a.example.org.",
    "SRV": "www.example.org. 60 IN SRV 1 2 3 a.example.org.",
    "NS": "www.example.org. 60 IN NS ns.example.org.",
    "TXT": 'www.example.org. 60 IN TXT "a b" "c"',
}


@pytest.mark.parametrize("kind", LINES)
def test_records_come_through(kind: str) -> None:
    found = foreign.read(reply(kind=kind, answer=LINES[kind]), asked(kind=kind))
    assert said(found.reply).answer == (LINES[kind],)


def test_an_mx_and_a_soa_with_compressed_names() -> None:
    packet = reply(
        kind="MX",
        answer="www.example.org. 60 IN MX 10 mail.example.org.",
        auth="example.org. 60 IN SOA ns.example.org. root.example.org. 1 2 3 4 5",
    )
    found = foreign.read(packet, asked(kind="MX"))
    assert found.reply.answer[0].data == b"\0\x0a" + name_of("mail.example.org.")
    assert found.reply.authority[0].data.startswith(name_of("ns.example.org.") + name_of("root.example.org."))
    assert foreign.negative_ttl(found) == 5


CHAIN = "www.example.org. 60 IN CNAME a.example.net.\na.example.net. 50 IN A 192.0.2.1"


@pytest.mark.parametrize(
    ("packet", "answer", "authority", "additional"),
    [
        (reply(answer=CHAIN), 2, 0, 0),
        (reply(answer="\n".join(reversed(CHAIN.split("\n")))), 2, 0, 0),
        (reply(answer=CHAIN + "\nbank.example.com. 60 IN A 192.0.2.66"), 2, 0, 0),
        (reply(answer="bank.example.com. 60 IN A 192.0.2.66"), 0, 0, 0),
        (reply(auth="example.org. 60 IN NS ns.example.net.", more="ns.example.net. 60 IN A 192.0.2.1"), 0, 1, 1),
        (reply(auth="com. 60 IN NS ns.example.net.", more="ns.example.net. 60 IN A 192.0.2.1"), 0, 0, 0),
        (reply(answer=LINES["A"], more="bank.example.com. 60 IN A 192.0.2.66"), 1, 0, 0),
        (reply(answer=CHAIN, auth="example.net. 60 IN NS ns.example.net."), 2, 1, 0),
    ],
    ids=[
        "alias",
        "alias, backwards",
        "stranger",
        "only a stranger",
        "glue",
        "above and beside",
        "more",
        "of the target",
    ],
)
def test_only_what_is_about_the_question_stays(packet: bytes, answer: int, authority: int, additional: int) -> None:
    found = foreign.read(packet, asked()).reply
    assert (len(found.answer), len(found.authority), len(found.additional)) == (answer, authority, additional)


def test_flags() -> None:
    found = foreign.read(reply(answer=LINES["A"], ad=1, aa=1, tc=1, rcode=5), asked())
    assert found.flags & (foreign.RA | foreign.AD | foreign.AA) == foreign.RA | foreign.AD | foreign.AA
    assert (found.reply.rcode, found.reply.truncated) == (5, True)


def test_a_ttl_beyond_the_largest_is_none() -> None:
    packet = reply(answer=LINES["A"]).replace((60).to_bytes(4), b"\x80\0\0\0")
    assert foreign.read(packet, asked()).reply.answer[0].ttl == 0


GOOD = reply(answer=LINES["A"])
POINTER = GOOD.index(b"\xc0\x0c")


@pytest.mark.parametrize(
    "packet",
    [
        GOOD[:11],
        GOOD[:-1],
        GOOD[:POINTER] + b"\xc0\xff" + GOOD[POINTER + 2 :],
        GOOD[:POINTER] + POINTER.to_bytes(2, "big").replace(b"\0", b"\xc0", 1) + GOOD[POINTER + 2 :],
        GOOD[:POINTER] + b"\x80\x0c" + GOOD[POINTER + 2 :],
        GOOD.replace(b"\0\4\xc0\0\2\1", b"\0\3\xc0\0\2"),
        reply(kind="NS", answer=LINES["NS"]).replace(b"\2ns", b"\0ns"),
    ],
    ids=["header", "cut", "forwards", "to itself", "unknown label", "short address", "name ends early"],
)
def test_what_does_not_parse(packet: bytes) -> None:
    with pytest.raises(BadMessageError):
        foreign.read(packet, asked())


@given(st.binary(max_size=200), st.integers(12, len(GOOD)))
def test_nothing_else_is_ever_raised(noise: bytes, at: int) -> None:
    for packet in (GOOD[:at] + noise, GOOD[:4] + noise):
        try:
            foreign.read(packet, asked())
        except BadMessageError:
            continue


def query(**edns: Any) -> wire.Query:
    message = DNSRecord.question(NAME)
    message.header.id, message.header.cd = 7, 1
    if edns:
        from dnslib import EDNS0, EDNSOption

        message.add_ar(EDNS0(flags=edns["flags"], udp_len=edns["size"], opts=[EDNSOption(10, b"12345678")]))
    found = wire.read(bytes(message.pack()))
    assert isinstance(found, wire.Query)
    return found


def test_what_goes_upstream() -> None:
    plain = DNSRecord.parse(foreign.request(query()))
    assert (plain.header.id, plain.header.rd, plain.header.cd, plain.header.ad, len(plain.ar)) == (0, 1, 1, 0, 0)
    assert DNSRecord.parse(foreign.request(query(), wants_ad=True)).header.ad == 1
    edns = DNSRecord.parse(foreign.request(query(flags="do", size=1400))).ar[0]
    assert (edns.edns_len, edns.edns_do, edns.rdata) == (1400, 1, [])

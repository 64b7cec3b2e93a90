"""Who is at home, which networks a machine is in, and how often a stranger is told the same."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from dnslib import RR, DNSRecord

from svcdns.clients import ALL, MOST_KNOWN, Clients, Limiter, attached
from svcdns.records import packed

STRANGER, NEIGHBOUR, OTHER = (bytes(map(int, text.split("."))) for text in ("8.1.2.3", "8.1.2.9", "8.1.3.3"))
LIMIT = 4


def octets(text: str) -> bytes:
    found = packed(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("address", "more", "at_home"),
    [
        ("10.244.1.5", [], True),
        ("172.31.255.255", [], True),
        ("172.32.0.0", [], False),
        ("192.168.56.11", [], True),
        ("100.64.0.1", [], True),
        ("100.128.0.1", [], False),
        ("169.254.20.10", [], True),
        ("127.8.7.6", [], True),
        ("8.8.8.8", [], False),
        ("203.0.113.7", ["203.0.113.0/29"], True),
        ("203.0.113.8", ["203.0.113.0/29"], False),
        ("8.8.8.8", ["0.0.0.0/0"], True),
        ("::1", [], True),
        ("::2", [], False),
        ("fd00:10::1", [], True),
        ("fe80::1", [], True),
        ("2001:db8:1::1", [], False),
        ("2001:db8:1::1", ["2001:db8:1::/48"], True),
        ("2001:db8:2::1", ["2001:db8:1::/48", "0.0.0.0/0"], False),
    ],
)
def test_at_home(address: str, more: list[str], at_home: bool) -> None:
    clients, asked = Clients(map(ip_network, more)), octets(address)
    for _ in range(2):  # what was found once is looked up another way
        assert (asked not in clients.strangers((asked, octets("127.0.0.1")))) == at_home


def test_what_is_remembered_of_clients_is_bounded() -> None:
    clients = Clients()
    for number in range(3 * MOST_KNOWN // 64):
        clients.strangers([(10 << 24 | number << 6 | low).to_bytes(4) for low in range(64)])
    assert len(clients._known) <= MOST_KNOWN + 64


ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0071CB00\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth0\t0A7100CB\t0100000A\t0007\t0\t0\t0\tFFFFFFFF\t0\t0\t0
cali1\t057100CB\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0
down0\t0002000A\t00000000\t0000\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
INET6 = """20010db8000100000000000000000005 02 40 00 80     eth0
fe800000000000000000000000000001 02 40 20 80     eth0
00000000000000000000000000000001 01 80 10 80       lo
"""


def test_attached() -> None:
    """Not the way out, nor what lies behind a gateway, nor the half of the world that a VPN takes."""
    found = attached(ROUTES, INET6)
    assert list(map(str, found)) == ["0.203.113.0/24", "203.0.113.5/32", "2001:db8:1::/64", "fe80::/64", "::1/128"]
    assert attached("", "") == ()


def reply(name: str, rcode: int = 0) -> bytes:
    query = DNSRecord.question(name)
    found = query.reply(ra=0)
    found.header.rcode = rcode
    if not rcode:
        found.add_answer(*RR.fromZone(f"{name} 5 IN A 192.0.2.1"))
    return bytes(found.pack())


def fate(limiter: Limiter, said: bytes, client: bytes, now: float = 0.0) -> str:
    passed = limiter.passed(said, client, now)
    if not passed:
        return "dropped"
    if passed == said:
        return "said"
    read = DNSRecord.parse(passed)
    assert (passed[:2], str(read.q.qname).lower(), read.rr, read.header.tc) == (
        said[:2],
        str(DNSRecord.parse(said).q.qname).lower(),
        [],
        1,
    )
    assert len(passed) <= len(said)
    return "cut"


OVER = ["dropped", "cut"] * 3


def test_equal_replies_to_a_network_are_limited_and_come_back_the_next_second() -> None:
    limiter = Limiter(LIMIT)
    said, spelt = reply("web.example."), reply("WEB.example.")
    assert [fate(limiter, said, STRANGER) for _ in range(LIMIT)] == ["said"] * LIMIT
    assert [fate(limiter, spelt, NEIGHBOUR) for _ in range(6)] == OVER
    assert fate(limiter, said, OTHER) == fate(limiter, reply("other.example."), STRANGER) == "said"
    assert fate(limiter, said, STRANGER, 1.0) == "said"


def test_all_denials_are_one_answer() -> None:
    limiter = Limiter(LIMIT)
    fates = [fate(limiter, reply(f"x{number}.example.", 3), STRANGER) for number in range(LIMIT + 6)]
    assert fates == ["said"] * LIMIT + OVER


def test_different_answers_to_a_network_are_limited_together() -> None:
    limiter = Limiter(LIMIT)
    fates = [fate(limiter, reply(f"x{number}.example."), STRANGER) for number in range(ALL * LIMIT + 6)]
    assert fates == ["said"] * ALL * LIMIT + OVER


def test_what_has_no_question_is_dropped_not_cut() -> None:
    limiter = Limiter(1)
    bare = b"\0\1\x80\1" + bytes(8)
    assert [limiter.passed(bare, STRANGER, 0.0) for _ in range(4)] == [bare, b"", b"", b""]


def test_no_limit() -> None:
    limiter = Limiter(0)
    assert {fate(limiter, reply("web.example."), STRANGER) for _ in range(1000)} == {"said"}


def test_what_is_counted_is_bounded() -> None:
    limiter = Limiter(LIMIT)
    said = reply("web.example.")
    for number in range(60_000):
        limiter.passed(said, (8 << 24 | number << 8).to_bytes(4), 0.0)
    assert len(limiter._counts) <= (1 << 15) + 2

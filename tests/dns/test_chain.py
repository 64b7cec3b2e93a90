"""A server block's handlers, each by itself: hosts, rewrite, the choice of the block, the log."""

from __future__ import annotations

import re

import pytest
from dnslib import EDNS0, DNSRecord
from prometheus_client import CollectorRegistry

from support.questions import said, said_in
from support.resolvers import question
from svcdns import report, wire
from svcdns.answer import Question, Zones
from svcdns.chain import Chain, Router
from svcdns.hosts import Table
from svcdns.index import Index
from svcdns.records import TYPE_NUMBERS, name_of, text_of
from svcdns.respond import Responder
from svcdns.rewrite import rewritten, turned_back
from svcdns.settings import CLASSES, ROOT, Consolidated, Errors, Hosts, LogRule, Rewrite
from svcdns.tally import Tally, Via
from svcdns.wirecache import WireCache

VIA = Via("dns://x", "udp", "1")
FILE = """
# a comment
192.0.2.1 a.example.org A2.example.org. # another
192.0.2.2 a.example.org a.example.org
2001:db8::1 six.example.org
192.0.2.3 *.wild.example.org
192.0.2.4 elsewhere.example.net
nonsense a.example.org
192.0.2.5
"""


def asked(name: str, kind: str = "A") -> Question:
    return Question(name_of(name), name_of(name).lower(), TYPE_NUMBERS[kind])


@pytest.mark.parametrize(
    ("name", "kind", "lines"),
    [
        ("a.example.org.", "A", ["a.example.org. 3600 IN A 192.0.2.1", "a.example.org. 3600 IN A 192.0.2.2"]),
        ("A.Example.org.", "AAAA", []),
        ("a2.EXAMPLE.org.", "A", ["a2.example.org. 3600 IN A 192.0.2.1"]),
        ("six.example.org.", "AAAA", ["six.example.org. 3600 IN AAAA 2001:db8::1"]),
        ("six.example.org.", "MX", []),
        ("x.wild.example.org.", "A", ["x.wild.example.org. 3600 IN A 192.0.2.3"]),
        ("x.y.wild.example.org.", "A", ["x.y.wild.example.org. 3600 IN A 192.0.2.3"]),
        (
            "1.2.0.192.in-addr.arpa.",
            "PTR",
            [
                "1.2.0.192.in-addr.arpa. 3600 IN PTR a.example.org.",
                "1.2.0.192.in-addr.arpa. 3600 IN PTR a2.example.org.",
            ],
        ),
        ("inline.example.org.", "A", ["inline.example.org. 3600 IN A 192.0.2.9"]),
    ],
)
def test_hosts(name: str, kind: str, lines: list[str]) -> None:
    options = Hosts("", (name_of("example.org"),), inline=("192.0.2.9 inline.example.org",))
    found = Table(options, FILE).answer(asked(name, kind))
    assert found is not None
    assert (list(said(found).answer), found.rcode, found.authoritative) == (lines, 0, True)


@pytest.mark.parametrize(
    ("name", "kind", "fallthrough", "rcode"),
    [
        ("b.example.org.", "A", None, 2),
        ("b.example.org.", "A", (ROOT,), None),
        ("b.example.org.", "A", (name_of("b.example.org"),), None),
        ("b.example.org.", "A", (name_of("c.example.org"),), 2),
        ("wild.example.org.", "A", None, 2),
        ("elsewhere.example.net.", "A", None, None),
        ("9.9.0.192.in-addr.arpa.", "PTR", None, None),
        ("4.2.0.192.in-addr.arpa.", "PTR", None, None),
    ],
)
def test_what_the_hosts_file_does_not_know(
    name: str, kind: str, fallthrough: tuple[bytes, ...] | None, rcode: int | None
) -> None:
    options = Hosts("", (name_of("example.org"),), fallthrough=fallthrough)
    found = Table(options, FILE).answer(asked(name, kind))
    assert (found if found is None else found.rcode) == rcode


@pytest.mark.parametrize(
    ("name", "kind", "zone", "falls"),
    [
        ("inline.example.org.", "TXT", ".", True),
        ("inline.example.org.", "TXT", "example.net.", False),
        ("inline.example.org.", "AAAA", ".", False),
        ("inline.example.org.", "A", ".", False),
    ],
)
def test_types_that_the_hosts_file_cannot_hold_may_fall_through(name: str, kind: str, zone: str, falls: bool) -> None:
    inline = ("192.0.2.9 inline.example.org",)
    options = Hosts("", (ROOT,), inline, fallthrough=(name_of(zone),), unsupported=True)
    assert (Table(options).answer(asked(name, kind)) is None) is falls


def test_no_reverse() -> None:
    assert Table(Hosts("", (ROOT,), reverse=False), FILE).answer(asked("1.2.0.192.in-addr.arpa.", "PTR")) is None


def query(name: str, kind: str = "A", identity: int = 4711) -> wire.Query:
    found = wire.read(question(name, kind, identity))
    assert isinstance(found, wire.Query)
    return found


def rule(kind: str, old: str, new: str, answers: bool = True, stop: bool = True) -> Rewrite:
    texts = [text[kind == "suffix" and text.startswith(".") :] for text in (old, new)]
    old_name, new_name = map(name_of, texts)
    return Rewrite("exact" if kind == "exact" else "suffix", old_name, new_name, answers, stop, not old.startswith("."))


B_TO_C = rule("exact", "b.example.", "c.example.")
EXACT = rule("exact", "a.example.", "b.example.")
A_ON = rule("exact", "a.example.", "b.example.", stop=False)
SUFFIX = rule("suffix", "old.example.", "new.example.")
QUIET = rule("suffix", "old.example.", "new.example.", answers=False)
DOTTED = rule("suffix", ".old.example.", ".new.example.")


@pytest.mark.parametrize(
    ("rules", "name", "becomes"),
    [
        ([EXACT], "A.example.", "b.example."),
        ([EXACT], "x.a.example.", None),
        ([SUFFIX], "X.Old.example.", "X.new.example."),
        ([SUFFIX], "old.example.", "new.example."),
        ([SUFFIX], "very-old.example.", None),
        ([DOTTED], "x.old.example.", "x.new.example."),
        ([DOTTED], "old.example.", None),
        ([EXACT, B_TO_C], "a.example.", "b.example."),
        ([A_ON, B_TO_C], "a.example.", "c.example."),
        ([rule("suffix", "example.", "a." * 100)], "x" * 60 + ".example.", None),
    ],
)
def test_what_is_asked_instead(rules: list[Rewrite], name: str, becomes: str | None) -> None:
    found = rewritten(query(name), rules)
    if becomes is None:
        assert found is None
        return
    assert found is not None
    inner, _ = found
    assert text_of(inner.question.name) == becomes
    assert str(DNSRecord.parse(inner.packet).q.qname) == becomes


@pytest.mark.parametrize(
    ("rules", "name", "reply", "comes_back"),
    [
        ([EXACT], "A.example.", "b.example. 5 IN A 192.0.2.1", "A.example. 5 IN A 192.0.2.1"),
        ([EXACT], "a.example.", "b.example. 5 IN CNAME b.example.", "a.example. 5 IN CNAME a.example."),
        ([SUFFIX], "x.old.example.", "x.new.example. 5 IN A 192.0.2.1", "x.old.example. 5 IN A 192.0.2.1"),
        ([SUFFIX], "x.old.example.", "x.new.example. 5 IN PTR new.example.", "x.old.example. 5 IN PTR old.example."),
        ([SUFFIX], "old.example.", "new.example. 5 IN MX 10 new.example.", "old.example. 5 IN MX 10 old.example."),
        ([QUIET], "x.old.example.", "x.new.example. 5 IN A 192.0.2.1", "x.new.example. 5 IN A 192.0.2.1"),
    ],
)  # fmt: skip
def test_the_way_back(rules: list[Rewrite], name: str, reply: str, comes_back: str) -> None:
    kind = reply.split()[3]
    outer = query(name, kind)
    found = rewritten(outer, rules)
    assert found is not None
    inner, back = found
    answered = DNSRecord.parse(inner.packet).reply(ra=1, aa=1)
    from dnslib import RR

    answered.add_answer(*RR.fromZone(reply))
    packet = turned_back(bytes(answered.pack()), outer, inner, back, 512)
    message = DNSRecord.parse(packet)
    assert (str(message.q.qname), message.header.id, message.header.ra, message.header.aa) == (name, 4711, 1, 1)
    assert said_in(packet).answer == (comes_back,)


class Nothing:
    index = Index()
    synced = True


def chain(tally: Tally, address: str) -> Chain:
    """One that answers `x.NAME` with its own address, whatever the name."""
    responder = Responder(Nothing(), Zones((), ROOT), tally, None, None, WireCache())
    return Chain(responder, tally, hosts=Table(Hosts("", (ROOT,), inline=(f"{address} *",))))


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("a.cluster.local.", "192.0.2.1"),
        ("Cluster.LOCAL.", "192.0.2.1"),
        ("a.sub.cluster.local.", "192.0.2.2"),
        ("xcluster.local.", "192.0.2.9"),
        ("local.", "192.0.2.9"),
        (".", None),
    ],
)
def test_the_longest_zone_answers(name: str, address: str | None) -> None:
    tally = Tally(CollectorRegistry())
    zones = {"cluster.local.": "192.0.2.1", "sub.cluster.local.": "192.0.2.2", ".": "192.0.2.9"}
    router = Router({name_of(zone): (zone, chain(tally, own)) for zone, own in zones.items()}, tally)
    reply = router.respond(question(name), VIA)
    assert isinstance(reply, bytes)
    assert [line.rpartition(" ")[2] for line in said_in(reply).answer] == ([address] if address else [])


@pytest.mark.parametrize("packet", [question("example.net."), question(".")])
def test_a_name_in_no_zone_is_refused(packet: bytes) -> None:
    tally = Tally(CollectorRegistry())
    router = Router({name_of("example.org"): ("example.org.", chain(tally, "192.0.2.1"))}, tally)
    reply = router.respond(packet, VIA)
    assert isinstance(reply, bytes)
    assert said_in(reply).rcode == "REFUSED"


@pytest.mark.parametrize(
    "packet", [b"", b"x" * 11, b"\0" * 12, question("a.example.org.")[:-3], b"\0" * 12 + b"\xff" * 50]
)
def test_what_is_no_query_goes_through_any_router(packet: bytes) -> None:
    tally = Tally(CollectorRegistry())
    for zone in (".", "example.org."):
        reply = Router({name_of(zone): (zone, chain(tally, "192.0.2.1"))}, tally).respond(packet, VIA)
        assert reply is None or (isinstance(reply, bytes) and reply[3] & 0xF in (1, 4, 5))


def test_the_line_of_the_log() -> None:
    message = DNSRecord.question("Example.ORG.", "AAAA")
    message.header.id = 29008
    message.add_ar(EDNS0(udp_len=4096, flags="do"))
    asked = wire.read(bytes(message.pack()))
    assert isinstance(asked, wire.Query)
    reply = message.reply(ra=1, aa=0)
    packet = bytes(reply.pack())
    exchange = report.Exchange(asked, VIA, ("127.0.0.1", 50759), packet, 0.0012345)
    assert report.line(LogRule().format, exchange) == (
        '[INFO] 127.0.0.1:50759 - 29008 "AAAA IN example.org. udp 40 true 4096" NOERROR qr,rd,ra '
        f"{len(packet)} 0.001234500s"
    )
    over6 = exchange._replace(via=Via("dns://[fd00::a]:53", "tcp", "2"), peer=("::1", 1))
    assert report.line("{remote}:{port} {local} {>bufsize}", over6) == "[INFO] [::1]:1 [fd00::a] 65535"
    assert report.line("{ {type} } {x} {/forward/upstream} {>opcode}", exchange) == "[INFO] { AAAA } {x} - 0"
    assert report.line("", exchange) == "[INFO] "


@pytest.mark.parametrize(
    ("rcode", "answers", "classes"),
    [(0, 1, {"success", "all"}), (0, 0, {"denial", "all"}), (3, 0, {"denial", "all"}), (2, 0, {"error", "all"})],
)
def test_which_replies_are_told(rcode: int, answers: int, classes: set[str]) -> None:
    said_bytes = bytes(3) + bytes((rcode, 0, 1, 0, answers)) + bytes(4)
    for name in CLASSES:
        rule = LogRule(name_of("example.org"), frozenset({name}))
        told = rule if name in classes else None
        assert report.rule_for([rule, LogRule()], asked("a.example.org."), said_bytes) is told
        assert report.rule_for([rule], asked("a.example.net."), said_bytes) is None


def test_failures_that_are_alike_are_told_as_a_number(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    options = Errors((Consolidated(10.0, "time", "warning", show_first=True),))
    troubles = report.Troubles(options, clock=lambda: now)
    for error in ("no answer in time", "no answer in time", "refused", "no answer in time"):
        troubles(asked("a.example."), 2, OSError(error))
    now += 11
    troubles(asked("a.example."), 2, OSError("no answer in time"))
    troubles.close()
    told = [(record.levelname, record.message, record.fields) for record in caplog.records]  # type: ignore[attr-defined]
    counts = [fields["count"] for _, message, fields in told if message == "queries failed"]
    assert [message for _, message, _ in told].count("query failed") == 2 + 1
    assert counts == [3, 1]


def test_a_flood_of_failures_is_told_as_a_number(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    troubles = report.Troubles(Errors(), clock=lambda: now)
    for _ in range(1000):
        troubles(asked("a.example."), 2, OSError("x"))
    now += 1
    troubles(asked("a.example."), 2, OSError("x"))
    assert len(caplog.records) == report.MOST_A_SECOND + 2
    assert re.search(r"980", str([getattr(record, "fields", "") for record in caplog.records]))

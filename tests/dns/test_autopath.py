"""Search paths gone along for clients: which names are tried, what the client hears, what may be kept."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from support.filled import Filled, objects
from support.questions import ZONES, cluster, said_in
from support.resolvers import question
from svcdns import wire
from svcdns.addresses import zones_of
from svcdns.answer import Reply, Zones
from svcdns.autopath import Completion, along, completed, gone_along, path_of_pod
from svcdns.chain import Chain, Router
from svcdns.hosts import Table
from svcdns.records import CNAME, NOERROR, NXDOMAIN, REFUSED, SERVFAIL, A, Record, name_of, packed, text_of
from svcdns.respond import Responder
from svcdns.settings import ROOT, Hosts
from svcdns.tally import Tally, Via
from svcdns.wirecache import WireCache
from svckube.stream import Applied, Deleted

MORE = (name_of("example.org"),)
CLUSTER = zones_of(ZONES)
CLIENT, STRANGER = b"\x0a\xf4\1\7", b"\x0a\xf4\1\x08"


def asked(name: str, kind: str = "A") -> wire.Query:
    query = wire.read(question(name, kind))
    assert isinstance(query, wire.Query)
    return query


def completion(namespaces: Sequence[str], zones: Zones = CLUSTER, within: str = ".") -> Completion:
    return Completion((name_of(within),), lambda lower, client: path_of_pod(lower, zones, namespaces, MORE))


@pytest.mark.parametrize(
    ("name", "namespaces", "tried"),
    [
        ("a.b.dev.svc.cluster.local", ["dev"], "a.b.svc.cluster.local a.b.cluster.local a.b.example.org a.b"),
        ("Web.Dev.svc.Cluster.LOCAL", ["dev"], "Web.svc.cluster.local Web.cluster.local Web.example.org Web"),
        ("web.dev.svc.cluster.local", ["prod", "dev"], "web.svc.cluster.local web.cluster.local web.example.org web"),
        ("web.dev.svc.cluster.local", ["prod"], None),
        ("web.dev.svc.cluster.local", [], None),
        ("dev.svc.cluster.local", ["dev"], None),
        ("web.svc.cluster.local", ["dev"], None),
        ("web.dev.svc.example.org", ["dev"], None),
        ("7.1.244.10.in-addr.arpa", ["dev"], None),
    ],
)  # fmt: skip
def test_what_a_question_is_tried_as(name: str, namespaces: list[str], tried: str | None) -> None:
    found = completion(namespaces).names(asked(name), CLIENT)
    wanted = [] if tried is None else [f"{one}." for one in (name, *tried.split())]
    assert [text_of(one) for one in found] == wanted


def test_of_a_root_zone_and_within_zones() -> None:
    root = zones_of(["."])
    names = completion(["dev"], root).names(asked("web.dev.svc"), CLIENT)
    assert [text_of(one) for one in names] == ["web.dev.svc.", "web.svc.", "web.", "web.example.org."]
    query = asked("web.dev.svc.cluster.local")
    assert completion(["dev"], within="cluster.local").names(query, CLIENT)
    assert not completion(["dev"], within="prod.svc.cluster.local").names(query, CLIENT)
    assert not completion(["dev"]).names(asked("web.dev.svc.cluster.local", "AXFR"), CLIENT)


def test_names_that_are_too_long_are_not_tried() -> None:
    base = ".".join("x" * 60 for _ in range(3)) + "." + "y" * 60
    path = along((name_of("a.b"), name_of("longer.example.org"), name_of("c")))
    names = Completion((ROOT,), path).names(asked(f"{base}.a.b"), CLIENT)
    assert [text_of(one).removeprefix(base) for one in names] == [".a.b.", ".c.", "."]


FIRST = "www.example.com.dev.svc.cluster.local."


def told(replies: dict[str, Reply]) -> tuple[bytes | None, list[str], int]:
    """What the client hears where these names are known; what was asked; how often something was found."""
    query, heard, found = asked(FIRST), list[str](), list[None]()
    steps = gone_along(query, completion(["dev"]).names(query, CLIENT), 512, lambda: found.append(None))
    try:
        inner = next(steps)
        while True:
            heard.append(text_of(inner.question.name))
            reply = replies.get(heard[-1], Reply(NXDOMAIN, "nothing", authoritative=heard[-1] == FIRST))
            inner = steps.send(wire.write(inner, reply, 512))
    except StopIteration as end:
        return end.value, heard, len(found)


def address(name: str, *more: Record) -> Reply:
    return Reply(NOERROR, "it is", (*more, Record(name_of(name), A, 60, b"\xc0\0\2\1")), authoritative=False)


@pytest.mark.parametrize(
    ("replies", "rcode", "lines", "steps", "found"),
    [
        ({}, "NXDOMAIN", (), 5, 0),
        ({FIRST: address(FIRST)}, "NOERROR", (f"{FIRST} 60 IN A 192.0.2.1",), 1, 1),
        (
            {"www.example.com.": address("www.example.com")},
            "NOERROR",
            (f"{FIRST} 60 IN CNAME www.example.com.", "www.example.com. 60 IN A 192.0.2.1"),
            5,
            1,
        ),
        (
            {
                "www.example.com.cluster.local.": address(
                    "b", Record(name_of("www.example.com.cluster.local"), CNAME, 7, name_of("b"))
                )
            },
            "NOERROR",
            (
                "b. 60 IN A 192.0.2.1",
                "www.example.com.cluster.local. 7 IN CNAME b.",
                f"{FIRST} 7 IN CNAME www.example.com.cluster.local.",
            ),
            3,
            1,
        ),
        ({"www.example.com.svc.cluster.local.": Reply(NOERROR, "no such type")}, "NOERROR", (), 2, 1),
        ({"www.example.com.svc.cluster.local.": Reply(SERVFAIL, "down")}, "SERVFAIL", (), 2, 0),
        ({"www.example.com.example.org.": Reply(REFUSED, "in no zone")}, "NXDOMAIN", (), 5, 0),
    ],
    ids=["nothing", "at once", "at last", "an alias", "no such type", "a failure", "refused"],
)
def test_what_the_client_hears(
    replies: dict[str, Reply], rcode: str, lines: tuple[str, ...], steps: int, found: int
) -> None:
    packet, heard, successes = told(replies)
    assert packet is not None
    said = said_in(packet)
    assert (said.rcode, said.answer, len(heard), successes) == (rcode, tuple(sorted(lines)), steps, found)
    assert packet[12:].startswith(name_of(FIRST))


def test_a_reply_that_becomes_too_long_is_cut() -> None:
    query, inner = asked(FIRST), asked("many.example.org")
    many = tuple(Record(inner.question.name, A, 60, bytes((10, 0, 0, last))) for last in range(28))
    said = completed(wire.write(inner, Reply(NOERROR, "many", many), 512), query, inner, 512)
    assert len(said) <= 512
    assert wire.is_truncated(said)


def test_of_each_client_by_its_pod_and_nothing_kept_that_is_not_for_all() -> None:
    (pod,) = objects([manifest("10.244.1.7", "dev")])
    filled, registry = Filled(), CollectorRegistry()
    filled.say(Applied(pod))
    tally, cache = Tally(registry), WireCache()

    class Known:
        index, synced = filled.index, True

    responder = Responder(Known, zones := zones_of(ZONES), tally, None, None, cache, keeps_denials=False)
    outside = Table(Hosts("", (name_of("example.org"),), ("192.0.2.1 www.example.org",)))
    path = Completion((ROOT,), lambda lower, at: path_of_pod(lower, zones, filled.index.namespaces_at(at), ()))
    chain = Chain(responder, tally, hosts=outside, completion=path)
    chain.step = Router({ROOT: (".", chain)}, tally).step
    via = Via("dns://x", "udp", "1")

    def ask(name: str, client: bytes) -> str:
        via.client = client
        said = chain.respond(question(name), via)
        assert isinstance(said, bytes)
        found = said_in(said)
        return " ".join((found.rcode, *(line.rpartition(" ")[2] for line in found.answer)))

    for _ in range(3):
        assert ask("www.example.org.dev.svc.cluster.local", CLIENT) == "NOERROR 192.0.2.1 www.example.org."
        assert ask("www.example.org.dev.svc.cluster.local", STRANGER) == "NXDOMAIN"
        assert ask("web.prod.svc.cluster.local", STRANGER).startswith("NOERROR 10.")
    assert {kept[1][1] for kept in cache.fresh.values()} == {NOERROR}
    metrics = generate_latest(registry).decode()
    assert 'coredns_autopath_success_total{server="dns://x"} 3.0' in metrics
    assert sum(float(line.rpartition(" ")[2]) for line in metrics.splitlines() if "dns_requests_total{" in line) == 9.0
    filled.say(Deleted(pod))
    assert ask("www.example.org.dev.svc.cluster.local", CLIENT) == "NXDOMAIN"


def manifest(address: str, namespace: str, name: str = "client") -> dict[str, object]:
    metadata = {"name": name, "namespace": namespace, "resourceVersion": f"{namespace}{address}"}
    return {"kind": "Pod", "metadata": metadata, "status": {"podIP": address, "podIPs": [{"ip": address}]}}


def test_pods_that_share_an_address() -> None:
    filled, node = Filled(cluster()), packed("192.168.56.11")
    assert node is not None
    pods = objects(manifest("192.168.56.11", *place) for place in (("dev", "a"), ("dev", "b"), ("prod", "a")))
    for pod in pods:
        filled.say(Applied(pod))
    assert filled.index.namespaces_at(node) == ("dev", "prod")
    filled.say(Deleted(pods[0]))
    assert filled.index.namespaces_at(node) == ("dev", "prod")
    filled.say(Deleted(pods[1]))
    assert filled.index.namespaces_at(node) == ("prod",)
    assert not filled.index.has_pod("dev", node)
    filled.say(Deleted(pods[2]))
    assert filled.index.namespaces_at(node) == ()

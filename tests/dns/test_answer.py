"""The table of questions, put to `answer` itself; and the states that no single cluster can show."""

from __future__ import annotations

import msgspec
import pytest

from support.filled import Filled, objects
from support.questions import FORWARDED, LOCAL, ROWS, TTL, ZONES, Manifest, Row, cluster, row, said
from svcdns.addresses import zones_of
from svcdns.answer import Chase, Elsewhere, Outcome, PodMode, Question, Reply, Zones, answer
from svcdns.records import TYPE_NUMBERS, line_of, name_of, packed
from svckube.objects import Namespace, Service
from svckube.stream import Applied, Deleted


def zones(pods: PodMode = "insecure", fallthrough: tuple[str, ...] = (), local: tuple[str, ...] = (LOCAL,)) -> Zones:
    addresses = tuple(address for address in map(packed, local) if address is not None)
    return msgspec.structs.replace(zones_of(ZONES, TTL, pods, fallthrough), local=addresses)


def ask(filled: Filled, text: str, kind: str, served: Zones | None = None, synced: bool = True) -> Outcome:
    name = name_of(text)
    return answer(Question(name, name.lower(), TYPE_NUMBERS[kind]), filled.index, served or zones(), synced)


def lines(outcome: Outcome) -> list[str]:
    assert isinstance(outcome, Reply)
    return sorted(said(outcome).answer)


@pytest.fixture(scope="module")
def filled() -> Filled:
    return Filled()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_table(filled: Filled, row: Row) -> None:
    outcome = ask(filled, row.name, row.type)
    assert isinstance(outcome, Reply)
    assert said(outcome) == row.said, outcome.because


@pytest.mark.parametrize("row", FORWARDED, ids=lambda row: row.id)
def test_what_needs_an_upstream_says_so(filled: Filled, row: Row) -> None:
    outcome = ask(filled, row.name, row.type)
    if isinstance(outcome, Chase):
        found = [line_of(one) for one in outcome.reply.answer]
        assert set(found) == {line for line in row.said.answer if f" {TTL} IN CNAME " in line}
        assert name_of(found[-1].split()[-1]) == outcome.target
    elif isinstance(outcome, Elsewhere):
        assert row.name == "www.example.org."
    else:
        assert said(outcome) == row.said


def test_a_chain_comes_in_its_order(filled: Filled) -> None:
    outcome = ask(filled, "alias2.prod.svc.cluster.local.", "A")
    assert isinstance(outcome, Reply)
    assert [line_of(one).split()[3] for one in outcome.answer] == ["CNAME", "CNAME", "A"]


@pytest.mark.parametrize(
    ("name", "kind", "rcode"),
    [
        ("web.prod.svc.cluster.local.", "A", "NOERROR"),
        ("web.prod.svc.cluster.local.", "AAAA", "NOERROR"),
        ("svc.cluster.local.", "A", "NOERROR"),
        ("missing.prod.svc.cluster.local.", "A", "SERVFAIL"),
        ("web.nowhere.svc.cluster.local.", "A", "SERVFAIL"),
        ("200.1.96.10.in-addr.arpa.", "PTR", "SERVFAIL"),
    ],
    ids=lambda value: str(value),
)
def test_before_everything_is_listed_only_nxdomain_is_withheld(
    filled: Filled, name: str, kind: str, rcode: str
) -> None:
    outcome = ask(filled, name, kind, synced=False)
    assert isinstance(outcome, Reply)
    found = said(outcome)
    assert (found.rcode, found.aa) == (rcode, True)
    assert bool(found.authority) == (not found.answer)


@pytest.mark.parametrize("synced", [True, False], ids=["synced", "not synced"])
@pytest.mark.parametrize(
    ("name", "kind", "elsewhere"),
    [
        ("7.100.51.198.in-addr.arpa.", "PTR", True),
        ("20.3.244.10.in-addr.arpa.", "A", True),
        ("10.1.96.10.in-addr.arpa.", "PTR", False),
        ("10.1.96.10.in-addr.arpa.", "A", False),
        ("in-addr.arpa.", "A", False),
        ("missing.prod.svc.cluster.local.", "A", False),
        ("xin-addr.arpa.", "A", True),
    ],
    ids=lambda value: str(value),
)
def test_fallthrough(filled: Filled, name: str, kind: str, elsewhere: bool, synced: bool) -> None:
    outcome = ask(filled, name, kind, zones(fallthrough=("in-addr.arpa", "ip6.arpa")), synced)
    assert isinstance(outcome, Elsewhere) == elsewhere


@pytest.mark.parametrize(
    "row",
    [
        row("pod A", "10-1-2-3.prod.pod A", "NXDOMAIN"),
        row("namespace of pods", "prod.pod A", "NXDOMAIN"),
        row("pod root", "pod A", "NODATA"),
    ],
    ids=lambda row: row.id,
)
def test_pods_disabled(filled: Filled, row: Row) -> None:
    outcome = ask(filled, row.name, row.type, zones("disabled"))
    assert isinstance(outcome, Reply)
    assert said(outcome) == row.said


POD: Manifest = {
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "prod", "resourceVersion": "1"},
    "status": {"podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}, {"ip": "fd00:0:0::7"}]},
}


@pytest.mark.parametrize(
    "row",
    [
        row("its address", "10-1-2-3.prod.pod A", "@ A 10.1.2.3"),
        row("its second address", "fd00--7.prod.pod AAAA", "@ AAAA fd00::7"),
        row("another spelling", "fd00-0-0--7.prod.pod AAAA", "@ AAAA fd00::7"),
        row("another namespace", "10-1-2-3.dev.pod A", "NXDOMAIN"),
        row("nobody's address", "10-1-2-4.prod.pod A", "NXDOMAIN"),
    ],
    ids=lambda row: row.id,
)
def test_pods_verified(row: Row) -> None:
    filled = Filled([*cluster(), POD])
    outcome = ask(filled, row.name, row.type, zones("verified"))
    assert isinstance(outcome, Reply)
    assert said(outcome) == row.said


def test_a_pod_that_is_gone_is_verified_no_longer() -> None:
    filled = Filled([*cluster(), POD])
    filled.say(Deleted(objects([POD])[0]))
    outcome = ask(filled, "10-1-2-3.prod.pod.cluster.local.", "A", zones("verified"))
    assert isinstance(outcome, Reply)
    assert said(outcome).rcode == "NXDOMAIN"


def test_endpoint_pod_names() -> None:
    manifests = cluster()
    for one in manifests:
        if one["metadata"]["name"] == "plain-4":
            one["endpoints"][0]["targetRef"] = {"kind": "Pod", "name": "plain-7d4b9"}
            one["endpoints"][1]["targetRef"] = {"kind": "Pod", "name": "p" * 64}
    filled = Filled(manifests, pod_names=True)
    assert lines(ask(filled, "plain-7d4b9.plain.prod.svc.cluster.local.", "A")) == [
        "plain-7d4b9.plain.prod.svc.cluster.local. 5 IN A 10.244.1.30"
    ]
    assert lines(ask(filled, "10-244-2-30.plain.prod.svc.cluster.local.", "A"))


def test_a_nameserver_that_is_no_endpoint_speaks_of_its_own_addresses(filled: Filled) -> None:
    lonely = zones(local=("192.0.2.7", "2001:db8::7"))
    outcome = ask(filled, "cluster.local.", "NS", lonely)
    assert isinstance(outcome, Reply)
    assert said(outcome).answer == ("cluster.local. 5 IN NS ns.dns.cluster.local.",)
    assert said(outcome).additional == (
        "ns.dns.cluster.local. 5 IN A 192.0.2.7",
        "ns.dns.cluster.local. 5 IN AAAA 2001:db8::7",
    )
    assert lines(ask(filled, "ns.dns.cluster.local.", "AAAA", lonely)) == [
        "ns.dns.cluster.local. 5 IN AAAA 2001:db8::7"
    ]


def test_the_soa_lives_five_minutes_at_most(filled: Filled) -> None:
    served = zones_of(ZONES, 3600)
    assert lines(ask(filled, "cluster.local.", "SOA", served))[0].split()[1] == "300"
    assert lines(ask(filled, "cluster.local.", "SOA", served))[0].split()[-1] == "3600"
    assert lines(ask(filled, "web.prod.svc.cluster.local.", "A", served))[0].split()[1] == "3600"


def test_the_longest_zone_wins(filled: Filled) -> None:
    served = zones_of(["local", "cluster.local", "in-addr.arpa"], TTL)
    outcome = ask(filled, "missing.prod.svc.cluster.local.", "A", served)
    assert isinstance(outcome, Reply)
    assert outcome.authority[0].owner == name_of("cluster.local")


def test_a_namespace_takes_its_names_along() -> None:
    filled = Filled()
    filled.say(Deleted(filled.store.objects(Namespace)["prod"]))
    outcome = ask(filled, "web.prod.svc.cluster.local.", "A")
    assert isinstance(outcome, Reply)
    assert said(outcome).rcode == "NXDOMAIN"


def test_a_label_with_a_zone_in_it_is_not_the_zone(filled: Filled) -> None:
    fake = b"\x0fa\x07cluster\x05local\0"
    assert isinstance(answer(Question(fake, fake, 1), filled.index, zones()), Elsewhere)


def test_a_service_turns_from_alias_to_address_and_back() -> None:
    filled = Filled()
    aliases, addresses = (
        msgspec.convert(
            {"metadata": {"name": "api", "namespace": "prod", "resourceVersion": version}, "spec": spec}, Service
        )
        for version, spec in (
            ("1", {"type": "ExternalName", "externalName": "web.prod.svc.cluster.local"}),
            ("2", {"clusterIP": "10.96.7.7", "ports": [{"port": 80}]}),
        )
    )
    assert filled.say(Applied(aliases)) == ["prod/api"]
    assert len(lines(ask(filled, "api.prod.svc.cluster.local.", "A"))) == 2
    assert filled.say(Applied(addresses)) == ["prod/api"]
    assert lines(ask(filled, "api.prod.svc.cluster.local.", "A")) == ["api.prod.svc.cluster.local. 5 IN A 10.96.7.7"]
    assert lines(ask(filled, "7.7.96.10.in-addr.arpa.", "PTR"))
    again = msgspec.structs.replace(aliases, metadata=msgspec.structs.replace(aliases.metadata, resource_version="3"))
    filled.say(Applied(again))
    outcome = ask(filled, "7.7.96.10.in-addr.arpa.", "PTR")
    assert isinstance(outcome, Reply)
    assert said(outcome).rcode == "NXDOMAIN"

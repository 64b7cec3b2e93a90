"""The generator of histories, and the parts of the comparison that need no program."""

from __future__ import annotations

import pytest

from peers.differential import BULK, Sentinel, without_endpoint_comments, without_leftovers
from support.drafts import (
    EndpointDraft,
    NodeDraft,
    PortDraft,
    ServiceDraft,
    SliceDraft,
    Step,
    TargetDraft,
    World,
    after,
    is_another,
    key_of,
    manifest,
)
from support.mutations import Mutations, ambiguous, only, simpler

WEB = ServiceDraft("svc1", 10)


def history(seed: int, steps: int) -> tuple[list[Step], World]:
    source, world, played = Mutations(seed), World({key_of(NodeDraft()): NodeDraft()}), []
    for _ in range(steps):
        played.append(source.step(world))
        world = after(world, played[-1])
    return played, world


def test_a_seed_says_all() -> None:
    assert history(7, 50) == history(7, 50)
    assert history(7, 50) != history(8, 50)


def test_every_kind_of_service_and_endpoint_comes() -> None:
    drafts = [draft for step in history(1, 1500)[0] for draft in step.puts]
    services = [each for each in drafts if isinstance(each, ServiceDraft)]
    slices = [each for each in drafts if isinstance(each, SliceDraft)]
    endpoints = [endpoint for each in slices for endpoint in each.endpoints]
    assert {each.type for each in services} == {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "Headless"}
    assert {each.families for each in services} == {("IPv4",), ("IPv6",), ("IPv4", "IPv6"), ("IPv6", "IPv4")}
    assert {port.protocol for each in services for port in each.ports} == {"TCP", "UDP", "SCTP"}
    assert {each.family for each in slices} == {"IPv4", "IPv6", "FQDN"}
    conditions = {(each.ready, each.serving, each.terminating) for each in endpoints}
    assert len(conditions) == 27
    assert {bool(each.zones) for each in endpoints} == {bool(each.nodes) for each in endpoints} == {True, False}
    assert {draft.zone for draft in drafts if isinstance(draft, NodeDraft)} == {"", "zone-a", "zone-b", "zone-c"}


def test_no_world_is_ambiguous() -> None:
    world: World = {}
    source = Mutations(3)
    for _ in range(500):
        world = after(world, source.step(world))
        assert not ambiguous(world)


def slice_of(name: str, *endpoints: EndpointDraft) -> SliceDraft:
    return SliceDraft(name, "svc1", endpoints=endpoints)


READY, UNREADY, GOING = EndpointDraft(), EndpointDraft(ready=False), EndpointDraft(ready=False, terminating=True)
SERVING = EndpointDraft(ready=False, serving=True, terminating=True)


@pytest.mark.parametrize(
    ("drafts", "expected"),
    [
        pytest.param([slice_of("a", READY), slice_of("b", READY)], False, id="alike"),
        pytest.param([slice_of("a", READY), slice_of("b", UNREADY)], True, id="ready here, not there"),
        pytest.param([slice_of("a", READY), slice_of("b", GOING)], False, id="the one that stays wins"),
        pytest.param([slice_of("a", SERVING), slice_of("b", GOING)], True, id="both go, one serves"),
        pytest.param([slice_of("a", UNREADY, READY), slice_of("b", READY)], False, id="the last of one slice wins"),
        pytest.param([slice_of("a", READY, GOING), slice_of("b", READY)], False, id="going does not win"),
        pytest.param([slice_of("a", READY), SliceDraft("b", "svc2", endpoints=(UNREADY,))], False, id="other service"),
    ],
)
def test_ambiguous(drafts: list[SliceDraft], expected: bool) -> None:
    assert ambiguous({key_of(each): each for each in drafts}) is expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(WEB, ServiceDraft("svc1", 11), True, id="other cluster IP"),
        pytest.param(WEB, ServiceDraft("svc1", 10, families=("IPv4", "IPv6")), False, id="second family"),
        pytest.param(WEB, ServiceDraft("svc1", 10, families=("IPv6",)), True, id="other first family"),
        pytest.param(WEB, ServiceDraft("svc1", 10, type="Headless"), True, id="headless"),
        pytest.param(WEB, ServiceDraft("svc1", 11, type="ExternalName"), False, id="ExternalName"),
        pytest.param(WEB, ServiceDraft("svc1", 10, type="NodePort"), False, id="other type"),
        pytest.param(slice_of("a"), slice_of("a", READY), False, id="other endpoints"),
        pytest.param(slice_of("a"), SliceDraft("a", "svc2"), True, id="slice moves"),
        pytest.param(NodeDraft(), NodeDraft(zone="zone-a"), False, id="node"),
    ],
)
def test_is_another(
    old: ServiceDraft | SliceDraft | NodeDraft, new: ServiceDraft | SliceDraft | NodeDraft, expected: bool
) -> None:
    assert is_another(old, new) is expected


def test_simpler_steps_end() -> None:
    """Always taking the first simpler step comes to nothing left, through steps that all still are manifests."""
    step = Step(tuple(history(5, 60)[1].values()))
    taken = 0
    while (smaller := next(simpler(step), None)) is not None:
        step, taken = smaller, taken + 1
    assert step == Step()
    assert taken > 10


def test_every_field_is_made_simpler() -> None:
    draft = ServiceDraft("svc1", 10, type="NodePort", ports=(PortDraft("http", 443), PortDraft("dns")))
    found = [step.puts[0] for step in simpler(Step((draft,))) if step.puts]
    assert ServiceDraft("svc1", 10, ports=draft.ports) in found
    assert ServiceDraft("svc1", 10, type="NodePort", ports=draft.ports[:1]) in found
    assert ServiceDraft("svc1", 10, type="NodePort", ports=(PortDraft("http"), PortDraft("dns"))) in found
    for each in found:
        manifest(each)


def test_only_one_service() -> None:
    mine, other = slice_of("svc1-ipv4-0"), SliceDraft("svc2-ipv4-0", "svc2")
    lent = SliceDraft("svc2-ipv4-1", "svc1")
    step = Step((WEB, mine, other, lent, NodeDraft()), (("Service", "svc2"), ("EndpointSlice", "svc1-ipv4-2")))
    assert only("svc1", step) == Step((WEB, mine, lent, NodeDraft()), (("EndpointSlice", "svc1-ipv4-2"),))


def test_a_step_is_told_in_python() -> None:
    drafts = history(9, 40)[1].values()
    told = [line.removeprefix("put ") for line in str(Step(tuple(drafts))).splitlines()]
    kinds = (EndpointDraft, NodeDraft, PortDraft, ServiceDraft, SliceDraft, TargetDraft)
    known = {each.__name__: each for each in kinds}
    assert [eval(text, known) for text in told] == list(drafts)  # noqa: S307  # our own words, read back


def test_bulk_comes_near_to_a_large_cluster() -> None:
    counted = [
        len(each.targets) * len(each.endpoints)
        for each in BULK
        if isinstance(each, SliceDraft)
        and each.targets == tuple(TargetDraft(name, n) for n, name in enumerate("abcd", 1))
    ]
    assert counted == [992, 992]


SENTINEL = {
    ("nat", "KUBE-SERVICES"): [
        '-d 10.96.1.9/32 -p tcp -m tcp --dport 10003 -j KUBE-SVC-S -m comment --comment "changes/sentinel cluster IP"'
    ],
    ("nat", "KUBE-SVC-S"): [
        '-m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-A -m comment --comment "x"',
        "-j KUBE-SEP-B",
    ],
    ("nat", "KUBE-SEP-A"): ["-p tcp -m tcp -j DNAT --to-destination 10.244.1.201:20007"],
    ("nat", "KUBE-SEP-B"): ["-p tcp -m tcp -j DNAT --to-destination 10.244.1.202:20007"],
}


@pytest.mark.parametrize(
    ("sentinel", "expected"),
    [
        pytest.param(Sentinel(3, 7, "zone-a"), False, id="not filtered yet"),
        pytest.param(Sentinel(4, 7), False, id="old service"),
        pytest.param(Sentinel(3, 8), False, id="old slices"),
    ],
)
def test_sentinel_is_not_shown_too_early(sentinel: Sentinel, expected: bool) -> None:
    assert sentinel.shown(SENTINEL, "IPv4") is expected


def test_sentinel_is_shown() -> None:
    only_a = {**SENTINEL, ("nat", "KUBE-SVC-S"): ["-j KUBE-SEP-A"]}
    assert Sentinel(3, 7, "zone-a").shown(only_a, "IPv4")
    three = {
        **SENTINEL,
        ("nat", "KUBE-SVC-S"): [*SENTINEL["nat", "KUBE-SVC-S"], "-j KUBE-SEP-C"],
        ("nat", "KUBE-SEP-C"): ["-p tcp -m tcp -j DNAT --to-destination 10.244.1.203:20007"],
    }
    assert Sentinel(3, 7).shown(three, "IPv4")


def test_comments_stay_where_both_have_just_written() -> None:
    texts = ['-j KUBE-SEP-A -m comment --comment "a -> b"', '-j KUBE-MARK-MASQ -m comment --comment "masquerade"']
    rules = {("nat", "KUBE-SVC-A"): texts, ("nat", "KUBE-SVC-B"): texts}
    assert without_endpoint_comments(rules, ["KUBE-SVC-A"]) == {
        ("nat", "KUBE-SVC-A"): texts,
        ("nat", "KUBE-SVC-B"): ["-j KUBE-SEP-A", texts[1]],
    }


def test_leftovers_are_what_nobody_reaches_or_wants() -> None:
    found = {**SENTINEL, ("nat", "KUBE-SVC-OLD"): ["-j KUBE-SEP-OLD"], ("nat", "KUBE-SEP-OLD"): []}
    assert without_leftovers(found, ()) == SENTINEL
    assert without_leftovers(found, [("nat", "KUBE-SEP-OLD")]) == {**SENTINEL, ("nat", "KUBE-SEP-OLD"): []}

"""Which UDP flows are stale after a change, and that no order of changes loses one. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.worlds import endpoint, service, slice_of
from svcagent.flows import Allowed, Frontend, Frontends, frontends, stale
from svcagent.resolve import NodeView, resolve
from svcnet.flow import Flow

VIP, POD, OTHER = "10.96.0.10", "10.244.1.1", "10.244.1.2"
NODE_IP, OUTSIDE = "192.168.56.11", "198.51.100.9"
HERE = frozenset({NODE_IP, "127.0.0.1"})


def flow(destination: str, port: int, answers: str, target: int = 5353) -> Flow:
    return Flow("10.244.1.9", 40000, destination, port, answers, target)


AT_VIP: Allowed = {Frontend(VIP, 53): frozenset({(POD, 5353)})}
AT_NODE_PORT: Allowed = {Frontend("", 30053): frozenset({(POD, 5353)})}
GONE: Allowed = {Frontend(VIP, 53): frozenset(), Frontend("", 30053): frozenset()}

ROWS: list[tuple[str, Allowed, Flow, bool]] = [
    ("to an endpoint that stays", AT_VIP, flow(VIP, 53, POD), False),
    ("to an endpoint that went", AT_VIP, flow(VIP, 53, OTHER), True),
    ("to another port of the endpoint", AT_VIP, flow(VIP, 53, POD, 5354), True),
    ("never translated", AT_VIP, flow(VIP, 53, VIP, 53), True),
    ("to another port of the address", AT_VIP, flow(VIP, 54, OTHER), False),
    ("to another address", AT_VIP, flow("10.96.0.11", 53, OTHER), False),
    ("a service that went", GONE, flow(VIP, 53, POD), True),
    ("node port, endpoint stays", AT_NODE_PORT, flow(NODE_IP, 30053, POD), False),
    ("node port, endpoint went", AT_NODE_PORT, flow(NODE_IP, 30053, OTHER), True),
    ("node port that went", GONE, flow(NODE_IP, 30053, POD), True),
    ("node port on loopback", AT_NODE_PORT, flow("127.0.0.1", 30053, OTHER), True),
    ("that number on another host", AT_NODE_PORT, flow(OUTSIDE, 30053, OUTSIDE, 30053), False),
    ("nothing changed", {}, flow(VIP, 53, OTHER), False),
]


@pytest.mark.parametrize(("suspects", "each", "is_stale"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_staleness(suspects: Allowed, each: Flow, is_stale: bool) -> None:
    assert stale([each], suspects, HERE) == ([each] if is_stale else [])


UDP = {"ports": [{"port": 53, "protocol": "UDP", "nodePort": 30053}, {"port": 80, "name": "http"}]}


def test_frontends_are_those_of_udp_ports_with_all_that_serves() -> None:
    found = service(**UDP, externalIPs=["203.0.113.7"], status={"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}})
    entries = (
        endpoint(POD),
        endpoint(OTHER, node="elsewhere", ready=False, serving=True, terminating=True),
        endpoint("10.244.1.3", ready=False, serving=False, terminating=True),
    )
    of = slice_of("web", *entries, ports=[{"name": "", "port": 5353, "protocol": "UDP"}])
    targets = frozenset({(POD, 5353), (OTHER, 5353)})
    places = (Frontend(VIP, 53), Frontend("203.0.113.7", 53), Frontend("192.0.2.1", 53), Frontend("", 30053))
    assert frontends(resolve(found, [of], "IPv4", NodeView("node")).ports) == dict.fromkeys(places, targets)


F, G = Frontend(VIP, 53), Frontend("", 30053)
ONE, TWO = frozenset({(POD, 5353)}), frozenset({(OTHER, 5353)})


def test_what_has_not_changed_is_not_suspected() -> None:
    known = Frontends()
    known.put("ns/web", {F: ONE, G: ONE})
    known.settled()
    known.put("ns/web", {F: ONE, G: TWO})
    assert known.suspects() == {G: TWO}
    known.settled()
    assert known.suspects() == {}


def test_a_service_that_goes_leaves_its_frontends_to_be_looked_at() -> None:
    known = Frontends()
    known.put("ns/web", {F: ONE})
    known.settled()
    known.put("ns/web", {})
    assert known.suspects() == {F: frozenset()}
    assert known.services == frozenset()


def test_a_frontend_of_two_services_allows_the_endpoints_of_both() -> None:
    known = Frontends()
    known.put("ns/a", {F: ONE})
    known.put("ns/b", {F: TWO})
    assert known.suspects() == {F: ONE | TWO}
    known.put("ns/b", {})
    assert known.suspects() == {F: ONE}
    known.put("ns/a", {})
    assert known.suspects() == {F: frozenset()}


puts = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.dictionaries(st.sampled_from([F, G]), st.sampled_from([ONE, TWO, frozenset()]), max_size=2),
    ),
    max_size=12,
)


@given(puts, st.integers(0, 12))
def test_every_sequence_ends_with_the_last_word_of_each_service(
    changes: list[tuple[str, Allowed]], looked: int
) -> None:
    known = Frontends()
    before: dict[Frontend, frozenset[tuple[str, int]]] = {}
    for index, (name, wanted) in enumerate(changes):
        if index == looked:
            before = now_allowed(changes[:index])
            known.settled()
        known.put(name, wanted)
    after = now_allowed(changes)
    suspects = known.suspects()
    assert {each: suspects[each] for each in suspects} == {each: after.get(each, frozenset()) for each in suspects}
    assert {each for each in (F, G) if before.get(each) != after.get(each)} <= suspects.keys()


def now_allowed(changes: list[tuple[str, Allowed]]) -> dict[Frontend, frozenset[tuple[str, int]]]:
    allowed: dict[Frontend, frozenset[tuple[str, int]]] = {}
    for wanted in dict(changes).values():
        for frontend, targets in wanted.items():
            allowed[frontend] = allowed.get(frontend, frozenset()) | targets
    return allowed

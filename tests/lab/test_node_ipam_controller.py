"""Pod ranges of nodes: never twice, never changed."""

from __future__ import annotations

import itertools
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.model_store import ModelStore
from support.service_objects import Body, node
from svclab.controllers.nodeipam import NodeIpamController
from svclab.errors import LabError

# cluster range, mask, Services' range; nodes as they come; what they have then
RANGES: dict[str, tuple[tuple[str, int, str], list[Body], dict[str, list[str]]]] = {
    "in order": (
        ("10.244.0.0/16", 24, ""),
        [node("b"), node("a")],
        {"b": ["10.244.0.0/24"], "a": ["10.244.1.0/24"]},
    ),
    "round what is taken": (
        ("10.244.0.0/16", 24, ""),
        [node("a", cidr="10.244.0.0/23"), node("b"), node("c", cidr="10.244.3.0/24"), node("d")],
        {"a": ["10.244.0.0/23"], "b": ["10.244.2.0/24"], "c": ["10.244.3.0/24"], "d": ["10.244.4.0/24"]},
    ),
    "round the Services": (("10.0.0.0/16", 24, "10.0.0.0/23"), [node("a")], {"a": ["10.0.2.0/24"]}),
    "both families": (
        ("10.244.0.0/16,fd00:10:244::/56", 26, ""),
        [node("a"), node("b")],
        {"a": ["10.244.0.0/26", "fd00:10:244::/64"], "b": ["10.244.0.64/26", "fd00:10:244:1::/64"]},
    ),
    "no range": (("", 24, ""), [node("a")], {"a": []}),
    "nothing left": (
        ("10.244.0.0/24", 25, ""),
        [node("a"), node("b"), node("c")],
        {"a": ["10.244.0.0/25"], "b": ["10.244.0.128/25"], "c": []},
    ),
}


def held(model: ModelStore) -> dict[str, list[str]]:
    for one in model.all("nodes"):
        assert one["spec"].get("podCIDR") == next(iter(one["spec"].get("podCIDRs", ())), None)
    return {one["metadata"]["name"]: one["spec"].get("podCIDRs", []) for one in model.all("nodes")}


@pytest.mark.parametrize(("flags", "nodes", "expected"), RANGES.values(), ids=RANGES)
def test_ranges(flags: tuple[str, int, str], nodes: list[Body], expected: dict[str, list[str]]) -> None:
    model = ModelStore(NodeIpamController(*flags))
    for each in nodes:
        model.put("nodes", each)
    model.settle()
    assert held(model) == expected
    assert model.again(["nodes"]) == []


def test_who_gets_none_is_told_and_served_later() -> None:
    model = ModelStore(NodeIpamController("10.244.0.0/24", 24))
    model.put("nodes", node("a"))
    model.put("nodes", node("b"))
    model.settle()
    told = {(event.reason, event.message, event.about["metadata"]["name"]) for event in model.events}
    assert told == {("CIDRNotAvailable", "Node b status is now: CIDRNotAvailable", "b")}
    model.remove("nodes", "a")
    model.settle()
    assert held(model) == {"b": ["10.244.0.0/24"]}


BAD = [("10.244.0.0/33", 24), ("x", 24), ("10.244.0.0/24", 16), ("10.0.0.0/8", 26)]


@pytest.mark.parametrize(("cidr", "mask"), BAD, ids=[f"{cidr} by {mask}" for cidr, mask in BAD])
def test_bad_flags_are_refused(cidr: str, mask: int) -> None:
    with pytest.raises(LabError, match=cidr):
        NodeIpamController(cidr, mask)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["comes", "comes", "goes", "settle"])), max_size=40))
def test_no_history_gives_a_range_twice(history: list[tuple[int, str]]) -> None:
    model = ModelStore(NodeIpamController("10.244.0.0/21", 24))
    before: dict[str, list[str]] = {}
    for number, what in history:
        if what == "comes" and f"n{number}" not in model.world.all("nodes"):
            model.put("nodes", node(f"n{number}"))
        elif what == "goes":
            model.remove("nodes", f"n{number}")
            before.pop(f"n{number}", None)
        elif what == "settle":
            model.settle()
            now = held(model)
            assert all(now[name] == cidrs for name, cidrs in before.items() if cidrs)
            before = now
    model.settle()
    networks = [ip_network(cidrs[0]) for cidrs in held(model).values() if cidrs]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(networks, 2))
    assert len(networks) == min(len(model.all("nodes")), 8)

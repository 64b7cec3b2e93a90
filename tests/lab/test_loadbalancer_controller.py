"""Addresses of a pool: who gets which, who waits, and that nobody ever loses or shares one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.model_store import ModelStore
from support.service_objects import Body, service
from svclab.controllers.loadbalancer import LoadBalancerController
from svclab.errors import LabError

POOL = "192.0.2.1-192.0.2.3"
INGRESS = "192.0.2.{}"


def balanced(name: str, *, shows: str = "", **spec: Any) -> Body:
    made = service(name, **{"type": "LoadBalancer", **spec})
    return {**made, "status": {"loadBalancer": {"ingress": [{"ip": shows, "ipMode": "VIP"}]} if shows else {}}}


def shown(model: ModelStore) -> dict[str, str]:
    found = {}
    for one in model.all("services"):
        ingress = ((one.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        found[one["metadata"]["name"]] = ",".join(each["ip"] for each in ingress)
    return found


ENSURED = "Ensured load balancer with address "
FAILED = "Error syncing load balancer: failed to ensure load balancer: "

# pool; Services in the order they come; who has what then; what the Events say
ALLOCATIONS: dict[str, tuple[str, list[Body], dict[str, str], set[str]]] = {
    "one after the other": (
        POOL,
        [balanced("a"), balanced("b")],
        {"a": "192.0.2.1", "b": "192.0.2.2"},
        {ENSURED + "192.0.2.1", ENSURED + "192.0.2.2"},
    ),
    "a CIDR without its ends": ("192.0.2.0/30", [balanced("a")], {"a": "192.0.2.1"}, {ENSURED + "192.0.2.1"}),
    "one address": ("192.0.2.7/32", [balanced("a")], {"a": "192.0.2.7"}, {ENSURED + "192.0.2.7"}),
    "IPv6": ("fd00::1-fd00::2", [balanced("a", ipFamilies=["IPv6"])], {"a": "fd00::1"}, {ENSURED + "fd00::1"}),
    "exhausted": (
        "192.0.2.1-192.0.2.1",
        [balanced("a"), balanced("b")],
        {"a": "192.0.2.1", "b": ""},
        {ENSURED + "192.0.2.1", FAILED + "all addresses of the pool 192.0.2.1-192.0.2.1 are taken"},
    ),
    "no pool": (
        "",
        [balanced("a")],
        {"a": ""},
        {FAILED + "there is no pool of addresses; give the controllers one with --lb-pool"},
    ),
    "another family": (
        POOL,
        [balanced("a", ipFamilies=["IPv6"])],
        {"a": ""},
        {FAILED + f"the pool {POOL} has no IPv6 addresses"},
    ),
    "a wish": (POOL, [balanced("a", loadBalancerIP="192.0.2.3")], {"a": "192.0.2.3"}, {ENSURED + "192.0.2.3"}),
    "wishes go before": (
        POOL,
        [balanced("a"), balanced("b", loadBalancerIP="192.0.2.1")],
        {"a": "192.0.2.2", "b": "192.0.2.1"},
        {ENSURED + "192.0.2.1", ENSURED + "192.0.2.2"},
    ),
    "a wish that is taken": (
        POOL,
        [balanced("a", shows="192.0.2.2"), balanced("b", loadBalancerIP="192.0.2.2")],
        {"a": "192.0.2.2", "b": ""},
        {FAILED + "spec.loadBalancerIP 192.0.2.2 is taken by Service ns/a"},
    ),
    "a wish outside": (
        POOL,
        [balanced("a", loadBalancerIP="198.51.100.1")],
        {"a": ""},
        {FAILED + f"spec.loadBalancerIP 198.51.100.1 is not in the pool {POOL}"},
    ),
    "after a restart": (
        POOL,
        [balanced("b", shows="192.0.2.3"), balanced("a", shows="192.0.2.1")],
        {"a": "192.0.2.1", "b": "192.0.2.3"},
        set(),
    ),
    "of a former pool": (POOL, [balanced("a", shows="198.51.100.1")], {"a": "198.51.100.1"}, set()),
    "another controller's": (POOL, [balanced("a", loadBalancerClass="example.com/x")], {"a": ""}, set()),
    "another controller's address is taken": (
        POOL,
        [balanced("a", loadBalancerClass="example.com/x", shows="192.0.2.1"), balanced("b")],
        {"a": "192.0.2.1", "b": "192.0.2.2"},
        {ENSURED + "192.0.2.2"},
    ),
    "the older keeps it": (
        POOL,
        [balanced("b", shows="192.0.2.1"), balanced("a", shows="192.0.2.1")],
        {"a": "192.0.2.2", "b": "192.0.2.1"},
        {ENSURED + "192.0.2.2"},
    ),
    "other types": (POOL, [service("a", type="NodePort"), service("b")], {"a": "", "b": ""}, set()),
}


@pytest.mark.parametrize(("pool", "services", "expected", "said"), ALLOCATIONS.values(), ids=ALLOCATIONS)
def test_who_gets_what(pool: str, services: list[Body], expected: dict[str, str], said: set[str]) -> None:
    model = ModelStore(LoadBalancerController(pool))
    for each in services:
        model.put("services", each)
    model.settle()
    assert shown(model) == expected
    assert {event.message for event in model.events} == said
    assert model.again(["pool"]) == []


def test_status() -> None:
    model = ModelStore(LoadBalancerController(POOL))
    model.put("services", balanced("a"))
    model.settle()
    (made,) = model.all("services")
    assert made["status"] == {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}}


FREED: dict[str, Any] = {
    "deleted": lambda m: m.remove("services", "ns/a"),
    "another type": lambda m: m.put("services", {**balanced("a", shows="192.0.2.1", type="ClusterIP")}),
    "another wish": lambda m: m.put("services", balanced("a", shows="192.0.2.1", loadBalancerIP="198.51.100.1")),
}


@pytest.mark.parametrize("free", FREED.values(), ids=FREED)
def test_a_freed_address_goes_to_who_waits(free: Any) -> None:
    model = ModelStore(LoadBalancerController("192.0.2.1-192.0.2.1"))
    model.put("services", balanced("a"))
    model.put("services", balanced("b"))
    model.settle()
    assert shown(model) == {"a": "192.0.2.1", "b": ""}
    free(model)
    model.settle()
    assert shown(model).pop("b") == "192.0.2.1"
    assert shown(model).get("a", "") == ""


BAD = ["192.0.2.9-192.0.2.1", "192.0.2.1-fd00::1", "192.0.2.1", "-", "192.0.2.1/24", "x-y"]


@pytest.mark.parametrize("pool", BAD)
def test_bad_pools_are_refused(pool: str) -> None:
    with pytest.raises(LabError, match="--lb-pool"):
        LoadBalancerController(pool)


STEP = st.tuples(
    st.sampled_from("abcde"),
    st.sampled_from(["LoadBalancer", "LoadBalancer", "ClusterIP", "gone", "settle"]),
    st.sampled_from([None, None, "192.0.2.2", "192.0.2.9"]),
)


@given(st.lists(STEP, max_size=30))
def test_any_history_leaves_no_address_twice_or_unused(history: list[tuple[str, str, str | None]]) -> None:
    model = ModelStore(LoadBalancerController(POOL))
    for name, kind, wish in history:
        if kind == "gone":
            model.remove("services", f"ns/{name}")
        elif kind == "settle":
            model.settle()
        else:
            before = shown(model).get(name, "")
            model.put("services", balanced(name, shows=before, type=kind, loadBalancerIP=wish))
    model.settle()
    found = shown(model)
    given_out = [address for address in found.values() if address]
    assert len(given_out) == len(set(given_out))
    for one in model.all("services"):
        address, wish = found[one["metadata"]["name"]], one["spec"].get("loadBalancerIP", "")
        if one["spec"]["type"] != "LoadBalancer":
            assert not address
        elif wish:
            assert address in ("", wish)
            assert address or wish == "192.0.2.9" or wish in given_out
        else:
            assert address or len(given_out) == 3
    assert model.again(["pool"]) == []

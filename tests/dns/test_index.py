"""The index follows the store: it says what it changed, and forgets what is gone, in whatever order it hears of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.filled import Filled, objects
from support.questions import cluster
from svcdns.index import NOTHING, Index, service_records
from svcdns.records import name_of, packed
from svckube.objects import EndpointSlice, KubeObject, Service
from svckube.stream import Applied, Deleted


def versioned(one: dict[str, Any], version: int, **changes: object) -> KubeObject:
    return objects([{**one, **changes, "metadata": {**one["metadata"], "resourceVersion": str(version)}}])[0]


def manifest(kind: str, name: str) -> dict[str, Any]:
    return next(one for one in cluster() if (one["kind"], one["metadata"]["name"]) == (kind, name))


SLICE = manifest("EndpointSlice", "db-1")
DB = manifest("Service", "db")


def ready(*addresses: str) -> list[dict[str, Any]]:
    return [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (versioned(SLICE, 2), []),
        (versioned(SLICE, 2, endpoints=ready("10.244.9.9")), ["prod/db"]),
        (versioned(DB, 2, status={"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}), []),
        (versioned(DB, 2, spec={"type": "ExternalName", "externalName": "x.org"}), ["prod/db"]),
        (versioned({**SLICE, "metadata": {"name": "lost", "namespace": "prod"}}, 1), []),
    ],
    ids=["nothing but a version", "an endpoint", "a status", "the type", "a slice of nobody"],
)
def test_only_what_a_client_could_see_is_a_change(change: KubeObject, changed: list[str]) -> None:
    filled = Filled()
    before = filled.index.serial
    assert filled.say(Applied(change), now=before + 60) == changed
    assert filled.index.serial == (before + 60 if changed else before)


def test_a_slice_that_moves_to_another_service_changes_both() -> None:
    filled = Filled()
    moved = {**SLICE["metadata"], "labels": {"kubernetes.io/service-name": "plain"}}
    assert filled.say(Applied(versioned({**SLICE, "metadata": moved}, 2))) == ["prod/db", "prod/plain"]


def test_what_is_deleted_is_forgotten() -> None:
    filled = Filled()
    address = packed("10.244.2.20")
    assert address is not None
    assert filled.index.names_at(address)
    filled.say(Deleted(objects([SLICE])[0]))
    assert not filled.index.names_at(address)
    filled.say(Deleted(objects([DB])[0]))
    assert filled.index.service("prod/db") is None
    assert not filled.index.services_at(packed("10.244.4.20") or b"")


def test_an_emptied_cluster_leaves_nothing_behind() -> None:
    filled = Filled()
    for one in objects(cluster()):
        filled.say(Deleted(one))
    leftover = {name: table for name, table in vars(filled.index).items() if isinstance(table, dict) and table}
    assert leftover == {}
    assert filled.index.namespaces == {"kube-system"}


def contents(index: Index) -> dict[str, object]:
    return {name: value for name, value in vars(index).items() if name not in ("serial", "_recent", "_recent_whole")}


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_events_does_not_matter(random: Any) -> None:
    everything = objects(cluster())
    in_order, shuffled = Filled([]), Filled([])
    for one in everything:
        in_order.say(Applied(one))
    random.shuffle(everything)
    for one in everything:
        shuffled.say(Applied(one))
    assert contents(shuffled.index) == contents(in_order.index)


def test_two_services_with_one_endpoint_have_two_names() -> None:
    other = {**SLICE, "metadata": {**SLICE["metadata"], "name": "o", "labels": {"kubernetes.io/service-name": "plain"}}}
    filled = Filled([*cluster(), other])
    names = filled.index.names_at(packed("10.244.2.20") or b"")
    assert names == [name_of(f"db-1.{one}.prod.svc")[:-1] for one in ("db", "plain")]


@pytest.mark.parametrize(
    "service",
    [
        None,
        {"metadata": {"name": "x" * 64, "namespace": "prod"}, "spec": {"clusterIP": "10.96.0.1"}},
        {"metadata": {"name": "", "namespace": "prod"}, "spec": {"clusterIP": "10.96.0.1"}},
        {"metadata": {"name": "x", "namespace": "prod"}, "spec": {"type": "ExternalName", "externalName": "a..b"}},
        {"metadata": {"name": "x", "namespace": "prod"}, "spec": {"type": "ExternalName"}},
    ],
    ids=["none", "a name too long", "no name", "an alias of no name", "an alias of nothing"],
)
def test_what_cannot_have_records_has_none(service: dict[str, Any] | None) -> None:
    found = objects([{"kind": "Service", **service}])[0] if service else None
    assert found is None or isinstance(found, Service)
    assert service_records(found, ()) == NOTHING


def test_what_is_no_address_is_left_out() -> None:
    slices = objects([{**SLICE, "addressType": "FQDN", "endpoints": ready("db.example.org")}])
    found = objects([DB])[0]
    assert isinstance(found, Service)
    assert service_records(found, [one for one in slices if isinstance(one, EndpointSlice)]).targets == ()


def test_a_service_without_its_address_yet_has_none() -> None:
    (found,) = objects([{"kind": "Service", "metadata": {"name": "x", "namespace": "prod"}, "spec": {"clusterIP": ""}}])
    assert isinstance(found, Service)
    assert service_records(found, ()).targets == ()

"""What is left out of objects changes no record, and what is equal is held once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from support.filled import lists, objects
from support.questions import cluster
from svcdns.cluster import Cluster
from svcdns.index import NOTHING, service_records
from svcdns.slim import MOST_SHARED, Slimmer
from svcdns.tally import Tally
from svckube.objects import EndpointSlice, ObjectMeta, Pod, Service
from svckube.store import Store
from svckube.stream import Applied

ADDRESSES = ["10.244.1.1", "10.244.1.2", "fd00::1", "no address"]
ENDPOINTS = st.lists(
    st.fixed_dictionaries(
        {
            "addresses": st.lists(st.sampled_from(ADDRESSES), max_size=2),
            "conditions": st.sampled_from([{}, {"ready": True}, {"ready": False}, {"ready": True, "serving": False}]),
        },
        optional={
            "hostname": st.sampled_from(["", "db-0", "x" * 64]),
            "targetRef": st.sampled_from([{"kind": "Pod", "name": "pod-1"}, {"kind": "Pod"}]),
            "nodeName": st.just("node"),
        },
    ),
    max_size=6,
)
PORTS = st.sampled_from([None, [], [{"name": "http", "port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]])
SPECS = st.sampled_from(
    [
        {"clusterIP": "None", "clusterIPs": ["None"]},
        {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00:96::1"], "ports": [{"port": 80}]},
        {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80, "name": "http"}]},
        {"clusterIP": "10.96.0.1", "ports": []},
        {"type": "ExternalName", "externalName": "www.example.org"},
    ]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(ENDPOINTS, PORTS, SPECS, st.booleans())
def test_no_record_is_another(endpoints: list[Any], ports: Any, spec: dict[str, Any], pod_names: bool) -> None:
    meta = {"namespace": "prod", "resourceVersion": "7"}
    service, one = objects(
        [
            {"kind": "Service", "metadata": {**meta, "name": "db", "uid": "u"}, "spec": spec},
            {
                "kind": "EndpointSlice",
                "metadata": {**meta, "name": "db-1", "labels": {"kubernetes.io/service-name": "db"}},
                "endpoints": endpoints,
                "ports": ports,
            },
        ]
    )
    slimmer = Slimmer(pod_names)
    light_service, light = slimmer.slim(service), slimmer.slim(one)
    assert isinstance(service, Service)
    assert isinstance(light_service, Service)
    assert isinstance(one, EndpointSlice)
    assert isinstance(light, EndpointSlice)
    found, light_found = (
        service_records(of, [slices], pod_names) for of, slices in ((service, one), (light_service, light))
    )
    assert light_found == found
    assert list(light_found.endpoints) == list(found.endpoints)
    bare = service_records(light_service, [light], pod_names, whole=False)
    assert bare == (found if found.headless else msgspec.structs.replace(found, endpoints={}))
    hidden = [
        service_records(light_service, [light], pod_names, True, whole=whole) == NOTHING for whole in (True, False)
    ]
    assert hidden[0] == hidden[1]
    assert (light.key, light.service_key) == (one.key, "prod/db")


def test_every_object_keeps_what_a_store_asks_for() -> None:
    slimmer = Slimmer()
    for one in objects(cluster()):
        light = slimmer.slim(one)
        assert (type(light), light.key) == (type(one), one.key)


def test_a_version_without_anything_new_is_no_change() -> None:
    slimmer, store = Slimmer(), Store((Service,))
    told = []
    for version, address in (("1", "10.96.0.1"), ("2", "10.96.0.1"), ("3", "10.96.0.2")):
        meta = {"name": "web", "namespace": "n", "resourceVersion": version}
        service = msgspec.convert({"metadata": meta, "spec": {"clusterIP": address}}, Service)
        told.append(len(store.apply(Applied(slimmer.slim(service)))))
    assert told == [1, 0, 1]


@pytest.mark.parametrize(
    ("status", "kept"),
    [
        ({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}, {"podIP": "10.0.0.1"}),
        ({"podIP": "a", "podIPs": [{"ip": "a"}, {"ip": "b"}]}, {"podIP": "a", "podIPs": [{"ip": "b"}]}),
        ({"phase": "Pending"}, {}),
    ],
)  # fmt: skip
def test_pods(status: dict[str, Any], kept: dict[str, Any]) -> None:
    light = Slimmer().slim(msgspec.convert({"metadata": {"name": "p"}, "status": status}, Pod))
    assert light == msgspec.convert({"metadata": {"name": "p"}, "status": kept}, Pod)


def test_a_slice_of_nobody_holds_nothing() -> None:
    light = Slimmer().slim(msgspec.convert({"metadata": {"name": "s"}, "endpoints": [{}]}, EndpointSlice))
    assert isinstance(light, EndpointSlice)
    assert light.endpoints is None


def test_equal_parts_are_one_and_the_table_of_them_is_bounded() -> None:
    slimmer = Slimmer()

    def service(number: int, port: int) -> Service:
        spec = {"ports": [{"name": "http", "port": port}]}
        light = slimmer.slim(
            msgspec.convert({"metadata": {"name": f"s{number}", "namespace": "n"}, "spec": spec}, Service)
        )
        assert isinstance(light, Service)
        return light

    first, second = service(1, 80), service(2, 80)
    assert first.spec.ports is second.spec.ports
    assert first.metadata.namespace is second.metadata.namespace
    for number in range(2 * MOST_SHARED):
        service(number, number)
    assert len(slimmer._shared) <= MOST_SHARED + 10


def test_a_change_is_made_light_by_the_cluster() -> None:
    known = Cluster(Tally(CollectorRegistry()), pods=True)
    known.apply(lists(cluster()))
    heavy = next(one for one in objects(cluster()) if one.key == "prod/web" and isinstance(one, Service))
    spec = msgspec.structs.replace(heavy.spec, ports=(heavy.spec.ports or ())[:1])
    heavy = msgspec.structs.replace(heavy, metadata=ObjectMeta("web", "prod", "u", "99"), spec=spec)
    known.apply([Applied(heavy)])
    held = known._store.get(Service, "prod/web")
    assert held is not None
    assert held.metadata == ObjectMeta("web", "prod")
    assert known.index.service("prod/web") == service_records(heavy, known._store.slices("prod/web"), whole=False)

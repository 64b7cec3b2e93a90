"""Endpoints: packed subsets, capacity, and whose they are. The real one is asked in tests/peers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.model_store import ModelStore
from support.service_objects import EARLY, LATE, Body, endpoints, pod, service
from svclab.controllers import fingerprint
from svclab.controllers.endpoints import EndpointsController
from svclab.controllers.reduce import Create, Delete, Update
from svclab.controllers.subsets import repacked, size, truncated

LAST_CHANGE = "endpoints.kubernetes.io/last-change-trigger-time"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
OVER = "endpoints.kubernetes.io/over-capacity"


def shown(subsets: list[Body]) -> list[str]:
    """One line for each subset: ready | not ready | ports."""
    lines = []
    for one in subsets:
        ready, unready = (
            " ".join("@".join(filter(None, (each["ip"], each.get("hostname")))) for each in one.get(field) or ())
            for field in ("addresses", "notReadyAddresses")
        )
        ports = " ".join(
            f"{port.get('name', '')}:{port['port']}/{port.get('protocol', 'TCP')}" for port in one.get("ports") or ()
        )
        lines.append(f"{ready} | {unready} | {ports}")
    return lines


A, B = pod("a", "10.1.0.1"), pod("b", "10.1.0.2", ready=False)

OBJECTS: dict[str, tuple[Body, list[Body], list[str]]] = {
    "ready and not": (service(), [A, B], ["10.1.0.1 | 10.1.0.2 | http:8080/TCP"]),
    "published all the same": (
        service(publishNotReadyAddresses=True),
        [A, B],
        ["10.1.0.1 10.1.0.2 |  | http:8080/TCP"],
    ),
    "terminating": (service(), [pod("a", "10.1.0.1", terminating=True)], []),
    "terminating and published": (
        service(publishNotReadyAddresses=True),
        [pod("a", "10.1.0.1", terminating=True)],
        ["10.1.0.1 |  | http:8080/TCP"],
    ),
    "ended": (service(), [pod("a", "10.1.0.1", phase="Failed")], []),
    "a node that is not there does not matter": (
        service(),
        [pod("a", "10.1.0.1", node="gone")],
        ["10.1.0.1 |  | http:8080/TCP"],
    ),
    "two ports, one of them by name": (
        service(
            ports=[
                {"name": "http", "port": 80, "targetPort": "http"},
                {"name": "dns", "port": 53, "targetPort": 5, "protocol": "UDP"},
            ]
        ),
        [A, pod("c", "10.1.0.3", port=9090)],
        ["10.1.0.3 |  | http:9090/TCP", "10.1.0.1 |  | http:8080/TCP", "10.1.0.1 10.1.0.3 |  | dns:5/UDP"],
    ),
    "the second family first": (
        service(ipFamilies=["IPv6", "IPv4"]),
        [pod("a", "10.1.0.1", "fd00::1")],
        ["fd00::1 |  | http:8080/TCP"],
    ),
    "on no node": (service(), [pod("a", "10.1.0.1", node="")], ["10.1.0.1 |  | http:8080/TCP"]),
    "hostnames": (
        service(clusterIP="None"),
        [pod("a", "10.1.0.1", hostname="h", subdomain="web")],
        ["10.1.0.1@h |  | http:8080/TCP"],
    ),
    "headless without ports": (service(clusterIP="None", ports=None), [A, B], ["10.1.0.1 | 10.1.0.2 | "]),
}


@pytest.mark.parametrize(("owner", "pods", "expected"), OBJECTS.values(), ids=OBJECTS)
def test_subsets(owner: Body, pods: list[Body], expected: list[str]) -> None:
    model = ModelStore(EndpointsController())
    for each in pods:
        model.put("pods", each)
    model.put("services", owner)
    assert [type(write) for write in model.settle()] == [Create]
    (made,) = model.all("endpoints")
    assert sorted(shown(made["subsets"])) == sorted(expected)
    assert model.again(["ns/web"]) == []


def test_metadata() -> None:
    model = ModelStore(EndpointsController())
    owner = model.put("services", service(labels={"team": "blue"}, clusterIP="None"))
    model.put("pods", A)
    model.settle()
    (made,) = model.all("endpoints")
    headless = {"service.kubernetes.io/headless": ""}
    assert made["metadata"]["labels"] == {"team": "blue", MANAGED_BY: "endpoint-controller", **headless}
    assert made["metadata"]["annotations"] == {LAST_CHANGE: owner["metadata"]["creationTimestamp"]}
    (address,) = made["subsets"][0]["addresses"]
    assert address["nodeName"] == "node1"
    assert (address["targetRef"]["kind"], address["targetRef"]["name"]) == ("Pod", "a")


def annotated(body: Body) -> Body:
    return {**body, "metadata": {**body["metadata"], "annotations": {OVER: "truncated"}}}


CHANGES: dict[str, tuple[Any, list[type], str]] = {
    "readiness": (lambda m: m.put("pods", pod("b", "10.1.0.2", at=LATE)), [Update], LATE),
    "a pod comes": (lambda m: m.put("pods", pod("c", "10.1.0.3", at=LATE)), [Update], LATE),
    "a pod goes": (lambda m: m.remove("pods", "ns/a"), [Update], ""),
    "a pod ends": (lambda m: m.put("pods", pod("a", "10.1.0.1", phase="Failed", ready=False, at=LATE)), [Update], LATE),
    "a label": (lambda m: m.put("services", service(labels={"x": "y"})), [Update], ""),
    "nothing": (lambda m: m.put("services", service()), [], "created"),
    "what is not published": (lambda m: m.put("pods", {**A, "status": {**A["status"], "x": 1}}), [], "created"),
    "somebody says it was truncated": (lambda m: m.put("endpoints", annotated(m.all("endpoints")[0])), [Update], ""),
    "somebody writes into it": (
        lambda m: m.put("endpoints", endpoints("web", labels={MANAGED_BY: "endpoint-controller"})),
        [Update],
        EARLY,
    ),
}


@pytest.mark.parametrize(("change", "writes", "trigger"), CHANGES.values(), ids=CHANGES)
def test_changes(change: Any, writes: list[type], trigger: str) -> None:
    model = ModelStore(EndpointsController())
    owner = model.put("services", service())
    for each in (A, B):
        model.put("pods", each)
    model.settle()
    change(model)
    assert [type(write) for write in model.settle()] == writes
    (made,) = model.all("endpoints")
    expected = owner["metadata"]["creationTimestamp"] if trigger == "created" else trigger
    assert made["metadata"]["annotations"].get(LAST_CHANGE, "") == expected
    assert model.again(["ns/web"]) == []


OURS = {"labels": {MANAGED_BY: "endpoint-controller"}}
# what is there, what then goes; is there a deletion?
ORPHANS: dict[str, tuple[list[Body], str, bool]] = {
    "written by hand, never a Service": ([endpoints("web")], "", False),
    "ours, and the Service went while we were away": ([endpoints("web", **OURS)], "", True),
    "ours, and the Service goes": ([service(), endpoints("web", **OURS)], "ns/web", True),
    "written by hand, and the Service goes": ([service(selector=None), endpoints("web")], "ns/web", True),
}


@pytest.mark.parametrize(("there", "goes", "is_deleted"), ORPHANS.values(), ids=ORPHANS)
def test_orphans(there: list[Body], goes: str, is_deleted: bool) -> None:
    model = ModelStore(EndpointsController())
    for each in there:
        model.put("services" if "spec" in each else "endpoints", each)
    model.settle()
    model.remove("services", goes)
    model.settle()
    assert (model.all("endpoints") == []) == is_deleted
    assert any(isinstance(write, Delete) for write in model.writes) == is_deleted


@pytest.mark.parametrize("spec", [{"selector": None}, {"type": "ExternalName"}], ids=["no selector", "ExternalName"])
def test_not_ours(spec: dict[str, Any]) -> None:
    model = ModelStore(EndpointsController())
    model.put("services", service(**spec))
    model.put("endpoints", endpoints("web", {"addresses": [{"ip": "192.0.2.1"}]}))
    assert model.settle() == []


# (ready, not ready) of each subset, and what is kept of them
CAPACITIES = {
    "just fits": ([(600, 400)], [(600, 400)]),
    "ready ones first": ([(900, 400)], [(900, 100)]),
    "too many ready ones": ([(1500, 10)], [(1000, 0)]),
    "in proportion": ([(1500, 0), (500, 5)], [(750, 0), (250, 0)]),
    "rounded up, so the last one gets less": ([(700, 0), (700, 0), (1, 0)], [(500, 0), (500, 0), (0, 0)]),
}


@pytest.mark.parametrize(("given_sizes", "kept"), CAPACITIES.values(), ids=CAPACITIES)
def test_capacity(given_sizes: list[tuple[int, int]], kept: list[tuple[int, int]]) -> None:
    def subset(ready: int, unready: int) -> Body:
        made = {
            "addresses": [{"ip": str(n)} for n in range(ready)],
            "notReadyAddresses": [{"ip": str(n)} for n in range(unready)],
        }
        return {name: value for name, value in made.items() if value}

    cut = truncated([subset(*each) for each in given_sizes])
    assert [(len(one.get("addresses") or ()), len(one.get("notReadyAddresses") or ())) for one in cut] == kept


def test_over_capacity_is_annotated() -> None:
    model = ModelStore(EndpointsController())
    for number in range(1001):
        model.put("pods", pod(f"p{number}", f"10.1.{number >> 8}.{number & 255}"))
    model.put("services", service())
    model.settle()
    (made,) = model.all("endpoints")
    assert (size(made["subsets"]), made["metadata"]["annotations"][OVER]) == (1000, "truncated")
    for number in range(500):
        model.remove("pods", f"ns/p{number}")
    model.settle()
    (made,) = model.all("endpoints")
    assert (size(made["subsets"]), OVER in made["metadata"]["annotations"]) == (501, False)


NO_PORTS = {
    "alone": ([{"addresses": [{"ip": "10.1.0.1"}]}], ["10.1.0.1 |  | "]),
    "joins the same addresses": (
        [{"addresses": [{"ip": "10.1.0.1"}]}, {"addresses": [{"ip": "10.1.0.1"}], "ports": [{"port": 1}]}],
        ["10.1.0.1 |  | :1/TCP"],
    ),
    "nothing at all": ([{"ports": [{"port": 1}]}, {}], []),
}


@pytest.mark.parametrize(("subsets", "expected"), NO_PORTS.values(), ids=NO_PORTS)
def test_repacking_without_ports(subsets: list[Body], expected: list[str]) -> None:
    assert shown(repacked(subsets)) == expected


HTTP_PORT = {"name": "http", "port": 80, "protocol": "TCP"}
H2C_PORT = {"port": 443, "protocol": "UDP", "appProtocol": "h2c"}
TARGET = {"kind": "Pod", "namespace": "a", "name": "b", "uid": "u"}
# Made by `go run` of k8s.io/utils/dump.ForHash and hash/fnv.New128a on the same values
SPELLED = {
    "empty": (fingerprint.fnv128a(""), "6c62272e07bb014262b821756295c58d"),
    "subset port": (fingerprint.of_subset_port(HTTP_PORT), "754b003f50f133a539c60d18cfb30a55"),
    "subset port of an application": (fingerprint.of_subset_port(H2C_PORT), "4aedc74468acb3b4df3021e4d21b1cf6"),
    "slice port": (fingerprint.of_slice_port(HTTP_PORT), "b6c4d325122a5ba6f795b0bbffcebb6f"),
    "slice port of an application": (fingerprint.of_slice_port(H2C_PORT), "4442b6749693fa79906234c8abedf5fe"),
    "subset": (
        fingerprint.of_subset(
            {
                "addresses": [
                    {"ip": "1.2.3.4", "nodeName": "node1", "targetRef": TARGET},
                    {"ip": "::1", "hostname": "h"},
                ],
                "ports": [HTTP_PORT, H2C_PORT],
            }
        ),
        "3d71feffb9ec5a574fdb8ba24da7f174",
    ),
    "abc": (fingerprint.fnv128a("abc"), "a68d622cec8b5822836dbc7977af7f3b"),
}


@pytest.mark.parametrize(("ours", "theirs"), SPELLED.values(), ids=SPELLED)
def test_fingerprints(ours: bytes, theirs: str) -> None:
    assert ours.hex() == theirs


ADDRESSES = st.lists(st.sampled_from([f"10.1.0.{n}" for n in range(5)]), unique=True, max_size=4)
PORTS = st.lists(
    st.sampled_from([{"port": 1}, {"port": 2, "name": "b"}, {"port": 1, "protocol": "UDP"}]), unique_by=str, min_size=1
)
SUBSETS = st.lists(st.tuples(ADDRESSES, ADDRESSES, PORTS), max_size=4)


def offers(subsets: list[Body]) -> dict[tuple[Any, ...], bool]:
    """(address, port) → ready; not ready wins."""
    found: dict[tuple[Any, ...], bool] = {}
    for subset in subsets:
        ports: list[Body] = subset.get("ports") or [{"port": 0}]
        for port in ports:
            for field, ready in (("addresses", True), ("notReadyAddresses", False)):
                for address in subset.get(field) or ():
                    key = (address["ip"], port.get("name", ""), port["port"], port.get("protocol", "TCP"))
                    found[key] = found.get(key, True) and ready
    return found


@given(SUBSETS, st.randoms(use_true_random=False))
def test_repacking(drawn: list[tuple[list[str], list[str], list[Body]]], dice: Any) -> None:
    given_subsets = [
        {"addresses": [{"ip": ip} for ip in ready], "notReadyAddresses": [{"ip": ip} for ip in unready], "ports": ports}
        for ready, unready, ports in drawn
    ]
    packed = repacked(given_subsets)
    assert offers(packed) == offers(given_subsets)
    assert repacked(packed) == packed
    seen = [
        (port["port"], port.get("name"), port.get("protocol"), each["ip"])
        for one in packed
        for port in one.get("ports", ())
        for f in ("addresses", "notReadyAddresses")
        for each in one.get(f, ())
    ]
    assert len(seen) == len(set(seen))
    dice.shuffle(given_subsets)
    assert repacked(given_subsets) == packed

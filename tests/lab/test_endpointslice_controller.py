"""EndpointSlices: what stands in them, and that nothing is written twice. The real one is asked in tests/peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.model_store import ModelStore
from support.service_objects import EARLY, LATE, Body, node, pod, service
from svclab.controllers.endpointslice import EndpointSliceController
from svclab.controllers.reduce import Create, Delete, Update

LAST_CHANGE = "endpoints.kubernetes.io/last-change-trigger-time"


def store(limit: int = 100) -> ModelStore:
    made = ModelStore(EndpointSliceController(limit))
    for name, zone in (("node1", "zone-a"), ("node2", "zone-b")):
        made.put("nodes", node(name, zone))
    return made


def shown(model: ModelStore) -> list[str]:
    """One line for each endpoint: family, addresses, ports, conditions, node, zone, hostname, hints."""
    lines = []
    for one in model.all("endpointslices"):
        ports = ",".join(f"{port['name']}:{port['port']}/{port['protocol']}" for port in one["ports"])
        lines += [f"{one['addressType']} {line(each)} {ports}".strip() for each in one["endpoints"]]
    return sorted(lines)


def line(endpoint: Body) -> str:
    conditions = [name for name, value in endpoint["conditions"].items() if value]
    hints = [value["name"] for some in (endpoint.get("hints") or {}).values() for value in some]
    place = [endpoint[field] for field in ("nodeName", "zone", "hostname") if field in endpoint]
    return " ".join(
        [*endpoint["addresses"], "+".join(conditions) or "-", "/".join(place), *(f"~{hint}" for hint in hints)]
    )


POD = pod("a", "10.1.0.1")
HTTP = "http:8080/TCP"
UNREADY = pod("a", "10.1.0.1", ready=False)

ENDPOINTS: dict[str, tuple[Body, list[Body], list[str]]] = {
    "ready": (service(), [POD], [f"IPv4 10.1.0.1 ready+serving node1/zone-a {HTTP}"]),
    "not ready": (service(), [UNREADY], [f"IPv4 10.1.0.1 - node1/zone-a {HTTP}"]),
    "published all the same": (
        service(publishNotReadyAddresses=True),
        [UNREADY],
        [f"IPv4 10.1.0.1 ready node1/zone-a {HTTP}"],
    ),
    "terminating": (
        service(),
        [pod("a", "10.1.0.1", terminating=True)],
        [f"IPv4 10.1.0.1 serving+terminating node1/zone-a {HTTP}"],
    ),
    "without an address": (service(), [pod("a")], []),
    "ended": (service(), [pod("a", "10.1.0.1", phase="Succeeded"), pod("b", "10.1.0.2", phase="Failed")], []),
    "of another app": (service(), [pod("a", "10.1.0.1", app="db")], []),
    "on a node that is not there": (service(), [pod("a", "10.1.0.1", node="gone")], []),
    "published on a node that is not there": (
        service(publishNotReadyAddresses=True),
        [pod("a", "10.1.0.1", node="gone")],
        [f"IPv4 10.1.0.1 ready+serving gone {HTTP}"],
    ),
    "a port of its own": (
        service(),
        [POD, pod("b", "10.1.0.2", port=9090)],
        [f"IPv4 10.1.0.1 ready+serving node1/zone-a {HTTP}", "IPv4 10.1.0.2 ready+serving node1/zone-a http:9090/TCP"],
    ),
    "an application protocol and a number": (
        service(ports=[{"port": 53, "protocol": "UDP", "targetPort": 5353}]),
        [POD],
        ["IPv4 10.1.0.1 ready+serving node1/zone-a :5353/UDP"],
    ),
    "hostnames in the Service's subdomain": (
        service(clusterIP="None"),
        [pod("a", "10.1.0.1", hostname="one", subdomain="web"), pod("b", "10.1.0.2", hostname="two", subdomain="db")],
        [f"IPv4 10.1.0.1 ready+serving node1/zone-a/one {HTTP}", f"IPv4 10.1.0.2 ready+serving node1/zone-a {HTTP}"],
    ),
    "headless without ports": (
        service(clusterIP="None", ports=None),
        [POD],
        ["IPv4 10.1.0.1 ready+serving node1/zone-a"],
    ),
    "both families": (
        service(ipFamilies=["IPv4", "IPv6"]),
        [pod("a", "10.1.0.1", "fd00::0001")],
        [f"IPv4 10.1.0.1 ready+serving node1/zone-a {HTTP}", f"IPv6 fd00::1 ready+serving node1/zone-a {HTTP}"],
    ),
    "leading zeros": (service(), [pod("a", "10.01.0.001")], [f"IPv4 10.1.0.1 ready+serving node1/zone-a {HTTP}"]),
    "near by zone": (
        service(trafficDistribution="PreferSameZone"),
        [POD, pod("b", "10.1.0.2", ready=False)],
        [f"IPv4 10.1.0.1 ready+serving node1/zone-a ~zone-a {HTTP}", f"IPv4 10.1.0.2 - node1/zone-a {HTTP}"],
    ),
    "near by node": (
        service(trafficDistribution="PreferSameNode"),
        [POD],
        [f"IPv4 10.1.0.1 ready+serving node1/zone-a ~zone-a ~node1 {HTTP}"],
    ),
    "an ExternalName": (service(type="ExternalName"), [POD], []),
    "no selector": (service(selector=None), [POD], []),
}


@pytest.mark.parametrize(("owner", "pods", "expected"), ENDPOINTS.values(), ids=ENDPOINTS)
def test_endpoints(owner: Body, pods: list[Body], expected: list[str]) -> None:
    model = store()
    for each in pods:
        model.put("pods", each)
    model.put("services", owner)
    model.settle()
    assert shown(model) == sorted(expected)


def test_metadata() -> None:
    model = store()
    owner = model.put(
        "services", service(labels={"team": "blue", "kubernetes.io/service-name": "lie"}, clusterIP="None")
    )
    model.settle()
    (made,) = model.all("endpointslices")
    assert made["metadata"]["generateName"] == "web-"
    assert made["metadata"]["labels"] == {
        "team": "blue",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "service.kubernetes.io/headless": "",
    }
    (reference,) = made["metadata"]["ownerReferences"]
    assert reference["uid"] == owner["metadata"]["uid"]
    assert (reference["kind"], reference["controller"], reference["blockOwnerDeletion"]) == ("Service", True, True)
    assert made["metadata"]["annotations"] == {LAST_CHANGE: owner["metadata"]["creationTimestamp"]}
    assert (made["endpoints"], made["ports"]) == ([], [])


def test_a_missing_node_is_told_and_noticed() -> None:
    model = store()
    model.put("services", service())
    model.put("pods", pod("a", "10.1.0.1", node="node3"))
    model.settle()
    said = "Error updating Endpoint Slices for Service ns/web: skipping Pod a for Service ns/web: Node node3 Not Found"
    assert {event.message for event in model.events} == {said}
    model.put("nodes", node("node3", "zone-c"))
    model.settle()
    assert shown(model) == [f"IPv4 10.1.0.1 ready+serving node3/zone-c {HTTP}"]


def crowd(model: ModelStore, count: int, first: int = 0) -> list[Body]:
    return [model.put("pods", pod(f"p{n:03}", f"10.1.0.{n}")) for n in range(first, first + count)]


def kinds(writes: list[Any]) -> list[type]:
    return [type(write) for write in writes]


def sizes(model: ModelStore) -> list[int]:
    return sorted(len(one["endpoints"] or ()) for one in model.all("endpointslices"))


def first_slice(model: ModelStore) -> Body:
    return model.all("endpointslices")[0]


# Ten pods in slices of at most four (4, 4, 2), and then: what happens, which writes it takes, how full slices are after
CHANGES: dict[str, tuple[Callable[[ModelStore], Any], list[type], list[int]]] = {
    "readiness": (lambda m: m.put("pods", pod("p000", "10.1.0.0", ready=False)), [Update], [2, 4, 4]),
    "what is not published": (
        lambda m: m.put("pods", {**pod("p000", "10.1.0.0"), "status": {**pod("p000", "10.1.0.0")["status"], "x": 1}}),
        [],
        [2, 4, 4],
    ),
    "one more fits": (lambda m: crowd(m, 1, 10), [Update], [3, 4, 4]),
    "two more just fit": (lambda m: crowd(m, 2, 10), [Update], [4, 4, 4]),
    "the fullest slice that is written anyway is filled first": (
        lambda m: (m.remove("pods", "ns/p000"), m.put("pods", pod("p009", "10.1.0.9", ready=False)), crowd(m, 1, 10)),
        [Update] * 2,
        [2, 4, 4],
    ),
    "three more do not fit in one": (lambda m: crowd(m, 3, 10), [Create], [2, 3, 4, 4]),
    "one less": (lambda m: m.remove("pods", "ns/p000"), [Update], [2, 3, 4]),
    "one for another": (lambda m: (m.remove("pods", "ns/p000"), crowd(m, 1, 10)), [Update], [2, 4, 4]),
    "a slice's worth less": (lambda m: [m.remove("pods", f"ns/p{n:03}") for n in range(4)], [Delete], [2, 4]),
    "all gone": (lambda m: [m.remove("pods", f"ns/p{n:03}") for n in range(10)], [Update, Delete, Delete], [0]),
    "a label": (lambda m: m.put("services", service(labels={"a": "b"})), [Update] * 3, [2, 4, 4]),
    "another port": (
        lambda m: m.put("services", service(ports=[{"port": 80, "targetPort": 1}])),
        [Update] * 3,
        [2, 4, 4],
    ),
    "nothing new about the Service": (lambda m: m.put("services", service()), [], [2, 4, 4]),
    "somebody deletes a slice": (
        lambda m: m.remove("endpointslices", f"ns/{first_slice(m)['metadata']['name']}"),
        [Create],
        [2, 4, 4],
    ),
    # As the real one: four endpoints are a slice of their own, so none is looked for that has room.
    "somebody empties a slice": (
        lambda m: m.put("endpointslices", {**first_slice(m), "endpoints": None}),
        [Create],
        [0, 2, 4, 4],
    ),
    "hints": (lambda m: m.put("services", service(trafficDistribution="PreferClose")), [Update] * 3, [2, 4, 4]),
}


@pytest.mark.parametrize(("change", "writes", "full"), CHANGES.values(), ids=CHANGES)
def test_as_few_writes_as_possible(change: Callable[[ModelStore], Any], writes: list[type], full: list[int]) -> None:
    model = store(4)
    model.put("services", service())
    crowd(model, 10)
    model.settle()
    assert sizes(model) == [2, 4, 4]
    change(model)
    assert kinds(model.settle()) == writes
    assert sizes(model) == full
    assert model.again(["ns/web"]) == []


def test_a_service_of_the_same_name_gets_slices_of_its_own() -> None:
    model = store()
    model.put("services", service())
    model.put("pods", POD)
    model.settle()
    (old,) = model.all("endpointslices")
    model.remove("services", "ns/web")
    assert model.settle() == []  # the garbage collector's part
    new = model.put("services", service())
    assert kinds(model.settle()) == [Create, Delete]
    (made,) = model.all("endpointslices")
    assert made["metadata"]["name"] != old["metadata"]["name"]
    assert made["metadata"]["ownerReferences"][0]["uid"] == new["metadata"]["uid"]


TRIGGERS: dict[str, tuple[Callable[[ModelStore], Any], str]] = {
    "a pod becomes unready": (lambda m: m.put("pods", pod("a", "10.1.0.1", ready=False, at=LATE)), LATE),
    "a pod comes": (lambda m: m.put("pods", pod("b", "10.1.0.2", at=LATE)), LATE),
    "the earlier of two": (
        lambda m: (m.put("pods", pod("b", "10.1.0.2", at=LATE)), m.put("pods", pod("c", "10.1.0.3", at=EARLY))),
        EARLY,
    ),
    "a pod goes": (lambda m: m.put("pods", pod("a", "10.1.0.1", terminating=True)), ""),
    "ports": (lambda m: m.put("services", service(ports=[{"port": 1, "targetPort": 2}])), ""),
}


@pytest.mark.parametrize(("change", "trigger"), TRIGGERS.values(), ids=TRIGGERS)
def test_when_the_change_was_made(change: Callable[[ModelStore], Any], trigger: str) -> None:
    model = store()
    model.put("services", service())
    model.put("pods", POD)
    model.settle()
    change(model)
    model.settle()
    (made,) = model.all("endpointslices")
    assert made["metadata"].get("annotations", {}).get(LAST_CHANGE, "") == trigger


STEPS = st.one_of(
    st.tuples(
        st.just("pod"),
        st.integers(0, 8),
        st.fixed_dictionaries(
            {
                "ready": st.booleans(),
                "terminating": st.booleans(),
                "node": st.sampled_from(["node1", "node2", "node3"]),
                "app": st.sampled_from(["web", "web", "db"]),
                "port": st.sampled_from([8080, 9090]),
                "phase": st.sampled_from(["Running", "Running", "Failed"]),
            }
        ),
    ),
    st.tuples(st.just("no pod"), st.integers(0, 8), st.just({})),
    st.tuples(
        st.just("service"),
        st.integers(0, 1),
        st.fixed_dictionaries(
            {
                "selector": st.sampled_from([{"app": "web"}, {"app": "db"}]),
                "ipFamilies": st.sampled_from([["IPv4"], ["IPv6"], ["IPv4", "IPv6"]]),
                "publishNotReadyAddresses": st.booleans(),
                "trafficDistribution": st.sampled_from([None, "PreferClose", "PreferSameNode"]),
                "labels": st.sampled_from([{}, {"team": "blue"}]),
            }
        ),
    ),
    st.tuples(st.just("no node"), st.integers(1, 3), st.just({})),
    st.tuples(st.just("node"), st.integers(1, 3), st.just({})),
    st.tuples(st.just("no slice"), st.integers(0, 9), st.just({})),
    st.tuples(st.just("emptied slice"), st.integers(0, 9), st.just({})),
    st.tuples(st.just("rest"), st.just(0), st.just({})),
)


def play(model: ModelStore, what: str, number: int, options: dict[str, Any]) -> None:
    present = model.all("endpointslices")
    if what == "pod":
        model.put("pods", pod(f"p{number}", f"10.1.0.{number}", f"fd00::1:{number:x}", **options))
    elif what == "no pod":
        model.remove("pods", f"ns/p{number}")
    elif what == "service":
        model.put("services", service(f"s{number}", **options))
    elif what == "node":
        model.put("nodes", node(f"node{number}", "zone-c"))
    elif what == "no node":
        model.remove("nodes", f"node{number}")
    elif what == "no slice" and present:
        model.remove("endpointslices", f"ns/{present[number % len(present)]['metadata']['name']}")
    elif what == "emptied slice" and present:
        model.put("endpointslices", {**present[number % len(present)], "endpoints": None})
    elif what == "rest":
        model.settle()


def expected(model: ModelStore, owner: Body) -> list[tuple[Any, ...]]:
    """What a reader of the documentation would say stands in the slices of a Service."""
    rows = []
    spec = owner["spec"]
    for each in model.all("pods"):
        here = each["spec"]["nodeName"] in model.world.all("nodes") or spec["publishNotReadyAddresses"]
        if each["metadata"]["labels"] != spec["selector"] or each["status"]["phase"] == "Failed" or not here:
            continue
        ready = each["status"]["conditions"][0]["status"] == "True"
        going = "deletionTimestamp" in each["metadata"]
        port = each["spec"]["containers"][0]["ports"][0]["containerPort"]
        for ip, family in zip(each["status"]["podIPs"], ("IPv4", "IPv6"), strict=True):
            if family in spec["ipFamilies"]:
                conditions = (spec["publishNotReadyAddresses"] or (ready and not going), ready, going)
                rows.append((family, ip["ip"], port, conditions, each["metadata"]["uid"]))
    return sorted(rows)


@given(st.lists(STEPS, max_size=40))
def test_any_history_ends_with_the_right_slices(history: list[tuple[str, int, dict[str, Any]]]) -> None:
    model = store(3)
    for step in history:
        play(model, *step)
    model.settle()
    for owner in model.all("services"):
        rows = []
        of_it = [
            s
            for s in model.all("endpointslices")
            if s["metadata"]["labels"]["kubernetes.io/service-name"] == owner["metadata"]["name"]
        ]
        assert {one["addressType"] for one in of_it} == set(owner["spec"]["ipFamilies"])
        for one in of_it:
            assert len(one["endpoints"] or ()) <= 3
            assert one["metadata"]["labels"].get("team") == owner["metadata"]["labels"].get("team")
            for each in one["endpoints"] or ():
                (address,) = each["addresses"]
                states = tuple(each["conditions"][name] for name in ("ready", "serving", "terminating"))
                rows.append((one["addressType"], address, one["ports"][0]["port"], states, each["targetRef"]["uid"]))
        assert sorted(rows) == expected(model, owner)
    assert model.again(model.world.all("services")) == []

"""Slices of Endpoints written by hand. The real one is asked in tests/peers."""

from __future__ import annotations

from typing import Any

import pytest

from support.model_store import ModelStore
from support.service_objects import Body, endpoints, service
from svclab.controllers.mirroring import EndpointSliceMirroringController
from svclab.controllers.reduce import Create, Delete, Update

PORT = {"port": 80, "name": "http", "protocol": "TCP"}
SUBSET = {
    "addresses": [{"ip": "192.0.2.1", "hostname": "one"}],
    "notReadyAddresses": [{"ip": "192.0.2.2"}],
    "ports": [PORT],
}
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"


def shown(model: ModelStore) -> list[str]:
    """One line for each slice: family, address=ready@hostname …, ports."""
    lines = []
    for one in model.all("endpointslices"):
        endpoints_ = [
            "".join([*each["addresses"], "+" if each["conditions"]["ready"] else "-", each.get("hostname", "")])
            for each in one["endpoints"]
        ]
        ports = [f"{port['name']}:{port['port']}/{port['protocol']}" for port in one["ports"]]
        lines.append(" ".join([one["addressType"], *endpoints_, *ports]))
    return sorted(lines)


ONE = ["IPv4 192.0.2.1+one 192.0.2.2- http:80/TCP"]

MIRRORED: dict[str, tuple[Body | None, Body, list[str]]] = {
    "ready and not": (service(selector=None), endpoints("web", SUBSET), ONE),
    "two families": (
        service(selector=None),
        endpoints("web", {"addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}], "ports": [PORT]}),
        ["IPv4 192.0.2.1+ http:80/TCP", "IPv6 2001:db8::1+ http:80/TCP"],
    ),
    "a slice for each set of ports, in which an address says the same": (
        service(selector=None),
        endpoints("web", SUBSET, {"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 9, "protocol": "UDP"}]}),
        ["IPv4 192.0.2.1+one :9/UDP", *ONE],
    ),
    "no ports": (service(selector=None), endpoints("web", {"addresses": [{"ip": "192.0.2.1"}]}), ["IPv4 192.0.2.1+"]),
    "no addresses": (service(selector=None), endpoints("web"), []),
    "no Service": (None, endpoints("web", SUBSET), []),
    "a Service with a selector": (service(), endpoints("web", SUBSET), []),
    "skipped": (service(selector=None), endpoints("web", SUBSET, labels={SKIP: "true"}), []),
    "not skipped": (service(selector=None), endpoints("web", SUBSET, labels={SKIP: "false"}), ONE),
    "a leader's": (service(selector=None), endpoints("web", SUBSET, annotations={LEADER: "{}"}), []),
}


@pytest.mark.parametrize(("owner", "source", "expected"), MIRRORED.values(), ids=MIRRORED)
def test_mirrored(owner: Body | None, source: Body, expected: list[str]) -> None:
    model = ModelStore(EndpointSliceMirroringController())
    model.put("endpoints", source)
    if owner is not None:
        model.put("services", owner)
    model.settle()
    assert shown(model) == sorted(expected)
    assert model.again(["ns/web"]) == []


def ready_store() -> ModelStore:
    model = ModelStore(EndpointSliceMirroringController())
    model.put("services", service(selector=None))
    model.put("endpoints", endpoints("web", SUBSET, labels={"a": "b"}))
    model.settle()
    return model


def test_metadata() -> None:
    last_change, applied = (
        "endpoints.kubernetes.io/last-change-trigger-time",
        "kubectl.kubernetes.io/last-applied-configuration",
    )
    model = ready_store()
    source = model.put(
        "endpoints", endpoints("web", SUBSET, labels={"a": "b"}, annotations={"c": "d", last_change: "", applied: ""})
    )
    model.settle()
    (made,) = model.all("endpointslices")
    assert made["metadata"]["labels"] == {
        "a": "b",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
    }
    assert made["metadata"]["annotations"] == {"c": "d"}
    assert [(one["kind"], one["uid"]) for one in made["metadata"]["ownerReferences"]] == [
        ("Endpoints", source["metadata"]["uid"])
    ]


OTHER = {"addresses": [{"ip": "192.0.2.9"}], "ports": [{"port": 1}]}
LABELS = {"labels": {"a": "b"}}

CHANGES: dict[str, tuple[Any, list[type]]] = {
    "nothing": (lambda m: m.put("endpoints", endpoints("web", SUBSET, **LABELS)), []),
    "addresses": (
        lambda m: m.put("endpoints", endpoints("web", {**SUBSET, "notReadyAddresses": []}, **LABELS)),
        [Update],
    ),
    "other ports: the slice is used again": (lambda m: m.put("endpoints", endpoints("web", OTHER, **LABELS)), [Update]),
    "one subset more": (lambda m: m.put("endpoints", endpoints("web", SUBSET, OTHER, **LABELS)), [Create]),
    "labels": (lambda m: m.put("endpoints", endpoints("web", SUBSET)), [Update]),
    "annotations": (lambda m: m.put("endpoints", endpoints("web", SUBSET, annotations={"x": "y"}, **LABELS)), [Update]),
    "skipped from now on": (lambda m: m.put("endpoints", endpoints("web", SUBSET, labels={SKIP: "true"})), [Delete]),
    "a selector": (lambda m: m.put("services", service()), [Delete]),
    "the Endpoints go": (lambda m: m.remove("endpoints", "ns/web"), [Delete]),
    "the Service goes": (lambda m: m.remove("services", "ns/web"), [Delete]),
    "somebody deletes the slice": (
        lambda m: m.remove("endpointslices", f"ns/{m.all('endpointslices')[0]['metadata']['name']}"),
        [Create],
    ),
    "somebody empties the slice": (
        lambda m: m.put("endpointslices", {**m.all("endpointslices")[0], "endpoints": None}),
        [Update],
    ),
}


@pytest.mark.parametrize(("change", "writes"), CHANGES.values(), ids=CHANGES)
def test_changes(change: Any, writes: list[type]) -> None:
    model = ready_store()
    change(model)
    assert [type(write) for write in model.settle()] == writes
    assert model.again(["ns/web"]) == []


def test_what_cannot_be_mirrored_is_told() -> None:
    model = ModelStore(EndpointSliceMirroringController())
    many = [{"ip": f"10.0.{n >> 8}.{n & 255}"} for n in range(1003)]
    model.put("endpoints", endpoints("web", {"addresses": [{"ip": "nonsense"}, *many], "ports": [PORT]}))
    model.put("services", service(selector=None))
    model.settle()
    assert [len(one["endpoints"]) for one in model.all("endpointslices")] == [1000]
    assert {event.message for event in model.events} == {
        "A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. 4 addresses were skipped"
    }
    model.put("endpoints", endpoints("web", {"addresses": [{"ip": "10.0.0.1"}, {"ip": "nonsense"}], "ports": [PORT]}))
    model.settle()
    assert model.events[-1].message == "Skipped 1 invalid IP addresses when mirroring to EndpointSlices"

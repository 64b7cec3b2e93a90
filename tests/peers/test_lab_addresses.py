"""Addresses of LoadBalancers and ranges of nodes, given out by our controllers on a real kube-apiserver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peers.control_plane import ControlPlane
from peers.our_controllers import running_controllers
from support.waiting import eventually
from svclab.controllers.loadbalancer import LoadBalancerController
from svclab.controllers.nodeipam import NodeIpamController

pytestmark = pytest.mark.peers

POOL = ("192.0.2.1", "192.0.2.2")


@pytest.fixture(scope="module")
def plane(binaries: Path) -> Iterator[ControlPlane]:
    with ControlPlane(binaries, controllers=()) as running:
        yield running


def controllers() -> tuple[LoadBalancerController, NodeIpamController]:
    return LoadBalancerController("-".join(POOL)), NodeIpamController("10.244.0.0/22", 24)


def balanced(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"port": 80}]
    return {"metadata": {"name": name}, "spec": {"type": "LoadBalancer", "ports": ports, **spec}}


def ingress(plane: ControlPlane, name: str) -> Any:
    return plane.get(f"/api/v1/namespaces/default/services/{name}")["status"]["loadBalancer"].get("ingress", [])


def shown(plane: ControlPlane, name: str) -> list[str]:
    return [one["ip"] for one in ingress(plane, name)]


def told(plane: ControlPlane, name: str) -> set[str]:
    events = plane.get("/api/v1/namespaces/default/events")["items"]
    return {one["message"] for one in events if one["involvedObject"]["name"] == name}


def test_load_balancers(plane: ControlPlane) -> None:
    services = "/api/v1/namespaces/default/services"
    with running_controllers(plane, *controllers()):
        plane.request("POST", services, balanced("wish", loadBalancerIP=POOL[1]))
        eventually(lambda: shown(plane, "wish") == [POOL[1]], "the wish is granted")
        assert ingress(plane, "wish") == [{"ip": POOL[1], "ipMode": "VIP"}]
        plane.request("POST", services, balanced("first"))
        plane.request("POST", services, balanced("late"))
        eventually(lambda: shown(plane, "first") == [POOL[0]], "the other address is given")
        eventually(lambda: any("all addresses of the pool" in said for said in told(plane, "late")), "it is told")
        plane.request("POST", services, balanced("other", loadBalancerClass="example.com/other"))
    with running_controllers(plane, *controllers()):  # what was given is read off the objects
        wish = plane.get(f"{services}/wish")
        wish["spec"] |= {"type": "ClusterIP"}
        plane.request("PUT", f"{services}/wish", wish)
        eventually(lambda: shown(plane, "late") == [POOL[1]], "who waited gets what came free")
        assert (shown(plane, "wish"), shown(plane, "first"), shown(plane, "other")) == ([], [POOL[0]], [])
        plane.request("DELETE", f"{services}/first")
        plane.request("POST", services, balanced("next"))
        eventually(lambda: shown(plane, "next") == [POOL[0]], "a deleted Service's address is given again")


def test_node_ranges(plane: ControlPlane) -> None:
    def ranges() -> dict[str, list[str]]:
        nodes = plane.get("/api/v1/nodes")["items"]
        return {one["metadata"]["name"]: one["spec"].get("podCIDRs", []) for one in nodes}

    plane.add_node("had", ["192.0.2.9"], ["10.244.1.0/24"])
    plane.add_node("early", ["192.0.2.9"])
    with running_controllers(plane, *controllers()):
        eventually(lambda: all(ranges().values()), "all nodes have one")
        for number in range(2):
            plane.add_node(f"late{number}", ["192.0.2.9"])
        eventually(lambda: all(ranges().values()), "the new ones, too")
        assert sorted(map(str, ranges().values())) == sorted(f"['10.244.{n}.0/24']" for n in range(4))
        assert ranges()["had"] == ["10.244.1.0/24"]
        plane.add_node("one-too-many", ["192.0.2.9"])
        said = "Node one-too-many status is now: CIDRNotAvailable"
        eventually(lambda: said in told(plane, "one-too-many"), "it is told")
        plane.request("DELETE", "/api/v1/nodes/early")
        eventually(lambda: ranges()["one-too-many"] == ["10.244.0.0/24"], "it gets what came free")

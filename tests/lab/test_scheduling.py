"""Where the scheduler puts pods, and what it says when it cannot."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from support.modelled import Modelled
from svclab.controllers.scheduler import Scheduler

Body = dict[str, Any]
TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


def node(name: str, ready: str = "True", labels: Body | None = None, pods: str = "", **spec: Any) -> Body:
    status: Body = {"conditions": [{"type": "Ready", "status": ready}]}
    if pods:
        status["allocatable"] = {"pods": pods}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec, "status": status}


def pod(name: str, owner: str = "", **spec: Any) -> Body:
    metadata: Body = {"name": name, "namespace": "shop"}
    if owner:
        metadata["ownerReferences"] = [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "controller": True}
        ]
    return {"metadata": metadata, "spec": spec}


def scheduled(nodes: list[Body], pods: list[Body]) -> Modelled:
    cluster = Modelled([Scheduler()])
    for each in nodes:
        cluster.add("nodes", each)
    for each in pods:
        cluster.add("pods", each)
        cluster.settle()
    return cluster


def place_of(cluster: Modelled, name: str) -> str:
    return str(cluster.world.tables["pods"][f"shop/{name}"]["spec"].get("nodeName", ""))


def ports(*numbers: int, ip: str = "") -> list[Body]:
    listed = [{"containerPort": 80, "hostPort": number, **({"hostIP": ip} if ip else {})} for number in numbers]
    return [{"name": "c", "ports": listed}]


def affinity(key: str, operator: str, *values: str, field: bool = False) -> Body:
    term = {"matchFields" if field else "matchExpressions": [{"key": key, "operator": operator, "values": [*values]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


NAMED_N2 = affinity("metadata.name", "In", "n2", field=True)
PLACES = [
    ("the first by name", [node("n2"), node("n1")], pod("p"), "n1"),
    ("not a cordoned one", [node("n1", unschedulable=True), node("n2")], pod("p"), "n2"),
    (
        "a cordon tolerated",
        [node("n1", unschedulable=True)],
        pod("p", tolerations=[{"operator": "Exists"}]),
        "n1",
    ),
    ("not one that is not ready", [node("n1", ready="False"), node("n2")], pod("p"), "n2"),
    ("not one that is silent", [node("n1", ready="Unknown"), node("n2")], pod("p"), "n2"),
    ("not a tainted one", [node("n1", taints=[TAINT]), node("n2")], pod("p"), "n2"),
    (
        "a taint tolerated by value",
        [node("n1", taints=[TAINT])],
        pod("p", tolerations=[{"key": "gpu", "value": "yes"}]),
        "n1",
    ),
    (
        "a taint not tolerated by another value",
        [node("n1", taints=[TAINT])],
        pod("p", tolerations=[{"key": "gpu", "value": "no"}]),
        "",
    ),
    (
        "a taint not tolerated for another effect",
        [node("n1", taints=[TAINT])],
        pod("p", tolerations=[{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}]),
        "",
    ),
    (
        "a preference is no taint",
        [node("n1", taints=[{"key": "a", "effect": "PreferNoSchedule"}])],
        pod("p"),
        "n1",
    ),
    ("node selector", [node("n1"), node("n2", labels={"disk": "ssd"})], pod("p", nodeSelector={"disk": "ssd"}), "n2"),
    ("affinity In", [node("n1"), node("n2", labels={"d": "a"})], pod("p", affinity=affinity("d", "In", "a")), "n2"),
    (
        "affinity NotIn",
        [node("n1", labels={"d": "a"}), node("n2")],
        pod("p", affinity=affinity("d", "NotIn", "a")),
        "n2",
    ),
    ("affinity Gt", [node("n1", labels={"d": "3"})], pod("p", affinity=affinity("d", "Gt", "2")), "n1"),
    ("affinity to a name", [node("n1"), node("n2")], pod("p", affinity=NAMED_N2), "n2"),
    ("another scheduler's", [node("n1")], pod("p", schedulerName="mine"), ""),
    ("gated", [node("n1")], pod("p", schedulingGates=[{"name": "wait"}]), ""),
    ("the node is given", [node("n1")], pod("p", nodeName="nowhere"), "nowhere"),
]


@pytest.mark.parametrize(("nodes", "one", "place"), [row[1:] for row in PLACES], ids=[row[0] for row in PLACES])
def test_place(nodes: list[Body], one: Body, place: str) -> None:
    assert place_of(scheduled(nodes, [one]), "p") == place


def test_pods_of_an_owner_are_spread_whatever_else_runs() -> None:
    others = [pod(f"other{number}", nodeName="n1") for number in range(5)]
    mine = [pod(f"mine{number}", owner="rs") for number in range(6)]
    cluster = scheduled([node("n1"), node("n2"), node("n3")], [*others, *mine])
    assert Counter(place_of(cluster, f"mine{number}") for number in range(6)) == {"n1": 2, "n2": 2, "n3": 2}
    assert place_of(cluster, "mine0") == "n2"  # where fewer pods run at all


PORTS = [
    ("taken", ports(80), ports(80), ""),
    ("another number", ports(80), ports(81), "n1"),
    ("another address", ports(80, ip="192.0.2.1"), ports(80, ip="192.0.2.2"), "n1"),
    ("every address", ports(80, ip="192.0.2.1"), ports(80), ""),
]


@pytest.mark.parametrize(("taken", "wanted", "place"), [row[1:] for row in PORTS], ids=[row[0] for row in PORTS])
def test_host_ports(taken: list[Body], wanted: list[Body], place: str) -> None:
    cluster = scheduled([node("n1")], [pod("a", containers=taken), pod("b", containers=wanted)])
    assert place_of(cluster, "b") == place


def test_what_is_said_of_a_pod_without_a_node_and_that_it_is_said_once() -> None:
    nodes = [node("n1", taints=[TAINT]), node("n2", unschedulable=True), node("n3", pods="0")]
    cluster = scheduled(nodes, [pod("p")])
    message = (
        "0/3 nodes are available: 1 Too many pods, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. "
        "no new claims to deallocate, preemption: 0/3 nodes are available: "
        "1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."
    )
    assert cluster.records == [("FailedScheduling", message)]
    said = cluster.world.tables["pods"]["shop/p"]["status"]["conditions"]
    assert [(one["type"], one["status"], one["reason"], one["message"]) for one in said] == [
        ("PodScheduled", "False", "Unschedulable", message)
    ]
    cluster.change("nodes", "n2", {"metadata": {"labels": {"a": "b"}}})
    cluster.settle()
    assert len(cluster.records) == 1
    cluster.change("nodes", "n2", {"spec": {"unschedulable": None}})
    cluster.settle()
    assert place_of(cluster, "p") == "n2"


def test_without_nodes() -> None:
    assert scheduled([], [pod("p")]).records == [("FailedScheduling", "no nodes available to schedule pods")]


def test_a_pod_that_waits_for_a_port_gets_it_when_it_is_free() -> None:
    cluster = scheduled([node("n1")], [pod("a", containers=ports(80)), pod("b", containers=ports(80))])
    cluster.remove("pods", "shop/a", grace=0)
    cluster.settle()
    assert place_of(cluster, "b") == "n1"


def test_a_heartbeat_wakes_nobody() -> None:
    cluster = scheduled([node("n1", unschedulable=True)], [pod("p")])
    before = cluster.writes
    heard = [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-11-21T12:00:00Z"}]
    cluster.change("nodes", "n1", {"status": {"conditions": heard}})
    cluster.settle()
    assert cluster.writes == before

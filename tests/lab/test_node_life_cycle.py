"""Nodes that fall silent, what becomes of their pods, and which pods are removed for good."""

from __future__ import annotations

from typing import Any

import pytest

from support.modelled import Modelled
from svclab.controllers.eviction import PodGarbageCollector, TaintEvictionController
from svclab.controllers.moments import micro_stamp, stamp
from svclab.controllers.nodelifecycle import NodeLifecycleController

Body = dict[str, Any]
NOW = 1_800_000_000.0
GRACE = 10.0
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
TOLERATIONS = [
    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for key in (NOT_READY, UNREACHABLE)
]


def node(ready: str = "True", **spec: Any) -> Body:
    conditions = [{"type": "Ready", "status": ready, "lastHeartbeatTime": stamp(NOW)}]
    return {"metadata": {"name": "n1"}, "spec": spec, "status": {"conditions": conditions}}


def pod(name: str = "p", **spec: Any) -> Body:
    wanted = {"nodeName": "n1", "tolerations": TOLERATIONS, **spec}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp(NOW)}
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": wanted,
        "status": {"phase": "Running", "conditions": [ready]},
    }


def lease(moment: float) -> Body:
    return {"metadata": {"name": "n1", "namespace": "kube-node-lease"}, "spec": {"renewTime": micro_stamp(moment)}}


def cluster_of(*bodies: tuple[str, Body]) -> Modelled:
    controllers = [NodeLifecycleController(GRACE, NOW), TaintEvictionController(), PodGarbageCollector()]
    cluster = Modelled(controllers, NOW)
    for resource, body in bodies:
        cluster.add(resource, body)
    cluster.settle()
    return cluster


def taints(cluster: Modelled) -> list[tuple[str, str]]:
    return [(one["key"], one["effect"]) for one in cluster.world.tables["nodes"]["n1"]["spec"].get("taints") or ()]


def ready_of(cluster: Modelled, resource: str, key: str) -> str:
    conditions = cluster.world.tables[resource][key]["status"]["conditions"]
    return str(next(one["status"] for one in conditions if one["type"] == "Ready"))


TAINTS = [
    ("ready", node(), []),
    ("not ready", node("False"), [(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
    ("cordoned", node(unschedulable=True), [("node.kubernetes.io/unschedulable", "NoSchedule")]),
    ("stale taints go", node(taints=[{"key": NOT_READY, "effect": "NoSchedule"}]), []),
    (
        "somebody else's stay",
        node(taints=[{"key": "gpu", "effect": "NoSchedule"}, {"key": UNREACHABLE, "effect": "NoExecute"}]),
        [("gpu", "NoSchedule")],
    ),
]


@pytest.mark.parametrize(("one", "expected"), [row[1:] for row in TAINTS], ids=[row[0] for row in TAINTS])
def test_taints(one: Body, expected: list[tuple[str, str]]) -> None:
    assert taints(cluster_of(("nodes", one))) == expected


def test_a_silent_node_is_unreachable_and_its_pods_are_not_ready() -> None:
    cluster = cluster_of(("nodes", node()), ("leases", lease(NOW)), ("pods", pod()))
    cluster.pass_time(GRACE - 0.5)
    assert ready_of(cluster, "nodes", "n1") == "True"
    cluster.pass_time(1)
    assert taints(cluster) == [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]
    said = cluster.world.tables["nodes"]["n1"]["status"]["conditions"]
    assert {(one["type"], one["status"], one["reason"]) for one in said} == {
        ("Ready", "Unknown", "NodeStatusUnknown"),
        *((name, "Unknown", "NodeStatusNeverUpdated") for name in ("MemoryPressure", "DiskPressure", "PIDPressure")),
    }
    assert ready_of(cluster, "pods", "shop/p") == "False"
    assert ("NodeNotReady", "Node n1 status is now: NodeNotReady") in cluster.records
    cluster.pass_time(200)
    assert not cluster.world.tables["pods"]["shop/p"]["metadata"].get("deletionTimestamp")
    cluster.pass_time(101)
    assert cluster.world.tables["pods"]["shop/p"]["metadata"]["deletionTimestamp"]
    assert ("TaintManagerEviction", "Marking for deletion Pod shop/p") in cluster.records
    cluster.pass_time(1000)
    assert "shop/p" in cluster.world.tables["pods"], "nobody ends a pod on a dead node"


def test_nodes_that_come_and_go_are_told() -> None:
    cluster = cluster_of(("nodes", node()))
    cluster.change("nodes", "n1", {"metadata": {"labels": {"a": "b"}}})
    cluster.remove("nodes", "n1")
    cluster.settle()
    assert cluster.records == [
        ("RegisteredNode", "Node n1 event: Registered Node n1 in Controller"),
        ("RemovingNode", "Node n1 event: Removing Node n1 from Controller"),
    ]


def test_a_lease_keeps_a_node_alive() -> None:
    cluster = cluster_of(("nodes", node()), ("leases", lease(NOW)))
    for _ in range(5):
        cluster.pass_time(GRACE * 0.8)
        cluster.change("leases", "kube-node-lease/n1", {"spec": {"renewTime": micro_stamp(cluster.now)}})
        cluster.settle()
    assert taints(cluster) == []


def test_controllers_that_were_away_do_not_blame_the_nodes() -> None:
    cluster = Modelled([NodeLifecycleController(GRACE, started=NOW + 1000)], NOW + 1000)
    cluster.add("nodes", node())
    cluster.settle()
    assert taints(cluster) == []
    cluster.pass_time(GRACE + 0.1)
    assert (UNREACHABLE, "NoExecute") in taints(cluster)


def test_a_node_that_comes_back_keeps_its_pods() -> None:
    cluster = cluster_of(("nodes", node()), ("pods", pod()))
    cluster.pass_time(GRACE + 1)
    heard = [{"type": "Ready", "status": "True", "lastHeartbeatTime": stamp(cluster.now)}]
    cluster.change("nodes", "n1", {"status": {"conditions": heard}})
    cluster.settle()
    assert taints(cluster) == []
    cluster.pass_time(1)
    cluster.add("leases", lease(cluster.now + 1000))
    cluster.pass_time(400)
    assert not cluster.world.tables["pods"]["shop/p"]["metadata"].get("deletionTimestamp")


EVICTIONS = [
    ("tolerated for a while", TOLERATIONS, 299.0, False),
    ("tolerated no longer", TOLERATIONS, 301.0, True),
    ("not tolerated", [], 0.0, True),
    ("tolerated for ever", [{"operator": "Exists"}], 9999.0, False),
    ("the shortest counts", [*TOLERATIONS, {"operator": "Exists", "tolerationSeconds": 5}], 6.0, True),
]


@pytest.mark.parametrize(
    ("tolerations", "after", "gone"), [row[1:] for row in EVICTIONS], ids=[row[0] for row in EVICTIONS]
)
def test_eviction(tolerations: list[Body], after: float, gone: bool) -> None:
    cluster = cluster_of(("nodes", node("False")), ("leases", lease(NOW + 1e6)), ("pods", pod(tolerations=tolerations)))
    cluster.pass_time(after)
    one = cluster.world.tables["pods"]["shop/p"]
    assert bool(one["metadata"].get("deletionTimestamp")) == gone
    targets = [each["reason"] for each in one["status"]["conditions"] if each["type"] == "DisruptionTarget"]
    assert targets == (["DeletionByTaintManager"] if gone else [])


def test_pods_of_a_node_that_is_gone_are_removed_after_a_while() -> None:
    cluster = cluster_of(("nodes", node()), ("leases", lease(NOW + 1e6)), ("pods", pod()), ("pods", pod("q")))
    cluster.remove("pods", "shop/q")
    cluster.remove("nodes", "n1")
    cluster.settle()
    cluster.pass_time(39)
    assert set(cluster.world.tables["pods"]) == {"shop/p", "shop/q"}
    cluster.pass_time(2)
    assert not cluster.world.tables["pods"]


def test_a_node_that_is_made_again_keeps_its_pods() -> None:
    cluster = cluster_of(("nodes", node()), ("leases", lease(NOW + 1e6)), ("pods", pod()))
    cluster.remove("nodes", "n1")
    cluster.pass_time(20)
    cluster.add("nodes", node())
    cluster.settle()
    cluster.pass_time(60)
    assert set(cluster.world.tables["pods"]) == {"shop/p"}


def test_a_deleted_pod_without_a_node_is_removed() -> None:
    one = pod(nodeName="")
    one["metadata"] |= {"deletionTimestamp": stamp(NOW), "deletionGracePeriodSeconds": 30}
    assert not cluster_of(("pods", one)).world.tables["pods"]

"""Objects that go with their owners, and namespaces from the first ServiceAccount to the last object."""

from __future__ import annotations

from typing import Any

import pytest

from support.modelled import Modelled
from svclab.controllers.garbage import GarbageCollector
from svclab.controllers.namespaces import NamespaceController, RootCaController, ServiceAccountController
from svclab.controllers.reduce import Delete

Body = dict[str, Any]


def owned(name: str, *owners: str, kind: str = "Deployment", **more: Any) -> Body:
    references = [
        {"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": owner, "blockOwnerDeletion": True}
        for owner in owners
    ]
    return {"metadata": {"name": name, "namespace": "shop", "uid": name, "ownerReferences": references, **more}}


def family(*, finalizers: tuple[str, ...] = ()) -> Modelled:
    """A Deployment `d`, its ReplicaSet `rs`, that one's unbound pod `p`."""
    cluster = Modelled([GarbageCollector()])
    cluster.add("deployments", {"metadata": {"name": "d", "namespace": "shop", "uid": "d"}})
    cluster.add("replicasets", owned("rs", "d", finalizers=list(finalizers)))
    cluster.add("pods", {**owned("p", "rs", kind="ReplicaSet"), "spec": {}})
    cluster.settle()
    return cluster


def left(cluster: Modelled) -> set[str]:
    return {key for table in cluster.world.tables.values() for key in table}


@pytest.mark.parametrize(
    ("propagation", "expected"),
    [("Background", set()), ("Foreground", set()), ("Orphan", {"shop/rs", "shop/p"})],
    ids=["background", "foreground", "orphan"],
)
def test_three_ways_to_go(propagation: str, expected: set[str]) -> None:
    cluster = family()
    assert cluster.writes == 0
    cluster.remove("deployments", "shop/d", propagation)
    cluster.settle()
    assert left(cluster) == expected
    if expected:
        assert not cluster.world.tables["replicasets"]["shop/rs"]["metadata"].get("ownerReferences")
        assert cluster.world.tables["pods"]["shop/p"]["metadata"]["ownerReferences"]


def test_in_the_foreground_the_owner_goes_last() -> None:
    cluster = family(finalizers=("example.org/hold",))
    cluster.remove("deployments", "shop/d", "Foreground")
    cluster.settle()
    assert left(cluster) == {"shop/d", "shop/rs"}
    cluster.change("replicasets", "shop/rs", {"metadata": {"finalizers": None}})
    cluster.settle()
    assert left(cluster) == set()


OWNERS = [
    ("gone", owned("x", "gone"), False),
    ("one of two is there", owned("x", "gone", "d"), True),
    ("of a kind we do not know", owned("x", "gone", kind="StatefulSet"), True),
    ("of the same name, another uid", owned("x", "other"), False),
]


@pytest.mark.parametrize(("body", "stays"), [row[1:] for row in OWNERS], ids=[row[0] for row in OWNERS])
def test_owners(body: Body, stays: bool) -> None:
    cluster = family()
    cluster.add("configmaps", body)
    cluster.settle()
    assert ("shop/x" in cluster.world.tables["configmaps"]) == stays
    if stays and len(body["metadata"]["ownerReferences"]) == 2:
        there = cluster.world.tables["configmaps"]["shop/x"]["metadata"]["ownerReferences"]
        assert [one["uid"] for one in there] == ["d"]


def test_the_server_is_asked_before_a_dependent_goes() -> None:
    cluster = family()
    cluster.add("configmaps", owned("x", "gone"))
    outcome = GarbageCollector().reconcile("configmaps|shop/x", cluster.world, cluster.now)
    assert [one.absent for one in outcome.writes if isinstance(one, Delete)] == [
        (("deployments", "shop/gone", "gone"),)
    ]


def towns() -> Modelled:
    cluster = Modelled([NamespaceController(), ServiceAccountController(), RootCaController("PEM")])
    cluster.add("namespaces", {"metadata": {"name": "shop"}})
    cluster.settle()
    return cluster


def test_what_a_namespace_gets_and_keeps() -> None:
    cluster = towns()
    assert set(cluster.world.tables["serviceaccounts"]) == {"shop/default"}
    assert cluster.world.tables["configmaps"]["shop/kube-root-ca.crt"]["data"] == {"ca.crt": "PEM"}
    cluster.remove("serviceaccounts", "shop/default")
    cluster.change("configmaps", "shop/kube-root-ca.crt", {"data": {"ca.crt": "other", "more": "x"}})
    cluster.settle()
    assert set(cluster.world.tables["serviceaccounts"]) == {"shop/default"}
    assert cluster.world.tables["configmaps"]["shop/kube-root-ca.crt"]["data"] == {"ca.crt": "PEM"}


def test_a_namespace_goes_when_it_is_empty() -> None:
    cluster = towns()
    cluster.add("pods", {"metadata": {"name": "p", "namespace": "shop"}, "spec": {"nodeName": "n1"}})
    cluster.add("configmaps", {"metadata": {"name": "c", "namespace": "other"}})
    cluster.remove("namespaces", "shop")
    cluster.settle()
    assert left(cluster) == {"shop", "shop/p", "other/c"}
    assert cluster.world.tables["pods"]["shop/p"]["metadata"]["deletionTimestamp"]
    cluster.remove("pods", "shop/p", grace=0)
    cluster.settle()
    assert left(cluster) == {"other/c"}

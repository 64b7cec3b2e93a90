"""ReplicaSets and Deployments in a modelled cluster: what they make of it, and that they come to rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.modelled import Modelled, wanting_nothing
from svclab.controllers import rollout
from svclab.controllers.deployment import HISTORY, REVISION, DeploymentController
from svclab.controllers.garbage import GarbageCollector
from svclab.controllers.moments import stamp
from svclab.controllers.pods import is_active, surplus
from svclab.controllers.reduce import Create
from svclab.controllers.replicaset import ReplicaSetController

Body = dict[str, Any]


def template(image: str = "one") -> Body:
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}


def replicaset(replicas: int = 3, **spec: Any) -> Body:
    selector = {"matchLabels": {"app": "web"}}
    wanted = {"replicas": replicas, "selector": selector, "template": template(), **spec}
    return {"metadata": {"name": "web", "namespace": "shop"}, "spec": wanted}


def deployment(replicas: int = 4, surge: Any = 1, unavailable: Any = 1, **spec: Any) -> Body:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    defaults = {"progressDeadlineSeconds": 600, "revisionHistoryLimit": 10}
    return replicaset(replicas, strategy=strategy, **{**defaults, **spec})


def pod(name: str, *, node: str = "n1", ready: float | None = 0.0, age: float = 100.0, **more: Any) -> Body:
    """`ready` is for how long, in seconds; None: it is not."""
    now = 1_800_000_000.0
    conditions = (
        [] if ready is None else [{"type": "Ready", "status": "True", "lastTransitionTime": stamp(now - ready)}]
    )
    status = {"phase": more.pop("phase", "Running"), "conditions": conditions}
    if restarts := more.pop("restarts", 0):
        status["containerStatuses"] = [{"restartCount": restarts}]
    metadata = {"name": name, "namespace": "shop", "uid": name, "labels": {"app": "web"}, **more}
    return {
        "metadata": {**metadata, "creationTimestamp": stamp(now - age)},
        "spec": {"nodeName": node} if node else {},
        "status": status,
    }


def serve(cluster: Modelled) -> bool:
    """The kubelets' part: pods become ready, deleted ones go. Whether there was anything to do."""
    busy = False
    for one in cluster.all("pods"):
        key = f"shop/{one['metadata']['name']}"
        if one["metadata"].get("deletionTimestamp"):
            cluster.remove("pods", key, grace=0)
            busy = True
        elif not (one["status"].get("conditions") or ()):
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp(cluster.now)}
            cluster.change("pods", key, {"spec": {"nodeName": "n1"}, "status": {"conditions": [ready]}})
            busy = True
    cluster.settle()
    return busy


def finish(cluster: Modelled) -> None:
    cluster.settle()
    for _ in range(100):
        if not serve(cluster):
            return
    raise AssertionError("the rollout does not end")


def workloads() -> Modelled:
    return Modelled([DeploymentController(), ReplicaSetController(), GarbageCollector()])


def active(cluster: Modelled) -> list[Body]:
    return [one for one in cluster.all("pods") if is_active(one)]


# ReplicaSet

ORDER = [
    ("unbound before bound", pod("a"), pod("b", node="", ready=None)),
    ("pending before running", pod("a", ready=None), pod("b", ready=None, phase="Pending")),
    ("not ready before ready", pod("a"), pod("b", ready=None)),
    (
        "the cheaper one",
        pod("a", annotations={"controller.kubernetes.io/pod-deletion-cost": "5"}),
        pod("b", annotations={"controller.kubernetes.io/pod-deletion-cost": "-5"}),
    ),
    ("ready for the shorter time", pod("a", ready=90.0), pod("b", ready=9.0)),
    ("more restarts", pod("a"), pod("b", restarts=3)),
    ("the younger one", pod("a", age=900.0), pod("b", age=9.0)),
    ("of the same age the lower uid", pod("b2"), pod("b")),
]


@pytest.mark.parametrize(("stays", "goes"), [row[1:] for row in ORDER], ids=[row[0] for row in ORDER])
def test_which_pod_goes_first(stays: Body, goes: Body) -> None:
    for pods in ([stays, goes], [goes, stays]):
        assert surplus(pods, [], 1, 1_800_000_000.0) == [goes]


def test_the_pod_in_the_crowd_goes_first() -> None:
    pods = [pod("a", node="n1"), pod("b", node="n2"), pod("c", node="n2")]
    assert surplus(pods, pods, 1, 1_800_000_000.0) == [pods[1]]


@pytest.mark.parametrize(("before", "after"), [(0, 3), (3, 0), (5, 2), (3, 3)])
def test_replicas_are_kept(before: int, after: int) -> None:
    cluster = workloads()
    cluster.add("replicasets", replicaset(before))
    finish(cluster)
    cluster.change("replicasets", "shop/web", {"spec": {"replicas": after}})
    finish(cluster)
    assert len(cluster.all("pods")) == after
    status = cluster.world.tables["replicasets"]["shop/web"]["status"]
    assert status.get("readyReplicas", 0) == status.get("availableReplicas", 0) == status["replicas"] == after
    assert status["observedGeneration"] == cluster.world.tables["replicasets"]["shop/web"]["metadata"]["generation"]


def test_a_pod_without_our_labels_is_released_and_replaced_and_adopted_again() -> None:
    cluster = workloads()
    cluster.add("replicasets", replicaset(2))
    finish(cluster)
    name = cluster.all("pods")[0]["metadata"]["name"]
    cluster.change("pods", f"shop/{name}", {"metadata": {"labels": {"app": "lost"}}})
    finish(cluster)
    lost = cluster.world.tables["pods"][f"shop/{name}"]
    assert not lost["metadata"].get("ownerReferences")
    assert len(cluster.all("pods")) == 3
    cluster.change("pods", f"shop/{name}", {"metadata": {"labels": {"app": "web"}}})
    finish(cluster)
    assert len(cluster.all("pods")) == 2
    assert all(one["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet" for one in cluster.all("pods"))


def test_pods_of_somebody_else_are_left_alone() -> None:
    cluster = workloads()
    other = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "d", "controller": True}
    cluster.add("pods", pod("theirs", ownerReferences=[other]))
    cluster.add("replicasets", replicaset(1))
    finish(cluster)
    assert cluster.world.tables["pods"]["shop/theirs"]["metadata"]["ownerReferences"] == [other]
    assert len(cluster.all("pods")) == 2


def test_min_ready_seconds_make_a_pod_available_later() -> None:
    cluster = workloads()
    cluster.add("replicasets", replicaset(1, minReadySeconds=10))
    finish(cluster)
    status = lambda: cluster.world.tables["replicasets"]["shop/web"]["status"]  # noqa: E731
    assert (status()["readyReplicas"], status().get("availableReplicas", 0)) == (1, 0)
    cluster.pass_time(9)
    assert status().get("availableReplicas", 0) == 0
    cluster.pass_time(1)
    assert status()["availableReplicas"] == 1


def test_a_refused_pod_is_told_and_forgotten_when_it_works_again() -> None:
    cluster = workloads()
    cluster.refuse = lambda write: "no room" if isinstance(write, Create) and write.resource == "pods" else ""
    cluster.add("replicasets", replicaset(1))
    cluster.settle()
    status = cluster.world.tables["replicasets"]["shop/web"]["status"]
    assert [(one["type"], one["reason"], one["message"]) for one in status["conditions"]] == [
        ("ReplicaFailure", "FailedCreate", "no room")
    ]
    assert ("FailedCreate", "Error creating: no room") in cluster.records
    cluster.refuse = lambda write: ""
    cluster.change("replicasets", "shop/web", {"metadata": {"labels": {"a": "b"}}})
    finish(cluster)
    assert not cluster.world.tables["replicasets"]["shop/web"]["status"].get("conditions")
    assert len(cluster.all("pods")) == 1


# Deployment

FENCES = [
    ("numbers", 10, 3, 2, (3, 2)),
    ("percentages: surge up, unavailable down", 4, "30%", "30%", (2, 1)),
    ("defaults for one", 1, "25%", "25%", (1, 0)),
    ("never both zero", 3, 0, "25%", (0, 1)),
    ("not more unavailable than there are", 2, 0, 5, (0, 2)),
]


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"), [row[1:] for row in FENCES], ids=[row[0] for row in FENCES]
)
def test_fences(replicas: int, surge: Any, unavailable: Any, expected: tuple[int, int]) -> None:
    assert rollout.fences(deployment(replicas, surge, unavailable)) == expected


def sized(name: str, replicas: int, maximum: int, born: int) -> Body:
    annotations = {rollout.MAXIMUM: str(maximum)}
    return {
        "metadata": {"name": name, "annotations": annotations, "creationTimestamp": stamp(born)},
        "spec": {"replicas": replicas},
    }


PROPORTIONS = [
    ("up by shares", 20, [("old", 8, 11), ("new", 3, 11)], {"old": 15, "new": 6}),
    ("up, the newer of two equal ones gets the rest", 11, [("old", 5, 10), ("new", 5, 10)], {"old": 6, "new": 6}),
    ("down by shares", 5, [("old", 8, 11), ("new", 3, 11)], {"old": 4, "new": 2}),
    ("to nothing", 0, [("old", 8, 11), ("new", 3, 11)], {"old": 0, "new": 0}),
    ("nothing to do", 10, [("old", 8, 11), ("new", 3, 11)], {"old": 8, "new": 3}),
]


@pytest.mark.parametrize(
    ("replicas", "sizes", "expected"), [r[1:] for r in PROPORTIONS], ids=[r[0] for r in PROPORTIONS]
)
def test_proportions(replicas: int, sizes: list[tuple[str, int, int]], expected: dict[str, int]) -> None:
    active_sets = [sized(*row, born=number) for number, row in enumerate(sizes)]
    assert rollout.proportional(deployment(replicas), active_sets) == expected


def rolled_out(cluster: Modelled) -> Body:
    finish(cluster)
    one: Body = cluster.world.tables["deployments"]["shop/web"]
    return one


def set_image(cluster: Modelled, image: str) -> None:
    cluster.change("deployments", "shop/web", {"spec": {"template": template(image)}})


def images(cluster: Modelled) -> list[str]:
    return sorted(one["spec"]["containers"][0]["image"] for one in active(cluster))


def test_a_rollout_and_its_way_back() -> None:
    cluster = workloads()
    cluster.add("deployments", deployment(3))
    first = rolled_out(cluster)
    assert first["metadata"]["annotations"][REVISION] == "1"
    assert {one["type"]: one["reason"] for one in first["status"]["conditions"]} == {
        "Available": "MinimumReplicasAvailable",
        "Progressing": "NewReplicaSetAvailable",
    }
    set_image(cluster, "two")
    assert rolled_out(cluster)["metadata"]["annotations"][REVISION] == "2"
    assert images(cluster) == ["two"] * 3
    set_image(cluster, "one")
    assert rolled_out(cluster)["metadata"]["annotations"][REVISION] == "3"
    assert images(cluster) == ["one"] * 3
    again = next(one for one in cluster.all("replicasets") if one["spec"]["replicas"])
    assert (again["metadata"]["annotations"][REVISION], again["metadata"]["annotations"][HISTORY]) == ("3", "1")
    assert len(cluster.all("replicasets")) == 2


def test_recreate_never_mixes_versions() -> None:
    cluster = workloads()
    body = deployment(3)
    body["spec"]["strategy"] = {"type": "Recreate"}
    cluster.add("deployments", body)
    finish(cluster)
    set_image(cluster, "two")
    cluster.settle()
    while True:
        assert len({one["spec"]["containers"][0]["image"] for one in cluster.all("pods")}) <= 1
        if not serve(cluster):
            break
    assert images(cluster) == ["two"] * 3


def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    cluster = workloads()
    cluster.add("deployments", deployment(2))
    finish(cluster)
    cluster.change("deployments", "shop/web", {"spec": {"paused": True}})
    set_image(cluster, "two")
    cluster.change("deployments", "shop/web", {"spec": {"replicas": 3}})
    one = rolled_out(cluster)
    assert images(cluster) == ["one"] * 3
    assert one["status"]["conditions"][-1]["reason"] == "DeploymentPaused"
    cluster.change("deployments", "shop/web", {"spec": {"paused": None}})
    finish(cluster)
    assert images(cluster) == ["two"] * 3


def test_a_rollout_that_stands_still_is_told_after_the_deadline() -> None:
    cluster = workloads()
    cluster.add("deployments", deployment(1, progressDeadlineSeconds=60))
    cluster.settle()

    def reason() -> str:
        conditions = cluster.world.tables["deployments"]["shop/web"]["status"]["conditions"]
        return str(next(one["reason"] for one in conditions if one["type"] == "Progressing"))

    cluster.pass_time(59)
    assert reason() == "ReplicaSetUpdated"
    cluster.pass_time(3)
    assert reason() == "ProgressDeadlineExceeded"
    finish(cluster)
    assert reason() == "NewReplicaSetAvailable"


def test_old_replicasets_are_cut_to_the_limit() -> None:
    cluster = workloads()
    cluster.add("deployments", deployment(1, revisionHistoryLimit=1))
    for image in ("one", "two", "three", "four"):
        set_image(cluster, image)
        finish(cluster)
    left = sorted(one["spec"]["template"]["spec"]["containers"][0]["image"] for one in cluster.all("replicasets"))
    assert left == ["four", "three"]


def test_a_taken_name_gives_another_hash() -> None:
    cluster = workloads()
    cluster.add("deployments", deployment(1))
    finish(cluster)
    taken = cluster.all("replicasets")[0]["metadata"]["name"]
    fresh = workloads()
    stranger = replicaset(0, selector={"matchLabels": {"app": "stranger"}})
    stranger["metadata"] |= {"name": taken}
    fresh.add("replicasets", stranger)
    fresh.add("deployments", deployment(1))
    assert rolled_out(fresh)["status"]["collisionCount"] == 1
    assert len(active(fresh)) == 1


ACTS = st.one_of(
    st.tuples(st.just("scale"), st.integers(0, 7)),
    st.tuples(st.just("image"), st.sampled_from(["one", "two", "three"])),
    st.tuples(st.just("serve"), st.integers(1, 2)),
    st.tuples(st.just("kill"), st.integers(0, 9)),
    st.tuples(st.just("pause"), st.booleans()),
)


def act(cluster: Modelled, what: str, value: Any) -> None:
    if what == "scale":
        cluster.change("deployments", "shop/web", {"spec": {"replicas": value}})
    elif what == "image":
        set_image(cluster, value)
    elif what == "pause":
        cluster.change("deployments", "shop/web", {"spec": {"paused": value or None}})
    elif what == "kill" and cluster.all("pods"):
        pods = cluster.all("pods")
        cluster.remove("pods", f"shop/{pods[value % len(pods)]['metadata']['name']}", grace=0)
    elif what == "serve":
        for _ in range(value):
            serve(cluster)


@settings(deadline=None, max_examples=40)
@given(
    acts=st.lists(ACTS, max_size=8),
    surge=st.integers(0, 3),
    unavailable=st.integers(0, 3),
    strategy=st.sampled_from(["RollingUpdate", "Recreate"]),
)
def test_whatever_happens_the_wish_comes_true(
    acts: list[tuple[str, Any]], surge: int, unavailable: int, strategy: str
) -> None:
    cluster = workloads()
    body = deployment(3, surge, unavailable)
    if strategy == "Recreate":
        body["spec"]["strategy"] = {"type": "Recreate"}
    cluster.add("deployments", body)
    for what, value in acts:
        act(cluster, what, value)
        cluster.settle()
        desired = cluster.world.tables["deployments"]["shop/web"]["spec"]["replicas"]
        if strategy == "RollingUpdate" and what == "serve":
            assert len(active(cluster)) <= max(desired, 7) + surge
    cluster.change("deployments", "shop/web", {"spec": {"paused": None}})
    one = rolled_out(cluster)
    wanted = one["spec"]["template"]["spec"]["containers"][0]["image"]
    assert images(cluster) == [wanted] * one["spec"]["replicas"]
    revisions = [int(each["metadata"]["annotations"][REVISION]) for each in cluster.all("replicasets")]
    assert len(set(revisions)) == len(revisions)
    assert wanting_nothing([DeploymentController()], cluster.world, ["shop/web"], cluster.now)
    keys = [f"shop/{each['metadata']['name']}" for each in cluster.all("replicasets")]
    assert wanting_nothing([ReplicaSetController()], cluster.world, keys, cluster.now)

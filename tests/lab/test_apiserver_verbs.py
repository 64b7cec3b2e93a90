"""Creating, updating, deleting: names, locking, finalizers, grace, namespaces, subresources."""

from __future__ import annotations

from typing import Any

import pytest

from support.lab_verbs import BEGIN, Cluster
from svclab.apiserver.failures import StatusError
from svclab.apiserver.options import Writing
from svclab.apiserver.subresources import put

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "nginx"}], **spec}}


def deployment(name: str, **metadata: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": pod(name)["spec"]}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return {"metadata": {"name": name, **metadata}, "spec": spec}


def refused(call: Any, *argv: Any, **named: Any) -> tuple[int, str]:
    with pytest.raises(StatusError) as error:
        call(*argv, **named)
    return error.value.code, error.value.status["message"]


def test_create_fills_in_what_only_the_server_knows(cluster: Cluster) -> None:
    sent = {"metadata": {"name": "one", "uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z"}}
    answer = cluster.create(MAPS, sent)
    metadata = answer.body["metadata"]
    assert answer.code == 201
    assert metadata["creationTimestamp"] == "2027-01-15T08:00:00Z"
    assert metadata["uid"].startswith("uid-")
    assert (metadata["namespace"], metadata["resourceVersion"]) == ("default", str(cluster.state.revision))
    assert list(metadata) == ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"]
    assert (answer.body["kind"], answer.body["apiVersion"]) == ("ConfigMap", "v1")


def test_generated_names(cluster: Cluster) -> None:
    names = {cluster.create(MAPS, {"metadata": {"generateName": "x-"}}).body["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20
    assert all(len(name) == 7 and name.startswith("x-") for name in names)


NO_NAME = 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'
OTHER_NAMESPACE = "the namespace of the provided object does not match the namespace sent on the request"
VERSIONED = "resourceVersion should not be set on objects to be created"
NO_ACCOUNT = 'pods "p" is forbidden: error looking up service account default/x: serviceaccount "x" not found'
REFUSED = [
    ("twice", MAPS, {"metadata": {"name": "there"}}, 409, 'configmaps "there" already exists'),
    ("no name", MAPS, {}, 422, NO_NAME),
    ("other namespace", MAPS, {"metadata": {"name": "a", "namespace": "b"}}, 400, OTHER_NAMESPACE),
    ("no namespace", MAPS.replace("default", "gone"), {"metadata": {"name": "a"}}, 404, 'namespaces "gone" not found'),
    ("with a version", MAPS, {"metadata": {"name": "a", "resourceVersion": "5"}}, 500, VERSIONED),
    ("no account", PODS, pod("p", serviceAccountName="x"), 403, NO_ACCOUNT),
]


@pytest.mark.parametrize(
    ("path", "body", "code", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_create_refused(cluster: Cluster, path: str, body: dict[str, Any], code: int, message: str) -> None:
    cluster.create(MAPS, {"metadata": {"name": "there"}})
    cluster.seen()
    assert refused(cluster.create, path, body) == (code, message)
    assert cluster.seen() == []


def test_dry_run_leaves_nothing(cluster: Cluster) -> None:
    assert cluster.create(MAPS, {"metadata": {"name": "one"}}, dry_run=True).code == 201
    made = cluster.create(MAPS, {"metadata": {"name": "two"}}).body
    cluster.seen()
    cluster.update(f"{MAPS}/two", {**made, "data": {"a": "b"}}, dry_run=True)
    cluster.delete(f"{MAPS}/two", dry_run=True)
    assert cluster.seen() == []
    assert cluster.find(f"{MAPS}/one") is None
    assert cluster.find(f"{MAPS}/two") == made


def test_optimistic_locking(cluster: Cluster) -> None:
    first = cluster.create(MAPS, {"metadata": {"name": "one"}}).body
    second = cluster.update(f"{MAPS}/one", {**first, "data": {"a": "1"}}).body
    code, message = refused(cluster.update, f"{MAPS}/one", {**first, "data": {"a": "2"}})
    assert (code, "the object has been modified" in message) == (409, True)
    assert cluster.find(f"{MAPS}/one") == second


def test_update_without_a_version_is_unconditional(cluster: Cluster) -> None:
    cluster.create(MAPS, {"metadata": {"name": "one"}})
    assert cluster.update(f"{MAPS}/one", {"metadata": {"name": "one"}, "data": {"a": "1"}}).body["data"] == {"a": "1"}


def test_update_that_changes_nothing_is_not_told(cluster: Cluster) -> None:
    made = cluster.create(MAPS, {"metadata": {"name": "one"}}).body
    cluster.seen()
    assert cluster.update(f"{MAPS}/one", made).body == made
    assert cluster.seen() == []


def test_generation_counts_specs(cluster: Cluster) -> None:
    cluster.create(DEPLOYMENTS, deployment("web"))
    path = f"{DEPLOYMENTS}/web"
    assert cluster.patch(path, {"metadata": {"labels": {"a": "b"}}}).body["metadata"]["generation"] == 1
    assert cluster.patch(path, {"spec": {"replicas": 4}}).body["metadata"]["generation"] == 2
    status = cluster.patch(f"{path}/status", {"status": {"replicas": 4}, "spec": {"replicas": 9}}).body
    assert (status["metadata"]["generation"], status["spec"]["replicas"], status["status"]["replicas"]) == (2, 4, 4)


def test_delete_at_once(cluster: Cluster) -> None:
    uid = cluster.create(MAPS, {"metadata": {"name": "one"}}).body["metadata"]["uid"]
    cluster.seen()
    answer = cluster.delete(f"{MAPS}/one")
    assert answer.body["status"] == "Success"
    assert answer.body["details"] == {"name": "one", "kind": "configmaps", "uid": uid}
    assert cluster.seen() == [("DELETED", "/configmaps", "default/one")]


def test_finalizers_hold_an_object(cluster: Cluster) -> None:
    cluster.create(MAPS, {"metadata": {"name": "one", "finalizers": ["a.b/c"]}})
    cluster.seen()
    held = cluster.delete(f"{MAPS}/one").body
    assert held["metadata"]["deletionTimestamp"] == "2027-01-15T08:00:00Z"
    assert refused(cluster.create, MAPS, {"metadata": {"name": "one"}})[1].startswith("object is being deleted: ")
    cluster.patch(f"{MAPS}/one", {"metadata": {"finalizers": None}})
    assert cluster.seen() == [("MODIFIED", "/configmaps", "default/one"), ("DELETED", "/configmaps", "default/one")]


@pytest.mark.parametrize(("policy", "finalizer"), [("Orphan", "orphan"), ("Foreground", "foregroundDeletion")])
def test_propagation_policies_wait_for_the_garbage_collector(cluster: Cluster, policy: str, finalizer: str) -> None:
    cluster.create(DEPLOYMENTS, deployment("web"))
    held = cluster.delete(f"{DEPLOYMENTS}/web", policy=policy).body["metadata"]
    assert (held["finalizers"], held["deletionGracePeriodSeconds"], held["generation"]) == ([finalizer], 0, 2)
    cluster.patch(f"{DEPLOYMENTS}/web", {"metadata": {"finalizers": []}})
    assert cluster.find(f"{DEPLOYMENTS}/web") is None


def test_preconditions(cluster: Cluster) -> None:
    cluster.create(MAPS, {"metadata": {"name": "one"}})
    assert refused(cluster.delete, f"{MAPS}/one", uid="x")[0] == 409
    assert refused(cluster.delete, f"{MAPS}/one", version="1")[0] == 409
    assert cluster.find(f"{MAPS}/one") is not None


def test_an_unscheduled_pod_goes_at_once(cluster: Cluster) -> None:
    cluster.create(PODS, pod("p"))
    cluster.delete(f"{PODS}/p")
    assert cluster.find(f"{PODS}/p") is None


def test_a_running_pod_has_its_time(cluster: Cluster) -> None:
    cluster.create(PODS, pod("p", nodeName="node1"))
    held = cluster.delete(f"{PODS}/p").body["metadata"]
    assert (held["deletionGracePeriodSeconds"], held["deletionTimestamp"]) == (30, "2027-01-15T08:00:30Z")
    cluster.now = BEGIN + 5
    cluster.seen()
    cluster.delete(f"{PODS}/p", grace=60)  # it may only become shorter
    assert cluster.seen() == []
    held = cluster.delete(f"{PODS}/p", grace=10).body["metadata"]
    assert (held["deletionGracePeriodSeconds"], held["deletionTimestamp"]) == (10, "2027-01-15T08:00:10Z")
    cluster.delete(f"{PODS}/p", grace=0)  # the kubelet, when the containers have ended
    assert cluster.find(f"{PODS}/p") is None


def test_a_namespace_goes_when_its_last_finalizer_does(cluster: Cluster) -> None:
    path = "/api/v1/namespaces/other"
    going = cluster.delete(path).body
    assert (going["status"]["phase"], going["spec"]["finalizers"]) == ("Terminating", ["kubernetes"])
    code, message = refused(cluster.create, f"{path}/configmaps", {"metadata": {"name": "a"}})
    assert (code, message) == (
        403,
        'configmaps "a" is forbidden: unable to create new content in namespace other because it is being terminated',
    )
    put(cluster.verbs, cluster.target(f"{path}/finalize"), {**going, "spec": {}}, Writing(), cluster.moment())
    assert cluster.find(path) is None


def test_namespaces_that_stay(cluster: Cluster) -> None:
    said = 'namespaces "default" is forbidden: this namespace may not be deleted'
    assert refused(cluster.delete, "/api/v1/namespaces/default") == (403, said)


def test_scale(cluster: Cluster) -> None:
    cluster.create(DEPLOYMENTS, deployment("web"))
    scaled = cluster.patch(f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 5}}).body
    assert (scaled["kind"], scaled["spec"], scaled["status"]) == (
        "Scale",
        {"replicas": 5},
        {"replicas": 0, "selector": "app=web"},
    )
    found = cluster.find(f"{DEPLOYMENTS}/web")
    assert found is not None
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (5, 2)


def test_binding_a_pod_once(cluster: Cluster) -> None:
    cluster.create(PODS, pod("p"))
    target = cluster.target(f"{PODS}/p/binding")
    sent = b'{"metadata":{"name":"p"},"target":{"kind":"Node","name":"node1"}}'
    cluster.writer.posted(target, sent, "application/json", {}, cluster.moment())
    found = cluster.find(f"{PODS}/p")
    assert found is not None
    assert found["spec"]["nodeName"] == "node1"
    assert found["status"]["conditions"][0]["type"] == "PodScheduled"
    code, message = refused(cluster.writer.posted, target, sent, "application/json", {}, cluster.moment())
    assert (code, message) == (
        409,
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "node1"',
    )


def test_two_services_never_share_an_address_or_a_port(cluster: Cluster) -> None:
    path = "/api/v1/namespaces/default/services"
    made = [
        cluster.create(
            path, {"metadata": {"name": f"s{n}"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
        ).body
        for n in range(50)
    ]
    assert len({one["spec"]["clusterIP"] for one in made}) == 50
    assert len({one["spec"]["ports"][0]["nodePort"] for one in made}) == 50
    again = {"metadata": {"name": "x"}, "spec": {"clusterIP": made[0]["spec"]["clusterIP"], "ports": [{"port": 80}]}}
    assert refused(cluster.create, path, again)[0] == 422
    cluster.delete(f"{path}/s0")
    assert cluster.create(path, again).code == 201

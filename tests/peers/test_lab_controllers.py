"""Our controllers and scheduler beside the real ones: the same kubectl commands, the same objects.

Two control planes with the real kube-apiserver: one with kube-controller-manager and kube-scheduler, one with
`svcplane-lab controllers`. There is no kubelet: the test makes pods ready and lets deleted ones go, only when nothing
moves any more, so that both sides take the same steps. What is compared has no uids, times, hashes and random letters.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest

from peers.control_plane import CONTROLLERS, ApiError, ControlPlane
from peers.processes import Process
from support.waiting import eventually

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

Body = dict[str, Any]
SOURCES = [Path(__file__).parents[2] / name for name in ("kube", "net", "agent", "dns", "lab")]
NODES = ("node1", "node2", "node3")
NODE_CONTROLLERS = ("node-lifecycle-controller", "taint-eviction-controller", "pod-garbage-collector-controller")
QUIET_SECONDS = 0.5
MAIN = "import sys; from svclab.cli import main; sys.exit(main())"


@contextmanager
def ours(binaries: Path, folder: Path) -> Iterator[tuple[ControlPlane, Process]]:
    with ControlPlane(binaries, controllers=(), service_cidrs=("10.96.0.0/16",)) as control_plane:
        root_ca = folder / "root-ca.crt"
        root_ca.write_text(control_plane.ca_certificate)
        argv = [sys.executable, "-c", MAIN, "controllers", "--kubeconfig", control_plane.kubeconfig()]
        argv += ["--root-ca-file", root_ca, "--service-cluster-ip-range", "10.96.0.0/16"]
        argv += ["--cluster-cidr", "10.244.0.0/16"]
        environment = {**os.environ, "PYTHONPATH": ":".join(map(str, SOURCES))}
        with Process(argv, folder / "controllers.log", environment=environment) as process:
            process.start()
            process.wait_until(lambda: control_plane.has_service_account("default"), "pods may be created")
            yield control_plane, process


@contextmanager
def theirs(binaries: Path) -> Iterator[ControlPlane]:
    controllers = (*CONTROLLERS, *NODE_CONTROLLERS)
    arguments: dict[str, Any] = {"controllers": controllers, "scheduler": True}
    with ControlPlane(binaries, service_cidrs=("10.96.0.0/16",), **arguments) as control_plane:
        yield control_plane


class Play:
    """One namespace of one control plane, and the part of the kubelet."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.control_plane = control_plane
        self.namespace = namespace
        self.hashes: dict[str, str] = {}
        control_plane.kubectl("create", "namespace", namespace)
        eventually(lambda: control_plane.has_service_account(namespace), "the namespace takes pods")

    def kubectl(self, *argv: str) -> str:
        return self.control_plane.kubectl("-n", self.namespace, *argv)

    def list(self, plural: str) -> list[Body]:
        group = "/apis/apps/v1" if plural in ("deployments", "replicasets") else "/api/v1"
        items: list[Body] = self.control_plane.get(f"{group}/namespaces/{self.namespace}/{plural}")["items"]
        return items

    def pods(self) -> list[Body]:
        return self.list("pods")

    def still(self) -> None:
        """Until nothing has moved for a while."""
        last: Any = None
        since = time.monotonic()

        def is_quiet() -> bool:
            nonlocal last, since
            kinds = ("deployments", "replicasets", "pods")
            now = [(one["metadata"]["uid"], one["metadata"]["resourceVersion"]) for k in kinds for one in self.list(k)]
            if now != last:
                last, since = now, time.monotonic()
            return time.monotonic() - since > QUIET_SECONDS

        eventually(is_quiet, "nothing moves", 30)

    def settle(self) -> None:
        """Rounds of: nothing moves, then every bound pod becomes ready and every deleted one goes."""
        for _ in range(40):
            self.still()
            beat(self.control_plane)
            if not sum(self.serve(pod) for pod in self.pods()):
                return
        raise AssertionError("it never comes to rest")

    def serve(self, pod: Body) -> bool:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}"
        if pod["metadata"].get("deletionTimestamp"):
            with suppress(ApiError):
                self.control_plane.request("DELETE", path + "?gracePeriodSeconds=0")
            return True
        conditions = pod["status"].get("conditions", [])
        if not pod["spec"].get("nodeName") or any(c["type"] == "Ready" for c in conditions):
            return False
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
        pod["status"] |= {"phase": "Running", "conditions": [*conditions, ready]}
        with suppress(ApiError):  # deleted or changed in the meantime: the next round sees
            self.control_plane.request("PUT", path + "/status", pod)
        return True

    # What is compared

    def seen(self) -> Any:
        for one in sorted(self.list("replicasets"), key=_born):
            self.hashes.setdefault(one["metadata"]["labels"].get("pod-template-hash", "-"), f"#{len(self.hashes) + 1}")
        picture = {
            "deployments": [_picture(one) for one in self.list("deployments")],
            "replicasets": [_picture(one) for one in self.list("replicasets")],
            "pods": sorted((_pod_picture(one) for one in self.pods()), key=json.dumps),
        }
        return self._normal(picture)

    def events(self) -> Any:
        """With their messages, in the order of the alphabet."""
        told = {
            (
                one["involvedObject"]["kind"],
                one["type"],
                one["reason"],
                one.get("source", {}).get("component") or one.get("reportingComponent", ""),
                one["message"],
            )
            for one in self.list("events")
        }
        return sorted(map(tuple, self._normal([list(one) for one in told])))

    def _normal(self, value: Any) -> Any:
        text = json.dumps(value, sort_keys=True)
        for hashed, label in self.hashes.items():
            text = text.replace(hashed, label)
        text = re.sub(r"(web-#\d+)-[a-z0-9]{5}\b", r"\1-*", text)
        text = text.replace(self.namespace, "ns")
        text = re.sub(r"to node\d", "to node", text)
        decoded = json.loads(text)
        if isinstance(decoded, dict):
            for items in decoded.values():
                items.sort(key=lambda one: json.dumps(one, sort_keys=True))
        return decoded


def _born(replicaset: Body) -> tuple[int, str]:
    revision = replicaset["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision", "0")
    return int(revision), replicaset["metadata"]["creationTimestamp"]


TIMES = ("lastTransitionTime", "lastUpdateTime", "lastProbeTime")


def _picture(body: Body) -> Body:
    metadata = body["metadata"]
    told = {name: metadata.get(name) for name in ("name", "labels", "annotations", "finalizers")}
    told["owners"] = [{k: v for k, v in one.items() if k != "uid"} for one in metadata.get("ownerReferences", ())]
    status = dict(body["status"])
    conditions = [{k: v for k, v in one.items() if k not in TIMES} for one in status.get("conditions", ())]
    # How many steps a rollout took depends on what was seen together.
    status["observedGeneration"] = status.get("observedGeneration") == metadata["generation"]
    status["conditions"] = sorted(conditions, key=lambda one: str(one["type"]))
    return {"metadata": told, "spec": body["spec"], "status": status}


def _pod_picture(pod: Body) -> Body:
    metadata = pod["metadata"]
    conditions = [{k: v for k, v in one.items() if k not in TIMES} for one in pod["status"].get("conditions", ())]
    return {
        "labels": metadata.get("labels"),
        "generateName": metadata.get("generateName"),
        "owners": [{k: v for k, v in one.items() if k != "uid"} for one in metadata.get("ownerReferences", ())],
        "bound": bool(pod["spec"].get("nodeName")),
        "conditions": sorted((one for one in conditions if one["type"] != "Ready"), key=lambda one: one["type"]),
        "tolerations": pod["spec"].get("tolerations"),
    }


def created(play: Play) -> None:
    play.kubectl("create", "deployment", "web", "--image=one", "--replicas=3")


def scaled_up(play: Play) -> None:
    play.kubectl("scale", "deployment", "web", "--replicas=6")


def rolled(play: Play) -> None:
    play.kubectl("set", "image", "deployment/web", "one=two")
    play.kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=second")


def scaled_amid_a_rollout(play: Play) -> None:
    play.kubectl("set", "image", "deployment/web", "one=three")
    play.still()
    play.kubectl("scale", "deployment", "web", "--replicas=12")


def undone(play: Play) -> None:
    play.kubectl("rollout", "undo", "deployment/web")


def paused(play: Play) -> None:
    play.kubectl("rollout", "pause", "deployment/web")
    play.kubectl("set", "image", "deployment/web", "one=four")


def resumed(play: Play) -> None:
    play.kubectl("rollout", "resume", "deployment/web")


def restarted(play: Play) -> None:
    # Not `rollout restart`, which writes the time.
    patch = {"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}}
    play.kubectl("patch", "deployment", "web", "-p", json.dumps(patch))


def pod_deleted(play: Play) -> None:
    play.kubectl("delete", "pod", play.pods()[0]["metadata"]["name"], "--wait=false")


def pod_released(play: Play) -> None:
    play.kubectl("label", "pod", play.pods()[0]["metadata"]["name"], "app-", "lost=yes")


def pod_adopted(play: Play) -> None:
    lost = next(pod for pod in play.pods() if "lost" in pod["metadata"]["labels"])
    play.kubectl("label", "pod", lost["metadata"]["name"], "app=web", "lost-")


def recreated(play: Play) -> None:
    patch = {
        "spec": {
            "strategy": {"type": "Recreate", "rollingUpdate": None},
            "template": {"spec": {"containers": [{"name": "one", "image": "five"}]}},
        }
    }
    play.kubectl("patch", "deployment", "web", "-p", json.dumps(patch))


def history_cut(play: Play) -> None:
    play.kubectl("patch", "deployment", "web", "-p", '{"spec":{"revisionHistoryLimit":1}}')


def cordoned(play: Play) -> None:
    for node in NODES:
        play.control_plane.kubectl("cordon", node)
    play.kubectl("scale", "deployment", "web", "--replicas=14")


def uncordoned(play: Play) -> None:
    for node in NODES:
        play.control_plane.kubectl("uncordon", node)
    # The real scheduler takes its time to try again.
    eventually(lambda: all(pod["spec"].get("nodeName") for pod in play.pods()), "all pods are bound", 30)


def unselectable(play: Play) -> None:
    patch = {"spec": {"template": {"spec": {"nodeSelector": {"disk": "none"}}}}}
    play.kubectl("patch", "deployment", "web", "-p", json.dumps(patch))


def forbidden(play: Play) -> None:
    patch = {"spec": {"template": {"spec": {"nodeSelector": None, "serviceAccountName": "missing"}}}}
    play.kubectl("patch", "deployment", "web", "-p", json.dumps(patch))
    # Both try again and again, so nothing is ever still: until the condition is there.
    eventually(lambda: "ReplicaFailure" in play.kubectl("get", "deployment", "web", "-o", "json"), "it is told")


def allowed(play: Play) -> None:
    play.kubectl("create", "serviceaccount", "missing")
    eventually(lambda: "ReplicaFailure" not in play.kubectl("get", "deployment", "web", "-o", "json"), "it works", 60)


def scaled_to_none(play: Play) -> None:
    play.kubectl("scale", "deployment", "web", "--replicas=0")


def orphaned(play: Play) -> None:
    play.kubectl("scale", "deployment", "web", "--replicas=2")
    play.settle()
    play.kubectl("delete", "deployment", "web", "--cascade=orphan")


def readopted(play: Play) -> None:
    created(play)


def deleted_in_foreground(play: Play) -> None:
    play.kubectl("delete", "deployment", "web", "--cascade=foreground", "--wait=false")


ACTS: tuple[Callable[[Play], None], ...] = (
    *(created, scaled_up, rolled, scaled_amid_a_rollout, undone, paused, resumed, restarted),
    *(
        pod_deleted,
        pod_released,
        pod_adopted,
        recreated,
        history_cut,
        cordoned,
        uncordoned,
        unselectable,
        forbidden,
        allowed,
    ),
    *(scaled_to_none, orphaned, readopted, deleted_in_foreground),
)


def played(control_plane: ControlPlane) -> dict[str, Any]:
    for number, node in enumerate(NODES):
        control_plane.add_node(node, [f"192.0.2.{number + 11}"])
        room = {"pods": "10", "cpu": "8", "memory": "8Gi"}
        status = {"status": {"capacity": room, "allocatable": room}}
        control_plane.kubectl("patch", "node", node, "--subresource=status", "-p", json.dumps(status))
    eventually(lambda: all_untainted(control_plane), "no node is tainted as not ready", 20)
    play = Play(control_plane, "shop-under-test")
    pictures: dict[str, Any] = {}
    for act in ACTS:
        act(play)
        play.settle()
        pictures[act.__name__] = play.seen()
        if act is scaled_up:
            pictures["events"] = play.events()
        if act is rolled:  # by how many at a time depends on how many pods were seen ready together
            pictures["messages"] = sorted({re.sub(r"^\(.*?\): |\b\d+\b", "", event[4]) for event in play.events()})
    # After ten of a kind messages are combined, and which ones depends on the moment.
    pictures["reasons"] = sorted({tuple(event[:4]) for event in play.events()})
    created(play)
    play.settle()
    spread = Counter(pod["spec"].get("nodeName", "") for pod in play.pods())
    pictures["spread"] = sorted(spread.values())
    control_plane.kubectl("delete", "namespace", play.namespace, "--wait=false")

    def is_gone() -> bool:
        for pod in play.pods():
            play.serve(pod)
        return play.namespace not in control_plane.kubectl("get", "namespaces", "-o", "name")

    eventually(is_gone, "the namespace is gone", 60)
    return pictures


def beat(control_plane: ControlPlane) -> None:
    """The nodes renew their leases, so that none is taken for dead."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    for node in NODES:
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": node, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": now},
        }
        try:
            there = control_plane.get(f"{path}/{node}")
        except ApiError:
            control_plane.request("POST", path, lease)
        else:
            control_plane.request("PUT", f"{path}/{node}", {**there, "spec": lease["spec"]})


def all_untainted(control_plane: ControlPlane) -> bool:
    return not any(node["spec"].get("taints") for node in control_plane.get("/api/v1/nodes")["items"])


@pytest.fixture(scope="module")
def both(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    with (
        ours(binaries, tmp_path_factory.mktemp("ours")) as (mine, _),
        theirs(binaries) as real,
        ThreadPoolExecutor(2) as pool,
    ):
        plays = [pool.submit(played, one) for one in (mine, real)]
        yield plays[0].result(), plays[1].result()


@pytest.mark.parametrize("act", [*(act.__name__ for act in ACTS), "events", "messages", "reasons", "spread"])
def test_the_same_as_the_real_ones(both: tuple[dict[str, Any], dict[str, Any]], act: str) -> None:
    ours_, theirs_ = (json.dumps(one[act], indent=1, sort_keys=True).splitlines() for one in both)
    difference = "\n".join(unified_diff(theirs_, ours_, "theirs", "ours", lineterm="", n=12))
    assert not difference, difference


@pytest.fixture
def shop(binaries: Path, tmp_path: Path) -> Iterator[tuple[Play, Process]]:
    """A namespace on a control plane with our controllers, which a test may kill."""
    with ours(binaries, tmp_path) as (control_plane, process):
        for number, node in enumerate(NODES):
            control_plane.add_node(node, [f"192.0.2.{number + 11}"])
        yield Play(control_plane, "shop"), process


def bound(play: Play) -> int:
    alive = [pod for pod in play.pods() if not pod["metadata"].get("deletionTimestamp")]
    return sum(bool(pod["spec"].get("nodeName")) for pod in alive)


def test_thirty_pods_are_made_and_bound_in_a_moment(shop: tuple[Play, Process]) -> None:
    play, _ = shop
    play.kubectl("create", "deployment", "web", "--image=one", "--replicas=30")
    eventually(lambda: bound(play) == 30, "thirty pods are bound", 3)
    assert Counter(pod["spec"]["nodeName"] for pod in play.pods()) == dict.fromkeys(NODES, 10)


def test_controllers_that_were_killed_go_on(shop: tuple[Play, Process]) -> None:
    play, process = shop
    created(play)
    play.settle()
    process.kill()
    for pod in play.pods()[:2]:
        play.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false", "--grace-period=0", "--force")
    play.kubectl("scale", "deployment", "web", "--replicas=5")
    process.start()
    eventually(lambda: bound(play) == 5, "five pods are bound", 20)


def test_an_outage_of_the_server(shop: tuple[Play, Process]) -> None:
    play, process = shop
    created(play)
    play.settle()
    play.control_plane.kill("kube-apiserver")
    process.wait_until(lambda: "outage" in process.log_tail(), "the outage is noticed", 20)
    play.control_plane.restart("kube-apiserver")
    play.kubectl("scale", "deployment", "web", "--replicas=6")
    eventually(lambda: bound(play) == 6, "six pods are bound", 40)
    assert "traceback" not in process.log_tail(500)


def test_they_end_cleanly(shop: tuple[Play, Process]) -> None:
    _, process = shop
    process.stop()
    assert not process.running
    assert "traceback" not in process.log_tail(500)

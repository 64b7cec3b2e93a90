"""Phase, conditions and container states from what runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support.kubelet_pods import BEGAN, HOST, body, ending, pod, ran
from svclab.kubelet.node import Machine, differs, node_status
from svclab.kubelet.pods import Pod
from svclab.kubelet.probing import answered, begun
from svclab.kubelet.status import pod_status

NOW = BEGAN + 5
READY = {"periodSeconds": 1}


def having(found: dict[str, Any], *runs: tuple[Any, ...]) -> Pod:
    made = pod(found)
    for name, code, *waits in runs:
        ran(made.containers[name], code=code, waits=waits[0] if waits else 0.0)
    return made


def probed(answer: bool | None) -> Pod:
    made = having(body({"readinessProbe": READY}), ("a", None))
    probe = begun("readiness", READY, BEGAN)
    made.containers["a"].probes = {"readiness": probe if answer is None else answered(probe, answer, NOW)}
    return made


def waiting(reason: str, message: str) -> Pod:
    made = pod(body())
    made.containers["a"].waiting = (reason, message)
    return made


def deadline() -> Pod:
    made = ending(having(body(), ("a", 137)), deleting=False)
    assert made.ending is not None
    made.ending.reason = "DeadlineExceeded"
    return made


NOT_READY = "ContainersNotReady"


@pytest.mark.parametrize(
    ("make", "phase", "ready", "reason", "state"),
    [
        pytest.param(lambda: pod(body()), "Pending", "False", NOT_READY, "ContainerCreating", id="being created"),
        pytest.param(lambda: pod(body(inits=({},))), "Pending", "False", NOT_READY, "PodInitializing", id="init"),
        pytest.param(lambda: having(body(), ("a", None)), "Running", "True", None, "running", id="runs"),
        pytest.param(lambda: probed(None), "Running", "False", NOT_READY, "running", id="not asked yet"),
        pytest.param(lambda: probed(True), "Running", "True", None, "running", id="probe succeeded"),
        pytest.param(lambda: having(body({}, {}), ("a", None)), "Pending", "False", NOT_READY, "running", id="half"),
        pytest.param(
            lambda: having(body(), ("a", 1, 10.0)), "Running", "False", NOT_READY, "CrashLoopBackOff", id="crash loop"
        ),
        pytest.param(lambda: having(body(), ("a", 1)), "Running", "False", NOT_READY, "Error", id="about to restart"),
        pytest.param(
            lambda: having(body(restartPolicy="Never"), ("a", 0)),
            *("Succeeded", "False", "PodCompleted", "Completed"),
            id="succeeded",
        ),
        pytest.param(
            lambda: having(body(restartPolicy="Never"), ("a", 3)), "Failed", "False", "PodFailed", "Error", id="failed"
        ),
        pytest.param(
            lambda: having(body({}, {}, restartPolicy="Never"), ("a", 0), ("b", 1)),
            *("Failed", "False", "PodFailed", "Completed"),
            id="one of two failed",
        ),
        pytest.param(
            lambda: waiting("ErrImagePull", "no such image"),
            "Pending",
            "False",
            NOT_READY,
            "ErrImagePull",
            id="no image",
        ),
        pytest.param(
            lambda: having(body(inits=({},), restartPolicy="Never"), ("i0", 1)),
            *("Failed", "False", "PodFailed", "PodInitializing"),
            id="init failed",
        ),
        pytest.param(lambda: ending(having(body(), ("a", None))), "Running", "True", None, "running", id="terminating"),
        pytest.param(
            lambda: ending(having(body(), ("a", 0))), "Succeeded", "False", "PodCompleted", "Completed", id="ended well"
        ),
        pytest.param(
            lambda: ending(having(body(), ("a", 143))), "Failed", "False", "PodFailed", "Error", id="ended ill"
        ),
        pytest.param(deadline, "Failed", "False", "PodFailed", "Error", id="past its deadline"),
    ],
)
def test_status(make: Callable[[], Pod], phase: str, ready: str, reason: str | None, state: str) -> None:
    status = pod_status(make(), HOST, NOW)
    condition = {one["type"]: one for one in status["conditions"]}
    (kind, found), *_ = status["containerStatuses"][0]["state"].items()
    assert status["phase"] == phase
    for name in ("Ready", "ContainersReady"):
        assert (condition[name]["status"], condition[name].get("reason")) == (ready, reason)
    assert (kind if kind == "running" else found["reason"]) == state


def test_a_crash_loop_in_the_kubelets_words() -> None:
    status = pod_status(having(body(), ("a", 1, 10.0)), HOST, NOW)["containerStatuses"][0]
    assert status["state"] == {
        "waiting": {
            "reason": "CrashLoopBackOff",
            "message": "back-off 10s restarting failed container=a pod=web_default(u-1)",
        }
    }
    assert status["lastState"]["terminated"]["exitCode"] == 1


def test_unready_containers_are_named() -> None:
    found = having(body({}, {"readinessProbe": READY}, {}), ("a", None), ("b", None))
    found.containers["b"].probes = {"readiness": begun("readiness", READY, BEGAN)}
    conditions = {one["type"]: one for one in pod_status(found, HOST, NOW)["conditions"]}
    assert conditions["Ready"]["message"] == "containers with unready status: [b c]"


def test_uninitialized_pods_say_which() -> None:
    conditions = {one["type"]: one for one in pod_status(pod(body(inits=({}, {}))), HOST, NOW)["conditions"]}
    assert conditions["Initialized"]["reason"] == "ContainersNotInitialized"
    assert conditions["Initialized"]["message"] == "containers with incomplete status: [i0 i1]"


@pytest.mark.parametrize(
    ("conditions", "ready", "message"),
    [
        ([], "False", 'corresponding condition of pod readiness gate "x/y" does not exist.'),
        (
            [{"type": "x/y", "status": "False"}],
            "False",
            'the status of pod readiness gate "x/y" is not "True", but False',
        ),
        ([{"type": "x/y", "status": "True"}], "True", None),
    ],
    ids=["missing", "false", "true"],
)
def test_readiness_gates(conditions: list[dict[str, str]], ready: str, message: str | None) -> None:
    found = having(body(readinessGates=[{"conditionType": "x/y"}]), ("a", None))
    found.body["status"] = {"conditions": conditions}
    shown = {one["type"]: one for one in pod_status(found, HOST, NOW)["conditions"]}
    assert (shown["Ready"]["status"], shown["Ready"].get("message")) == (ready, message)
    assert shown["ContainersReady"]["status"] == "True"


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    found = having(body(), ("a", None))
    found.reported = pod_status(found, HOST, NOW)
    assert pod_status(found, HOST, NOW + 60) == found.reported
    ran(found.containers["a"], code=1)
    later = {one["type"]: one["lastTransitionTime"] for one in pod_status(found, HOST, NOW + 60)["conditions"]}
    before = {one["type"]: one["lastTransitionTime"] for one in found.reported["conditions"]}
    assert {kind for kind in later if later[kind] != before[kind]} == {"Ready", "ContainersReady"}


def test_the_address_stays_to_the_end() -> None:
    found = having(body(), ("a", 0))
    found.reported = pod_status(found, HOST, NOW)
    found.sandbox, found.dissolved = None, True
    status = pod_status(ending(found), HOST, NOW)
    assert (status["podIP"], status["podIPs"]) == ("10.244.1.2", [{"ip": "10.244.1.2"}])


def test_pods_on_the_nodes_network_have_its_address() -> None:
    found = having(body(hostNetwork=True), ("a", None))
    assert pod_status(found, HOST, NOW)["podIP"] == HOST[0]


HERE = Machine("node1", HOST, {"cpu": "2"}, {"architecture": "amd64"})


@pytest.mark.parametrize(
    ("there", "problem", "differ"),
    [
        pytest.param("", "", False, id="the same"),
        pytest.param("", "no pod CIDR", True, id="the network went"),
        pytest.param("no pod CIDR", "", True, id="the network came"),
    ],
)
def test_a_node_is_reported_when_it_changed(there: str, problem: str, differ: bool) -> None:
    seen = node_status(HERE, there, {}, NOW)
    assert differs(node_status(HERE, problem, seen, NOW + 100), seen) is differ


def test_a_node_that_somebody_marked_is_put_right() -> None:
    seen = node_status(HERE, "", {}, NOW)
    seen["conditions"] = [{**one, "status": "Unknown", "reason": "NodeStatusUnknown"} for one in seen["conditions"]]
    assert differs(node_status(HERE, "", seen, NOW + 100), seen)

"""What the kubelet does next about a pod."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support.kubelet_pods import BEGAN, body, ending, pod, ran, with_images
from svclab.kubelet.decision import (
    BETWEEN_STARTS,
    Decision,
    Dissolve,
    End,
    Forget,
    Kill,
    Prepare,
    Start,
    Step,
    Stop,
    next_steps,
)
from svclab.kubelet.pods import Pod
from svclab.kubelet.probing import answered, begun

NOW = BEGAN + 5
SIDECAR = {"restartPolicy": "Always"}


def decided(found: Pod, now: float = NOW) -> Decision:
    return next_steps(with_images(found), now)


def having(found: dict[str, Any], *runs: tuple[Any, ...], **more: Any) -> Pod:
    """A pod of which containers ran: (name, exit code or None for running, seconds of back-off)."""
    made = pod(found)
    for name, code, *waits in runs:
        ran(made.containers[name], code=code, waits=waits[0] if waits else 0.0)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def unprepared(**more: Any) -> Pod:
    made = pod(body(), sandbox=False)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def orphaned() -> Pod:
    made = having(body({}, {}), ("a", None))
    made.sandbox = None
    return made


def unhealthy(**spec: Any) -> Pod:
    made = having(body(**spec), ("a", None))
    probe = begun("liveness", {"failureThreshold": 1, "terminationGracePeriodSeconds": 4}, BEGAN)
    made.containers["a"].probes = {"liveness": answered(probe, False, NOW)}
    return made


def stopped(kill_at: float) -> Pod:
    made = ending(having(body(), ("a", None)))
    made.containers["a"].stopping, made.containers["a"].kill_at = "Stopping container a", kill_at
    return made


def sidecar(*, begun: bool = True) -> Pod:
    made = having(body(inits=(SIDECAR,)), ("i0", None))
    made.containers["i0"].begun = begun
    return made


def changed() -> Pod:
    made = with_images(having(body(), ("a", None)))
    made.body["spec"]["containers"][0]["image"] = "httpd"
    return made


STOP_A = Stop("a", "Stopping container a", 30.0)


@pytest.mark.parametrize(
    ("make", "steps", "again"),
    [
        pytest.param(unprepared, [Prepare()], None, id="a new pod is prepared"),
        pytest.param(lambda: unprepared(busy="preparing"), [], None, id="while it is prepared, nothing"),
        pytest.param(lambda: unprepared(retry_at=NOW + 3), [], NOW + 3, id="a failed one is prepared again later"),
        pytest.param(lambda: pod(body()), [Start("a")], None, id="then its container is started"),
        pytest.param(lambda: pod(body({}, {})), [Start("a")], None, id="one after the other"),
        pytest.param(lambda: having(body({}, {}), ("a", None)), [Start("b")], None, id="then the other"),
        pytest.param(lambda: having(body(), ("a", None)), [], None, id="all runs"),
        pytest.param(lambda: pod(body(inits=({}, {}))), [Start("i0")], None, id="init containers first"),
        pytest.param(lambda: having(body(inits=({},)), ("i0", None)), [], None, id="until they are done"),
        pytest.param(lambda: having(body(inits=({},)), ("i0", 0)), [Start("a")], None, id="then the rest"),
        pytest.param(lambda: having(body(inits=({},)), ("i0", 1)), [Start("i0")], None, id="a failed one again"),
        pytest.param(
            lambda: having(body(inits=({},), restartPolicy="Never"), ("i0", 1)), [End()], None, id="or the pod failed"
        ),
        pytest.param(lambda: sidecar(begun=False), [], None, id="a sidecar must have started"),
        pytest.param(sidecar, [Start("a")], None, id="a sidecar that started"),
        pytest.param(
            lambda: having(body(inits=(SIDECAR,)), ("i0", 1), ("a", None)), [Start("i0")], None, id="a sidecar again"
        ),
        pytest.param(lambda: having(body(), ("a", 0)), [Start("a")], None, id="Always: again after success"),
        pytest.param(lambda: having(body(), ("a", 1, 10.0)), [], BEGAN + 12, id="back-off from the end of the run"),
        pytest.param(
            lambda: having(body({}, {}), ("a", 1, 10.0), ("b", None)), [], BEGAN + 12, id="the others go on meanwhile"
        ),
        pytest.param(lambda: having(body(restartPolicy="OnFailure"), ("a", 0)), [End()], None, id="OnFailure, success"),
        pytest.param(
            lambda: having(body(restartPolicy="OnFailure"), ("a", 1)), [Start("a")], None, id="OnFailure, failure"
        ),
        pytest.param(lambda: having(body(restartPolicy="Never"), ("a", 1)), [End()], None, id="Never"),
        pytest.param(
            lambda: having(body({}, {}, restartPolicy="Never"), ("a", 1), ("b", None)), [], None, id="Never, one left"
        ),
        pytest.param(
            unhealthy,
            [Stop("a", "Container a failed liveness probe, will be restarted", 4.0)],
            None,
            id="liveness failed",
        ),
        pytest.param(
            lambda: unhealthy(restartPolicy="Never"),
            [Stop("a", "Container a failed liveness probe", 4.0)],
            None,
            id="liveness failed for good",
        ),
        pytest.param(
            changed, [Stop("a", "Container a definition changed, will be restarted", 30.0)], None, id="another image"
        ),
        pytest.param(orphaned, [Kill("a")], None, id="the sandbox died under it"),
        pytest.param(
            lambda: pod(body(activeDeadlineSeconds=4)),
            [End("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")],
            None,
            id="past its deadline",
        ),
        pytest.param(
            lambda: having(body(activeDeadlineSeconds=9), ("a", None)), [], BEGAN + 9, id="before its deadline"
        ),
        pytest.param(lambda: ending(having(body(), ("a", None))), [STOP_A], None, id="deleted: stopped"),
        pytest.param(lambda: stopped(NOW + 7), [], NOW + 7, id="and given time"),
        pytest.param(lambda: stopped(NOW), [Kill("a")], None, id="and killed"),
        pytest.param(
            lambda: ending(having(body(inits=(SIDECAR,)), ("i0", None), ("a", None))),
            [STOP_A],
            None,
            id="sidecars last",
        ),
        pytest.param(
            lambda: ending(having(body(inits=(SIDECAR, SIDECAR)), ("i0", None), ("i1", None), ("a", 0))),
            [Stop("i1", "Stopping container i1", 30.0)],
            None,
            id="sidecars in reverse",
        ),
        pytest.param(lambda: ending(having(body(), ("a", 0))), [Dissolve()], None, id="all ended: the sandbox goes"),
        pytest.param(lambda: ending(having(body(), ("a", 0), busy="dissolving")), [], None, id="once"),
        pytest.param(lambda: ending(having(body(), ("a", 0), dissolved=True)), [Forget()], None, id="then the object"),
        pytest.param(
            lambda: ending(having(body(), ("a", 0), dissolved=True), deleting=False), [], None, id="not if none asked"
        ),
    ],
)
def test_next_steps(make: Callable[[], Pod], steps: list[Step], again: float | None) -> None:
    assert decided(make()) == Decision(tuple(steps), again)


def test_containers_of_a_pod_are_not_started_at_the_same_moment() -> None:
    found = having(body({}, {}), ("a", None))
    assert decided(found, BEGAN + 1 + 0.01) == Decision((), BEGAN + 1 + BETWEEN_STARTS)


def test_while_one_is_started_none_else_is() -> None:
    found = pod(body({}, {}))
    found.containers["a"].busy = "starting"
    assert decided(found) == Decision()

"""What the workload controllers ask about a pod: does it count, is it ready, which one goes first. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from svclab.controllers.conditions import condition, conditions_of
from svclab.controllers.moments import seconds
from svclab.controllers.reduce import Body, node_of

COST = "controller.kubernetes.io/pod-deletion-cost"
ENDED = ("Succeeded", "Failed")
ORDINAL = {"Pending": 0, "Unknown": 1, "Running": 2}


def phase_of(pod: Body) -> str:
    return (pod.get("status") or {}).get("phase") or "Pending"


def is_terminating(pod: Body) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_active(pod: Body) -> bool:
    """Neither ended nor on its way out."""
    return phase_of(pod) not in ENDED and not is_terminating(pod)


def ready_since(pod: Body) -> float | None:
    """When its condition Ready became True, in seconds since the epoch; None if it is not ready."""
    found = condition(conditions_of(pod), "Ready")
    if found is None or found["status"] != "True":
        return None
    return seconds(found.get("lastTransitionTime"))


def available_at(pod: Body, min_ready_seconds: int) -> float | None:
    """From when on it counts as available; None while it is not ready."""
    since = ready_since(pod)
    return None if since is None else since + min_ready_seconds


def surplus(pods: Iterable[Body], related: Iterable[Body], count: int, now: float) -> list[Body]:
    """The pods to delete first, as kube-controller-manager ranks them (ActivePodsWithRanks).

    `related` are the active pods of all ReplicaSets of the same owner: of two equal pods the one with more of those on
    its node goes. Ages count by powers of two, so that the choice among pods of one batch is as good as random.
    """
    crowd: dict[str, int] = {}
    for pod in related:
        crowd[node_of(pod)] = crowd.get(node_of(pod), 0) + 1
    return sorted(pods, key=lambda pod: _rank(pod, crowd, now))[:count]


def _rank(pod: Body, crowd: Mapping[str, int], now: float) -> tuple[object, ...]:
    since = ready_since(pod)
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return (
        bool(node_of(pod)),
        ORDINAL.get(phase_of(pod), 1),
        since is not None,
        _cost(pod),
        -crowd.get(node_of(pod), 0),
        _magnitude(now - since) if since is not None else 0,
        -max((one.get("restartCount", 0) for one in statuses), default=0),
        _magnitude(now - seconds(pod["metadata"].get("creationTimestamp"))),
        pod["metadata"].get("uid", ""),
    )


def _cost(pod: Body) -> int:
    text = (pod["metadata"].get("annotations") or {}).get(COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def _magnitude(age: float) -> int:
    return int(math.log2(age * 1e9)) if age > 0 else -1

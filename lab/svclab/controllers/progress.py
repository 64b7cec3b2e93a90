"""The status of a Deployment: counts, and the conditions Available, Progressing and ReplicaFailure. Pure.

`kubectl rollout status` and `kubectl wait --for=condition=Available` read what stands here, so reasons and messages
are kube-controller-manager's.
"""

from __future__ import annotations

from collections.abc import Iterable

from svclab.controllers.conditions import condition, without
from svclab.controllers.moments import seconds, stamp
from svclab.controllers.reduce import Body
from svclab.controllers.rollout import counted, fences, replicas_of, total

AVAILABLE, PROGRESSING, FAILURE = "Available", "Progressing", "ReplicaFailure"
NO_DEADLINE = 2**31 - 1
COUNTS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")


def deadline_of(deployment: Body) -> int | None:
    """progressDeadlineSeconds; None if there is none."""
    value = deployment["spec"].get("progressDeadlineSeconds")
    return None if value in (None, NO_DEADLINE) else int(value)


def with_condition(
    conditions: list[Body], type_: str, status: str, reason: str, message: str, now: float
) -> list[Body]:
    """Nothing changes if status and reason are the same; the time of transition moves with the status only."""
    old = condition(conditions, type_)
    if old is not None and old["status"] == status and old.get("reason") == reason:
        return conditions
    moved = old is None or old["status"] != status
    new = {
        "type": type_,
        "status": status,
        "lastUpdateTime": stamp(now),
        "lastTransitionTime": stamp(now) if moved or old is None else old.get("lastTransitionTime"),
        "reason": reason,
        "message": message,
    }
    return [*without(conditions, type_), new]


def counts(deployment: Body, new: Body | None, everything: list[Body], now: float) -> Body:
    """The status without what a rollout says: counts and Available, and the conditions as `deployment` has them."""
    old = deployment.get("status") or {}
    available = counted(everything, "availableReplicas")
    status: Body = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": counted(everything, "replicas"),
        "updatedReplicas": counted([new] if new else [], "replicas"),
        "readyReplicas": counted(everything, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(total(everything) - available, 0),
        "terminatingReplicas": counted(everything, "terminatingReplicas"),
    }
    if "collisionCount" in old:
        status["collisionCount"] = old["collisionCount"]
    desired, unavailable = replicas_of(deployment), fences(deployment)[1]
    conditions = list(old.get("conditions") or ())
    if available >= desired - unavailable:
        said = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        said = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    status["conditions"] = with_condition(conditions, AVAILABLE, *said, now)
    return status


def rolled_out(deployment: Body, new: Body | None, everything: list[Body], now: float) -> Body:
    """The status in the course of a rollout: `counts`, and how the rollout goes."""
    status = counts(deployment, new, everything, now)
    current = condition((deployment.get("status") or {}).get("conditions") or (), PROGRESSING)
    complete = (
        status["replicas"] == status["updatedReplicas"]
        and current is not None
        and current.get("reason") == "NewReplicaSetAvailable"
    )
    if deadline_of(deployment) is None:
        status["conditions"] = without(status["conditions"], PROGRESSING)
    elif not complete:
        status["conditions"] = _progress(deployment, new, status, current, now)
    failures = [one for one in ([new] if new else []) + everything if _failure(one) is not None]
    if failures:
        failed = _failure(failures[0]) or {}
        said = (failed["status"], failed.get("reason", ""), failed.get("message", ""))
        status["conditions"] = with_condition(status["conditions"], FAILURE, *said, now)
    else:
        status["conditions"] = without(status["conditions"], FAILURE)
    return status


def _failure(replicaset: Body) -> Body | None:
    return condition((replicaset.get("status") or {}).get("conditions") or (), FAILURE)


def _progress(deployment: Body, new: Body | None, status: Body, current: Body | None, now: float) -> list[Body]:
    name = deployment["metadata"]["name"]
    subject = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{name}"'
    conditions: list[Body] = status["conditions"]
    if is_complete(deployment, status):
        message = f"{subject} has successfully progressed."
        return with_condition(conditions, PROGRESSING, "True", "NewReplicaSetAvailable", message, now)
    if _has_moved(deployment.get("status") or {}, status):
        # Written anew each time: its lastUpdateTime is what the deadline counts from.
        renewed = with_condition([], PROGRESSING, "True", "ReplicaSetUpdated", f"{subject} is progressing.", now)[0]
        if current is not None and current["status"] == "True":
            renewed["lastTransitionTime"] = current.get("lastTransitionTime")
        return [*without(conditions, PROGRESSING), renewed]
    if _has_timed_out(deployment, current, now):
        message = f"{subject} has timed out progressing."
        return with_condition(conditions, PROGRESSING, "False", "ProgressDeadlineExceeded", message, now)
    return conditions


def is_complete(deployment: Body, status: Body) -> bool:
    """All replicas are new and available, and no old one is left."""
    desired = replicas_of(deployment)
    same = all((status.get(name) or 0) == desired for name in ("updatedReplicas", "replicas", "availableReplicas"))
    return same and (status.get("observedGeneration") or 0) >= deployment["metadata"].get("generation", 0)


def _has_moved(old: Body, new: Body) -> bool:
    was = {name: old.get(name) or 0 for name in COUNTS}
    return bool(
        new["updatedReplicas"] > was["updatedReplicas"]
        or new["replicas"] - new["updatedReplicas"] < was["replicas"] - was["updatedReplicas"]
        or new["readyReplicas"] > was["readyReplicas"]
        or new["availableReplicas"] > was["availableReplicas"]
    )


def _has_timed_out(deployment: Body, current: Body | None, now: float) -> bool:
    deadline = deadline_of(deployment)
    if current is None or deadline is None or current.get("reason") == "NewReplicaSetAvailable":
        return False
    return (
        current.get("reason") == "ProgressDeadlineExceeded" or seconds(current.get("lastUpdateTime")) + deadline < now
    )


def next_look(deployment: Body, status: Body, now: float) -> float | None:
    """Seconds until the deadline may have passed; None if nothing is under way."""
    deadline = deadline_of(deployment)
    current = condition(status.get("conditions") or (), PROGRESSING)
    if deadline is None or current is None or is_complete(deployment, status):
        return None
    if current.get("reason") in ("ProgressDeadlineExceeded", "NewReplicaSetAvailable"):
        return None
    # One second more: times in the API have whole seconds.
    return max(seconds(current.get("lastUpdateTime")) + deadline - now, 0.0) + 1.0


def difference(old: Body, new: Body) -> Body:
    """The merge patch from one status to another; zeros and empty lists are left out, as the API leaves them out."""
    wanted = {name: value for name, value in new.items() if value or name == "terminatingReplicas"}
    patch = {name: value for name, value in wanted.items() if old.get(name) != value}
    return patch | dict.fromkeys(_gone(old, wanted))


def _gone(old: Body, wanted: Body) -> Iterable[str]:
    return (name for name in old if name not in wanted and old[name] is not None)

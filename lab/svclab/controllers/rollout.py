"""The arithmetic of a rolling update: how many pods each ReplicaSet may have now. Pure.

In: a Deployment and its ReplicaSets (API objects). Out: numbers. As in kube-controller-manager's deployment util.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from svclab.controllers.reduce import Body

DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"


def replicas_of(body: Body) -> int:
    """Wanted, by the spec; 1 where nothing is said."""
    wanted = body["spec"].get("replicas")
    return 1 if wanted is None else int(wanted)


def total(replicasets: Iterable[Body]) -> int:
    return sum(replicas_of(one) for one in replicasets)


def counted(replicasets: Iterable[Body], name: str) -> int:
    """The sum of a status field."""
    return sum((one.get("status") or {}).get(name) or 0 for one in replicasets)


def annotation(body: Body, name: str) -> int | None:
    """A number; None if it is missing or none."""
    text = (body["metadata"].get("annotations") or {}).get(name, "")
    return int(text) if text.isdecimal() else None


def is_rolling(deployment: Body) -> bool:
    return bool(strategy_of(deployment).get("type", "RollingUpdate") == "RollingUpdate")


def strategy_of(deployment: Body) -> Mapping[str, Any]:
    return deployment["spec"].get("strategy") or {}


def fences(deployment: Body) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as numbers of pods; never both 0, or nothing could move."""
    if not is_rolling(deployment):
        return 0, 0
    rolling = strategy_of(deployment).get("rollingUpdate") or {}
    desired = replicas_of(deployment)
    surge = scaled(rolling.get("maxSurge", 0), desired, up=True)
    unavailable = scaled(rolling.get("maxUnavailable", 0), desired, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, desired)


def scaled(value: int | str, of: int, *, up: bool) -> int:
    """`value` is a number or a percentage such as "25%", rounded up or down. Anything else counts as 0."""
    if isinstance(value, int):
        return value
    digits = value.removesuffix("%")
    if not digits.isdecimal():
        return 0
    share = int(digits) * of
    return -(-share // 100) if up else share // 100


def maximum(deployment: Body) -> int:
    return replicas_of(deployment) + fences(deployment)[0]


def room_for_new(deployment: Body, everything: Iterable[Body], current: int) -> int:
    """How many replicas the new ReplicaSet, which has `current`, may have now."""
    desired = replicas_of(deployment)
    if not is_rolling(deployment):
        return desired
    room = maximum(deployment) - total(everything)
    return current + min(room, desired - current) if room > 0 else current


def proportional(deployment: Body, active: list[Body]) -> dict[str, int]:
    """Sizes by name when a Deployment is scaled in the middle of a rollout: everyone gets its share of the change."""
    desired = replicas_of(deployment)
    to_add = (maximum(deployment) if desired > 0 else 0) - total(active)
    if to_add > 0:  # the larger first; of two equal ones the newer grows, the older shrinks
        active = sorted(sorted(active, key=_born, reverse=True), key=lambda one: -replicas_of(one))
    elif to_add < 0:
        active = sorted(sorted(active, key=_born), key=lambda one: -replicas_of(one))
    sizes: dict[str, int] = {}
    added = 0
    for one in active:
        share = _share(deployment, one, to_add, added)
        sizes[one["metadata"]["name"]] = replicas_of(one) + share
        added += share
    if active and to_add:
        first = active[0]["metadata"]["name"]
        sizes[first] = max(sizes[first] + to_add - added, 0)
    return sizes


def _share(deployment: Body, one: Body, to_add: int, added: int) -> int:
    size, desired = replicas_of(one), replicas_of(deployment)
    allowed = to_add - added
    if size == 0 or to_add == 0 or allowed == 0:
        return 0
    if desired == 0:
        fraction = -size
    else:
        before = annotation(one, MAXIMUM) or (deployment.get("status") or {}).get("replicas") or 0
        fraction = int(size * maximum(deployment) / before + 0.5) - size if before else 0
    return min(fraction, allowed) if to_add > 0 else max(fraction, allowed)


def _born(body: Body) -> tuple[str, str]:
    return body["metadata"].get("creationTimestamp", ""), body["metadata"]["name"]


def oldest_first(replicasets: Iterable[Body]) -> list[Body]:
    return sorted(replicasets, key=_born)

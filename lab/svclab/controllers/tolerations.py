"""Taints and tolerations. Pure. `v1.Toleration.ToleratesTaint` is the source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from svclab.controllers.reduce import Body

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"


def taints_of(node: Body) -> list[Body]:
    return (node.get("spec") or {}).get("taints") or []


def tolerations_of(pod: Body) -> list[Body]:
    return pod["spec"].get("tolerations") or []


def tolerates(toleration: Body, taint: Body) -> bool:
    """An empty effect means every effect; an empty key with Exists every key."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key", "") == taint["key"] and toleration.get("value", "") == taint.get("value", ""))


def untolerated(taints: Iterable[Body], tolerations: Sequence[Body]) -> list[Body]:
    return [taint for taint in taints if not any(tolerates(one, taint) for one in tolerations)]


def patience(taints: Iterable[Body], tolerations: Sequence[Body]) -> float | None:
    """Seconds that a pod may stay under taints it tolerates: the shortest tolerationSeconds; None for ever."""
    used = (one for taint in taints for one in tolerations if tolerates(one, taint))
    limits = [one["tolerationSeconds"] for one in used if one.get("tolerationSeconds") is not None]
    return max(float(min(limits)), 0.0) if limits else None

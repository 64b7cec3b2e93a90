"""Conditions: the list under `status.conditions` that most kinds have, keyed by type. Pure; lists are never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from svclab.controllers.moments import stamp
from svclab.controllers.reduce import Body

Conditions = Sequence[Body]


def conditions_of(body: Body) -> list[Body]:
    return (body.get("status") or {}).get("conditions") or []


def condition(conditions: Conditions, type_: str) -> Body | None:
    return next((one for one in conditions if one["type"] == type_), None)


def status_of(body: Body, type_: str) -> str:
    """ "True", "False", "Unknown", or "" if the object has no such condition."""
    found = condition(conditions_of(body), type_)
    return "" if found is None else str(found["status"])


def without(conditions: Conditions, type_: str) -> list[Body]:
    return [one for one in conditions if one["type"] != type_]


def replaced(conditions: Conditions, new: Body) -> list[Body]:
    """With the condition of this type in its old place, or at the end."""
    if condition(conditions, new["type"]) is None:
        return [*conditions, new]
    return [new if one["type"] == new["type"] else one for one in conditions]


def pod_condition(pod: Body, type_: str, status: str, now: float, reason: str = "", message: str = "") -> list[Body]:
    """The pod's conditions with this one set; its time of transition moves only if the status does."""
    old = condition(conditions_of(pod), type_)
    new: dict[str, Any] = {"type": type_, "status": status, "lastProbeTime": None, "lastTransitionTime": stamp(now)}
    if reason:
        new["reason"] = reason
    if message:
        new["message"] = message
    if generation := pod["metadata"].get("generation"):
        new["observedGeneration"] = generation
    if old is not None and old["status"] == status:
        new["lastTransitionTime"] = old.get("lastTransitionTime")
    return replaced(conditions_of(pod), new)

"""The ReplicaSet controller: so many pods of this template, no more, no fewer. Pure.

In: ReplicaSets and pods. Out: pods made, deleted, adopted, released; status; events. Like the real one it counts only
active pods, deletes in its order, and leaves pods of a ReplicaSet that is being deleted to the garbage collector.
Pods are made and deleted in bursts of 500. A failed creation shows in the condition ReplicaFailure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from svclab.controllers.conditions import condition, without
from svclab.controllers.moments import stamp
from svclab.controllers.ownership import claimed, controller_reference
from svclab.controllers.pods import available_at, is_active, is_terminating, phase_of, ready_since, surplus
from svclab.controllers.reduce import (
    Body,
    Create,
    Delete,
    Outcome,
    Patch,
    Record,
    Seen,
    World,
    Write,
    controller_of,
    key_of,
)
from svclab.controllers.selection import has_all, labels_of, selects

BURST = 500


class ReplicaSetController:
    name = "replicaset-controller"
    watches = ("replicasets", "pods")

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        if seen.resource == "replicasets":
            return (seen.key,)
        return {key for body in (seen.old, seen.new) if body is not None for key in _concerned(body, world)}

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        replicaset = world.get("replicasets", key)
        if replicaset is None:
            return Outcome()
        metadata, spec = replicaset["metadata"], replicaset["spec"]
        candidates = world.by_namespace("pods", metadata["namespace"])
        claim = claimed(
            replicaset,
            "replicasets",
            spec.get("selector"),
            "pods",
            [pod for pod in candidates if phase_of(pod) not in ("Succeeded", "Failed")],
        )
        active = [pod for pod in claim.owned if is_active(pod)]
        failure = world.failure(self.name, key)
        status = _status(replicaset, active, len(claim.owned) - len(active), failure, now)
        writes: list[Write] = list(claim.writes)
        if status != (replicaset.get("status") or {}):
            writes.append(Patch("replicasets", key, {"status": status}, "status", metadata["uid"]))
        if not is_terminating(replicaset):
            writes += _replicas(replicaset, active, world, now)
        return Outcome(tuple(writes), _next_look(active, spec.get("minReadySeconds", 0), now))


def _concerned(pod: Body, world: World) -> Iterator[str]:
    namespace = pod["metadata"]["namespace"]
    owner = controller_of(pod)
    if owner is not None:
        if owner["kind"] == "ReplicaSet":
            yield f"{namespace}/{owner['name']}"
        return
    for replicaset in world.by_namespace("replicasets", namespace):
        if selects(replicaset["spec"].get("selector"), labels_of(pod)):
            yield key_of(replicaset)


def _status(replicaset: Body, active: list[Body], terminating: int, failure: str, now: float) -> Body:
    old, spec = replicaset.get("status") or {}, replicaset["spec"]
    wanted = labels_of(spec.get("template") or {})
    ready = [pod for pod in active if ready_since(pod) is not None]
    available = sum((available_at(pod, spec.get("minReadySeconds", 0)) or now) <= now for pod in ready)
    conditions = old.get("conditions") or []
    if not failure:
        conditions = without(conditions, "ReplicaFailure")
    elif condition(conditions, "ReplicaFailure") is None:
        reason = "FailedCreate" if len(active) < spec.get("replicas", 1) else "FailedDelete"
        new = {"type": "ReplicaFailure", "status": "True", "lastTransitionTime": stamp(now), "reason": reason}
        conditions = [*conditions, {**new, "message": failure}]
    counts = {
        "fullyLabeledReplicas": sum(has_all(wanted, labels_of(pod)) for pod in active),
        "readyReplicas": len(ready),
        "availableReplicas": available,
        "observedGeneration": replicaset["metadata"].get("generation"),
        "conditions": conditions,
    }
    status: Body = {"replicas": len(active), "terminatingReplicas": terminating}
    for name, value in counts.items():
        if value:
            status[name] = value
        elif name in old:
            status[name] = None  # in a merge patch: the field goes
    return status


def _replicas(replicaset: Body, active: list[Body], world: World, now: float) -> Iterator[Write]:
    missing = replicaset["spec"].get("replicas", 1) - len(active)
    failed = _record(replicaset, "Warning", "FailedCreate", "Error creating: ")
    done = _record(replicaset, "Normal", "SuccessfulCreate", "Created pod: ")
    for _ in range(min(missing, BURST)):
        yield Create("pods", _pod(replicaset), otherwise=failed, then=done)
    if missing < 0:
        related = [pod for one in _siblings(replicaset, world) for _, pod in world.owned_by(one["metadata"]["uid"])]
        for pod in surplus(active, filter(is_active, related), min(-missing, BURST), now):
            yield Delete("pods", key_of(pod), pod["metadata"]["uid"])
            yield _record(replicaset, "Normal", "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")


def _record(replicaset: Body, type_: str, reason: str, message: str) -> Record:
    return Record(replicaset, type_, reason, message, ReplicaSetController.name)


def _siblings(replicaset: Body, world: World) -> list[Body]:
    """The ReplicaSets of the same controller, this one among them."""
    owner = controller_of(replicaset)
    if owner is None:
        return [replicaset]
    return [body for plural, body in world.owned_by(owner["uid"]) if plural == "replicasets"]


def _pod(replicaset: Body) -> Body:
    owner, template = replicaset["metadata"], replicaset["spec"]["template"]
    told = template.get("metadata") or {}
    metadata = {
        "generateName": f"{owner['name']}-",
        "namespace": owner["namespace"],
        "ownerReferences": [controller_reference("replicasets", replicaset)],
        **{field: told[field] for field in ("labels", "annotations", "finalizers") if told.get(field)},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _next_look(active: list[Body], min_ready_seconds: int, now: float) -> float | None:
    """When the next ready pod becomes available."""
    moments = (available_at(pod, min_ready_seconds) for pod in active)
    return min((moment - now for moment in moments if moment is not None and moment > now), default=None)

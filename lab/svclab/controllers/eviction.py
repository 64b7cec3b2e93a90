"""Pods that must go because of their node: NoExecute taints (taint-eviction-controller), and pod GC. Pure.

Eviction: a pod that does not tolerate a taint is deleted at once, one that tolerates it for some seconds after those.
The seconds count from the taint's timeAdded. On a dead node nobody ends the pod: it stays Terminating until the node is
back or deleted, as in reality.

Pod GC: pods of a node that has been missing for QUARANTINE seconds, and pods that are deleted before they were given a
node, are removed for good.
"""

from __future__ import annotations

from collections.abc import Iterable

from svclab.controllers.conditions import pod_condition
from svclab.controllers.moments import seconds
from svclab.controllers.pods import ENDED, is_terminating, phase_of
from svclab.controllers.reduce import Body, Delete, Outcome, Patch, Record, Seen, World, Write, key_of, node_of
from svclab.controllers.tolerations import patience, taints_of, tolerations_of, untolerated

QUARANTINE = 40.0  # seconds


class TaintEvictionController:
    name = "taint-eviction-controller"
    watches = ("pods", "nodes")

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        if seen.resource == "pods":
            return (seen.key,)
        old, new = (_expelling(node) if node is not None else [] for node in (seen.old, seen.new))
        return () if old == new else [key_of(pod) for pod in world.pods_on(seen.key)]

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        pod = world.get("pods", key)
        if pod is None or not node_of(pod) or is_terminating(pod):
            return Outcome()
        node = world.get("nodes", node_of(pod))
        taints = _expelling(node) if node is not None else []
        if not taints:
            return Outcome()
        tolerations = tolerations_of(pod)
        if not untolerated(taints, tolerations):
            limit = patience(taints, tolerations)
            if limit is None:
                return Outcome()
            left = max(seconds(taint.get("timeAdded")) for taint in taints) + limit - now
            if left > 0:
                return Outcome(again_after=left)
        told = f"Marking for deletion Pod {key}"
        return Outcome(
            (
                *_disrupted(pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", now),
                Delete("pods", key, pod["metadata"]["uid"]),
                Record(pod, "Normal", "TaintManagerEviction", told, self.name),
            )
        )


class PodGarbageCollector:
    """Remembers since when it misses a node: what no object tells. A restart begins anew, as in reality."""

    name = "pod-garbage-collector-controller"
    watches = ("pods", "nodes")

    def __init__(self) -> None:
        self._missed: dict[str, float] = {}

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        if seen.resource == "pods":
            return (seen.key,)
        return [key_of(pod) for pod in world.pods_on(seen.key)] if None in (seen.old, seen.new) else ()

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        pod = world.get("pods", key)
        if pod is None:
            return Outcome()
        node = node_of(pod)
        if not node:
            return Outcome(_removed(pod)) if is_terminating(pod) else Outcome()
        if world.get("nodes", node) is not None:
            self._missed.pop(node, None)
            return Outcome()
        left = self._missed.setdefault(node, now) + QUARANTINE - now
        if left > 0:
            return Outcome(again_after=left)
        marked = _disrupted(pod, "DeletionByPodGC", "PodGC: node no longer exists", now)
        return Outcome((*marked, *_removed(pod)))


def _expelling(node: Body) -> list[Body]:
    return [taint for taint in taints_of(node) if taint["effect"] == "NoExecute"]


def _disrupted(pod: Body, reason: str, message: str, now: float) -> tuple[Write, ...]:
    conditions = pod_condition(pod, "DisruptionTarget", "True", now, reason, message)
    return (Patch("pods", key_of(pod), {"status": {"conditions": conditions}}, "status", pod["metadata"]["uid"]),)


def _removed(pod: Body) -> tuple[Write, ...]:
    key, uid = key_of(pod), pod["metadata"]["uid"]
    failed = () if phase_of(pod) in ENDED else (Patch("pods", key, {"status": {"phase": "Failed"}}, "status", uid),)
    return (*failed, Delete("pods", key, uid, grace_seconds=0))

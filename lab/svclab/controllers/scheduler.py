"""The scheduler: a node for every pod that has none. Pure.

In: pods and nodes. Out: bindings, or the condition and event that say why there is no node, in kube-scheduler's words.
A node fits if it is not cordoned, its taints are tolerated, the node selector and the required node affinity match, the
host ports are free and it takes one more pod. Of those the scheduler takes the one with the fewest pods of the same
owner, then the fewest pods, then the first by name. Refused (as if it was not asked for): requests of CPU and memory,
affinity to pods, topology spread, preemption, other schedulers. The runner counts a pod as bound as soon as the binding
is on its way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from svclab.controllers.conditions import condition, conditions_of, pod_condition, status_of
from svclab.controllers.pods import ENDED, is_terminating, phase_of
from svclab.controllers.reduce import (
    Body,
    Create,
    Outcome,
    Patch,
    Record,
    Seen,
    World,
    controller_of,
    key_of,
    node_of,
)
from svclab.controllers.selection import has_all, labels_of
from svclab.controllers.tolerations import (
    NOT_READY,
    UNREACHABLE,
    UNSCHEDULABLE,
    taints_of,
    tolerates,
    tolerations_of,
    untolerated,
)

CORDONED = "node(s) were unschedulable"
TAINTED = "node(s) had untolerated taint(s)"
UNMATCHED = "node(s) didn't match Pod's node affinity/selector"
NO_PORTS = "node(s) didn't have free ports for the requested pod ports"
TOO_MANY = "Too many pods"
CLAIMS = "no new claims to deallocate"  # said of device claims, whether or not there are any
UNHELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"


class Scheduler:
    name = "default-scheduler"
    watches = ("pods", "nodes")

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        if seen.resource == "pods":  # of a pod that ended, others may want the place or the port
            freed = seen.old is not None and node_of(seen.old) and (seen.new is None or phase_of(seen.new) in ENDED)
            waiting = [key_of(pod) for pod in world.pods_on("")] if freed else []
            return [*waiting, seen.key]
        if seen.old is not None and seen.new is not None and _concerns(seen.old) == _concerns(seen.new):
            return ()  # a heartbeat
        return [key_of(pod) for pod in world.pods_on("")]

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        pod = world.get("pods", key)
        if pod is None or not _is_ours(pod):
            return Outcome()
        refusals: dict[str, str] = {}
        fitting: list[str] = []
        for name, node in world.all("nodes").items():
            reason = _refusal(pod, node, world)
            if reason:
                refusals[name] = reason
            else:
                fitting.append(name)
        if fitting:
            return _bound(pod, min(fitting, key=lambda name: _burden(pod, name, world)))
        return _unschedulable(pod, refusals, now)


def _is_ours(pod: Body) -> bool:
    spec = pod["spec"]
    return (
        not node_of(pod)
        and not is_terminating(pod)
        and phase_of(pod) not in ENDED
        and not spec.get("schedulingGates")
        and spec.get("schedulerName", "default-scheduler") == "default-scheduler"
    )


def _concerns(node: Body) -> tuple[object, ...]:
    return labels_of(node), node.get("spec"), status_of(node, "Ready"), (node.get("status") or {}).get("allocatable")


def _refusal(pod: Body, node: Body, world: World) -> str:
    """Why the pod cannot run there, "" if it can; the first of kube-scheduler's filters that refuses."""
    tolerations = tolerations_of(pod)
    if (node.get("spec") or {}).get("unschedulable"):
        cordon = {"key": UNSCHEDULABLE, "effect": "NoSchedule"}
        if not any(tolerates(one, cordon) for one in tolerations):
            return CORDONED
    taints = [taint for taint in _taints(node) if taint["effect"] in ("NoSchedule", "NoExecute")]
    if untolerated(taints, tolerations):
        return TAINTED
    if not _matches(pod, node):
        return UNMATCHED
    wanted = list(_host_ports(pod))
    if wanted:
        others = world.pods_on(node["metadata"]["name"])
        taken = [port for other in others if phase_of(other) not in ENDED for port in _host_ports(other)]
        if any(_collide(one, other) for one in wanted for other in taken):
            return NO_PORTS
    return TOO_MANY if _is_full(node, world) else ""


def _is_full(node: Body, world: World) -> bool:
    """As many pods as the node says it takes; a node that says nothing takes any number."""
    room = ((node.get("status") or {}).get("allocatable") or {}).get("pods")
    if room is None or not str(room).isdecimal():
        return False
    there = world.pods_on(node["metadata"]["name"])
    return sum(phase_of(pod) not in ENDED for pod in there) >= int(room)


def _taints(node: Body) -> list[Body]:
    """With the one that a node gets which is not ready, before the node life cycle has written it down."""
    ready = status_of(node, "Ready")
    if ready == "True":
        return taints_of(node)
    return [*taints_of(node), {"key": UNREACHABLE if ready == "Unknown" else NOT_READY, "effect": "NoSchedule"}]


def _matches(pod: Body, node: Body) -> bool:
    spec = pod["spec"]
    if not has_all(spec.get("nodeSelector") or {}, labels_of(node)):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def _term_matches(term: Body, node: Body) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    own_fields = {"metadata.name": node["metadata"]["name"]}
    labels = labels_of(node)
    return bool(expressions or fields) and (
        all(_holds(one, labels) for one in expressions) and all(_holds(one, own_fields) for one in fields)
    )


def _holds(expression: Body, values: dict[str, str]) -> bool:
    value, wanted = values.get(expression["key"]), expression.get("values") or []
    match expression["operator"]:
        case "In":
            return value in wanted
        case "NotIn":
            return value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            try:
                return int(value or "") > int(wanted[0]) if operator == "Gt" else int(value or "") < int(wanted[0])
            except ValueError:
                return False
    return False


def _host_ports(pod: Body) -> Iterator[tuple[str, str, int]]:
    spec = pod["spec"]
    for container in spec.get("containers") or ():
        for port in container.get("ports") or ():
            number = port.get("hostPort") or (port["containerPort"] if spec.get("hostNetwork") else 0)
            if number:
                yield port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", number


def _collide(one: tuple[str, str, int], other: tuple[str, str, int]) -> bool:
    return one[1:] == other[1:] and (one[0] == other[0] or "0.0.0.0" in (one[0], other[0]))


def _burden(pod: Body, node: str, world: World) -> tuple[int, int, str]:
    """What speaks against a node; the least wins."""
    there = [other for other in world.pods_on(node) if phase_of(other) not in ENDED]
    owner = controller_of(pod)
    same = 0
    if owner is not None:
        owners = (controller_of(other) for other in there if not is_terminating(other))
        same = sum(one is not None and one["uid"] == owner["uid"] for one in owners)
    return same, len(there), node


def _bound(pod: Body, node: str) -> Outcome:
    metadata = pod["metadata"]
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {name: metadata[name] for name in ("name", "namespace", "uid")},
        "target": target,
    }
    told = f"Successfully assigned {key_of(pod)} to {node}"
    return Outcome(
        (Create("pods", binding, "binding"), Record(pod, "Normal", "Scheduled", told, Scheduler.name)),
    )


def _unschedulable(pod: Body, refusals: dict[str, str], now: float) -> Outcome:
    """Says why, once: a pod that says it already is left alone."""
    message = _explanation(refusals)
    old = condition(conditions_of(pod), "PodScheduled")
    if old is not None and old["status"] == "False" and old.get("message") == message:
        return Outcome()
    conditions = pod_condition(pod, "PodScheduled", "False", now, "Unschedulable", message)
    key, uid = key_of(pod), pod["metadata"]["uid"]
    return Outcome(
        (
            Patch("pods", key, {"status": {"conditions": conditions}}, "status", uid),
            Record(pod, "Warning", "FailedScheduling", message, Scheduler.name),
        )
    )


def _explanation(refusals: dict[str, str]) -> str:
    if not refusals:
        return "no nodes available to schedule pods"
    preemption = [NO_VICTIMS if reason in (NO_PORTS, TOO_MANY) else UNHELPFUL for reason in refusals.values()]
    head = f"0/{len(refusals)} nodes are available: "
    return f"{head}{_histogram(refusals.values())} {CLAIMS}, preemption: {head}{_histogram(preemption)}"


def _histogram(reasons: Iterable[str]) -> str:
    return ", ".join(sorted(f"{count} {reason}" for reason, count in Counter(reasons).items())) + "."

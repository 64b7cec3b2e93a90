"""The node life cycle: who has stopped reporting, and what that means for its taints and its pods. Pure.

In: nodes, their leases and pods. Out: conditions Unknown, taints, pods that are no longer Ready, and so no longer
endpoints. A node is heard when its Lease (namespace kube-node-lease) is renewed or its condition Ready is refreshed;
`started` counts as hearing from everyone, so that controllers that were away do not blame the nodes.

It remembers which nodes it has told of (events RegisteredNode, RemovingNode), like the real one anew at each start.
The real one looks every five seconds, ours when the grace period ends. Not here: zones, and the slower eviction when
many nodes fail at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from svclab.controllers.conditions import condition, conditions_of, replaced, status_of
from svclab.controllers.moments import seconds, stamp
from svclab.controllers.pods import ENDED, phase_of
from svclab.controllers.reduce import Body, Outcome, Patch, Record, Seen, World, Write, key_of
from svclab.controllers.tolerations import NOT_READY, UNREACHABLE, UNSCHEDULABLE, taints_of

GRACE = 50.0  # seconds: the default of --node-monitor-grace-period
STARTUP_GRACE = 60.0
LEASES = "kube-node-lease"
KUBELET_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
TAINTS_OF = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
}
OURS = frozenset((*TAINTS_OF.values(), UNSCHEDULABLE))


class NodeLifecycleController:
    name = "node-lifecycle-controller"
    watches = ("nodes", "leases", "pods")

    def __init__(self, grace: float = GRACE, started: float = 0.0) -> None:
        self._grace = grace
        self._started = started
        self._known: dict[str, str] = {}

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        if seen.resource == "nodes":
            return (seen.key,)
        if seen.resource == "leases":
            namespace, _, name = seen.key.rpartition("/")
            return (name,) if namespace == LEASES else ()
        # A pod matters only where its node is silent and it still says Ready.
        pod = seen.new
        if pod is None or status_of(pod, "Ready") != "True":
            return ()
        node = world.get("nodes", pod["spec"].get("nodeName") or "")
        return (key_of(node),) if node is not None and status_of(node, "Ready") == "Unknown" else ()

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        node = world.get("nodes", key)
        if node is None:
            uid = self._known.pop(key, "")
            return Outcome((_told(key, uid, "RemovingNode", f"Removing Node {key} from Controller"),) if uid else ())
        left = self._heard(node, world) + self._grace_of(node) - now
        writes: list[Write] = []
        if key not in self._known:
            self._known[key] = node["metadata"]["uid"]
            writes.append(_told(key, self._known[key], "RegisteredNode", f"Registered Node {key} in Controller"))
        if left <= 0:
            silent = _silenced(node, now)
            if silent != conditions_of(node):
                writes.append(_guarded(node, {"status": {"conditions": silent}}, "status"))
                if status_of(node, "Ready") == "True":
                    told = f"Node {key} status is now: NodeNotReady"
                    writes.append(Record(node, "Normal", "NodeNotReady", told, "node-controller"))
                status = {**(node.get("status") or {}), "conditions": silent}
                node = {**node, "status": status}
        taints = list(_taints(node, now))
        # After a patch of the conditions the version is another one: the taints follow when that has been seen.
        if taints != taints_of(node) and node is world.get("nodes", key):
            writes.append(_guarded(node, {"spec": {"taints": taints or None}}))
        if status_of(node, "Ready") == "Unknown":
            writes += _unready(key, world, now)
        return Outcome(tuple(writes), left + 0.01 if left > 0 else None)

    def _heard(self, node: Body, world: World) -> float:
        lease = world.get("leases", f"{LEASES}/{node['metadata']['name']}") or {}
        ready = condition(conditions_of(node), "Ready") or {}
        return max(
            seconds((lease.get("spec") or {}).get("renewTime")),
            seconds(ready.get("lastHeartbeatTime")),
            seconds(node["metadata"].get("creationTimestamp")),
            self._started,
        )

    def _grace_of(self, node: Body) -> float:
        return STARTUP_GRACE if condition(conditions_of(node), "Ready") is None else self._grace


def _told(name: str, uid: str, reason: str, what: str) -> Record:
    about = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": uid}}
    return Record(about, "Normal", reason, f"Node {name} event: {what}", "node-controller")


def _guarded(node: Body, change: Body, subresource: str = "") -> Patch:
    """A patch of lists that the kubelet and kubectl write too: refused if somebody was faster."""
    metadata = node["metadata"]
    change = {"metadata": {"resourceVersion": metadata.get("resourceVersion")}, **change}
    return Patch("nodes", metadata["name"], change, subresource, metadata["uid"])


def _silenced(node: Body, now: float) -> list[Body]:
    conditions = conditions_of(node)
    for type_ in KUBELET_CONDITIONS:
        old = condition(conditions, type_)
        if old is None:
            reason, message = "NodeStatusNeverUpdated", "Kubelet never posted node status."
            heard = node["metadata"].get("creationTimestamp")
        elif old["status"] != "Unknown":
            reason, message = "NodeStatusUnknown", "Kubelet stopped posting node status."
            heard = old.get("lastHeartbeatTime")
        else:
            continue
        new = {"type": type_, "status": "Unknown", "reason": reason, "message": message}
        times = {"lastHeartbeatTime": heard, "lastTransitionTime": stamp(now)}
        conditions = replaced(conditions, {**new, **times})
    return conditions


def _taints(node: Body, now: float) -> Iterator[Body]:
    """The node's taints as they should be: somebody else's stay, in their order."""
    wanted = {(key, "NoSchedule") for pair, key in TAINTS_OF.items() if status_of(node, pair[0]) == pair[1]}
    wanted |= {(key, "NoExecute") for key, effect in wanted if key in (NOT_READY, UNREACHABLE)}
    if (node.get("spec") or {}).get("unschedulable"):
        wanted.add((UNSCHEDULABLE, "NoSchedule"))
    for taint in taints_of(node):
        this = (taint["key"], taint["effect"])
        ours = taint["key"] in OURS and taint["effect"] in ("NoSchedule", "NoExecute")
        if not ours or this in wanted:
            yield taint
        wanted.discard(this)
    for key, effect in sorted(wanted, reverse=True):  # NoSchedule before NoExecute, as it happens in reality
        yield {"key": key, "effect": effect, "timeAdded": stamp(now)}


def _unready(node: str, world: World, now: float) -> Iterator[Write]:
    for pod in world.pods_on(node):
        if status_of(pod, "Ready") == "True" and phase_of(pod) not in ENDED:
            old = condition(conditions_of(pod), "Ready") or {}
            conditions = replaced(conditions_of(pod), {**old, "status": "False", "lastTransitionTime": stamp(now)})
            change = {"status": {"conditions": conditions}}
            yield Patch("pods", key_of(pod), change, "status", pod["metadata"]["uid"])
            yield Record(pod, "Warning", "NodeNotReady", "Node is not ready", "node-controller")

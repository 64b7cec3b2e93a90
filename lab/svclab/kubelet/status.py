"""The status of a pod: container states, phase and conditions, from what runs. Pure.

In: a `Pod`, the node's addresses, the time. Out: `status` as the kubelet reports it (kubernetes pkg/kubelet/status and
kubelet_pods.go: getPhase, generateAPIPodStatus), ready to be compared with the one sent last.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from svclab.kubelet.pods import Container, Pod, Run, crash_loop, inits, is_sidecar, mains, restarts

Body: TypeAlias = dict[str, Any]

OWN = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
RUNTIME = "svcplane"


def pod_status(pod: Pod, host: Sequence[str], now: float) -> Body:
    """What the API server is told. `host` are the node's addresses."""
    old = pod.reported if pod.reported is not None else pod.body.get("status") or {}
    first = [_container_status(pod, spec, now) for spec in inits(pod.body)]
    rest = [_container_status(pod, spec, now) for spec in mains(pod.body)]
    phase = _phase(pod, {one["name"]: one for one in (*first, *rest)}, str(old.get("phase", "")))
    status: Body = {"phase": phase, "startTime": moment(pod.started_at)}
    if host:
        status |= {"hostIP": host[0], "hostIPs": [{"ip": address} for address in host]}
    addresses = pod.sandbox.addresses if pod.sandbox is not None else ()
    if pod.host_network:
        addresses = tuple(host)
    if not addresses and old.get("podIPs"):
        status |= {"podIP": old["podIP"], "podIPs": old["podIPs"]}
    elif addresses:
        status |= {"podIP": addresses[0], "podIPs": [{"ip": address} for address in addresses]}
    if pod.ending is not None and pod.ending.reason:
        status |= {"phase": "Failed", "reason": pod.ending.reason, "message": pod.ending.message}
    status["containerStatuses"] = rest
    if first:
        status["initContainerStatuses"] = first
    generation = pod.body["metadata"].get("generation")
    if generation:
        status["observedGeneration"] = generation
    status["conditions"] = _conditions(pod, status, first, rest, old, now)
    return status


def moment(seconds: float) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_ready(pod: Pod, container: Container) -> bool:
    """Does a running container take requests?"""
    probe = container.probes.get("readiness")
    return container.running and container.begun and (probe is None or probe.verdict is True)


def _container_status(pod: Pod, spec: Body, now: float) -> Body:
    container = pod.containers[spec["name"]]
    run = container.run
    state, last = _states(pod, spec, container, now)
    ordinary_init = spec in inits(pod.body) and not is_sidecar(spec, pod.body)
    done = run is not None and run.exit_code == 0
    status: Body = {
        "name": spec["name"],
        "image": spec.get("image", ""),
        "imageID": f"{RUNTIME}://{spec.get('image', '')}" if run is not None else "",
        "ready": done if ordinary_init else is_ready(pod, container),
        "started": container.running and container.begun and not ordinary_init,
        "restartCount": run.attempt if run is not None else 0,
        "state": state,
        "lastState": last,
    }
    if run is not None:
        status["containerID"] = f"{RUNTIME}://{run.id}"
    if spec.get("resources"):
        status["resources"] = spec["resources"]
    if (spec.get("resources") or {}).get("requests"):
        status["allocatedResources"] = spec["resources"]["requests"]
    if spec.get("volumeMounts"):
        status["volumeMounts"] = [_mount_status(mount) for mount in spec["volumeMounts"]]
    return status


def _mount_status(mount: Body) -> Body:
    shown: Body = {"name": mount["name"], "mountPath": mount["mountPath"]}
    return {**shown, "readOnly": True, "recursiveReadOnly": "Disabled"} if mount.get("readOnly") else shown


def _states(pod: Pod, spec: Body, container: Container, now: float) -> tuple[Body, Body]:
    """`state` and `lastState`."""
    run, previous = container.run, container.previous
    last = _terminated(previous) if previous is not None else {}
    if run is not None and run.exit_code is None:
        return {"running": {"startedAt": moment(run.started_at)}}, last
    over = _terminated(run) if run is not None else {}
    loop = crash_loop(pod, container, now)
    stopped_init = spec in inits(pod.body) and run is not None and run.exit_code == 0 and not is_sidecar(spec, pod.body)
    if pod.ending is None and not stopped_init:
        if container.waiting is not None:
            reason, message = container.waiting
            return {"waiting": {"reason": reason, **({"message": message} if message else {})}}, over or last
        if loop is not None:
            return {"waiting": {"reason": "CrashLoopBackOff", "message": loop[1]}}, over
    if over:
        return over, last
    return {"waiting": {"reason": "PodInitializing" if inits(pod.body) else "ContainerCreating"}}, last


def _terminated(run: Run) -> Body:
    code = run.exit_code or 0
    shown: Body = {"exitCode": code, "reason": run.reason or ("Completed" if code == 0 else "Error")}
    if run.message:
        shown["message"] = run.message
    shown |= {"startedAt": moment(run.started_at), "finishedAt": moment(run.finished_at)}
    return {"terminated": {**shown, "containerID": f"{RUNTIME}://{run.id}"}}


def _phase(pod: Pod, statuses: dict[str, Body], old: str) -> str:
    if old in ("Succeeded", "Failed"):
        return old
    pending = waiting = running = stopped = succeeded = final = 0
    for spec in inits(pod.body):
        state, last = statuses[spec["name"]]["state"], statuses[spec["name"]]["lastState"]
        if is_sidecar(spec, pod.body):
            running += "running" in state
            waiting += "waiting" in state and "terminated" not in last
            pending += ("running" in state and not statuses[spec["name"]]["started"]) or (
                "waiting" in state and "terminated" not in last
            )
            continue
        over = state.get("terminated") or (last.get("terminated") if "waiting" in state else None)
        if over is None:
            pending += 1
        elif over["exitCode"] and not restarts(spec, pod.body, over["exitCode"]):
            return "Failed"
    for spec in mains(pod.body):
        state, last = statuses[spec["name"]]["state"], statuses[spec["name"]]["lastState"]
        over = state.get("terminated") or (last.get("terminated") if "waiting" in state else None)
        running += "running" in state
        waiting += "waiting" in state and over is None
        stopped += over is not None
        succeeded += "terminated" in state and state["terminated"]["exitCode"] == 0
        final += over is not None and not restarts(spec, pod.body, over["exitCode"])
    has_run = any(pod.containers[spec["name"]].running for spec in mains(pod.body))
    if (pending and not has_run) or waiting:
        return "Pending"
    if running:
        return "Running"
    if stopped and pod.ending is None and stopped != final:
        return "Running"
    if stopped and (pod.ending is not None or stopped == final):
        return "Succeeded" if stopped == succeeded else "Failed"
    return "Pending"


def _conditions(pod: Pod, status: Body, first: list[Body], rest: list[Body], old: Body, now: float) -> list[Body]:
    phase = status["phase"]
    foreign = [one for one in (pod.body.get("status") or {}).get("conditions") or [] if one["type"] not in OWN]
    containers = _containers_ready(pod, first, rest, phase)
    ready = containers if containers[0] == "False" else _gates(pod, foreign)
    there = pod.sandbox is not None and not pod.dissolved
    wanted = {
        "PodReadyToStartContainers": ("True" if there else "False", "", ""),
        "Initialized": _initialized(pod, first, phase),
        "Ready": ready,
        "ContainersReady": containers,
        "PodScheduled": ("True", "", ""),
    }
    before = {one["type"]: one for one in old.get("conditions") or []}
    generation = pod.body["metadata"].get("generation")
    found = list(foreign)
    for kind, (value, reason, message) in wanted.items():
        known = before.get(kind)
        same = known is not None and known["status"] == value
        condition: Body = {"type": kind, "status": value, "lastProbeTime": None}
        condition["lastTransitionTime"] = known["lastTransitionTime"] if known and same else moment(now)
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        if generation:
            condition["observedGeneration"] = generation
        found.append(condition)
    return found


Shown: TypeAlias = tuple[str, str, str]
"""Status, reason and message of a condition."""


def _containers_ready(pod: Pod, first: list[Body], rest: list[Body], phase: str) -> Shown:
    if phase == "Succeeded":
        return "False", "PodCompleted", ""
    if phase == "Failed":
        return "False", "PodFailed", ""
    sidecars = {spec["name"] for spec in inits(pod.body) if is_sidecar(spec, pod.body)}
    unready = [one["name"] for one in first if one["name"] in sidecars and not one["ready"]]
    unready += [one["name"] for one in rest if not one["ready"]]
    if unready:
        return "False", "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return "True", "", ""


def _gates(pod: Pod, foreign: list[Body]) -> Shown:
    values = {one["type"]: one["status"] for one in foreign}
    complaints = []
    for gate in pod.body["spec"].get("readinessGates") or []:
        kind = gate["conditionType"]
        if kind not in values:
            complaints.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif values[kind] != "True":
            complaints.append(f'the status of pod readiness gate "{kind}" is not "True", but {values[kind]}')
    return ("False", "ReadinessGatesNotReady", ", ".join(complaints)) if complaints else ("True", "", "")


def _initialized(pod: Pod, first: list[Body], phase: str) -> Shown:
    if phase == "Succeeded":
        return "True", "PodCompleted", ""
    if any(pod.containers[spec["name"]].run is not None for spec in mains(pod.body)):
        return "True", "", ""
    sidecars = {spec["name"] for spec in inits(pod.body) if is_sidecar(spec, pod.body)}
    missing = [one["name"] for one in first if not (one["started"] if one["name"] in sidecars else one["ready"])]
    if missing:
        return "False", "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(missing)}]"
    return "True", "", ""

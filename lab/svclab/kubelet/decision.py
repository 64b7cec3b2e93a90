"""What to do next about a pod: from what is wanted and what is there, the steps that can be taken now. Pure.

In: a `Pod` and the time. Out: steps, and when to look again. Nothing is changed here; the loop takes the steps, marks
what is under way (`busy`, `stopping`) and asks again when something happened. The order of things is the kubelet's:
volumes and sandbox, init containers one by one, sidecars among them, then the others; backwards at the end.
"""

from __future__ import annotations

import msgspec

from svclab.kubelet.pods import Container, Ending, Pod, crash_loop, initialized, inits, is_sidecar, mains, restarts

# Seconds between the first starts of a pod's containers: a kubelet takes that long for each, so the first one named
# gets the port that two want.
BETWEEN_STARTS = 0.3


class Prepare(msgspec.Struct, frozen=True):
    """Make the volumes and the sandbox."""


class Start(msgspec.Struct, frozen=True):
    name: str


class Stop(msgspec.Struct, frozen=True):
    """preStop hook, SIGTERM, and after `grace` seconds SIGKILL."""

    name: str
    message: str
    grace: float


class Kill(msgspec.Struct, frozen=True):
    name: str


class End(msgspec.Struct, frozen=True):
    """The pod is over by itself. `reason` and `message` are for its status, if they are not empty."""

    reason: str = ""
    message: str = ""


class Dissolve(msgspec.Struct, frozen=True):
    """Take the sandbox down; nothing runs in it any more."""


class Forget(msgspec.Struct, frozen=True):
    """Tell the API server that the pod is gone, and drop everything about it."""


Step = Prepare | Start | Stop | Kill | End | Dissolve | Forget


class Decision(msgspec.Struct, frozen=True):
    """`again_at` is when time alone will change the decision; None if it will not."""

    steps: tuple[Step, ...] = ()
    again_at: float | None = None


def next_steps(pod: Pod, now: float) -> Decision:
    """The steps to take now. The same question gives the same answer until a step is marked as under way."""
    kills, wakes = _overdue(pod, now)
    more, later = _ending(pod, pod.ending) if pod.ending is not None else _active(pod, now)
    times = [moment for moment in (*wakes, *later) if moment > now]
    return Decision((*kills, *more), min(times, default=None))


def _overdue(pod: Pod, now: float) -> tuple[list[Step], list[float]]:
    stopped = [one for one in pod.containers.values() if one.running and one.kill_at]
    return [Kill(one.name) for one in stopped if now >= one.kill_at], [one.kill_at for one in stopped]


def _ending(pod: Pod, ending: Ending) -> tuple[list[Step], list[float]]:
    sidecars = {spec["name"] for spec in inits(pod.body) if is_sidecar(spec, pod.body)}
    running = [one for one in pod.containers.values() if one.running]
    if running:
        group = [one for one in running if one.name not in sidecars] or running[-1:]  # sidecars end last, in reverse
        grace = ending.grace
        return [Stop(one.name, f"Stopping container {one.name}", grace) for one in group if not one.stopping], []
    if pod.busy or any(one.busy == "starting" for one in pod.containers.values()):
        return [], []
    if not pod.dissolved:
        return [Dissolve()], []
    return ([Forget()] if ending.deleting else []), []


def _active(pod: Pod, now: float) -> tuple[list[Step], list[float]]:
    deadline = pod.body["spec"].get("activeDeadlineSeconds")
    limit = [pod.started_at + float(deadline)] if deadline is not None else []
    if limit and now >= limit[0]:
        message = "Pod was active on the node longer than the specified deadline"
        return [End("DeadlineExceeded", message)], []
    if pod.sandbox is None:
        left = [one for one in pod.containers.values() if one.running]
        if left:  # the sandbox died under them: they cannot be used any more
            return [Kill(one.name) for one in left if not one.kill_at], limit
        if pod.busy:
            return [], limit
        return ([Prepare()], limit) if now >= pod.retry_at else ([], [*limit, pod.retry_at])
    steps, wakes = _wanted(pod, now)
    return [*_unhealthy(pod), *steps], [*wakes, *limit]


def _unhealthy(pod: Pod) -> list[Step]:
    found: list[Step] = []
    for container in pod.containers.values():
        if not container.running or container.stopping:
            continue
        spec = pod.spec_of(container.name)
        if container.run is not None and container.run.image != spec.get("image", ""):
            found.append(
                Stop(container.name, f"Container {container.name} definition changed, will be restarted", _grace(pod))
            )
            continue
        for kind in ("liveness", "startup"):
            probe = container.probes.get(kind)
            if probe is None or probe.verdict is not False:
                continue
            message = f"Container {container.name} failed {kind} probe"
            if restarts(spec, pod.body, 137):
                message += ", will be restarted"
            own = probe.spec.get("terminationGracePeriodSeconds")
            found.append(Stop(container.name, message, _grace(pod) if own is None else float(own)))
            break
    return found


def _grace(pod: Pod) -> float:
    return float(pod.body["spec"].get("terminationGracePeriodSeconds", 30))


def _wanted(pod: Pod, now: float) -> tuple[list[Step], list[float]]:
    """Which container is to be started, if one is; containers of a pod are started one after the other."""
    past = initialized(pod)
    wakes: list[float] = []
    for spec in inits(pod.body):
        container = pod.containers[spec["name"]]
        if not is_sidecar(spec, pod.body):
            over = container.finished
            if past or (over is not None and over.exit_code == 0):
                continue
            if over is not None and not restarts(spec, pod.body, over.exit_code or 0):
                return [End()], []
            return _started(pod, container, now)
        if not container.running:
            steps, later = _started(pod, container, now)
            wakes += later
            if steps or not past:
                return steps, wakes
        elif not container.begun and not past:
            return [], wakes
    going = False
    for spec in mains(pod.body):
        container = pod.containers[spec["name"]]
        over = container.finished
        if over is not None and not restarts(spec, pod.body, over.exit_code or 0):
            continue
        going = True
        if not container.running:
            steps, later = _started(pod, container, now)
            wakes += later
            if steps:
                return steps, wakes
    return ([] if going else [End()]), wakes


def _started(pod: Pod, container: Container, now: float) -> tuple[list[Step], list[float]]:
    if container.running or any(one.busy for one in pod.containers.values()):
        return [], []
    loop = crash_loop(pod, container, now)
    due = max(container.retry_at, loop[0] if loop else 0.0)
    if container.run is None:
        others = [one.run.started_at for one in pod.containers.values() if one.run is not None and one.running]
        due = max(due, max(others, default=0.0) + BETWEEN_STARTS)
    return ([Start(container.name)], []) if now >= due else ([], [due])

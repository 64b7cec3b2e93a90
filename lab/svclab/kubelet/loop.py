"""The kubelet's one loop: what the API server wants, what runs, what was decided, done.

In: an `Access`, settings, the kubelet's files. Out: pods of this node as processes, their statuses. `decision` says
what to do next about a pod, `preparing` and `running` begin it. Whatever blocks (the API server, hooks, probes, making
namespaces) happens in a thread made for it, which hands a call back to the loop; only the loop changes a `Pod`. What
runs is on disk before it runs, so a kubelet that is killed at any moment finds everything when it starts again.
"""

from __future__ import annotations

import collections
import logging
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar

import msgspec

from svckube.access import Access
from svckube.observe import fields
from svclab.kubelet import decision, network, probing
from svclab.kubelet.deaths import Deaths
from svclab.kubelet.decision import Dissolve, End, Forget, Kill, Prepare, Start, Step, Stop
from svclab.kubelet.node import Machine, Presence
from svclab.kubelet.pods import Container, Ending, Pod, fresh, grace_of
from svclab.kubelet.preparing import Preparing, host_ports
from svclab.kubelet.reporting import Events, Statuses
from svclab.kubelet.running import Running
from svclab.kubelet.starting import Library, Settings
from svclab.kubelet.status import OWN, pod_status
from svclab.kubelet.storage import Storage
from svclab.processes import lives
from svclab.watched import Seen, Watched, resource

Body: TypeAlias = dict[str, Any]
T = TypeVar("T")

PULL_NOTE_SECONDS = 2.0  # after which ErrImagePull becomes ImagePullBackOff
NETWORK_RETRY_SECONDS = 5.0
LONGEST_WAIT = 60.0
MANY_STEPS = 100  # of one pod at once: more would be a decision that forgets what is under way

_log = logging.getLogger(__name__)


class Kubelet:
    """From `run` to `stop`. Pods stay when it ends."""

    def __init__(self, access: Access, settings: Settings, here: Machine, storage: Storage) -> None:
        self._settings = settings
        self._storage = storage
        self._happened: collections.deque[tuple[str, Callable[[Pod], None]]] = collections.deque()
        self._pods: dict[str, Pod] = {}
        self._dirty: set[str] = set()
        self._due: dict[str, float] = {}
        self._saved: dict[str, bytes] = {}
        self._layout: network.Layout | None = None
        self._network_due = 0.0
        self._listed = False
        self._stopping = threading.Event()
        pods = resource("/api/v1/pods", field_selector=f"spec.nodeName={settings.node}")
        self._watched = Watched(access, [pods, resource("/api/v1/services"), resource("/api/v1/nodes")])
        self._presence = Presence(access, here, settings.frequency, self._network_problem, self._own_node)
        self._statuses = Statuses(access, lambda uid: self.later(uid, self._vanished))
        self._events = Events(access, settings.node)
        shared = (settings, storage, Library(access), self._events, Deaths())
        self._preparing = Preparing(self, *shared)
        self._running = Running(self, *shared)

    def run(self) -> None:
        """Returns after `stop`."""
        self._adopt()
        self._events.about_node("Normal", "Starting", "Starting kubelet.")
        self._presence.start()
        self._watched.start()
        try:
            while not self._stopping.is_set():
                seen = self._watched.wait(self._patience())
                while self._happened:
                    uid, call = self._happened.popleft()
                    if (pod := self._pods.get(uid)) is not None:
                        call(pod)
                        self._dirty.add(uid)
                self._take_in(seen)
                if self._watched.synced:
                    self._work()
        finally:
            self._watched.stop()

    def stop(self) -> None:
        """From any thread, or a signal handler."""
        self._stopping.set()
        self._watched.wake()

    def healthy(self) -> bool:
        return not self._stopping.is_set()

    # What `carrying_out` asks of us

    def background(self, pod: Pod, work: Callable[[], T], done: Callable[[Pod, T | Exception], None]) -> None:
        uid = pod.uid

        def run() -> None:
            result: T | Exception
            try:
                result = work()
            except Exception as error:  # it is taken in where the result is
                result = error
            self.later(uid, lambda one: done(one, result))

        threading.Thread(target=run, name=f"work {pod.key}", daemon=True).start()

    def later(self, uid: str, call: Callable[[Pod], None]) -> None:
        self._happened.append((uid, call))
        self._watched.wake()

    def services(self) -> Iterable[Body]:
        return self._watched.tables["services"].values()

    def pod_ranges(self) -> tuple[str, ...]:
        # Not before the routes are there: a pod that starts without them has an outage at its very beginning.
        return self._layout.own if self._layout is not None else ()

    # The loop

    def _patience(self) -> float:
        if self._dirty:
            return 0.0
        times = [*self._due.values(), *([self._network_due] if self._network_due else [])]
        return min(max(min(times, default=LONGEST_WAIT + time.time()) - time.time(), 0.0), LONGEST_WAIT) or 0.001

    def _work(self) -> None:
        now = time.time()
        if not self._listed:
            self._listed = True
            there = {pod["metadata"]["uid"] for pod in self._watched.tables["pods"].values()}
            for uid, pod in self._pods.items():
                if uid not in there:
                    self._gone(pod, now)
        if self._network_due and now >= self._network_due:
            self._settle_network(now)
        due = self._dirty | {uid for uid, moment in self._due.items() if moment <= now}
        self._dirty = set()
        for uid in sorted(due, key=lambda one: self._pods[one].started_at if one in self._pods else 0.0):
            if (found := self._pods.get(uid)) is not None:
                try:
                    self._sync(found, now)
                except Exception:  # one odd pod must not stop the others
                    _log.exception("pod failed", extra=fields(pod=found.key))
                    self._due[uid] = now + 10.0

    def _sync(self, pod: Pod, now: float) -> None:
        if pod.hidden and pod.busy == "forgetting":
            self._drop(pod)
            return
        times = [*self._ask_probes(pod, now), *self._age_pulls(pod, now)]
        if pod.refresh_at and pod.sandbox is not None and pod.ending is None:
            if now >= pod.refresh_at:
                self._preparing.refresh(pod)
            times.append(pod.refresh_at)
        for _ in range(MANY_STEPS):
            decided = decision.next_steps(pod, now)
            if not decided.steps:
                break
            for step in decided.steps:
                self._take(pod, step, now)
        else:
            _log.error("too many steps", extra=fields(pod=pod.key, steps=decided.steps))
        if decided.again_at is not None:
            times.append(decided.again_at)
        self._report(pod, now)
        self._due[pod.uid] = min((moment for moment in times if moment), default=now + 3600)
        self._save(pod)
        if pod.hidden and pod.busy == "forgetting":
            self._drop(pod)

    def _take(self, pod: Pod, step: Step, now: float) -> None:
        """Begins a step and marks the pod, so that it is not chosen again."""
        match step:
            case Prepare():
                self._preparing.prepare(pod, now)
            case Start(name):
                self._running.start(pod, pod.containers[name])
            case Stop(name, message, grace):
                self._running.stop(pod, pod.containers[name], message, grace, now)
            case Kill(name):
                self._running.kill(pod, pod.containers[name], now)
            case End(reason, message):
                pod.ending = Ending(now, grace_of(pod.body), reason=reason, message=message)
            case Dissolve():
                self._preparing.dissolve(pod)
            case Forget():
                pod.busy = "forgetting"
                if not pod.hidden:
                    self._statuses.delete(pod.uid, api_path(pod))

    def _ask_probes(self, pod: Pod, now: float) -> list[float]:
        """Asks the probes that are due; returns when the others are."""
        times = []
        for container in pod.containers.values():
            if not container.running:
                continue
            for kind in probing.KINDS:
                probe = container.probes.get(kind)
                if probe is None or probe.resting or container.begun == (kind == "startup"):
                    continue
                if kind != "readiness" and (pod.ending is not None or container.stopping):
                    continue
                if now >= probe.due:
                    self._running.probe(pod, container, probe, now)
                times.append(container.probes[kind].due)
        return times

    def _age_pulls(self, pod: Pod, now: float) -> list[float]:
        times = []
        for container in pod.containers.values():
            if container.waiting is not None and container.waiting[0] == "ErrImagePull":
                moment = container.image_backoff.since + PULL_NOTE_SECONDS
                if now >= moment:
                    self._running.pull_back_off(pod, container)
                else:
                    times.append(moment)
        return times

    def _report(self, pod: Pod, now: float) -> None:
        status = pod_status(pod, self._settings.addresses, now)
        if pod.hidden or status == pod.reported:
            return
        pod.reported = status
        self._statuses.report(pod.uid, api_path(pod), status)

    def _save(self, pod: Pod) -> None:
        record = msgspec.json.encode(pod)
        if self._saved.get(pod.uid) != record:
            self._saved[pod.uid] = record
            self._storage.save(pod)

    def _drop(self, pod: Pod) -> None:
        self._storage.drop(pod)
        for table in (self._pods, self._due, self._saved):
            table.pop(pod.uid, None)

    # What the API server says

    def _take_in(self, seen: list[Seen]) -> None:
        now = time.time()
        for one in seen:
            if one.resource == "nodes":
                self._network_due = self._network_due or now
            elif one.resource == "pods":
                before = one.old["metadata"]["uid"] if one.old is not None else ""
                replaced = one.new is None or one.new["metadata"]["uid"] != before
                if replaced and before in self._pods:
                    self._gone(self._pods[before], now)
                if one.new is not None:
                    self._wanted(one.new, now)

    def _wanted(self, body: Body, now: float) -> None:
        uid = body["metadata"]["uid"]
        pod = self._pods.get(uid)
        over = (body.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        deleting = body["metadata"].get("deletionTimestamp") is not None
        if pod is None:
            if over and not deleting:
                return
            pod = self._pods[uid] = fresh(body, now)
            self._say_what_is_missing(pod)
        pod.body = body
        self._dirty.add(uid)
        if deleting or over:
            grace = grace_of(body)
            if pod.ending is None:
                pod.ending = Ending(now, grace, deleting)
            elif grace < pod.ending.grace:
                pod.ending.grace = grace
                self._running.hurry(pod, now)
            pod.ending.deleting = pod.ending.deleting or deleting
        if pod.reported is not None and not self._statuses.pending(uid) and _contradicts(body, pod.reported):
            pod.reported = {**pod.reported, "phase": ""}  # somebody else wrote it: it is sent again

    def _say_what_is_missing(self, pod: Pod) -> None:
        if ports := host_ports(pod):
            wanted = ", ".join(map(str, ports))
            message = f"hostPort {wanted} is not opened on the node: this kubelet has no host ports; use a NodePort"
            self._events.about_pod(pod.body, "Warning", "HostPortNotSupported", message)

    def _gone(self, pod: Pod, now: float) -> None:
        """The API server does not have it any more: it ends, whatever it was doing."""
        pod.hidden = True
        if pod.ending is None:
            pod.ending = Ending(now, grace_of(pod.body))
        pod.ending.deleting = True
        self._dirty.add(pod.uid)

    def _vanished(self, pod: Pod) -> None:
        """A write about it was refused, because it is gone or another one has its name."""
        key = self._watched.tables["pods"].get(pod.key)
        if key is None or key["metadata"]["uid"] != pod.uid:
            self._gone(pod, time.time())

    def _own_node(self) -> Body | None:
        return self._watched.tables["nodes"].get(self._settings.node)

    # Network

    def _network_problem(self) -> str:
        if self._layout is not None and self._layout.own:
            return ""
        return "NetworkReady=false reason:NetworkPluginNotReady message:the node has no pod CIDR yet"

    def _settle_network(self, now: float) -> None:
        self._network_due = 0.0
        wanted = network.layout(self._settings.node, list(self._watched.tables["nodes"].values()))
        if wanted == self._layout:
            return
        try:
            network.applied(wanted)
        except (OSError, subprocess.SubprocessError, LookupError) as error:
            _log.warning("network not set up", extra=fields(reason=network.problem(error)))
            self._network_due = now + NETWORK_RETRY_SECONDS
            return
        _log.info("network set up", extra=fields(own=" ".join(wanted.own), routes=len(wanted.gateways)))
        had = self._layout is not None and self._layout.own
        self._layout = wanted
        if wanted.own and not had:
            self._presence.hurry()
            for pod in self._pods.values():
                if pod.sandbox is None:
                    pod.retry_at = 0.0
                    self._dirty.add(pod.uid)

    # What is there already

    def _adopt(self) -> None:
        for pod in self._storage.load():
            self._pods[pod.uid] = pod
            self._dirty.add(pod.uid)
            pod.busy = ""
            pod.hidden = False
            pod.retry_at = 0.0
            if pod.ending is not None and not pod.ending.reason:
                pod.ending = None if not pod.dissolved else pod.ending
            if pod.sandbox is not None and lives(pod.sandbox.pause):
                self._preparing.watch_sandbox(pod)
            elif pod.sandbox is not None:
                self._preparing.lose_sandbox(pod)
            for container in pod.containers.values():
                self._adopt_container(pod, container)
        kept = [uid for uid, pod in self._pods.items() if pod.sandbox is not None]
        self._preparing.release_addresses(keep=kept)
        if self._pods:
            running = sum(one.running for pod in self._pods.values() for one in pod.containers.values())
            _log.info("adopted", extra=fields(pods=len(self._pods), containers=running))

    def _adopt_container(self, pod: Pod, container: Container) -> None:
        container.busy, container.stopping, container.told, container.kill_at = "", "", False, 0.0
        if not container.running or container.run is None:
            return
        if not lives(container.run.shim):
            self._running.died(pod, container, container.run.id)
            return
        self._running.watch_run(pod, container)
        now = time.time()
        for kind, probe in container.probes.items():
            spread = random.random() * min(probe.period, 1.0)  # noqa: S311  # not all of them at once
            container.probes[kind] = msgspec.structs.replace(probe, due=now + spread)


def api_path(pod: Pod) -> str:
    """The pod's address in the API."""
    return f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"


def _contradicts(body: Body, reported: Body) -> bool:
    """Does the object say otherwise about what only the kubelet knows? The node life cycle controller does."""
    there = {one["type"]: one["status"] for one in (body.get("status") or {}).get("conditions") or []}
    ours = {one["type"]: one["status"] for one in reported["conditions"] if one["type"] in OWN}
    return any(there.get(kind, value) != value for kind, value in ours.items())

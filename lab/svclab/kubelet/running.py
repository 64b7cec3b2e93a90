"""Starts, stops and watches containers, runs their hooks, asks their probes.

In: a `Pod`, one of its containers, what `decision` wants of it. Out: work in threads, whose results are written into
the `Pod` in the loop; events in the kubelet's words. A container passes its gate when the record of it is on disk.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any, TypeAlias

import msgspec

from svckube.access import AccessError
from svckube.observe import fields
from svclab.identity import Identity
from svclab.kubelet import checks, probing, starting
from svclab.kubelet.backoff import Backoff
from svclab.kubelet.containers import Launch, Launched, LaunchError, launched
from svclab.kubelet.deaths import Deaths
from svclab.kubelet.environment import service_variables
from svclab.kubelet.office import Office
from svclab.kubelet.pods import MINIMUM_GRACE, Container, Pod, Run, crash_loop, grace_of
from svclab.kubelet.reporting import Events
from svclab.kubelet.starting import Library, Settings, StartError
from svclab.kubelet.storage import Storage
from svclab.processes import signalled

Body: TypeAlias = dict[str, Any]

CONFIG_RETRY_SECONDS = 5.0
HOOK_SECONDS = 3600.0  # a postStart hook has no time-out of its own
LOG_TAIL = 2048  # bytes of a log that may become a termination message
MESSAGE_LIMIT = 4096

_log = logging.getLogger(__name__)


class Running:
    """All methods are called in the loop."""

    def __init__(
        self, office: Office, settings: Settings, storage: Storage, library: Library, events: Events, deaths: Deaths
    ) -> None:
        self._office = office
        self._settings = settings
        self._storage = storage
        self._library = library
        self._events = events
        self._deaths = deaths

    def start(self, pod: Pod, container: Container) -> None:
        container.busy = "starting"
        links = service_variables(
            self._office.services(), pod.namespace, pod.body["spec"].get("enableServiceLinks", True) is not False
        )

        def work() -> tuple[Launch, Launched]:
            launch = starting.launch_of(pod, container.name, links, self._library, self._settings, self._storage)
            return launch, launched(launch)

        def done(one: Pod, result: tuple[Launch, Launched] | Exception) -> None:
            known = one.containers[container.name]
            known.busy = ""
            if isinstance(result, Exception):
                self._start_failed(one, known, result)
            else:
                self._started(one, known, *result)

        self._office.background(pod, work, done)

    def _started(self, pod: Pod, container: Container, launch: Launch, result: Launched) -> None:
        spec, now = pod.spec_of(container.name), time.time()
        run = self._next_run(pod, container)
        container.run = msgspec.structs.replace(
            run, shim=result.shim, init=result.init, environment=dict(launch.environment), directory=launch.directory
        )
        container.waiting, container.retry_at, container.image_backoff = None, 0.0, Backoff()
        container.probes = {
            kind: probing.begun(kind, spec[probing.FIELDS[kind]], now)
            for kind in probing.KINDS
            if spec.get(probing.FIELDS[kind])
        }
        container.begun = "startup" not in container.probes
        self._storage.forget_run(pod, container.name, run.attempt - 2)
        self._storage.save(pod)
        result.release()
        self.watch_run(pod, container)
        self._say_started(pod, container, spec)
        if hook := (spec.get("lifecycle") or {}).get("postStart"):
            self._post_start(pod, container, container.run, hook)

    def _next_run(self, pod: Pod, container: Container) -> Run:
        """The run after the last one, which goes into history."""
        over, nobody = container.finished, Identity(0, 0, "")
        if over is not None:
            container.backoff = container.backoff.after(over.finished_at)
            container.previous = over
        attempt = 0 if over is None else over.attempt + 1
        image = pod.spec_of(container.name).get("image", "")
        return Run(os.urandom(32).hex(), attempt, image, nobody, nobody, time.time())

    def _say_started(self, pod: Pod, container: Container, spec: Body) -> None:
        image = spec.get("image", "")
        if spec.get("imagePullPolicy") == "Always":
            self._say(pod, container, "Normal", "Pulling", f'Pulling image "{image}"')
            pulled = f'Successfully pulled image "{image}" in 0s (0s including waiting). Image size: 0 bytes.'
        else:
            pulled = f'Container image "{image}" already present on machine and can be accessed by the pod'
        self._say(pod, container, "Normal", "Pulled", pulled)
        self._say(pod, container, "Normal", "Created", "Container created")
        self._say(pod, container, "Normal", "Started", "Container started")

    def _start_failed(self, pod: Pod, container: Container, error: Exception) -> None:
        now, image = time.time(), pod.spec_of(container.name).get("image", "")
        if isinstance(error, StartError) and error.reason in ("ErrImagePull", "InvalidImageName"):
            if error.reason == "ErrImagePull":
                self._say(pod, container, "Normal", "Pulling", f'Pulling image "{image}"')
                self._say(pod, container, "Warning", "Failed", f'Failed to pull image "{image}": {error.message}')
                self._say(pod, container, "Warning", "Failed", "Error: ErrImagePull")
            else:
                self._say(pod, container, "Warning", "InspectFailed", error.message)
                self._say(pod, container, "Warning", "Failed", "Error: InvalidImageName")
            container.waiting = (error.reason, error.message)
            container.image_backoff = container.image_backoff.after(now)
            container.retry_at = container.image_backoff.ends(now)
        elif isinstance(error, StartError):
            self._say(pod, container, "Warning", "Failed", f"Error: {error.message}")
            container.waiting = (error.reason, error.message)
            container.retry_at = now + CONFIG_RETRY_SECONDS
        elif isinstance(error, AccessError):
            container.retry_at = now + 1.0
            _log.warning(
                "container not started", extra=fields(pod=pod.key, container=container.name, reason=error.message)
            )
        elif isinstance(error, LaunchError):
            self._say(pod, container, "Warning", "Failed", f"Error: {error}")
            self._ran_not(pod, container, str(error), now)
        else:
            _log.error("container not started", exc_info=error, extra=fields(pod=pod.key, container=container.name))
            container.waiting = ("CreateContainerError", str(error))
            container.retry_at = now + CONFIG_RETRY_SECONDS

    def _ran_not(self, pod: Pod, container: Container, message: str, now: float) -> None:
        """A program that cannot be started is a run that failed at once, with 128, as with container runtimes."""
        container.run = msgspec.structs.replace(
            self._next_run(pod, container), finished_at=now, exit_code=128, reason="StartError", message=message
        )
        self._say_back_off(pod, container, now)

    def pull_back_off(self, pod: Pod, container: Container) -> None:
        """Some time after a failed pull: the state that a user sees until the next try."""
        image = pod.spec_of(container.name).get("image", "")
        _, message = container.waiting or ("", "")
        container.waiting = ("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {message}')
        self._say(pod, container, "Normal", "BackOff", f'Back-off pulling image "{image}"')
        self._say(pod, container, "Warning", "Failed", "Error: ImagePullBackOff")

    def watch_run(self, pod: Pod, container: Container) -> None:
        run, uid, name = container.run, pod.uid, container.name
        if run is None:
            return
        self._deaths.watch(
            run.shim, lambda: self._office.later(uid, lambda one: self.died(one, one.containers[name], run.id))
        )

    def died(self, pod: Pod, container: Container, run_id: str) -> None:
        """The shim has ended: the run is over."""
        run = container.run
        if run is None or run.id != run_id or run.exit_code is not None:
            return
        signalled(run.init, signal.SIGKILL)  # it has ended, unless somebody killed the shim
        code, finished = self._exit_status(pod, container, run)
        message = self._last_words(pod, container, run, code)
        container.run = msgspec.structs.replace(
            run,
            exit_code=code,
            finished_at=finished,
            reason="Completed" if code == 0 else "Error",
            message=message,
            environment={},
        )
        container.stopping, container.told, container.kill_at = "", False, 0.0
        container.probes = {}
        container.begun = False
        self._say_back_off(pod, container, time.time())

    def _say_back_off(self, pod: Pod, container: Container, now: float) -> None:
        if crash_loop(pod, container, now) is not None:
            message = f"Back-off restarting failed container {container.name} in pod {pod.shown}"
            self._say(pod, container, "Warning", "BackOff", message)

    def _exit_status(self, pod: Pod, container: Container, run: Run) -> tuple[int, float]:
        file = self._storage.exit_status(pod, container.name, run.attempt)
        try:
            return int(file.read_text()), file.stat().st_mtime
        except (OSError, ValueError):
            return 137, time.time()  # killed together with its shim

    def _last_words(self, pod: Pod, container: Container, run: Run, code: int) -> str:
        spec = pod.spec_of(container.name)
        folder = self._storage.folder(pod)
        try:
            said = starting.termination_file(folder, container.name, run.attempt).read_bytes()[:MESSAGE_LIMIT]
            if not said and code and spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
                said = self._storage.log(pod, container.name, run.attempt).read_bytes()[-LOG_TAIL:]
        except OSError:
            return ""
        return said.decode(errors="replace")

    # Ends

    def stop(self, pod: Pod, container: Container, message: str, grace: float, now: float) -> None:
        container.stopping = message
        container.kill_at = now + max(grace, MINIMUM_GRACE)
        self._say(pod, container, "Normal", "Killing", message)
        hook = (pod.spec_of(container.name).get("lifecycle") or {}).get("preStop")
        if not hook or container.run is None or grace <= 0:
            self._tell(pod, container)
            return
        run, spec, address = container.run, pod.spec_of(container.name), self.address_of(pod)

        def done(one: Pod, result: tuple[bool, str] | Exception) -> None:
            known = one.containers[container.name]
            if isinstance(result, Exception) or not result[0]:
                self._say(one, known, "Warning", "FailedPreStopHook", "PreStopHook failed")
            if known.run is not None and known.run.id == run.id and known.running:
                known.kill_at = max(known.kill_at, time.time() + MINIMUM_GRACE)
                self._tell(one, known)

        self._office.background(pod, lambda: checks.checked(hook, spec, run, address, grace, "lifecycle"), done)

    def _tell(self, pod: Pod, container: Container) -> None:
        wanted = (pod.spec_of(container.name).get("lifecycle") or {}).get("stopSignal", "SIGTERM")
        if container.run is not None:
            signalled(container.run.init, getattr(signal, wanted, signal.SIGTERM))
            container.told = True

    def kill(self, pod: Pod, container: Container, now: float) -> None:
        container.stopping = container.stopping or f"Stopping container {container.name}"
        if container.run is not None and not signalled(container.run.init, signal.SIGKILL):
            signalled(container.run.shim, signal.SIGKILL)  # it should have ended with the other
        container.kill_at = now + MINIMUM_GRACE

    def hurry(self, pod: Pod, now: float) -> None:
        """The grace period of a pod that ends became shorter."""
        for container in pod.containers.values():
            if container.stopping and pod.ending is not None:
                container.kill_at = min(container.kill_at, now + max(pod.ending.grace, MINIMUM_GRACE))

    # Hooks and probes

    def _post_start(self, pod: Pod, container: Container, run: Run, hook: Body) -> None:
        container.busy = "hook"
        spec, address = pod.spec_of(container.name), self.address_of(pod)

        def done(one: Pod, result: tuple[bool, str] | Exception) -> None:
            known = one.containers[container.name]
            known.busy = ""
            if isinstance(result, Exception) or not result[0]:
                self._say(one, known, "Warning", "FailedPostStartHook", "PostStartHook failed")
                if known.running and not known.stopping:
                    self.stop(one, known, "FailedPostStartHook", grace_of(one.body), time.time())

        self._office.background(pod, lambda: checks.checked(hook, spec, run, address, HOOK_SECONDS, "lifecycle"), done)

    def probe(self, pod: Pod, container: Container, probe: probing.Probe, now: float) -> None:
        """Asks once. Until the answer is in, the probe is not due again."""
        run, spec, address = container.run, pod.spec_of(container.name), self.address_of(pod)
        if run is None:
            return
        container.probes[probe.kind] = msgspec.structs.replace(probe, due=now + probe.timeout + 60.0)

        def done(one: Pod, result: tuple[bool, str] | Exception) -> None:
            known = one.containers[container.name]
            if known.run is None or known.run.id != run.id or not known.running:
                return
            success, said = (False, str(result)) if isinstance(result, Exception) else result
            self._answered(one, known, probe, success, said, now)

        self._office.background(
            pod, lambda: checks.checked(probe.spec, spec, run, address, probe.timeout, "probe"), done
        )

    def _answered(
        self, pod: Pod, container: Container, probe: probing.Probe, success: bool, said: str, asked: float
    ) -> None:
        now = time.time()
        if not success and not probing.forgiving(probe, now) and not container.stopping:
            self._say(pod, container, "Warning", "Unhealthy", f"{probe.kind.capitalize()} probe failed: {said}")
        after = probing.answered(probe, success, now)
        if after.due > asked + probe.period:  # the period is from question to question
            after = msgspec.structs.replace(after, due=max(asked + probe.period, now))
        container.probes[probe.kind] = after
        if probe.kind == "startup" and after.verdict:
            container.begun = True

    def address_of(self, pod: Pod) -> str:
        """Where probes and hooks find the pod."""
        found = self._settings.addresses if pod.host_network else (pod.sandbox.addresses if pod.sandbox else ())
        return found[0] if found else "127.0.0.1"

    def _say(self, pod: Pod, container: Container, kind: str, reason: str, message: str) -> None:
        first = any(spec["name"] == container.name for spec in pod.body["spec"].get("initContainers") or [])
        path = f"spec.{'initContainers' if first else 'containers'}{{{container.name}}}"
        self._events.about_pod(pod.body, kind, reason, message, path)

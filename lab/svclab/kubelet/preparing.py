"""Gives pods their volumes, addresses and sandbox, and takes them back.

In: a `Pod` that `decision` wants prepared or dissolved. Out: work in threads, whose results are written into the `Pod`
in the loop; events in the kubelet's words. A sandbox passes its gate only after the record of it is on disk.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any, TypeAlias

from svckube.access import AccessError
from svckube.observe import fields
from svclab.identity import Identity
from svclab.kubelet import addresses as ranges
from svclab.kubelet import sandbox, starting, volumes
from svclab.kubelet.containers import Launched
from svclab.kubelet.deaths import Deaths
from svclab.kubelet.office import Office
from svclab.kubelet.pods import Pod, Sandbox, specs
from svclab.kubelet.reporting import Events
from svclab.kubelet.starting import Library, Settings
from svclab.kubelet.storage import Given, Storage

Body: TypeAlias = dict[str, Any]

REFRESH_SECONDS = 60.0  # between looks at the sources of volumes
RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # after a failure

_log = logging.getLogger(__name__)


class Preparing:
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
        self._given: Given = storage.given()

    def prepare(self, pod: Pod, now: float) -> None:
        try:
            given = self._addresses_for(pod)
        except ranges.ExhaustedError as error:
            self._prepare_failed(pod, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            return
        if given is None:
            message = "network is not ready: the node has no pod CIDR yet"
            self._events.about_pod(pod.body, "Warning", "NetworkNotReady", message)
            pod.retry_at = now + 5.0  # a change of the Node is looked at at once
            return
        pod.busy = "preparing"
        self._storage.save(pod)

        def work() -> tuple[Sandbox, Launched, float]:
            refresh = self._fill_volumes(pod, given)
            starting.write_files(pod, self._storage, self._settings, given)
            return *sandbox.sandbox(pod, given, self._settings.node), refresh

        self._office.background(pod, work, self._prepared)

    def _addresses_for(self, pod: Pod) -> tuple[str, ...] | None:
        """Next free addresses, one of each range of the node, kept on disk; None if the node has no range."""
        if pod.host_network:
            return self._settings.addresses
        if pod.uid in self._given.taken:
            return self._given.taken[pod.uid]
        chosen = []
        taken = {address for those in self._given.taken.values() for address in those}
        for cidr in self._office.pod_ranges():
            chosen.append(ranges.next_free(cidr, taken, self._given.last.get(cidr, "")))
            self._given.last[cidr] = chosen[-1]
        if not chosen:
            return None
        self._given.taken[pod.uid] = tuple(chosen)
        self._storage.save_given(self._given)
        return tuple(chosen)

    def release_addresses(self, keep: Iterable[str] | None = None, uid: str = "") -> None:
        """Those of one pod, or of all but those in `keep`."""
        before = dict(self._given.taken)
        kept = None if keep is None else set(keep)
        self._given.taken = {
            one: those for one, those in before.items() if (one in kept if kept is not None else one != uid)
        }
        if self._given.taken != before:
            self._storage.save_given(self._given)

    def _fill_volumes(self, pod: Pod, addresses: tuple[str, ...]) -> float:
        """In a thread. Returns when to look again, 0.0 for never."""
        sources = starting.sources_of(pod.body, self._library, self._settings, addresses)
        now = time.time()
        stamp = time.strftime("%Y_%m_%d_%H_%M_%S", time.gmtime(now)) + f".{int(now * 1e9) % 10**9:09d}"
        renew = volumes.made(pod.body, self._storage.folder(pod), sources, stamp)
        changing = now + REFRESH_SECONDS if volumes.changes(pod.body) else None
        return min((moment for moment in (renew, changing) if moment is not None), default=0.0)

    def _prepared(self, pod: Pod, result: tuple[Sandbox, Launched, float] | Exception) -> None:
        pod.busy = ""
        if isinstance(result, volumes.VolumeError):
            self._prepare_failed(pod, "FailedMount", str(result))
        elif isinstance(result, AccessError):
            self._prepare_failed(pod, "", f"volumes cannot be made: {result.message}")
        elif isinstance(result, Exception):
            self._prepare_failed(pod, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {result}")
        else:
            pod.sandbox, held, pod.refresh_at = result
            pod.failures = 0
            self._storage.save(pod)
            held.release()
            self.watch_sandbox(pod)

    def _prepare_failed(self, pod: Pod, reason: str, message: str) -> None:
        if reason:
            self._events.about_pod(pod.body, "Warning", reason, message)
        else:
            _log.warning("pod not prepared", extra=fields(pod=pod.key, reason=message))
        pod.retry_at = time.time() + RETRY_SECONDS[min(pod.failures, len(RETRY_SECONDS) - 1)]
        pod.failures += 1

    def refresh(self, pod: Pod) -> None:
        """Brings the volumes of a running pod up to date."""
        pod.refresh_at = time.time() + REFRESH_SECONDS
        given = self._settings.addresses if pod.host_network else (pod.sandbox.addresses if pod.sandbox else ())

        def done(one: Pod, result: float | Exception) -> None:
            if isinstance(result, volumes.VolumeError):
                self._events.about_pod(one.body, "Warning", "FailedMount", str(result))
            elif not isinstance(result, Exception):
                one.refresh_at = result

        self._office.background(pod, lambda: self._fill_volumes(pod, given), done)

    def watch_sandbox(self, pod: Pod) -> None:
        if pod.sandbox is None:
            return
        pause = pod.sandbox.pause
        self._deaths.watch(pause, lambda: self._office.later(pod.uid, lambda one: self._sandbox_died(one, pause)))

    def _sandbox_died(self, pod: Pod, pause: Identity) -> None:
        if pod.sandbox is None or pod.sandbox.pause != pause or pod.busy == "dissolving" or pod.dissolved:
            return
        self.lose_sandbox(pod)

    def lose_sandbox(self, pod: Pod) -> None:
        """The namespaces are gone, and the addresses with them."""
        if pod.ending is None:
            message = "Pod sandbox changed, it will be killed and re-created."
            self._events.about_pod(pod.body, "Normal", "SandboxChanged", message)
        pod.sandbox = None
        self.release_addresses(uid=pod.uid)

    def dissolve(self, pod: Pod) -> None:
        pod.busy = "dissolving"
        there = pod.sandbox

        def done(one: Pod, result: Exception | None) -> None:
            one.busy = ""
            one.dissolved = True
            self.release_addresses(uid=one.uid)

        self._office.background(pod, lambda: sandbox.dissolve(there) if there is not None else None, done)


def host_ports(pod: Pod) -> list[int]:
    """Ports that a pod with a network of its own wants on the node."""
    if pod.host_network:
        return []
    return [port["hostPort"] for spec in specs(pod.body) for port in spec.get("ports") or [] if port.get("hostPort")]

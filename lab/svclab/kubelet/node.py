"""The Node object of this machine: registered, kept ready, its Lease renewed. One thread of its own.

In: what the machine is, whether the network is ready. Out: a Node as the kubelet registers it, status patches when
something changed (and every REPORT_SECONDS), a Lease renewed every `frequency` seconds. A Node that somebody else
marked as not ready (the node life cycle controller, after an outage) is put right within one renewal.
"""

from __future__ import annotations

import http.client
import logging
import os
import platform
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from svckube.access import STRATEGIC_MERGE_PATCH, Access, AccessError
from svckube.observe import fields
from svclab.kubelet.status import moment

Body: TypeAlias = dict[str, Any]

REPORT_SECONDS = 300.0
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
VERSION = "v1.36.3+svcplane"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}

_PRESSURES = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}

_log = logging.getLogger(__name__)


class Machine(msgspec.Struct, frozen=True):
    """What is reported of the machine."""

    name: str
    addresses: tuple[str, ...]
    capacity: dict[str, str]
    info: dict[str, str]

    @property
    def architecture(self) -> str:
        return self.info["architecture"]


def machine(name: str, addresses: tuple[str, ...], root: Path) -> Machine:
    """Reads what there is to know about this host."""
    memory = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    disk = os.statvfs(root)
    machine_id = _text("/etc/machine-id") or _text("/var/lib/dbus/machine-id")
    release = dict(line.partition("=")[::2] for line in _text("/etc/os-release").splitlines())
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    info = {
        "machineID": machine_id,
        "systemUUID": _text("/sys/class/dmi/id/product_uuid") or machine_id,
        "bootID": _text("/proc/sys/kernel/random/boot_id"),
        "kernelVersion": platform.release(),
        "osImage": release.get("PRETTY_NAME", "Linux").strip('"'),
        "containerRuntimeVersion": "svcplane://0.1.0",
        "kubeletVersion": VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": architecture,
    }
    capacity = {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{memory}Ki",
        "pods": "110",
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
    }
    return Machine(name, addresses, capacity, info)


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def node_labels(here: Machine) -> dict[str, str]:
    labels = {"kubernetes.io/hostname": here.name, "kubernetes.io/arch": here.architecture, "kubernetes.io/os": "linux"}
    return {**labels, "beta.kubernetes.io/arch": here.architecture, "beta.kubernetes.io/os": "linux"}


def node_status(here: Machine, problem: str, old: Body, now: float) -> Body:
    """The wanted status. `problem` is why pods cannot have a network, "" if they can. Pure."""
    before = {one["type"]: one for one in old.get("conditions") or []}
    wanted = {kind: ("False", *words) for kind, words in _PRESSURES.items()}
    wanted["Ready"] = ("True", "KubeletReady", "kubelet is posting ready status")
    if problem:
        wanted["Ready"] = ("False", "KubeletNotReady", f"container runtime network not ready: {problem}")
    conditions = []
    for kind, (value, reason, message) in wanted.items():
        known = before.get(kind)
        since = known["lastTransitionTime"] if known and known["status"] == value else moment(now)
        condition = {"type": kind, "status": value, "reason": reason, "message": message}
        conditions.append({**condition, "lastHeartbeatTime": moment(now), "lastTransitionTime": since})
    addresses = [{"type": "InternalIP", "address": address} for address in here.addresses]
    return {
        "addresses": [*addresses, {"type": "Hostname", "address": here.name}],
        "capacity": here.capacity,
        "allocatable": here.capacity,
        "conditions": conditions,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
        "nodeInfo": here.info,
    }


def differs(wanted: Body, there: Body) -> bool:
    """Does the API server's status say something else, heartbeats aside? Pure."""
    known = {one["type"]: one for one in there.get("conditions") or []}
    for one in wanted["conditions"]:
        other = known.get(one["type"], {})
        if any(one[key] != other.get(key) for key in ("status", "reason", "message")):
            return True
    return any(wanted[key] != there.get(key) for key in ("addresses", "capacity", "allocatable", "nodeInfo"))


class Presence:
    """Keeps the Node and its Lease, from `start` on. `network_problem` and `seen` are asked at each renewal.

    `seen` gives the Node as it was last watched, None if it is not there (or not listed yet).
    """

    def __init__(
        self,
        access: Access,
        here: Machine,
        frequency: float,
        network_problem: Callable[[], str],
        seen: Callable[[], Body | None],
    ) -> None:
        self._access = access
        self._here = here
        self._frequency = frequency
        self._network_problem = network_problem
        self._seen = seen
        self._lease: Body | None = None
        self._reported = 0.0
        self._node: Body | None = None
        self._hurry = threading.Event()
        self.contact = 0.0  # when a renewal last succeeded
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def hurry(self) -> None:
        """Something about the node changed: look now."""
        self._hurry.set()

    def _run(self) -> None:
        failing = registered = False
        while True:
            began = time.monotonic()
            try:
                if not registered:
                    self._register()
                    registered = True
                self._report()
                self._renew()
                self.contact = time.time()
                if failing:
                    _log.info("node heartbeat again")
                failing = False
            except AccessError as error:
                if not failing:
                    _log.warning("node heartbeat failed", extra=fields(reason=error.message))
                failing = True
                if error.status == http.client.CONFLICT:
                    self._lease = None
            self._hurry.wait(max(self._frequency - (time.monotonic() - began), 0.05) if not failing else 1.0)
            self._hurry.clear()

    def _register(self) -> None:
        name = self._here.name
        labels = node_labels(self._here)
        status = node_status(self._here, self._network_problem(), {}, time.time())
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}
        try:
            self._node = msgspec.json.decode(self._access.create("/api/v1/nodes", msgspec.json.encode(node)))
            _log.info("node registered", extra=fields(node=name))
        except AccessError as error:
            if error.status != http.client.CONFLICT:
                raise
            patch = msgspec.json.encode({"metadata": {"labels": labels}})
            self._node = msgspec.json.decode(self._access.patch(f"/api/v1/nodes/{name}", patch))

    def _report(self) -> None:
        seen = self._seen()
        there = _newer(seen, self._node)
        if there is None:
            return
        status = node_status(self._here, self._network_problem(), there.get("status") or {}, time.time())
        if not differs(status, there.get("status") or {}) and time.time() - self._reported < REPORT_SECONDS:
            return
        patch = msgspec.json.encode({"status": status})
        path = f"/api/v1/nodes/{self._here.name}/status"
        try:
            self._node = msgspec.json.decode(self._access.patch(path, patch, STRATEGIC_MERGE_PATCH))
            self._reported = time.time()
        except AccessError as error:
            if error.status != http.client.NOT_FOUND:  # somebody deleted the Node: it comes back when we are restarted
                raise

    def _renew(self) -> None:
        name = self._here.name
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        seconds = max(int(self._frequency * 4), 1)
        spec = {"holderIdentity": name, "leaseDurationSeconds": seconds, "renewTime": now}
        if self._lease is None:
            meta: Body = {"name": name, "namespace": "kube-node-lease"}
            if self._node is not None:
                owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": self._node["metadata"]["uid"]}
                meta["ownerReferences"] = [owner]
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
            try:
                self._lease = msgspec.json.decode(self._access.create(LEASES, msgspec.json.encode(lease)))
            except AccessError as error:
                if error.status == http.client.NOT_FOUND:  # the namespace is not there yet
                    return
                if error.status != http.client.CONFLICT:
                    raise
                self._lease = msgspec.json.decode(self._access.get(f"{LEASES}/{name}"))
            else:
                return
        lease = {**self._lease, "spec": {**(self._lease.get("spec") or {}), **spec}}
        try:
            self._lease = msgspec.json.decode(self._access.update(f"{LEASES}/{name}", msgspec.json.encode(lease)))
        except AccessError as error:
            if error.status == http.client.NOT_FOUND:
                self._lease = None
                return
            raise


def _newer(one: Body | None, other: Body | None) -> Body | None:
    """The object of which the server said more; the watch may lag behind our own write."""
    if one is None or other is None:
        return one or other
    if one["metadata"]["uid"] != other["metadata"]["uid"]:
        return one
    versions = [int(each["metadata"].get("resourceVersion") or 0) for each in (one, other)]
    return one if versions[0] >= versions[1] else other

"""Who plays the kubelets of a cluster: it makes pods that have a node ready, and lets deleted ones go.

In: the server, a ControlPlane or a LabServer. Out: nothing but what it writes into the API, while it is entered. There
are no processes behind these pods. Each gets an address of its own, never used twice.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

from peers.reach import Answer, HttpServer
from support.waiting import eventually

PAUSE_SECONDS = 0.1
BEAT_SECONDS = 10.0  # as kubelets do; a node that is silent for 50 loses its pods
NODES = {"node1": "192.168.56.11", "node2": "192.168.56.12"}


def node(name: str, address: str, pod_cidr: str) -> dict[str, Any]:
    """A ready Node with room for pods, as its kubelet would have registered it."""
    room = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": ""}],
            "capacity": room,
            "allocatable": room,
        },
    }


class Kubelets:
    """One thread for all nodes. With `places` it also plays the scheduler: nodes take turns."""

    def __init__(self, server: HttpServer, *, places: bool = False) -> None:
        self._server = server
        self._places = places
        self._numbers = itertools.count(10)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelets")

    def __enter__(self) -> Self:
        for number, (name, address) in enumerate(NODES.items(), 1):
            made = self._said("POST", "/api/v1/nodes", node(name, address, f"10.244.{number}.0/24"))
            assert made.status == 201, made.body
            eventually(partial(self._untainted, name), f"{name} takes pods")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _untainted(self, name: str) -> bool:
        """A new Node is tainted not-ready until the controllers, or we, have seen its condition."""
        ready = json.loads(self._said("GET", f"/api/v1/nodes/{name}").body)
        return not ready["spec"].pop("taints", None) or self._said("PUT", f"/api/v1/nodes/{name}", ready).status == 200

    def _run(self) -> None:
        beaten = time.monotonic()
        while not self._stop.wait(PAUSE_SECONDS):
            with suppress(OSError):  # the server may be away
                self._look()
                if time.monotonic() > beaten + BEAT_SECONDS:
                    beaten = time.monotonic()
                    self._beat()

    def _beat(self) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for name in NODES:
            found = json.loads(self._said("GET", f"/api/v1/nodes/{name}").body)
            for condition in found["status"]["conditions"]:
                condition["lastHeartbeatTime"] = now
            self._said("PUT", f"/api/v1/nodes/{name}/status", found)

    def _look(self) -> None:
        for pod in json.loads(self._said("GET", "/api/v1/pods").body)["items"]:
            path = "/api/v1/namespaces/{namespace}/pods/{name}".format_map(pod["metadata"])
            if "nodeName" not in pod["spec"]:
                self._place(path, pod["metadata"]["name"])
            elif "deletionTimestamp" in pod["metadata"]:
                self._said("DELETE", path, {"gracePeriodSeconds": 0})
            elif "podIP" not in pod["status"]:
                self._said("PUT", f"{path}/status", pod | {"status": self._running(pod)})

    def _place(self, path: str, name: str) -> None:
        if self._places:
            node_name = list(NODES)[next(self._numbers) % len(NODES)]
            target = {"apiVersion": "v1", "kind": "Node", "name": node_name}
            self._said("POST", f"{path}/binding", {"metadata": {"name": name}, "target": target})

    def _said(self, method: str, path: str, body: Any = None) -> Answer:
        return self._server.request(method, path, None if body is None else json.dumps(body).encode())

    def _running(self, pod: dict[str, Any]) -> dict[str, Any]:
        address = f"10.244.{list(NODES).index(pod['spec']['nodeName']) + 1}.{next(self._numbers)}"
        kept = [one for one in pod["status"].get("conditions", ()) if one["type"] == "PodScheduled"]
        kinds = ("Initialized", "ContainersReady", "Ready")
        state = {"running": {"startedAt": pod["metadata"]["creationTimestamp"]}}
        return {
            **pod["status"],
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [*kept, *({"type": kind, "status": "True"} for kind in kinds)],
            "containerStatuses": [
                {
                    "name": one["name"],
                    "image": one["image"],
                    "imageID": one["image"],
                    "ready": True,
                    "started": True,
                    "restartCount": 0,
                    "state": state,
                }
                for one in pod["spec"]["containers"]
            ],
        }

"""Nodes with our kubelet, on any API server: namespaces on one segment, an outside host, kubelets as processes.

In: an API server that can be reached from a namespace. Out: a `Site`, which makes pods and waits for what becomes of
them. At the end all pods are ended by record, and the namespaces removed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from peers.control_plane import ApiError, ControlPlane
from peers.processes import Process
from support.waiting import eventually
from svclab import netns
from svclab.kubelet.enter import argv_to_enter
from svclab.kubelet.teardown import end_everything
from svclab.netns import PREFIX, Host

LAB = Path(sys.executable).parent / "svcplane-lab"
OUTSIDE = "192.168.56.100"
PODS = "/api/v1/namespaces/default/pods"


class Node:
    """A namespace with a kubelet in it."""

    def __init__(self, name: str, address: str, pods: str, host: Host, root: Path) -> None:
        self.name = name
        self.address = address
        self.pods = pods
        self.host = host
        self.root = root
        self.kubelet: Process

    def run_in(self, pod: str, *argv: str, container: str = "", seconds: float = 10.0) -> str:
        """What a command says inside a container. Raises CalledProcessError."""
        enter = argv_to_enter(self.root, "default", pod, container)
        done = subprocess.run([*enter, *argv], capture_output=True, text=True, timeout=seconds, check=True)
        return done.stdout


class Site:
    def __init__(self, plane: ControlPlane, nodes: Sequence[Node], outside: Host) -> None:
        self.plane = plane
        self.nodes = nodes
        self.outside = outside

    def create(self, name: str, *containers: dict[str, Any], node: int = 0, **spec: Any) -> None:
        """A pod, bound to a node already; containers without a name are called a, b, …"""
        named = [{"name": chr(ord("a") + number), **one} for number, one in enumerate(containers)]
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "nodeName": self.nodes[node].name,
                "containers": named,
                "terminationGracePeriodSeconds": 2,
                **spec,
            },
        }
        self.plane.request("POST", PODS, body)

    def pod(self, name: str) -> dict[str, Any]:
        return self.plane.get(f"{PODS}/{name}")

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.pod(name)["status"]
        return found

    def container(self, name: str, container: str = "a") -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in self.status(name)["containerStatuses"] if one["name"] == container)
        return found

    def ready(self, name: str, seconds: float = 15.0) -> dict[str, Any]:
        """The status of the pod, once it is ready."""

        def look() -> dict[str, Any] | None:
            status = self.status(name)
            conditions = {one["type"]: one["status"] for one in status.get("conditions") or []}
            return status if conditions.get("Ready") == "True" else None

        return eventually(look, f"pod {name} is ready", seconds)

    def delete(self, name: str, *, wait: bool = True) -> None:
        self.plane.request("DELETE", f"{PODS}/{name}")
        if wait:
            eventually(lambda: self.is_gone(name), f"pod {name} is gone", 15.0)

    def is_gone(self, name: str) -> bool:
        try:
            self.pod(name)
        except ApiError as error:
            return error.status == 404
        return False

    def events(self, name: str) -> list[tuple[str, str]]:
        """Reason and message of the events about a pod."""
        items = self.plane.get(f"/api/v1/namespaces/default/events?fieldSelector=involvedObject.name={name}")["items"]
        return [(one["reason"], one["message"]) for one in items]


@contextmanager
def site(plane: ControlPlane, folder: Path, label: str, count: int = 2) -> Iterator[Site]:
    """Nodes at 192.168.56.11 and on, ranges 10.244.1.0/24 and on, ready; `label` makes the namespaces' names ours."""
    allow_nodes(plane)
    with ExitStack() as stack:
        segment = _host(f"{PREFIX}{label}-segment", stack)
        outside = _plugged(segment, _host(f"{PREFIX}{label}-outside", stack), OUTSIDE, "out")
        nodes = []
        for number in range(1, count + 1):
            host = _plugged(
                segment, _host(f"{PREFIX}{label}-node{number}", stack), f"192.168.56.{10 + number}", f"n{number}"
            )
            node = Node(
                f"node{number}", f"192.168.56.{10 + number}", f"10.244.{number}.0/24", host, folder / f"node{number}"
            )
            stack.callback(end_everything, node.root)
            server = stack.enter_context(plane.reached_from(host.name))
            kubeconfig = plane.kubeconfig(f"system:node:{node.name}", groups=["system:nodes"], server=server)
            node.kubelet = stack.enter_context(
                Process(argv(node, kubeconfig), folder / f"{node.name}.log", netns=host.name)
            )
            node.kubelet.start()
            nodes.append(node)
        netns.add_bridge(segment, "switch", ["out", *(f"n{number}" for number in range(1, count + 1))])
        for node in nodes:
            eventually(partial(plane.get, f"/api/v1/nodes/{node.name}"), f"{node.name} is registered")
            plane.kubectl(
                "patch", "node", node.name, "-p", f'{{"spec":{{"podCIDR":"{node.pods}","podCIDRs":["{node.pods}"]}}}}'
            )
        for node in nodes:
            node.kubelet.wait_until(partial(is_ready, plane, node.name), f"{node.name} is ready")
        yield Site(plane, nodes, outside)


def argv(node: Node, kubeconfig: Path) -> tuple[str | Path, ...]:
    where = ("--kubeconfig", kubeconfig, "--root-dir", node.root, "--hostname-override", node.name)
    what = ("--node-ip", node.address, "--cluster-dns", "10.96.0.10", "--node-status-update-frequency", "1s")
    return (LAB, "kubelet", *where, *what)


def is_ready(plane: ControlPlane, name: str) -> bool:
    conditions = plane.get(f"/api/v1/nodes/{name}")["status"].get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def allow_nodes(plane: ControlPlane) -> None:
    """Our kubelet does the routes too, so it reads all Nodes; the Node authorizer lets it see its own only."""
    rule = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}
    group = "rbac.authorization.k8s.io"
    meta = {"name": "svcplane-kubelet"}
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": meta, "rules": [rule]}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": meta["name"]},
        "subjects": [{"kind": "Group", "name": "system:nodes", "apiGroup": group}],
    }
    plane.apply([role, binding])


def _host(name: str, stack: ExitStack) -> Host:
    host = Host(name)
    host.remove()
    host.create()
    stack.callback(host.remove)
    return host


def _plugged(segment: Host, host: Host, address: str, port: str) -> Host:
    netns.connect(segment, port, host, "eth0")
    host.add_address("eth0", f"{address}/24")
    return host


def label() -> str:
    """Part of names that no other session of these tests uses at the same time."""
    return f"c1-{os.getpid() % 100000}"

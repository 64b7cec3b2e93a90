"""Health check node ports beside the real kube-proxy: the same status, headers and bytes, through the same changes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from peers.control_plane import ControlPlane
from peers.kube_proxy import KubeProxy
from peers.processes import Process
from peers.reach import Answer, HttpServer
from support.site import lone_host
from support.waiting import eventually

pytestmark = pytest.mark.peers

NODE, PORT, NEXT_PORT = "node", 32100, 32101
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
SERVICES = "/api/v1/namespaces/default/services"


def service(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "healthCheckNodePort": port,
            "ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}],
        },
    }


def slice_with(*endpoints: tuple[str, str, bool]) -> dict[str, Any]:
    """(address, node, ready) each."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}, {"name": "https", "port": 8443}],
        "endpoints": [
            {"addresses": [address], "nodeName": node, "conditions": {"ready": ready, "serving": True}}
            for address, node, ready in endpoints
        ],
    }


@pytest.fixture
def doors(binaries: Path, tmp_path: Path) -> Iterator[tuple[ControlPlane, list[str]]]:
    """A control plane and the namespaces in which kube-proxy and the agent listen."""
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(binaries, controllers=()))
        plane.add_node(NODE, ["192.168.56.11"])
        plane.request("POST", SERVICES, service(PORT))
        plane.request("POST", SLICES, slice_with(("10.244.1.1", NODE, True), ("10.244.2.1", "other", True)))
        theirs, ours = stack.enter_context(lone_host("theirs")), stack.enter_context(lone_host("ours"))
        server = stack.enter_context(plane.reached_from(theirs.name))
        kubeconfig = plane.kubeconfig("system:kube-proxy", server=server)
        quick = {"iptables": {"minSyncPeriod": "100ms"}}
        proxy = KubeProxy(binaries, tmp_path, netns=theirs.name, kubeconfig=kubeconfig, hostname=NODE, config=quick)
        stack.enter_context(proxy)
        command = (Path(sys.executable).parent / "svcplane-agent", "run", "--netns", ours.name)
        flags = ("--kubeconfig", plane.kubeconfig("system:kube-proxy", groups=["system:node-proxier"]))
        more = ("--hostname-override", NODE, "--iptables-min-sync-period", "100ms", "--iptables-flavour", "nft")
        environment = {**os.environ, "XTABLES_LOCKFILE": str(tmp_path / "ours.lock")}
        agent = stack.enter_context(Process((*command, *flags, *more), tmp_path / "agent.log", environment=environment))
        agent.start()
        yield plane, [theirs.name, ours.name]


def asked(namespace: str, port: int, method: str = "GET", path: str = "/healthz") -> Answer:
    return HttpServer("127.0.0.1", port, namespace).request(method, path)


def told(namespace: str, port: int, endpoints: int) -> Answer:
    """The answer once it is about this number of endpoints."""

    def probe() -> Answer | None:
        answer = asked(namespace, port)
        return answer if answer.headers["X-Load-Balancing-Endpoint-Weight"] == str(endpoints) else None

    return eventually(probe, f"{endpoints} endpoints told in {namespace}")


def same(namespaces: list[str], port: int, endpoints: int) -> None:
    """Both answer, alike, with this number of endpoints."""
    theirs, ours = (told(each, port, endpoints) for each in namespaces)
    assert (ours.status, ours.body) == (theirs.status, theirs.body)
    assert ours.status == (200 if endpoints else 503)
    for header in ("Content-Type", "X-Content-Type-Options", "X-Load-Balancing-Endpoint-Weight"):
        assert ours.headers[header] == theirs.headers[header], header


def test_they_tell_the_same_through_changes(doors: tuple[ControlPlane, list[str]]) -> None:
    plane, namespaces = doors
    same(namespaces, PORT, 1)
    for method, path in (("GET", "/"), ("POST", "/anything/else")):
        theirs, ours = (asked(each, PORT, method, path) for each in namespaces)
        assert (ours.status, ours.body) == (theirs.status, theirs.body)
    plane.request("PUT", f"{SLICES}/web-1", slice_with(("10.244.1.1", NODE, True), ("10.244.1.2", NODE, True)))
    same(namespaces, PORT, 2)
    plane.request("PUT", f"{SLICES}/web-1", slice_with(("10.244.1.1", NODE, False), ("10.244.2.1", "other", True)))
    same(namespaces, PORT, 0)
    plane.request("DELETE", f"{SERVICES}/web")
    plane.request("POST", SERVICES, service(NEXT_PORT))
    same(namespaces, NEXT_PORT, 0)
    for namespace in namespaces:
        with pytest.raises(OSError, match="refused"):
            asked(namespace, PORT)

"""The whole data plane on the lab's own API server and controllers: real kube-proxy and CoreDNS beside ours.

In: `svcplane-lab apiserver`, our controllers of the network, two hosts. kube-proxy and svcplane-agent must program the
same rules from it, CoreDNS and svcplane-dns must give the same answers, and go on after the server was killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from peers.control_plane import ApiError, ControlPlane
from peers.core_dns import CoreDNS
from peers.lab_server import LabServer
from peers.our_controllers import running_controllers
from peers.pair import Pair, Switches, pair
from peers.passage import passage
from support.waiting import eventually
from svclab import netns
from svclab.controllers.endpoints import EndpointsController
from svclab.controllers.endpointslice import EndpointSliceController
from svclab.controllers.loadbalancer import LoadBalancerController
from svclab.controllers.mirroring import EndpointSliceMirroringController

pytestmark = pytest.mark.peers

NODE = "node1"
NAMESPACE = "/api/v1/namespaces/default"
PORTS = [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "dns", "port": 53, "protocol": "UDP"}]
QUESTIONS = (
    "web.default.svc.cluster.local A",
    "bare.default.svc.cluster.local A",
    "one.bare.default.svc.cluster.local A",
    "_http._tcp.bare.default.svc.cluster.local SRV",
    "_http._tcp.web.default.svc.cluster.local SRV",
    "ext.default.svc.cluster.local A",
    "gone.default.svc.cluster.local A",
)


class Plane:
    """What kube-proxy's and the agent's harness ask of a `ControlPlane`, answered by the lab's server."""

    def __init__(self, lab: LabServer) -> None:
        self.lab = lab

    def kubeconfig(self, user: str = "", *, groups: Any = (), server: str = "") -> Path:
        """The administrator's, leading elsewhere if `server` says so."""
        content = json.loads(self.lab.kubeconfig().read_text())
        content["clusters"][0]["cluster"]["server"] = server or self.lab.server
        file = self.lab.folder / f"{'inside' if server else 'outside'}.kubeconfig"
        file.write_text(json.dumps(content))
        return file

    @contextmanager
    def reached_from(self, name: str) -> Iterator[str]:
        with passage(name, "127.0.0.1", self.lab.port) as port:
            yield f"https://127.0.0.1:{port}"

    def request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = self.lab.request(method, path, body)
        decoded: dict[str, Any] = json.loads(answer.body)
        if answer.status >= 400:
            raise ApiError(answer.status, decoded["message"])
        return decoded


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"selector": {"app": "web"}, "ports": PORTS, **spec}}


def pod(plane: Plane, name: str, ip: str, ready: bool = True) -> None:
    container = {"name": "c", "image": "none", "ports": [{"name": "http", "containerPort": 8080}]}
    spec = {"containers": [container], "nodeName": NODE, "hostname": name, "subdomain": "bare"}
    body = {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec}
    made = plane.request("POST", f"{NAMESPACE}/pods", body)
    conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:01Z"}]
    made["status"] |= {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": conditions}
    plane.request("PUT", f"{NAMESPACE}/pods/{name}/status", made)


@pytest.fixture(scope="module")
def plane() -> Iterator[Plane]:
    with LabServer() as lab, ExitStack() as stack:
        plane = Plane(lab)
        mine = (EndpointSliceController(), EndpointsController(), EndpointSliceMirroringController())
        pool = LoadBalancerController("192.0.2.200-192.0.2.203")
        stack.enter_context(running_controllers(cast(ControlPlane, plane), *mine, pool))
        plane.request("POST", f"{NAMESPACE}/serviceaccounts", {"metadata": {"name": "default"}})
        addresses = [{"type": "InternalIP", "address": "192.0.2.11"}]
        node = {"metadata": {"name": NODE}, "status": {"addresses": addresses}}
        plane.request("POST", "/api/v1/nodes", node)
        yield plane


@pytest.fixture
def both(binaries: Path, tmp_path: Path, plane: Plane) -> Iterator[Pair]:
    with ExitStack() as stack:
        nodes = tuple(netns.Host(f"{netns.PREFIX}b2-{os.getpid()}-{who}") for who in ("ours", "them"))
        for node in nodes:
            stack.callback(node.remove)
            node.create()
            netns.add_bridge(node, "br0", ())
            node.add_address("br0", "192.0.2.11/24")
        switches = Switches(cluster_cidr="10.244.0.0/16")
        programs = pair(
            binaries,
            tmp_path,
            cast(ControlPlane, plane),
            (nodes[0], nodes[1]),
            flavour="nft",
            node_name=NODE,
            switches=switches,
        )
        yield stack.enter_context(programs)


def looked_up(argv: tuple[str | Path, ...]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=20).stdout


def answers(plane: Plane, dns: CoreDNS, question: str) -> tuple[list[str], list[str]]:
    """(CoreDNS's, ours), each sorted, without TTLs."""
    name, kind = question.split()
    dig = ("dig", "+noall", "+answer", "+additional", "+tcp", "-p", str(dns.port), "@127.0.0.1", name, kind)
    ours = (Path(sys.executable).parent / "svcplane-dns", "lookup", "--kubeconfig", plane.kubeconfig(), name, kind)
    return tuple(records(looked_up(argv)) for argv in (dig, ours))  # type: ignore[return-value]


def records(printed: str) -> list[str]:
    rows = [line.split() for line in printed.splitlines() if " IN " in line.replace("\t", " ") and line[0] != ";"]
    return sorted(" ".join([row[0], *row[3:]]) for row in rows if row[3] != "SOA")  # whose serial is the time


def test_rules_and_answers(binaries: Path, tmp_path: Path, plane: Plane, both: Pair) -> None:
    services = f"{NAMESPACE}/services"
    plane.request("POST", services, service("web", type="NodePort"))
    plane.request("POST", services, service("bare", clusterIP="None"))
    plane.request("POST", services, service("balanced", type="LoadBalancer"))
    plane.request("POST", services, service("ext", selector={}))
    subset = {"addresses": [{"ip": "192.0.2.99"}], "ports": [{"name": "http", "port": 80}]}
    plane.request("POST", f"{NAMESPACE}/endpoints", {"metadata": {"name": "ext"}, "subsets": [subset]})
    pod(plane, "one", "10.244.1.1")
    pod(plane, "two", "10.244.1.2", ready=False)

    def mentions(*texts: str) -> bool:
        return all(text in str(both.our_rules("IPv4")) for text in texts)

    eventually(lambda: mentions("10.244.1.1:8080", "192.0.2.200", "192.0.2.99:80"), "the agent has heard of it all")
    both.await_equal("the first objects")
    corefile = CoreDNS(binaries, tmp_path, kubeconfig=plane.kubeconfig())
    with corefile as dns:
        for question in QUESTIONS:
            theirs, ours = answers(plane, dns, question)
            assert ours == theirs, question
    assert "10.244.1.2" not in str(both.our_rules("IPv4"))

    plane.lab.restart("apiserver")
    both.await_equal("a restart of the server")
    second = plane.request("GET", f"{NAMESPACE}/pods/two")
    second["status"]["conditions"][0]["status"] = "True"
    eventually(lambda: plane.request("PUT", f"{NAMESPACE}/pods/two/status", second), "the server answers")
    eventually(lambda: mentions("10.244.1.2:8080"), "the agent hears of a change after the restart", 20)
    both.await_equal("a change after the restart")

"""Search paths gone along for pods, by CoreDNS and by ours, over one real API server: the same replies.

Clients are told apart by the address they ask from; Pods have those of loopback.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from peers.control_plane import ControlPlane
from peers.core_dns import CoreDNS
from peers.dns_differential import CONTROL_PLANE_FLAGS
from peers.processes import Process
from peers.reach import HttpServer, port_of, reserved_port
from peers.test_corefile_cluster_coredns import corefile, svcplane_dns
from support.questions import Said, cluster, said_in
from support.resolvers import Address, Upstream, question

pytestmark = pytest.mark.peers

PODS = {"127.0.0.2": "dev", "127.0.0.3": "prod"}
BY_POD = corefile(
    "pods verified\n  fallthrough in-addr.arpa",
    more=" autopath @kubernetes\n forward . <upstream>\n prometheus 127.0.0.1:{$METRICS_PORT}\n loadbalance\n",
)
FILES = {
    "by pod": BY_POD,
    "cached": BY_POD.replace(" loadbalance\n", " cache 30 {\n  disable success cluster.local\n }\n"),
    "pods insecure": BY_POD.replace("verified", "insecure"),
    "zones of its own": BY_POD.replace("autopath", "autopath dev.svc.cluster.local example.net"),
    "a file": corefile("pods insecure", more=" autopath <file>\n forward . <upstream>\n"),
}
CLIENTS = (*PODS, "127.0.0.1")
NAMES = (
    "www.example.org",
    "www.example.org.dev.svc.cluster.local",
    "WWW.Example.ORG.Dev.svc.CLUSTER.local",
    "www.example.org.prod.svc.cluster.local",
    "www.example.org.svc.cluster.local",
    "alias.example.org.dev.svc.cluster.local",
    "gone.example.org.dev.svc.cluster.local",
    "web.prod.dev.svc.cluster.local",
    "web.prod.svc.cluster.local.dev.svc.cluster.local",
    "web.prod.svc.dev.svc.cluster.local",
    "web.prod.svc.cluster.local",
    "web.prod.svc.cluster.local.prod.svc.cluster.local",
    "db.prod.dev.svc.cluster.local",
    "outside.prod.dev.svc.cluster.local",
    "kubernetes.default.prod.svc.cluster.local",
    "dev.svc.cluster.local",
    "nothing.dev.svc.cluster.local",
    "www.example.org.home.arpa",
    f"{'x' * 60}.{'y' * 60}.{'z' * 60}.example.org.dev.svc.cluster.local",
)


@dataclass(frozen=True)
class Asked:
    """A question, and from where."""

    name: str
    type: str
    client: str

    def said(self, server: Address) -> Said:
        packet = question(self.name, self.type)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(10)
            asking.bind((self.client, 0))
            asking.sendto(packet, server)
            return said_in(asking.recv(65535))


def without_cache(said: Said) -> Said:
    """Without TTLs, AA and the first asker's spelling, which CoreDNS's cache changes also in what the cluster says."""
    sections = (said.answer, said.authority, said.additional)
    answer, authority, additional = (
        tuple(re.sub(r" \d+ in", "", line.lower()) for line in section) for section in sections
    )
    return Said(said.rcode, False, answer, authority, additional)


@pytest.fixture(scope="module")
def filled(binaries: Path) -> Iterator[ControlPlane]:
    with ControlPlane(binaries, controllers=(), apiserver_flags=CONTROL_PLANE_FLAGS) as plane:
        plural = {"Namespace": "namespaces", "Service": "services", "EndpointSlice": "endpointslices"}
        for one in cluster():
            namespace = one["metadata"].get("namespace")
            group = "/api/v1" if one["apiVersion"] == "v1" else f"/apis/{one['apiVersion']}"
            within = f"/namespaces/{namespace}" if namespace else ""
            plane.request("POST", f"{group}{within}/{plural[one['kind']]}", one)
        for address, namespace in PODS.items():
            pods = f"/api/v1/namespaces/{namespace}/pods"
            spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": f"node-{namespace}"}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": spec}
            made = plane.request("POST", pods, pod)
            status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
            plane.request("PUT", f"{pods}/client/status", {**made, "status": status})
        yield plane


@pytest.mark.parametrize("file", FILES)
def test_the_same_replies(
    binaries: Path, tmp_path: Path, filled: ControlPlane, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "paths").write_text("search home.arpa prod.svc.cluster.local example.org\n")
    kubeconfig = filled.kubeconfig()
    with ExitStack() as stack:
        upstream = stack.enter_context(Upstream())
        metrics = HttpServer("127.0.0.1", port_of(stack.enter_context(reserved_port("127.0.0.1"))))
        text = (
            FILES[file]
            .replace("<upstream>", f"127.0.0.1:{upstream.address[1]}")
            .replace("<file>", str(tmp_path / "paths"))
        )
        monkeypatch.setenv("METRICS_PORT", str(metrics.port))
        coredns = stack.enter_context(CoreDNS(binaries, tmp_path, kubeconfig=kubeconfig, corefile=text))
        ours = stack.enter_context(svcplane_dns(tmp_path, text, kubeconfig))
        servers: tuple[Address, ...] = (ours.address, ("127.0.0.1", coredns.port))
        different = []
        for asked in (Asked(*one) for one in product(NAMES, ("A", "AAAA", "MX"), CLIENTS)):
            for _ in range(2):  # the second time perhaps from a cache
                mine, theirs = map(asked.said, servers)
                if asked.name == "dev.svc.cluster.local" and theirs.rcode == "SERVFAIL":
                    assert mine.rcode == "NOERROR"  # the path itself, with nothing in front: CoreDNS stumbles over it
                    continue
                if file == "cached":
                    mine, theirs = map(without_cache, (mine, theirs))
                if mine != theirs:
                    different.append(f"{asked}\n  ours   {mine}\n  theirs {theirs}")
        assert not different, "\n".join(different)
        if "prometheus" in text:
            assert (successes(ours.http) > 0) == (successes([metrics]) > 0) == (file != "pods insecure")


def successes(servers: list[HttpServer]) -> float:
    for server in servers:
        answer = server.request("GET", "/metrics")
        for line in answer.body.decode().splitlines():
            if line.startswith("coredns_autopath_success_total{"):
                return float(line.rpartition(" ")[2])
    return 0.0


NODE_LOCAL = """cluster.local:53 {
 errors
 cache 30
 autopath @kubernetes
 forward . <upstream>
}
.:53 {
 cache 30
 forward . <upstream>
}
"""


def test_a_cache_on_a_node_watches_the_pods_of_its_node_alone(
    binaries: Path, tmp_path: Path, filled: ControlPlane
) -> None:
    log = tmp_path / "log"
    with reserved_port("127.0.0.9") as reservation:
        server = ("127.0.0.9", port_of(reservation))
    with Upstream() as upstream:
        text = NODE_LOCAL.replace("<upstream>", f"127.0.0.1:{upstream.address[1]}").replace(":53 ", f":{server[1]} ")
        (tmp_path / "Corefile").write_text(text)
        program = Path(sys.executable).with_name("svcplane-dns")
        flags = ("--setup-interface=false", "--setup-iptables=false", "--skip-teardown=true")
        own = ("--metrics-listen-address=", "--node-name", "node-dev", "--kubeconfig", filled.kubeconfig())
        command = (program, "nodelocal", "--local-ip", server[0], "--conf", tmp_path / "Corefile", *flags, *own)
        with Process(command, log) as process:
            process.start()
            process.wait_until(lambda: "pod=1" in log.read_text(), "pods are known")
            found = {
                client: Asked("www.example.org.dev.svc.cluster.local", "A", client).said(server) for client in CLIENTS
            }
            assert found["127.0.0.2"].answer == (
                "www.example.org. 30 IN A 192.0.2.80",
                "www.example.org.dev.svc.cluster.local. 30 IN CNAME www.example.org.",
            )
            assert {found[client].rcode for client in CLIENTS[1:]} == {"NXDOMAIN"}
            other = Asked("www.example.org.prod.svc.cluster.local", "A", "127.0.0.3")
            assert other.said(server).rcode == "NXDOMAIN"  # its pod is on another node

"""The harness keeps its promises: programs start, can be broken and mended, and leave nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dnslib
import pytest

from peers.build import HERE, linker_flags
from peers.control_plane import ApiError, ControlPlane, KubectlError
from peers.core_dns import CoreDNS
from peers.kube_proxy import Flavour, KubeProxy
from peers.processes import Process, ProcessError
from support.waiting import eventually

pytestmark = pytest.mark.peers

SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"


def gone(pid: int) -> bool:
    """No such process, or one that has ended and waits to be reaped by whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def netns() -> Iterator[str]:
    name = f"svcp-harness-{os.getpid()}"
    subprocess.run(("ip", "netns", "add", name), check=True)
    try:
        subprocess.run(("ip", "-n", name, "link", "set", "lo", "up"), check=True)
        yield name
    finally:
        subprocess.run(("ip", "netns", "delete", name), check=True)


@pytest.fixture
def node(control_plane: ControlPlane) -> Iterator[str]:
    """Nodes have no namespace: this one is taken away again, so that other tests do not meet it."""
    control_plane.add_node("harness", ["192.168.50.1", "fd00:50::1"], ["10.244.0.0/24"])
    yield "harness"
    control_plane.request("DELETE", "/api/v1/nodes/harness")


def nat_rules(netns: str, save: str) -> str:
    argv = ("ip", "netns", "exec", netns, save, "-t", "nat")
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_kubectl_version_is_the_one_in_go_mod(control_plane: ControlPlane) -> None:
    said = json.loads(control_plane.kubectl("version", "-o", "json"))
    stamped = re.search(r"gitVersion=(\S+)", linker_flags(HERE))
    assert stamped is not None
    assert said["serverVersion"]["gitVersion"] == said["clientVersion"]["gitVersion"] == stamped[1]


def test_a_service_made_with_kubectl_gets_an_address(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "service", "clusterip", "web", "--tcp=80:8080", "-n", namespace)
    service = control_plane.get(f"/api/v1/namespaces/{namespace}/services/web")
    assert service["spec"]["clusterIP"].startswith("10.96.")


def test_a_refusal_of_kubectl_is_an_error_with_its_words(control_plane: ControlPlane, namespace: str) -> None:
    with pytest.raises(KubectlError, match='services "missing" not found'):
        control_plane.kubectl("get", "service", "missing", "-n", namespace)


def test_a_hand_made_slice_is_kept(control_plane: ControlPlane, namespace: str) -> None:
    meta = {"namespace": namespace, "name": "web", "labels": {"kubernetes.io/service-name": "web"}}
    endpoints = [{"addresses": ["10.244.1.3"], "conditions": {"ready": True}}]
    made = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "metadata": meta}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 80}]}}
    control_plane.apply([service, {**made, "endpoints": endpoints, "ports": [{"name": "", "port": 8080}]}])
    kept = control_plane.get(SLICES.format(namespace) + "/web")
    assert kept["endpoints"] == endpoints


def test_hand_made_endpoints_are_mirrored(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.apply(
        """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: db}
subsets: [{addresses: [{ip: 192.168.123.234}], ports: [{port: 80}]}]
""",
        namespace,
    )
    (mirrored,) = eventually(
        lambda: control_plane.get(SLICES.format(namespace))["items"], "Endpoints are mirrored to an EndpointSlice"
    )
    assert mirrored["metadata"]["labels"]["kubernetes.io/service-name"] == "db"
    assert mirrored["endpoints"][0]["addresses"] == ["192.168.123.234"]


def test_a_service_account_token_is_let_in(control_plane: ControlPlane, namespace: str) -> None:
    kubeconfig = control_plane.kubeconfig("pod", token=control_plane.token_for("default", namespace))
    said = control_plane.kubectl("auth", "whoami", "-o", "json", "--kubeconfig", str(kubeconfig))
    assert json.loads(said)["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:default"


def test_a_killed_api_server_refuses_and_comes_back_with_its_objects(fresh_control_plane: ControlPlane) -> None:
    path = "/api/v1/namespaces/default/configmaps/kept"
    fresh_control_plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}})
    before, server = fresh_control_plane.get(path), fresh_control_plane.server
    fresh_control_plane.kill("kube-apiserver")
    with pytest.raises(ConnectionRefusedError):
        fresh_control_plane.get(path)
    fresh_control_plane.kill("etcd")
    fresh_control_plane.restart("etcd")
    fresh_control_plane.restart("kube-apiserver")
    assert fresh_control_plane.server == server
    assert fresh_control_plane.get(path) == before


def test_a_paused_api_server_accepts_and_says_nothing_until_resumed(fresh_control_plane: ControlPlane) -> None:
    path = "/api/v1/namespaces/default"
    fresh_control_plane.pause("kube-apiserver")
    with socket.create_connection(("127.0.0.1", fresh_control_plane.port), timeout=5):
        pass
    with pytest.raises(TimeoutError):
        fresh_control_plane.get(path, seconds=0.3)
    fresh_control_plane.resume("kube-apiserver")
    assert fresh_control_plane.get(path)["metadata"]["name"] == "default"


def test_closing_leaves_no_process_and_no_file(binaries: Path) -> None:
    with ControlPlane(binaries, scheduler=True) as running:
        folder, pids = running.folder, running.pids
        assert set(pids) == {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
        assert not any(map(gone, pids.values()))
        running.pause("kube-apiserver")  # a frozen one must go too
    assert [name for name, pid in pids.items() if not gone(pid)] == []
    assert not folder.exists()


def test_a_control_plane_that_cannot_start_says_why_and_leaves_nothing(binaries: Path) -> None:
    broken = ControlPlane(binaries, apiserver_flags=["--no-such-flag"])
    with pytest.raises(ProcessError, match="unknown flag: --no-such-flag"):
        broken.start()
    assert not broken.folder.exists()
    assert broken.pids == {}


def test_children_die_with_a_killed_session(tmp_path: Path) -> None:
    # The session is a process of its own here, since it is the one to be killed.
    script = (
        "import sys; from pathlib import Path; from peers.processes import Process\n"
        "child = Process(['sleep', '600'], Path(sys.argv[1])); child.start(); print(child.pid, flush=True)\n"
        "sys.stdin.read()"
    )
    session = subprocess.Popen(
        (sys.executable, "-c", script, tmp_path / "log"),
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with session:
        assert session.stdout is not None
        child = int(session.stdout.readline())
        eventually(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n", "the child runs")
        session.send_signal(signal.SIGKILL)
    eventually(lambda: gone(child), "the child of a killed session is gone")


def test_a_program_that_ends_early_shows_its_log(tmp_path: Path) -> None:
    with Process(["sh", "-c", "echo no such table >&2; exit 3"], tmp_path / "log") as process:
        process.start()
        with pytest.raises(ProcessError, match=r"sh ended with 3 before: it answers\n(.*\n)*no such table"):
            process.wait_until(lambda: False, "it answers")


@pytest.mark.parametrize("flavour", ["nft", "legacy"])
def test_kube_proxy_programs_its_namespace(
    control_plane: ControlPlane, binaries: Path, netns: str, node: str, tmp_path: Path, flavour: Flavour
) -> None:
    with control_plane.reached_from(netns) as server:
        kubeconfig = control_plane.kubeconfig("system:kube-proxy", server=server)
        with KubeProxy(binaries, tmp_path, netns=netns, kubeconfig=kubeconfig, hostname=node, flavour=flavour) as proxy:
            rules, rules6 = (nat_rules(netns, f"{tool}-{flavour}-save") for tool in ("iptables", "ip6tables"))
            assert "-A KUBE-SERVICES -d 10.96.0.1/32 " in rules
            assert ":KUBE-SERVICES " in rules6
            assert proxy.healthz().status == 200
            pid = proxy.process.pid
    assert gone(pid)


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_coredns_answers_for_the_cluster(
    control_plane: ControlPlane, binaries: Path, tmp_path: Path, tcp: bool
) -> None:
    with CoreDNS(binaries, tmp_path, kubeconfig=control_plane.kubeconfig()) as server:
        question = dnslib.DNSRecord.question("kubernetes.default.svc.cluster.local", "A")
        answer = dnslib.DNSRecord.parse(question.send("127.0.0.1", server.port, tcp=tcp, timeout=5))
    assert [str(record.rdata) for record in answer.rr] == ["10.96.0.1"]


def test_the_api_says_no_with_its_own_words(control_plane: ControlPlane, namespace: str) -> None:
    with pytest.raises(ApiError, match='404: services "web" not found'):
        control_plane.get(f"/api/v1/namespaces/{namespace}/services/web")


def test_a_control_plane_in_a_namespace_with_ranges_of_its_own(binaries: Path, netns: str) -> None:
    with ControlPlane(binaries, netns=netns, service_cidrs=["10.233.0.0/18"], controllers=()) as running:
        assert running.get("/api/v1/namespaces/default/services/kubernetes")["spec"]["clusterIPs"] == ["10.233.0.1"]
        assert running.kubectl("get", "--raw", "/readyz") == "ok"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", running.port))

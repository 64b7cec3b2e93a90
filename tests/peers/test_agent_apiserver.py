"""`svcplane-agent run` as a user starts it, on a real kube-apiserver with the real controllers, whatever happens.

The agent has its own network namespace, and the rights of the real kube-proxy: user system:kube-proxy, whom the API
server's own ClusterRoleBinding gives system:node-proxier and nothing more.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from peers.control_plane import ControlPlane
from peers.kube_proxy import KubeProxy
from peers.processes import Process
from peers.reach import HttpServer
from support.dumps import Normal, normal
from support.site import lone_host
from svclab.netns import Host
from svcnet.rules import FAMILIES
from svcnet.writers import Iptables

pytestmark = pytest.mark.peers

NODE_NAME, NODE_IP = "node", "192.168.56.11"
USER = "system:kube-proxy"
SECONDS = 10.0  # "within seconds": after a change, or after the API server is back
QUICK = ("--iptables-min-sync-period", "50ms", "--conntrack-max-per-core", "0", "--iptables-flavour", "nft")
PROGRAM = Path(sys.executable).parent / "svcplane-agent"


class Running:
    """An agent, its node, and the API server that it follows."""

    def __init__(self, process: Process, host: Host, plane: ControlPlane) -> None:
        self.process = process
        self.host = host
        self.plane = plane

    def dump(self) -> str:
        with self.host.entered():
            return "".join(Iptables(family, "nft").dump() for family in FAMILIES)

    def rules(self) -> Normal:
        return normal(self.dump())

    def await_rule(self, *words: str, present: bool = True) -> None:
        """Until some rule holds all these words, or none does."""

        def settled() -> bool:
            return any(all(word in line for word in words) for line in self.dump().splitlines()) is present

        self.process.wait_until(settled, f"{'a' if present else 'no'} rule with {words}", SECONDS)

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        text = HttpServer("127.0.0.1", 10249, self.host.name).request("GET", "/metrics").body.decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))

    @property
    def written(self) -> float:
        return self.metric("svcplane_chains_written_total")

    def is_well(self) -> bool:
        return HttpServer("127.0.0.1", 10256, self.host.name).request("GET", "/healthz").status == 200


@contextmanager
def agent_on(plane: ControlPlane, folder: Path, *, inside: bool = False) -> Iterator[Running]:
    """A running agent that has programmed its node; `inside`: it lives in the namespace, as on a node of its own."""
    with ExitStack() as stack:
        host = stack.enter_context(lone_host("agent"))
        server = stack.enter_context(plane.reached_from(host.name)) if inside else ""
        kubeconfig = plane.kubeconfig(USER, server=server)
        where = () if inside else ("--netns", host.name)
        argv = (PROGRAM, "run", "--kubeconfig", kubeconfig, "--hostname-override", NODE_NAME, *where, *QUICK)
        environment = {**os.environ, "XTABLES_LOCKFILE": str(folder / "lock")}
        netns = host.name if inside else ""
        process = stack.enter_context(Process(argv, folder / "agent.log", netns=netns, environment=environment))
        found = Running(process, host, plane)
        process.start()
        process.wait_until(found.is_well, "the agent is healthy", SECONDS)
        passes = "kubeproxy_sync_full_proxy_rules_duration_seconds_count"
        process.wait_until(lambda: found.metric(passes) >= len(FAMILIES), "a pass of both families", SECONDS)
        found.await_rule("default/kubernetes:https cluster IP")
        yield found


def expose(plane: ControlPlane, name: str, *flags: str) -> str:
    """A ClusterIP service for pods with label app=NAME, as study books make it; returns its address."""
    plane.kubectl("create", "service", "clusterip", name, "--tcp=80:8080", *flags)
    address: str = plane.get(f"/api/v1/namespaces/default/services/{name}")["spec"]["clusterIP"]
    return address


def run_pod(plane: ControlPlane, name: str, app: str, address: str) -> None:
    """A pod that a kubelet would report ready at this address."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": app}},
        "spec": {"nodeName": NODE_NAME, "containers": [{"name": "c", "image": "none"}]},
    }
    made = plane.request("POST", "/api/v1/namespaces/default/pods", pod)
    status = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    plane.request("PUT", f"/api/v1/namespaces/default/pods/{name}/status", {**made, "status": status})


def slice_manifest(owner: str, *addresses: str, port: Any = 8080) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{owner}-by-hand", "labels": {"kubernetes.io/service-name": owner}},
        "addressType": "IPv4",
        "ports": [{"name": "80-8080", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address]} for address in addresses],
    }


SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
SERVICES = "/api/v1/namespaces/default/services"


@pytest.fixture(scope="module")
def plane(binaries: Path) -> Iterator[ControlPlane]:
    """One for this file: its default namespace and its Node are ours."""
    with ControlPlane(binaries) as running:
        running.add_node(NODE_NAME, [NODE_IP])
        yield running


@pytest.mark.parametrize("inside", [False, True], ids=["by --netns", "inside"])
def test_services_pods_and_hand_made_endpoints(plane: ControlPlane, tmp_path: Path, inside: bool) -> None:
    name = f"web-{'in' if inside else 'out'}"
    with agent_on(plane, tmp_path, inside=inside) as agent:
        address = expose(plane, name)
        agent.await_rule(f"-d {address}/32", "has no endpoints", "REJECT")
        run_pod(plane, f"{name}-1", name, "10.244.1.7")
        agent.await_rule(f"default/{name}:80-8080", "--to-destination 10.244.1.7:8080")
        agent.await_rule(f"-d {address}/32", "REJECT", present=False)
        plane.kubectl("delete", "pod", f"{name}-1", "--force", "--grace-period=0")
        agent.await_rule(f"-d {address}/32", "has no endpoints", "REJECT")
        plane.kubectl("delete", "service", name)
        agent.await_rule(address, present=False)

        plane.kubectl("create", "service", "clusterip", f"{name}-manual", "--tcp=80:8080")
        path = f"{SERVICES}/{name}-manual"
        found = plane.get(path)
        plane.request("PUT", path, {**found, "spec": {**found["spec"], "selector": None}})
        subsets = [{"addresses": [{"ip": "192.168.123.234"}], "ports": [{"name": "80-8080", "port": 80}]}]
        made = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": f"{name}-manual"}, "subsets": subsets}
        plane.apply(made)
        agent.await_rule("--to-destination 192.168.123.234:80")
        plane.kubectl("delete", "service", f"{name}-manual")
        agent.await_rule("192.168.123.234", present=False)


def test_sigterm_leaves_the_rules(plane: ControlPlane, tmp_path: Path) -> None:
    with agent_on(plane, tmp_path) as agent:
        before = agent.rules()
        agent.process.stop()
        assert not agent.process.running
        assert agent.process.log_tail().count("Traceback") == 0
        assert agent.rules() == before


def test_kill_and_restart_with_changes_in_between(plane: ControlPlane, tmp_path: Path) -> None:
    with agent_on(plane, tmp_path) as agent:
        stays, goes = expose(plane, "stays"), expose(plane, "goes")
        agent.await_rule(f"-d {goes}/32")
        agent.await_rule(f"-d {stays}/32")
        agent.process.kill()
        plane.kubectl("delete", "service", "goes")
        comes = expose(plane, "comes")
        plane.request("POST", SLICES, slice_manifest("comes", "10.244.1.9"))
        agent.process.start()
        agent.await_rule("--to-destination 10.244.1.9:8080")
        agent.await_rule(f"-d {comes}/32", "REJECT", present=False)
        agent.await_rule(f"-d {goes}/32", present=False)
        agent.await_rule(f"-d {stays}/32", "REJECT")
        # nat and filter KUBE-SERVICES, and the chains of the one service that has an endpoint
        assert agent.written <= 4
        plane.kubectl("delete", "service", "stays", "comes")


def api_body(host: Host, port: int, path: str) -> tuple[int, dict[str, str], str]:
    """Status, headers that matter, body."""
    argv = host.argv("curl", "-sS", "-i", "--max-time", "5", f"http://127.0.0.1:{port}{path}")
    head, _, body = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.partition("\n\n")
    lines = head.splitlines()
    headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    told = {name: headers[name] for name in ("Content-Type", "X-Content-Type-Options") if name in headers}
    return int(lines[0].split()[1]), told, body


def keys_of(value: Any) -> Any:
    """The shape of a JSON value: keys in their order, types of leaves."""
    if isinstance(value, dict):
        return [(key, keys_of(each)) for key, each in value.items()]
    return value if isinstance(value, bool) else type(value).__name__


# What two programs' pages for people have in common. kube-proxy draws lots for what stands behind a name: `:`, `=`, …
PAGES = {
    "/metrics/slis": r"^kubernetes_\S+ \d+",
    "/flagz": r"^(?:Warning.*|(?:bind-address|masquerade-all)\b)",
    "/statusz": r"^(?:Warning.*|(?:Started|Up|Binary version)\b)|/configz.*",
}


def test_health_answers_beside_the_real_kube_proxys(plane: ControlPlane, binaries: Path, tmp_path: Path) -> None:
    with agent_on(plane, tmp_path) as agent, lone_host("theirs") as host, plane.reached_from(host.name) as server:
        kubeconfig = plane.kubeconfig(USER, server=server)
        flags = {"netns": host.name, "kubeconfig": kubeconfig, "hostname": NODE_NAME}
        with KubeProxy(binaries, tmp_path, **flags):  # type: ignore[arg-type]  # a netns, a path, a name

            def same(port: int, path: str) -> tuple[int, str]:
                (status, headers, body), theirs = api_body(agent.host, port, path), api_body(host, port, path)
                assert (status, headers) == theirs[:2], path
                if headers["Content-Type"] == "application/json":
                    assert keys_of(json.loads(body)) == keys_of(json.loads(theirs[2])), path
                elif status == 200:
                    assert body == theirs[2], path
                return status, body

            assert same(10256, "/healthz")[0] == 200
            assert same(10256, "/livez")[0] == 200
            assert same(10249, "/healthz") == (200, "ok")
            assert same(10249, "/healthz/ping")[0] == 200
            assert same(10249, "/proxyMode") == (200, "iptables")
            for path in PAGES:
                ours, theirs = api_body(agent.host, 10249, path), api_body(host, 10249, path)
                assert ours[0] == theirs[0] == 200, path
                shown = [re.findall(PAGES[path], each[2], re.MULTILINE) for each in (ours, theirs)]
                assert shown[0] == shown[1] != [], path
            for port, path in ((10256, "/nowhere"), (10249, "/livez")):
                assert api_body(agent.host, port, path)[0] == api_body(host, port, path)[0] == 404
            node = plane.get(f"/api/v1/nodes/{NODE_NAME}")
            taint = {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}
            spec = {**node["spec"], "taints": [taint]}
            plane.request("PUT", f"/api/v1/nodes/{NODE_NAME}", {**node, "spec": spec})
            try:
                agent.process.wait_until(lambda: not agent.is_well(), "the taint is seen", SECONDS)
                agent.process.wait_until(lambda: api_body(host, 10256, "/healthz")[0] == 503, "there too", SECONDS)
                assert same(10256, "/healthz")[0] == 503
                assert same(10256, "/livez")[0] == 200
            finally:
                node = plane.get(f"/api/v1/nodes/{NODE_NAME}")
                plane.request("PUT", f"/api/v1/nodes/{NODE_NAME}", {**node, "spec": {**node["spec"], "taints": []}})


NOT_SHOWN_BY_US = {
    "rest_client_request_size_bytes",
    "rest_client_response_size_bytes",
    "rest_client_request_retries_total",
    # what a kernel that has no such counters does not count
    "kubeproxy_iptables_ct_state_invalid_dropped_packets_total",
    "kubeproxy_iptables_localhost_nodeports_accepted_packets_total",
}


def test_metrics_of_the_real_kube_proxys_names(plane: ControlPlane, binaries: Path, tmp_path: Path) -> None:
    """Each series of ours that claims kube-proxy's name has its type and its labels."""
    with agent_on(plane, tmp_path) as agent, lone_host("theirs") as host, plane.reached_from(host.name) as server:
        kubeconfig = plane.kubeconfig(USER, server=server)
        flags = {"netns": host.name, "kubeconfig": kubeconfig, "hostname": NODE_NAME}
        with KubeProxy(binaries, tmp_path, **flags) as theirs:  # type: ignore[arg-type]  # a netns, a path, a name
            agent.process.wait_until(theirs.synced, "kube-proxy has synced", SECONDS)
            known = _series(theirs.metrics())
        ours = _series(api_body(agent.host, 10249, "/metrics")[2])

    def claims(series: dict[str, tuple[str, frozenset[str]]]) -> set[str]:
        return {name for name in series if name.startswith(("kubeproxy_", "rest_client_request"))}

    claimed = claims(ours)
    assert claims(known) - claimed <= NOT_SHOWN_BY_US
    assert {
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
        "kubeproxy_sync_proxy_rules_service_changes_total",
    } <= claimed
    different = {name: (ours[name], known[name]) for name in claimed & known.keys() if ours[name] != known[name]}
    assert different == {}
    # A counter that never counted is not shown by kube-proxy.
    assert claimed - known.keys() <= {
        "kubeproxy_sync_partial_proxy_rules_duration_seconds",
        "kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
        "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
        "kubeproxy_conntrack_reconciler_deleted_entries_total",
        "kubeproxy_proxy_healthz_total",
        "kubeproxy_proxy_livez_total",
    }


def _series(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Metric to (type, names of its labels), for what has values."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, re.MULTILINE):
        base = next((each for each in (name, re.sub(r"_(bucket|sum|count)$", "", name)) if each in kinds), name)
        names = frozenset(re.findall(r'(\w+)="', labels)) - {"le"}
        found[base] = (kinds.get(base, ""), names)
    return found


BAD_SLICE = slice_manifest("bad", "10.244.1.66", port=None)


def test_what_is_bad_costs_only_itself(plane: ControlPlane, tmp_path: Path) -> None:
    """A slice port without a number and a Node address that is none: the API takes both."""
    node = plane.get(f"/api/v1/nodes/{NODE_NAME}")
    addresses = [{"type": "InternalIP", "address": "not-an-address"}, {"type": "InternalIP", "address": NODE_IP}]
    plane.request("PUT", f"/api/v1/nodes/{NODE_NAME}/status", {**node, "status": {"addresses": addresses}})
    with agent_on(plane, tmp_path) as agent:
        expose(plane, "bad")
        plane.request("POST", SLICES, BAD_SLICE)
        good = expose(plane, "good")
        plane.request("POST", SLICES, slice_manifest("good", "10.244.1.11"))
        agent.await_rule("--to-destination 10.244.1.11:8080")
        agent.await_rule(f"-d {good}/32", "KUBE-SVC-")
        log = agent.process.log.read_text()
        assert "a port without name or number is not supported" in log
        assert log.count("object partly ignored") == 1
        plane.kubectl("delete", "service", "bad", "good")


def test_a_healthy_idle_agent_is_silent(plane: ControlPlane, tmp_path: Path) -> None:
    with agent_on(plane, tmp_path) as agent:
        address = expose(plane, "quiet")
        agent.await_rule(f"-d {address}/32")
        lines = [line for line in agent.process.log.read_text().splitlines() if "left as it is" not in line]
        assert [line.split(" ", 3)[3].split(" ")[0] for line in lines] == ["started"], lines
        plane.kubectl("delete", "service", "quiet")


# -- an API server that goes away; each of these breaks a control plane of its own


def test_a_killed_api_server(fresh_control_plane: ControlPlane, tmp_path: Path) -> None:
    plane = fresh_control_plane
    plane.add_node(NODE_NAME, [NODE_IP])
    with agent_on(plane, tmp_path) as agent:
        old = expose(plane, "old")
        plane.request("POST", SLICES, slice_manifest("old", "10.244.1.21"))
        agent.await_rule("--to-destination 10.244.1.21:8080")
        before, written = agent.rules(), agent.written
        plane.kill("kube-apiserver")
        agent.process.wait_until(lambda: "outage" in agent.process.log.read_text(), "the outage is told", SECONDS)
        assert agent.rules() == before
        assert agent.is_well()
        plane.restart("kube-apiserver")
        new = expose(plane, "new")
        agent.await_rule(f"-d {new}/32", "REJECT")
        agent.await_rule(f"-d {old}/32", "KUBE-SVC-")
        assert agent.written - written == 1, "the one shared chain in which the new service has its line"


def test_a_frozen_api_server(fresh_control_plane: ControlPlane, tmp_path: Path) -> None:
    plane = fresh_control_plane
    plane.add_node(NODE_NAME, [NODE_IP])
    with agent_on(plane, tmp_path) as agent:
        before, written = agent.rules(), agent.written
        plane.pause("kube-apiserver")
        assert agent.rules() == before
        assert agent.is_well()
        # Restarted meanwhile, the agent finds nobody; what the first run wrote goes on.
        agent.process.kill()
        agent.process.start()
        agent.process.wait_until(lambda: agent.process.log.read_text().count(" started ") == 2, "it runs", SECONDS)
        assert agent.rules() == before
        plane.resume("kube-apiserver")
        address = expose(plane, "later")
        agent.await_rule(f"-d {address}/32", "REJECT")
        assert written > 1
        assert agent.written == 1, "all else was there already"

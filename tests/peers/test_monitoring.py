"""The dashboards and what they stand on: every metric that a panel reads is in a scrape of the running program."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from peers.control_plane import ControlPlane
from peers.our_dns import svcplane_dns
from peers.processes import Process
from peers.reach import HttpServer
from support.dashboards import asked, offered
from support.resolvers import over_udp, question
from support.scripted_upstream import ScriptedUpstream
from support.site import lone_host
from support.waiting import eventually
from svcdns.counters import COUNTERS
from svclab.netns import Host

pytestmark = pytest.mark.peers

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPONENTS = DEPLOY / "kustomize/components"
OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
NODE = "monitored"


def dashboard(program: str) -> Path:
    return COMPONENTS / f"monitoring-{program}/dashboard.json"


def missing(program: str, scrape: str) -> dict[str, set[str]]:
    """What the dashboard reads and the scrape has not: metrics, or labels of them."""
    there = offered(scrape)
    found = {}
    for metric, labels in asked(dashboard(program)).items():
        if metric not in there:
            found[metric] = labels
        elif (has := there[metric]) is not None and (lacking := labels - has):
            found[metric] = lacking
    return found


def test_the_agents_dashboard(control_plane: ControlPlane, tmp_path: Path) -> None:
    control_plane.add_node(NODE, ["192.168.56.11"])
    with ExitStack() as stack:
        host: Host = stack.enter_context(lone_host("monitored"))
        server = stack.enter_context(control_plane.reached_from(host.name))
        argv = (
            Path(sys.executable).with_name("svcplane-agent"),
            "run",
            f"--kubeconfig={control_plane.kubeconfig('admin', server=server)}",
            f"--hostname-override={NODE}",
            "--conntrack-max-per-core=0",
        )
        process = stack.enter_context(Process(argv, tmp_path / "log", netns=host.name))
        process.start()

        def answer(port: int, path: str) -> str:
            return HttpServer("127.0.0.1", port, host.name).request("GET", path).body.decode()

        process.wait_until(lambda: "svcplane_writes_total{" in answer(10249, "/metrics"), "the first pass")
        answer(10256, "/healthz"), answer(10256, "/livez")
        assert missing("agent", answer(10249, "/metrics")) == {}


def test_the_dns_dashboard(control_plane: ControlPlane, tmp_path: Path) -> None:
    with ScriptedUpstream() as upstream, ExitStack() as stack:
        forward = f"--forward={upstream.address[0]}:{upstream.address[1]}"
        small = ("--cache-success=1", "--prefetch=1 1h 90%", "--serve-stale=1h", "--health-check=100ms")
        kubeconfig = control_plane.kubeconfig("admin")
        server = stack.enter_context(svcplane_dns(tmp_path / "dns", kubeconfig, forward, *small))

        def lacking() -> set[str]:
            for name in ("short", "plain", "short"):
                over_udp(server.address, question(f"{name}.example.org."))
            return set(missing("dns", server.http.request("GET", "/metrics").body.decode())) - {rare}

        # It takes more than the 1,024 entries of the smallest cache.
        rare = "coredns_cache_evictions_total"
        assert rare.removeprefix("coredns_").removesuffix("_total") in COUNTERS
        only_in_need = {"coredns_cache_served_stale_total", "coredns_proxy_healthcheck_failures_total"}
        eventually(lambda: lacking() <= only_in_need, "the metrics of a healthy server", 30)
        upstream.away = True
        eventually(lambda: not lacking(), "the metrics of one without upstream", 30)


@pytest.fixture(scope="module")
def operator() -> list[dict[str, Any]]:
    """The Prometheus operator's kinds that we use, from its own module."""
    shown = subprocess.run(["go", "mod", "download", "-json", OPERATOR], check=True, capture_output=True, text=True)
    folder = Path(json.loads(shown.stdout)["Dir"]) / "example/prometheus-operator-crd"
    return [yaml.safe_load((folder / "monitoring.coreos.com_servicemonitors.yaml").read_text())]


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """The overlay of both programs with both components, and the agent's configuration as the component asks for it."""
    shutil.copytree(DEPLOY / "kustomize", tmp_path / "kustomize")
    chosen = tmp_path / "kustomize/overlays/both/kustomization.yaml"
    with chosen.open("a") as text:
        text.write("components: [../../components/monitoring-agent, ../../components/monitoring-dns]\n")
    with (tmp_path / "kustomize/overlays/agent/config.yaml").open("a") as text:
        text.write("metricsBindAddress: 0.0.0.0:10249\n")
    return chosen.parent


def test_the_api_server_takes_the_components(binaries: Path, overlay: Path, operator: list[dict[str, Any]]) -> None:
    text = ran(binaries / "kubectl", "kustomize", overlay)
    with ControlPlane(binaries, apiserver_flags=["--allow-privileged"]) as plane:
        plane.apply(operator)
        served = "/apis/monitoring.coreos.com/v1/servicemonitors"
        eventually(lambda: plane.get(served), "the kind is served", 30)
        plane.apply([each for each in yaml.safe_load_all(text) if each["kind"] == "Namespace"])
        said = plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    monitors = sorted(line for line in said.splitlines() if "servicemonitor" in line or "dashboard" in line)
    assert monitors == [
        "configmap/svcplane-agent-dashboard created (server dry run)",
        "configmap/svcplane-dns-dashboard created (server dry run)",
        "servicemonitor.monitoring.coreos.com/svcplane-agent created (server dry run)",
        "servicemonitor.monitoring.coreos.com/svcplane-dns created (server dry run)",
    ]


def test_the_monitors_find_their_services(binaries: Path, overlay: Path) -> None:
    """By namespace, labels and the port's name; and the Services find the pods that listen there."""
    objects = [each for each in yaml.safe_load_all(ran(binaries / "kubectl", "kustomize", overlay)) if each]
    for name, workload in (("svcplane-agent", "DaemonSet"), ("svcplane-dns", "Deployment")):
        (monitor,) = (each for each in objects if (each["kind"], each["metadata"]["name"]) == ("ServiceMonitor", name))
        (service,) = (
            each
            for each in objects
            if each["kind"] == "Service"
            and each["metadata"]["namespace"] == monitor["metadata"]["namespace"]
            and monitor["spec"]["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
        )
        assert monitor["spec"]["jobLabel"] in service["metadata"]["labels"]
        ports = {port["name"]: port["targetPort"] for port in service["spec"]["ports"]}
        (pods,) = (each["spec"]["template"] for each in objects if each["kind"] == workload)
        assert service["spec"]["selector"].items() <= pods["metadata"]["labels"].items()
        assert ports[monitor["spec"]["endpoints"][0]["port"]] == {"svcplane-agent": 10249, "svcplane-dns": 9153}[name]


def test_the_chart_makes_the_same(binaries: Path, overlay: Path) -> None:
    values = [
        "agent.apiServer=https://192.168.56.10:6443",
        "monitoring.serviceMonitors=true,monitoring.dashboards=true",
    ]
    flags = [word for value in values for word in ("--set", value)]
    chart = ran(binaries / "helm", "template", DEPLOY / "helm/svcplane", "--kube-version", "1.36.3", *flags)
    assert monitoring(chart) == monitoring(ran(binaries / "kubectl", "kustomize", overlay))
    assert "    metricsBindAddress: 0.0.0.0:10249\n" in chart


def monitoring(text: str) -> list[dict[str, Any]]:
    """What the components add, in order."""
    added = [each for each in yaml.safe_load_all(text) if each and re.search(r"Monitor|dashboard|None", str(each))]
    kinds = {"Service", "ServiceMonitor", "ConfigMap"}
    return sorted(
        (each for each in added if each["kind"] in kinds), key=lambda each: (each["kind"], each["metadata"]["name"])
    )


def ran(*argv: str | Path) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

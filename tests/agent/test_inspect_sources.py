"""Objects from an API server: lists by page, with kube-proxy's selectors, and pods only for the command that asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kube.scripted import ScriptedServer, answer, refusal
from support import commands
from support.commands import TABLE, pod
from support.flows import CLUSTER_CIDR, Manifest, port, service
from svckube.access import AccessError

FLAGS = ("--cluster-cidr", CLUSTER_CIDR, "--hostname-override", "node")
NUMBERS = service("numbers-web", "10.96.1.1", [port(80, 8080)], selector={"service-app": "web"})


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    found = ScriptedServer()
    yield found
    found.close()


@pytest.fixture
def kubeconfig(server: ScriptedServer, tmp_path: Path) -> str:
    named = {"name": "it"}
    file = tmp_path / "kubeconfig"
    file.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "it",
                "contexts": [{**named, "context": {"cluster": "it", "user": "it"}}],
                "clusters": [{**named, "cluster": {"server": server.url}}],
                "users": [{**named, "user": {}}],
            }
        )
    )
    return str(file)


def listing(*items: Manifest, more: str = "") -> Any:
    return answer(200, {"metadata": {"resourceVersion": "7", "continue": more}, "items": list(items)})


def of_kind(kind: str) -> list[Manifest]:
    return [each for each in TABLE if each["kind"] == kind]


def test_rules_are_those_of_the_same_objects_in_a_file(
    server: ScriptedServer, kubeconfig: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    services = of_kind("Service")
    server.script += [
        listing(*services[:5], more="token"),
        listing(*services[5:]),
        listing(*of_kind("EndpointSlice")),
        listing(*of_kind("Node")),
    ]
    assert commands.rules("--kubeconfig", kubeconfig, *FLAGS) == 0
    told = capsys.readouterr().out
    assert commands.rules("--file", commands.written(tmp_path, TABLE), *FLAGS) == 0
    assert told == capsys.readouterr().out
    first, second, slices, nodes = server.requests
    assert first.query["labelSelector"] == "!service.kubernetes.io/service-proxy-name"
    assert first.query["fieldSelector"] == "spec.clusterIP!=None"
    assert second.query["continue"] == "token"
    assert (slices.path, slices.query["labelSelector"]) == (
        "/apis/discovery.k8s.io/v1/endpointslices",
        "!service.kubernetes.io/headless",
    )
    assert nodes.path == "/api/v1/nodes"


def test_an_object_that_does_not_decode_is_told_and_left_out(
    server: ScriptedServer, kubeconfig: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {"metadata": {"name": "bad", "namespace": "ns"}, "spec": {"ports": 7}}
    server.script += [listing(bad, NUMBERS), listing(), listing()]
    assert commands.rules("--kubeconfig", kubeconfig, *FLAGS) == 0
    captured = capsys.readouterr()
    assert "Service ns/bad does not decode and is left out" in captured.err
    assert "numbers-web has no endpoints" in captured.out


def traced(capsys: pytest.CaptureFixture[str], kubeconfig: str, *argv: str) -> tuple[list[str], str]:
    flags = ("--json", "--rules", "computed", "--kubeconfig", kubeconfig)
    assert commands.trace(*flags, *FLAGS, *argv) == 0
    captured = capsys.readouterr()
    return [each["message"] for each in json.loads(captured.out)["reasons"][1:]], captured.err


def test_trace_asks_for_the_pods_beside_the_service_and_those_it_would_select(
    server: ScriptedServer, kubeconfig: str, capsys: pytest.CaptureFixture[str]
) -> None:
    near = pod("web-1", {"service-name": "web"}, "10.244.1.9")
    away = pod("web-2", {"service-app": "web"}, "10.244.1.8", namespace="shop")
    server.script += [listing(NUMBERS), listing(), listing(), listing(near), listing(away)]
    messages, _ = traced(capsys, kubeconfig, "--from", "outside", "--to", "numbers-web")
    assert messages == [
        "pod flows/web-1 has service-name=web, not service-app=web",
        "pods with these labels are in another namespace: shop/web-2; a Service selects in its own",
    ]
    beside, selected = server.requests[3:]
    assert beside.path == "/api/v1/namespaces/flows/pods"
    assert (selected.path, selected.query["labelSelector"]) == ("/api/v1/pods", "service-app=web")


def test_trace_does_without_pods_that_it_may_not_list(
    server: ScriptedServer, kubeconfig: str, capsys: pytest.CaptureFixture[str]
) -> None:
    forbidden = refusal(403, "pods is forbidden")
    server.script += [listing(NUMBERS), listing(), listing(), forbidden, forbidden]
    messages, told = traced(capsys, kubeconfig, "--from", "outside", "--to", "numbers-web")
    assert messages == []
    assert "the pods are not known" in told


def test_an_api_server_that_refuses_ends_the_command(server: ScriptedServer, kubeconfig: str) -> None:
    server.script += [refusal(403, "services is forbidden")]
    with pytest.raises(AccessError, match="services is forbidden"):
        commands.rules("--kubeconfig", kubeconfig, *FLAGS)

"""`svcplane-agent trace` over computed rules: where packets land, and the reason where they do not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from support import commands
from support.commands import TABLE, pod, written
from support.flows import BACKEND, CLUSTER_CIDR, FLOWS, NODE, PODS, PODS6, Flow, Manifest, endpoints, port, service
from svcagent.inspection.sources import SourceError

FLAGS = ("--cluster-cidr", CLUSTER_CIDR, "--hostname-override", "node")
SOURCES = {"client": "outside", "node": "node", "pod1": "flows/pod1", "pod2": "pod2", "pod3": "flows/pod3"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("table"), TABLE)


def traced(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    assert commands.trace("--json", *FLAGS, *argv) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def reasons(found: dict[str, Any]) -> list[str]:
    return [each["code"] for each in found["reasons"]]


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.id for flow in FLOWS])
def test_the_flow_table_lands_as_it_says(flow: Flow, table: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And a reason is given if and only if the packet does not get through."""
    # The table's client is an address like others, but source ranges know it by number.
    source = "192.168.56.100" if flow.source == "client" and ":" not in flow.address else SOURCES[flow.source]
    to = f"[{flow.address}]:{flow.port}" if ":" in flow.address else f"{flow.address}:{flow.port}"
    found = traced(capsys, "--file", table, "--from", source, "--to", to, "--protocol", flow.protocol)
    outcomes = found["outcomes"]
    assert sum(each["probability"] for each in outcomes) == pytest.approx(1)
    if flow.otherwise:
        assert {each["verdict"] for each in outcomes} == {{"refused": "REJECT", "dropped": "DROP"}[flow.otherwise]}
        assert reasons(found)[0] in ("NoEndpoints", "NotReady", "LocalPolicy", "SourceRanges")
    else:
        addresses = PODS6 if ":" in flow.address else PODS
        assert {each["address"] for each in outcomes} == {addresses[each] for each in flow.lands}
        assert {each["holder"].split()[1] for each in outcomes} == {f"flows/{each}" for each in flow.lands}
        assert found["reasons"] == []


ENDS = [
    pytest.param("pod2", "multi:81", ["WrongPort"], "has no port 81/TCP; it has http 80/TCP, https 443/TCP", id="port"),
    pytest.param("pod2", "multi:8080", ["WrongPort"], "8080 is what its pods listen on", id="target port"),
    pytest.param("pod2", "web:31111", ["WrongPort"], "31111 is its node port", id="node port at the cluster IP"),
    pytest.param("pod2", "10.96.0.99:80", ["NoSuchService"], "no Service has the address 10.96.0.99", id="no service"),
    pytest.param("outside", f"{NODE}:31110", ["NoSuchNodePort"], "nearest: 31111, 31112, 31113", id="no node port"),
    pytest.param("outside", f"{BACKEND}:31111", ["NotANodeAddress"], "no address of node node", id="another node's"),
    pytest.param("pod2", f"{PODS['pod1']}:8080", ["PodAddress"], "is pod flows/pod1 itself", id="a pod"),
    pytest.param("pod2", "empty", ["NoEndpoints"], "has no selector and no IPv4 endpoints", id="no selector"),
    pytest.param("pod2", "unready", ["NotReady"], "no endpoint is ready: 10.244.1.2 is not ready", id="not ready"),
    pytest.param(
        "outside",
        f"{NODE}:31114",
        ["LocalPolicy"],
        "externalTrafficPolicy: Local, and Service flows/elsewhere has no endpoint on node node; it has on backend",
        id="external Local",
    ),
    pytest.param("pod2", "outside", ["LocalPolicy"], "internalTrafficPolicy: Local", id="internal Local"),
    pytest.param("pod2", "192.168.56.201:80", ["SourceRanges"], "is not in loadBalancerSourceRanges", id="ranges"),
]


@pytest.mark.parametrize(("source", "to", "codes", "message"), ENDS)
def test_the_reason_is_told(
    source: str, to: str, codes: list[str], message: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = traced(capsys, "--file", table, "--from", source, "--to", to)
    assert reasons(found) == codes
    assert message in found["reasons"][0]["message"]


def test_another_protocol_is_told(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = traced(capsys, "--file", table, "--to", "web:80", "--protocol", "udp")
    assert reasons(found) == ["WrongProtocol"]


def test_a_node_port_that_is_not_served_here_is_told(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--nodeport-addresses", "10.0.0.0/8", "--file", table)
    found = traced(capsys, "--from", "outside", "--to", f"{NODE}:31111", *flags)
    assert reasons(found) == ["NodePortNotServed"]


MEANT = [
    pytest.param("web", "10.96.0.20", 80, "tcp", id="a bare name"),
    pytest.param("flows/web", "10.96.0.20", 80, "tcp", id="with its namespace"),
    pytest.param("web.flows", "10.96.0.20", 80, "tcp", id="as in DNS"),
    pytest.param("web.flows.svc.cluster.local:80", "10.96.0.20", 80, "tcp", id="as in DNS, in full"),
    pytest.param("multi:https", "10.96.0.21", 443, "tcp", id="a port by name"),
    pytest.param("multi:443", "10.96.0.21", 443, "tcp", id="a port by number"),
    pytest.param("dns:dns", "10.96.0.22", 53, "udp", id="the port's protocol"),
    pytest.param("dns:53", "10.96.0.22", 53, "tcp", id="TCP before UDP"),
    pytest.param("010.96.0.20:80", "10.96.0.20", 80, "tcp", id="an address"),
    pytest.param("[FD00:10:96::20]:80", "fd00:10:96::20", 80, "tcp", id="an IPv6 address"),
]


@pytest.mark.parametrize(("to", "address", "number", "protocol"), MEANT)
def test_what_is_meant(
    to: str, address: str, number: int, protocol: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    packet = traced(capsys, "--file", table, "--from", "pod2", "--to", to)["packet"]
    assert (packet["destination"], packet["port"], packet["protocol"]) == (address, number, protocol)


def test_a_family_can_be_chosen(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    packet = traced(capsys, "--file", table, "--from", "pod2", "--to", "web", "--family", "IPv6")["packet"]
    assert (packet["source"], packet["destination"]) == (PODS6["pod2"], "fd00:10:96::20")


REFUSED = [
    pytest.param(["--to", "wep"], "there is no Service 'default/wep'; nearest: flows/web", id="no such service"),
    pytest.param(["--to", "multi"], "several ports: choose one with flows/multi:PORT .http 80/TCP, https", id="which"),
    pytest.param(["--to", "multi:htp"], "has no port 'htp'; it has http 80/TCP", id="no such port name"),
    pytest.param(["--to", "10.96.0.20"], "has no port: write 10.96.0.20:80", id="an address alone"),
    pytest.param(["--to", "web", "--from", "pod9"], "there is no pod 'default/pod9'; nearest: flows/pod", id="no pod"),
    pytest.param(["--to", "10.96.0.20:80", "--from", "fd00::1"], "not all of one family", id="two families"),
    pytest.param(["--to", "multi:http", "--family", "IPv6"], "has no cluster IP of this family", id="not its family"),
    pytest.param([], "say once where the packet goes", id="nowhere"),
    pytest.param(["10.96.0.20:80", "--to", "web"], "say once where the packet goes", id="twice"),
]


@pytest.mark.parametrize(("argv", "message"), REFUSED)
def test_what_cannot_be_traced_is_refused(argv: Sequence[str], message: str, table: str) -> None:
    with pytest.raises(SourceError, match=message):
        commands.trace("--file", table, *FLAGS, *argv)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param({"clusterIP": "None"}, "is headless: DNS answers", id="headless"),
        pytest.param(
            {"type": "ExternalName", "externalName": "a.example"}, "DNS answers 'a.example'", id="ExternalName"
        ),
    ],
)
def test_services_without_rules_are_told_apart(spec: Manifest, message: str, tmp_path: Path) -> None:
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}, "spec": spec}
    with pytest.raises(SourceError, match=message):
        commands.trace("--file", written(tmp_path, [made]), "--to", "db", *FLAGS)


def test_a_pod_meets_the_rules_of_its_own_node(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("--json", "--cluster-cidr", CLUSTER_CIDR, "--file", table, "--from", "pod3", "--to", "inside")
    assert commands.trace(*argv) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rules"] == "IPv4, computed for node backend"
    assert [each["holder"] for each in found["outcomes"]] == ["pod flows/pod3 on backend"]


def test_a_pod_of_another_node_is_noted(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = traced(capsys, "--file", table, "--from", "pod3", "--to", "web")
    assert "runs on backend" in found["notes"][0]


def test_text_tells_the_common_steps_once(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.trace("--file", table, *FLAGS, "--from", "outside", "--to", f"{NODE}:31111") == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == f"tcp 192.0.2.1 (outside the cluster) by eth0 -> {NODE}:31111 (flows/web node port)"
    shares = [line for line in lines if line.startswith(" 33.3% ")]
    assert [line.split()[1] for line in shares] == [f"{PODS[each]}:8080" for each in ("pod1", "pod2", "pod3")]
    steps = [line.strip() for line in lines if line.strip().startswith(("nat ", "filter "))]
    assert len(steps) == len(set(steps))
    assert sum("MASQUERADE" in step for step in steps) == 1
    assert lines[-1].startswith("=> sent to one of 3 endpoints, masqueraded: it sees this node's address, after ")


def test_text_keeps_endings_apart(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A pod that may reach itself is masqueraded on that way only."""
    commands.trace("--file", table, *FLAGS, "--from", "pod1", "--to", "web")
    endings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("=> ")]
    assert [("masqueraded" in line, "one of 2" in line) for line in endings] == [(True, False), (False, True)]


# -- no endpoints: the nearest labels (scenario 9)

NUMBERS = service(
    "numbers-web", "10.96.1.1", [port(80, 8080, node_port=31624)], type="NodePort", selector={"service-app": "web"}
)
WRONG_LABEL = {"service-name": "web", "pod-template-hash": "5d4f"}


def why(capsys: pytest.CaptureFixture[str], folder: Path, *objects: Manifest) -> list[tuple[str, str]]:
    found = traced(capsys, "--file", written(folder, [NUMBERS, *objects]), "--from", "outside", "--to", "numbers-web")
    assert {each["verdict"] for each in found["outcomes"]} == {"REJECT"}
    return [(each["code"], each["message"]) for each in found["reasons"]]


NO_ENDPOINTS = ("NoEndpoints", "Service flows/numbers-web has no IPv4 endpoints; its selector is service-app=web")
PODS_THERE = [
    pytest.param(
        [pod("web-1", WRONG_LABEL, "10.244.1.9")],
        ("NearMiss", "pod flows/web-1 has service-name=web, not service-app=web"),
        id="another key",
    ),
    pytest.param(
        [
            pod("web-1", WRONG_LABEL, "10.244.1.9"),
            pod("web-2", {**WRONG_LABEL, "pod-template-hash": "x"}, "10.244.1.8"),
        ],
        ("NearMiss", "pod flows/web-1 (and 1 like it) has service-name=web, not service-app=web"),
        id="two alike",
    ),
    pytest.param(
        [pod("far", {"tier": "db"}, "10.244.1.7"), pod("web-1", {"service-app": "wep"}, "10.244.1.9")],
        ("NearMiss", "pod flows/web-1 has service-app=wep, not service-app=web"),
        id="another value, and a pod that is far",
    ),
    pytest.param(
        [pod("web-1", {"Service-App": "Web"}, "10.244.1.9")],
        ("NearMiss", "pod flows/web-1 has Service-App=Web, not service-app=web"),
        id="another case",
    ),
    pytest.param(
        [pod("far", {"tier": "db"}, "10.244.1.7")],
        ("NoSuchPods", "none of the 1 pods in flows has labels like these"),
        id="nothing near",
    ),
    pytest.param(
        [pod("web-1", {"service-app": "web"}, "10.244.1.9", namespace="shop")],
        (
            "OtherNamespace",
            "pods with these labels are in another namespace: shop/web-1; a Service selects in its own",
        ),
        id="another namespace",
    ),
    pytest.param(
        [pod("web-1", {"service-app": "web"})],
        ("PodsNotReady", "pods with these labels: web-1 is without an IPv4 address (Pending)"),
        id="pending",
    ),
    pytest.param(
        [pod("web-1", {"service-app": "web"}, "10.244.1.9", ready=False)],
        ("PodsNotReady", "pods with these labels: web-1 is not ready (Running)"),
        id="matching, not ready",
    ),
]


@pytest.mark.parametrize(("pods", "reason"), PODS_THERE)
def test_the_near_miss_is_named(
    pods: list[Manifest], reason: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert why(capsys, tmp_path, *pods) == [NO_ENDPOINTS, reason]


def test_without_pods_only_the_selector_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert why(capsys, tmp_path) == [NO_ENDPOINTS]


def test_two_labels_of_which_one_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = json.loads(json.dumps(NUMBERS))
    two["spec"]["selector"] = {"app": "shop", "tier": "front"}
    there = [pod("a", {"app": "shop"}, "10.244.1.9"), pod("b", {"app": "shop", "tier": "back"}, "10.244.1.8")]
    file = written(tmp_path, [two, *there])
    found = traced(capsys, "--file", file, "--from", "outside", "--to", "numbers-web")
    messages = [each["message"] for each in found["reasons"][1:]]
    assert messages[0] == "pod flows/b has tier=back, not tier=front"


def test_slices_without_the_named_target_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (made,) = endpoints(NUMBERS, {"pod1": "ready"})
    made["ports"] = [{"name": "metrics", "port": 9090, "protocol": "TCP"}]
    ((code, message),) = why(capsys, tmp_path, made)
    assert code == "NoSuchTargetPort"
    assert "only metrics" in message


def test_a_slice_names_the_pods_that_are_not_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (made,) = endpoints(NUMBERS, {"pod1": "unready"})
    made["endpoints"][0]["targetRef"] = {"kind": "Pod", "name": "web-7"}
    assert why(capsys, tmp_path, made) == [
        ("NotReady", "Service flows/numbers-web: no endpoint is ready: web-7 is not ready")
    ]

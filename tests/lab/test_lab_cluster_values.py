"""What a lab is made of, as values: cables, daemons, add-ons, restarts, places."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from svclab.cluster import exec_command, restarts, wiring
from svclab.cluster.addons import addons
from svclab.cluster.daemons import Daemon, daemons
from svclab.cluster.plan import Plan
from svclab.cluster.pool_route import chosen
from svclab.cluster.restarts import History

PLAN = Plan(name="x", nodes=2)


def test_a_host_is_plugged_into_the_bridge() -> None:
    node = wiring.host(PLAN, "node1")
    assert node.namespace == "svcp-x-node1"
    assert node.plug == (
        "link add node1 type veth peer name eth0 netns svcp-x-node1",
        "link set node1 master br0",
        "link set node1 up",
    )
    assert node.lines == (
        "link set lo up",
        "address add 192.168.56.11/24 dev eth0",
        "link set eth0 up",
        "route add default via 192.168.56.254",
    )


@pytest.mark.parametrize(
    ("name", "forwards"), [("node1", True), ("node2", True), ("control", False), ("outside", False)]
)
def test_only_nodes_and_the_router_forward(name: str, forwards: bool) -> None:
    assert ("ipv4/ip_forward" in wiring.host(PLAN, name).settings) is forwards
    assert wiring.segment(PLAN).settings["ipv4/ip_forward"] == "1"


def test_the_internet_knows_the_nodes_and_no_pods() -> None:
    lines = wiring.internet(PLAN).lines
    assert [line for line in lines if line.startswith("route")] == [
        "route add local 203.0.113.0/25 dev lo",
        "route add local 192.168.123.234 dev lo",
        "route add 192.168.56.0/24 via 203.0.113.254",
    ]


def test_the_pool_is_led_by_the_fewest_routes() -> None:
    plan = Plan(lb_pool="192.168.56.200-192.168.56.207")
    assert wiring.pool_routes(plan, "192.168.56.12") == ("route replace 192.168.56.200/29 via 192.168.56.12",)
    assert wiring.pool_routes(Plan(lb_pool=""), "192.168.56.12") == ()


def by_name(plan: Plan) -> dict[str, Daemon]:
    return {each.name: each for each in daemons(plan, "/state")}


def test_daemons_and_their_hosts() -> None:
    assert {name: each.host for name, each in by_name(PLAN).items()} == {
        "apiserver": "control",
        "controllers": "control",
        "node1-kubelet": "node1",
        "node1-agent": "node1",
        "node1-nodelocal": "node1",
        "node2-kubelet": "node2",
        "node2-agent": "node2",
        "node2-nodelocal": "node2",
        "upstream": "internet",
        "pool-route": "",
    }


def test_no_pool_no_route() -> None:
    assert "pool-route" not in by_name(Plan(lb_pool=""))


@pytest.mark.parametrize(
    ("daemon", "flag"),
    [
        ("apiserver", "--service-cluster-ip-range=10.233.0.0/18"),
        ("apiserver", "--advertise-address=192.168.56.10"),
        ("controllers", "--cluster-cidr=10.233.64.0/18"),
        ("controllers", "--lb-pool=192.168.122.200-192.168.122.210"),
        ("node1-kubelet", "--cluster-dns=10.233.0.10"),
        ("node1-kubelet", "--node-ip=192.168.56.11"),
        ("node1-kubelet", "--root-dir=/state/hosts/node1/kubelet"),
        ("node1-kubelet", "--images=/images.yaml"),
        ("node1-agent", "--cluster-cidr=10.233.64.0/18"),
        ("node1-agent", "--hostname-override=node1"),
        ("node1-nodelocal", "--local-ip=169.254.20.10,10.233.0.10"),
        ("node1-nodelocal", "--cluster-dns=10.233.0.11"),
        ("node1-nodelocal", "--conf=/state/nodelocal.Corefile"),
    ],
)
def test_daemons_are_told_the_ranges(daemon: str, flag: str) -> None:
    plan = Plan(
        service_cidr="10.233.0.0/18",
        cluster_cidr="10.233.64.0/18",
        lb_pool="192.168.122.200-192.168.122.210",
        images="/images.yaml",
    )
    assert flag in by_name(plan)[daemon].arguments


def test_cluster_dns() -> None:
    found: dict[str, dict[str, Any]] = {each.body["kind"]: each.body for each in addons(PLAN)}
    service, upstream = (each.body for each in addons(PLAN) if each.body["kind"] == "Service")
    deployment = found["Deployment"]
    assert (service["metadata"]["name"], upstream["metadata"]["name"]) == ("kube-dns", "kube-dns-upstream")
    assert upstream["spec"]["clusterIP"] == "10.96.0.11"
    assert upstream["spec"]["selector"] == service["spec"]["selector"]
    assert service["spec"]["clusterIP"] == "10.96.0.10"
    template = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    assert deployment["spec"]["replicas"] == 2
    assert template["spec"]["serviceAccountName"] == found["ServiceAccount"]["metadata"]["name"]


def test_paths_of_addons() -> None:
    assert [each.path for each in addons(PLAN)] == [
        "/api/v1/namespaces/kube-system/serviceaccounts/svcplane-dns",
        "/api/v1/namespaces/kube-system/services/kube-dns",
        "/api/v1/namespaces/kube-system/services/kube-dns-upstream",
        "/apis/apps/v1/namespaces/kube-system/deployments/svcplane-dns",
    ]


def pauses(*lived: float) -> list[float]:
    """The pause before each restart of a daemon that lives so long each time."""
    history, now, found = History(), 100.0, []
    for seconds in lived:
        history = restarts.started(history, now)
        now += seconds
        history = restarts.ended(history, now)
        assert history.next is not None
        found.append(round(history.next - now, 3))
        now = history.next
    return found


@pytest.mark.parametrize(
    ("lived", "expected"),
    [
        pytest.param([300.0], [0.0], id="at once"),
        pytest.param([300.0, 300.0, 300.0], [0.0, 0.0, 0.0], id="at once each time it has settled"),
        pytest.param([0.1] * 8, [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0], id="doubling to ten seconds"),
        pytest.param([0.1, 0.1, 0.1, 61.0, 0.1], [0.0, 0.5, 1.0, 0.0, 0.5], id="forgiven after a minute"),
    ],
)
def test_restarts(lived: list[float], expected: list[float]) -> None:
    assert pauses(*lived) == expected


def test_restarts_are_counted_over_adoption() -> None:
    history = restarts.ended(restarts.resumed(4, 10.0), 11.0)
    assert (history.restarts, history.next) == (5, 11.0)


def node(ready: str) -> dict[str, Any]:
    return {
        "status": {"conditions": [{"type": "MemoryPressure", "status": "True"}, {"type": "Ready", "status": ready}]}
    }


@pytest.mark.parametrize(
    ("states", "present", "expected"),
    [
        pytest.param({"a": "True", "b": "True"}, "", "a", id="the first"),
        pytest.param({"a": "True", "b": "True"}, "b", "b", id="stays"),
        pytest.param({"a": "Unknown", "b": "True"}, "a", "b", id="moves on"),
        pytest.param({"b": "True"}, "a", "b", id="its node is gone"),
        pytest.param({"a": "False", "b": "Unknown"}, "a", "", id="none is ready"),
    ],
)
def test_pool_route(states: dict[str, str], present: str, expected: str) -> None:
    assert chosen({name: node(state) for name, state in states.items()}, present) == expected


def exec_words(*words: str) -> tuple[str, list[str]]:
    parser = argparse.ArgumentParser()
    exec_command.configure(parser)
    return exec_command.asked_for(parser.parse_args(words))


@pytest.mark.parametrize(
    ("words", "place", "command"),
    [
        pytest.param("web -- env", "pod/default/web", "env", id="a pod"),
        pytest.param("-n shop web -- ls -l -n", "pod/shop/web", "ls -l -n", id="flags before"),
        pytest.param("web -n shop -c main -- ls", "pod/shop/web/main", "ls", id="flags after"),
        pytest.param("-n shop web -c main -- ls", "pod/shop/web/main", "ls", id="flags on both sides"),
        pytest.param("web ls", "pod/default/web", "ls", id="without dashes"),
        pytest.param("node/node1 -- iptables -t nat -L -n", "node/node1", "iptables -t nat -L -n", id="a node"),
        pytest.param("outside -- sh -c x -- y", "outside", "sh -c x -- y", id="only the first dashes count"),
        pytest.param("pod/outside -- ls", "pod/default/outside", "ls", id="a pod called outside"),
    ],
)
def test_exec(words: str, place: str, command: str) -> None:
    assert exec_words(*words.split()) == (place, command.split())

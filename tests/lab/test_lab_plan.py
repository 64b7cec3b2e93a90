"""The plan of a lab: addresses, names, and which ranges it refuses."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from svclab.cluster import plan
from svclab.cluster.plan import Plan, PlanError, check_machine, checked, differences

OTHER_RANGES = Plan(
    name="other",
    nodes=2,
    cluster_cidr="10.233.64.0/18",
    service_cidr="10.233.0.0/18",
    node_cidr="192.168.122.0/24",
    lb_pool="192.168.122.200-192.168.122.210",
)


def test_defaults() -> None:
    found = checked(Plan())
    assert found.hosts == {
        "control": "192.168.56.10",
        "node1": "192.168.56.11",
        "node2": "192.168.56.12",
        "node3": "192.168.56.13",
        "outside": "192.168.56.100",
    }
    assert (found.machine, found.router, found.length) == ("192.168.56.1", "192.168.56.254", 24)
    assert (found.api_service, found.dns_service) == ("10.96.0.1", "10.96.0.10")
    assert found.namespace("node1") == "svcp-lab-node1"
    assert found.link == "svcp-lab"


def test_other_ranges() -> None:
    found = checked(OTHER_RANGES)
    assert found.hosts["node2"] == "192.168.122.12"
    assert (found.api_service, found.dns_service) == ("10.233.0.1", "10.233.0.10")
    assert found.pool == ("192.168.122.200/29", "192.168.122.208/31", "192.168.122.210/32")


@pytest.mark.parametrize("name", ["lab", "a", "abcdefghij", "abcdefghijk", "abcdefghijklmnopqrst"])
def test_interface_names_fit(name: str) -> None:
    assert len(checked(Plan(name=name)).link) <= 15


def test_interface_names_differ() -> None:
    assert Plan(name="abcdefghijkl1").link != Plan(name="abcdefghijkl2").link


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"name": "my-lab"}, "--name 'my-lab'", id="a dash would make one name begin another's"),
        pytest.param({"name": "Lab"}, "--name 'Lab'", id="upper case"),
        pytest.param({"name": ""}, "--name ''", id="no name"),
        pytest.param({"name": "a" * 21}, "20 at most", id="long name"),
        pytest.param({"nodes": 0}, "--nodes 0: between 1 and 89", id="no nodes"),
        pytest.param({"nodes": 90, "cluster_cidr": "10.244.0.0/16"}, "--nodes 90", id="too many nodes"),
        pytest.param({"cluster_cidr": "10.244.0.0/23"}, "no /24 for each of 3 nodes", id="pods too narrow"),
        pytest.param({"cluster_cidr": "10.244.0.0/25"}, "no /24 for each of 3 nodes", id="pods narrower than a node"),
        pytest.param({"cluster_cidr": "10.244.0.1/16"}, "--cluster-cidr 10.244.0.1/16", id="host bits"),
        pytest.param({"cluster_cidr": "fd00::/56"}, "--cluster-cidr fd00::/56", id="IPv6"),
        pytest.param({"service_cidr": "10.96.0.0/29"}, "--service-cluster-ip-range 10.96.0.0/29", id="few services"),
        pytest.param({"node_cidr": "192.168.56.0/26"}, "--node-cidr 192.168.56.0/26", id="small segment"),
        pytest.param({"node_cidr": "10.0.0.0/8"}, "--node-cidr 10.0.0.0/8", id="huge segment"),
        pytest.param(
            {"service_cidr": "10.244.128.0/17"},
            "--cluster-cidr 10.244.0.0/16 overlaps --service-cluster-ip-range 10.244.128.0/17",
            id="pods and services",
        ),
        pytest.param(
            {"node_cidr": "10.100.0.0/24", "lb_pool": ""}, "overlaps --node-cidr 10.100.0.0/24", id="services and nodes"
        ),
        pytest.param(
            {"node_cidr": "203.0.113.0/24"}, "overlaps the lab's internet 203.0.113.0/24", id="nodes and internet"
        ),
        pytest.param({"lb_pool": "192.168.56.250-192.168.56.200"}, "--lb-pool 192.168.56.250-", id="pool backwards"),
        pytest.param({"lb_pool": "192.168.56.200-"}, "--lb-pool", id="pool without an end"),
        pytest.param({"lb_pool": "some"}, "--lb-pool some", id="pool of words"),
        pytest.param({"lb_pool": "10.244.9.0/28"}, "overlaps --cluster-cidr", id="pool among pods"),
        pytest.param({"lb_pool": "10.96.9.0/28"}, "overlaps --service-cluster-ip-range", id="pool among services"),
        pytest.param({"lb_pool": "203.0.113.0/28"}, "the lab's internet", id="pool in the internet"),
        pytest.param(
            {"lb_pool": "192.168.56.10-192.168.56.12"}, "192.168.56.10, which is control's", id="pool on host"
        ),
        pytest.param({"lb_pool": "192.168.56.240/28"}, "192.168.56.254, which is the router's", id="pool on router"),
        pytest.param({"lb_pool": "192.168.56.0/29"}, "192.168.56.1, which is this machine's", id="pool on machine"),
    ],
)
def test_refused(change: dict[str, Any], said: str) -> None:
    fields = {"name": "lab", "nodes": 3, **change}
    with pytest.raises(PlanError) as error:
        checked(Plan(**fields))
    assert said in str(error.value)


@pytest.mark.parametrize(
    "pool",
    [
        pytest.param("", id="none"),
        pytest.param("192.168.56.200-192.168.56.200", id="one address"),
        pytest.param("192.168.77.0/24", id="outside the segment: routed"),
    ],
)
def test_pools(pool: str) -> None:
    assert checked(Plan(lb_pool=pool)).lb_pool == pool


def address(link: str, local: str, length: int) -> dict[str, Any]:
    return {"ifname": link, "addr_info": [{"family": "inet", "local": local, "prefixlen": length}]}


@pytest.mark.parametrize(
    ("addresses", "routes", "said"),
    [
        pytest.param(
            [address("vboxnet0", "192.168.56.1", 24)],
            [],
            "--node-cidr 192.168.56.0/24 is taken on this machine: interface vboxnet0 has 192.168.56.1/24; "
            "choose another range with --node-cidr and --lb-pool",
            id="VirtualBox",
        ),
        pytest.param(
            [],
            [{"dst": "192.168.0.0/16", "dev": "tun0"}],
            "a route to 192.168.0.0/16 leads to tun0",
            id="a route that covers the segment",
        ),
        pytest.param([], [{"dst": "192.168.56.7", "dev": "eth0"}], "192.168.56.7/32", id="a route to one host"),
        pytest.param(
            [address("svcp-first", "192.168.56.1", 24)], [], "svcp-first has 192.168.56.1/24, another lab's", id="lab"
        ),
    ],
)
def test_taken(addresses: list[dict[str, Any]], routes: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(PlanError) as error:
        check_machine(Plan(), addresses, routes)
    assert said in str(error.value)


def test_pool_taken_is_said_of_the_pool() -> None:
    with pytest.raises(PlanError, match=r"^--lb-pool .* with --lb-pool$"):
        check_machine(Plan(lb_pool="10.9.0.0/24"), [address("eth1", "10.9.0.3", 16)], [])


@pytest.mark.parametrize(
    ("addresses", "routes"),
    [
        pytest.param([address("eth0", "192.0.2.2", 24)], [{"dst": "default", "dev": "eth0"}], id="an ordinary host"),
        pytest.param(
            [address("svcp-lab", "192.168.56.1", 24)],
            [{"dst": "192.168.56.0/24", "dev": "svcp-lab"}, {"dst": "192.168.56.208/28", "dev": "svcp-lab"}],
            id="its own",
        ),
        pytest.param([], [{"dst": "128.0.0.0/1", "dev": "tun0"}], id="a VPN's half of the world"),
        pytest.param([], [{"dst": "fe80::/64", "dev": "eth0"}], id="IPv6"),
        pytest.param([address("cni0", "10.244.0.1", 24)], [{"dst": "10.96.0.0/12"}], id="pods are not seen from here"),
    ],
)
def test_free(addresses: list[dict[str, Any]], routes: list[dict[str, Any]]) -> None:
    check_machine(Plan(), addresses, routes)


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    plan.add_flags(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "asked", "different"),
    [
        pytest.param((), {}, [], id="no flags: whatever runs"),
        pytest.param(("--nodes", "3"), {"nodes": 3}, [], id="the same"),
        pytest.param(("--nodes", "2"), {"nodes": 2}, ["--nodes is 3, not 2"], id="fewer nodes"),
        pytest.param(
            ("--service-cluster-ip-range", "10.97.0.0/16"),
            {"service_cidr": "10.97.0.0/16"},
            ["--service-cluster-ip-range is 10.96.0.0/12, not 10.97.0.0/16"],
            id="other services",
        ),
        pytest.param(
            ("--lb-pool", ""),
            {"lb_pool": ""},
            ["--lb-pool is 192.168.56.200-192.168.56.250, not empty"],
            id="without a pool",
        ),
        pytest.param(
            ("--lb-pool", "192.168.56.200 - 192.168.56.250"),
            {"lb_pool": "192.168.56.200-192.168.56.250"},
            [],
            id="spaces do not matter",
        ),
    ],
)
def test_asked_of_a_running_lab(words: tuple[str, ...], asked: dict[str, Any], different: list[str]) -> None:
    found = plan.given(parsed(*words))
    assert found == asked
    assert differences(Plan(), found) == different


def test_no_range_names_its_flag() -> None:
    with pytest.raises(PlanError, match=r"--node-cidr 192\.168\.56\.7/24"):
        plan.given(parsed("--node-cidr", "192.168.56.7/24"))

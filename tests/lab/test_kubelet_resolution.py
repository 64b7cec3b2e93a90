"""resolv.conf by dnsPolicy and dnsConfig, and the hosts file, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest

from support.kubelet_pods import body
from svclab.kubelet.resolution import (
    Resolver,
    host_name,
    hosts_file,
    hosts_file_of_node,
    parse,
    resolv_conf,
    resolver_of,
)

NODE = parse("# the node's\nnameserver 203.0.113.53\nnameserver 203.0.113.54\nsearch old\nsearch lan.\noptions edns0\n")
CLUSTER = (
    "search default.svc.cluster.local svc.cluster.local cluster.local lan\nnameserver 10.96.0.10\noptions ndots:5\n"
)
OF_NODE = "search lan\nnameserver 203.0.113.53\nnameserver 203.0.113.54\noptions edns0\n"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        pytest.param({}, CLUSTER, id="ClusterFirst is the default"),
        pytest.param({"dnsPolicy": "ClusterFirst"}, CLUSTER, id="ClusterFirst"),
        pytest.param(
            {"dnsPolicy": "ClusterFirst", "hostNetwork": True}, OF_NODE, id="ClusterFirst on the node's network"
        ),
        pytest.param(
            {"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True}, CLUSTER, id="ClusterFirstWithHostNet"
        ),
        pytest.param({"dnsPolicy": "Default"}, OF_NODE, id="Default"),
        pytest.param(
            {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"]}}, "nameserver 1.1.1.1\n", id="None"
        ),
        pytest.param(
            {
                "dnsConfig": {
                    "nameservers": ["1.1.1.1", "10.96.0.10"],
                    "searches": ["my.zone", "cluster.local"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                }
            },
            "search default.svc.cluster.local svc.cluster.local cluster.local lan my.zone\n"
            "nameserver 10.96.0.10\nnameserver 1.1.1.1\noptions ndots:2 edns0\n",
            id="dnsConfig is merged",
        ),
        pytest.param(
            {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"]}},
            "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\n",
            id="three name servers at most",
        ),
    ],
)
def test_resolv_conf(spec: dict[str, Any], text: str) -> None:
    assert resolv_conf(resolver_of(body(**spec), NODE, ["10.96.0.10"], "cluster.local")) == text


def test_without_cluster_dns_the_node_resolves() -> None:
    assert resolv_conf(resolver_of(body(), NODE, [], "cluster.local")) == OF_NODE


def test_long_search_lists_are_cut() -> None:
    searches = [f"{'x' * 60}{number}.example" for number in range(40)]
    found = resolver_of(body(dnsPolicy="Default"), Resolver(("1.1.1.1",), tuple(searches)), [], "")
    assert len(found.searches) < 32
    assert len(" ".join(found.searches)) <= 2048


HOSTS = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


@pytest.mark.parametrize(
    ("spec", "lines"),
    [
        pytest.param({}, "10.244.1.2\tweb\n", id="the pod's name"),
        pytest.param({"hostname": "h"}, "10.244.1.2\th\n", id="hostname"),
        pytest.param(
            {"hostname": "h", "subdomain": "s"}, "10.244.1.2\th.s.default.svc.cluster.local\th\n", id="subdomain"
        ),
        pytest.param(
            {"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]},
            "10.244.1.2\tweb\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n",
            id="aliases",
        ),
    ],
)
def test_hosts_file(spec: dict[str, Any], lines: str) -> None:
    assert hosts_file(body(**spec), ["10.244.1.2"], "cluster.local") == HOSTS + lines


def test_hosts_file_of_the_node() -> None:
    assert hosts_file_of_node(body(), "127.0.0.1 localhost\n") == (
        "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
    )


def test_long_host_names_are_cut() -> None:
    found = body()
    found["metadata"]["name"] = "x" * 62 + "-" + "y" * 20
    assert host_name(found) == "x" * 62

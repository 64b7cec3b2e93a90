"""What shapes rules beside services: options and facts of the node in, a dialect out. Pure."""

from __future__ import annotations

import pytest

from support.nodes import CLUSTER_CIDR, dialect_of, node
from svcagent.dialect import LocalTraffic, node_ip
from svckube.objects import Node
from svcnet.rules import FAMILIES, Family, Not, Rule

NODE = node("192.168.56.11", "fd00:56::11", podCIDR="10.244.1.0/24", podCIDRs=["10.244.1.0/24", "fd00:10:244:1::/64"])
BRIDGE = ("--detect-local-mode=BridgeInterface", "--pod-bridge-interface=cni0")
PREFIX = ("--detect-local-mode=InterfaceNamePrefix", "--pod-interface-name-prefix=veth")
NODE_CIDR = ("--detect-local-mode=NodeCIDR",)
NOTHING = LocalTraffic()

LOCAL_TRAFFIC: list[tuple[str, tuple[str, ...], Node | None, LocalTraffic, LocalTraffic]] = [
    (
        "cluster CIDRs of both families",
        ("--cluster-cidr", CLUSTER_CIDR),
        None,
        LocalTraffic("source", "10.244.0.0/16"),
        LocalTraffic("source", "fd00:10:244::/56"),
    ),
    (
        "cluster CIDR of one family",
        ("--cluster-cidr=10.244.0.0/16",),
        None,
        LocalTraffic("source", "10.244.0.0/16"),
        NOTHING,
    ),
    ("no cluster CIDR", (), NODE, NOTHING, NOTHING),
    ("bridge", BRIDGE, None, LocalTraffic("interface", "cni0"), LocalTraffic("interface", "cni0")),
    ("prefix", PREFIX, None, LocalTraffic("interface", "veth+"), LocalTraffic("interface", "veth+")),
    (
        "node CIDRs",
        NODE_CIDR,
        NODE,
        LocalTraffic("source", "10.244.1.0/24"),
        LocalTraffic("source", "fd00:10:244:1::/64"),
    ),
    ("node CIDR, single", NODE_CIDR, node(podCIDR="10.244.1.7/24"), LocalTraffic("source", "10.244.1.0/24"), NOTHING),
    ("node CIDR, no node yet", NODE_CIDR, None, NOTHING, NOTHING),
    ("node CIDR, none assigned", NODE_CIDR, node("192.168.56.11"), NOTHING, NOTHING),
    (
        "node CIDR that is none",
        NODE_CIDR,
        node(podCIDRs=["junk", "10.244.1.0/24"]),
        LocalTraffic("source", "10.244.1.0/24"),
        NOTHING,
    ),
]


@pytest.mark.parametrize(
    ("flags", "on", "four", "six"), [row[1:] for row in LOCAL_TRAFFIC], ids=[row[0] for row in LOCAL_TRAFFIC]
)
def test_how_the_pods_traffic_is_told(
    flags: tuple[str, ...], on: Node | None, four: LocalTraffic, six: LocalTraffic
) -> None:
    assert [dialect_of(*flags, family=family, on=on).local_traffic for family in FAMILIES] == [four, six]


RULES = [
    (LocalTraffic("source", "10.0.0.0/8"), Rule(source="10.0.0.0/8"), Rule(source=Not("10.0.0.0/8"))),
    (LocalTraffic("interface", "cni+"), Rule(in_interface="cni+"), Rule(in_interface=Not("cni+"))),
]


@pytest.mark.parametrize(("how", "local", "foreign"), RULES, ids=["source", "interface"])
def test_rules_for_local_traffic(how: LocalTraffic, local: Rule, foreign: Rule) -> None:
    assert (how.rule(), how.foreign_rule()) == (local, foreign)


NODE_IPS: list[tuple[str, Node | None, str, str]] = [
    ("none yet", None, "127.0.0.1", "::1"),
    ("no addresses", node(), "127.0.0.1", "::1"),
    ("internal", node("192.0.2.1", "192.0.2.2", "fd00::1"), "192.0.2.1", "fd00::1"),
    ("external", node("198.51.100.1", kind="ExternalIP"), "198.51.100.1", "::1"),
    ("internal before external", node("192.0.2.1", external="198.51.100.1"), "192.0.2.1", "::1"),
    ("host names do not count", node("192.0.2.1", kind="Hostname"), "127.0.0.1", "::1"),
    ("what is no address is passed over", node("node-1.example", "192.0.2.1"), "192.0.2.1", "::1"),
    ("sloppy and long spellings", node("192.0.2.001", "FD00:0::1"), "192.0.2.1", "fd00::1"),
]


@pytest.mark.parametrize(("on", "four", "six"), [row[1:] for row in NODE_IPS], ids=[row[0] for row in NODE_IPS])
def test_the_nodes_own_address(on: Node | None, four: str, six: str) -> None:
    assert [node_ip(on, family) for family in FAMILIES] == [four, six]


SERVED: list[tuple[str, tuple[str, ...], Family, tuple[str, ...] | None, bool]] = [
    ("unset", (), "IPv4", None, True),
    ("unset, IPv6", (), "IPv6", None, False),
    ("localhost off", ("--iptables-localhost-nodeports=false",), "IPv4", None, False),
    ("a CIDR", ("--nodeport-addresses=192.168.0.0/16",), "IPv4", ("192.168.56.11",), False),
    (
        "a CIDR and loopback",
        ("--nodeport-addresses=192.168.0.0/16,127.0.0.0/8",),
        "IPv4",
        ("127.0.0.1", "192.168.56.11"),
        True,
    ),
    (
        "loopback but localhost off",
        ("--nodeport-addresses=192.168.0.0/16,127.0.0.0/8", "--iptables-localhost-nodeports=false"),
        "IPv4",
        ("192.168.56.11",),
        False,
    ),
    ("zero CIDR", ("--nodeport-addresses=0.0.0.0/0,10.0.0.0/8",), "IPv4", None, True),
    ("only the other family", ("--nodeport-addresses=10.0.0.0/8",), "IPv6", None, False),
    ("no address of ours", ("--nodeport-addresses=172.16.0.0/12",), "IPv4", (), False),
    ("IPv6", ("--nodeport-addresses=fd00::/16,::1/128",), "IPv6", ("fd00:56::11",), False),
    ("primary", ("--nodeport-addresses=primary",), "IPv4", ("192.168.56.11",), False),
    ("primary, IPv6", ("--nodeport-addresses=primary",), "IPv6", ("fd00:56::11",), False),
]


@pytest.mark.parametrize(
    ("flags", "family", "served", "localhost"), [row[1:] for row in SERVED], ids=[row[0] for row in SERVED]
)
def test_where_node_ports_are_served(
    flags: tuple[str, ...], family: Family, served: tuple[str, ...] | None, localhost: bool
) -> None:
    found = dialect_of(*flags, family=family, on=NODE)
    assert (found.node_port_addresses, found.localhost_nodeports) == (served, localhost)


def test_primary_without_a_node_address_is_everywhere() -> None:
    assert dialect_of("--nodeport-addresses=primary", on=None).node_port_addresses is None


def test_the_mark_is_the_bit() -> None:
    assert dialect_of("--iptables-masquerade-bit=31").mark == 0x80000000

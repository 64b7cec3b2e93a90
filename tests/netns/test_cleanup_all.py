"""`svcplane-agent cleanup` on a host where the agent and kube-proxy have been in every way they can be."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2.nftables.main import NFTables

from support.nodes import CLUSTER_CIDR
from support.site import lone_host
from support.stepped import Stepped
from support.worlds import endpoint, service, slice_of
from svclab.netns import Host
from svcnet.rules import FAMILIES
from svcnet.writers import Flavour, Iptables

pytestmark = pytest.mark.netns

PROGRAM = Path(sys.executable).parent / "svcplane-agent"
OBJECTS = (service(ports=[{"port": 80, "nodePort": 30080}]), slice_of("web", endpoint("10.244.1.1")))
FLAVOURS: tuple[Flavour, ...] = ("nft", "legacy")
ABSENT = ("KUBE-", "kubernetes")


@pytest.fixture
def host() -> Iterator[Host]:
    with lone_host("clean") as found, found.entered():
        yield found


def cleanup(host: Host, *flags: str) -> list[str]:
    argv = (PROGRAM, "cleanup", "--netns", host.name, *flags)
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == ""
    return done.stdout.splitlines()


def dumps() -> str:
    return "".join(Iptables(family, flavour).dump() for flavour in FLAVOURS for family in FAMILIES)


def nftables(family: int) -> set[str]:
    with NFTables(nfgen_family=family) as tables:
        return {table.get_attr("NFTA_TABLE_NAME") for table in tables.get_tables()}


def test_both_flavours_at_once_and_a_line_for_each(host: Host) -> None:
    for flavour in FLAVOURS:
        Stepped(flavour, "--cluster-cidr", CLUSTER_CIDR).start(*OBJECTS)
    told = cleanup(host)
    assert [line.split(":")[0] for line in told] == [
        f"removed by {command}" for command in ("iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy")
    ]
    assert not any(word in dumps() for word in ABSENT)
    assert cleanup(host) == []


def test_all_takes_kube_proxys_nftables_mode_along_and_nobody_elses(host: Host) -> None:
    families = (socket.AF_INET, socket.AF_INET6)
    for family in families:
        with NFTables(nfgen_family=family) as tables:
            for name in ("kube-proxy", "mine"):
                tables.table("add", name=name)
            tables.chain("add", table="kube-proxy", name="services")
    assert cleanup(host) == []
    assert cleanup(host, "--all") == [
        "removed: IPv4 nftables table kube-proxy",
        "removed: IPv6 nftables table kube-proxy",
    ]
    assert all(nftables(family) == {"mine"} for family in families)
    assert cleanup(host, "--all") == []


@pytest.mark.parametrize("hint", ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_guard_of_loopback_stays_where_a_kubelet_lives(host: Host, flavour: Flavour, hint: str) -> None:
    tool = Iptables("IPv4", flavour)
    tool.run("-t", "mangle", "-N", hint)
    Stepped(flavour, "--cluster-cidr", CLUSTER_CIDR).start(*OBJECTS)
    cleanup(host, "--all")
    assert "-A INPUT -j KUBE-FIREWALL" in tool.dump()
    tool.run("-t", "mangle", "-X", hint)
    cleanup(host, "--all")
    assert "KUBE-FIREWALL" not in tool.dump()


def test_without_the_right_to_look_it_does_not_say_done(host: Host) -> None:
    argv = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", PROGRAM, "cleanup")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1

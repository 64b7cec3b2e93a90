"""What the agent sets on its node: names and sysctls. Pure."""

from __future__ import annotations

from pathlib import Path

import pytest

from svcagent import node
from svcagent.options import Conntrack, Options, parse

MAXIMA = [
    ("per core", Conntrack(), 8, 262144),
    ("at least", Conntrack(), 2, 131072),
    ("at most", Conntrack(), 128, 1048576),
    ("left alone", Conntrack(max_per_core=0), 8, 0),
    ("a floor above the ceiling", Conntrack(min=2_000_000), 8, 2_000_000),
]


@pytest.mark.parametrize(("settings", "cores", "wanted"), [row[1:] for row in MAXIMA], ids=[row[0] for row in MAXIMA])
def test_conntrack_max(settings: Conntrack, cores: int, wanted: int) -> None:
    assert node.conntrack_max(settings, cores) == wanted


def test_default_sysctls() -> None:
    assert dict(node.wanted_sysctls(Options(), 8)) == {
        "netfilter/nf_conntrack_max": 262144,
        "netfilter/nf_conntrack_tcp_timeout_established": 86400,
        "netfilter/nf_conntrack_tcp_timeout_close_wait": 3600,
        "ipv4/conf/all/route_localnet": 1,
    }


OFF = (
    "--conntrack-max-per-core=0",
    "--conntrack-tcp-timeout-established=0",
    "--conntrack-tcp-timeout-close-wait=0",
    "--iptables-localhost-nodeports=false",
)


def test_everything_can_be_left_alone() -> None:
    assert dict(node.wanted_sysctls(parse(OFF), 8)) == {}


def test_a_sysctl_is_written_once_and_a_failure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "SYSCTL", tmp_path)
    settings = parse([*OFF, "--conntrack-udp-timeout=10s", "--conntrack-tcp-be-liberal"])
    folder = tmp_path / "netfilter"
    folder.mkdir()
    (folder / "nf_conntrack_udp_timeout").write_text("30\n")
    (told,) = node.set_sysctls(settings)
    assert told.startswith("sysctl net.netfilter.nf_conntrack_tcp_be_liberal = 1: ")
    assert (folder / "nf_conntrack_udp_timeout").read_text() == "10\n"
    (folder / "nf_conntrack_udp_timeout").chmod(0o444)
    (folder / "nf_conntrack_tcp_be_liberal").write_text("1\n")
    assert node.set_sysctls(settings) == []
    assert node.conntrack_is_liberal()


NAMES = [("Node-1", "node-1"), ("  node-1 ", "node-1")]


@pytest.mark.parametrize(("override", "name"), NAMES, ids=[repr(row[0]) for row in NAMES])
def test_the_nodes_name(override: str, name: str) -> None:
    assert node.name(override) == name


def test_without_an_override_it_is_the_hosts_name() -> None:
    assert node.name(" ") == node.name("") != ""

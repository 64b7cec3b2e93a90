"""Flags of `svcplane-agent run`: defaults, spellings, and what is said to a wrong one. Pure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcagent.options import Conntrack, Options, OptionsError, duration, parse


def test_the_defaults_are_kube_proxys() -> None:
    assert parse([]) == Options(
        detect_local_mode="ClusterCIDR",
        masquerade_bit=14,
        localhost_nodeports=True,
        sync_period=30.0,
        min_sync_period=1.0,
        healthz_bind_address="0.0.0.0:10256",
        metrics_bind_address="127.0.0.1:10249",
        conntrack=Conntrack(32768, 131072, 86400.0, 3600.0, False, 0.0, 0.0),
    )


DURATIONS = [
    ("0", 0.0),
    ("0s", 0.0),
    ("30s", 30.0),
    ("1m30s", 90.0),
    ("24h", 86400.0),
    ("1h0m0.5s", 3600.5),
    (".5s", 0.5),
    ("1.s", 1.0),
    ("500ms", 0.5),
    ("10us", 1e-5),
    ("10µs", 1e-5),
    ("7ns", 7e-9),
]


@pytest.mark.parametrize(("text", "seconds"), DURATIONS, ids=[row[0] for row in DURATIONS])
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "1 s", "1d", "30s ", "1m-30s", "infs", "1e3s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as 30s or 1m30s"):
        duration(text)


@given(st.integers(0, 100), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_every_whole_duration_reads_back(hours: int, minutes: int, seconds: int, milliseconds: int) -> None:
    wanted = hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    assert duration(f"{hours}h{minutes}m{seconds}s{milliseconds}ms") == pytest.approx(wanted)


ACCEPTED: list[tuple[str, str, Any]] = [
    ("--kubeconfig=/etc/k", "kubeconfig", "/etc/k"),
    ("--masquerade-all", "masquerade_all", True),
    ("--masquerade-all=false", "masquerade_all", False),
    ("--iptables-localhost-nodeports=False", "localhost_nodeports", False),
    ("--cluster-cidr=10.244.1.2/16", "cluster_cidr", ("10.244.0.0/16",)),
    ("--cluster-cidr=10.244.0.0/16, fd00:10:244::/56", "cluster_cidr", ("10.244.0.0/16", "fd00:10:244::/56")),
    ("--cluster-cidr=", "cluster_cidr", ()),
    ("--nodeport-addresses=primary", "nodeport_addresses", ("primary",)),
    ("--nodeport-addresses=10.0.0.0/8,fd00::1/64", "nodeport_addresses", ("10.0.0.0/8", "fd00::/64")),
    ("--iptables-masquerade-bit=31", "masquerade_bit", 31),
    ("--iptables-sync-period=1m", "sync_period", 60.0),
    ("--healthz-bind-address=", "healthz_bind_address", ""),
    ("--healthz-bind-address=192.0.2.1", "healthz_bind_address", "192.0.2.1:10256"),
    ("--healthz-bind-address=::", "healthz_bind_address", "[::]:10256"),
    ("--healthz-bind-address=[::]:80", "healthz_bind_address", "[::]:80"),
    ("--metrics-bind-address=[fd00::1]", "metrics_bind_address", "[fd00::1]:10249"),
    ("--metrics-bind-address=127.0.0.1:0", "metrics_bind_address", "127.0.0.1:0"),
    ("--conntrack-max-per-core=0", "conntrack", Conntrack(max_per_core=0)),
    ("--conntrack-udp-timeout=10s", "conntrack", Conntrack(udp_timeout=10.0)),
    ("--conntrack-tcp-be-liberal", "conntrack", Conntrack(tcp_be_liberal=True)),
    ("--iptables-flavour=legacy", "flavour", "legacy"),
    ("--iptables-writer=restore", "writer", "restore"),
    ("--dispatch=tree", "dispatch", "tree"),
    ("--beside-kube-proxy", "beside_kube_proxy", True),
    ("--log-format=json", "log_format", "json"),
]


@pytest.mark.parametrize(("flag", "field", "value"), ACCEPTED, ids=[row[0] for row in ACCEPTED])
def test_a_flag_sets_its_field_and_no_other(flag: str, field: str, value: Any) -> None:
    changed = {
        name: got
        for name in Options.__struct_fields__
        if (got := getattr(parse([flag]), name)) != getattr(Options(), name)
    }
    assert changed == ({} if getattr(Options(), field) == value else {field: value})


REFUSED = [
    ("--cluster-cidr=10.244.0.0", "argument --cluster-cidr: '10.244.0.0' is not a CIDR"),
    ("--cluster-cidr=10.0.0.0/8,10.1.0.0/16", "is neither one CIDR nor an IPv4 and an IPv6 one"),
    ("--cluster-cidr=10.0.0.0/33", "argument --cluster-cidr:"),
    ("--nodeport-addresses=primary,10.0.0.0/8", '--nodeport-addresses: "primary" stands alone'),
    ("--nodeport-addresses=eth0", "'eth0' is not a CIDR"),
    ("--iptables-masquerade-bit=32", "--iptables-masquerade-bit: 32 is not in 0-31"),
    ("--iptables-masquerade-bit=x", "argument --iptables-masquerade-bit:"),
    ("--conntrack-min=-1", "--conntrack-min: -1 is negative"),
    ("--masquerade-all=maybe", "'maybe' is neither true nor false"),
    ("--iptables-sync-period=30", "'30' is not a duration such as 30s or 1m30s"),
    ("--healthz-bind-address=localhost:80", "argument --healthz-bind-address:"),
    ("--healthz-bind-address=1.2.3.4:", "'1.2.3.4:' is not an IP address with a port, such as 0.0.0.0:10256"),
    ("--metrics-bind-address=1.2.3.4:65536", "such as 0.0.0.0:10249 or [::]:10249"),
    ("--metrics-bind-address=fd00::1]:80", "such as 0.0.0.0:10249 or [::]:10249"),
    ("--detect-local-mode=Magic", "invalid choice: 'Magic'"),
    ("--kubec=x", "unrecognized arguments: --kubec=x"),
]


@pytest.mark.parametrize(("flag", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_wrong_value_is_refused_by_its_flag(flag: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([flag])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


CONTRADICTIONS = [
    (["--iptables-sync-period=0"], "--iptables-sync-period must be greater than 0"),
    (
        ["--iptables-sync-period=1s", "--iptables-min-sync-period=2s"],
        "--iptables-min-sync-period must not exceed --iptables-sync-period",
    ),
    (["--detect-local-mode=BridgeInterface"], "--detect-local-mode=BridgeInterface needs --pod-bridge-interface"),
    (
        ["--detect-local-mode=InterfaceNamePrefix"],
        "--detect-local-mode=InterfaceNamePrefix needs --pod-interface-name-prefix",
    ),
    (
        ["--healthz-bind-address=127.0.0.1:10249"],
        "--healthz-bind-address and --metrics-bind-address must differ: both answer /healthz",
    ),
]


@pytest.mark.parametrize(("flags", "message"), CONTRADICTIONS, ids=[row[0][-1] for row in CONTRADICTIONS])
def test_flags_that_contradict_each_other(flags: list[str], message: str) -> None:
    with pytest.raises(OptionsError) as refused:
        parse(flags)
    assert str(refused.value) == message


def test_both_addresses_may_be_switched_off() -> None:
    off = parse(["--healthz-bind-address=", "--metrics-bind-address="])
    assert (off.healthz_bind_address, off.metrics_bind_address) == ("", "")


@pytest.mark.parametrize("flag", ["--pod-bridge-interface", "--pod-interface-name-prefix"])
@pytest.mark.parametrize("text", ["br0 -j ACCEPT", 'br"0', "br\n0", "sixteen-letters-", "br/0"])
def test_what_is_no_interface_is_refused(flag: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([flag, text])
    assert "is not the name of an interface" in capsys.readouterr().err

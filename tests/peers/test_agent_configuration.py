"""KubeProxyConfiguration beside the real kube-proxy: what it makes of a file, its refusals, its flags, its /configz.

`--write-config-to` makes it read, default, validate, write and end, without touching anything.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # comes without types

from peers.control_plane import ControlPlane
from peers.kube_proxy import METRICS_PORT, KubeProxy
from peers.processes import Process
from peers.reach import HttpServer
from support.waiting import eventually
from svcagent.configuration import (
    API_VERSION,
    KIND,
    ConfigurationError,
    add_flags,
    configuration,
    configz,
    document,
    read,
    written,
)
from svcagent.options import Options
from svclab.netns import PREFIX, Host

pytestmark = pytest.mark.peers

HEAD = f"apiVersion: {API_VERSION}\nkind: {KIND}\n"


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(found)
    return found


def kube_proxy_writes(binaries: Path, folder: Path, *flags: str) -> tuple[Any, str]:
    """(what it wrote, "") or (None, its error)."""
    output = folder / "written.yaml"
    argv = (binaries / "kube-proxy", *flags, "--write-config-to", output)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if not done.returncode:
        return yaml.safe_load(output.read_text()), ""
    said = re.search(r'"command failed" err=(".*")$', done.stderr, re.MULTILINE)
    assert said, done.stderr
    return None, json.loads(said[1])


FILES = {
    "nothing": "",
    "sections": "iptables: null\nipvs: {}\nlogging: {options: null}\nfeatureGates: null",
    "zeroes": "conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s}\noomScoreAdj: 0\n"
    "iptables: {masqueradeBit: 0, syncPeriod: 0s, minSyncPeriod: 0s, localhostNodePorts: false}\n"
    "clientConnection: {qps: 0, burst: 0}\nconfigSyncPeriod: 0s",
    "periods": "iptables: {syncPeriod: 1h30m0.5s, minSyncPeriod: 250ms}\n"
    "conntrack: {udpTimeout: 1us, udpStreamTimeout: 61s, tcpCloseWaitTimeout: 100h, tcpEstablishedTimeout: 1m}",
    "other modes": "ipvs: {scheduler: rr, syncPeriod: 9s, minSyncPeriod: 1s, excludeCIDRs: [10.0.0.0/8], "
    "strictARP: on, tcpTimeout: 1s, tcpFinTimeout: 2s, udpTimeout: 3s}\n"
    "nftables: {masqueradeBit: 3, masqueradeAll: true, syncPeriod: 9s, minSyncPeriod: 3s}\n"
    "winkernel: {networkName: a, sourceVip: b, enableDSR: true, rootHnsEndpointName: c, forwardHealthCheckVip: true}\n"
    "windowsRunAsService: true",
    "an IPv6 node": "bindAddress: '::'",
    "addresses": "bindAddress: 'fd00::1'\nhealthzBindAddress: 192.0.2.1\nmetricsBindAddress: '::1'\n"
    "clusterCIDR: 10.0.0.0/8,fd00::/64\nnodePortAddresses: [10.0.0.0/8, 'fd00::/64']",
    "a bridge": "detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: br0, interfaceNamePrefix: cali}",
    "gates": "featureGates: {AllowServiceExternalIPs: false, WatchList: false}",
    "truths": "enableProfiling: yes\nbindAddressHardFail: on\niptables: {masqueradeAll: true, masqueradeBit: 0x1F}",
    "logging": "logging: {verbosity: 1, flushFrequency: 7s, format: json}",
    "patterns": "logging: {vmodule: [{filePattern: a, verbosity: 3}]}",
    "client": "clientConnection: {qps: 1.5, burst: 7, contentType: application/json, acceptContentTypes: a, "
    "kubeconfig: k}",
    "the rest": "hostnameOverride: Node-1\nportRange: 1-2\nshowHiddenMetricsForVersion: '1.35'\nconfigSyncPeriod: 90s",
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_a_file_means_the_same(text: str, binaries: Path, tmp_path: Path) -> None:
    (tmp_path / "config.conf").write_text(HEAD + text)
    theirs, error = kube_proxy_writes(binaries, tmp_path, "--config", str(tmp_path / "config.conf"))
    assert not error
    assert document(read(HEAD + text).options) == theirs


def test_it_reads_what_we_write(binaries: Path, tmp_path: Path) -> None:
    (tmp_path / "config.conf").write_text(written(Options(cluster_cidr=("10.0.0.0/8",), sync_period=1.5)))
    theirs, error = kube_proxy_writes(binaries, tmp_path, "--config", str(tmp_path / "config.conf"))
    assert not error
    assert (theirs["clusterCIDR"], theirs["iptables"]["syncPeriod"]) == ("10.0.0.0/8", "1.5s")


REFUSED = [
    "iptables: {masqueradeBit: 32}",
    "iptables: {masqueradeBit: -1}",
    "iptables: {minSyncPeriod: -1s}",
    "iptables: {syncPeriod: 1s, minSyncPeriod: 90s}",
    "conntrack: {maxPerCore: -1}",
    "conntrack: {min: -1}",
    "conntrack: {tcpEstablishedTimeout: -1s}",
    "conntrack: {tcpCloseWaitTimeout: -90s}",
    "conntrack: {udpTimeout: -1.5s}",
    "conntrack: {udpStreamTimeout: -250ms}",
    "oomScoreAdj: 1001",
    "clientConnection: {burst: -1}",
    "configSyncPeriod: -1s",
    "bindAddress: nope",
    "healthzBindAddress: nope",
    "healthzBindAddress: nope:1",
    "healthzBindAddress: 192.0.2.1:0",
    "healthzBindAddress: 192.0.2.1:http",
    "metricsBindAddress: 192.0.2.1:70000",
    "metricsBindAddress: '[fd00::1]'",
    "nodePortAddresses: [primary, 10.0.0.0/8]",
    "nodePortAddresses: [10.0.0.0/8, primary]",
    "nodePortAddresses: [10.0.0.0]",
    "detectLocalMode: Magic",
    "detectLocalMode: BridgeInterface",
    "detectLocalMode: InterfaceNamePrefix",
    "clusterCIDR: 10.0.0.0",
    "clusterCIDR: 10.0.0.0/8,x",
    "clusterCIDR: 10.0.0.0/8,10.1.0.0/16",
    "clusterCIDR: 10.0.0.0/8,fd00::/64,fd01::/64",
]


@pytest.mark.parametrize("text", REFUSED)
def test_a_refusal_has_the_same_words(text: str, binaries: Path, tmp_path: Path) -> None:
    (tmp_path / "config.conf").write_text(HEAD + text)
    _, error = kube_proxy_writes(binaries, tmp_path, "--config", str(tmp_path / "config.conf"))
    with pytest.raises(ConfigurationError) as ours:
        read(HEAD + text)
    assert error == f"failed validate: {ours.value}"


TYPES = [
    "iptables: []",
    "iptables: {masqueradeBit: '14'}",
    "iptables: {syncPeriod: 30}",
    "iptables: {syncPeriod: '30'}",
    "hostnameOverride: 5",
    "hostnameOverride: yes",
    "conntrack: {min: 3000000000}",
    "logging: {verbosity: -1}",
    "logging: {format: xml}",
    "kind: KubeletConfiguration",
    "apiVersion: kubeproxy.config.k8s.io/v1",
]


@pytest.mark.parametrize("text", TYPES)
def test_what_neither_reads(text: str, binaries: Path, tmp_path: Path) -> None:
    file = "".join(line for line in HEAD.splitlines(True) if line.split(":")[0] != text.split(":")[0]) + text
    (tmp_path / "config.conf").write_text(file)
    _, error = kube_proxy_writes(binaries, tmp_path, "--config", str(tmp_path / "config.conf"))
    assert error
    with pytest.raises(ConfigurationError):
        read(file)


COMMANDS = [
    [],
    ["--bind-address=::"],
    ["--bind-address="],
    ["--cluster-cidr=10.0.0.0/8,fd00::/64", "--masquerade-all", "--iptables-masquerade-bit=3"],
    ["--nodeport-addresses=10.0.0.0/8", "--nodeport-addresses=11.0.0.0/8,12.0.0.0/8"],
    ["--nodeport-addresses=primary", "--iptables-localhost-nodeports=false"],
    ["--iptables-sync-period=1m", "--iptables-min-sync-period=250ms", "--config-sync-period=1m"],
    ["--feature-gates=WatchList=false,WatchListClient=false"],
    ["--ipvs-scheduler=rr", "--ipvs-sync-period=9s", "--ipvs-exclude-cidrs=10.0.0.0/8,11.0.0.0/8", "--ipvs-strict-arp"],
    ["--ipvs-tcp-timeout=1s", "--ipvs-tcpfin-timeout=2s", "--ipvs-udp-timeout=3s", "--ipvs-min-sync-period=4s"],
    ["--kube-api-qps=7", "--kube-api-burst=9", "--kube-api-content-type=application/json", "--kubeconfig=/k"],
    ["--profiling", "--bind-address-hard-fail", "--oom-score-adj=0", "--show-hidden-metrics-for-version=1.35"],
    ["--vmodule=a=3,b=2", "--log-flush-frequency=7s", "--v=1"],
    [
        "--logging-format=json",
        "--conntrack-max-per-core=1",
        "--conntrack-min=2",
        "--conntrack-tcp-be-liberal",
        "--conntrack-udp-timeout=3s",
    ],
    ["--detect-local-mode=BridgeInterface", "--pod-bridge-interface=br0", "--pod-interface-name-prefix=cali"],
    ["--hostname-override= Node-1", "--proxy-mode=iptables", "--master=http://x"],
    ["--healthz-bind-address=192.0.2.1:80", "--metrics-bind-address=[::]:81", "--healthz-port=82"],
]


@pytest.mark.parametrize("flags", COMMANDS, ids=" ".join)
def test_flags_mean_the_same(flags: list[str], binaries: Path, tmp_path: Path) -> None:
    theirs, error = kube_proxy_writes(binaries, tmp_path, *flags)
    assert not error
    assert document(configuration(parser().parse_args(flags), None).options) == theirs


def test_every_flag_is_known(binaries: Path) -> None:
    shown = subprocess.run((binaries / "kube-proxy", "--help"), capture_output=True, text=True, check=True).stdout
    theirs = set(re.findall(r"^ {2,6}(?:-\w, )?(--[a-z-]+)", shown, re.MULTILINE))
    ours = set(re.findall(r"--[a-z-]+", parser().format_help())) | {"--boot-id-file", "--machine-id-file"}
    assert theirs
    assert theirs - ours == set()


@pytest.fixture
def node(control_plane: ControlPlane) -> Iterator[Host]:
    host = Host(f"{PREFIX}t{os.getpid()}-configz")
    host.create()
    try:
        control_plane.add_node("configz-node", ["192.0.2.9"])
        yield host
    finally:
        control_plane.request("DELETE", "/api/v1/nodes/configz-node")
        host.remove()


def test_configz_is_the_same_to_the_byte(
    control_plane: ControlPlane, binaries: Path, node: Host, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {
        "iptables": {"syncPeriod": "1m", "minSyncPeriod": "500ms"},
        "ipvs": {"scheduler": "rr"},
        "featureGates": {"AllowServiceExternalIPs": False},
        "nodePortAddresses": ["primary"],
        "clientConnection": {"qps": 1.5},
    }
    with control_plane.reached_from(node.name) as server:
        kubeconfig = control_plane.kubeconfig("system:kube-proxy", server=server)
        asked["clientConnection"]["kubeconfig"] = str(kubeconfig)
        names: dict[str, Any] = {"netns": node.name, "kubeconfig": kubeconfig, "hostname": "configz-node"}
        with KubeProxy(binaries, tmp_path, **names, config=asked):
            theirs = HttpServer("127.0.0.1", METRICS_PORT, node.name).request("GET", "/configz")
    assert theirs.status == 200
    # The harness gives it --v=2.
    ours = configuration(parser().parse_args(["--v=2"]), (tmp_path / "kube-proxy.json").read_text())
    assert configz(ours.options) == theirs.body


KUBEADM = """\
clientConnection: {{acceptContentTypes: "", burst: 0, contentType: "", kubeconfig: {kubeconfig}, qps: 0}}
clusterCIDR: {cluster_cidr}
conntrack: {{maxPerCore: 0, min: null, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s, udpTimeout: 0s}}
mode: ""
"""


def test_kubeadms_command_line_works_and_its_file_is_followed(
    control_plane: ControlPlane, node: Host, tmp_path: Path
) -> None:
    kubeconfig = control_plane.kubeconfig("system:kube-proxy", groups=["system:node-proxier"])
    path = tmp_path / "config.conf"

    def write(cluster_cidr: str) -> None:
        path.write_text(HEAD + KUBEADM.format(kubeconfig=kubeconfig, cluster_cidr=cluster_cidr))

    def shown() -> str:
        try:
            answer = HttpServer("127.0.0.1", METRICS_PORT, node.name).request("GET", "/configz")
        except OSError:
            return ""
        cidr: str = json.loads(answer.body)["kubeproxy.config.k8s.io"]["clusterCIDR"]
        return cidr

    write("10.244.0.0/16")
    program = Path(sys.executable).parent / "svcplane-agent"
    flags = (f"--config={path}", "--hostname-override=configz-node", f"--netns={node.name}")
    environment = {**os.environ, "XTABLES_LOCKFILE": str(tmp_path / "xtables.lock")}
    with Process((program, *flags), tmp_path / "agent.log", environment=environment) as agent:
        agent.start()
        agent.wait_until(lambda: shown() == "10.244.0.0/16", "it shows its configuration")
        pid = agent.pid
        eventually(lambda: "KUBE-SERVICES" in node.run("iptables", "-t", "nat", "-S"), "rules are there")
        path.write_text(f"{HEAD}mode: ipvs")
        agent.wait_until(lambda: "configuration file cannot be used" in agent.log.read_text(), "a bad file is named")
        assert shown() == "10.244.0.0/16"
        write("10.245.0.0/16")
        agent.wait_until(lambda: shown() == "10.245.0.0/16", "it works by the new file")
        assert (agent.pid, agent.running) == (pid, True)
        log = agent.log.read_text()
        assert log.count("event=started") + log.count(" started ") == 2, log
    assert "KUBE-SERVICES" in node.run("iptables", "-t", "nat", "-S")

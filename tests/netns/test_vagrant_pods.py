"""The network that kubeadm's machines of the Vagrantfile give their pods, by Debian's bridge plugin: two machines and
three pods as namespaces. A user of it expects what Kubernetes does: pods see each other without NAT, the outside sees
the machine, and a pod behind a Service may meet itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from peers.processes import Process
from support.site import remove_abandoned
from support.waiting import eventually
from svclab import netns
from svclab.netns import Host

pytestmark = pytest.mark.netns

ROOT = Path(__file__).parents[2]
PLUGINS = "/usr/lib/cni"
WEB = ROOT / "tests/support/web.py"
SERVICE = "10.96.7.7"
ADDRESSES = {"control": "192.168.56.10", "node1": "192.168.56.11"}
WRITE = 'PODS=10.244 address=$1; . deploy/vagrant/kubeadm.sh; pod_network "$2"'


@dataclass
class Machine:
    """Its namespace, and its configuration of the plugin."""

    host: Host
    plugin: str

    def pod(self, pod: Host) -> str:
        """Connects a pod; returns its address."""
        variables = {"COMMAND": "ADD", "CONTAINERID": pod.name, "NETNS": f"/run/netns/{pod.name}", "IFNAME": "eth0"}
        words = [f"CNI_{name}={value}" for name, value in {**variables, "PATH": PLUGINS}.items()]
        made = json.loads(self.host.run("env", *words, f"{PLUGINS}/bridge", text=self.plugin))
        return str(made["ips"][0]["address"]).partition("/")[0]


@dataclass
class Site:
    """Two machines and the outside on one switch; pods `a` and `b` on the first, `c` on the other."""

    outside: Host
    control: Machine
    pods: dict[str, Host]
    addresses: dict[str, str]

    def asked(self, pod: str, address: str) -> list[str]:
        """Who answers a pod there, and whom it saw."""
        return self.pods[pod].run("curl", "-sS", "--fail", "--max-time", "10", f"http://{address}/").split()


def machine(host: Host, address: str, folder: Path) -> Machine:
    folder.mkdir()
    nodes = f"node1={ADDRESSES['node1']}"
    variables = {"SVCPLANE_SECRET": "5f" * 32, "SVCPLANE_CONTROL": ADDRESSES["control"], "SVCPLANE_NODES": nodes}
    argv = ("bash", "-euc", WRITE, "bash", address, folder)
    subprocess.run(argv, cwd=ROOT, env={**os.environ, **variables}, check=True)
    host.sysctl("ipv4/ip_forward", "1")
    host.run(str(folder / "usr/local/sbin/pod-network"))
    plugin = json.loads((folder / "etc/cni/net.d/10-bridge.conf").read_text())
    plugin["ipam"]["dataDir"] = str(folder / "leases")
    return Machine(host, json.dumps(plugin))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("pods")
    remove_abandoned()
    with ExitStack() as stack:

        def host(name: str) -> Host:
            made = Host(f"{netns.PREFIX}t{os.getpid()}-{name}").create()
            stack.callback(made.remove)
            return made

        outside, hosts = host("outside"), {name: host(name) for name in ADDRESSES}
        for name, each in hosts.items():
            netns.connect(each, "eth1", outside, name)
            each.add_address("eth1", f"{ADDRESSES[name]}/24")
        netns.add_bridge(outside, "br0", list(hosts))
        outside.add_address("br0", "192.168.56.1/24")
        machines = {name: machine(each, ADDRESSES[name], folder / name) for name, each in hosts.items()}
        pods = {name: host(f"pod-{name}") for name in "abc"}
        places = {"a": "control", "b": "control", "c": "node1"}
        addresses = {name: machines[place].pod(pods[name]) for name, place in places.items()}
        made = Site(outside, machines["control"], pods, addresses)
        for name, server in {**pods, "outside": outside}.items():
            process = Process((sys.executable, WEB), folder / f"{name}.log", netns=server.name)
            stack.callback(process.stop)
            process.start()
            eventually(lambda server=server: server.run("curl", "-sS", "http://127.0.0.1/"), f"{name} serves")  # type: ignore[misc]
        yield made


@pytest.mark.parametrize(("client", "server"), [("a", "b"), ("a", "c"), ("c", "a")])
def test_pods_see_each_other_without_nat(site: Site, client: str, server: str) -> None:
    assert site.asked(client, site.addresses[server])[1] == site.addresses[client]


def test_the_outside_sees_the_machine(site: Site) -> None:
    assert site.asked("c", "192.168.56.1")[1] == ADDRESSES["node1"]


@pytest.mark.parametrize("client", ["a", "b"])
def test_a_pod_behind_a_service(site: Site, client: str) -> None:
    """By kube-proxy's rules in short: DNAT, and masquerade for who meets itself."""
    backend, nat = site.addresses["a"], ("iptables", "-w", "-t", "nat")
    rules = (
        ("PREROUTING", "-d", SERVICE, "-p", "tcp", "--dport", "80", "-j", "DNAT", "--to-destination", f"{backend}:80"),
        ("POSTROUTING", "-s", backend, "-d", backend, "-j", "MASQUERADE"),
    )
    for rule in rules:
        site.control.host.run(*nat, "-I", *rule)
    try:
        assert site.asked(client, SERVICE)
    finally:
        for rule in rules:
            site.control.host.run(*nat, "-D", *rule)


def test_again_changes_nothing(site: Site, tmp_path: Path) -> None:
    before = site.control.host.run("iptables", "-w", "-t", "nat", "-S"), site.control.host.run("ip", "route")
    machine(site.control.host, ADDRESSES["control"], tmp_path / "again")
    assert (site.control.host.run("iptables", "-w", "-t", "nat", "-S"), site.control.host.run("ip", "route")) == before

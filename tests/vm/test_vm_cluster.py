"""The cluster of the Vagrantfile in emulated machines: provisioned, used, restarted, rebooted and removed again.

The tests stand in the order of a life; a machine is not made anew for each.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from peers.build import built as built_peers
from support.waiting import eventually
from vm import listing
from vm.image import SUITES
from vm.image import built as built_image
from vm.machines import NETWORK, Machine, Switch, machines

pytestmark = [pytest.mark.vm, pytest.mark.timeout(2400)]

ROOT = Path(__file__).parents[2]
NODES = {"node1": 11, "node2": 12}
UNITS = dict.fromkeys(NODES, ("agent", "dns", "kubelet")) | {"control": ("apiserver", "controllers")}
EXPOSURE = {"agent": 2.4, "dns": 1.6, "apiserver": 1.8, "controllers": 1.8}
"""Of 10, as `systemd-analyze security` counts; deploy/README.md names these numbers."""
EXCLUDED = (".git", ".venv", ".vagrant", ".*_cache", ".hypothesis", "__pycache__", "dist")
PYTEST = ("pytest", "pytest-timeout", "hypothesis")
SECONDS = 480.0
# A single question (RFC 1035, 4.1) for web.default.svc.cluster.local from a new port, without a resolver's second try.
QUESTION = r"""
exec 3<>/dev/udp/10.96.0.10/53
printf 'AA\1\0\0\1\0\0\0\0\0\0\3web\7default\3svc\7cluster\5local\0\0\1\0\1' >&3
timeout 60 head -c 2 <&3 | grep -q AA
"""


@dataclass
class Cluster:
    """Its machines by name, what was on each before, and a user with kubectl on the private network."""

    machines: dict[str, Machine]
    switch: Switch
    folder: Path
    before: dict[str, set[str]] = field(default_factory=dict)

    def kubectl(self, *argv: str) -> str:
        command = (built_peers(("kubectl",)) / "kubectl", f"--kubeconfig={self.folder}/admin.kubeconfig", *argv)
        return self.switch.host.run(*map(str, command), seconds=SECONDS)

    def curl(self, address: str, port: str) -> str:
        """What a web server says to a host beside the nodes."""
        return self.switch.host.run("curl", "-sS", "--fail", "--max-time", "60", f"http://{address}:{port}/")

    def served(self, machine: Machine, port: str) -> str:
        """What it says in the end. AssertionError when it stays silent."""
        return eventually(lambda: self.curl(machine.address, port), f"{machine.name} serves {port}", SECONDS)

    def port(self, service: str) -> str:
        return self.kubectl("get", "service", service, "-o", "jsonpath={.spec.ports[0].nodePort}")


def provision(machine: Machine) -> None:
    """As the Vagrantfile has it run: a copy of the script, by sudo of user vagrant, with this environment."""
    nodes = " ".join(f"{name}={NETWORK}.{number}" for name, number in NODES.items())
    environment = {
        "SVCPLANE_PLANE": "embedded",
        "SVCPLANE_KUBERNETES_APT": "",
        "SVCPLANE_ROLE": "node" if machine.name in NODES else "control",
        "SVCPLANE_CONTROL": f"{NETWORK}.10",
        "SVCPLANE_NODES": nodes,
        "SVCPLANE_SECRET": "5f" * 32,
        "SVCPLANE_WHEELS": "dist/wheels",
    }
    words = " ".join(f"'{name}={value}'" for name, value in environment.items())
    machine.run(
        f"cp /vagrant/deploy/vagrant/provision.sh /tmp/vagrant-shell && cd /home/vagrant && "
        f"sudo -u vagrant env {words} sudo -E -H bash -l /tmp/vagrant-shell",
        seconds=1800.0,
    )


def checkout(image: Path, folder: Path, python: str) -> Path:
    """The file system that machines find at /vagrant: this checkout after `make wheels`. An SSH copy takes minutes."""
    files, disk = folder / "checkout", folder / "checkout.ext4"
    shutil.copytree(ROOT, files, ignore=shutil.ignore_patterns(*EXCLUDED))
    shutil.copytree(image / "wheels", files / "dist/wheels")
    pip = (sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary=:all:")
    subprocess.run((*pip, f"--python-version={python}", "--target", files / "dist/pytest", *PYTEST), check=True)
    build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(files / "dist/wheels"))
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    subprocess.run(("mke2fs", "-q", "-t", "ext4", "-d", files, disk, "300M"), check=True)
    return disk


@pytest.fixture(scope="module")
def cluster(suite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder, image = tmp_path_factory.mktemp("vm"), built_image(suite)
    with (
        machines(image, checkout(image, folder, SUITES[suite]), folder, control=10, **NODES) as found,
        ThreadPoolExecutor(len(found)) as threads,
    ):
        made = Cluster(found, found["control"].switch, folder)
        made.before = dict(zip(found, threads.map(listing.of, found.values()), strict=True))
        list(threads.map(provision, found.values()))
        admin = found["control"].run("sudo cat /etc/svcplane/admin.kubeconfig")
        (folder / "admin.kubeconfig").write_text(admin)
        yield made


def test_units_are_active(cluster: Cluster) -> None:
    for machine in cluster.machines.values():
        for unit in UNITS[machine.name]:
            shown = machine.run(f"systemctl show -p ActiveState,NRestarts svcplane-{unit}")
            assert shown.split() == ["NRestarts=0", "ActiveState=active"], f"{machine.name} {unit}"


def test_nodes_are_known_by_their_private_addresses(cluster: Cluster) -> None:
    cluster.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=400s")
    path = "jsonpath={range .items[*]}{.metadata.name}={.status.addresses[?(@.type=='InternalIP')].address} {end}"
    assert cluster.kubectl("get", "nodes", "-o", path).split() == ["node1=192.168.56.11", "node2=192.168.56.12"]


def test_node_port_from_the_host(cluster: Cluster) -> None:
    cluster.kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2")
    cluster.kubectl("expose", "deployment", "web", "--port=80", "--type=NodePort")
    cluster.kubectl("wait", "deployment/web", "--for=condition=Available", "--timeout=400s")
    for name in NODES:
        assert "nginx" in cluster.served(cluster.machines[name], cluster.port("web"))


def test_names_and_cluster_addresses_from_a_pod(cluster: Cluster) -> None:
    asks = (
        "getent hosts kubernetes.default && curl -sSf --max-time 20 http://web.default.svc.cluster.local/ | grep nginx"
    )
    cluster.kubectl("run", "asker", "--image=busybox", "--restart=OnFailure", "--", "sh", "-c", asks)

    def phase() -> str:
        found = cluster.kubectl("get", "pod", "asker", "-o", "jsonpath={.status.phase}")
        return found if found in ("Succeeded", "Failed") else ""

    assert eventually(phase, "the pod has asked", SECONDS) == "Succeeded"


def test_iptables_shows_the_rules(cluster: Cluster) -> None:
    for name in NODES:
        shown = cluster.machines[name].run("sudo -u vagrant sudo iptables -t nat -L KUBE-SERVICES -n")
        assert "Chain KUBE-SERVICES (2 references)" in shown
        for service in ("default/kubernetes:https", "kube-system/kube-dns:dns", "default/web"):
            assert f"/* {service} cluster IP */" in shown, shown


@pytest.mark.parametrize(("unit", "most"), EXPOSURE.items(), ids=EXPOSURE)
def test_exposure(cluster: Cluster, unit: str, most: float) -> None:
    machine = next(each for each in cluster.machines.values() if unit in UNITS[each.name])
    shown = machine.run(f"systemd-analyze security --no-pager svcplane-{unit}")
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", shown)
    assert found, shown
    print(f"{unit}: {found[0]}")
    assert float(found[1]) <= most


def test_rules_written_are_those_that_this_iptables_writes(cluster: Cluster) -> None:
    """The same tests as on the machine that runs these, with the iptables and the kernel of the release."""
    machine = cluster.machines["control"]
    print(machine.run("iptables --version; uname -r").strip())
    tests = (
        "-k 'same_bytes or as_if_restored' tests/netns/test_wire_beside_iptables.py tests/netns/test_netlink_writer.py"
    )
    python = "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=dist/pytest /opt/svcplane/bin/python"
    machine.run(f"cd /vagrant && {python} -m pytest -q -p no:cacheprovider {tests}", seconds=1800.0)
    machine.run("umount /run/netns && rmdir /run/netns")  # made by them, not by an installation


@contextmanager
def asked_all_the_while(ask: Callable[[], object]) -> Iterator[list[str]]:
    """Asks again and again in a thread; the list gets "" for each answer, else what went wrong."""
    outcomes: list[str] = []
    end = threading.Event()

    def loop() -> None:
        while not end.is_set():
            try:
                ask()
                outcomes.append("")
            except Exception as error:
                outcomes.append(str(error))

    asker = threading.Thread(target=loop)
    asker.start()
    try:
        eventually(lambda: len(outcomes) > 2, "some answers", SECONDS)
        yield outcomes
        some = len(outcomes)
        eventually(lambda: len(outcomes) > some + 2, "some answers more", SECONDS)
    finally:
        end.set()
        asker.join()


def test_no_connection_fails_while_the_agent_restarts(cluster: Cluster) -> None:
    node, port = cluster.machines["node1"], cluster.port("web")
    with asked_all_the_while(lambda: cluster.curl(node.address, port)) as outcomes:
        node.run("systemctl restart svcplane-agent", seconds=SECONDS)
        assert node.run("systemctl is-active svcplane-agent").strip() == "active"
    assert set(outcomes) == {""}


def test_a_node_comes_back_from_a_reboot(cluster: Cluster) -> None:
    """Services and pods by themselves; on the other node, what stays on that node, as DNS does, does not notice."""
    cluster.kubectl("expose", "deployment", "web", "--name=near", "--port=80", "--type=NodePort")
    cluster.kubectl("patch", "service", "near", "-p", '{"spec":{"externalTrafficPolicy":"Local"}}')
    one, two, port = cluster.machines["node1"], cluster.machines["node2"], cluster.port("near")
    for node in (one, two):
        cluster.served(node, port)

    def ask() -> None:
        cluster.curl(one.address, port)
        one.run(QUESTION)

    with asked_all_the_while(ask) as outcomes:
        two.reboot()
        cluster.served(two, port)
    assert set(outcomes) == {""}
    for unit in UNITS["node2"]:
        assert two.run(f"systemctl is-active svcplane-{unit}").strip() == "active"


def test_provisioning_again_changes_nothing(cluster: Cluster) -> None:
    node = cluster.machines["node1"]
    digests = "find /etc/svcplane -type f | sort | xargs sha256sum"
    before = node.run(digests)
    provision(node)
    assert node.run(digests) == before
    cluster.served(node, cluster.port("web"))


@pytest.mark.parametrize("name", ["node2", "control"])
def test_uninstalling_leaves_nothing(cluster: Cluster, name: str) -> None:
    machine = cluster.machines[name]
    machine.run("iptables -t raw -N SOMEBODY")
    machine.run("/vagrant/deploy/systemd/uninstall.sh", seconds=SECONDS)
    machine.run("test ! -e /opt/svcplane")
    machine.run("nft delete chain ip raw SOMEBODY && nft delete table ip raw")  # both were left to their owner
    left = listing.difference(cluster.before[name], listing.of(machine))
    assert not left, "\n".join(left)


@pytest.fixture(scope="module")
def suite(pytestconfig: pytest.Config) -> str:
    chosen: str = pytestconfig.getoption("--vm-suite")
    return chosen

"""The programs as they are deployed: under the shipped ClusterRoles, and in the sandbox of the shipped systemd units.

The real kube-apiserver authorises with RBAC; the real kubectl renders and applies. systemd's part is played by
`support.sandbox` and a datagram socket.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from dnslib import DNSRecord

from peers.control_plane import ControlPlane
from peers.processes import Process
from peers.reach import HttpServer, socket_in
from support.sandbox import argv_of, sandboxed
from support.site import lone_host
from svclab.netns import Host
from svcnet.writers import Flavour, Iptables

pytestmark = pytest.mark.peers

ROOT = Path(__file__).parents[2]
UNITS, OVERLAYS = ROOT / "deploy/systemd", ROOT / "deploy/kustomize/overlays"
PROGRAMS = Path(sys.executable).parent
NODE, NODE_IP = "node", "192.168.56.11"
SECONDS = 20.0
ACCOUNTS = {"svcplane-agent": "svcplane-system", "svcplane-dns": "kube-system"}


def rendered(binaries: Path, overlay: str) -> list[dict[str, Any]]:
    shown = subprocess.run(
        [binaries / "kubectl", "kustomize", OVERLAYS / overlay], check=True, capture_output=True, text=True
    ).stdout
    return [each for each in yaml.safe_load_all(shown) if each]


def rights(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Namespaces, accounts, roles and bindings."""
    return [
        each
        for each in objects
        if each["apiVersion"].startswith("rbac") or each["kind"] in ("Namespace", "ServiceAccount")
    ]


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the API server writes down every request."""
    folder = tmp_path_factory.mktemp("audit")
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
    (folder / "policy.yaml").write_text(json.dumps(policy))
    return folder / "log"


@pytest.fixture(scope="module")
def plane(binaries: Path, audit: Path) -> Iterator[ControlPlane]:
    """One for this file, with a Node and all that the shipped manifests grant."""
    flags = (f"--audit-policy-file={audit.parent / 'policy.yaml'}", f"--audit-log-path={audit}")
    with ControlPlane(binaries, apiserver_flags=flags) as running:
        running.add_node(NODE, [NODE_IP])
        running.apply(rights(rendered(binaries, "both")))
        yield running


def kubeconfig(plane: ControlPlane, account: str, server: str) -> Path:
    """As the program has it in its pod: with its service account's token."""
    return plane.kubeconfig(account, token=plane.token_for(account, ACCOUNTS[account]), server=server)


class Told:
    """The other end of NOTIFY_SOCKET: all lines that were received."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        self._lines: list[str] = []

    def lines(self) -> list[str]:
        while True:
            try:
                self._lines += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self._lines

    def close(self) -> None:
        self._socket.close()


class Service:
    """A unit's program at work on a host, as systemd would run it with WatchdogSec=1."""

    def __init__(self, process: Process, host: Host, told: Told) -> None:
        self.process, self.host, self.told = process, host, told

    def await_line(self, line: str) -> None:
        self.process.wait_until(lambda: line in self.told.lines(), f"{line} is told to systemd", SECONDS)


@contextmanager
def running(unit: str, host: Host, folder: Path, **variables: str) -> Iterator[Service]:
    file = UNITS / f"{unit}.service"
    argv = argv_of(file, PROGRAMS, **variables)
    with ExitStack() as stack:
        told = Told(folder / "notify")
        stack.callback(told.close)
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "1000000"}
        process = Process(sandboxed(file, argv), folder / "log", netns=host.name, environment=environment)
        stack.enter_context(process)
        process.start()
        yield Service(process, host, told)


@contextmanager
def agent_unit(plane: ControlPlane, folder: Path, flavour: Flavour) -> Iterator[Service]:
    with ExitStack() as stack:
        host = stack.enter_context(lone_host("unit"))
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clusterCIDR": "10.244.0.0/16",
            "hostnameOverride": NODE,
            # Of this machine, which a namespace may not set.
            "conntrack": {"maxPerCore": 0, "tcpBeLiberal": True},
            "oomScoreAdj": 0,
        }
        server = stack.enter_context(plane.reached_from(host.name))
        credentials = {"kubeconfig": str(kubeconfig(plane, "svcplane-agent", server))}
        (folder / "agent.yaml").write_text(json.dumps({**config, "clientConnection": credentials}))
        flags = f"--config={folder}/agent.yaml --iptables-flavour={flavour}"
        yield stack.enter_context(running("svcplane-agent", host, folder, SVCPLANE_AGENT_FLAGS=flags))


def confinement(pid: int) -> dict[str, int]:
    """From proc(5): capabilities as bits (12 is NET_ADMIN, 13 is NET_RAW), no new privileges, 2 for a filter."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "CapEff": int(lines["CapEff"], 16),
        "NoNewPrivs": int(lines["NoNewPrivs"]),
        "Seccomp": int(lines["Seccomp"]),
    }


def expose(plane: ControlPlane, name: str) -> str:
    plane.kubectl("create", "service", "clusterip", name, "--tcp=80:8080")
    address: str = plane.get(f"/api/v1/namespaces/default/services/{name}")["spec"]["clusterIP"]
    return address


@pytest.mark.parametrize("flavour", ["nft", "legacy"])
def test_the_agent_works_in_its_units_sandbox(plane: ControlPlane, tmp_path: Path, flavour: Flavour) -> None:
    Path("/run/xtables.lock").touch(0o600)  # ExecStartPre=
    with agent_unit(plane, tmp_path, flavour) as unit:
        unit.await_line("READY=1")
        tables = Iptables("IPv4", flavour)

        def shows(text: str) -> bool:
            with unit.host.entered():
                return text in tables.dump()

        assert shows("default/kubernetes:https cluster IP")
        assert confinement(unit.process.pid) == {"CapEff": 1 << 12 | 1 << 13, "NoNewPrivs": 1, "Seccomp": 2}
        address = expose(plane, f"web-{flavour}")
        unit.process.wait_until(lambda: shows(f"-d {address}/32"), "the rules of a new Service", SECONDS)
        unit.told.lines().clear()
        unit.await_line("WATCHDOG=1")
        limits = [line for line in unit.told.lines() if line.startswith("WATCHDOG_USEC=")]
        assert set(limits) <= {"WATCHDOG_USEC=1200000000", "WATCHDOG_USEC=1000000"}
        with unit.host.entered():
            assert Path("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal").read_text() == "1\n"
        unit.process.stop()
        assert "STOPPING=1" in unit.told.lines()
        assert shows(f"-d {address}/32")  # rules stay
    written = unit.process.log.read_text()
    assert not [line for line in written.splitlines() if "warning" in line or "error" in line], written


def test_dns_works_in_its_units_sandbox(plane: ControlPlane, tmp_path: Path) -> None:
    address = expose(plane, "web-dns")
    with ExitStack() as stack:
        host = stack.enter_context(lone_host("unit"))
        server = stack.enter_context(plane.reached_from(host.name))
        (tmp_path / "kubeconfig").write_text(kubeconfig(plane, "svcplane-dns", server).read_text())
        variables = {"SVCPLANE_DNS_FLAGS": "--listen=127.0.0.1:53", "d": str(tmp_path)}
        unit = stack.enter_context(running("svcplane-dns", host, tmp_path, **variables))
        unit.await_line("READY=1")
        assert addresses(host, "web-dns.default.svc.cluster.local") == [address]
        unit.told.lines().clear()
        unit.await_line("WATCHDOG=1")
        unit.process.stop()
        assert "STOPPING=1" in unit.told.lines()


def test_dns_with_the_pods_corefile(plane: ControlPlane, binaries: Path, tmp_path: Path) -> None:
    """The ConfigMap's file, with the two paths that are a pod's in place of this machine's."""
    address = expose(plane, "web-corefile")
    (text,) = (each["data"]["Corefile"] for each in rendered(binaries, "dns") if each["kind"] == "ConfigMap")
    with ExitStack() as stack:
        host = stack.enter_context(lone_host("corefile"))
        server = stack.enter_context(plane.reached_from(host.name))
        account = kubeconfig(plane, "svcplane-dns", server)
        (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\n")
        (tmp_path / "Corefile").write_text(
            text.replace("/etc/resolv.conf", f"{tmp_path}/resolv.conf").replace(
                "ttl 30", f"ttl 30\nkubeconfig {account}"
            )
        )
        argv = (PROGRAMS / "svcplane-dns", "run", f"--conf={tmp_path}/Corefile")
        process = stack.enter_context(Process(argv, tmp_path / "log", netns=host.name))
        process.start()

        def status(port: int, path: str) -> int:
            return HttpServer("127.0.0.1", port, host.name).request("GET", path).status

        process.wait_until(lambda: status(8181, "/ready") == 200, "the readiness probe passes", SECONDS)
        assert (status(8080, "/health"), status(9153, "/metrics")) == (200, 200)
        assert addresses(host, "web-corefile.default.svc.cluster.local") == [address]


def addresses(host: Host, name: str) -> list[str]:
    with socket_in(host.name, "127.0.0.1", socket.SOCK_DGRAM) as asking:
        asking.settimeout(5.0)
        asking.connect(("127.0.0.1", 53))
        asking.send(DNSRecord.question(name).pack())
        return [str(record.rdata) for record in DNSRecord.parse(asking.recv(4096)).rr]


@pytest.mark.parametrize("account", ACCOUNTS)
def test_no_right_is_missing_and_none_is_idle(
    plane: ControlPlane, audit: Path, binaries: Path, tmp_path: Path, account: str
) -> None:
    """What each program asked for while it started and worked is what its ClusterRole grants: no less and no more."""
    (role,) = (
        each
        for each in rendered(binaries, "both")
        if each["kind"] == "ClusterRole" and each["metadata"]["name"] == account
    )
    granted = granted_by(role)
    user = f"system:serviceaccount:{ACCOUNTS[account]}:{account}"

    with ExitStack() as stack:
        host = stack.enter_context(lone_host("rights"))
        server = stack.enter_context(plane.reached_from(host.name))
        config = f"--kubeconfig={kubeconfig(plane, account, server)}"
        flags = {
            "svcplane-agent": (f"--hostname-override={NODE}", "--conntrack-max-per-core=0", "--iptables-flavour=nft"),
            "svcplane-dns": ("--listen=127.0.0.1:53", "--pods=insecure"),
        }
        argv = (PROGRAMS / account, "run", config, *flags[account])
        process = stack.enter_context(Process(argv, tmp_path / "log", netns=host.name))
        process.start()
        process.wait_until(lambda: asked(audit, user) >= granted, "every right is used", SECONDS)
    assert asked(audit, user) == granted


def test_autopath_on_a_node_needs_its_pods_and_no_more(plane: ControlPlane, audit: Path, tmp_path: Path) -> None:
    """What the component `nodelocal-autopath` grants is what a cache with its Corefile asks for, of its own node."""
    component = OVERLAYS.parent / "components/nodelocal-autopath"
    objects = list(yaml.safe_load_all((component / "rbac.yaml").read_text()))
    plane.apply(objects)
    account = "svcplane-nodelocal"
    (role,) = (each for each in objects if each["kind"] == "ClusterRole")
    user = f"system:serviceaccount:kube-system:{account}"
    (tmp_path / "Corefile").write_text((component / "Corefile.base").read_text())
    with ExitStack() as stack:
        host = stack.enter_context(lone_host("autopath"))
        server = stack.enter_context(plane.reached_from(host.name))
        token = plane.token_for(account, "kube-system")
        config = plane.kubeconfig(account, token=token, server=server)
        argv = (
            *(PROGRAMS / "svcplane-dns", "nodelocal", "--local-ip=169.254.20.10", "--cluster-dns=192.0.2.1"),
            *(f"--conf={tmp_path}/Corefile", f"--kubeconfig={config}", f"--node-name={NODE}"),
        )
        process = stack.enter_context(Process(argv, tmp_path / "log", netns=host.name))
        process.start()
        process.wait_until(lambda: asked(audit, user) >= granted_by(role), "every right is used", SECONDS)
    assert asked(audit, user) == granted_by(role)
    uris = [each["requestURI"] for each in requests(audit, user)]
    assert all(f"spec.nodeName%3D{NODE}" in uri for uri in uris), uris


def granted_by(role: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (verb, group, resource)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def requests(audit: Path, user: str) -> list[dict[str, Any]]:
    return [each for each in map(json.loads, audit.read_text().splitlines()) if each["user"]["username"] == user]


def asked(audit: Path, user: str) -> set[tuple[str, str, str]]:
    references = [(each["verb"], each["objectRef"]) for each in requests(audit, user)]
    return {(verb, reference.get("apiGroup", ""), reference["resource"]) for verb, reference in references}

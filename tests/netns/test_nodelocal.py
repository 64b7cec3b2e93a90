"""The node's cache on a node of its own: rules beside node-cache's, every way to die, what comes back by itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.corefiles import KUBEADM, NODE_LOCAL
from support.node_dns import KUBE_DNS, KUBE_DNS6, PROGRAM, UPSTREAM, UPSTREAM6, Asking, NodeDns, node_dns
from support.sandbox import argv_of, sandboxed, settings
from support.site import lone_host
from support.waiting import eventually
from svcnet import carriers, links

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]

SYSTEMD = Path(__file__).parents[2] / "deploy/systemd"
LINK_LOCAL = "169.254.20.10"
BOTH = (f"--local-ip={LINK_LOCAL},{KUBE_DNS}", f"--cluster-dns={UPSTREAM}")
RULES = 24  # for two addresses


@pytest.fixture
def site() -> Iterator[NodeDns]:
    with node_dns("nl") as found:
        yield found


def await_rules(site: NodeDns, count: int = RULES, family: str = "IPv4") -> None:
    eventually(lambda: len(site.saved(family)) == count, f"{count} rules", seconds=30)


def await_gone(site: NodeDns) -> None:
    eventually(lambda: not site.saved() and not site.has_link(), "rules and interface are gone", seconds=30)
    assert not {LINK_LOCAL, KUBE_DNS} & site.addresses()


def guardians(site: NodeDns, *others: int) -> list[int]:
    return [pid for pid in site.pids() if pid not in others]


def node_cache_writes(tables: str, addresses: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The commands that node-cache runs, in their order (cmd/node-cache/app/cache_app.go): each rule goes on top."""
    skip = ("-j", "NOTRACK", "-m", "comment", "--comment", "NodeLocal DNS Cache: skip conntrack")
    allow = ("-j", "ACCEPT", "-m", "comment", "--comment", "NodeLocal DNS Cache: allow DNS traffic")
    for address in addresses:
        for table, chain, side, port, protocols, rest in (
            ("raw", "PREROUTING", "-d", "--dport 53", "tcp udp", skip),
            ("filter", "INPUT", "-d", "--dport 53", "tcp udp", allow),
            ("raw", "OUTPUT", "-s", "--sport 53", "tcp udp", skip),
            ("filter", "OUTPUT", "-s", "--sport 53", "tcp udp", allow),
            ("raw", "OUTPUT", "-d", "--dport 53", "tcp udp", skip),
            ("raw", "OUTPUT", "-d", "--dport 8080", "tcp", skip),
            ("raw", "OUTPUT", "-s", "--sport 8080", "tcp", skip),
        ):
            for protocol in protocols.split():
                words = ("-w", "5", "-t", table, "-I", chain, "-p", protocol, side, address, *port.split())
                yield (tables, *words, *rest)


@pytest.mark.parametrize("flavour", ["nft", "legacy"])
def test_the_rules_are_node_caches(tmp_path: Path, flavour: str) -> None:
    six = ("fd00:1::a", KUBE_DNS6)
    with node_dns("nr", flavour) as site, lone_host("nc") as other:
        for family, addresses in (("IPv4", (LINK_LOCAL, KUBE_DNS)), ("IPv6", six)):
            for command in node_cache_writes(site.tables[family], addresses):
                other.run(*command)
        site.start(tmp_path, f"--local-ip={LINK_LOCAL},{KUBE_DNS},{','.join(six)}", f"--cluster-dns={UPSTREAM}")
        for family in ("IPv4", "IPv6"):
            await_rules(site, family=family)
            for table in ("raw", "filter"):
                ours, theirs = (
                    [line for line in host.run(f"{site.tables[family]}-save", "-t", table).splitlines() if "-A" in line]
                    for host in (site.node, other)
                )
                assert ours == theirs


@pytest.mark.parametrize("address", ["169.254.20.10", "169.254.25.10", "169.254.255.10"])
def test_names_by_any_link_local_address(site: NodeDns, tmp_path: Path, address: str) -> None:
    site.start(tmp_path, f"--local-ip={address},{KUBE_DNS}", f"--cluster-dns={UPSTREAM}")
    await_rules(site)
    for where in (site.pod, site.node):
        for server in (address, KUBE_DNS):
            for proto in ("udp", "tcp"):
                assert site.ask(where, server, "one.example.org", proto=proto) == "192.0.2.1"
    assert site.dns.asked == {"tcp": 1}, "one question, over TCP; the rest came from the cache"
    tracked = site.node.run("conntrack", "-L")
    assert f"dst={address} " not in tracked
    assert f"dst={KUBE_DNS} " not in tracked
    with site.node.entered(), urllib.request.urlopen(f"http://{address}:8080/health", timeout=10) as said:
        assert said.read() == b"OK"


def test_names_by_ipv6(site: NodeDns, tmp_path: Path) -> None:
    local = "fd00:1::a"
    site.start(tmp_path, f"--local-ip={local},{KUBE_DNS6}", f"--cluster-dns={UPSTREAM6}")
    await_rules(site, family="IPv6")
    assert site.saved("IPv4") == []
    for server in (local, KUBE_DNS6):
        for proto in ("udp", "tcp"):
            assert site.ask(site.pod, server, "six.example.org", proto=proto) == "192.0.2.1"
    assert site.dns.asked == {"tcp": 1}


def test_killed_while_a_pod_asks(site: NodeDns, tmp_path: Path) -> None:
    """At most the question that it had taken in is lost; from then on the cluster IP leads to cluster DNS itself."""
    process = site.start(tmp_path, *BOTH)
    await_rules(site)
    asking = Asking(site, site.pod, KUBE_DNS)
    try:
        eventually(lambda: asking.good > 20, "names resolve", seconds=30)
        assert site.dns.asked["udp"] == 0
        process.kill()
        eventually(lambda: site.dns.asked["udp"] > 20, "names resolve without the cache", seconds=30)
        await_gone(site)
    finally:
        asking.stop()
    assert len(asking.lost) <= 1, asking.lost
    eventually(lambda: site.pids() == [], "the guardian ends")
    again = site.start(tmp_path, *BOTH)
    await_rules(site)
    assert guardians(site, again.pid) != []


def test_killed_with_its_group_and_replaced_at_once(site: NodeDns, tmp_path: Path) -> None:
    first = site.start(tmp_path, *BOTH)
    await_rules(site)
    (guardian,) = guardians(site, first.pid)
    assert os.getpgid(guardian) == guardian, "it is in no group with what it guards"
    asking = Asking(site, site.pod, KUBE_DNS)
    try:
        eventually(lambda: asking.good > 20, "names resolve", seconds=30)
        os.kill(guardian, signal.SIGTERM)
        first.kill()
        second = site.start(tmp_path, *BOTH)
        eventually(lambda: second.pid in site.pids() and guardian not in site.pids(), "the new one alone", seconds=30)
        await_rules(site)
        before = site.dns.asked["udp"]
        count = asking.good
        eventually(lambda: asking.good > count + 20, "names resolve", seconds=30)
    finally:
        asking.stop()
    assert len(asking.lost) <= 1, asking.lost
    assert site.dns.asked["udp"] <= before + 1


def test_link_local_questions_are_passed_on_for_a_while(site: NodeDns, tmp_path: Path) -> None:
    """Nobody else has that address: the guardian asks cluster DNS until a successor is there, or three seconds."""
    process = site.start(tmp_path, *BOTH)
    await_rules(site)
    os.kill(process.pid, signal.SIGSTOP)  # what it does not take in waits in its socket
    asking = Asking(site, site.pod, LINK_LOCAL, seconds=20)
    process.kill()
    eventually(lambda: site.dns.asked["udp"] > 0, "the guardian asks")
    asking.stop()
    assert asking.lost == []
    await_gone(site)


def test_killed_with_its_guardian(site: NodeDns, tmp_path: Path) -> None:
    """Then everything stays as it was; the next start, with other addresses too, and --cleanup remove it."""
    process = site.start(tmp_path, f"--local-ip=169.254.25.10,{KUBE_DNS}", f"--cluster-dns={UPSTREAM}")
    await_rules(site)
    for pid in (*guardians(site, process.pid), process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait(10)
    assert len(site.saved()) == RULES
    process = site.start(tmp_path, f"--local-ip={LINK_LOCAL}", f"--cluster-dns={KUBE_DNS}")
    await_rules(site, RULES // 2)
    assert not {"169.254.25.10", KUBE_DNS} & site.addresses()
    for pid in (*guardians(site, process.pid), process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait(10)
    site.rule("IPv4", "raw", "-A", "OUTPUT", "-d", "192.0.2.9", "-j", "NOTRACK")
    cleanup = site.node.argv(str(PROGRAM), "nodelocal", f"--local-ip={LINK_LOCAL}", "--cleanup")
    for _ in range(2):
        done = subprocess.run(cleanup, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert site.saved() == ["-A OUTPUT -d 192.0.2.9/32 -j NOTRACK"], "somebody else's rule stays"
        assert not site.has_link()


def test_a_guard_in_another_process(site: NodeDns, tmp_path: Path) -> None:
    """As in a pod: the first process of the container takes its own guardian with it."""
    process = site.start(tmp_path, *BOTH)
    await_rules(site)
    own = guardians(site, process.pid)
    guard = site.start(tmp_path, *BOTH, "--guard")
    eventually(
        lambda: "svcplane-dns" in Path(f"/proc/{guard.pid}/cmdline").read_text() and connected(site), "it guards"
    )
    asking = Asking(site, site.pod, KUBE_DNS)
    try:
        eventually(lambda: asking.good > 20, "names resolve", seconds=30)
        for pid in (*own, process.pid):
            os.kill(pid, signal.SIGKILL)
        await_gone(site)
        eventually(lambda: site.dns.asked["udp"] > 20, "names resolve without the cache", seconds=30)
    finally:
        asking.stop()
    assert len(asking.lost) <= 1, asking.lost
    process = site.start(tmp_path, *BOTH)
    await_rules(site)
    guard.terminate()
    process.terminate()
    assert (guard.wait(20), process.wait(20)) == (0, 0)
    await_gone(site)


def connected(site: NodeDns) -> bool:
    """Whether anybody is connected to the lock beside who listens (/proc/net/unix, St 03)."""
    lines = site.node.run("cat", "/proc/net/unix").splitlines()
    return any(line.split()[5] == "03" and "@svcplane-nodelocal-nodelocaldns" in line for line in lines)


def test_terminated_while_a_pod_asks(site: NodeDns, tmp_path: Path) -> None:
    process = site.start(tmp_path, *BOTH)
    await_rules(site)
    asking = Asking(site, site.pod, KUBE_DNS)
    try:
        eventually(lambda: asking.good > 20, "names resolve", seconds=30)
        process.terminate()
        assert process.wait(30) == 0
        await_gone(site)
        eventually(lambda: site.dns.asked["udp"] > 20, "names resolve without the cache", seconds=30)
    finally:
        asking.stop()
    assert asking.lost == []
    eventually(lambda: site.pids() == [], "the guardian ends")


def test_skip_teardown(site: NodeDns, tmp_path: Path) -> None:
    process = site.start(tmp_path, *BOTH, "-skipteardown=true")
    await_rules(site)
    before = site.saved()
    process.terminate()
    assert process.wait(30) == 0
    assert site.saved() == before
    assert {LINK_LOCAL, KUBE_DNS} <= site.addresses()


def test_what_others_remove_comes_back_once(site: NodeDns, tmp_path: Path) -> None:
    site.start(tmp_path, *BOTH, "-syncinterval=500ms")
    await_rules(site)
    before = site.saved()
    site.node.run("iptables", "-t", "raw", "-F")
    site.node.run("iptables", "-D", "INPUT", "1")
    await_rules(site)
    assert sorted(site.saved()) == sorted(before)
    site.node.run("ip", "link", "delete", "nodelocaldns")
    eventually(lambda: {LINK_LOCAL, KUBE_DNS} <= site.addresses(), "the addresses are there again", seconds=30)
    assert site.ask(site.pod, LINK_LOCAL, "back.example.org") == "192.0.2.1"


def test_cluster_dns_away(site: NodeDns, tmp_path: Path) -> None:
    """What is known goes on being answered after its time; another way to cluster DNS is taken where there is one."""
    process = site.start(tmp_path, *BOTH)
    await_rules(site)
    assert site.ask(site.pod, KUBE_DNS, "known.example.org") == "192.0.2.1"
    site.dns.close()

    def is_stale() -> bool:
        assert site.ask(site.pod, KUBE_DNS, "known.example.org") == "192.0.2.1"
        with site.node.entered(), urllib.request.urlopen("http://127.0.0.1:9353/metrics", timeout=10) as said:
            return any(line.startswith(b"coredns_cache_served_stale_total{") for line in said)

    eventually(is_stale, "what has expired is answered", seconds=30)
    assert site.ask(site.pod, KUBE_DNS, "unknown.example.org", seconds=20) == ""
    process.terminate()
    assert process.wait(30) == 0


def test_another_way_to_cluster_dns(site: NodeDns, tmp_path: Path) -> None:
    site.start(tmp_path, BOTH[0], f"--cluster-dns=10.96.0.99,{UPSTREAM}")  # nobody is at the first one
    await_rules(site)
    assert site.ask(site.pod, KUBE_DNS, "one.example.org", seconds=20) == "192.0.2.1"


def test_node_caches_own_arguments_and_template(site: NodeDns, tmp_path: Path) -> None:
    """As its DaemonSet starts it: flags, the file of its ConfigMap, the environment that the kubelet makes."""
    (tmp_path / "Corefile.base").write_text(NODE_LOCAL)
    words = f"-localip {LINK_LOCAL},{KUBE_DNS} -conf /etc/Corefile -upstreamsvc kube-dns-upstream"
    argv = [str(PROGRAM), *words.split(), "-basecorefile", f"{tmp_path}/Corefile.base"]
    process = site.run(tmp_path, argv, KUBE_DNS_UPSTREAM_SERVICE_HOST=UPSTREAM)
    await_rules(site)
    assert site.ask(site.pod, KUBE_DNS, "one.default.svc.cluster.local") == "192.0.2.1"
    assert site.dns.asked["tcp"] > 0
    assert site.dns.asked["udp"] == 0
    with site.node.entered():
        for url in (
            f"http://{LINK_LOCAL}:8080/health",
            "http://127.0.0.1:9253/metrics",
            "http://127.0.0.1:9353/metrics",
        ):
            with urllib.request.urlopen(url, timeout=10) as said:  # noqa: S310  # one of the three
                text = said.read()
    assert b'coredns_nodecache_setup_errors_total{errortype="iptables_lock"} 0.0' in text
    process.terminate()
    assert process.wait(30) == 0
    await_gone(site)


def test_kubeadms_file(site: NodeDns, tmp_path: Path) -> None:
    """Cluster DNS on each node: it may take the place of the cache, and listens on no other address of the node."""
    text = KUBEADM.replace("/etc/resolv.conf", UPSTREAM).replace("    loop\n", "")
    text = text.replace("pods insecure", "pods insecure\n endpoint http://127.0.0.1:1\n startup_timeout 1ms")
    site.start(tmp_path, f"--local-ip={LINK_LOCAL}", corefile=text)
    await_rules(site, RULES // 2)
    assert site.ask(site.pod, LINK_LOCAL, "one.example.org") == "192.0.2.1"
    with pytest.raises(ConnectionRefusedError):
        site.ask(site.node, "192.168.56.11", "one.example.org", proto="tcp")


def test_without_a_link_of_its_own(site: NodeDns, tmp_path: Path) -> None:
    """Where no link can be made, loopback carries the addresses; what it had before stays."""
    before = site.addresses()
    process = site.start(tmp_path, *BOTH, "--interface-name=lo")
    await_rules(site)
    assert site.addresses() == before | {LINK_LOCAL, KUBE_DNS}
    assert site.ask(site.pod, KUBE_DNS, "one.example.org") == "192.0.2.1"
    process.kill()
    eventually(lambda: site.addresses() == before and not site.saved(), "what was there before", seconds=30)


def reaches(family: socket.AddressFamily, address: str) -> bool:
    """Whether a datagram to an address of this namespace comes here."""
    with socket.socket(family, socket.SOCK_DGRAM) as server, socket.socket(family, socket.SOCK_DGRAM) as client:
        server.settimeout(10)
        try:
            server.bind((address, 53))
            client.sendto(b"x", (address, 53))
        except OSError:
            return False
        return server.recv(9) == b"x"


@pytest.mark.parametrize(
    ("kinds", "found"),
    [
        pytest.param(("no-such-kind", "bridge"), "nld0", id="a bridge"),
        pytest.param(("no-such-kind", "ifb"), "nld0", id="an ifb"),
        pytest.param(("no-such-kind",), "lo", id="none"),
    ],
)
def test_links_by_what_the_kernel_has(monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...], found: str) -> None:
    monkeypatch.setattr(carriers, "LINK_KINDS", kinds)
    with lone_host("links") as host, host.entered():
        for added in (2, 0):
            assert carriers.ensure_link("nld0") == found
            assert carriers.ensure_addresses(found, [LINK_LOCAL, KUBE_DNS6]) == added
        assert {LINK_LOCAL, KUBE_DNS6} <= set(links.addresses_of(found))
        for address, family in ((LINK_LOCAL, socket.AF_INET), (KUBE_DNS6, socket.AF_INET6)):
            # The kernel makes the route of an IPv6 address a moment after the address.
            eventually(lambda: reaches(family, address), f"{address} is local", seconds=30)  # noqa: B023
        assert carriers.is_carrier("nld0") is (found == "nld0")
        assert not carriers.is_carrier("lo")
        for _ in range(2):
            carriers.remove_addresses(found, [LINK_LOCAL, KUBE_DNS6])
        assert not {LINK_LOCAL, KUBE_DNS6} & set(links.addresses_of(found))


def test_in_its_units_sandbox(site: NodeDns, tmp_path: Path) -> None:
    """With the capabilities, system calls and file system of the systemd unit; ExecStopPost= undoes it, too."""
    Path("/run/xtables.lock").touch(0o600)  # ExecStartPre=
    unit = SYSTEMD / "svcplane-nodelocal.service"
    variables = {"SVCPLANE_NODELOCAL_FLAGS": " ".join(BOTH)}
    argv = [word.replace("/etc/svcplane", str(SYSTEMD / "etc")) for word in argv_of(unit, PROGRAM.parent, **variables)]
    process = site.run(tmp_path, sandboxed(unit, argv))
    await_rules(site)
    assert site.ask(site.pod, KUBE_DNS, "one.default.svc.cluster.local") == "192.0.2.1"
    everybody = site.pids()
    process.kill()
    await_gone(site)
    process = site.run(tmp_path, sandboxed(unit, argv))
    await_rules(site)
    for pid in set(site.pids()) - set(everybody):
        os.kill(pid, signal.SIGKILL)
    (line,) = settings(unit)["ExecStopPost"]
    stop = [*line.removeprefix("-").replace("/opt/svcplane/bin", str(PROGRAM.parent)).split()[:-1], *BOTH]
    assert site.run(tmp_path, sandboxed(unit, stop)).wait(60) == 0
    await_gone(site)


def test_a_second_one_is_refused(site: NodeDns, tmp_path: Path) -> None:
    first = site.start(tmp_path, *BOTH)
    await_rules(site)
    second = site.start(tmp_path, *BOTH)
    assert second.wait(60) == 1
    assert "another svcplane-dns nodelocal is at work on this node" in (tmp_path / "log").read_text()
    assert first.poll() is None
    assert site.ask(site.pod, KUBE_DNS, "one.example.org") == "192.0.2.1"
    assert len(site.saved()) == RULES


def test_a_bad_corefile_leaves_nothing(site: NodeDns, tmp_path: Path) -> None:
    process = site.start(tmp_path, *BOTH, corefile=".:53 {\n    no-such-plugin\n}\n")
    assert process.wait(60) == 1
    assert "unknown directive 'no-such-plugin'" in (tmp_path / "log").read_text()
    assert (site.saved(), site.has_link()) == ([], False)

"""The agent and the real kube-proxy on one node: never both at once, and no connection lost between them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from peers.control_plane import ControlPlane
from peers.kube_proxy import Flavour, KubeProxy
from peers.pair import create, delete
from peers.processes import Process
from peers.reach import HttpServer
from support.dumps import Normal, difference, normal
from support.flows import CLUSTER_CIDR, NAMESPACE, NODE, NODE6, NODE_NAME, OBJECTS, PODS, Flow, port, service
from support.site import Site, site
from support.waiting import eventually
from svcagent.skeleton import SHARED
from svcnet.rules import FAMILIES
from svcnet.writers import Iptables

pytestmark = pytest.mark.peers

PROGRAM = Path(sys.executable).parent / "svcplane-agent"
USER = "system:kube-proxy"
SECONDS = 15.0
# Not the ports of an agent that runs already: kube-proxy would end, or log failures.
ELSEWHERE = {"metricsBindAddress": "127.0.0.1:10349", "healthzBindAddress": "127.0.0.1:10356"}


class Node(msgspec.Struct):
    """A node of a site, and what runs on it by turns."""

    flavour: Flavour
    plane: ControlPlane
    place: Site
    binaries: Path
    folder: Path
    server: str

    def kube_proxy(self, config: dict[str, str] | None = None) -> KubeProxy:
        kubeconfig = self.plane.kubeconfig(USER, server=self.server)
        return KubeProxy(
            self.binaries,
            self.folder,
            netns=self.place.node.name,
            kubeconfig=kubeconfig,
            hostname=NODE_NAME,
            cluster_cidr=CLUSTER_CIDR,
            flavour=self.flavour,
            config=config,
        )

    def agent_argv(self, *flags: str) -> tuple[str, ...]:
        kubeconfig = self.plane.kubeconfig(USER, groups=["system:node-proxier"])
        where = ("--netns", self.place.node.name, "--hostname-override", NODE_NAME, "--cluster-cidr", CLUSTER_CIDR)
        quick = ("--iptables-min-sync-period", "50ms", "--conntrack-max-per-core", "0")
        argv = (PROGRAM, "run", "--kubeconfig", kubeconfig, *where, *quick, "--iptables-flavour", self.flavour, *flags)
        return tuple(str(word) for word in argv)

    @contextmanager
    def agent(self, *flags: str) -> Iterator[Process]:
        with Process(self.agent_argv(*flags), self.folder / "agent.log", environment=self.environment) as process:
            process.start()
            first = "kubeproxy_sync_full_proxy_rules_duration_seconds_count"
            process.wait_until(lambda: self.metric(first) == len(FAMILIES), "a pass of both families", SECONDS)
            yield process

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "XTABLES_LOCKFILE": str(self.folder / "xtables.lock")}

    def rules(self) -> Normal:
        with self.place.node.entered():
            return {
                (f"{family} {table}", chain): lines
                for family in FAMILIES
                for (table, chain), lines in normal(Iptables(family, self.flavour).dump()).items()
            }

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        text = HttpServer("127.0.0.1", 10249, self.place.node.name).request("GET", "/metrics").body.decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))

    def well(self) -> bool:
        return HttpServer("127.0.0.1", 10256, self.place.node.name).request("GET", "/healthz").status == 200


@pytest.fixture(scope="module")
def plane(binaries: Path) -> Iterator[ControlPlane]:
    with ControlPlane(binaries, controllers=()) as running:
        running.add_node(NODE_NAME, [NODE, NODE6])
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        running.request("POST", "/api/v1/namespaces", namespace)
        for manifest in OBJECTS:
            create(running, manifest)
        yield running


@pytest.fixture(params=["nft", "legacy"])
def node(request: pytest.FixtureRequest, plane: ControlPlane, binaries: Path, tmp_path: Path) -> Iterator[Node]:
    with ExitStack() as stack:
        place = stack.enter_context(site(f"h{request.param}"))
        server = stack.enter_context(plane.reached_from(place.node.name))
        yield Node(request.param, plane, place, binaries, tmp_path, server)


WAYS = (
    Flow("cluster IP", "client", "10.96.0.20", 80, lands=tuple(PODS)),
    Flow("node port", "client", NODE, 31111, lands=tuple(PODS)),
    Flow("cluster IP from a pod", "pod1", "10.96.0.20", 80, lands=tuple(PODS)),
)


@contextmanager
def connecting(place: Site) -> Iterator[Callable[[], int]]:
    """New connections all the time, each way in a thread of its own; the end fails if one of them failed.

    Gives a function that says how many were made so far.
    """
    seen: dict[str, Counter[str]] = {flow.id: Counter() for flow in WAYS}
    over = threading.Event()

    def connect(flow: Flow) -> None:
        while not over.wait(0.002):
            for (what, _), times in place.send(flow, 1).items():
                seen[flow.id][what] += times

    threads = [threading.Thread(target=connect, args=(flow,)) for flow in WAYS]
    for thread in threads:
        thread.start()

    def made() -> int:
        return min(sum(each.values()) for each in seen.values())

    try:
        eventually(lambda: made() > 50, "connections before the change")
        yield made
        soon = made() + 50
        eventually(lambda: made() > soon, "connections after the change")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    failed = {way: {what: times for what, times in each.items() if what not in PODS} for way, each in seen.items()}
    assert failed == {way: {} for way in seen}


def test_from_kube_proxy_to_the_agent_and_back_without_a_lost_connection(node: Node) -> None:
    with node.kube_proxy():
        theirs = node.rules()
        with connecting(node.place):
            pass  # the loop itself loses none
    with connecting(node.place) as made, node.agent():
        adopted = node.metric("svcplane_chains_written_total")
        assert difference(node.rules(), theirs) == ""
        since = made()
        eventually(lambda: made() > since + 100, "connections through the agent's rules")
    # kube-proxy's shared chains are in an order of chance; ours are sorted. All else was there.
    assert adopted <= len(FAMILIES) * len(SHARED)
    with connecting(node.place), node.kube_proxy():
        assert difference(node.rules(), theirs) == ""


def test_trees_are_found_and_left_without_a_lost_connection(node: Node) -> None:
    """kube-proxy knows nothing of them, and removes them as chains of services that are gone."""
    with node.kube_proxy():
        theirs = node.rules()
    with connecting(node.place), node.agent("--dispatch", "tree"):
        assert any("/" in chain for _, chain in node.rules())
    with connecting(node.place), node.kube_proxy():
        assert difference(node.rules(), theirs) == ""


def test_a_running_kube_proxy_is_not_fought_at_the_start(node: Node) -> None:
    with node.kube_proxy() as proxy:
        before = node.rules()
        done = subprocess.run(node.agent_argv(), env=node.environment, capture_output=True, text=True, timeout=30)
        assert done.returncode == 1
        said = done.stderr.splitlines()[-1]
        assert "kube-proxy is at work on this node: http://127.0.0.1:10249/proxyMode says iptables" in said
        assert f"process {proxy.process.pid}, kube-proxy" in said
        assert node.rules() == before


def test_a_kube_proxy_without_its_ports_is_seen_too(node: Node) -> None:
    proxy = node.kube_proxy(ELSEWHERE)
    with proxy.process as process:
        process.start()
        process.wait_until(lambda: any("KUBE-SVC" in chain for _, chain in node.rules()), "kube-proxy's rules")
        done = subprocess.run(node.agent_argv(), env=node.environment, capture_output=True, text=True, timeout=30)
        assert done.returncode == 1
        assert "kube-proxy is at work on this node: it runs in this network namespace" in done.stderr


def test_a_kube_proxy_that_comes_later_is_not_fought_and_its_end_is_seen(node: Node) -> None:
    late = service("late", "10.96.0.98", [port(80, 8080)])
    with node.agent("--iptables-sync-period", "5s") as agent:
        ours = node.rules()
        with node.kube_proxy(ELSEWHERE).process as proxy:
            proxy.start()
            proxy.wait_until(lambda: not node.well(), "the agent gives way", 30)
            assert agent.log.read_text().count("nothing is written any more") == 1
            written = node.metric("svcplane_chains_written_total")
            create(node.plane, late)
            try:
                proxy.wait_until(
                    lambda: any("10.96.0.98/32" in " ".join(lines) for lines in node.rules().values()),
                    "kube-proxy serves on",
                )
                assert node.metric("svcplane_chains_written_total") == written
            finally:
                delete(node.plane, late)
        agent.wait_until(node.well, "the agent goes on", SECONDS)
        agent.wait_until(lambda: difference(node.rules(), ours) == "", "all is as before", SECONDS)
        log = agent.log.read_text()
        assert log.count("nothing is written any more") == log.count("the other program is gone") == 1


def test_whoever_wants_both_may_have_both(node: Node) -> None:
    ports = ("--metrics-bind-address", "127.0.0.1:10449", "--healthz-bind-address", "127.0.0.1:10456")
    argv = node.agent_argv("--beside-kube-proxy", *ports)
    with node.kube_proxy(), Process(argv, node.folder / "agent.log", environment=node.environment) as agent:
        agent.start()
        healthz = HttpServer("127.0.0.1", 10456, node.place.node.name)
        agent.wait_until(lambda: "started" in agent.log.read_text(), "the agent starts", SECONDS)
        agent.wait_until(lambda: healthz.request("GET", "/healthz").status == 200, "and is well", SECONDS)

"""Foreign hands are noticed when they move, not at the next audit: here no audit comes within the hour."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import CollectorRegistry

from support.dumps import normal
from support.nodes import CLUSTER_CIDR
from support.site import lone_host
from support.waiting import eventually
from support.worlds import NODE, endpoint, service, slice_of
from svcagent import sync
from svcagent.metrics import Metrics
from svcagent.options import parse as parse_options
from svckube.objects import EndpointSlice, Node, Service
from svckube.store import Listed
from svclab.netns import Host
from svcnet import notices
from svcnet.writers import Flavour, Iptables

pytestmark = pytest.mark.netns

FLAGS = ("--iptables-sync-period", "1h", "--conntrack-max-per-core", "0", "--cluster-cidr", CLUSTER_CIDR)


class Running:
    """The agent's loop in a thread, as `daemon` puts it together, without an API server."""

    def __init__(self, host: Host, flavour: Flavour, *flags: str) -> None:
        self.tool = Iptables("IPv4", flavour)
        self.registry = CollectorRegistry()
        self._host = host
        self._inbox: sync.Inbox = queue.SimpleQueue()
        self._options = parse_options([*FLAGS, *flags])
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        lists = [Listed(Service, (service(ports=[{"port": 80, "nodePort": 30080}]),)), Listed(Node, ())]
        self._inbox.put([*lists, Listed(EndpointSlice, (slice_of("web", endpoint("10.244.1.1")),))])
        eventually(lambda: "--to-destination 10.244.1.1:80" in self.dump(), "the first pass")

    def _run(self) -> None:
        inbox = self._inbox
        with self._host.entered():
            following = (
                notices.rule_changes(lambda writer: inbox.put(sync.RulesChanged(writer))),
                notices.address_changes(lambda _: inbox.put(sync.AddressesChanged())),
            )
            agent = sync.Agent(self._options, NODE, [self.tool], Metrics(self.registry))
            agent.run(inbox)
            for each in following:
                each.close()

    def dump(self) -> str:
        with self._host.entered():
            return self.tool.dump()

    def stop(self) -> None:
        self._inbox.put(sync.Stop())
        self._thread.join(10)

    def healed(self) -> float:
        return self.registry.get_sample_value("svcplane_healed_total", {"ip_family": "IPv4"}) or 0.0


Start = Callable[..., Running]


@pytest.fixture(params=["nft", "legacy"])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    found: Flavour = request.param
    return found


@pytest.fixture
def host() -> Iterator[Host]:
    with lone_host("seen") as found:
        yield found


@pytest.fixture
def start(host: Host, flavour: Flavour) -> Iterator[Start]:
    running: list[Running] = []

    def started(*flags: str) -> Running:
        running.append(Running(host, flavour, *flags))
        return running[-1]

    yield started
    for each in running:
        each.stop()


@pytest.mark.parametrize(
    "words",
    [("-t", "nat", "-F"), ("-t", "nat", "-D", "KUBE-SERVICES", "1"), ("-t", "filter", "-F", "FORWARD")],
    ids=["nat flushed", "one rule deleted", "hooks flushed"],
)
def test_what_others_change_is_put_right(start: Start, host: Host, flavour: Flavour, words: tuple[str, ...]) -> None:
    agent = start()
    before = normal(agent.dump())
    host.run(f"iptables-{flavour}", *words)
    eventually(lambda: agent.healed() and normal(agent.dump()) == before, "the rules are as before")


def test_what_concerns_others_is_left_alone(start: Start, host: Host, flavour: Flavour) -> None:
    agent = start()
    host.run(f"iptables-{flavour}", "-t", "nat", "-N", "DOCKER")
    host.run(f"iptables-{flavour}", "-t", "nat", "-A", "DOCKER", "-j", "RETURN")
    host.run(f"iptables-{flavour}", "-t", "nat", "-F", "KUBE-MARK-MASQ")
    eventually(agent.healed, "the change after them is healed, so they have been looked at")
    assert agent.healed() == 1
    assert "-A DOCKER -j RETURN" in agent.dump()


def test_node_ports_follow_the_nodes_addresses(start: Start, host: Host) -> None:
    agent = start("--nodeport-addresses", "192.0.2.0/24")
    tail = "-d 192.0.2.7/32 -m comment"
    assert tail not in agent.dump()
    host.add_address("lo", "192.0.2.7/32")
    eventually(lambda: tail in agent.dump(), "the new address serves node ports")
    subprocess.run(["ip", "-n", host.name, "addr", "del", "192.0.2.7/32", "dev", "lo"], check=True)
    eventually(lambda: tail not in agent.dump(), "the lost address serves none")

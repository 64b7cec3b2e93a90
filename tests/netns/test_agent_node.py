"""What a user sees of one node: flows that go on, even spread, affinity, who is masqueraded, where node ports answer.

The agent is stepped by hand (its clock is the test's), the packets and the kernel are real.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.flows import CLIENT, CLUSTER_CIDR, NODE, NODE6, PODS, PODS6, Flow, Manifest, Pods, endpoints, port, service
from support.judge import KINDS
from support.site import Site, site
from support.stepped import Stepped
from support.waiting import eventually
from svcagent.patch import removal
from svckube.objects import EndpointSlice, KubeObject, Service
from svckube.stream import Deleted
from svcnet.rules import FAMILIES
from svcnet.writers import Iptables

pytestmark = pytest.mark.netns

CIDR = ("--cluster-cidr", CLUSTER_CIDR)
VIP, VIP6 = "10.96.0.20", "fd00:10:96::20"
ALL: Pods = {"pod1": "ready", "pod2": "ready", "pod3": "ready"}


@pytest.fixture(scope="module")
def built() -> Iterator[Site]:
    with site("node") as found:
        yield found


@pytest.fixture
def place(built: Site) -> Iterator[Site]:
    """The site, with a node that nobody has programmed, and that remembers no connection: a source port used again
    within two minutes could go where the test before sent it."""
    for family in ("ipv4", "ipv6"):
        built.node.run("conntrack", "-F", "-f", family)
    yield built
    with built.node.entered():
        for iptables in (Iptables(family, "nft") for family in FAMILIES):
            if text := removal(iptables.dump()):
                iptables.restore(text)


class Node:
    """The agent on the site's node; every object gets the next resourceVersion."""

    def __init__(self, place: Site, *flags: str) -> None:
        self._host = place.node
        self._version = 0
        with self._host.entered():
            self.stepped = Stepped("nft", *flags)

    def start(self, *manifests: Manifest) -> Node:
        with self._host.entered():
            self.stepped.start(*map(self._object, manifests))
        return self

    def apply(self, *manifests: Manifest) -> None:
        with self._host.entered():
            self.stepped.say(*map(self._object, manifests))

    def delete(self, *manifests: Manifest) -> None:
        with self._host.entered():
            self.stepped.say(*(Deleted(self._object(each)) for each in manifests))

    def run(self, seconds: float) -> None:
        with self._host.entered():
            self.stepped.run(seconds)

    def _object(self, manifest: Manifest) -> KubeObject:
        self._version += 1
        metadata = {**manifest["metadata"], "resourceVersion": str(self._version)}
        return msgspec.convert({**manifest, "metadata": metadata}, KINDS[manifest["kind"]])


def web(**spec: Any) -> Manifest:
    return service("web", f"{VIP},{VIP6}", [port(80, 8080, node_port=31111)], type="NodePort", **spec)


DNS = service("dns", f"{VIP},{VIP6}", [port(53, 5353, protocol="UDP", node_port=31053)], type="NodePort")
MOVED = service("dns", f"{VIP},{VIP6}", [port(53, 5353, protocol="UDP", node_port=31054)], type="NodePort")


# -- UDP


class Client:
    """A UDP client that keeps its one socket, as a resolver does."""

    def __init__(self, place: Site, address: str, number: int, source: str = "client") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with place[source].entered():
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.settimeout(0.05)
        self._socket.connect((address, number))

    def ask(self) -> str:
        """Who answers: a pod, or "refused", or "nobody" within 50 ms."""
        try:
            self._socket.send(b"who are you?")
            while True:
                answer = self._socket.recv(100).decode().split()[0]
                self._socket.setblocking(False)
        except BlockingIOError:
            return answer  # the last of those that had piled up
        except (ConnectionRefusedError, PermissionError):  # the second where it is our own kernel that refuses
            return "refused"
        except TimeoutError:
            return "nobody"
        finally:
            self._socket.settimeout(0.05)

    def is_answered_by(self, who: str) -> None:
        eventually(lambda: self.ask() == who, f"{who} answers")
        assert [self.ask() for _ in range(3)] == [who] * 3

    def close(self) -> None:
        self._socket.close()


FRONTENDS = [
    ("cluster IP", VIP, 53, "client"),
    ("cluster IP from a pod", VIP, 53, "pod2"),
    ("cluster IP from the node", VIP, 53, "node"),
    ("cluster IP, v6", VIP6, 53, "client"),
    ("node port", NODE, 31053, "client"),
    ("node port, v6", NODE6, 31053, "client"),
]


@pytest.mark.parametrize(
    ("address", "number", "source"), [row[1:] for row in FRONTENDS], ids=[row[0] for row in FRONTENDS]
)
def test_a_udp_client_follows_its_service(place: Site, address: str, number: int, source: str) -> None:
    """One socket all the time, and every pod goes on answering whoever reaches it: only stale flows could mislead."""
    node = Node(place, *CIDR).start(DNS, *endpoints(DNS, {"pod1": "ready"}))
    client = Client(place, address, number, source)
    client.is_answered_by("pod1")
    node.apply(*endpoints(DNS, {"pod3": "ready"}))
    client.is_answered_by("pod3")
    node.apply(*endpoints(DNS, {}))
    client.is_answered_by("refused")
    node.apply(*endpoints(DNS, {"pod1": "ready"}))
    client.is_answered_by("pod1")
    node.delete(DNS)
    client.is_answered_by("nobody" if address in (VIP, VIP6) else "refused")
    client.close()


def test_a_udp_flow_stays_with_a_pod_that_drains(place: Site) -> None:
    node = Node(place, *CIDR).start(DNS, *endpoints(DNS, {"pod1": "ready"}))
    old = Client(place, VIP, 53)
    old.is_answered_by("pod1")
    node.apply(*endpoints(DNS, {"pod1": "draining", "pod3": "ready"}))
    new = Client(place, VIP, 53)
    new.is_answered_by("pod3")
    assert [old.ask() for _ in range(3)] == ["pod1"] * 3
    node.apply(*endpoints(DNS, {"pod3": "ready"}))
    old.is_answered_by("pod3")
    old.close()
    new.close()


def test_a_udp_node_port_that_moves_is_refused_where_it_was(place: Site) -> None:
    node = Node(place, *CIDR).start(DNS, *endpoints(DNS, {"pod1": "ready"}))
    old = Client(place, NODE, 31053)
    old.is_answered_by("pod1")
    node.apply(MOVED)
    old.is_answered_by("refused")
    new = Client(place, NODE, 31054)
    new.is_answered_by("pod1")
    old.close()
    new.close()


def test_flows_of_other_services_are_left_alone(place: Site) -> None:
    other = service("other", "10.96.0.40", [port(53, 5353, protocol="UDP")])
    node = Node(place, *CIDR).start(
        DNS, *endpoints(DNS, {"pod1": "ready"}), other, *endpoints(other, {"pod1": "ready"})
    )
    client = Client(place, "10.96.0.40", 53)
    client.is_answered_by("pod1")
    deleted = "kubeproxy_conntrack_reconciler_deleted_entries_total"
    before = node.stepped.metric(deleted)
    node.apply(*endpoints(DNS, {"pod3": "ready"}))
    client.is_answered_by("pod1")
    assert node.stepped.metric(deleted) == before
    client.close()


# -- TCP


@pytest.mark.parametrize(("address", "pod"), [(VIP, PODS["pod1"]), (VIP6, PODS6["pod1"])], ids=["v4", "v6"])
def test_an_established_connection_survives(place: Site, address: str, pod: str) -> None:
    """...an unrelated change, a restart, a rewrite of everything, the end of its endpoint and of its service."""
    family = socket.AF_INET6 if ":" in pod else socket.AF_INET
    long = service("long", f"{VIP},{VIP6}", [port(80, 9000)])
    slices = endpoints(long, {"pod1": "ready"})
    node = Node(place, *CIDR).start(long, *slices)
    with place["pod1"].entered():
        listening = socket.create_server((pod, 9000), family=family)
    with place["client"].entered():
        ours = socket.create_connection((address, 80), timeout=5)
    theirs, _ = listening.accept()

    def passes() -> bool:
        for one, other in ((ours, theirs), (theirs, ours)):
            one.sendall(b"still here?")
            other.settimeout(5)
            assert other.recv(100) == b"still here?"
        return True

    with listening, ours, theirs:
        assert passes()
        node.apply(service("unrelated", "10.96.0.41", [port(80, 8080)]))
        assert passes()
        node = Node(place, *CIDR).start(long, *slices)
        assert passes()
        for iptables in ("iptables-nft", "ip6tables-nft"):
            place.node.run(iptables, "-t", "nat", "-F")
        node.run(31)
        assert passes()
        node.apply(*endpoints(long, {"pod3": "ready"}))
        assert passes()
        node.delete(long, *slices)
        assert passes()


# -- the choice


def test_three_pods_share_three_thousand_connections_evenly(place: Site) -> None:
    Node(place, *CIDR).start(web(), *endpoints(web(), ALL))
    seen = place.send(Flow("even", "client", VIP, 80), 3000)
    landed = Counter({pod: sum(count for (who, _), count in seen.items() if who == pod) for pod in ALL})
    assert landed.total() == 3000
    chi_square = sum((count - 1000) ** 2 / 1000 for count in landed.values())
    assert chi_square < 27.63, f"p < 1e-6: {landed}"


def test_affinity_lasts_its_time_and_no_longer(place: Site) -> None:
    """Thirty clients: as long as it lasts each stays, and when it is over not all of them can choose alike."""
    sticky = web(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 2}})
    Node(place, *CIDR).start(sticky, *endpoints(sticky, ALL))
    clients = [f"192.168.57.{host}" for host in range(1, 31)]
    place["client"].add_address("eth0", *(f"{each}/32" for each in clients))
    place.node.add_route("192.168.57.0/24", via=CLIENT)

    def landings() -> list[str]:
        with place["client"].entered():
            return [_landing(each) for each in clients]

    began = time.monotonic()
    first, second = landings(), landings()
    assert time.monotonic() - began < 2, "this machine is too slow to tell"
    assert second == first
    assert len(set(first)) > 1
    last = time.monotonic()
    eventually(lambda: time.monotonic() > last + 2.1, "the time of the last of them is over", 5)
    assert landings() != first


def _landing(source: str) -> str:
    with socket.create_connection((VIP, 80), timeout=3, source_address=(source, 0)) as connection:
        return connection.recv(100).decode().split()[0]


# -- options that show on the wire

PREFIX = ("--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix", "pod")
BRIDGE = ("--detect-local-mode", "BridgeInterface", "--pod-bridge-interface", "pod2")
SENDERS = [
    ("by CIDR", CIDR, {"pod2": "sender", "pod3": "sender", "client": "node"}),
    ("by interface prefix", PREFIX, {"pod2": "sender", "pod3": "node", "client": "node"}),
    ("by one interface", BRIDGE, {"pod2": "sender", "pod3": "node", "client": "node"}),
    ("nothing tells them", (), {"pod2": "sender", "pod3": "sender", "client": "sender"}),
    ("all", (*CIDR, "--masquerade-all"), {"pod2": "node", "pod3": "node", "client": "node"}),
]


@pytest.mark.parametrize(("flags", "wanted"), [row[1:] for row in SENDERS], ids=[row[0] for row in SENDERS])
def test_whom_a_pod_sees_behind_the_cluster_ip(place: Site, flags: tuple[str, ...], wanted: dict[str, str]) -> None:
    Node(place, *flags).start(web(), *endpoints(web(), {"pod1": "ready"}))
    seen = {source: place.send(Flow(source, source, VIP, 80), 3) for source in wanted}
    assert seen == {source: Counter({("pod1", sender): 3}) for source, sender in wanted.items()}


SECOND = "192.168.56.13"


@pytest.fixture
def second_address(place: Site) -> Iterator[str]:
    place.node.add_address("eth0", f"{SECOND}/24")
    yield SECOND
    place.node.run("ip", "address", "del", f"{SECOND}/24", "dev", "eth0")


def reached(place: Site, address: str, source: str = "client") -> str:
    ((who, _),) = place.send(Flow("node port", source, address, 31111), 1)
    return who


SERVED: list[tuple[str, tuple[str, ...], dict[str, str]]] = [
    ("everywhere", (), {NODE: "pod1", SECOND: "pod1", NODE6: "pod1"}),
    ("on one address", (f"--nodeport-addresses={NODE}/32",), {NODE: "pod1", SECOND: "refused", NODE6: "pod1"}),
    ("on all of a network", ("--nodeport-addresses=192.168.56.0/24",), {NODE: "pod1", SECOND: "pod1"}),
    (
        "of the other family too",
        (f"--nodeport-addresses={SECOND}/32,fd00:99::/64",),
        {SECOND: "pod1", NODE: "refused", NODE6: "refused"},
    ),
]


@pytest.mark.parametrize(("flags", "wanted"), [row[1:] for row in SERVED], ids=[row[0] for row in SERVED])
def test_on_which_addresses_a_node_port_answers(
    place: Site, second_address: str, flags: tuple[str, ...], wanted: dict[str, str]
) -> None:
    Node(place, *CIDR, *flags).start(web(), *endpoints(web(), {"pod1": "ready"}))
    assert {address: reached(place, address) for address in wanted} == wanted


LOOPBACK = [("on", (), "pod1"), ("off", ("--iptables-localhost-nodeports=false",), "refused")]


@pytest.mark.parametrize(("flags", "wanted"), [row[1:] for row in LOOPBACK], ids=[row[0] for row in LOOPBACK])
def test_a_node_port_on_loopback(place: Site, flags: tuple[str, ...], wanted: str) -> None:
    Node(place, *CIDR, *flags).start(web(), *endpoints(web(), {"pod1": "ready"}))
    assert reached(place, "127.0.0.1", "node") == wanted


def test_an_address_that_comes_later_is_served_after_the_next_audit(place: Site) -> None:
    node = Node(place, *CIDR, "--nodeport-addresses=192.168.56.0/24").start(web(), *endpoints(web(), {"pod1": "ready"}))
    place.node.add_address("eth0", f"{SECOND}/24")
    try:
        assert reached(place, SECOND) == "refused"
        node.run(35)
        assert reached(place, SECOND) == "pod1"
    finally:
        place.node.run("ip", "address", "del", f"{SECOND}/24", "dev", "eth0")


# -- the command


def agent(*words: str) -> str:
    program = Path(sys.executable).parent / "svcplane-agent"
    return subprocess.run([program, *words], capture_output=True, text=True, check=True, timeout=30).stdout


def test_trace_tells_every_landing_and_the_rules_on_the_way(place: Site) -> None:
    Node(place, *CIDR).start(web(), *endpoints(web(), {"pod1": "ready", "pod3": "ready"}))
    where = ("--netns", place.node.name, "--iptables-flavour", "nft")
    said = agent("trace", f"{NODE}:31111", "--from", CLIENT, *where)
    for word in ("10.244.1.2:8080", "10.244.2.2:8080", "50", "masquerade", "KUBE-NODEPORTS", "KUBE-EXT-", "KUBE-SEP-"):
        assert word in said
    assert PODS["pod2"] not in said


def test_objects_of_the_site_decode() -> None:
    """A guard of this file's own helpers: a kind that is not decoded would make every test above vacuous."""
    assert {type(msgspec.convert(each, KINDS[each["kind"]])) for each in (web(), *endpoints(web(), ALL))} == {
        Service,
        EndpointSlice,
    }

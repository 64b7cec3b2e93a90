"""The hosts of the flow table as network namespaces, and what it takes to see where a connection really lands.

client ─┐                       ┌─ pod1 ─┐
node ───┼─ switch (a bridge)    │  pod2  ├ routed veths on node
backend ┘  holds pod3's address └────────┘
"""

from __future__ import annotations

import os
import re
import selectors
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from support.flows import BACKEND, BACKEND6, CLIENT, CLIENT6, NODE, NODE6, PODS, PODS6, Flow
from svclab import netns
from svclab.cluster import removal, state
from svclab.cluster.plan import Plan
from svclab.cluster.state import Lab
from svclab.netns import Host

TARGETS = (("tcp", 8080), ("tcp", 8443), ("tcp", 5353), ("udp", 5353))
# A refusal that arrives while connect() still holds the socket is only noted; the SYN sent again after 1 s ends it.
TIMEOUT = 2.5
OWNED = re.compile(rf"{netns.PREFIX}(?P<lab>t(?P<owner>\d+)(?P<tag>[a-z]?))-")


class Site:
    """All hosts, connected and routed. `node` has no rules yet."""

    def __init__(self, tag: str) -> None:
        prefix = f"{netns.PREFIX}t{os.getpid()}-{tag}-"
        names = ("switch", "node", "backend", "client", "pod1", "pod2")
        self._hosts = {name: Host(prefix + name) for name in names}
        self._responders: Responders | None = None

    def __getitem__(self, name: str) -> Host:
        return self._hosts[{"pod3": "backend"}.get(name, name)]

    @property
    def node(self) -> Host:
        return self["node"]

    def build(self) -> None:
        for host in self._hosts.values():
            host.create()
        for name, four, six in (("node", NODE, NODE6), ("backend", BACKEND, BACKEND6), ("client", CLIENT, CLIENT6)):
            netns.connect(self[name], "eth0", self["switch"], name)
            self[name].add_address("eth0", f"{four}/24", f"{six}/64")
        netns.add_bridge(self["switch"], "br0", ["node", "backend", "client"])
        for pod in ("pod1", "pod2"):
            netns.attach_pod(self.node, self[pod], pod, PODS[pod], PODS6[pod])
        self["backend"].add_address("lo", f"{PODS['pod3']}/32", f"{PODS6['pod3']}/128")
        for host, via, via6, four, six in (
            ("node", BACKEND, BACKEND6, "10.244.2.0/24", "fd00:10:244:2::/64"),
            ("backend", NODE, NODE6, "10.244.1.0/24", "fd00:10:244:1::/64"),
            # Service addresses lead to the node, as a route announced by a load balancer would.
            ("client", NODE, NODE6, "10.0.0.0/8", "fd00:10::/32"),
            ("client", NODE, NODE6, "203.0.113.0/24", "fd00:203::/64"),
            ("client", NODE, NODE6, "192.168.56.200/29", "fd00:56::200/125"),
            ("backend", NODE, NODE6, "10.96.0.0/16", "fd00:10:96::/112"),
        ):
            self[host].add_route(four, via=via)
            self[host].add_route(six, via=via6)
        # The kernel sends few refusals a second to one address; the table asks for many.
        self.node.sysctl("ipv4/icmp_ratelimit", "0")
        self.node.sysctl("ipv6/icmp/ratelimit", "0")
        # A packet that no rule takes must not come back as "no route": it would look like a refusal.
        self.node.add_route("default", via=BACKEND)
        self.node.add_route("default6", via=BACKEND6)
        self._responders = Responders(self)

    def remove(self) -> None:
        if self._responders is not None:
            self._responders.close()
        for host in self._hosts.values():
            host.remove()

    def send_all(self, flows: Iterable[Flow]) -> dict[str, Counter[tuple[str, str]]]:
        """`send` for every row, by its id; often enough to meet each of three pods but for a chance of 2^-30.

        Side by side, because what is dropped or refused takes seconds to be known.
        """
        with ThreadPoolExecutor(16) as senders:
            sent = {flow.id: senders.submit(self.send, flow, 1 if flow.otherwise else 60) for flow in flows}
            return {name: each.result() for name, each in sent.items()}

    def send(self, flow: Flow, times: int) -> Counter[tuple[str, str]]:
        """What came of so many connections: (pod or "refused" or "dropped", whom it saw).

        A pod sees the "sender", the "node" (which is also its own sender's address), or another address.
        """
        seen: Counter[tuple[str, str]] = Counter()
        with self[flow.source].entered():
            for _ in range(times):
                seen[self._connection(flow)] += 1
        return seen

    def _connection(self, flow: Flow) -> tuple[str, str]:
        six = ":" in flow.address
        kind = socket.SOCK_STREAM if flow.protocol == "tcp" else socket.SOCK_DGRAM
        with socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind) as sender:
            sender.settimeout(TIMEOUT)
            if flow.source == "pod3":
                sender.bind((PODS6["pod3"] if six else PODS["pod3"], 0))
            try:
                sender.connect((flow.address, flow.port))
                sender.send(b"who are you?")
                answer = sender.recv(100).decode()
            except ConnectionRefusedError:
                return "refused", ""
            except TimeoutError:
                return "dropped", ""
            own = sender.getsockname()[0]
        pod, _, peer = answer.partition(" ")
        return pod, "node" if peer in (NODE, NODE6) else "sender" if peer == own else peer


class Responders:
    """Every pod listens on every target and answers with its name and the address it sees. One thread for all."""

    def __init__(self, site: Site) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        for pod in PODS:
            for protocol, number in TARGETS:
                for address in (PODS[pod], PODS6[pod]):
                    with site[pod].entered():
                        listening = _listen(protocol, address, number)
                    self._selector.register(listening, selectors.EVENT_READ, (pod, protocol))
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._wake.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # all of them are sockets
        self._selector.close()

    def _answer(self) -> None:
        while True:
            for key, _ in self._selector.select():
                listening = key.fileobj
                assert isinstance(listening, socket.socket)
                if listening is self._woken:
                    return
                pod, protocol = key.data
                with suppress(OSError):
                    if protocol == "udp":
                        _, peer = listening.recvfrom(100)
                        listening.sendto(f"{pod} {peer[0]}".encode(), peer)
                    else:
                        connection, peer = listening.accept()
                        with connection:
                            connection.sendall(f"{pod} {peer[0]}".encode())


def _listen(protocol: str, address: str, number: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    listening = socket.socket(family, kind)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((address, number))
    if protocol == "tcp":
        listening.listen(256)
    return listening


@contextmanager
def site(tag: str) -> Iterator[Site]:
    """A site for as long as the block lasts; what a crashed run left behind is removed first."""
    remove_abandoned()
    found = Site(tag)
    try:
        found.build()
        yield found
    finally:
        found.remove()


@contextmanager
def lone_host(tag: str) -> Iterator[Host]:
    """One namespace with nothing but loopback, for tests of the kernel's tables alone."""
    remove_abandoned()
    host = Host(f"{netns.PREFIX}t{os.getpid()}-{tag}")
    try:
        yield host.create()
    finally:
        host.remove()


def remove_abandoned() -> None:
    """Removes the namespaces of test processes that are gone, and whole labs (`labs.plan_of`) with what lives there."""
    ours = [found for found in map(OWNED.match, netns.names()) if found is not None]
    abandoned = [found for found in ours if not os.path.exists(f"/proc/{found['owner']}")]
    for lab in {found["lab"] for found in abandoned if found["tag"]}:
        removal.remove(Lab(Plan(name=lab), state.folder_of(lab)))
    for found in abandoned:
        if not found["tag"]:
            Host(found.string).remove()

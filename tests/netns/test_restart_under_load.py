"""Connections are opened all the time while an agent starts, writes every service anew, and heals: which ones fail?"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from support.crowd import cluster_ip, crowd_service, crowd_slice, name_of
from support.site import lone_host
from support.stepped import Stepped
from support.waiting import eventually
from support.worlds import endpoint, slice_of
from svcagent.dialect import MOST_SERVICES
from svckube.objects import KubeObject
from svckube.stream import Deleted
from svclab.netns import Host
from svcnet.writers import Iptables

pytestmark = [pytest.mark.netns, pytest.mark.timeout(300)]

SERVICES = 3000
LIVE = (0, SERVICES // 2, SERVICES - 1)
"""The services that are connected to: the first, the middle one and the last."""
POD = "10.244.9.9"


@pytest.fixture
def host() -> Iterator[Host]:
    with lone_host("load") as found:
        found.add_address("lo", f"{POD}/32")
        found.add_route("default", via="127.0.0.1")
        with found.entered():
            yield found


@pytest.fixture
def pod(host: Host) -> Iterator[None]:
    """Takes connections at the endpoints' address, and ends them."""
    with socket.create_server((POD, 8080), backlog=512) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    listening.accept()[0].close()

        serving = threading.Thread(target=serve)
        serving.start()
        yield
        listening.shutdown(socket.SHUT_RDWR)
        serving.join()


class Clients:
    """A thread that connects to each live service in turn; how many connections it made, and those that failed."""

    def __init__(self, host: Host) -> None:
        self.made = 0
        self.failed: list[str] = []
        self._host = host
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._connect)

    def __enter__(self) -> Clients:
        self._thread.start()
        eventually(lambda: self.made > len(LIVE), "connections are made")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _connect(self) -> None:
        with self._host.entered():
            while not self._stop.is_set():
                for number in LIVE:
                    try:
                        with socket.create_connection((cluster_ip(number), 80), timeout=0.9) as made:
                            made.settimeout(60)  # it is connected: what follows waits for threads of a busy machine
                            made.recv(1)  # until it is accepted: a queue that is full would drop the next one
                            # Ends with a reset: a pod's socket in TIME_WAIT may turn away the next client of that port.
                            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        self.made += 1
                    except OSError as error:
                        self.failed.append(f"{name_of(number)}: {error}")


def objects(count: int = SERVICES) -> list[KubeObject]:
    found: list[KubeObject] = [crowd_service(number) for number in range(count)]
    live = {number: slice_of(name_of(number), endpoint(POD), version="1") for number in LIVE}
    return [*found, *(live.get(number) or crowd_slice(number) for number in range(count))]


def test_no_connection_fails_while_a_restarted_agent_writes_every_service_anew(host: Host, pod: None) -> None:
    """The new one has another cluster CIDR, so that every service's chain is another; the first one just stops."""
    found = objects()
    Stepped("nft", "--cluster-cidr", "10.244.0.0/16", families=["IPv4"]).start(*found)
    with Clients(host) as clients:
        before = clients.made
        again = Stepped("nft", "--cluster-cidr", "10.0.0.0/8", families=["IPv4"])
        again.start(*found)
        assert again.metric("svcplane_chains_written_total") >= SERVICES
        assert again.agent.livez()[0] == 200
        assert clients.made > before + 10, "not much was seen of the write"
    assert clients.failed == []


def test_no_connection_fails_while_an_agent_takes_a_node_over_and_finds_it_right(host: Host, pod: None) -> None:
    found = objects()
    Stepped("nft", families=["IPv4"]).start(*found)
    with Clients(host) as clients:
        again = Stepped("nft", families=["IPv4"])
        again.start(*found)
        assert again.metric("svcplane_chains_written_total") == 0
    assert clients.failed == []


@pytest.mark.parametrize(("before", "after"), [("flat", "tree"), ("tree", "flat")])
def test_no_connection_fails_while_lists_become_trees_and_trees_lists(
    host: Host, pod: None, before: str, after: str
) -> None:
    found = objects()
    Stepped("nft", f"--dispatch={before}", families=["IPv4"]).start(*found)
    with Clients(host) as clients:
        again = Stepped("nft", f"--dispatch={after}", families=["IPv4"])
        again.start(*found)
        assert again.metric("svcplane_chains_written_total") > SERVICES / 8
        again.run(60)
        assert again.metric("svcplane_healed_total") == 0
    assert clients.failed == []


def test_no_connection_fails_while_a_cluster_grows_beyond_a_list_and_shrinks_again(host: Host, pod: None) -> None:
    kept = [each for number in LIVE for each in (crowd_service(number), slice_of(name_of(number), endpoint(POD)))]
    numbers = [number for number in range(1, MOST_SERVICES + 100) if number not in LIVE]
    stepped = Stepped("nft", families=["IPv4"])
    stepped.start(*kept)
    with Clients(host) as clients:
        for some in (numbers[:900], numbers[900:]):
            stepped.say(*(each for number in some for each in (crowd_service(number), crowd_slice(number))))
        assert "-j KUBE-SVC-10.96." in Iptables("IPv4", "nft").run("-t", "nat", "-S", "KUBE-SERVICES")
        stepped.say(*(Deleted(crowd_service(number)) for number in numbers[500:]))
        assert len(Iptables("IPv4", "nft").run("-t", "nat", "-S", "KUBE-SERVICES").splitlines()) > 500
        assert "/" not in "".join(re.findall(r":KUBE-SVC-\S+", Iptables("IPv4", "nft").dump("nat")))
    assert clients.failed == []

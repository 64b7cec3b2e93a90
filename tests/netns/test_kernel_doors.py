"""Conntrack, addresses, namespaces and counters: the small doors to the kernel."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.site import lone_host
from support.waiting import eventually
from svclab.netns import Host
from svcnet import accounting, conntrack, links
from svcnet.flow import Flow
from svcnet.links import NamespaceError
from svcnet.rules import Family
from svcnet.writers import Flavour, Iptables

pytestmark = pytest.mark.netns

TRACKED = "*filter\n-A OUTPUT -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n"
LOOPBACK = [("IPv4", "127.0.0.1"), ("IPv6", "::1")]


@pytest.fixture
def host() -> Iterator[Host]:
    with lone_host("doors") as found, found.entered():
        yield found


def talk(
    family: Family, address: str, protocol: socket.SocketKind, port: int = 0
) -> tuple[socket.socket, socket.socket]:
    """Two sockets of which one has sent to the other."""
    kind = socket.AF_INET if family == "IPv4" else socket.AF_INET6
    receiver, sender = socket.socket(kind, protocol), socket.socket(kind, protocol)
    receiver.bind((address, port))
    if protocol == socket.SOCK_STREAM:
        receiver.listen()
    sender.connect(receiver.getsockname()[:2])
    sender.send(b"x")
    return sender, receiver


@pytest.mark.parametrize(("family", "address"), LOOPBACK, ids=[row[0] for row in LOOPBACK])
def test_flows_are_read_and_deleted_by_family(host: Host, family: Family, address: str) -> None:
    other: Family = "IPv6" if family == "IPv4" else "IPv4"
    for each in (family, other):  # conntrack watches where some rule asks for it
        Iptables(each, "nft").restore(TRACKED)
    sender, receiver = talk(family, address, socket.SOCK_DGRAM)
    stream = talk(family, address, socket.SOCK_STREAM)
    wanted = Flow(*sender.getsockname()[:2], *receiver.getsockname()[:2], *receiver.getsockname()[:2])
    assert conntrack.udp_flows(family) == [wanted]
    assert conntrack.udp_flows(other) == []
    assert conntrack.delete(family, [wanted]) == 1
    assert conntrack.udp_flows(family) == []
    assert conntrack.delete(family, [wanted]) == 0, "what is gone already is no error"
    for each in (sender, receiver, *stream):
        each.close()


def test_totals_of_the_table(host: Host) -> None:
    Iptables("IPv4", "nft").restore(TRACKED)
    before = conntrack.totals()
    held = talk("IPv4", "127.0.0.1", socket.SOCK_DGRAM)
    after = conntrack.totals()
    assert after.entries == before.entries + 1
    assert after.max_entries > after.entries
    assert (after.insert_failed, after.dropped, after.early_dropped) == (0, 0, 0)
    for each in held:
        each.close()


def test_a_translated_flow_shows_where_its_answers_come_from(host: Host) -> None:
    rule = "-A OUTPUT -d 10.96.0.10/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.1:5353"
    Iptables("IPv4", "nft").restore(f"*nat\n{rule}\nCOMMIT\n")
    host.add_route("10.96.0.0/16", interface="lo")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        sender.sendto(b"x", ("10.96.0.10", 53))
        port = sender.getsockname()[1]
    assert conntrack.udp_flows("IPv4") == [Flow("127.0.0.1", port, "10.96.0.10", 53, "127.0.0.1", 5353)]


def test_many_flows(host: Host) -> None:
    Iptables("IPv4", "nft").restore(TRACKED)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for port in range(20000, 23000):
            sender.sendto(b"x", ("127.0.0.1", port))
    found = conntrack.udp_flows("IPv4")
    assert {flow.destination_port for flow in found} == set(range(20000, 23000))
    assert conntrack.delete("IPv4", found[:1500]) == 1500
    assert len(conntrack.udp_flows("IPv4")) == 1500


def test_without_the_right_to_it_the_conntrack_table_cannot_be_read(host: Host) -> None:
    program = (
        "from svcnet import conntrack\n"
        "for call in (lambda: conntrack.udp_flows('IPv4'), lambda: conntrack.delete('IPv4', [FLOW])):\n"
        "    try: call()\n"
        "    except conntrack.ConntrackError as error: print(error)\n"
    ).replace("FLOW", "conntrack.Flow('10.0.0.1', 1, '10.0.0.2', 2, '10.0.0.2', 2)")
    argv = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", sys.executable, "-c", program)
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.partition(":")[0] for line in said] == [
        "cannot read the IPv4 conntrack table",
        "cannot delete conntrack entry Flow(source='10.0.0.1', source_port=1, destination='10.0.0.2', "
        "destination_port=2, reply_source='10.0.0.2', reply_source_port=2)",
    ]


def test_addresses_of_every_interface(host: Host) -> None:
    assert links.local_addresses() == {"127.0.0.1", "::1"}
    host.add_address("lo", "192.0.2.1/32", "fd00:1::1/128")
    assert links.local_addresses() == {"127.0.0.1", "::1", "192.0.2.1", "fd00:1::1"}


def test_a_namespace_is_entered_by_name_and_by_path() -> None:
    def inside() -> str:
        return os.readlink("/proc/thread-self/ns/net")

    with lone_host("enter") as found:
        before = inside()
        with found.entered():
            wanted = inside()
        for spelling in (found.name, f"/run/netns/{found.name}"):
            with lone_host("back") as back, back.entered():
                links.enter(spelling)
                assert inside() == wanted
        assert inside() == before != wanted


@pytest.mark.parametrize("name", ["svcp-no-such-namespace", "/proc/self/no-such", "/etc/hostname"])
def test_a_namespace_that_is_none(name: str) -> None:
    with pytest.raises(NamespaceError, match=f"cannot enter network namespace '{name}': "):
        links.enter(name)
    assert not Path("/run/netns/svcp-no-such-namespace").exists()


def test_counters_exist_and_count_or_are_not_to_be_had(host: Host) -> None:
    """Kernels without nfnetlink_acct say no; then nothing may be counted on."""
    able = accounting.ensure(["svcplane-test", "svcplane-other"])
    assert accounting.ensure(["svcplane-test"]) is able, "asking twice changes nothing"
    if able:
        assert accounting.packets("svcplane-test") == 0
    with pytest.raises(OSError, match=r".+"):
        accounting.packets("svcplane-no-such")


@pytest.mark.parametrize("flavour", ["nft", "legacy"])
def test_what_is_made_while_it_is_restored_may_take_longer_than_the_lock(
    host: Host, flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """iptables-legacy-restore leaves the alarm of its wait for the lock set, and an alarm ends a read."""
    monkeypatch.setattr("svcnet.writers.LOCK_SECONDS", 1)

    def pieces() -> Iterator[str]:
        yield "*nat\n:EARLY - [0:0]\n" + "# more than waits for company before it is handed over\n" * 20_000
        began = time.monotonic()
        eventually(lambda: time.monotonic() > began + 2, "the wait for the lock would be over")
        yield ":LATE - [0:0]\nCOMMIT\n"

    iptables = Iptables("IPv4", flavour)
    iptables.restore(pieces())
    assert ":LATE " in iptables.dump()

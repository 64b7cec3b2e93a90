"""`acl` beside the real CoreDNS: the same Corefile, the same questions, from several addresses of loopback."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dnslib import EDNS0, DNSRecord

from peers.core_dns import CoreDNS
from peers.processes import Process
from peers.reach import HttpServer, port_of, reserved_port
from support.questions import said_in
from support.resolvers import Address

pytestmark = pytest.mark.peers

COREFILE = """\
.:{$PORT} {
    bind 127.0.0.1
    ready 127.0.0.1:{$READY_PORT}
    prometheus 127.0.0.1:{$METRICS_PORT}
    acl example.org {
        allow net 127.0.0.2
        block type A net 127.0.0.3 127.0.1.0/24
        filter type A AAAA net 127.0.0.4
        drop type * net 127.0.0.5
    }
    acl {
        filter type MX
        block net 127.0.0.6
    }
    rewrite name old.example.net blocked.example.org
    hosts {
        192.0.2.1 blocked.example.org
        2001:db8::1 blocked.example.org
        192.0.2.2 other.example.net
    }
}
"""
CLIENTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.1.9", "127.0.0.4", "127.0.0.5", "127.0.0.6")
QUESTIONS = [
    *((f"{name}.", kind) for name in ("blocked.example.org", "BLOCKED.example.org") for kind in ("A", "AAAA")),
    *(("other.example.net.", kind) for kind in ("A", "AAAA", "MX")),
    ("old.example.net.", "A"),
]


@pytest.fixture(scope="module")
def pair(
    binaries: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Address, Address, tuple[int, int]]]:
    """Ours, CoreDNS, and where their metrics are."""
    folder = tmp_path_factory.mktemp("acl")
    with reserved_port("127.0.0.1") as reservation, reserved_port("127.0.0.1") as other:
        ports = port_of(reservation), port_of(other)
    theirs = COREFILE.replace("{$METRICS_PORT}", str(ports[0]))
    ours = COREFILE.replace("{$METRICS_PORT}", str(ports[1])).replace("{$PORT}", "0").replace("{$READY_PORT}", "0")
    (folder / "Ours").write_text(ours)
    log = folder / "ours.log"
    program = Path(sys.executable).with_name("svcplane-dns")
    with (
        CoreDNS(binaries, folder, kubeconfig=folder / "none", corefile=theirs) as coredns,
        Process((program, "run", "--conf", folder / "Ours"), log) as process,
    ):
        process.start()

        def port() -> int:
            _, found, rest = log.read_text().partition("serving dns addresses=127.0.0.1:")
            return int(rest.split()[0]) if found else 0

        own = process.wait_until(port, "the DNS ports are open")
        yield ("127.0.0.1", own), ("127.0.0.1", coredns.port), (ports[1], ports[0])


def ask(server: Address, client: str, name: str, kind: str, edns: bool, proto: str) -> DNSRecord | None:
    """The reply; None if none comes in time. Only the client whose questions are dropped does not wait long."""
    query = DNSRecord.question(name, kind)
    if edns:
        query.add_ar(EDNS0(udp_len=1400, flags="do"))
    packet = bytes(query.pack())
    kinds = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}
    with socket.socket(socket.AF_INET, kinds[proto]) as asking:
        asking.bind((client, 0))
        asking.settimeout(1.0 if client == "127.0.0.5" else 10.0)
        asking.connect(server)
        try:
            if proto == "udp":
                asking.send(packet)
                return DNSRecord.parse(asking.recv(4096))
            asking.sendall(len(packet).to_bytes(2) + packet)
            size = int.from_bytes(asking.recv(2))
            return DNSRecord.parse(asking.recv(size)) if size else None
        except TimeoutError:
            return None


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_both_say_the_same(pair: tuple[Address, Address, tuple[int, int]], client: str, proto: str) -> None:
    for name, kind in QUESTIONS[:2] if client == "127.0.0.5" else QUESTIONS:
        for edns in (False, True):
            ours, theirs = (ask(server, client, name, kind, edns, proto) for server in pair[:2])
            assert (ours is None) == (theirs is None), (name, kind)
            if ours is None or theirs is None:
                continue
            assert said_in(bytes(ours.pack())) == said_in(bytes(theirs.pack())), (name, kind)
            if edns and not name.startswith("old"):  # behind `rewrite` a reply of ours has no EDNS options
                assert errors(ours) == errors(theirs), (name, kind)


def errors(message: DNSRecord) -> list[bytes]:
    """Extended DNS Errors (RFC 8914), as octets."""
    return [
        bytes(option.data)
        for record in message.ar
        if record.rtype == 41
        for option in record.rdata
        if option.code == 15
    ]


def test_both_count_the_same(pair: tuple[Address, Address, tuple[int, int]]) -> None:
    """By action and zone; the server's address is its own."""
    ours, theirs = (
        {
            (line.partition("{")[0], tuple(sorted(re.findall(r'(zone|view)="(.*?)"', line)))): float(
                line.rpartition(" ")[2]
            )
            for line in HttpServer("127.0.0.1", port).request("GET", "/metrics").body.decode().splitlines()
            if line.startswith("coredns_acl_")
        }
        for port in pair[2]
    )
    allowed = "coredns_acl_allowed_requests_total", (("view", ""),)
    assert ours.pop(allowed) <= theirs.pop(allowed)  # CoreDNS is asked once more, to see whether it is there
    assert ours == theirs
    assert ours

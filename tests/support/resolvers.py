"""Both ends of DNS on loopback: asking a server, and being the resolver outside the cluster.

In: packets. Out: packets. `Upstream` answers what questions.UPSTREAM says; some names make it misbehave instead, in the
ways that a client of it has to survive.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from dnslib import OPCODE, QTYPE, RCODE, RR, DNSRecord

from support.questions import UPSTREAM

Address = tuple[str, int]

TRUNCATED, REFUSED, FORGED, SILENT = (f"{name}.example.org." for name in ("truncated", "refused", "forged", "silent"))
"""Names that get TC, REFUSED, two forged replies before the right one, nothing."""


def question(name: str, kind: str = "A", identity: int = 4711) -> bytes:
    """A plain query with RD, as a stub resolver sends it."""
    query = DNSRecord.question(name, kind)
    query.header.id = identity
    return bytes(query.pack())


@contextmanager
def datagrams(server: Address, seconds: float = 5.0) -> Iterator[socket.socket]:
    """A connected UDP socket: what comes from any other address never arrives."""
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        client.connect(server)
        yield client


def over_udp(server: Address, packet: bytes, seconds: float = 5.0) -> bytes:
    """The reply to one datagram. TimeoutError when none comes."""
    with datagrams(server, seconds) as client:
        client.send(packet)
        return client.recv(65535)


def over_tcp(server: Address, *packets: bytes, seconds: float = 5.0) -> list[bytes]:
    """All packets in one write on one connection, and as many replies in order."""
    with socket.create_connection(server, timeout=seconds) as client:
        client.sendall(b"".join(len(packet).to_bytes(2) + packet for packet in packets))
        stream = client.makefile("rb")
        return [stream.read(int.from_bytes(stream.read(2))) for _ in packets]


class Upstream:
    """A resolver on 127.0.0.1, UDP and TCP on one port. `asked` is what it was asked, as `name type proto`."""

    def __init__(self) -> None:
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.address: Address = self._tcp.getsockname()
        self._udp.bind(self.address)
        self.asked: list[str] = []
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._serve_udp, self._serve_tcp)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An empty datagram and a closed listener wake the two threads.
        with datagrams(self.address) as waking:
            waking.send(b"")
        self._tcp.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._udp.close()
        self._tcp.close()

    def _serve_udp(self) -> None:
        while True:
            packet, peer = self._udp.recvfrom(65535)
            if not packet:
                return
            for reply in self._replies(packet, "udp"):
                self._udp.sendto(reply, peer)

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection, suppress(OSError), connection.makefile("rb") as stream:
                packet = stream.read(int.from_bytes(stream.read(2)))
                for reply in self._replies(packet, "tcp"):
                    connection.sendall(len(reply).to_bytes(2) + reply)

    def _replies(self, packet: bytes, proto: str) -> list[bytes]:
        query = DNSRecord.parse(packet)
        name, kind = str(query.q.qname), QTYPE[query.q.qtype]
        self.asked.append(f"{name} {kind} {proto}")
        reply = query.reply(ra=1, aa=0)
        assert query.header.opcode == OPCODE.QUERY
        for line in UPSTREAM.get((name.lower(), kind), ()):
            reply.add_answer(*RR.fromZone(line))
        if name == SILENT:
            return []
        if name == REFUSED:
            reply.header.rcode = RCODE.REFUSED
        elif name == TRUNCATED:
            reply.header.tc = 1
        elif name == FORGED:
            reply.add_answer(*RR.fromZone(f"{FORGED} 60 IN A 192.0.2.99"))
            good = bytes(reply.pack())
            other = DNSRecord.question("other.example.org.").reply()
            other.header.id = query.header.id
            return [bytes([good[0] ^ 1]) + good[1:], bytes(other.pack()), good]
        elif not reply.rr:
            reply.header.rcode = RCODE.NXDOMAIN
        return [bytes(reply.pack())]

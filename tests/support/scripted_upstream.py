"""A resolver with a script: what it says to a question, and what it was asked, on UDP, TCP or TLS.

In: `SCRIPT`, names to replies as zone-file lines. Out: an `Upstream` that keeps TCP connections open, as real ones do.
The names say what their replies are for.
"""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass

from dnslib import EDNS0, QTYPE, RCODE, RR, DNSRecord

from support.resolvers import Upstream

ZONE = "example.org."


@dataclass(frozen=True, slots=True)
class Scripted:
    rcode: str = "NOERROR"
    answer: tuple[str, ...] = ()
    authority: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()
    cut: bool = False


def _soa(ttl: int, minimum: int) -> str:
    return f"example.org. {ttl} IN SOA ns.example.org. hostmaster.example.org. 7 3600 600 86400 {minimum}"


def _many(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name} 60 IN A 192.0.2.{number}" for number in range(1, count + 1))


SCRIPT: dict[str, Scripted] = {
    "plain": Scripted(answer=("plain.example.org. 60 IN A 192.0.2.80",)),
    "short": Scripted(answer=("short.example.org. 2 IN A 192.0.2.81",)),
    "zero": Scripted(answer=("zero.example.org. 0 IN A 192.0.2.82",)),
    "long": Scripted(answer=("long.example.org. 86400 IN A 192.0.2.83",)),
    "alias": Scripted(
        answer=(
            "alias.example.org. 300 IN CNAME host.example.org.",
            "host.example.org. 120 IN CNAME far.example.net.",
            "far.example.net. 50 IN A 192.0.2.84",
        )
    ),
    "dangling": Scripted(answer=("dangling.example.org. 300 IN CNAME nothing.example.net.",)),
    "two": Scripted(answer=("two.example.org. 60 IN A 192.0.2.1", "two.example.org. 40 IN A 192.0.2.2")),
    "mail": Scripted(
        answer=("mail.example.org. 60 IN MX 10 mx.example.org.",),
        authority=("example.org. 60 IN NS ns.example.org.",),
        additional=("mx.example.org. 60 IN A 192.0.2.25", "ns.example.org. 60 IN A 192.0.2.53"),
    ),
    "service": Scripted(answer=("service.example.org. 60 IN SRV 1 2 443 host.example.org.",)),
    "text": Scripted(answer=('text.example.org. 60 IN TXT "a" "b c"',)),
    "nodata": Scripted(authority=(_soa(30, 60),)),
    "nothing": Scripted("NXDOMAIN", authority=(_soa(30, 60),)),
    "nothing-said": Scripted("NXDOMAIN"),
    "refused": Scripted("REFUSED"),
    "failing": Scripted("SERVFAIL"),
    "cut": Scripted(answer=_many("cut.example.org.", 2), cut=True),
    "many": Scripted(answer=_many("many.example.org.", 60)),
    "brief": Scripted("NXDOMAIN", authority=(_soa(300, 7),)),
    "poison": Scripted(
        answer=("poison.example.org. 60 IN A 192.0.2.85", "bank.example.com. 60 IN A 192.0.2.66"),
        authority=("com. 60 IN NS ns.evil.example.",),
        additional=("www.example.com. 60 IN A 192.0.2.66",),
    ),
}


class ScriptedUpstream(Upstream):
    """`context`: TLS on the TCP port. `connections` counts what was accepted there; while `away` it says nothing."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self._context = context
        self.connections = 0
        self.away = False

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        connection.settimeout(30)
        with suppress(OSError), connection as plain:
            talking = self._context.wrap_socket(plain, server_side=True) if self._context is not None else plain
            stream = talking.makefile("rb")
            while size := int.from_bytes(stream.read(2)):
                for reply in self._replies(stream.read(size), "tcp"):
                    talking.sendall(len(reply).to_bytes(2) + reply)

    def _replies(self, packet: bytes, proto: str) -> list[bytes]:
        query = DNSRecord.parse(packet)
        name, kind = str(query.q.qname), QTYPE[query.q.qtype]
        edns = next((one for one in query.ar if one.rtype == QTYPE.OPT), None)
        flags = "".join(f" {word}" for word in ("rd", "cd", "ad") if getattr(query.header, word))
        self.asked.append(f"{name} {kind} {proto}{flags}{f' {edns.edns_len}' if edns is not None else ''}")
        if self.away:
            return []
        reply = query.reply(ra=1, aa=0)
        script = SCRIPT.get(name.lower().removesuffix("." + ZONE))
        if script is None:
            reply.header.rcode = RCODE.NXDOMAIN
            return [bytes(reply.pack())]
        reply.header.rcode = getattr(RCODE, script.rcode)
        if QTYPE[query.q.qtype] != "AAAA":
            for line in script.answer:
                reply.add_answer(*RR.fromZone(line))
        for line in script.authority:
            reply.add_auth(*RR.fromZone(line))
        for line in script.additional:
            reply.add_ar(*RR.fromZone(line))
        if edns is not None:
            reply.add_ar(EDNS0(udp_len=1232))
        limit = 65535 if proto == "tcp" else edns.edns_len if edns is not None else 512
        packed = bytes(reply.pack())
        if script.cut or len(packed) > limit:
            reply.header.tc = 1
            while len(packed := bytes(reply.pack())) > limit:
                reply.rr.pop()
        return [packed]

"""Forwarding and the cache beside the real CoreDNS: the same Corefile, the same questions, upstreams of one script.

Compared are the replies, and what the upstreams were asked. Each has upstreams of its own, so that one's questions are
not the other's.
"""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from dnslib import EDNS0, DNSRecord

from peers.core_dns import CoreDNS
from peers.processes import Process
from support.questions import Said, said_in
from support.resolvers import Address, over_tcp, over_udp
from support.scripted_upstream import SCRIPT, ScriptedUpstream

pytestmark = pytest.mark.peers

HEAD = "    bind 127.0.0.1\n    ready 127.0.0.1:{$READY_PORT}\n    errors\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """One question. `flags`: of "tcp", "do", "cd", "ad", "norec", and "size=N" for EDNS."""

    name: str
    type: str = "A"
    flags: tuple[str, ...] = ()

    def packet(self) -> bytes:
        query = DNSRecord.question(f"{self.name}.example.org." if not self.name.endswith(".") else self.name, self.type)
        query.header.id = 4711
        query.header.rd = int("norec" not in self.flags)
        query.header.cd, query.header.ad = int("cd" in self.flags), int("ad" in self.flags)
        sizes = [flag.removeprefix("size=") for flag in self.flags if flag.startswith("size=")]
        if sizes or "do" in self.flags:
            query.add_ar(EDNS0(udp_len=int(sizes[0]) if sizes else 1232, flags="do" if "do" in self.flags else ""))
        return bytes(query.pack())


@dataclass(frozen=True, slots=True)
class Heard:
    said: Said
    flags: str
    size: int


def ask(server: Address, asked: Asked) -> Heard:
    packet = asked.packet()
    reply = over_tcp(server, packet)[0] if "tcp" in asked.flags else over_udp(server, packet, 10)
    message = DNSRecord.parse(reply)
    flags = " ".join(word for word in ("ra", "tc", "rd", "cd", "ad") if getattr(message.header, word))
    opts = [one for one in message.ar if one.rtype == 41]
    return Heard(said_in(reply), flags, opts[0].edns_len if opts else 0)


@contextmanager
def svcplane_dns(folder: Path, corefile: str) -> Iterator[Address]:
    (folder / "Ours").write_text(corefile.replace("{$PORT}", "0").replace("{$READY_PORT}", "0"))
    log = folder / "svcplane-dns.log"
    program = Path(sys.executable).with_name("svcplane-dns")
    with Process((program, "run", "--conf", folder / "Ours"), log) as process:
        process.start()

        def port() -> int:
            _, _, rest = log.read_text().partition("serving dns addresses=127.0.0.1:")
            return int(rest.split()[0]) if rest else 0

        yield "127.0.0.1", process.wait_until(port, "the DNS ports are open")


class Side:
    """One of the two, with its upstreams."""

    def __init__(self, server: Address, upstreams: Sequence[ScriptedUpstream]) -> None:
        self.server, self.upstreams = server, upstreams

    def asked(self) -> list[list[str]]:
        """What each upstream was asked, without the probes that follow a failure, and nothing of it a second time."""
        found = [[one for one in upstream.asked if not one.startswith(". NS")] for upstream in self.upstreams]
        for upstream in self.upstreams:
            upstream.asked.clear()
        return found


@contextmanager
def both(
    binaries: Path, folder: Path, corefile: str, upstreams: int, context: ssl.SSLContext | None = None
) -> Iterator[list[Side]]:
    """Ours and CoreDNS. `<0>`, `<1>` ... in the Corefile are the addresses of the upstreams."""
    with ExitStack() as stack:
        ours, theirs = ([stack.enter_context(ScriptedUpstream(context)) for _ in range(upstreams)] for _ in range(2))

        def filled(behind: Sequence[ScriptedUpstream]) -> str:
            text = corefile
            for number, one in enumerate(behind):
                text = text.replace(f"<{number}>", f"{one.address[0]}:{one.address[1]}")
            return text

        mine = stack.enter_context(svcplane_dns(folder, filled(ours)))
        core = CoreDNS(binaries, folder, kubeconfig=folder, corefile=filled(theirs))
        stack.enter_context(core)
        sides = [Side(mine, ours), Side(("127.0.0.1", core.port), theirs)]
        for side in sides:
            side.asked()
        yield sides


def block(body: str, zone: str = ".") -> str:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return f"{zone}:{{$PORT}} {{\n{HEAD}{lines}}}\n"


ALL = [Asked(name) for name in SCRIPT]
MORE = [
    Asked("plain", "AAAA"), Asked("PlaiN"), Asked("unknown"), Asked("mail", "MX"), Asked("service", "SRV"),
    Asked("text", "TXT"), Asked("nodata", "TXT"), Asked("plain", flags=("tcp",)), Asked("many", flags=("tcp",)),
    Asked("many", flags=("size=4096",)), Asked("plain", flags=("do",)), Asked("plain", flags=("cd",)),
    Asked("plain", flags=("norec",)), Asked("two", flags=("size=1232", "ad")),
]  # fmt: skip
FILES = {
    "plain": block("forward . <0>"),
    "over TCP": block("forward . <0> {\n force_tcp\n}"),
    "UDP first": block("forward . <0> {\n prefer_udp\n}"),
    "part of the names": block("forward example.org <0> {\n except plain.example.org\n}"),
    "in order": block("forward . <0> <1> {\n policy sequential\n}"),
    "cache": block("forward . <0>\ncache"),
    "cache 30": block("forward . <0>\ncache 30"),
    "cache, sizes": block("forward . <0>\ncache {\n success 2000 40 0\n denial 2000 20 0\n servfail 0\n}"),
    "cache of answers only": block("forward . <0>\ncache {\n disable denial\n}"),
    "cache of denials only": block("forward . <0>\ncache {\n disable success example.org\n keepttl\n}"),
    "cache over TCP": block("forward . <0> {\n force_tcp\n}\ncache 30"),
    "hosts": block(
        "hosts {\n 192.0.2.7 plain.example.org\n 2001:db8::7 mail.example.org\n fallthrough\n}\nforward . <0>"
    ),
    "hosts alone": block("hosts {\n 192.0.2.7 plain.example.org\n ttl 60\n}\nforward . <0>"),
    "hosts, cached": block("hosts {\n 192.0.2.7 plain.example.org\n fallthrough\n}\ncache 30\nforward . <0>"),
    "rewritten": block("rewrite name exact nodata.example.org plain.example.org\nforward . <0>"),
    "a rewritten suffix": block("rewrite stop name suffix example.com example.org answer auto\nforward . <0>"),
    "zones, one that keeps": block("forward . <0>\ncache 30", "plain.example.org")
    + block("forward . <1> {\n force_tcp\n}"),
}


def accepted(asked: Asked, file: str, theirs: Heard) -> Heard:
    """What CoreDNS said, without the differences for which dns/README.md gives a reason."""
    said = theirs.said
    if file == "part of the names" and not theirs.flags.startswith("ra"):  # a name that is nobody's is no failure
        said = replace(said, rcode="REFUSED")
    if "cache" in file or "keeps" in file:  # a cache is no authority; an entry of hosts is, with a cache or without
        said = replace(said, aa="hosts" in file and asked.name.lower() == "plain")
    if asked.name == "poison":  # records about something else are left out
        said = replace(said, answer=said.answer[-1:], authority=(), additional=())
    if asked.name == "brief" and "cache" in file:  # the SOA's minimum counts
        said = replace(said, authority=tuple(re.sub(r"^(\S+) \d+", r"\1 7", line) for line in said.authority))
    return replace(theirs, said=said)


@pytest.mark.parametrize("file", FILES)
def test_the_same_answers_and_the_same_questions_behind_them(binaries: Path, tmp_path: Path, file: str) -> None:
    text = FILES[file]
    with both(binaries, tmp_path, text, upstreams=text.count("<")) as (ours, theirs):
        different = []
        for question in (*ALL, *MORE, *ALL):
            heard, expected = ask(ours.server, question), ask(theirs.server, question)
            behind, expected_behind = ours.asked(), theirs.asked()
            expected = accepted(question, file, expected)
            if (heard, behind) != (expected, expected_behind):
                different.append(f"{question}\n  ours   {heard} {behind}\n  theirs {expected} {expected_behind}")
        assert not different, "\n".join(different)

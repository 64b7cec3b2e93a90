"""A node with a pod on it and cluster DNS in another pod, behind two Services as kube-proxy would translate them.

    pod 10.244.1.5 ── node ── dns 10.244.1.53        kube-dns 10.96.0.10, kube-dns-upstream 10.96.0.11

In: a tag for the names of namespaces. Out: a `NodeDns`. Cluster DNS says to every name what `Resolver.address` is at
the moment, with a TTL of its own, and notes who asked over what.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dnslib import QTYPE, RR, A, DNSRecord

from support.site import remove_abandoned
from svclab import netns
from svclab.netns import Host

PROGRAM = Path(sys.executable).parent / "svcplane-dns"
POD, POD6, DNS, DNS6 = "10.244.1.5", "fd00:244::5", "10.244.1.53", "fd00:244::53"
KUBE_DNS, UPSTREAM, KUBE_DNS6, UPSTREAM6 = "10.96.0.10", "10.96.0.11", "fd00:96::a", "fd00:96::b"
TTL = 5

COREFILE = """\
.:53 {
    errors
    cache {
        success 9984 30
        denial 9984 5
        servfail 0
    }
    reload 2s 1s
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . __PILLAR__CLUSTER__DNS__ {
        force_tcp
    }
    health __PILLAR__LOCAL__DNS__:8080
}
"""


class Resolver:
    """Answers on a host, UDP and TCP, from `serve` until `close`."""

    def __init__(self) -> None:
        self.address = "192.0.2.1"
        self.asked: Counter[str] = Counter()
        self._stopping = False
        self._sockets: list[socket.socket] = []

    def serve(self, host: Host, *addresses: str) -> None:
        with host.entered():
            for address in addresses:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                udp = socket.socket(family, socket.SOCK_DGRAM)
                udp.bind((address, 53))
                self._sockets += [udp, socket.create_server((address, 53), family=family)]
        for one, work in zip(self._sockets, (self._datagrams, self._accept) * len(addresses), strict=True):
            threading.Thread(target=work, args=(one,), daemon=True).start()

    def close(self) -> None:
        self._stopping = True
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _said(self, packet: bytes, proto: str) -> bytes:
        query = DNSRecord.parse(packet)
        self.asked[proto] += 1
        reply = query.reply(ra=1, aa=0)
        if query.q.qtype == QTYPE.A:
            reply.add_answer(RR(query.q.qname, QTYPE.A, ttl=TTL, rdata=A(self.address)))
        return bytes(reply.pack())

    def _datagrams(self, udp: socket.socket) -> None:
        with suppress(OSError):
            while not self._stopping:
                packet, peer = udp.recvfrom(65535)
                if packet:
                    udp.sendto(self._said(packet, "udp"), peer)

    def _accept(self, tcp: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = tcp.accept()
                self._sockets.append(connection)
                threading.Thread(target=self._stream, args=(connection,), daemon=True).start()

    def _stream(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as stream:
            while size := stream.read(2):
                reply = self._said(stream.read(int.from_bytes(size)), "tcp")
                connection.sendall(len(reply).to_bytes(2) + reply)


class NodeDns:
    """Hosts and processes; `dns` is cluster DNS."""

    def __init__(self, tag: str, flavour: str) -> None:
        prefix = f"{netns.PREFIX}t{os.getpid()}-{tag}-"
        self.node, self.pod, self._dns_pod = (Host(prefix + name) for name in ("node", "pod", "dns"))
        self.tables = {"IPv4": f"iptables-{flavour}", "IPv6": f"ip6tables-{flavour}"}
        self._started: list[subprocess.Popen[bytes]] = []
        self.dns = Resolver()

    def build(self) -> None:
        for host in (self.node, self.pod, self._dns_pod):
            host.create()
        netns.attach_pod(self.node, self.pod, "pod", POD, POD6)
        netns.attach_pod(self.node, self._dns_pod, "dns", DNS, DNS6)
        # As on any node: whoever has no other address asks from this one, and what is not known leads outside.
        self.node.add_address("lo", "192.168.56.11/32", "fd00:56::11/128")
        self.node.add_route("default", interface="pod")
        self.node.add_route("default6", interface="pod")
        for family, services, pod, cidr in (
            ("IPv4", (KUBE_DNS, UPSTREAM), f"{DNS}:53", "10.244.0.0/16"),
            ("IPv6", (KUBE_DNS6, UPSTREAM6), f"[{DNS6}]:53", "fd00:244::/32"),
        ):
            for service in services:
                for protocol in ("udp", "tcp"):
                    to = ("-d", service, "-p", protocol, "--dport", "53")
                    for chain in ("PREROUTING", "OUTPUT"):
                        self.rule(
                            family, "nat", "-A", chain, *to, "!", "-s", cidr, "-j", "MARK", "--set-mark", "0x4000"
                        )
                        self.rule(family, "nat", "-A", chain, *to, "-j", "DNAT", "--to-destination", pod)
            self.rule(family, "nat", "-A", "POSTROUTING", "-m", "mark", "--mark", "0x4000", "-j", "MASQUERADE")
        self.dns.serve(self._dns_pod, DNS, DNS6)

    def remove(self) -> None:
        for process in self._started:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait(10)
        self.dns.close()
        for pid in self.pids():  # guardians
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for host in (self.node, self.pod, self._dns_pod):
            host.remove()

    def rule(self, family: str, table: str, *words: str) -> None:
        self.node.run(self.tables[family], "-w", "5", "-t", table, *words)

    def start(self, folder: Path, *flags: str, corefile: str = COREFILE) -> subprocess.Popen[bytes]:
        """`svcplane-dns nodelocal` on the node; not waited for."""
        (folder / "Corefile").write_text(corefile)
        words = ("nodelocal", f"--conf={folder}/Corefile", "--metrics-listen-address=127.0.0.1:9353", *flags)
        return self.run(folder, [str(PROGRAM), *words])

    def run(self, folder: Path, argv: Sequence[str], **environment: str) -> subprocess.Popen[bytes]:
        """A program on the node."""
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(self.node.argv(*argv), stdout=log, stderr=log, env={**os.environ, **environment})
        self._started.append(process)
        return process

    def pids(self) -> list[int]:
        """Of the node's processes."""
        return [int(word) for word in subprocess.run(
            ["ip", "netns", "pids", self.node.name], capture_output=True, text=True, check=True
        ).stdout.split()]  # fmt: skip

    def saved(self, family: str = "IPv4") -> list[str]:
        """The rules of raw and filter."""
        tables = [self.node.run(f"{self.tables[family]}-save", "-t", table) for table in ("raw", "filter")]
        return [line for text in tables for line in text.splitlines() if line.startswith("-A")]

    def addresses(self) -> set[str]:
        """Of the node's interfaces other than those to its pods."""
        with self.node.route_socket() as route:
            return {str(message.get_attr("IFA_ADDRESS")) for message in route.get_addr()}

    def has_link(self) -> bool:
        with self.node.route_socket() as route:
            return bool(route.link_lookup(ifname="nodelocaldns"))

    def ask(self, where: Host, server: str, name: str, *, proto: str = "udp", seconds: float = 5.0) -> str:
        """The address; OSError if nobody answers."""
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with where.entered():
            client = socket.socket(family, socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM)
        with client:
            client.settimeout(seconds)
            client.connect((server, 53))
            packet = bytes(DNSRecord.question(name).pack())
            client.sendall(packet if proto == "udp" else len(packet).to_bytes(2) + packet)
            said = client.recv(65535)
            if proto == "tcp":
                while len(said) < 2 or len(said) < 2 + int.from_bytes(said[:2]):
                    said += client.recv(65535)
                said = said[2:]
        return " ".join(str(record.rdata) for record in DNSRecord.parse(said).rr)


class Asking:
    """Asks in a loop, for a new name each time, until `stop`; `lost` are the questions that failed."""

    def __init__(self, site: NodeDns, where: Host, server: str, seconds: float = 6.0) -> None:
        self.good, self.lost = 0, list[str]()
        self._over = threading.Event()
        self._arguments = site, where, server, seconds
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(30)

    def _ask(self) -> None:
        site, where, server, seconds = self._arguments
        while not self._over.is_set():
            began = time.monotonic()
            try:
                assert site.ask(where, server, f"n{self.good}-{len(self.lost)}.example.org", seconds=seconds)
                self.good += 1
            except (OSError, AssertionError) as error:
                self.lost.append(f"{time.monotonic() - began:.3f} s: {error!r}")


@contextmanager
def node_dns(tag: str, flavour: str = "nft") -> Iterator[NodeDns]:
    """Built, and removed at the end with all its processes."""
    remove_abandoned()
    site = NodeDns(tag, flavour)
    try:
        site.build()
        yield site
    finally:
        site.remove()

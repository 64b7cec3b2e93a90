"""The table of questions, put to the real CoreDNS and to our process side by side, over one real API server.

Both forward to the same resolver. What they say is compared with each other and with the table; where the table says
that they differ, CoreDNS has to differ as it says. Then the life of the process: changes followed, the API server
gone, a start without it.
"""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from dnslib import EDNS0, QTYPE, RCODE, DNSRecord, EDNSOption

from peers.control_plane import ControlPlane
from peers.core_dns import CoreDNS
from peers.our_dns import SvcplaneDns, svcplane_dns
from peers.processes import Process
from support.questions import FORWARDED, ROWS, Row, Said, cluster, said_in
from support.resolvers import Address, Upstream, datagrams, over_tcp, over_udp, question
from support.waiting import eventually

pytestmark = pytest.mark.peers

COREFILE = """\
.:{{$PORT}} {{
    errors
    ready 127.0.0.1:{{$READY_PORT}}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {{$KUBECONFIG}}
        pods insecure
    }}
    forward . {upstream}
}}
"""
SERVICES = "/api/v1/namespaces/prod/services"
WEB = question("web.prod.svc.cluster.local.")


def own_address() -> str:
    """One of this machine's, not loopback: the API takes no other for an endpoint."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 53))
        address: str = probe.getsockname()[0]
        return address


def fill(control_plane: ControlPlane) -> None:
    for one in cluster(own_address()):
        namespace = one["metadata"].get("namespace")
        group = "/api/v1" if one["apiVersion"] == "v1" else f"/apis/{one['apiVersion']}"
        plural = {"Namespace": "namespaces", "Service": "services", "EndpointSlice": "endpointslices"}[one["kind"]]
        control_plane.request("POST", f"{group}{f'/namespaces/{namespace}' if namespace else ''}/{plural}", one)


class Pair:
    """The two servers over one API server."""

    def __init__(self, control_plane: ControlPlane, ours: SvcplaneDns, coredns: Address) -> None:
        self.control_plane = control_plane
        self.ours = ours
        self.coredns = coredns

    def both(self, name: str, kind: str = "A") -> tuple[Said, Said]:
        packet = question(name, kind)
        return said_in(over_udp(self.ours.address, packet)), said_in(over_udp(self.coredns, packet))


@contextmanager
def paired(binaries: Path, folder: Path, upstream: Upstream) -> Iterator[Pair]:
    """Without controllers nobody else touches the objects, and all starts a second sooner."""
    with ExitStack() as stack:
        control_plane = stack.enter_context(ControlPlane(binaries, controllers=()))
        fill(control_plane)
        where = f"{upstream.address[0]}:{upstream.address[1]}"
        kubeconfig = control_plane.kubeconfig()
        corefile = COREFILE.format(upstream=where)
        coredns = stack.enter_context(CoreDNS(binaries, folder, kubeconfig=kubeconfig, corefile=corefile))
        ours = stack.enter_context(svcplane_dns(folder / "ours", kubeconfig, "--pods", "insecure", "--forward", where))
        yield Pair(control_plane, ours, ("127.0.0.1", coredns.port))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as one:
        yield one


@pytest.fixture(scope="module")
def pair(binaries: Path, tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Pair]:
    with paired(binaries, tmp_path_factory.mktemp("pair"), upstream) as one:
        yield one


@pytest.mark.parametrize("row", [*ROWS, *FORWARDED], ids=lambda row: row.id)
def test_table(pair: Pair, row: Row) -> None:
    ours, coredns = pair.both(row.name, row.type)
    assert ours == row.said
    if row.coredns:
        assert coredns != row.said, "CoreDNS does the same by now: the row and dns/README.md need no exception"
        assert coredns.rcode == row.coredns
    else:
        assert coredns == row.said


@pytest.mark.parametrize("row", [*ROWS, *FORWARDED], ids=lambda row: row.id)
def test_table_over_tcp(pair: Pair, row: Row) -> None:
    assert said_in(over_tcp(pair.ours.address, question(row.name, row.type))[0]) == row.said


def with_edns(name: str, kind: str = "A", **fields: object) -> bytes:
    query = DNSRecord.parse(question(name, kind))
    query.add_ar(EDNS0(**fields))
    return bytes(query.pack())


def with_header(packet: bytes, *, flags: int | None = None, counts: tuple[int, ...] = ()) -> bytes:
    octets = bytearray(packet)
    if flags is not None:
        octets[2:4] = flags.to_bytes(2)
    for number, count in enumerate(counts):
        octets[4 + 2 * number : 6 + 2 * number] = count.to_bytes(2)
    return bytes(octets)


NSID, ECS, COOKIE = EDNSOption(3, b"x"), EDNSOption(8, b"\0\1\x18\0\x0a\0\0"), EDNSOption(10, b"12345678")

PACKETS = {
    "plain": WEB,
    "no RD": with_header(WEB, flags=0),
    "AD and CD set": with_header(WEB, flags=0x0130),
    "Z set": with_header(WEB, flags=0x0140),
    "rcode set": with_header(WEB, flags=0x0103),
    "EDNS 1232": with_edns("web.prod.svc.cluster.local.", udp_len=1232),
    "EDNS 100": with_edns("web.prod.svc.cluster.local.", udp_len=100),
    "EDNS 4096 DO": with_edns("web.prod.svc.cluster.local.", udp_len=4096, flags="do"),
    "EDNS version 1": with_edns("web.prod.svc.cluster.local.", udp_len=1232, version=1),
    "EDNS cookie": with_edns("web.prod.svc.cluster.local.", udp_len=1232, opts=[COOKIE]),
    "EDNS NSID, ECS, cookie": with_edns("web.prod.svc.cluster.local.", udp_len=1232, opts=[NSID, ECS, COOKIE]),
    "EDNS with NXDOMAIN": with_edns("missing.prod.svc.cluster.local.", udp_len=1232),
    "opcode NOTIFY": with_header(WEB, flags=0x2100),
    "opcode STATUS": with_header(WEB, flags=0x1100),
    "opcode UPDATE": with_header(WEB, flags=0x2900),
    "no question": with_header(WEB[:12], counts=(0,)),
    "two questions": with_header(WEB + WEB[12:], counts=(2,)),
    "two answers announced": with_header(WEB, counts=(1, 2)),
    "three additional records announced": with_header(WEB, counts=(1, 0, 0, 3)),
    "a label too long": WEB[:12] + b"\x40" + WEB[13:],
    "octets left over": WEB + b"\0\0\0",
    "AXFR": question("cluster.local.", "AXFR"),
    "the root": question(".", "NS"),
}


CUT_SHORT = {
    "a question announced": with_header(WEB[:12], counts=(1,)),
    "an additional record announced": with_header(WEB, counts=(1, 0, 0, 1)),
}
"""CoreDNS says SERVFAIL to the one and answers the other; dns/README.md says why we do not."""


def header_and_opt(reply: bytes) -> tuple[object, ...]:
    message = DNSRecord.parse(reply)
    found = [one for one in message.ar if one.rtype == QTYPE.OPT]
    opts = [(one.rclass, one.ttl, [(option.code, bytes(option.data)) for option in one.rdata]) for one in found]
    counts = (len(message.questions), len(message.rr), len(message.auth), len(message.ar))
    return f"{int.from_bytes(reply[2:4]):016b}", counts, opts


@pytest.mark.parametrize("packet", PACKETS.values(), ids=PACKETS.keys())
def test_header_and_edns(pair: Pair, packet: bytes) -> None:
    ours, coredns = over_udp(pair.ours.address, packet), over_udp(pair.coredns, packet)
    assert header_and_opt(ours) == header_and_opt(coredns)


@pytest.mark.parametrize("packet", CUT_SHORT.values(), ids=CUT_SHORT.keys())
def test_what_is_cut_short_is_malformed(pair: Pair, packet: bytes) -> None:
    ours, coredns = (DNSRecord.parse(over_udp(server, packet)) for server in (pair.ours.address, pair.coredns))
    assert RCODE[ours.header.rcode] == "FORMERR"
    assert RCODE[coredns.header.rcode] != "FORMERR"


@pytest.mark.parametrize(
    "packet", [WEB[:11], with_header(WEB, flags=0x8100), b"\0"], ids=["a header cut short", "a reply", "one octet"]
)
def test_silence(pair: Pair, packet: bytes) -> None:
    for server in (pair.ours.address, pair.coredns):
        with datagrams(server) as client:
            client.send(packet)
            client.send(question("web.prod.svc.cluster.local.", identity=1))
            assert client.recv(65535)[:2] == (1).to_bytes(2)


@pytest.fixture(scope="module")
def large(pair: Pair) -> str:
    """A headless service of so many endpoints that its answers do not fit a datagram."""
    pair.control_plane.request(
        "POST",
        SERVICES,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "large"},
            "spec": {"clusterIP": "None", "ports": [{"port": 80, "name": "http"}]},
        },
    )
    pair.control_plane.request(
        "POST",
        "/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices",
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "large", "labels": {"kubernetes.io/service-name": "large"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [f"10.245.0.{n}"], "hostname": f"pod-{n}"} for n in range(100)],
            "ports": [{"port": 80, "name": "http", "protocol": "TCP"}],
        },
    )
    name = "large.prod.svc.cluster.local."

    def complete(server: Address) -> bool:
        return len(said_in(over_tcp(server, question(name))[0]).answer) == 100

    for server in (pair.ours.address, pair.coredns):
        eventually(partial(complete, server), "all of it is known")
    return name


@pytest.mark.parametrize("kind", ["A", "SRV"])
@pytest.mark.parametrize("size", [0, 512, 1232, 4096], ids=lambda size: f"{size} octets")
def test_truncation(pair: Pair, large: str, kind: str, size: int) -> None:
    packet = with_edns(large, kind, udp_len=size) if size else question(large, kind)
    ours, coredns = (over_udp(server, packet) for server in (pair.ours.address, pair.coredns))
    assert header_and_opt(ours) == header_and_opt(coredns)
    assert len(ours) <= max(size, 512)


def test_changes_are_followed_within_a_second(pair: Pair) -> None:
    kubectl, name = pair.control_plane.kubectl, "fresh.prod.svc.cluster.local."

    def address() -> str:
        ours, coredns = pair.both(name)
        return ours.answer[-1].split()[-1] if ours == coredns and ours.answer else ours.rcode

    assert address() == "NXDOMAIN"
    kubectl("create", "service", "clusterip", "fresh", "--tcp=80", "--clusterip=10.96.3.1", "-n", "prod")
    eventually(lambda: address() == "10.96.3.1", "the new service is answered", seconds=1)
    kubectl("delete", "service", "fresh", "-n", "prod")
    eventually(lambda: address() == "NXDOMAIN", "the deleted service is not", seconds=1)
    kubectl("create", "service", "externalname", "fresh", "--external-name=web.dev.svc.cluster.local", "-n", "prod")
    eventually(lambda: address() == "10.96.2.10", "the alias is followed", seconds=1)
    kubectl("patch", "service", "fresh", "-n", "prod", "-p", '{"spec":{"externalName":"web.prod.svc.cluster.local"}}')
    eventually(lambda: address() == "10.96.1.10", "the changed alias is followed", seconds=1)


def test_probes_and_metrics(pair: Pair) -> None:
    http = pair.ours.http
    assert (http.request("GET", "/health").status, http.request("GET", "/ready").status) == (200, 200)
    pair.both("web.prod.svc.cluster.local.", "CNAME")
    metrics = http.request("GET", "/metrics").body.decode()
    assert re.search(r'^coredns_dns_requests_total\{.*type="CNAME".*\} [1-9]', metrics, re.MULTILINE)


def test_the_api_server_goes_and_names_stay(binaries: Path, tmp_path: Path, upstream: Upstream) -> None:
    with paired(binaries, tmp_path, upstream) as own:
        control_plane = own.control_plane
        control_plane.kill("kube-apiserver")
        for row in ROWS:
            ours, coredns = own.both(row.name, row.type)
            assert ours == row.said
            assert coredns == row.said or row.coredns
        assert own.ours.http.request("GET", "/ready").status == 200
        control_plane.restart("kube-apiserver")
        body = {"metadata": {"name": "later"}, "spec": {"clusterIP": "10.96.3.2", "ports": [{"port": 80}]}}
        control_plane.request("POST", SERVICES, {"apiVersion": "v1", "kind": "Service", **body})
        eventually(
            lambda: own.both("later.prod.svc.cluster.local.")[0].answer, "changes are followed again", seconds=60
        )


def test_a_start_without_the_api_server(fresh_control_plane: ControlPlane, tmp_path: Path) -> None:
    fill(fresh_control_plane)
    kubeconfig = fresh_control_plane.kubeconfig()
    fresh_control_plane.kill("kube-apiserver")
    with svcplane_dns(tmp_path / "ours", kubeconfig, "--startup-timeout", "0.5") as ours:
        said = said_in(over_udp(ours.address, WEB))
        assert (said.rcode, said.aa, len(said.authority)) == ("SERVFAIL", True, 1)
        assert said_in(over_udp(ours.address, question("cluster.local."))).rcode == "NOERROR"
        assert ours.http.request("GET", "/health").status == 200
        assert ours.http.request("GET", "/ready").status == 503
        fresh_control_plane.restart("kube-apiserver")
        # Each kind is listed by itself, so a name may be known before the whole is.
        eventually(lambda: ours.http.request("GET", "/ready").status == 200, "everything is listed", seconds=60)
        assert said_in(over_udp(ours.address, WEB)).answer
        assert said_in(over_udp(ours.address, question("missing.prod.svc.cluster.local."))).rcode == "NXDOMAIN"


def test_sigterm_ends_it_cleanly(pair: Pair, tmp_path: Path) -> None:
    with svcplane_dns(tmp_path / "ours", pair.control_plane.kubeconfig(), "--lameduck", "0.5") as ours:
        ours.process.send(signal.SIGTERM)
        eventually(lambda: "stopping" in ours.log, "it has heard")
        assert said_in(over_udp(ours.address, WEB)).answer, "it answers on for a while"
        assert ours.http.request("GET", "/ready").status == 503
        eventually(lambda: not ours.process.running, "the process ends")
    words = [line.split()[1] for line in ours.log.splitlines()]
    assert set(words) == {"info"}, ours.log


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["web.prod.svc.cluster.local"], "web.prod.svc.cluster.local. 5 IN A 10.96.1.10"),
        (["_http._tcp.web.prod.svc.cluster.local", "SRV"], "; additional"),
        (["web.nowhere.svc.cluster.local"], "; NXDOMAIN: no such namespace"),
        (["outside.prod.svc.cluster.local", "aaaa"], "; an upstream is asked for www.example.org."),
        (["www.example.org"], "; an upstream is asked: outside the zones served"),
        (["web.prod", "--from", "client"], "no pod client in namespace default; write --from NAMESPACE/POD"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else "",
)
def test_lookup_says_what_and_why(pair: Pair, words: list[str], expected: str, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("svcplane-dns")
    lookup = Process((program, "lookup", *words, "--kubeconfig", pair.control_plane.kubeconfig()), tmp_path / "lookup")
    lookup.start()
    eventually(lambda: not lookup.running, "lookup ends")
    assert expected in (tmp_path / "lookup").read_text()


def test_lookup_goes_a_pods_search_path(pair: Pair, tmp_path: Path) -> None:
    namespace, meta = "/api/v1/namespaces/dev", {"namespace": "dev"}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {**meta, "name": "default"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**meta, "name": "client"}}
    spec = {"containers": [{"name": "main", "image": "none"}], "dnsConfig": {"searches": ["example.org"]}}
    pair.control_plane.request("POST", f"{namespace}/serviceaccounts", account)
    pair.control_plane.request("POST", f"{namespace}/pods", {**pod, "spec": spec})
    program = Path(sys.executable).with_name("svcplane-dns")
    more = ("--from", "dev/client", "--kubeconfig", pair.control_plane.kubeconfig())
    lookup = Process((program, "lookup", "web.prod", *more), tmp_path / "lookup")
    lookup.start()
    eventually(lambda: not lookup.running, "lookup ends")
    said = (tmp_path / "lookup").read_text()
    assert "search dev.svc.cluster.local svc.cluster.local cluster.local example.org and the node's; ndots 5\n" in said
    assert "; 2. web.prod.svc.cluster.local. A\n; NOERROR: the service\n" in said
    assert said.endswith("\nweb.prod.svc.cluster.local. 5 IN A 10.96.1.10\n")

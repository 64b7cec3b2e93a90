"""One Corefile for both over one real API server: the options of `kubernetes`, several server blocks, the metrics."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from peers.control_plane import ControlPlane
from peers.core_dns import CoreDNS
from peers.processes import Process
from peers.reach import HttpServer, port_of, reserved_port
from support.questions import FORWARDED, ROWS, cluster, said_in
from support.resolvers import Address, Upstream, over_tcp, over_udp, question
from support.scripted_upstream import ScriptedUpstream

pytestmark = pytest.mark.peers

LOCAL = "192.0.2.53"  # not ours: the rows about the server itself are left out


@pytest.fixture(scope="module")
def filled(binaries: Path) -> Iterator[ControlPlane]:
    with ControlPlane(binaries, controllers=()) as control_plane:
        for one in cluster(LOCAL):
            metadata = one["metadata"]
            if metadata["name"] in ("web", "web-1", "db", "db-1"):
                metadata.setdefault("labels", {})["tier"] = "front" if metadata["name"].startswith("web") else "back"
            namespace = metadata.get("namespace")
            group = "/api/v1" if one["apiVersion"] == "v1" else f"/apis/{one['apiVersion']}"
            plural = {"Namespace": "namespaces", "Service": "services", "EndpointSlice": "endpointslices"}[one["kind"]]
            control_plane.request("POST", f"{group}{f'/namespaces/{namespace}' if namespace else ''}/{plural}", one)
        yield control_plane


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as one:
        yield one


class Ours:
    def __init__(self, process: Process, address: Address, log: Path) -> None:
        self.process, self.address, self._log = process, address, log

    @property
    def http(self) -> list[HttpServer]:
        ports = re.findall(r"serving http address=\S+:(\d+)", self._log.read_text())
        return [HttpServer("127.0.0.1", int(port)) for port in ports]


@contextmanager
def svcplane_dns(folder: Path, corefile: str, kubeconfig: Path) -> Iterator[Ours]:
    """Our program on the same file; the kernel chooses the ports."""
    (folder / "Ours").write_text(corefile)
    log = folder / "ours.log"
    environment = {**os.environ, "PORT": "0", "READY_PORT": "0", "METRICS_PORT": "0", "KUBECONFIG": str(kubeconfig)}
    program = Path(sys.executable).with_name("svcplane-dns")
    with Process((program, "-conf", folder / "Ours"), log, environment=environment) as process:
        process.start()

        def port() -> int:
            found = re.findall(r"serving dns addresses=127.0.0.1:(\d+)", log.read_text())
            return int(found[0]) if found else 0

        number = process.wait_until(port, "the DNS ports are open")
        yield Ours(process, ("127.0.0.1", number), log)


def corefile(body: str, zones: str = "cluster.local in-addr.arpa ip6.arpa", more: str = "", keys: str = ".") -> str:
    head = (
        f"{keys.replace(',', ':{$PORT},')}:{{$PORT}} {{\n bind 127.0.0.1\n errors\n ready 127.0.0.1:{{$READY_PORT}}\n"
    )
    return f"{head} kubernetes {zones} {{\n  kubeconfig {{$KUBECONFIG}}\n  {body}\n }}\n{more}}}\n"


FORWARD = " forward . <upstream>\n"
FILES = {
    "nothing": corefile(""),
    "insecure": corefile("pods insecure\n  ttl 30", more=FORWARD),
    "verified": corefile("pods verified\n  ttl 0"),
    "namespaces": corefile("namespaces dev kube-system"),
    "namespace labels": corefile("namespace_labels kubernetes.io/metadata.name=prod"),
    "labels": corefile("labels tier in (front, back)"),
    "other labels": corefile("labels tier=back\n  pods insecure"),
    "no endpoints": corefile("noendpoints"),
    "empty services": corefile("ignore empty_service"),
    "fallthrough": corefile("fallthrough", more=FORWARD),
    "fallthrough of reverse names": corefile("fallthrough in-addr.arpa ip6.arpa", more=FORWARD),
    "a CIDR": corefile("", "cluster.local 10.96.0.0/16 fd00:10:96::/48", FORWARD),
    "kubeadm": corefile(
        "pods insecure\n  fallthrough in-addr.arpa ip6.arpa\n  ttl 30",
        more=FORWARD + " cache 30 {\n  disable success cluster.local\n  disable denial cluster.local\n }\n"
        " loop\n reload\n loadbalance\n prometheus 127.0.0.1:{$METRICS_PORT}\n health 127.0.0.1:0\n",
    ),
    "blocks": corefile("", "", keys="cluster.local")
    + "in-addr.arpa:{$PORT} {\n bind 127.0.0.1\n errors\n}\n"
    + f".:{{$PORT}} {{\n bind 127.0.0.1\n{FORWARD}}}\n",
}


@pytest.mark.parametrize("file", FILES)
def test_the_same_answers(
    binaries: Path, tmp_path: Path, filled: ControlPlane, upstream: Upstream, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METRICS_PORT", "0")
    text = FILES[file].replace("<upstream>", f"{upstream.address[0]}:{upstream.address[1]}")
    kubeconfig = filled.kubeconfig()
    with (
        svcplane_dns(tmp_path, text, kubeconfig) as ours,
        CoreDNS(binaries, tmp_path, kubeconfig=kubeconfig, corefile=text) as coredns,
    ):
        different = []
        for row in (*ROWS, *FORWARDED):
            if row.coredns or row.type == "NS" or row.name.startswith("ns.dns"):
                continue
            packet = question(row.name, row.type)
            mine, theirs = (said_in(over_udp(one, packet)) for one in (ours.address, ("127.0.0.1", coredns.port)))
            if theirs.rcode == "SERVFAIL" and mine.rcode == "REFUSED":
                continue  # a name that nobody here serves is refused, not a failure
            if file == "empty services" and row.type == "PTR" and theirs.rcode == "NOERROR" and not mine.answer:
                continue  # CoreDNS leads to a name that it says does not exist
            if file == "kubeadm":
                # What the cluster says does not pass through our cache; and a cache is no authority.
                schema = "dns-version.cluster.local. 30 "
                lines = tuple(line.replace(schema, "dns-version.cluster.local. 28800 ") for line in theirs.answer)
                theirs = replace(theirs, answer=lines, aa=theirs.aa and not row.name.endswith("example.org."))
            if mine != theirs:
                different.append(f"{row.name} {row.type}\n  ours   {mine}\n  theirs {theirs}")
        assert not different, "\n".join(different)


NOT_OURS = re.compile(
    r"coredns_dns_https|coredns_autopath|coredns_template|coredns_acl|coredns_dns64|coredns_local_|coredns_grpc|"
    r"coredns_kubernetes_rest_client|coredns_dns_quic|coredns_dns_https3|coredns_dnssec"
)


def families(text: str) -> dict[str, set[str]]:
    """Metric names with the labels that each has, of CoreDNS's own."""
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        match = re.match(r"(coredns_\w+?)(?:\{(.*)\})? ", line)
        if match is not None and not NOT_OURS.match(line):
            labels = set(re.findall(r"(\w+)=", match[2] or "")) - {"le"}
            found.setdefault(match[1], set()).update(labels)
    return found


def test_the_same_metrics(
    binaries: Path, tmp_path: Path, filled: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reserved_port("127.0.0.1") as reservation:
        port = port_of(reservation)
    monkeypatch.setenv("METRICS_PORT", str(port))
    kubeconfig = filled.kubeconfig()
    with ExitStack() as stack:
        upstream = stack.enter_context(ScriptedUpstream())
        text = FILES["kubeadm"].replace("<upstream>", f"{upstream.address[0]}:{upstream.address[1]}")
        ours = stack.enter_context(svcplane_dns(tmp_path, text, kubeconfig))
        coredns = stack.enter_context(CoreDNS(binaries, tmp_path, kubeconfig=kubeconfig, corefile=text))
        for address in (ours.address, ("127.0.0.1", coredns.port)):
            for name in (
                "web.prod.svc.cluster.local.",
                "plain.example.org.",
                "plain.example.org.",
                "nothing.example.org.",
            ):
                over_udp(address, question(name))
            for number in range(3):  # a connection to the upstream is used again
                over_tcp(address, question(f"{number}.example.org."))
        theirs = families(HttpServer("127.0.0.1", port).request("GET", "/metrics").body.decode())
        bodies = [one.request("GET", "/metrics") for one in ours.http]
        mine = families(next(body.body.decode() for body in bodies if body.status == 200))
    assert theirs.keys() - mine.keys() == set()
    assert {name: labels for name, labels in theirs.items() if mine[name] != labels} == {}

"""A zone whole, from the real CoreDNS and from ours, as `dig` takes it: the same names, types and data."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.control_plane import ControlPlane
from peers.core_dns import CoreDNS
from peers.our_dns import svcplane_dns
from peers.test_questions_coredns import fill

pytestmark = pytest.mark.peers

COREFILE = """\
.:{$PORT} {
    bind 127.0.0.1
    ready 127.0.0.1:{$READY_PORT}
    transfer {
        to *
    }
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
        pods insecure
    }
}
"""
NAMESERVERS = ("ns.dns.cluster.local.", "kube-dns.kube-system.svc.cluster.local.")


@pytest.fixture(scope="module")
def ports(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Ours and CoreDNS's, over one API server."""
    folder = tmp_path_factory.mktemp("transfer")
    with ControlPlane(binaries, controllers=()) as plane:
        fill(plane)
        kubeconfig = plane.kubeconfig()
        with (
            CoreDNS(binaries, folder, kubeconfig=kubeconfig, corefile=COREFILE) as coredns,
            svcplane_dns(folder / "ours", kubeconfig, "--pods", "insecure", "--transfer-to", "127.0.0.1") as ours,
        ):
            yield ours.address[1], coredns.port


def dig(port: int, *words: str) -> str:
    command = ("dig", "@127.0.0.1", "-p", str(port), "+time=5", "+tries=1", *words)
    return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout


def zone(port: int) -> set[tuple[str, ...]]:
    """Owner, type and data of all but SOA and NS; of SRV port and target, whose weights differ."""
    found = set()
    for line in dig(port, "+noall", "+answer", "AXFR", "cluster.local").splitlines():
        words = line.split()
        if not line.startswith(";") and words[3] not in ("SOA", "NS") and words[0] != NAMESERVERS[0]:
            found.add((words[0], words[3], *words[-2 if words[3] == "SRV" else -1 :]))
    return found


def test_the_same_zone(ports: tuple[int, int]) -> None:
    ours, coredns = map(zone, ports)
    assert len(ours) > 60
    assert ours == coredns


def test_a_stranger_is_refused(ports: tuple[int, int]) -> None:
    assert "Transfer failed" in dig(ports[0], "AXFR", "cluster.local", "-b", "127.0.0.2")


def test_ixfr_is_an_soa_alone_where_nothing_is_new(ports: tuple[int, int]) -> None:
    for port in ports:
        serial = dig(port, "+short", "SOA", "cluster.local").split()[2]
        shown = dig(port, "+noall", "+answer", f"IXFR={serial}", "cluster.local")
        assert len([line for line in shown.splitlines() if line and not line.startswith(";")]) == 1

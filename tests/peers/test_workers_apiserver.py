"""`svcplane-dns run --workers 2` over a real API server: one server to those who ask, through changes and reloads."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from peers.control_plane import ControlPlane
from peers.processes import Process
from peers.reach import port_of, reserved_port
from support.askers import Askers, askers, named, workers_of
from support.questions import cluster, said_in
from support.resolvers import Address, question
from support.waiting import eventually

pytestmark = pytest.mark.peers

WEB = question("web.prod.svc.cluster.local.")
ELSEWHERE = "192.0.2.53"  # the API takes no loopback address for an endpoint
SERVICE = "/api/v1/namespaces/prod/services"
COREFILE = """\
.:{$PORT} {
    bind 127.0.0.1
    prometheus 127.0.0.1:0
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig {$KUBECONFIG}
        pods insecure
    }
    loadbalance
}
"""


@pytest.fixture(scope="module")
def plane(binaries: Path) -> Iterator[ControlPlane]:
    with ControlPlane(binaries, controllers=()) as one:
        for manifest in cluster(ELSEWHERE):
            namespace = manifest["metadata"].get("namespace")
            group = "/api/v1" if manifest["apiVersion"] == "v1" else f"/apis/{manifest['apiVersion']}"
            plurals = {"Namespace": "namespaces", "Service": "services", "EndpointSlice": "endpointslices"}
            folder = f"{group}{f'/namespaces/{namespace}' if namespace else ''}"
            one.request("POST", f"{folder}/{plurals[manifest['kind']]}", manifest)
        yield one


class Ours:
    def __init__(self, process: Process, corefile: Path, log: Path, address: Address) -> None:
        self.process, self.address, self._corefile, self._log = process, address, corefile, log

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def worker(self) -> int:
        """Which worker serves; fails while none does."""
        (found,) = workers_of(self.process.pid)
        return found

    def reload(self, text: str) -> None:
        self._corefile.write_text(text)
        before = self.log.count("serving changed settings")
        os.kill(self.process.pid, signal.SIGUSR1)
        eventually(lambda: self.log.count("serving changed settings") > before, "the file is taken", 30)

    def ticks(self, pid: int) -> int:
        """Processor time that a process has used."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])


@contextmanager
def svcplane_dns(folder: Path, plane: ControlPlane, port: int) -> Iterator[Ours]:
    corefile, log = folder / "Corefile", folder / "dns.log"
    corefile.write_text(COREFILE)
    environment = {**os.environ, "PORT": str(port), "KUBECONFIG": str(plane.kubeconfig())}
    program = Path(sys.executable).with_name("svcplane-dns")
    with Process((program, "run", "--conf", corefile, "--workers", "2"), log, environment=environment) as process:
        process.start()
        process.wait_until(lambda: "serving dns" in log.read_text(), "the DNS ports are open")
        yield Ours(process, corefile, log, ("127.0.0.1", port))


@pytest.fixture
def ours(plane: ControlPlane, tmp_path: Path) -> Iterator[Ours]:
    with reserved_port("127.0.0.1") as reservation:
        port = port_of(reservation)
    with svcplane_dns(tmp_path, plane, port) as one:
        eventually(lambda: one.worker, "there is a worker")
        yield one


def works(ours: Ours, many: Askers) -> bool:
    """Whether a worker has had something to do."""
    before = ours.ticks(ours.worker)
    for _ in range(20):
        assert None not in many.ask(WEB)
    return ours.ticks(ours.worker) > before


def test_changes_are_seen_by_all(ours: Ours, plane: ControlPlane) -> None:
    with askers(ours.address) as many:
        eventually(lambda: works(ours, many), "the worker answers", 60)
        manifest = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "late", "namespace": "prod"},
            "spec": {"clusterIP": "10.96.3.99", "ports": [{"port": 80}]},
        }
        late = question("late.prod.svc.cluster.local.")

        def rcodes() -> set[str]:
            return {said_in(reply).rcode for reply in many.ask(late) if reply is not None}

        for _ in range(3):
            for _ in range(3):
                assert rcodes() == {"NXDOMAIN"}
            plane.request("POST", SERVICE, manifest)
            eventually(lambda: "NOERROR" in rcodes(), "the Service is seen")
            for _ in range(3):
                assert rcodes() == {"NOERROR"}
            plane.request("DELETE", f"{SERVICE}/late")
            eventually(lambda: "NXDOMAIN" in rcodes(), "the Service is gone")
            assert rcodes() == {"NXDOMAIN"}


def test_reloads(ours: Ours) -> None:
    """With `log` each query is told; a port that is new is served by all, one that is gone by nobody."""
    with askers(ours.address) as many:
        eventually(lambda: works(ours, many), "the worker answers", 60)
        ours.reload(COREFILE.replace("loadbalance", "log"))
        before = ours.log.count('"A IN web.prod')
        for _ in range(5):
            assert None not in many.ask(WEB)
        told = 5 * len(many.sockets)
        eventually(lambda: ours.log.count('"A IN web.prod') - before == told, "each query is told")
        ours.reload(COREFILE)
        eventually(lambda: works(ours, many), "the worker answers again", 60)
    with reserved_port("127.0.0.1") as reservation:
        port = port_of(reservation)
    ours.reload(COREFILE.replace("{$PORT}", str(port)))
    ours.address = ("127.0.0.1", port)
    with askers(ours.address) as many:
        eventually(lambda: works(ours, many), "the worker answers at the new port", 60)
    assert "a worker has ended" not in ours.log
    assert not re.findall(r"level=error|Traceback", ours.log)


def test_killed_in_a_loop_of_questions(ours: Ours) -> None:
    """One question after the other, from many ports: what the worker had taken in is lost, and nothing else."""
    with askers(ours.address) as many:
        eventually(lambda: works(ours, many), "the worker answers", 60)
        first, lost = ours.worker, 0
        for turn in range(20):
            if turn == 3:
                os.kill(first, signal.SIGKILL)
            for one in many.sockets[:12]:
                lost += Askers([one]).ask(WEB, seconds=2.0).count(None)
        assert lost <= 1
        eventually(lambda: ours.worker != first, "there is another worker", 60)
        eventually(lambda: works(ours, many), "it answers", 60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_workers_end_with_the_server(ours: Ours, number: signal.Signals) -> None:
    worker = ours.worker
    os.kill(worker, signal.SIGTERM)  # as a unit's end sends it to all: it is not the worker's to decide
    with askers(ours.address) as many:
        eventually(lambda: works(ours, many), "the worker answers", 60)
    assert ours.worker == worker
    os.kill(ours.process.pid, number)
    eventually(lambda: named(worker) == "", "the worker has ended", 30)

"""Containers and sandboxes as processes: what a container sees, how it ends, what is left when somebody is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.kubelet_pods import body
from support.waiting import eventually
from svclab.identity import Identity
from svclab.kubelet import sandbox
from svclab.kubelet.containers import Launch, Launched, LaunchError, Mount, launched
from svclab.kubelet.deaths import Deaths, ended
from svclab.kubelet.enter import inside
from svclab.kubelet.pods import Run, Sandbox, fresh
from svclab.netns import PREFIX, Host
from svclab.processes import lives, signalled

pytestmark = pytest.mark.netns

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "with.dot": "a b\nc'd\"", "EMPTY": ""}


class Bench:
    """A sandbox on a node of its own, and containers in it."""

    def __init__(self, folder: Path, there: Sandbox) -> None:
        self.folder = folder
        self.sandbox = there
        self.begun: list[Launched] = []
        (folder / "scratch").mkdir()
        (folder / "secret").write_text("of the kubelet")

    def launch(self, *argv: str, **more: Any) -> Launch:
        number = len(self.begun)
        plain = {
            "argv": argv,
            "environment": ENVIRONMENT,
            "directory": "/",
            "pause": self.sandbox.pause.pid,
            "mounts": (),
            "scratch": str(self.folder / "scratch"),
            "hidden": str(self.folder),
            "log": str(self.folder / f"{number}.log"),
            "status": str(self.folder / f"{number}.status"),
        }
        return Launch(**{**plain, **more})

    def start(self, *argv: str, **more: Any) -> Launched:
        found = launched(self.launch(*argv, **more))
        self.begun.append(found)
        return found

    def output(self, *argv: str, **more: Any) -> str:
        """What a container says until it ends."""
        begun = self.start(*argv, **more)
        begun.release()
        assert ended(begun.shim, 10.0)
        return (self.folder / f"{len(self.begun) - 1}.log").read_text()

    def status(self, number: int = -1) -> str:
        return (self.folder / f"{number % len(self.begun)}.status").read_text().strip()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield from _bench(tmp_path)


@pytest.fixture
def sharing(tmp_path: Path) -> Iterator[Bench]:
    yield from _bench(tmp_path, shareProcessNamespace=True)


def _bench(folder: Path, **spec: Any) -> Iterator[Bench]:
    host = Host(f"{PREFIX}c1-{os.getpid()}")
    host.remove()
    host.create()
    try:
        with host.entered():
            there, held = sandbox.sandbox(fresh(body(**spec), 0.0), ("10.244.9.2",), "node")
            held.release()
            made = Bench(folder, there)
            try:
                yield made
            finally:
                for one in made.begun:
                    signalled(one.init, signal.SIGKILL)
                    signalled(one.shim, signal.SIGKILL)
                sandbox.dissolve(there)
    finally:
        host.remove()


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", "0"), ("exit 3", "3"), ("trap 'exit 4' TERM; kill -TERM $$", "4"), ("exec /nonexistent", "127")],
)
def test_exit_status(bench: Bench, script: str, status: str) -> None:
    bench.output("sh", "-c", script)
    assert bench.status() == status


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, "137")])
def test_exit_status_of_the_killed(bench: Bench, number: signal.Signals, status: str) -> None:
    begun = bench.start("sleep", "100")
    begun.release()
    assert signalled(begun.init, number)
    assert ended(begun.shim, 10.0)
    assert bench.status() == status


def test_nothing_runs_before_the_gate_opens(bench: Bench) -> None:
    begun = bench.start("sh", "-c", "echo ran")
    os.close(begun.gate)  # the kubelet died before it could write a record
    assert ended(begun.shim, 10.0)
    assert (bench.folder / "0.log").read_text() == ""
    assert not lives(begun.init)


def test_a_death_is_reported(bench: Bench) -> None:
    deaths, seen = Deaths(), []
    begun = bench.start("true")
    deaths.watch(begun.shim, lambda: seen.append("shim"))
    begun.release()
    eventually(lambda: seen == ["shim"], "the shim ended")
    deaths.watch(begun.shim, lambda: seen.append("again"))
    assert seen == ["shim", "again"]


def test_only_its_own_environment(bench: Bench) -> None:
    said = bench.output("env", "-0").split("\0")
    assert said == [*(f"{name}={value}" for name, value in ENVIRONMENT.items()), ""]


def test_only_its_own_processes_and_the_pods_links(bench: Bench) -> None:
    said = bench.output("sh", "-c", "echo $$; ps ax | wc -l; ls /sys/class/net; hostname; ip -4 -o address")
    lines = said.splitlines()
    assert lines[0] == "1"
    assert int(lines[1]) < 6
    assert lines[2:5] == ["eth0", "lo", "web"]
    assert "10.244.9.2/32" in said


def test_it_writes_into_memory(bench: Bench) -> None:
    bench.output("sh", "-c", "echo x > /etc/svcp-c1-test && mkdir -p /var/svcp-c1-test && echo fine")
    assert bench.status() == "0"
    assert not Path("/etc/svcp-c1-test").exists()
    assert not Path("/var/svcp-c1-test").exists()


def test_it_does_not_see_the_kubelets_files(bench: Bench) -> None:
    assert bench.output("sh", "-c", f"cat {bench.folder}/secret 2>/dev/null; ls /run; echo end") == "end\n"
    # A checkout in /tmp is there: programs of ours are run out of it.
    ours = {Path(sys.prefix).parts[2]} if sys.prefix.startswith("/tmp/") else set()
    assert set(bench.output("ls", "/tmp").split()) == ours


def test_mounts(bench: Bench) -> None:
    volume = bench.folder / "volume"
    (volume / "inner").mkdir(parents=True)
    (volume / "file").write_text("from the volume\n")
    mounts = (
        Mount(str(volume), "/some/new/place"),
        Mount(str(volume), "/read-only", read_only=True),
        Mount(str(volume / "file"), "/etc/resolv.conf"),
        Mount(str(volume / "inner"), "/some/new/place/deeper"),
    )
    script = "cat /etc/resolv.conf; echo written > /some/new/place/out; touch /read-only/no 2>/dev/null || echo refused"
    assert bench.output("sh", "-c", script, mounts=mounts) == "from the volume\nrefused\n"
    assert (volume / "out").read_text() == "written\n"
    assert not Path("/some/new").exists()


@pytest.mark.parametrize(
    ("more", "script", "said"),
    [
        pytest.param({"user": 65534}, "id -u; id -g", "65534\n65534\n", id="user"),
        pytest.param({"user": 1, "group": 2}, "id -u; id -g", "1\n2\n", id="group"),
        pytest.param({"directory": "/var/new/place"}, "pwd", "/var/new/place\n", id="working directory"),
        pytest.param(
            {"read_only_root": True}, "touch /etc/x 2>/dev/null || echo refused", "refused\n", id="read-only root"
        ),
    ],
)
def test_settings(bench: Bench, more: dict[str, Any], script: str, said: str) -> None:
    assert bench.output("/bin/sh", "-c", script, **more) == said


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("nonexistent", 'exec: "nonexistent": executable file not found in $PATH'),
        ("/no/such", 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ],
)
def test_a_program_that_cannot_be_started(bench: Bench, program: str, message: str) -> None:
    with pytest.raises(LaunchError) as caught:
        bench.start(program)
    assert message in str(caught.value)


def test_containers_that_share_their_processes(sharing: Bench) -> None:
    first = sharing.start("sleep", "98765", pid_of=sharing.sandbox.init.pid)
    first.release()
    eventually(lambda: "98765" in Path(f"/proc/{first.init.pid}/cmdline").read_text(), "the first one runs")
    assert "98765" in sharing.output("ps", "ax", pid_of=sharing.sandbox.init.pid)


def test_entering(bench: Bench) -> None:
    begun = bench.start("sleep", "100")
    begun.release()
    run = Run("id", 0, "busybox", begun.shim, begun.init, 0.0, ENVIRONMENT, "/var")
    script = 'hostname; pwd; echo "$EMPTY."; ps ax | grep -c "sleep 10[0]"'
    done = subprocess.run(inside(run, ["sh", "-c", script]), capture_output=True, text=True, check=True)
    assert done.stdout == "web\n/var\n.\n1\n"


def test_the_namespaces_end_with_their_process(bench: Bench) -> None:
    where = f"/proc/{bench.sandbox.pause.pid}/ns/net"
    assert Path(where).exists()
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert bench.sandbox.interface in links
    sandbox.dissolve(bench.sandbox)
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert bench.sandbox.interface not in links
    assert not lives(bench.sandbox.pause)


def test_a_process_of_the_same_number_is_another_one() -> None:
    with subprocess.Popen(["sleep", "100"]) as process:
        try:
            other = Identity(process.pid, 1, "")
            assert not lives(other)
            assert not signalled(other, signal.SIGKILL)
            assert process.poll() is None
        finally:
            process.kill()

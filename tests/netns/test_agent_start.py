"""Starts that cannot succeed: one line says why and what to try, exit status 1; or patience, where that helps."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.site import lone_host
from support.waiting import eventually
from svclab.netns import Host
from svcnet.writers import Iptables

pytestmark = pytest.mark.netns

PROGRAM = Path(sys.executable).parent / "svcplane-agent"


@pytest.fixture
def host() -> Iterator[Host]:
    with lone_host("start") as found:
        yield found


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """Leads to a port of loopback that is ours and where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{unused.getsockname()[1]}"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(content))
    return file


def ended(*argv: str | Path, path: str = "") -> tuple[int, list[str]]:
    """Exit status and the lines of standard error."""
    environment = {**os.environ, "PATH": path or os.environ["PATH"], "HOME": "/nonexistent"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=environment)
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


def test_a_kubeconfig_that_is_not_there(tmp_path: Path) -> None:
    status, lines = ended(PROGRAM, "run", "--kubeconfig", tmp_path / "nowhere")
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith("svcplane-agent: ")
    assert str(tmp_path / "nowhere") in lines[0]


def test_a_kubeconfig_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("{")
    status, lines = ended(PROGRAM, "run", "--kubeconfig", tmp_path / "junk")
    assert (status, len(lines)) == (1, 1)
    assert str(tmp_path / "junk") in lines[0]


def test_neither_a_kubeconfig_nor_a_pod() -> None:
    status, lines = ended(PROGRAM, "run")
    assert (status, len(lines)) == (1, 1)
    assert "service account" in lines[0].lower() or "kubeconfig" in lines[0]


def refusal(lines: list[str]) -> str:
    """The line that says why; before it there may be log lines of what went on meanwhile."""
    assert lines[-1].startswith("svcplane-agent: "), lines
    assert not any("Traceback" in line for line in lines)
    return lines[-1]


def test_a_namespace_that_is_not_there(kubeconfig: Path) -> None:
    status, lines = ended(PROGRAM, "run", "--kubeconfig", kubeconfig, "--netns", "svcp-nowhere")
    assert status == 1
    assert "cannot enter network namespace 'svcp-nowhere'" in refusal(lines)


def test_a_host_without_iptables(kubeconfig: Path, host: Host, tmp_path: Path) -> None:
    status, lines = ended(PROGRAM, "run", "--kubeconfig", kubeconfig, "--netns", host.name, path=str(tmp_path))
    assert status == 1
    assert "iptables is not installed (Debian, Ubuntu: apt-get install iptables)" in refusal(lines)


@pytest.mark.parametrize("flavour", ["nft", "legacy"])
def test_no_right_to_the_tables(kubeconfig: Path, host: Host, flavour: str) -> None:
    bare = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    flags = ("--kubeconfig", kubeconfig, "--iptables-flavour", flavour)
    status, lines = ended(*host.argv(*bare), PROGRAM, "run", *flags)
    assert status == 1
    assert "Permission denied" in refusal(lines)
    assert "iptables" in refusal(lines)


def test_an_address_that_is_taken(kubeconfig: Path, host: Host) -> None:
    with host.entered(), socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        flags = ("--kubeconfig", kubeconfig, "--netns", host.name, "--healthz-bind-address", address)
        status, lines = ended(PROGRAM, "run", *flags, "--bind-address-hard-fail")
    assert status == 1
    assert f"cannot listen on {address}: Address already in use" in refusal(lines)


def test_an_api_server_that_is_not_there_is_waited_for(kubeconfig: Path, host: Host, tmp_path: Path) -> None:
    """Nothing is written meanwhile: rules that an earlier run left must go on."""
    log = tmp_path / "log"
    with log.open("w") as stream:
        argv = (PROGRAM, "run", "--kubeconfig", kubeconfig, "--netns", host.name, "--conntrack-max-per-core", "0")
        running = subprocess.Popen(argv, stderr=stream)
    try:
        eventually(lambda: log.read_text().count("outage") >= 3, "each reflector tells of the outage once")
        eventually(lambda: "started" in log.read_text(), "the agent works")
        with host.entered():
            assert "KUBE" not in Iptables("IPv4", "nft").dump()
        assert running.poll() is None
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0
    finally:
        running.kill()
        running.wait()
    assert log.read_text().count("outage") == 3, "once each, however often it was tried"

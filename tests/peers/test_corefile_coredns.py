"""Corefiles before the real CoreDNS and before us: both take the same, both refuse the same.

CoreDNS says whether it takes a file by starting; what we read is compared in this process, and a few by our program.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from peers.reach import port_of, reserved_port
from support.corefiles import KUBEADM, NODE_LOCAL, ROWS, File
from svcdns.corefile import CorefileError, blocks_of
from svcdns.plugins import settings_of

pytestmark = pytest.mark.peers

SECONDS = 20


def started(argv: tuple[str | Path, ...], banner: str) -> str:
    """ "" if the program says its banner, else what it said before it ended."""
    with reserved_port("127.0.0.1") as reservation:
        environment = {**os.environ, "PORT": str(port_of(reservation))}
    said = []
    with subprocess.Popen(
        ("timeout", "--signal=KILL", str(SECONDS), *map(str, argv)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    ) as child:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                said.append(line)
                if banner in line:
                    return ""
        finally:
            child.terminate()
    return "".join(said) or "ended without a word"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_both_take_it_or_both_refuse_it(binaries: Path, tmp_path: Path, row: File) -> None:
    file = tmp_path / "Corefile"
    file.write_text(row.text)
    refusal = started((binaries / "coredns", "-conf", file), "CoreDNS-")
    ours = our_refusal(row.text)
    assert bool(ours) == bool(row.says)
    assert bool(refusal) == (bool(ours) and not row.ours), f"ours: {ours}; CoreDNS: {refusal or 'takes it'}"


def our_refusal(text: str) -> str:
    try:
        settings_of(blocks_of(text, environment={"PORT": "5300"}))
    except CorefileError as error:
        return str(error)
    return ""


def test_our_program_refuses_with_file_and_line(binaries: Path, tmp_path: Path) -> None:
    file = tmp_path / "Corefile"
    file.write_text(". {\n    errors\n    forward . 127.0.0.1 {\n        most_concurrent 5\n    }\n}\n")
    program = Path(sys.executable).with_name("svcplane-dns")
    theirs = subprocess.run((binaries / "coredns", "-conf", file), capture_output=True, text=True, check=False)
    ours = subprocess.run((program, "-conf", file), capture_output=True, text=True, check=False)
    assert ours.returncode == theirs.returncode == 1
    assert f"{file}:4: unknown property 'most_concurrent' of forward" in ours.stderr
    assert re.search(r"Corefile:4.*unknown property 'most_concurrent'", theirs.stdout + theirs.stderr)


@pytest.mark.parametrize("to", ["/etc/not-there", "nobody.example"])
def test_an_upstream_that_is_neither_address_nor_file(binaries: Path, tmp_path: Path, to: str) -> None:
    file = tmp_path / "Corefile"
    file.write_text(".:{$PORT} {\n    bind 127.0.0.1\n    forward . " + to + "\n}\n")
    program = Path(sys.executable).with_name("svcplane-dns")
    assert to in started((binaries / "coredns", "-conf", file), "CoreDNS-")
    assert to in started((program, "run", "--conf", file), "serving dns")


def test_deployed_files_are_taken_by_both(binaries: Path, tmp_path: Path) -> None:
    """As they are but for addresses and ports, which this machine may not have free, and where the API server is."""
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\n")
    kubeadm = KUBEADM.replace(".:53", ".:{$PORT}").replace("/etc/resolv.conf", str(resolv)).replace("    loop\n", "")
    kubeadm = kubeadm.replace("pods insecure", "pods insecure\n endpoint http://127.0.0.1:1\n startup_timeout 1ms")
    kubeadm = kubeadm.replace("health {", "health 127.0.0.1:0 {").replace("ready\n", "ready 127.0.0.1:0\n")
    kubeadm = kubeadm.replace("prometheus :9153", "prometheus 127.0.0.1:0")
    local = re.sub(r":53 ", ":{$PORT} ", NODE_LOCAL).replace("    loop\n", "").replace("__PILLAR__DNS__SERVER__", "")
    local = local.replace("__PILLAR__LOCAL__DNS__:8080", "127.0.0.1:0").replace("__PILLAR__LOCAL__DNS__", "127.0.0.1")
    local = local.replace("__PILLAR__DNS__DOMAIN__", "cluster.local").replace(
        "prometheus :9253", "prometheus 127.0.0.1:0"
    )
    local = local.replace("__PILLAR__CLUSTER__DNS__", "127.0.0.1").replace("__PILLAR__UPSTREAM__SERVERS__", str(resolv))
    program = Path(sys.executable).with_name("svcplane-dns")
    for name, text in (("kubeadm", kubeadm), ("node-local", local)):
        file = tmp_path / name
        file.write_text(text)
        assert started((binaries / "coredns", "-conf", file), "CoreDNS-") == ""
        assert started((program, "-conf", file), "serving dns") == ""

"""The resolvers that programs in pods have: each finds services by short names along the search list of a resolv.conf.

The server runs in a network namespace, at port 53 as the resolvers want it, with the cluster of `questions` and a
resolver outside. `ip netns exec` puts the resolv.conf of a pod in place.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.dns_server import running
from support.resolvers import Upstream
from support.site import lone_host
from svcdns.settings import Endpoint
from svclab.netns import Host

pytestmark = pytest.mark.peers

HERE = Path(__file__).parent / "stubs"
RESOLV_CONF = """nameserver 127.0.0.1
search prod.svc.cluster.local svc.cluster.local cluster.local
options ndots:5
"""
WEB, DB = {"10.96.1.10"}, {"10.244.1.20", "10.244.2.20", "10.244.4.20"}
OUTSIDE = {"192.0.2.80", "2001:db8::80"}
FOUND = [
    ("web", WEB),
    ("WEB", WEB),
    ("web.prod", WEB),
    ("web.prod.svc", WEB),
    ("web.prod.svc.cluster.local", WEB),
    ("web.prod.svc.cluster.local.", WEB),
    ("db", DB),
    ("db-0.db", {"10.244.1.20"}),
    ("outside", OUTSIDE),
    ("www.example.org", OUTSIDE),
    ("dual", {"10.96.1.12", "fd00:10:96::12"}),
    ("missing", set()),
    ("web.nowhere", set()),
    ("nobody", set()),
]
"""What is asked, and the addresses that are found."""


@pytest.fixture(scope="module")
def place() -> Iterator[Host]:
    at = [Endpoint("127.0.0.1", 53)]
    with (
        lone_host("stubs") as host,
        configured(host),
        host.entered(),
        Upstream() as upstream,
        running(upstream.address, listen=at) as own,
    ):
        own.fill()
        yield host


@contextmanager
def configured(host: Host) -> Iterator[None]:
    """Where `ip netns exec` finds the host's own resolv.conf."""
    folder = Path("/etc/netns", host.name)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        (folder / "resolv.conf").write_text(RESOLV_CONF)
        yield
    finally:
        (folder / "resolv.conf").unlink(missing_ok=True)
        folder.rmdir()


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The command line of each resolver, without the name."""
    folder = tmp_path_factory.mktemp("stubs")
    subprocess.run(["musl-gcc", "-o", folder / "musl", HERE / "lookup.c"], check=True)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    go = ["go", "build", "-o", folder / "go", HERE / "lookup.go"]
    subprocess.run(go, check=True, env=environment, cwd=folder)
    return {
        "glibc": ["getent", "ahosts"],
        "musl": [str(folder / "musl")],
        "go": [str(folder / "go")],
        "dnspython": [sys.executable, str(HERE / "lookup.py")],
    }


@pytest.mark.parametrize("stub", ["glibc", "musl", "go", "dnspython"])
@pytest.mark.parametrize(("name", "addresses"), FOUND, ids=[name for name, _ in FOUND])
def test_short_names(place: Host, stubs: dict[str, list[str]], stub: str, name: str, addresses: set[str]) -> None:
    argv = place.argv(*stubs[stub], name)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert {line.split()[0] for line in done.stdout.splitlines()} == addresses, done.stderr
    assert done.returncode == (0 if addresses else 2), done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["web.prod.svc.cluster.local"], "10.96.1.10"),
        (["_http._tcp.web.prod.svc.cluster.local", "SRV"], "web.prod.svc.cluster.local."),
        (["-x", "10.96.1.10"], "web.prod.svc.cluster.local."),
        (["missing.prod.svc.cluster.local"], "NXDOMAIN"),
        (["-t", "web.prod.svc.cluster.local"], "10.96.1.10"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_drill(place: Host, words: list[str], expected: str) -> None:
    assert expected in place.run("drill", *words)

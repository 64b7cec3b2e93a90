"""Who listens on kube-proxy's ports: a rival, or somebody who only happens to be there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus

import pytest

from support.site import lone_host
from svcagent import rivals, status
from svcagent.conflict import Program, Rival
from svckube import observe

pytestmark = pytest.mark.netns

HEALTH = '{"lastUpdated":"2026-01-01T00:00:00Z","currentTime":"2026-01-01T00:00:00Z","nodeEligible":true}'
AGENT = status.body(status.Status("node", "1.2.3", "nft", 1.0, 1.0)).decode()
SERVER = """
import json, sys
from svckube import observe
answers = json.loads(sys.argv[2])
routes = {path: lambda body=body: (200, observe.TEXT, body.encode(), {}) for path, body in answers.items()}
serving = observe.serve("127.0.0.1:" + sys.argv[1], routes)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    """Each test lives in a namespace of its own."""
    with lone_host("rivals") as found, found.entered():
        yield


@contextmanager
def another_process(port: int, answers: Mapping[str, str]) -> Iterator[int]:
    """An HTTP server in a process of its own, in this namespace; gives its process ID."""
    argv = (sys.executable, "-c", SERVER, str(port), json.dumps(answers))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout
            assert running.stdout.readline() == "ready\n"
            yield running.pid
        finally:
            running.kill()


ANSWERS: list[tuple[str, int, Mapping[str, str], Program | None, str]] = [
    ("kube-proxy", 10249, {"/proxyMode": "iptables"}, "kube-proxy", "http://127.0.0.1:10249/proxyMode says iptables"),
    ("kube-proxy in another mode", 10249, {"/proxyMode": "nftables"}, "kube-proxy",
     "http://127.0.0.1:10249/proxyMode says nftables"),
    ("kube-proxy's health only", 10256, {"/healthz": HEALTH}, "kube-proxy",
     "http://127.0.0.1:10256/healthz answers as kube-proxy does"),
    ("an agent of ours", 10249, {"/proxyMode": "iptables", "/status": AGENT}, "svcplane-agent",
     "http://127.0.0.1:10249/proxyMode says iptables, /status says version 1.2.3"),
    ("somebody else's page", 10249, {"/proxyMode": "<html>hello</html>"}, None, ""),
    ("somebody else's health", 10256, {"/healthz": "ok"}, None, ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("port", "answers", "program", "sign"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS]
)
def test_who_answers(port: int, answers: Mapping[str, str], program: Program | None, sign: str) -> None:
    assert rivals.look() is None
    with another_process(port, answers) as pid:
        found = rivals.look()
        if program is None:
            assert found is None
        else:
            assert found is not None
            assert (found.program, found.sign, found.pid) == (program, sign, pid)
            assert found.command.startswith("python")
    assert rivals.look() is None


def test_our_own_listener_is_no_rival() -> None:
    serving = observe.serve("127.0.0.1:10249", {"/proxyMode": lambda: (HTTPStatus.OK, observe.TEXT, b"iptables", {})})
    try:
        assert rivals.look() is None
    finally:
        serving.close()


def test_whoever_is_in_another_namespace_is_none() -> None:
    with another_process(10249, {"/proxyMode": "iptables"}), lone_host("elsewhere") as other, other.entered():
        found: Rival | None = rivals.look()
        assert found is None

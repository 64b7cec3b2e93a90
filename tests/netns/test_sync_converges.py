"""The agent's loop when its n-th iptables command or write fails, for n = 1, 2, 3 ...: it converges all the same.

The commands are the real ones behind a script that counts, and so is the writer by netlink. A failure comes either
before the command has done anything, or after all of it was done and before it was said.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.dumps import Normal, normal
from support.programs import program
from support.site import lone_host
from support.stepped import Stepped
from support.worlds import endpoint, service, slice_of
from svcagent.writing import Way
from svckube.objects import EndpointSlice, Node, Service
from svckube.store import Listed
from svckube.stream import Deleted
from svclab.netns import Host
from svcnet import nftwriter
from svcnet.writers import Iptables, IptablesError

pytestmark = pytest.mark.netns

TOOLS = ("iptables-nft", "iptables-nft-save", "iptables-nft-restore")
WRITERS: dict[Way, str] = {"netlink": "netlink", "restore": "iptables-nft-restore"}
REAL = {tool: shutil.which(tool) or "" for tool in TOOLS}
IPTABLES = Iptables("IPv4", "nft")
WEB = service(ports=[{"port": 80, "nodePort": 30080}])
FIRST = slice_of("web", endpoint("10.244.1.1"), version="1")
SECOND = slice_of("web", endpoint("10.244.1.1"), endpoint("10.244.1.2"), version="2")
OTHER = service("other", clusterIP="10.96.0.11", clusterIPs=["10.96.0.11"], ipFamilies=["IPv4"])
HOUR = 3600.0


@pytest.fixture
def host() -> Iterator[Host]:
    with lone_host("fails") as found:
        yield found


def made(way: Way) -> Stepped:
    """An agent that is not started yet. A command that fails now ends the program, as it should: nothing runs yet."""
    return Stepped("nft", families=["IPv4"], way=way)


def live_through(stepped: Stepped) -> None:
    """A start, a few changes, somebody's flush; then time for two audits."""
    stepped.start(WEB, FIRST)
    stepped.say(OTHER)
    stepped.say(SECOND)
    stepped.say(Deleted(OTHER))
    subprocess.run([REAL["iptables-nft"], "-t", "nat", "-F", "KUBE-SERVICES"], check=True)  # not counted
    stepped.run(65.0)


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH whose iptables commands count their calls into `calls`, and fail as `fails` says."""
    folder = tmp_path / "bin"
    for tool in TOOLS:
        script = f"""
            echo {tool} >> {folder}/calls
            read -r number when < {folder}/fails
            mine=$(grep -c . {folder}/calls)
            [ "$mine" = "$number" ] && [ "$when" = before ] && {{ echo told to fail >&2; exit 4; }}
            {REAL[tool]} "$@" || exit $?
            [ "$mine" = "$number" ] && {{ echo told to fail >&2; exit 4; }}
            exit 0"""
        program(folder, tool, script)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    real = nftwriter.send

    def send(*arguments: Any, **rest: Any) -> int:
        with (folder / "calls").open("a") as calls:
            print("netlink", file=calls)
        number, when = (folder / "fails").read_text().split()
        fails = len((folder / "calls").read_text().split()) == int(number)
        if fails and when == "before":
            raise IptablesError("told to fail")
        port = real(*arguments, **rest)
        if fails:
            raise IptablesError("told to fail")
        return port

    monkeypatch.setattr(nftwriter, "send", send)
    return folder


def written() -> Normal:
    """What the kernel holds, read past the counting."""
    return normal(subprocess.run([REAL["iptables-nft-save"]], capture_output=True, text=True, check=True).stdout)


def fail(folder: Path, number: int, when: str) -> None:
    (folder / "fails").write_text(f"{number} {when}\n")
    (folder / "calls").write_text("")


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().split()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("way", ["netlink", "restore"])
def test_every_single_failure_is_survived(host: Host, counted: Path, way: Way, when: str) -> None:
    with host.entered():
        fail(counted, 0, when)
        stepped = made(way)
        first = len(calls(counted)) + 1
        live_through(stepped)
        wanted = written()
        count = len(calls(counted))
    assert set(calls(counted)) == {"iptables-nft", "iptables-nft-save", WRITERS[way]}
    for number in range(first, count + 1):
        with lone_host(f"fails{number}") as fresh, fresh.entered():
            fail(counted, number, when)
            live_through(stepped := made(way))
            assert written() == wanted, f"call {number}: {calls(counted)[number - 1]}"
            assert stepped.agent.livez()[0] == 200


def test_iptables_that_never_works_is_unhealthy_until_it_does(host: Host, counted: Path) -> None:
    with host.entered():
        fail(counted, 0, "before")
        stepped = made("restore")
        program(counted, "iptables-nft-restore", "echo no >&2; exit 4")
        stepped.start(WEB, FIRST)
        stepped.run(59)
        assert stepped.agent.livez()[0] == 200
        stepped.run(2)
        assert stepped.agent.livez()[0] == 503
        assert stepped.metric("kubeproxy_sync_proxy_rules_iptables_restore_failures_total") >= 5
        (counted / "iptables-nft-restore").unlink()
        stepped.run(31)
        assert stepped.agent.livez()[0] == 200
        assert "KUBE-SVC-" in IPTABLES.dump()


LISTS = {kind.__name__: Listed(kind, ()) for kind in (Service, EndpointSlice, Node)}


@pytest.mark.parametrize("missing", LISTS)
def test_nothing_is_written_before_all_is_listed(host: Host, missing: str) -> None:
    with host.entered():
        stepped = Stepped("nft")
        stepped.agent.receive([each for name, each in LISTS.items() if name != missing])
        stepped.run(HOUR)
        assert "KUBE" not in IPTABLES.dump()
        stepped.agent.receive([LISTS[missing]])
        stepped.run(0)
        assert "KUBE-SERVICES" in IPTABLES.dump()

"""A service whose rules the host refuses is left out and named; the others are served."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.programs import program
from support.site import lone_host
from support.stepped import Stepped
from support.worlds import endpoint, service, slice_of
from svcagent.events import Happening
from svcagent.writing import Way
from svckube.objects import EndpointSlice, Service
from svcnet import nftwriter
from svcnet.rules import render
from svcnet.transactions import Batch
from svcnet.writers import IptablesError

pytestmark = pytest.mark.netns

COUNT = 9


def named(number: int) -> str:
    return f"web-{number}"


def objects(number: int) -> tuple[Service, EndpointSlice]:
    address = f"10.96.1.{number + 1}"
    made = service(named(number), clusterIP=address, clusterIPs=[address], ipFamilies=["IPv4"], ports=[{"port": 80}])
    return made, slice_of(named(number), endpoint(f"10.244.1.{number + 1}"))


def refuse_by_restore(names_the_line: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.which("iptables-nft-restore")
    said = "line $(grep -n web-4 $input | head -1 | cut -d: -f1) failed" if names_the_line else "something failed"
    refusing = f"""
        input=$(mktemp -p {tmp_path})
        cat > $input
        grep -q web-4 $input && {{ echo "{said}" >&2; exit 1; }}
        {real} "$@" < $input"""
    program(tmp_path / "bin", "iptables-nft-restore", refusing)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")


def refuse_by_netlink(names_the_rule: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    real = nftwriter.send

    def checked(made: Iterable[Batch]) -> Iterator[Batch]:
        for batch in made:
            rules = (rule for step in batch.steps for rule in step.rules)
            for text in filter(lambda text: "web-4" in text, map(render, rules)):
                line = f"-A KUBE-SOMETHING {text}" if names_the_rule else ""
                raise IptablesError(f"the kernel refuses rules: {line}", 0, line)
            yield batch

    def send(made: Iterable[Batch], *arguments: Any, **rest: Any) -> int:
        return real(checked(made), *arguments, **rest)

    monkeypatch.setattr(nftwriter, "send", send)


@pytest.mark.parametrize("named_at_once", [True, False], ids=["the rule is named", "it is not"])
@pytest.mark.parametrize("way", ["netlink", "restore"])
def test_one_bad_service_among_others(way: Way, named_at_once: bool, tmp_path: Path) -> None:
    refusing = pytest.MonkeyPatch()
    if way == "netlink":
        refuse_by_netlink(named_at_once, refusing)
    else:
        refuse_by_restore(named_at_once, tmp_path, refusing)
    announced: list[Happening] = []
    with lone_host("refuse") as host, host.entered():
        stepped = Stepped("nft", families=["IPv4"], announce=announced.append, way=way)
        stepped.start(*(each for number in range(COUNT) for each in objects(number)))
        stepped.run(60.0)
        dump = subprocess.run(["iptables-nft-save", "-t", "nat"], capture_output=True, text=True, check=True).stdout
        served = [number for number in range(COUNT) if f'"ns/{named(number)}"' in dump]
        assert served == [number for number in range(COUNT) if number != 4]
        assert stepped.metric("svcplane_services_refused") == 1
        assert [each.regarding for each in announced] == [("Service", "ns", "web-4")]
        assert stepped.agent.livez()[0] == 200

        refusing.undo()
        stepped.say(slice_of(named(4), endpoint("10.244.1.99"), version="2"), seconds=5.0)
        dump = subprocess.run(["iptables-nft-save", "-t", "nat"], capture_output=True, text=True, check=True).stdout
        assert "10.244.1.99:8080" in dump, "a change of the service is a new try"

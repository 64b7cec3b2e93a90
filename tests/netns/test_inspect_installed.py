"""The commands that look, beside a real kernel: `rules` is what iptables-restore takes, `trace` reads it back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import commands
from support.commands import TABLE, written
from support.dumps import difference, normal
from support.flows import CLUSTER_CIDR, PODS
from support.site import lone_host
from svcagent.inspection.sources import SourceError
from svclab.netns import Host
from svcnet.rules import FAMILIES
from svcnet.writers import Flavour, Iptables

pytestmark = pytest.mark.netns

FLAGS = ("--cluster-cidr", CLUSTER_CIDR, "--hostname-override", "node")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("table"), TABLE)


@pytest.fixture(scope="module", params=["nft", "legacy"])
def programmed(request: pytest.FixtureRequest, table: str) -> Iterator[tuple[Host, Flavour, dict[str, str]]]:
    """A host whose rules were written from what `rules` printed, and these texts by family."""
    flavour: Flavour = request.param
    texts = {family: printed("rules", "--file", table, "--family", family, *FLAGS) for family in FAMILIES}
    with lone_host(f"inspect-{flavour}") as host:
        with host.entered():
            for family in FAMILIES:
                Iptables(family, flavour).restore(texts[family])
        yield host, flavour, texts


def printed(command: str, *argv: str) -> str:
    """What a command prints; in a process of its own, because it enters the namespace for good."""
    call = f"import sys; from support import commands; sys.exit(commands.{command}(*sys.argv[1:]))"
    tests = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": tests}
    argv = (sys.executable, "-c", call, *argv)
    return subprocess.run(argv, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout


def test_rules_are_what_the_kernel_shows(programmed: tuple[Host, Flavour, dict[str, str]]) -> None:
    host, flavour, texts = programmed
    with host.entered():
        for family in FAMILIES:
            shown = normal(Iptables(family, flavour).dump())
            assert difference(normal(texts[family]), shown) == ""


def trace(programmed: tuple[Host, Flavour, dict[str, str]], *argv: str) -> dict[str, Any]:
    host, flavour, _ = programmed
    place = ("--netns", host.name, "--iptables-flavour", flavour)
    found: dict[str, Any] = json.loads(printed("trace", "--json", *place, *FLAGS, *argv))
    return found


NAMED = [
    pytest.param(("--to", "web"), list(PODS.values()), [], id="a Service by its name in the rules"),
    pytest.param(("10.96.0.20:80",), list(PODS.values()), [], id="an address alone"),
    pytest.param(("--to", "multi:https"), [PODS["pod1"]], [], id="a port by its name in the rules"),
    pytest.param(("--to", "web", "--family", "IPv6"), None, [], id="the other family"),
    pytest.param(("--to", "empty", "--from", "outside"), ["10.96.0.23"], ["Rule"], id="no endpoints, by the comment"),
    pytest.param(("--to", "multi:81"), ["10.96.0.21"], ["WrongPort"], id="a wrong port, by the comments"),
]


@pytest.mark.parametrize(("argv", "addresses", "codes"), NAMED)
def test_installed_rules_tell_names_without_any_object(
    argv: tuple[str, ...],
    addresses: list[str] | None,
    codes: list[str],
    programmed: tuple[Host, Flavour, dict[str, str]],
) -> None:
    found = trace(programmed, *argv)
    assert [each["code"] for each in found["reasons"]] == codes
    landed = [each["address"] for each in found["outcomes"]]
    assert landed == addresses if addresses is not None else len(landed) == 3
    assert f", installed here in {programmed[0].name} (ip" in found["rules"]


def test_installed_rules_are_explained_by_the_objects(
    programmed: tuple[Host, Flavour, dict[str, str]], table: str
) -> None:
    found = trace(programmed, "--file", table, "--rules", "installed", "--from", "flows/pod1", "--to", "empty")
    assert [each["code"] for each in found["reasons"]] == ["NoEndpoints"]
    assert "installed here" in found["rules"]


def test_a_host_without_rules_is_told(table: str) -> None:
    with lone_host("inspect-bare") as host:
        place = ("--netns", host.name, "--iptables-flavour", "nft", "--file", table, "--rules", "installed")
        found = json.loads(printed("trace", "--json", *place, *FLAGS, "--to", "web"))
    assert [each["code"] for each in found["reasons"]] == ["NotProgrammed"]
    assert "is an agent (or kube-proxy) running on this node?" in found["reasons"][0]["message"]


def test_a_pod_has_no_name_without_objects() -> None:
    with pytest.raises(SourceError, match="a pod is found by name with --kubeconfig or --file"):
        commands.trace("--from", "flows/pod1", "--to", "web")

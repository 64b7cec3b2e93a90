"""`svcplane-agent rules`: the daemon's own rules from a file, without a kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import commands
from support.commands import TABLE, written
from support.dumps import normal
from support.flows import CLUSTER_CIDR
from support.judge import compiled
from svcagent.inspection.sources import SourceError
from svcnet.rules import FAMILIES, Family, parse, render_tables

FLAGS = ("--cluster-cidr", CLUSTER_CIDR, "--hostname-override", "node")


def shown(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    status = commands.rules(*argv)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize("family", FAMILIES)
def test_they_are_what_the_pipeline_writes(family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, TABLE)
    status, out, err = shown(capsys, "--file", file, "--family", family, "--nfacct", *FLAGS)
    assert (status, err) == (0, "")
    ours = {key: rules for key, rules in normal(out).items() if key[1].startswith("KUBE-")}
    theirs = normal(render_tables(compiled()[family]))
    assert ours == {key: rules for key, rules in theirs.items() if key[1].startswith("KUBE-")}


def test_both_families_come_one_after_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = shown(capsys, "--file", written(tmp_path, TABLE), *FLAGS)
    four, six = out.split("# IPv6")
    assert four.startswith("# IPv4, node node\n*mangle\n")
    assert "10.96.0.20/32" in four
    assert "fd00:10:96::20/128" in six


def test_one_service_is_its_chains_and_its_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, TABLE)
    _, out, _ = shown(capsys, "flows/multi", "--file", file, "--family", "IPv4", *FLAGS)
    tables = parse(out)
    assert set(tables) == {"nat"}
    kinds = sorted(name.rpartition("-")[0] for name in tables["nat"])
    assert kinds == ["KUBE", "KUBE-SEP", "KUBE-SEP", "KUBE-SVC", "KUBE-SVC"]
    comments = [line for line in out.splitlines() if line.startswith("-A")]
    assert comments
    assert all("flows/multi:http" in line for line in comments)
    whole = commands.rules("--file", file, "--family", "IPv4", *FLAGS)
    assert whole == 0
    assert set(comments) <= set(capsys.readouterr().out.splitlines())


def test_the_lines_of_several_services_add_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, TABLE)
    one, other, both = (
        {line for line in shown(capsys, *names, "--file", file, *FLAGS)[1].splitlines() if line.startswith("-A")}
        for names in (["web.flows"], ["empty"], ["web.flows", "empty"])
    )
    assert one
    assert other
    assert one | other == both


NAMES = [
    pytest.param("flows/wev", "there is no Service 'flows/wev'; nearest: flows/web", id="a typing error"),
    pytest.param("shop/web", "there is no Service 'shop/web'; nearest: flows/web", id="another namespace"),
    pytest.param("zzzzzz", "there is no Service 'default/zzzzzz' among", id="nothing like it"),
]


@pytest.mark.parametrize(("name", "message"), NAMES)
def test_a_missing_service_is_refused_with_the_nearest(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=message):
        commands.rules(name, "--file", written(tmp_path, TABLE), *FLAGS)


def test_a_bad_object_is_named_and_the_rest_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bad"}, "spec": {"ports": 7}}
    file = written(tmp_path, [bad, *TABLE])
    status, out, err = shown(capsys, "--file", file, *FLAGS)
    assert status == 1
    assert "items[0] of line 1: Service bad: Expected `array | null`, got `int`" in err
    assert "flows/web cluster IP" in out


def test_a_partly_bad_object_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    service = json.loads(json.dumps(TABLE[0]))
    service["spec"]["externalIPs"] = ["junk"]
    status, out, err = shown(capsys, "--file", written(tmp_path, [service, *TABLE[1:]]), *FLAGS)
    assert (status, err.count("externalIP 'junk' is not an IP address")) == (0, 1)
    assert "flows/web cluster IP" in out


def test_flags_of_run_shape_the_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, TABLE)
    _, plain, _ = shown(capsys, "--file", file, "--family", "IPv4", *FLAGS)
    _, marked, _ = shown(capsys, "--file", file, "--family", "IPv4", "--iptables-masquerade-bit", "15", *FLAGS)
    assert plain.replace("0x4000", "0x8000") == marked
    limited = shown(capsys, "--file", file, "--family", "IPv4", "--nodeport-addresses", "192.168.56.0/24", *FLAGS)[1]
    assert "-A KUBE-SERVICES -d 192.168.56.11/32 -m comment --comment" in limited


def test_the_only_node_of_a_file_is_the_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects = [each for each in TABLE if (each["kind"], each["metadata"]["name"]) != ("Node", "node")]
    _, out, err = shown(capsys, "--file", written(tmp_path, objects), "--cluster-cidr", CLUSTER_CIDR)
    assert out.startswith("# IPv4, node backend\n")
    assert err == ""


def test_a_node_that_is_not_in_the_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, TABLE)
    status, _, err = shown(capsys, "--file", file, "--hostname-override", "elsewhere")
    assert status == 0
    assert "there is no Node 'elsewhere'" in err
    assert "(known: backend, node)" in err


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read .*nothing"):
        commands.rules("--file", str(tmp_path / "nothing"))

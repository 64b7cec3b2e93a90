"""Which writer a host gets, and what is written when netlink cannot say a rule."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.nodes import dialect_of
from support.programs import program
from support.site import lone_host
from svcagent.patch import Patch
from svcagent.writing import Writer, WritingError, chosen, misread
from svclab.netns import Host
from svcnet.rules import FAMILIES, RETURN, Family, Other, Rule
from svcnet.writers import Iptables

pytestmark = pytest.mark.netns

WARNING = "rules are written by iptables-restore"


@pytest.fixture
def host() -> Iterator[Host]:
    with lone_host("choice") as found, found.entered():
        yield found


@pytest.mark.parametrize("family", FAMILIES)
def test_this_iptables_shows_every_shape_as_it_should(host: Host, family: Family) -> None:
    tool, shape = Iptables(family, "nft"), dialect_of("--cluster-cidr", "10.244.0.0/16,fd00::/48", family=family)
    assert misread(tool, shape) == ""
    assert chosen("auto", tool, shape).way == "netlink"
    assert chosen("restore", tool, shape).way == "restore"
    assert "KUBE" not in tool.dump(), "it was tried elsewhere"


def test_an_iptables_that_shows_it_otherwise_gets_restore_and_a_warning(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = shutil.which("iptables-nft-save")
    program(tmp_path, "iptables-nft-save", f"{real} \"$@\" | sed 's,--set-xmark 0x4000/0x4000,--or-mark 0x4000,'")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    tool = Iptables("IPv4", "nft")
    assert chosen("auto", tool, dialect_of()).way == "restore"
    assert caplog.text.count(WARNING) == 1
    assert misread(tool, dialect_of()) == "iptables shows otherwise what netlink wrote: nat KUBE-MARK-MASQ"
    assert chosen("netlink", tool, dialect_of()).way == "netlink", "who asks for it gets it"


def test_legacy_tables_are_written_by_restore(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    tool = Iptables("IPv4", "legacy")
    assert chosen("auto", tool, dialect_of()).way == "restore"
    assert WARNING not in caplog.text
    with pytest.raises(WritingError, match="--iptables-writer=netlink needs iptables-nft"):
        chosen("netlink", tool, dialect_of())


UNTRIED = """
from support.nodes import dialect_of
from svcagent import writing
from svcnet.writers import Iptables
tool = Iptables("IPv4", "nft")
for writing.KNOWN in ({tool.version()}, ()):
    print(writing.chosen("auto", tool, dialect_of()).way)
print(writing.misread(tool, dialect_of()))
"""


def test_without_the_right_to_a_namespace_the_version_decides(host: Host) -> None:
    argv = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", sys.executable, "-c", UNTRIED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)
    known, unknown, problem = done.stdout.splitlines()
    assert (known, unknown) == ("netlink", "restore")
    assert problem.startswith("netlink could not be tried (")
    assert "--iptables-writer=netlink" in problem


def test_a_rule_that_netlink_cannot_say_is_written_by_restore_with_all_of_its_patch(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    limited = Rule(matches=(Other("-m limit --limit 3/min"),), target=RETURN)
    writer = Writer(Iptables("IPv4", "nft"), "netlink")
    patch = Patch({("nat", "KUBE-SVC-A"): (Rule(target=RETURN),), ("nat", "KUBE-SVC-B"): (limited,)})
    assert writer.accepts(patch)
    assert writer.write(lambda: [patch]) == "restore"
    assert "rules that netlink cannot say" in caplog.text
    dump = writer.iptables.dump("nat")
    assert "-A KUBE-SVC-A -j RETURN" in dump
    assert "-A KUBE-SVC-B -m limit --limit 3/min -j RETURN" in dump
    assert writer.write(lambda: [Patch({("nat", "KUBE-SVC-A"): ()})]) == "netlink", "the next one is another matter"

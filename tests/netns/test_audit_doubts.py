"""A difference right after healing: another hand in between is healed again; a spelling of iptables' own is let be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.dumps import normal
from support.nodes import CLUSTER_CIDR
from support.site import lone_host
from support.stepped import Stepped
from support.worlds import endpoint, service, slice_of
from svcnet.writers import Flavour, Iptables

pytestmark = pytest.mark.netns

OBJECTS = (service(ports=[{"port": 80, "nodePort": 30080}]), slice_of("web", endpoint("10.244.1.1")))
NOT_AUDITED = "this iptables shows rules otherwise than they were written"


@pytest.fixture(params=["nft", "legacy"])
def flavour(request: pytest.FixtureRequest) -> Iterator[Flavour]:
    found: Flavour = request.param
    with lone_host("doubt") as host, host.entered():
        yield found


def wrap(command: str, folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a command of this name before the real one, which `script` calls `$real`."""
    real = shutil.which(command)
    assert real
    wrapper = folder / command
    wrapper.write_text(f"#!/bin/sh\nreal={real}\n{script}\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def started(flavour: Flavour) -> Stepped:
    stepped = Stepped(flavour, "--cluster-cidr", CLUSTER_CIDR, families=("IPv4",))
    stepped.start(*OBJECTS)
    return stepped


def test_a_change_between_healing_and_looking_again_is_healed_too(
    flavour: Flavour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # The audit looks, the pass that heals looks, and then it is looked whether that helped: just before, it is undone.
    looks = tmp_path / "looks"
    script = f"""[ ! -e {looks} ] || echo >> {looks}
        [ "$(grep -c ^ {looks} 2>/dev/null)" != 3 ] || {{ rm {looks}; iptables-{flavour} -t nat -F KUBE-MARK-MASQ; }}
        "$real" "$@\""""
    wrap(f"iptables-{flavour}-save", tmp_path, script, monkeypatch)
    tool = Iptables("IPv4", flavour)
    stepped = started(flavour)
    before = normal(tool.dump())
    looks.touch()
    tool.run("-t", "nat", "-F", "KUBE-SERVICES")
    stepped.run(60)
    assert not looks.exists()
    assert normal(tool.dump()) == before
    assert stepped.metric("svcplane_healed_total") == 2
    assert NOT_AUDITED not in caplog.text


def test_what_iptables_spells_in_its_own_way_is_let_be_until_it_becomes_something_else(
    flavour: Flavour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spelled = "sed 's,--set-xmark 0x4000/0x4000,--or-mark 0x4000,'"
    wrap(f"iptables-{flavour}-save", tmp_path, f'"$real" "$@" | {spelled}', monkeypatch)
    tool = Iptables("IPv4", flavour)
    stepped = started(flavour)
    before = normal(tool.dump())
    stepped.run(60)
    assert caplog.text.count(NOT_AUDITED) == 1
    healed = stepped.metric("svcplane_healed_total")
    stepped.run(600)
    assert stepped.metric("svcplane_healed_total") == healed == 2
    tool.run("-t", "nat", "-F", "KUBE-MARK-MASQ")
    assert normal(tool.dump()) != before
    stepped.run(60)
    assert normal(tool.dump()) == before

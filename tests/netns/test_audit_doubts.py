"""A difference right after healing: another hand in between is healed again; a spelling of iptables' own is let be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.dumps import normal
from support.nodes import CLUSTER_CIDR
from support.running import wrap
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


def started(flavour: Flavour) -> Stepped:
    stepped = Stepped(flavour, "--cluster-cidr", CLUSTER_CIDR, families=("IPv4",))
    stepped.start(*OBJECTS)
    return stepped


def test_a_change_between_healing_and_looking_again_is_healed_too(
    flavour: Flavour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # The audit looks, or the pass that heals; and then it is looked whether that helped: just before, it is undone.
    looks = tmp_path / "looks"
    script = f"""[ ! -e {looks} ] || echo >> {looks}
        [ "$(grep -c ^ {looks} 2>/dev/null)" != 2 ] || {{ rm {looks}; iptables-{flavour} -t nat -F KUBE-MARK-MASQ; }}
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


def test_a_list_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """iptables-nft shows a part of the chains if somebody commits meanwhile: what is missing then is not healed."""
    with lone_host("doubt") as host, host.entered():
        cut = tmp_path / "cut"
        script = f"""[ -e {cut} ] || exec "$real" "$@"
            rm {cut}; iptables-nft -t nat -N THEIRS; "$real" "$@" | grep -v KUBE-MARK-MASQ"""
        stepped = started("nft")
        wrap("iptables-nft-save", tmp_path, script, monkeypatch)
        cut.touch()
        stepped.run(60)
        assert not cut.exists()
        assert stepped.metric("svcplane_healed_total") == 0
        Iptables("IPv4", "nft").run("-t", "nat", "-F", "KUBE-MARK-MASQ")
        stepped.run(60)
        assert stepped.metric("svcplane_healed_total") == 1


def test_rules_that_nobody_has_written_since_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lone_host("doubt") as host, host.entered():
        looks = tmp_path / "looks"
        wrap("iptables-nft-save", tmp_path, f'echo >> {looks}; exec "$real" "$@"', monkeypatch)
        stepped = started("nft")
        stepped.run(31)
        assert looks.read_text() == 2 * "\n", "the first pass, and the first audit"
        stepped.run(600)
        assert looks.read_text() == 2 * "\n"
        Iptables("IPv4", "nft").run("-t", "nat", "-F", "KUBE-MARK-MASQ")
        stepped.run(31)
        assert stepped.metric("svcplane_healed_total") == 1

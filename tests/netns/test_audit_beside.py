"""A look at the rules takes its time and nothing waits for it; what is written meanwhile does not count as foreign."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.running import Running, wrap
from support.site import lone_host
from support.waiting import eventually
from support.worlds import endpoint, slice_of
from svcnet.writers import Flavour

pytestmark = pytest.mark.netns

HELD = """[ -e {0}/hold ] || exec "$real" "$@"
"$real" "$@" > {0}/shown
touch {0}/begun
while [ -e {0}/hold ]; do sleep 0.05; done
cat {0}/shown
touch {0}/ended"""
"""What iptables-save shows arrives when the test lets it: then it is old."""


@pytest.fixture(params=["nft", "legacy"])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    found: Flavour = request.param
    return found


@pytest.fixture
def agent(flavour: Flavour) -> Iterator[Running]:
    with lone_host("aside") as host:
        running = Running(host, flavour)
        yield running
        running.stop()


def test_changes_go_out_during_a_look_and_are_not_taken_for_foreign_ones(
    agent: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrap(f"{agent.tool.command()}-save", tmp_path, HELD.format(tmp_path), monkeypatch)
    begun, ended, hold = (tmp_path / name for name in ("begun", "ended", "hold"))
    hold.touch()
    agent.restore("*nat\n" + "".join(f":THEIRS-{each} - [0:0]\n" for each in range(100)) + "COMMIT\n")
    eventually(begun.exists, "somebody wrote more than is named: the look begins", 30)
    for version, address in enumerate(("10.244.1.7", "10.244.1.8"), 2):
        agent.say(slice_of("web", endpoint(address), version=str(version)))
        wanted = f"--to-destination {address}:80"
        eventually(lambda: wanted in agent.run("-t", "nat", "-S"), "the change goes out", 30)  # noqa: B023
    assert hold.exists()
    assert not ended.exists()
    written = agent.run("-t", "nat", "-S")
    hold.unlink()
    eventually(ended.exists, "the look ends", 30)
    agent.run("-t", "nat", "-F", "KUBE-MARK-MASQ")
    eventually(agent.healed, "what somebody else does after that is healed, so the look has been judged", 30)
    before = sorted(written.splitlines())
    eventually(lambda: sorted(agent.run("-t", "nat", "-S").splitlines()) == before, "all is as it was written", 30)
    assert agent.healed() == 1

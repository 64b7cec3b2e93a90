"""The benchmark of disturbances, small: what is no foreign flush fails no connection, and what is one is healed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import disturbances, stage
from bench.crowd import Crowd
from bench.disturbances import Playing, Row
from peers.control_plane import ControlPlane
from svclab.netns import Host

pytestmark = [pytest.mark.peers, pytest.mark.timeout(600)]

CROWD = Crowd(300, 3)


@pytest.fixture(scope="module")
def machine() -> Iterator[tuple[Host, ControlPlane]]:
    with stage.machine() as (host, plane):
        CROWD.populate(plane)
        disturbances.serve(plane, CROWD)
        yield host, plane


@pytest.fixture(params=["nft", "legacy"])
def now(request: pytest.FixtureRequest, machine: tuple[Host, ControlPlane]) -> Iterator[Playing]:
    with disturbances.playing(*machine, CROWD, f"agent-{request.param}", lambda _: None) as playing:
        yield playing


def failures(rows: list[Row]) -> dict[str, object]:
    """Not kube-proxy's in nftables mode: at its start it removes rules of iptables before it writes its own."""
    ours = [row for row in rows if row.program != "kube-proxy-nftables"]
    return {row.name: row.seen for row in ours if row.failed or not row.healed}


@pytest.mark.parametrize("group", ["restarts", "resync", "dispatch", "handover", "nftables"])
def test_no_connection_fails(now: Playing, group: str) -> None:
    disturbances.GROUPS[group](now)
    assert now.rows
    assert failures(now.rows) == {}
    assert all(each.tried for row in now.rows for each in row.seen.values())


def test_what_others_remove_is_healed(now: Playing) -> None:
    disturbances.foreign(now)
    assert now.metric("svcplane_healed_total") >= len(now.rows)
    assert [row.name for row in now.rows if not row.healed] == []
    concerned = {"one rule deleted": {"middle", "random"}}
    for row in now.rows:
        hurt = {name for name, each in row.seen.items() if each.failed}
        assert hurt <= concerned.get(row.name, hurt), row

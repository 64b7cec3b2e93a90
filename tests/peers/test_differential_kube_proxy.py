"""Random histories of objects, before the real kube-proxy and before ours: the same rules after every step.

A fixed seed for each set of switches. `make soak SEED=… STEPS=…` goes further; how it works: `peers/differential.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.control_plane import ControlPlane
from peers.differential import players, run
from peers.sessions import SESSIONS, Session

pytestmark = [pytest.mark.peers, pytest.mark.timeout(240)]  # a failure takes a minute more, to be made small

STEPS = {"large": 40}
USUAL_STEPS = 45


@pytest.fixture(scope="module")
def quiet_control_plane(binaries: Path) -> Iterator[ControlPlane]:
    """Without controllers: nobody but this test touches the slices."""
    with ControlPlane(binaries, controllers=()) as running:
        yield running


@pytest.mark.parametrize("session", SESSIONS, ids=[each.id for each in SESSIONS])
def test_the_same_rules_after_every_step(
    binaries: Path, tmp_path: Path, quiet_control_plane: ControlPlane, session: Session
) -> None:
    steps = STEPS.get(session.id, USUAL_STEPS)
    with players(binaries, tmp_path, quiet_control_plane, session) as found:
        tally = run(found, seed=SESSIONS.index(session), steps=steps)
    assert tally.steps == steps
    assert tally.refused < tally.changes / 5, "\n".join(["a generator that is refused tests little", *found.refused])

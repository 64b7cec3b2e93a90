"""Random objects and questions before the real CoreDNS and before ours: the same replies, but for what we want.

A fixed seed for each session. `make dns-soak SEED=… QUESTIONS=…` goes further; `peers/dns_differential.py`
tells how it works.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.control_plane import ControlPlane
from peers.dns_differential import ACCEPTED, CONTROL_PLANE_FLAGS, SESSIONS, Accepted, Session, players, run

pytestmark = pytest.mark.peers

QUESTIONS = 600
README = Path(__file__).parents[2] / "dns/README.md"


@pytest.fixture(scope="module")
def quiet_control_plane(binaries: Path) -> Iterator[ControlPlane]:
    """Without controllers: nobody but this test touches the objects."""
    with ControlPlane(binaries, controllers=(), apiserver_flags=CONTROL_PLANE_FLAGS) as running:
        yield running


@pytest.mark.parametrize("session", SESSIONS, ids=[each.id for each in SESSIONS])
def test_the_same_replies(binaries: Path, tmp_path: Path, quiet_control_plane: ControlPlane, session: Session) -> None:
    with players(binaries, tmp_path, quiet_control_plane, session) as found:
        tally = run(found, seed=SESSIONS.index(session), questions=QUESTIONS)
    assert tally.questions == QUESTIONS
    assert tally.rcodes[0] > QUESTIONS / 6, "a generator of questions that nothing answers tests little"
    assert tally.refused < tally.changes / 5, "\n".join(["a generator that is refused tests little", *found.refused])


@pytest.mark.parametrize("accepted", ACCEPTED, ids=[each.because for each in ACCEPTED])
def test_every_accepted_difference_is_documented(accepted: Accepted) -> None:
    assert accepted.because in README.read_text()

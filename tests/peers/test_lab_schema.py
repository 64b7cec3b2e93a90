"""The facts that the lab's API server stands on are those of the pinned kube-apiserver."""

from __future__ import annotations

import pytest

from peers.control_plane import ControlPlane
from peers.draw_schema import TARGET, drawn

pytestmark = pytest.mark.peers


def test_facts_are_those_of_the_real_server(control_plane: ControlPlane) -> None:
    """If this fails: `python tests/peers/draw_schema.py`, and read the difference."""
    assert drawn(control_plane.get) == TARGET.read_bytes()

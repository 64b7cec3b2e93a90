"""`svcplane-lab down`: the lab is gone, also one that was left half-made, and twice."""

from __future__ import annotations

import argparse
import time

import msgspec

from svclab.cluster import places, removal, state, topology
from svclab.cluster.plan import Plan
from svclab.cluster.state import Lab
from svclab.errors import LabError


def configure(parser: argparse.ArgumentParser) -> None:
    places.add_flags(parser)


def run(parsed: argparse.Namespace) -> int:
    folder = state.folder_of(parsed.name, parsed.state)
    if not (
        folder.exists()
        or topology.existing(parsed.name)
        or topology.has_link(Plan(name=parsed.name).link)
        or removal.unrecorded(parsed.name, folder)
    ):
        print(f"there is no lab {parsed.name}")
        return 0
    began = time.monotonic()
    with state.locked(folder):
        try:
            lab = state.find(parsed.name, parsed.state)
        except LabError:  # its plan cannot be read: what it is called is enough to find it
            lab = None
        removal.remove(lab or Lab(msgspec.structs.replace(Plan(), name=parsed.name), folder))
    print(f"lab {parsed.name} is gone ({time.monotonic() - began:.1f} s)")
    return 0

"""`make soak SEED=… STEPS=…`: random histories before kube-proxy and before our agent, for as long as one likes.

The steps are shared out evenly among the sessions of `peers.differential`. Status 1 and a report if the two disagree.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from peers.build import built
from peers.control_plane import ControlPlane
from peers.differential import DisagreementError, players, run
from peers.sessions import SESSIONS


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--session", action="append", choices=[each.id for each in SESSIONS], help="only these")
    parser.add_argument("--refusals", action="store_true", help="show what the API server refused")
    parsed = parser.parse_args()
    chosen = [each for each in SESSIONS if not parsed.session or each.id in parsed.session]
    failed = 0

    def say(line: str) -> None:
        print(f"{session.id}: {line}", flush=True)

    with TemporaryDirectory() as folder, ControlPlane(built(), controllers=()) as control_plane:
        for number, session in enumerate(chosen):
            steps = parsed.steps // len(chosen) + (number < parsed.steps % len(chosen))
            with players(built(), Path(folder), control_plane, session) as found:
                try:
                    tally = run(found, parsed.seed + number, steps, say)
                except DisagreementError as error:
                    failed += 1
                    say(f"FAILED\n{error}")
                else:
                    say(f"{tally}, {tally.pace:.1f} steps a second")
                for late in found.late:
                    say(f"late:\n{late}")
                if parsed.refusals:
                    print(*found.refused, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

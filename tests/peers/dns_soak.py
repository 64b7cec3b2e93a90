"""`make dns-soak SEED=… QUESTIONS=…`: random objects and questions before CoreDNS and before ours.

The questions are shared out evenly among the sessions of `peers.dns_differential`. Status 1 if the two disagree, with
every question to which they said different things.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from peers.build import built
from peers.control_plane import ControlPlane
from peers.dns_differential import CONTROL_PLANE_FLAGS, SESSIONS, players, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="dns_soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--questions", type=int, default=20_000)
    parser.add_argument("--session", action="append", choices=[each.id for each in SESSIONS], help="only these")
    parser.add_argument("--refusals", action="store_true", help="show what the API server refused")
    parsed = parser.parse_args()
    chosen = [each for each in SESSIONS if not parsed.session or each.id in parsed.session]
    different: list[str] = []

    def say(line: str) -> None:
        print(f"{session.id}: {line}", flush=True)

    def report(shown: str) -> None:
        different.append(shown)
        say(shown)

    for number, session in enumerate(chosen):
        flags = CONTROL_PLANE_FLAGS
        with TemporaryDirectory() as folder, ControlPlane(built(), controllers=(), apiserver_flags=flags) as plane:
            questions = parsed.questions // len(chosen) + (number < parsed.questions % len(chosen))
            with players(built(), Path(folder), plane, session) as found:
                tally = run(found, parsed.seed + number, questions, report, say)
                say(f"{tally.questions} questions, {tally.changes} changes, {tally.refused} refused, {tally.rcodes}")
                for because, count in sorted(tally.accepted.items()):
                    say(f"{count:6} accepted: {because}")
                if parsed.refusals:
                    print(*found.refused, sep="\n")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())

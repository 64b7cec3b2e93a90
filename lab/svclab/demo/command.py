"""`svcplane-lab demo`: plays the rows on the running lab, or on one that it brings up; exit status 1 if a row fails."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

from svclab.cluster import kubectl, places, state
from svclab.cluster.bringing_up import bring_up
from svclab.cluster.state import Lab
from svclab.cluster.up_command import next_steps
from svclab.demo.playing import play
from svclab.demo.report import as_data, summary_lines
from svclab.demo.rows import chosen


def configure(parser: argparse.ArgumentParser) -> None:
    places.add_flags(parser)
    add = parser.add_argument
    add("--only", default="", metavar="ROW,...", help="these rows of the table, such as 1,4,9 (default: all)")
    add("--json", action="store_true", help="at the end, all of it as data on stdout; what goes on goes to stderr")
    add("--keep", action="store_true", help="leave the namespaces demo-ROW, to look into")
    add("--at-once", type=int, default=3, metavar="COUNT", help="rows played at the same time (default: 3)")


def run(parsed: argparse.Namespace) -> int:
    def tell(line: str) -> None:
        print(line, file=sys.stderr if parsed.json else sys.stdout, flush=True)

    rows = chosen(parsed.only)
    began = time.monotonic()
    lab, found = _lab(parsed, tell)
    tell(f"\nplaying rows {', '.join(row.name for row in rows)} with {found}\n")
    played = play(lab, found, rows, tell, at_once=max(1, parsed.at_once), keep=parsed.keep)
    seconds = time.monotonic() - began
    for line in (*summary_lines(played, seconds), *next_steps(lab, found)):
        tell(line)
    if parsed.json:
        print(json.dumps(as_data(played, seconds, lab=lab.plan.name, kubeconfig=str(lab.admin_conf)), indent=2))
    return 0 if all(row.ok for row in played) else 1


def _lab(parsed: argparse.Namespace, tell: Callable[[str], None]) -> tuple[Lab, str]:
    """The lab, and its kubectl. One that is there is completed, as `up` does it."""
    there = state.find(parsed.name, parsed.state)
    asked = {} if parsed.name == "lab" else {"name": parsed.name}
    if there is not None:
        asked = {"name": there.plan.name}
    lab, found = bring_up(asked, state.folder_of(parsed.name, parsed.state), tell)
    return lab, found or kubectl.find()

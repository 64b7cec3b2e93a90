"""`svcplane-lab supervise`: the process that `up` leaves behind, and with --pool-route one of its daemons."""

from __future__ import annotations

import argparse
import sys

from svckube.observe import log_to
from svclab.cluster import places


def configure(parser: argparse.ArgumentParser) -> None:
    places.add_flags(parser)
    pool = "lead the load balancer addresses to a live node, nothing else"
    parser.add_argument("--pool-route", action="store_true", help=pool)


def run(parsed: argparse.Namespace) -> int:
    log_to(sys.stderr)
    lab = places.asked(parsed)
    if parsed.pool_route:
        from svclab.cluster.pool_route import lead

        lead(lab)
    else:
        from svclab.cluster.supervisor import Supervisor

        Supervisor(lab).run()
    return 0

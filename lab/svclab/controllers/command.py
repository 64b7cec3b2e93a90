"""`svcplane-lab controllers`: the controllers and the scheduler of a cluster, as one program.

In: a kubeconfig of somebody who may do everything. It runs until SIGTERM or SIGINT, through any outage of the server.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from svckube.access import AccessError, from_kubeconfig
from svckube.observe import log_to, sd_notify
from svclab.controllers.durations import seconds_of
from svclab.controllers.roster import Settings, controllers
from svclab.controllers.runner import Runner
from svclab.errors import LabError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kubeconfig", default="", help="how to reach the API server")
    parser.add_argument("--cluster-cidr", default="10.244.0.0/16", help="the pods' addresses; nodes get parts of it")
    parser.add_argument("--node-cidr-mask-size", type=int, default=24, help="prefix length of a node's part")
    parser.add_argument("--service-cluster-ip-range", default="10.96.0.0/12", help="no node gets a part of this")
    parser.add_argument("--lb-pool", default="", help="addresses for LoadBalancer Services: A-B or a CIDR; empty: none")
    parser.add_argument(
        "--node-monitor-grace-period", default="50s", help="a node silent for so long is unreachable (50s, 1m)"
    )
    parser.add_argument("--root-ca-file", default="", help="goes into the ConfigMap kube-root-ca.crt everywhere")
    parser.add_argument(
        "--log-level", default="info", choices=("debug", "info", "warning", "error"), help="how much is told"
    )


def run(parsed: argparse.Namespace) -> int:
    log_to(sys.stderr, level=parsed.log_level)
    try:
        settings = Settings(
            cluster_cidr=parsed.cluster_cidr,
            node_mask_size=parsed.node_cidr_mask_size,
            service_cidr=parsed.service_cluster_ip_range,
            lb_pool=parsed.lb_pool,
            grace_seconds=seconds_of(parsed.node_monitor_grace_period),
            root_ca=Path(parsed.root_ca_file).read_text() if parsed.root_ca_file else "",
            started=time.time(),
        )
        access = from_kubeconfig(parsed.kubeconfig)
    except ValueError as error:
        raise LabError(f"--node-monitor-grace-period: {error}") from error
    except AccessError as error:
        raise LabError(error.message) from error
    runner = Runner(access, controllers(settings), ready=lambda: _tell("READY=1"))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: runner.stop())
    runner.run()
    _tell("STOPPING=1")
    return 0


def _tell(state: str) -> None:
    sd_notify(state)

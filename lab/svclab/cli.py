"""The command svcplane-lab: a cluster on this machine (`up`, `status`, `down`, …), and each of its daemons alone.

Exit status: 0 done, 1 failed (one line says why and what to try), 2 wrong usage. A command's module is imported only
when it is asked for: a kubelet does not pay for the API server's libraries.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from svclab.errors import LabError

# command: its module (which has `configure(parser)` and `run(parsed) -> exit status`), what it is for
COMMANDS = {
    "up": ("svclab.cluster.up_command", "bring a cluster up on this machine, or resume one"),
    "status": ("svclab.cluster.status_command", "what runs, where, and what to type next"),
    "down": ("svclab.cluster.down_command", "remove the cluster and everything it made"),
    "demo": ("svclab.demo.command", "play what users do, and show the evidence"),
    "exec": ("svclab.cluster.exec_command", "run a command in a pod, on a node or on the outside host"),
    "node": ("svclab.cluster.node_command", "stop or start a node"),
    "kubectl": ("svclab.cluster.kubectl_command", "the kubectl of this cluster, configured"),
    "apiserver": ("svclab.apiserver.command", "the API server alone"),
    "controllers": ("svclab.controllers.command", "the controllers and the scheduler alone"),
    "kubelet": ("svclab.kubelet.command", "the kubelet alone, on this host"),
    "upstream": ("svclab.upstream.command", "the lab's internet: a DNS server and web servers"),
    "supervise": ("svclab.cluster.supervise_command", "keep the daemons of a cluster running (started by `up`)"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point; `argv` without the program's name."""
    faulthandler.enable()  # a crash in native code leaves a traceback in the log
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="svcplane-lab", description="A Kubernetes cluster on one machine.")
    parser.add_argument("--version", action="version", version=f"svcplane-lab {version('svcplane')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, (module, what) in COMMANDS.items():
        command = commands.add_parser(name, help=what, description=what)
        if argv[:1] == [name]:
            import_module(module).configure(command)
    parsed = parser.parse_args(argv)
    try:
        done: int = import_module(COMMANDS[parsed.command][0]).run(parsed)
    except (LabError, OSError) as error:
        print(f"svcplane-lab: {error}", file=sys.stderr)
        return 1
    return done

"""The command svcplane-agent: `run` as a daemon; `rules`, `trace` and `status` to look; `cleanup` what was written.

Exit status: 0 done, 1 failed (one line says why and what to try), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
from collections.abc import Sequence

from svcagent import cleanup_command, configuration, daemon, run_command
from svcagent.inspection import rules_command, status_command, trace_command
from svcagent.inspection.sources import SourceError
from svcagent.inspection.status_command import NotRunningError
from svcagent.options import OptionsError, add_flags, options
from svckube.access import AccessError
from svcnet.links import LinkError, NamespaceError
from svcnet.nftrace import LiveTraceError
from svcnet.tables import TableError
from svcnet.writers import IptablesError

FAILURES = (
    AccessError,
    IptablesError,
    LinkError,
    LiveTraceError,
    NamespaceError,
    NotRunningError,
    SourceError,
    TableError,
    daemon.StartError,
    OSError,
)
"""What ends a command with one line and status 1."""


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point; `argv` without the program's name."""
    faulthandler.enable()  # a crash in native code leaves a traceback in the log
    parser = _parser()
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0].startswith("-") and argv[0] not in ("-h", "--help"):
        argv = ["run", *argv]  # kube-proxy's command lines have no command
    parsed = parser.parse_args(argv)
    try:
        done: int = parsed.command(parsed)
    except OptionsError as error:
        parser.error(str(error))
    except FAILURES as error:
        print(f"svcplane-agent: {error}", file=sys.stderr)
        return 1
    return done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="svcplane-agent", description="Kubernetes Services on one node.")
    commands = parser.add_subparsers(required=True, metavar="run | rules | trace | status | cleanup")
    # Without abbreviations: a flag of kube-proxy's that we lack must not be taken for another one.
    command = commands.add_parser("run", help="watch the API server and program this node", allow_abbrev=False)
    configuration.add_flags(command)
    command.set_defaults(command=lambda parsed: run_command.run(parsed, cleanup_command.run))
    command = commands.add_parser("rules", help="what would be installed, as iptables-save prints it")
    add_flags(command)
    rules_command.add_arguments(command)
    command.set_defaults(command=lambda parsed: rules_command.run(parsed, options(parsed)))
    command = commands.add_parser("status", help="how the agent that runs on this node is")
    status_command.add_arguments(command)
    command.set_defaults(command=status_command.run)
    command = commands.add_parser("trace", help="which rules a packet would meet on this node, and where it lands")
    add_flags(command)
    trace_command.add_arguments(command)
    command.set_defaults(command=lambda parsed: trace_command.run(parsed, options(parsed)))
    command = commands.add_parser("cleanup", help="remove every chain and jump that the agent (or kube-proxy) wrote")
    cleanup_command.add_arguments(command)
    command.set_defaults(command=cleanup_command.run)
    return parser

"""`svcplane-agent rules`: what would be installed, as iptables-save would print it. No kernel is asked, no root needed.

In: the flags of `run`, and a file or the API server. Out: text on standard output, complaints on standard error.
Exit status 1 if a bad object was skipped: the text is right for the rest.
"""

from __future__ import annotations

import argparse
import sys

from svcagent.inspection import sources
from svcagent.inspection.destinations import UnknownServiceError, service_key
from svcagent.inspection.inventory import Inventory, inventory
from svcagent.inspection.sources import SourceError
from svcagent.inspection.wanted import site, wanted, wanted_for
from svcagent.options import Options
from svcnet.rules import FAMILIES, render_tables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes beside the flags of `run`, which shape the rules."""
    parser.add_argument(
        "services",
        nargs="*",
        metavar="NAMESPACE/SERVICE",
        help="only the chains of these Services and their lines in the shared chains",
    )
    parser.add_argument(
        "--file", help="objects as `kubectl get svc,endpointslices,nodes -o yaml` prints them; - reads standard input"
    )
    parser.add_argument("--family", choices=FAMILIES, help="(default: both)")
    parser.add_argument("--nfacct", action="store_true", help="as on a node whose kernel has nfacct counters")


def run(parsed: argparse.Namespace, chosen: Options) -> int:
    """Prints the rules."""
    status = 0
    if parsed.file:
        found = sources.from_file(parsed.file)
        for line in (*found.notes, *found.problems):
            _tell(line)
        status = 1 if found.problems else 0
        objects = inventory(found.objects)
    else:
        objects = sources.from_api(sources.access_of(chosen), _tell)
    name = sources.node_name(chosen, objects, _tell, only_one_counts=bool(parsed.file))
    where = site(chosen, objects, name, accounting=parsed.nfacct)
    keys = _keys(parsed.services, objects)
    told: set[str] = set()
    for family in (parsed.family,) if parsed.family else FAMILIES:
        result = wanted_for(objects, keys, where, family) if keys else wanted(objects, where, family)
        lines = {f"Service {key}: {text}" for key, problems in result.problems.items() for text in problems}
        for line in sorted(lines - told):
            _tell(line)
        told |= lines
        sys.stdout.write(f"# {family}, node {name}\n{render_tables(result.tables)}" if result.tables else "")
    return status


def _keys(names: list[str], objects: Inventory) -> list[str]:
    try:
        return [service_key(name, objects.services) for name in names]
    except UnknownServiceError as error:
        raise SourceError(str(error)) from error


def _tell(line: str) -> None:
    print(f"svcplane-agent: {line}", file=sys.stderr)

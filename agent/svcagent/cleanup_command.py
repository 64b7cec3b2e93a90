"""`svcplane-agent cleanup`: removes what the agent or kube-proxy wrote, and says what that was.

In: a network namespace, a flavour of iptables or `auto` for every one that holds chains of ours. Out: a line for each
thing that was removed, so nothing if there was nothing. With --all also what kube-proxy leaves in other modes and
beside its rules. Sysctls and conntrack entries stay. Raises `IptablesError` if no table can be read at all.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator

from svcagent import daemon, names, patch
from svcnet import accounting, tables
from svcnet.rules import FAMILIES
from svcnet.writers import Flavour, Iptables, IptablesError

NFTABLES_MODE = "kube-proxy"
"""The table of kube-proxy's nftables mode, in either family."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--netns", default="", help="network namespace, a name or a path (default: where it runs)")
    command.add_argument(
        "--iptables-flavour",
        dest="flavour",
        choices=("auto", "nft", "legacy"),
        default="auto",
        help="(default: each one that holds such chains)",
    )
    command.add_argument(
        "--all", action="store_true", help="also kube-proxy's nftables table and its packet counters (nfacct)"
    )


def run(parsed: argparse.Namespace) -> int:
    """The exit status."""
    daemon.enter(parsed.netns)
    for removed in _rules(parsed.flavour):
        print(removed)
    if getattr(parsed, "all", False):
        for removed in _leftovers():
            print(removed)
    return 0


def _rules(wanted: str) -> Iterator[str]:
    failure: IptablesError | None = None
    seen = False
    for iptables in (Iptables(family, flavour) for flavour in _flavours(wanted) for family in FAMILIES):
        try:
            dump = iptables.dump()
        except IptablesError as error:  # a family or flavour that the kernel lacks, or no right to look
            failure = failure or error
            continue
        seen = seen or bool(dump)  # without the right to look, iptables-legacy-save shows nothing and is content
        if text := patch.removal(dump):
            iptables.restore(text)
            lines = text.splitlines()
            chains = sum(line.startswith(":") for line in lines)
            jumps = sum(line.startswith("-D ") for line in lines)
            yield f"removed by {iptables.command()}: {chains} chains, {jumps} jumps to them"
    if failure and not seen:
        raise failure


def _flavours(wanted: str) -> tuple[Flavour, ...]:
    if wanted == "nft":
        return ("nft",)
    if wanted == "legacy":
        return ("legacy",)
    both = shutil.which("iptables-nft") and shutil.which("iptables-legacy")
    return ("nft", "legacy") if both else ("plain",)


def _leftovers() -> Iterator[str]:
    for family in FAMILIES:
        if tables.delete(family, NFTABLES_MODE):
            yield f"removed: {family} nftables table {NFTABLES_MODE}"
    for name in accounting.delete(names.COUNTERS):
        yield f"removed: packet counter {name}"

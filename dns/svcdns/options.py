"""The command line of `svcplane-dns`, as a frozen value.

In: the words after the command's name. Out: `Run`, `NodeLocal`, `Lookup` or `Top`, whole and checked. Bad words end the
program as argparse ends it: the usage and one sentence on stderr, status 2. Names and defaults follow CoreDNS where it
has them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from ipaddress import ip_network
from typing import TypeAlias

import msgspec

from svcdns import nodeflags
from svcdns.clients import Network
from svcdns.flags import add_cluster, add_run, settings_of, source_of
from svcdns.nodeflags import NodeLocal
from svcdns.records import TYPE_NUMBERS, name_of
from svcdns.settings import DNS_PORT, Settings, Source

RATE_LIMIT, LARGEST_RATE = 100, 1_000_000
MOST_WORKERS = 64


class Run(msgspec.Struct, frozen=True):
    """`conf` is the path of a Corefile, in which `port` stands where it names none; else `settings` say it all.

    `http`: addresses that serve /health, /ready and /metrics. `clients`: networks at home beside those that always are;
    `rate_limit`: equal replies a second to a network of strangers, 0 for no limit. `workers`: processes that answer.
    """

    conf: str
    port: int
    settings: Settings | None
    http: tuple[str, ...]
    clients: tuple[Network, ...] = ()
    rate_limit: int = RATE_LIMIT
    workers: int = 1


class Lookup(msgspec.Struct, frozen=True):
    """`name` as it was written; `pod` who asks, `[namespace/]name`, "" for nobody: then the name is taken as whole."""

    source: Source
    name: str
    type: int
    pod: str = ""


class Top(msgspec.Struct, frozen=True):
    """`socket`: of which server, "" if only one runs here."""

    socket: str
    count: int


Command: TypeAlias = Run | NodeLocal | Lookup | Top


def parse(words: Sequence[str], version: str = "") -> Command:
    """The command that the words ask for. Raises SystemExit, after a message on stderr, if they make no sense.

    A command line of CoreDNS works as it is: `-conf FILE`, `-dns.port PORT`; so does one of node-cache: `-localip IP`.
    """
    parser = argparse.ArgumentParser(
        "svcplane-dns", description="Cluster DNS: answers Service names, forwards the rest.", allow_abbrev=False
    )
    parser.add_argument("--version", "-version", action="version", version=f"svcplane-dns {version}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="serve DNS", allow_abbrev=False)
    add = run.add_argument
    add("--conf", default="", metavar="FILE", help="a Corefile, instead of the options below but --http")
    add("--dns.port", dest="port", type=_port, default=DNS_PORT, metavar="PORT", help="where the Corefile names none")
    at_home = "who may ask for other names than the cluster's, beside private networks and those attached; repeatable"
    add("--client-cidrs", nargs="+", action="extend", type=_network, default=[], metavar="CIDR", help=at_home)
    limit = f"equal UDP replies a second to a network of strangers, by default {RATE_LIMIT}; 0: no limit"
    add("--rate-limit", type=_count, default=RATE_LIMIT, metavar="N", help=limit)
    processes = "processes that answer over UDP, by default 1: one for each core that is to answer"
    add("--workers", type=_workers, default=1, metavar="N", help=processes)
    add_cluster(run)
    add_run(run)
    cache = commands.add_parser(nodeflags.COMMAND, help="serve DNS to the node that we are on", allow_abbrev=False)
    nodeflags.add(cache)
    lookup = commands.add_parser("lookup", help="print what would be answered, and why", allow_abbrev=False)
    add_cluster(lookup)
    lookup.add_argument("name", type=_name, metavar="NAME", help="the name; without --from it is taken as whole")
    lookup.add_argument("type", type=_type, nargs="?", default="A", metavar="TYPE", help="A, AAAA, SRV, PTR, ...")
    who = "the name as this pod would ask for it: its search path, question by question"
    lookup.add_argument("--from", dest="pod", default="", metavar="[NAMESPACE/]POD", help=who)
    top = commands.add_parser("top", help="the busiest names and clients of a server that runs", allow_abbrev=False)
    top.add_argument("--socket", default="", metavar="NAME", help="which server, where several run here")
    top.add_argument("--count", type=_count, default=10, metavar="N", help="rows, at most 200")
    found = parser.parse_args(_of_coredns(nodeflags.spelled(words)))
    try:
        if found.command == nodeflags.COMMAND:
            return nodeflags.nodelocal_of(found)
        if found.command == "lookup":
            return Lookup(source_of(found), found.name, found.type, found.pod)
        if found.command == "top":
            return Top(found.socket, found.count)
        return _run(run, found)
    except ValueError as error:
        parser.error(str(error))


def _of_coredns(words: Sequence[str]) -> list[str]:
    """CoreDNS has no commands, and one dash before its flags."""
    if not words or not words[0].startswith("-") or words[0] in ("-h", "--help", "-version", "--version"):
        return list(words)
    own = ("-conf", "-dns.port", "-p")
    return [
        "run",
        *(f"-{word}" if word.partition("=")[0] in own and not word.startswith("--") else word for word in words),
    ]


def _run(parser: argparse.ArgumentParser, found: argparse.Namespace) -> Run:
    beside = tuple(found.http), tuple(found.client_cidrs), found.rate_limit, found.workers
    if not found.conf:
        return Run("", found.port, settings_of(found), *beside)
    apart = {"conf", "port", "http", "command", "client_cidrs", "rate_limit", "workers"}
    for name, value in vars(found).items():
        if name not in apart and value != parser.get_default(name):
            raise ValueError(f"--conf: the Corefile says it all; --{name.replace('_', '-')} has no place beside it")
    return Run(found.conf, found.port, None, *beside)


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > LARGEST_RATE:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and {LARGEST_RATE}")
    return int(text)


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1 and {MOST_WORKERS}")
    return int(text)


def _name(text: str) -> str:
    try:
        name_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _type(text: str) -> int:
    number = TYPE_NUMBERS.get(text.upper())
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no record type we can spell")
    return number


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)

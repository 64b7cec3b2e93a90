"""The rules that lead a node's DNS questions past conntrack to a process on the node: node-cache's, as values.

In: addresses and ports, or what `iptables-save` shows. Out: rules with their table and chain, and the restore input
that adds what is missing or removes what is ours. A packet that is not tracked passes no nat rule, so a question to
the cluster IP of DNS is not led to a pod: it goes to whoever has that address here. Ours is a rule with one of the two
comments and one of our addresses; everybody else's stay, in whatever order they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from svcnet.rules import (
    ACCEPT,
    L4,
    Comment,
    Jump,
    Match,
    Other,
    Rule,
    comments_last,
    comparable,
    dump_lines,
    host_cidr,
    parse_rule,
    render,
)

SKIP, ALLOW = "NodeLocal DNS Cache: skip conntrack", "NodeLocal DNS Cache: allow DNS traffic"
TABLES = ("raw", "filter")
NOTRACK = Jump("NOTRACK")
_LATER = "-j CT --notrack"  # how iptables 1.8.10 shows NOTRACK


class Line(msgspec.Struct, frozen=True):
    """One rule, and where it stands."""

    table: str
    chain: str
    rule: Rule


def lines(addresses: Iterable[str], port: int, health_port: int) -> tuple[Line, ...]:
    """The rules for these addresses of one family, in the order in which node-cache puts each on top of its chain."""
    return tuple(line for address in addresses for line in _of(host_cidr(address), port, health_port))


def _of(host: str, port: int, health_port: int) -> Iterator[Line]:
    def to(table: str, chain: str, protocol: str, where: int = port) -> Line:
        said, target = (SKIP, NOTRACK) if table == "raw" else (ALLOW, ACCEPT)
        matches: tuple[Match, ...] = (L4(protocol, where), Comment(said))
        return Line(table, chain, Rule(destination=host, protocol=protocol, matches=matches, target=target))

    def back(table: str, protocol: str, where: int = port) -> Line:
        said, target = (SKIP, NOTRACK) if table == "raw" else (ALLOW, ACCEPT)
        matches: tuple[Match, ...] = (Other(f"-m {protocol} --sport {where}"), Comment(said))
        return Line(table, "OUTPUT", Rule(source=host, protocol=protocol, matches=matches, target=target))

    both = ("tcp", "udp")
    yield from (to("raw", "PREROUTING", protocol) for protocol in both)
    # What is not tracked is not ESTABLISHED either: a firewall that lets only such pass would drop it.
    yield from (to("filter", "INPUT", protocol) for protocol in both)
    yield from (back("raw", protocol) for protocol in both)
    yield from (back("filter", protocol) for protocol in both)
    yield from (to("raw", "OUTPUT", protocol) for protocol in both)  # from the node itself
    yield to("raw", "OUTPUT", "tcp", health_port)
    yield back("raw", "tcp", health_port)


def missing(wanted: Sequence[Line], dump: str) -> tuple[Line, ...]:
    """Those that a dump does not show."""
    shown = {(table, chain, comments_last(text.replace(_LATER, "-j NOTRACK"))) for table, chain, text in _ours(dump)}
    return tuple(line for line in wanted if (line.table, line.chain, comments_last(comparable(line.rule))) not in shown)


def insertion(wanted: Sequence[Line]) -> str:
    """Restore input that puts each rule on top of its chain, one after the other."""
    return _restore((line.table, f"-I {line.chain} {render(line.rule)}") for line in wanted)


def removal(dump: str, addresses: Collection[str], *, inward: bool = False) -> str:
    """Restore input that deletes what a dump shows of ours, however often; "" if that is nothing.

    `inward`: only what leads questions here, so that replies under way still leave as they came.
    """
    found = []
    for table, chain, text in _ours(dump):
        rule = parse_rule(text)
        host = str(rule.destination or rule.source).partition("/")[0]
        if host in addresses and not (inward and (table != "raw" or not rule.destination)):
            found.append((table, f"-D {chain} {text}"))
    return _restore(found)


def _ours(dump: str) -> Iterator[tuple[str, str, str]]:
    return ((table, chain, text) for table, chain, text in dump_lines(dump) if SKIP in text or ALLOW in text)


def _restore(commands: Iterable[tuple[str, str]]) -> str:
    of_table: dict[str, list[str]] = {table: [] for table in TABLES}
    for table, command in commands:
        of_table[table].append(command)
    return "".join(f"*{table}\n" + "\n".join(found) + "\nCOMMIT\n" for table, found in of_table.items() if found)

"""What netfilter would do with a packet: a ruleset and a packet in, every possible outcome with its share out.

The first packet of a connection is followed through the hooks as the kernel orders them: raw, then nat, PREROUTING or
OUTPUT, the routing decision, filter INPUT, FORWARD or OUTPUT, nat POSTROUTING. What raw says is not to be tracked meets
no nat rule. A rule with `-m statistic` splits the walk in
two, so the outcome is a list whose shares add up to one, exactly (fractions). Each outcome tells which rules decided.
Nothing is sent; the ruleset may be our own (`compile`), or somebody else's (`rules.parse` of a dump).

Refuses: nothing. A rule with a foreign match that we do not interpret counts as not matching, a foreign target as doing
nothing; where one might have decided, the outcome says so.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

import msgspec

from svcnet.rules import (
    L4,
    PROBABILITY_ONE,
    Addrtype,
    Chain,
    Comment,
    Ctstate,
    Dnat,
    Goto,
    Jump,
    Mark,
    Masquerade,
    Match,
    Nfacct,
    Not,
    Other,
    Recent,
    Reject,
    Rule,
    SetXmark,
    Statistic,
    Tables,
    render,
)


class Packet(msgspec.Struct, frozen=True):
    """The first packet of a connection. `in_interface` is "" when a process of this host sends it.

    Addresses are canonical text, `protocol` is tcp, udp or sctp.
    """

    source: str
    destination: str
    port: int
    protocol: str = "tcp"
    in_interface: str = ""
    ctstate: str = "NEW"


class Host(msgspec.Struct, frozen=True):
    """What a trace must know of the host beside its rules: which addresses are its own (interfaces, loopback).

    `remembered` holds the names of `recent` lists in which the packet's source is fresh.
    """

    addresses: frozenset[str]
    remembered: frozenset[str] = frozenset()

    def is_local(self, address: str) -> bool:
        return address in self.addresses or _parsed(address).is_loopback


class Step(msgspec.Struct, frozen=True):
    """A rule that matched: `table chain rule-number` counts from 1, as `iptables -L --line-numbers` does."""

    table: str
    chain: str
    number: int
    rule: Rule

    def __str__(self) -> str:
        return f"{self.table} {self.chain} {self.number}: {render(self.rule)}"


class Outcome(msgspec.Struct, frozen=True):
    """Where the packet lands, with which share of all packets like it.

    verdict       ACCEPT, DROP or REJECT
    destination   address and port after DNAT
    masqueraded   whether its source address is replaced on the way out
    delivered     "local" (a socket of this host) or "forwarded"
    unknown       words of foreign rules that matched as far as we can tell, and were not interpreted
    """

    share: Fraction
    verdict: str
    destination: str
    port: int
    masqueraded: bool
    delivered: str
    steps: tuple[Step, ...]
    remembers: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()
    rules_met: int = 0


class _Walk(msgspec.Struct, frozen=True):
    """One branch of the trace: the packet's state, and what has been decided so far."""

    packet: Packet
    share: Fraction = Fraction(1)
    mark: int = 0
    tracked: bool = True
    natted: bool = False
    masqueraded: bool = False
    steps: tuple[Step, ...] = ()
    remembers: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()
    rules_met: int = 0


_Ended = tuple[_Walk, str]
"""A walk and how it left a chain: ACCEPT, DROP, REJECT, or RETURN for "fell off the end"."""


@lru_cache(maxsize=4096)
def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(address)


@lru_cache(maxsize=4096)
def _network(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(cidr, strict=False)


def _inside(address: str, wanted: str | Not) -> bool:
    if isinstance(wanted, Not):
        return _parsed(address) not in _network(wanted.value)
    return not wanted or _parsed(address) in _network(wanted)


def _interface(name: str, wanted: str | Not) -> bool:
    if isinstance(wanted, Not):
        return not _interface(name, wanted.value)
    if wanted.endswith("+"):
        return name.startswith(wanted[:-1])
    return not wanted or name == wanted


def _ctstate(walk: _Walk, match: Ctstate) -> bool:
    states = {walk.packet.ctstate if walk.tracked else "UNTRACKED"} | ({"DNAT"} if walk.natted else set())
    return bool(states & set(match.states.split(","))) != match.negated


def _matches(match: Match, walk: _Walk, host: Host) -> bool:
    packet = walk.packet
    match match:
        case L4(protocol, first, last):
            end = first if last is None else last
            return packet.protocol == protocol and (first is None or end is None or first <= packet.port <= end)
        case Mark(value, mask, negated):
            return (walk.mark & mask == value) != negated
        case Ctstate():
            return _ctstate(walk, match)
        case Addrtype(side, kind):
            address = packet.destination if side == "dst" else packet.source
            return kind == "LOCAL" and host.is_local(address)
        case Recent("rcheck", name):
            return name in host.remembered
        case Other() | Recent() | Comment() | Nfacct() | Statistic():
            return True
    return False


def _selects(rule: Rule, walk: _Walk, host: Host) -> bool:
    packet = walk.packet
    return (
        rule.protocol in ("", packet.protocol)
        and _inside(packet.source, rule.source)
        and _inside(packet.destination, rule.destination)
        and _interface(packet.in_interface, rule.in_interface)
        and all(_matches(match, walk, host) for match in rule.matches)
    )


def _noting(walk: _Walk, *words: str) -> _Walk:
    return msgspec.structs.replace(walk, unknown=walk.unknown + words)


def _split(walk: _Walk, rule: Rule) -> tuple[_Walk | None, _Walk | None]:
    """The branch that passes the rule's `statistic` matches, and the one that does not; None where nobody goes."""
    passing = Fraction(1)
    for match in rule.matches:
        if isinstance(match, Statistic):
            passing *= Fraction(match.threshold, PROBABILITY_ONE)
    if passing == 1:
        return walk, None
    if not passing:
        return None, walk
    return (
        msgspec.structs.replace(walk, share=walk.share * passing),
        msgspec.structs.replace(walk, share=walk.share * (1 - passing)),
    )


def _endpoint(to: str) -> tuple[str, int]:
    address, _, port = to.rpartition(":")
    return address.strip("[]"), int(port)


class _Tracer:
    """Walks chains of one ruleset on one host."""

    def __init__(self, tables: Tables, host: Host) -> None:
        self.tables = tables
        self.host = host

    def chain(self, table: str, name: str, walk: _Walk) -> list[_Ended]:
        """Every way to leave this chain."""
        chain = self.tables.get(table, {}).get(name, Chain(name))
        pending = [walk]
        ended: list[_Ended] = []
        for number, rule in enumerate(chain.rules, 1):
            staying: list[_Walk] = []
            foreign = [match.words for match in rule.matches if isinstance(match, Other)]
            for each in pending:
                met = msgspec.structs.replace(each, rules_met=each.rules_met + 1)
                if not _selects(rule, met, self.host):
                    staying.append(met)
                    continue
                if foreign:
                    staying.append(_noting(met, *foreign))
                    continue
                taken, missed = _split(met, rule)
                if missed is not None:
                    staying.append(missed)
                if taken is None:
                    continue
                step = Step(table, name, number, rule)
                for result, verdict in self._apply(table, rule, _remember(taken, rule, step)):
                    if verdict == "CONTINUE":
                        staying.append(result)
                    else:
                        ended.append((result, verdict))
            pending = staying
        return ended + [(each, "RETURN") for each in pending]

    def _apply(self, table: str, rule: Rule, walk: _Walk) -> Iterator[_Ended]:
        match rule.target:
            case Jump("ACCEPT" | "DROP" | "RETURN" as verdict):
                yield walk, verdict
            case Jump("NOTRACK") | Other("-j CT --notrack"):
                yield msgspec.structs.replace(walk, tracked=False), "CONTINUE"
            case Jump(name):
                for result, left in self.chain(table, name, walk):
                    yield result, "CONTINUE" if left == "RETURN" else left
            case Reject():
                yield walk, "REJECT"
            case Dnat(to):
                address, port = _endpoint(to)
                packet = msgspec.structs.replace(walk.packet, destination=address, port=port)
                yield msgspec.structs.replace(walk, packet=packet, natted=True), "ACCEPT"
            case Masquerade():
                yield msgspec.structs.replace(walk, masqueraded=True), "ACCEPT"
            case SetXmark(value, mask):
                yield msgspec.structs.replace(walk, mark=(walk.mark & ~mask) ^ value), "CONTINUE"
            case Goto(name):
                yield from self.chain(table, name, walk)
            case Other(words):
                yield _noting(walk, words), "CONTINUE"
            case None:
                yield walk, "CONTINUE"

    def hook(self, table: str, name: str, walks: list[_Walk]) -> tuple[list[_Walk], list[_Ended]]:
        """(walks that go on, walks that end here) after a built-in chain."""
        going: list[_Walk] = []
        ended: list[_Ended] = []
        chain = self.tables.get(table, {}).get(name)
        policy = chain.policy if chain is not None and chain.policy != "-" else "ACCEPT"
        for walk in walks:
            if table == "nat" and not walk.tracked:
                going.append(walk)
                continue
            for result, verdict in self.chain(table, name, walk):
                final = policy if verdict == "RETURN" else verdict
                if final == "ACCEPT":
                    going.append(result)
                else:
                    ended.append((result, final))
        return going, ended


def _remember(walk: _Walk, rule: Rule, step: Step) -> _Walk:
    names = {match.name for match in rule.matches if isinstance(match, Recent) and match.action == "set"}
    return msgspec.structs.replace(walk, steps=(*walk.steps, step), remembers=walk.remembers | names)


def _outcome(walk: _Walk, verdict: str, delivered: str) -> Outcome:
    packet = walk.packet
    return Outcome(
        walk.share,
        verdict,
        packet.destination,
        packet.port,
        walk.masqueraded,
        delivered,
        walk.steps,
        walk.remembers,
        walk.unknown,
        walk.rules_met,
    )


# (sent by this host, delivered to this host): the hooks after the routing decision.
_HOOKS = {
    (False, True): (("filter", "INPUT"),),
    (False, False): (("filter", "FORWARD"), ("nat", "POSTROUTING")),
    (True, False): (("filter", "OUTPUT"), ("nat", "POSTROUTING")),
    (True, True): (("filter", "OUTPUT"), ("nat", "POSTROUTING"), ("filter", "INPUT")),  # it comes back by lo
}


def trace(tables: Tables, host: Host, packet: Packet) -> list[Outcome]:
    """Every outcome for `packet` on `host`, most likely first. The shares add up to one."""
    tracer = _Tracer(tables, host)
    outgoing = not packet.in_interface
    walks, outcomes = [_Walk(packet)], list[Outcome]()
    for table in ("raw", "nat"):
        walks, ended = tracer.hook(table, "OUTPUT" if outgoing else "PREROUTING", walks)
        outcomes += [_outcome(walk, verdict, "") for walk, verdict in ended]
    for walk in walks:
        local = host.is_local(walk.packet.destination)
        branch = [walk]
        for table, name in _HOOKS[outgoing, local]:
            if outgoing and name == "INPUT":
                branch = [_looped(each) for each in branch]
            branch, ended = tracer.hook(table, name, branch)
            outcomes += [_outcome(each, verdict, "") for each, verdict in ended]
        outcomes += [_outcome(each, "ACCEPT", "local" if local else "forwarded") for each in branch]
    return sorted(outcomes, key=lambda outcome: (-outcome.share, outcome.destination, outcome.port))


def _looped(walk: _Walk) -> _Walk:
    return msgspec.structs.replace(walk, packet=msgspec.structs.replace(walk.packet, in_interface="lo"))


def sentence(outcome: Outcome) -> str:
    """One line for people: how likely, what happens, where it lands."""
    share = "" if outcome.share == 1 else f"{float(outcome.share):.1%} "
    where = f"[{outcome.destination}]" if ":" in outcome.destination else outcome.destination
    words = {"REJECT": "refused", "DROP": "dropped"}.get(outcome.verdict)
    if words is None:
        words = f"{'delivered here at' if outcome.delivered == 'local' else 'sent to'} {where}:{outcome.port}"
        words += ", masqueraded" if outcome.masqueraded else ""
    unknown = f", not interpreted: {'; '.join(outcome.unknown)}" if outcome.unknown else ""
    return f"{share}{words} after {outcome.rules_met} rules{unknown}"

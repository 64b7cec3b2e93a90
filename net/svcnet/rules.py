"""Netfilter rules as values, and their text in the form that iptables-save prints.

In: match and target values, or the output of `iptables-save` / `ip6tables-save` 1.8. Out: the other of the two;
`parse_rule(render(rule)) == rule` for every rule svcplane writes. A rule is written in the *save* form (as in
`-d 10.0.0.1/32`, `--set-xmark`) because that is what can be compared with the kernel line by line; iptables-restore
reads it as well as any other. What the parser does not know it keeps as `Other`, so any host's dump can be read.
Refuses: a line that is not of the dump's grammar (`ValueError` with the line).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec

Family: TypeAlias = Literal["IPv4", "IPv6"]
FAMILIES: tuple[Family, Family] = ("IPv4", "IPv6")

HINT_CHAINS = ("KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY")
"""The kubelet's chains in mangle: the flavour that holds them is the flavour of this host."""


def family_of(text: str) -> Family:
    """The family of an address or CIDR in canonical text."""
    return "IPv6" if ":" in text else "IPv4"


class Not(msgspec.Struct, frozen=True, gc=False):
    """A negated address or interface: `! -s 10.244.0.0/16`."""

    value: str


class Comment(msgspec.Struct, frozen=True, gc=False):
    text: str


class L4(msgspec.Struct, frozen=True, gc=False):
    """`-m tcp [--dport 80[:99]]`: the protocol's own match module (tcp, udp or sctp); `last` ends a range of ports."""

    protocol: str
    dport: int | None = None
    last: int | None = None


class Mark(msgspec.Struct, frozen=True, gc=False):
    value: int
    mask: int
    negated: bool = False


class Ctstate(msgspec.Struct, frozen=True, gc=False):
    """`-m conntrack --ctstate A,B`: states in iptables-save's order."""

    states: str
    negated: bool = False


class Addrtype(msgspec.Struct, frozen=True, gc=False):
    """`-m addrtype --src-type LOCAL` (or `dst`)."""

    side: Literal["src", "dst"]
    type: str = "LOCAL"


WHOLE_MARK = 0xFFFFFFFF
"""The mask that selects all of a packet's mark; iptables-save does not print it."""

PROBABILITY_ONE = 1 << 31


class Statistic(msgspec.Struct, frozen=True, gc=False):
    """`-m statistic --mode random`: matches with probability threshold / 2^31 (struct xt_statistic_info)."""

    threshold: int


class Recent(msgspec.Struct, frozen=True, gc=False):
    """`-m recent`: `set` remembers the source address in a list, `rcheck` asks for it, not older than `seconds`."""

    action: Literal["set", "rcheck"]
    name: str
    mask: str
    seconds: int = 0


class Nfacct(msgspec.Struct, frozen=True, gc=False):
    name: str


class Other(msgspec.Struct, frozen=True, gc=False):
    """Words of a foreign rule that we do not interpret, exactly as dumped."""

    words: str


Match: TypeAlias = Comment | L4 | Mark | Ctstate | Addrtype | Statistic | Recent | Nfacct | Other


class Jump(msgspec.Struct, frozen=True, gc=False):
    """A jump to a chain, or one of the verdicts ACCEPT, DROP, RETURN."""

    chain: str


class Goto(msgspec.Struct, frozen=True, gc=False):
    """`-g`: as a jump, but what the chain returns goes to the caller of the chain that holds this rule."""

    chain: str


class Reject(msgspec.Struct, frozen=True, gc=False):
    type: str


class SetXmark(msgspec.Struct, frozen=True, gc=False):
    """mark = (mark & ~mask) ^ value (struct xt_mark_tginfo2)."""

    value: int
    mask: int


class Masquerade(msgspec.Struct, frozen=True, gc=False):
    random_fully: bool = False


class Dnat(msgspec.Struct, frozen=True, gc=False):
    """`address:port`, or `[address]:port` for IPv6."""

    to: str


Target: TypeAlias = Jump | Goto | Reject | SetXmark | Masquerade | Dnat | Other

ACCEPT = Jump("ACCEPT")
DROP = Jump("DROP")
RETURN = Jump("RETURN")


class Rule(msgspec.Struct, frozen=True, gc=False):
    """One rule. `source` and `destination` are CIDRs in canonical text, "" for any; a rule may have no target."""

    source: str | Not = ""
    destination: str | Not = ""
    in_interface: str | Not = ""
    protocol: str = ""
    matches: tuple[Match, ...] = ()
    target: Target | None = None


class Chain(msgspec.Struct, frozen=True):
    """A chain's rules in order. `policy` is "-" for user-defined chains."""

    name: str
    rules: tuple[Rule, ...] = ()
    policy: str = "-"


Tables: TypeAlias = dict[str, dict[str, Chain]]
"""Table name to chain name to chain: what one `iptables-save` shows of one address family."""


def host_cidr(address: str) -> str:
    """The /32 or /128 that holds just this address (canonical text in, canonical text out)."""
    return f"{address}/128" if ":" in address else f"{address}/32"


@lru_cache(maxsize=4096)
def statistic_for(share: int, of: int = 1) -> Statistic:
    """`of` in `share`, through the ten decimal places that kube-proxy writes: then the kernel's rule is the same."""
    return Statistic(round(float(f"{of / share:.10f}") * PROBABILITY_ONE))


_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")
_SPECIAL = re.compile(r"([\"\\'])")


def _quoted(text: str) -> str:
    if _PLAIN.match(text):
        return text
    if '"' in text or "\\" in text or "'" in text:
        text = _SPECIAL.sub(r"\\\1", text)
    return f'"{text}"'


def _render_match(match: Match) -> str:
    match match:
        case L4(protocol, None):
            return f"-m {protocol}"
        case L4(protocol, dport, None):
            return f"-m {protocol} --dport {dport}"
        case L4(protocol, dport, last):
            return f"-m {protocol} --dport {dport}:{last}"
        case Comment(text):
            return f"-m comment --comment {_quoted(text)}"
        case Statistic(threshold):
            return f"-m statistic --mode random --probability {threshold / PROBABILITY_ONE:.11f}"
        case Recent("set", name, mask):
            return f"-m recent --set --name {name} --mask {mask} --rsource"
        case Recent(_, name, mask, seconds):
            return f"-m recent --rcheck --seconds {seconds} --reap --name {name} --mask {mask} --rsource"
        case Mark(value, mask, negated):
            whole = "" if mask == WHOLE_MARK else f"/{mask:#x}"
            return f"-m mark {'! ' if negated else ''}--mark {value:#x}{whole}"
        case Ctstate(states, negated):
            return f"-m conntrack {'! ' if negated else ''}--ctstate {states}"
        case Addrtype(side, kind):
            return f"-m addrtype --{side}-type {kind}"
        case Nfacct(name):
            return f"-m nfacct --nfacct-name {name}"
        case Other(words):
            return words


def _render_target(target: Target) -> str:
    match target:
        case Jump(chain):
            return f"-j {chain}"
        case Goto(chain):
            return f"-g {chain}"
        case Dnat(to):
            return f"-j DNAT --to-destination {to}"
        case Reject(kind):
            return f"-j REJECT --reject-with {kind}"
        case SetXmark(value, mask):
            return f"-j MARK --set-xmark {value:#x}/{mask:#x}"
        case Masquerade(random_fully):
            return "-j MASQUERADE --random-fully" if random_fully else "-j MASQUERADE"
        case Other(words):
            return words


def _option(flag: str, value: str | Not) -> str:
    return f"! {flag} {value.value}" if isinstance(value, Not) else f"{flag} {value}"


def _head(rule: Rule) -> list[str]:
    words = []
    if rule.source:
        words.append(_option("-s", rule.source))
    if rule.destination:
        words.append(_option("-d", rule.destination))
    if rule.in_interface:
        words.append(_option("-i", rule.in_interface))
    if rule.protocol:
        words.append(f"-p {rule.protocol}")
    return words


def render(rule: Rule) -> str:
    """The words after `-A CHAIN `, as iptables-save prints them."""
    words = _head(rule)
    words += [_render_match(match) for match in rule.matches]
    if rule.target is not None:
        words.append(_render_target(rule.target))
    return " ".join(words)


def comparable(rule: Rule) -> str:
    """`comments_last(render(rule))`, at half the price."""
    words = _head(rule)
    comments: list[str] = []
    for match in rule.matches:
        (comments if type(match) is Comment else words).append(_render_match(match))
    if rule.target is not None:
        words.append(_render_target(rule.target))
    return " ".join(words + comments)


_COMMENT = re.compile(r' ?-m comment --comment ("(?:[^"\\]|\\.)*"|[^ ]+)')
_COMMENT_WORDS = "-m comment --comment "


def comments_last(text: str) -> str:
    """A rule's words with its comments behind all others: what two rules are compared by.

    Where a comment stands says nothing. iptables-nft prints one that is kept beside its rule as the last match.
    """
    before, words, rest = text.partition(_COMMENT_WORDS)
    if not words:
        return text
    if _COMMENT_WORDS not in rest and "\\" not in rest:  # nearly always: the expression takes three times as long
        end = rest.find('"', 1) + 1 if rest[:1] == '"' else rest.find(" ")
        after = rest[end + 1 :]
        return f"{before}{after} {words}{rest[:end]}" if after and end > 0 else text
    found = _COMMENT.findall(text)
    return " ".join((_COMMENT.sub("", text).lstrip(" "), *(f"{_COMMENT_WORDS}{each}" for each in found))).lstrip(" ")


_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')
_ESCAPED = re.compile(r"\\(.)")


def _unquoted(word: str) -> str:
    return _ESCAPED.sub(r"\1", word[1:-1]) if word[0] == '"' else word


def _groups(words: list[str]) -> Iterator[list[str]]:
    """The words in groups that each begin with an option of the rule itself (a module's own options stay with it).

    Words are as dumped, quotes included, so that none of a comment's words is taken for an option.
    """
    starts = {"-s", "-d", "-i", "-o", "-p", "-m", "-j", "-g", "-f"}
    group: list[str] = []
    for index, word in enumerate(words):
        opens = word in starts or (word == "!" and index + 1 < len(words) and words[index + 1] in starts)
        if opens and group and group != ["!"] and group[-1] != "--comment":
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _mark_pair(text: str) -> tuple[int, int]:
    value, _, mask = text.partition("/")
    return int(value, 16), int(mask, 16) if mask else WHOLE_MARK


_PORT_RANGE = re.compile(r"\d+:\d+\Z")


def _parse_match(dumped: list[str]) -> Match:
    match [_unquoted(word) for word in dumped]:
        case ["-m", "comment", "--comment", text]:
            return Comment(text)
        case ["-m", "tcp" | "udp" | "sctp" as protocol]:
            return L4(protocol)
        case ["-m", "tcp" | "udp" | "sctp" as protocol, "--dport", port] if port.isdecimal():
            return L4(protocol, int(port))
        case ["-m", "tcp" | "udp" | "sctp" as protocol, "--dport", ports] if _PORT_RANGE.match(ports):
            first, _, last = ports.partition(":")
            return L4(protocol, int(first), int(last))
        case ["-m", "statistic", "--mode", "random", "--probability", share]:
            return Statistic(round(float(share) * PROBABILITY_ONE))
        case ["-m", "recent", "--set", "--name", name, "--mask", mask, "--rsource"]:
            return Recent("set", name, mask)
        case ["-m", "recent", "--rcheck", "--seconds", seconds, "--reap", "--name", name, "--mask", mask, "--rsource"]:
            return Recent("rcheck", name, mask, int(seconds))
        case ["-m", "mark", "--mark", mark]:
            return Mark(*_mark_pair(mark))
        case ["-m", "mark", "!", "--mark", mark]:
            return Mark(*_mark_pair(mark), negated=True)
        case ["-m", "conntrack", "--ctstate", states]:
            return Ctstate(states)
        case ["-m", "conntrack", "!", "--ctstate", states]:
            return Ctstate(states, negated=True)
        case ["-m", "addrtype", "--src-type", kind]:
            return Addrtype("src", kind)
        case ["-m", "addrtype", "--dst-type", kind]:
            return Addrtype("dst", kind)
        case ["-m", "nfacct", "--nfacct-name", name]:
            return Nfacct(name)
    return Other(" ".join(dumped))


def _parse_target(words: list[str]) -> Target:
    match words:
        case ["-j", "MASQUERADE"]:
            return Masquerade()
        case ["-j", "MASQUERADE", "--random-fully"]:
            return Masquerade(random_fully=True)
        case ["-j", "REJECT", "--reject-with", kind]:
            return Reject(kind)
        case ["-j", "DNAT", "--to-destination", to]:
            return Dnat(to)
        case ["-j", "MARK", "--set-xmark", mark]:
            return SetXmark(*_mark_pair(mark))
        case ["-j", chain]:
            return Jump(chain)
        case ["-g", chain]:
            return Goto(chain)
    return Other(" ".join(words))


def parse_rule(text: str) -> Rule:
    """A rule from the words after `-A CHAIN `."""
    fields: dict[str, str | Not] = {}
    protocol = ""
    matches: list[Match] = []
    target: Target | None = None
    names = {"-s": "source", "-d": "destination", "-i": "in_interface"}
    for words in _groups(_WORD.findall(text)):
        match words:
            case ["-s" | "-d" | "-i" as flag, value]:
                fields[names[flag]] = value
            case ["!", "-s" | "-d" | "-i" as flag, value]:
                fields[names[flag]] = Not(value)
            case ["-p", name]:
                protocol = name
            case ["-j" | "-g", *_]:
                target = _parse_target(words)
            case _:
                matches.append(_parse_match(words))
    return Rule(**fields, protocol=protocol, matches=tuple(matches), target=target)


_COUNTERS = re.compile(r"\[\d+:\d+\] ")


def dump_lines(dump: str) -> Iterator[tuple[str, str, str]]:
    """(table, chain, text) for each line of a dump: a chain's policy line with text "", then each rule's words.

    Comment lines and counters are dropped. The order is the dump's own: chains first, then their rules.
    """
    table = ""
    for line in dump.splitlines():
        if not line or line[0] == "#" or line == "COMMIT":
            continue
        if line[0] == "*":
            table = line[1:].strip()
        elif line[0] == ":":
            yield table, line[1:].split(" ", 1)[0], ""
        else:
            rule = _COUNTERS.sub("", line, count=1) if line[0] == "[" else line
            rule = rule.replace("--nfacct-name  ", "--nfacct-name ")  # 1.8.9 prints two spaces
            words = rule.split(" ", 2)
            if len(words) < 2 or words[0] != "-A":
                raise ValueError(f"not a line of iptables-save: {line!r}")
            yield table, words[1], words[2] if len(words) == 3 else " "


def parse(dump: str) -> Tables:
    """The tables that an iptables-save dump describes. Policies of built-in chains are kept, counters are not."""
    policies: dict[tuple[str, str], str] = {}
    table = ""
    for line in dump.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            name, policy = line[1:].split(" ")[:2]
            policies[table, name] = policy
    rules: dict[tuple[str, str], list[Rule]] = {key: [] for key in policies}
    for table, chain, text in dump_lines(dump):
        if text:
            rules.setdefault((table, chain), []).append(parse_rule(text))
    tables: Tables = {}
    for (table, name), found in rules.items():
        tables.setdefault(table, {})[name] = Chain(name, tuple(found), policies.get((table, name), "-"))
    return tables


def render_tables(tables: Tables) -> str:
    """A dump of these tables, in iptables-save's form, chains sorted by name after the built-in ones."""
    lines: list[str] = []
    for table, chains in tables.items():
        ordered: Iterable[Chain] = sorted(chains.values(), key=lambda chain: (chain.policy == "-", chain.name))
        lines.append(f"*{table}")
        lines += [f":{chain.name} {chain.policy} [0:0]" for chain in ordered]
        for chain in ordered:
            lines += [f"-A {chain.name} {render(rule)}".rstrip() for rule in chain.rules]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"

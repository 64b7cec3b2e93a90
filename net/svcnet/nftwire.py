"""Rules as values → nfnetlink messages, in the dialect that iptables-nft writes and reads. Pure.

In: a `Rule`, the names of tables and chains. Out: `Request`s, for `transactions` to number and put together. What
iptables-nft lists afterwards is what iptables-nft-restore would have left, with one difference: a comment is kept
beside the rule (userdata), where no packet meets it, and is printed as the last match of its line.

Only what iptables-nft 1.8.7 to 1.8.11 all read is used: addresses, interfaces and the protocol as native expressions,
everything else as the xt match or target with the kernel's struct. Sources: linux/netfilter/nf_tables.h, nf_nat.h and
the structs of xt_*.h, which are padded to eight bytes (XT_ALIGN). Refuses with `WireError`, which names the rule, what
has no encoding here: `Other`, a name that is too long, an address of the other family.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from ipaddress import IPv6Address, ip_network

import msgspec

from svcnet.nfnetlink import APPEND, CREATE, NESTED, NF_TABLES, attribute, long, number, text
from svcnet.rules import (
    L4,
    PROBABILITY_ONE,
    Addrtype,
    Comment,
    Ctstate,
    Dnat,
    Family,
    Goto,
    Jump,
    Mark,
    Masquerade,
    Match,
    Nfacct,
    Not,
    Recent,
    Reject,
    Rule,
    SetXmark,
    Statistic,
    Target,
    render,
)

FAMILIES = {"IPv4": 2, "IPv6": 10}
"""NFPROTO_IPV4, NFPROTO_IPV6."""
LONGEST_COMMENT = 253
"""Bytes of a comment in userdata: 256 less type, length and NUL. A longer one becomes a match."""

_NEWTABLE, _NEWCHAIN, _DELCHAIN, _NEWRULE, _DELRULE = (NF_TABLES << 8 | each for each in (0, 3, 5, 6, 8))
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_HOOKS = {"PREROUTING": 0, "INPUT": 1, "FORWARD": 2, "OUTPUT": 3, "POSTROUTING": 4}
_PRIORITIES = {
    "nat": {"PREROUTING": -100, "INPUT": 100, "OUTPUT": -100, "POSTROUTING": 100},
    "filter": {"INPUT": 0, "FORWARD": 0, "OUTPUT": 0},
    "mangle": dict.fromkeys(_HOOKS, -150),
}
_VERDICTS = {"ACCEPT": 1, "DROP": 0, "RETURN": -5}
_JUMP, _GOTO = -3, -4
_EQUAL, _DIFFERENT = 0, 1
_IN_INTERFACE, _PROTOCOL = 6, 16  # NFT_META_IIFNAME, NFT_META_L4PROTO
_STATES = {"INVALID": 1, "ESTABLISHED": 2, "RELATED": 4, "NEW": 8, "SNAT": 64, "DNAT": 128, "UNTRACKED": 256}
_REJECTS = {("IPv4", "icmp-port-unreachable"): 3, ("IPv6", "icmp6-port-unreachable"): 4}
_ADDRTYPES = {"UNICAST": 2, "LOCAL": 4, "BROADCAST": 8, "MULTICAST": 32}
_CHAIN = re.compile(r"[^\s!\"'-][^\s\"']{0,28}\Z")
_INTERFACE = re.compile(r"[^\s/+]{1,15}\+?\Z")


class WireError(ValueError):
    """Something has no encoding; the message names the rule and what of it."""


class Request(msgspec.Struct, frozen=True, gc=False):
    """A message without its sequence number. `kind` and `flags` as in `nfnetlink.message`, `body` after nfgenmsg."""

    kind: int
    flags: int
    body: bytes


def table(name: str) -> Request:
    """Makes a table where there is none."""
    return Request(_NEWTABLE, CREATE, text(1, name))


def chain(table: str, name: str) -> Request:
    """Makes a chain where there is none."""
    return Request(_NEWCHAIN, CREATE, _table(table) + text(3, name))


def base_chain(table: str, name: str) -> Request:
    """Makes a built-in chain where there is none, with policy ACCEPT; the policy of one that is there stays.

    WireError if a table has no such chain.
    """
    try:
        hook, priority = _HOOKS[name], _PRIORITIES[table][name]
    except KeyError as error:
        raise WireError(f"no built-in chain {name} in table {table}") from error
    kind = "nat" if table == "nat" else "route" if (table, name) == ("mangle", "OUTPUT") else "filter"
    where = attribute(4 | NESTED, number(1, hook), number(2, priority))
    return Request(_NEWCHAIN, CREATE, text(1, table) + text(3, name) + where + text(7, kind))


def flush(home: bytes) -> Request:
    """Takes all rules out of a chain; `home` is of `home`."""
    return Request(_DELRULE, 0, home)


def removal(table: str, chain: str) -> Request:
    """Deletes a chain; it has to be empty, and nobody may jump to it."""
    return Request(_DELCHAIN, 0, text(1, table) + text(3, chain))


def append(home: bytes, family: Family, rule: Rule) -> Request:
    """Adds a rule at the end of a chain; `home` is of `home`."""
    return Request(_NEWRULE, CREATE | APPEND, home + encoded(family, rule))


def insert(home: bytes, family: Family, rule: Rule) -> Request:
    """Puts a rule at the head of a chain, its comment as iptables does: other programs look for it word for word."""
    return Request(_NEWRULE, CREATE, home + encoded(family, rule, aside=False))


def home(table: str, chain: str) -> bytes:
    """Where rules live; WireError for a name that no chain can have."""
    if not _CHAIN.match(chain):
        raise WireError(f"{chain!r} is no name of a chain")
    return _table(table) + text(2, chain)


@lru_cache(maxsize=8)
def _table(name: str) -> bytes:
    return text(1, name)


def encoded(family: Family, rule: Rule, *, aside: bool = True) -> bytes:
    """The attributes of a rule: expressions, what xt matches ask for, and its last comment if it stands `aside`."""
    try:
        return _encoded(family, rule, aside)
    except (WireError, ValueError, KeyError, struct.error) as error:
        raise WireError(f"no encoding of {render(rule)!r}: {error!r}") from error


_ONLY = struct.Struct("=HH")
_COUNTER = attribute(1 | NESTED, text(1, "counter"), attribute(2 | NESTED, long(1, 0), long(2, 0)))


def _encoded(family: Family, rule: Rule, aside: bool) -> bytes:
    parts = []
    if rule.in_interface:
        parts.append(_interface(rule.in_interface))
    if rule.protocol:
        parts.append(_protocol(rule.protocol))
    if rule.source:
        parts.append(_address(family, 0, rule.source))
    if rule.destination:
        parts.append(_address(family, 1, rule.destination))
    comment = b""
    # A comment that is not the last one stays a match, so that the comments' order stays too.
    last = next((each for each in reversed(rule.matches) if type(each) is Comment), None) if aside else None
    for match in rule.matches:
        if match is last and (comment := _userdata(last.text)):
            continue
        parts.append(_match(family, match))
    parts.append(_COUNTER)
    if rule.target is not None:
        parts.append(_target(family, rule.target))
    expressions = b"".join(parts)
    head = _ONLY.pack(4 + len(expressions), 4 | NESTED)
    return head + expressions + (_compat(rule.protocol) if rule.protocol else b"") + comment


def _userdata(comment: str) -> bytes:
    """The comment as NFTA_RULE_USERDATA: type 0, length, text with NUL; nothing if it is too long."""
    value = comment.encode() + b"\0"
    return attribute(7, bytes((0, len(value))), value) if len(value) <= LONGEST_COMMENT + 1 else b""


@lru_cache(maxsize=16)
def _compat(protocol: str) -> bytes:
    """NFTA_RULE_COMPAT: xt matches are told the protocol by it."""
    return attribute(5 | NESTED, number(1, _PROTOCOLS[protocol]), number(2, 0))


def _expression(name: str, *attributes: bytes) -> bytes:
    return attribute(1 | NESTED, text(1, name), attribute(2 | NESTED, *attributes))


def _compared(value: bytes, operation: int) -> bytes:
    return _expression("cmp", number(1, 1), number(2, operation), attribute(3 | NESTED, attribute(1, value)))


@lru_cache(maxsize=64)
def _interface(name: str | Not) -> bytes:
    plain, operation = (name.value, _DIFFERENT) if isinstance(name, Not) else (name, _EQUAL)
    if not _INTERFACE.match(plain) or len(plain) > 15:
        raise WireError(f"interface {plain!r}")
    value = plain[:-1].encode() if plain[-1] == "+" else plain.encode() + b"\0"
    return _expression("meta", number(2, _IN_INTERFACE), number(1, 1)) + _compared(value, operation)


@lru_cache(maxsize=16)
def _protocol(name: str) -> bytes:
    return _expression("meta", number(2, _PROTOCOL), number(1, 1)) + _compared(bytes((_PROTOCOLS[name],)), _EQUAL)


@lru_cache(maxsize=8)
def _host_frame(family: Family, side: int, operation: int) -> bytes:
    """What comes before the bytes of a single address."""
    size = 4 if family == "IPv4" else 16
    return (_payload(family, side, size) + _compared(bytes(size), operation))[:-size]


def _payload(family: Family, side: int, size: int) -> bytes:
    """Loads the first bytes of the source (0) or destination (1) address."""
    offset = (12, 16)[side] if family == "IPv4" else (8, 24)[side]
    return _expression("payload", number(1, 1), number(2, 1), number(3, offset), number(4, size))


def _address(family: Family, side: int, cidr: str | Not) -> bytes:
    plain, operation = (cidr.value, _DIFFERENT) if isinstance(cidr, Not) else (cidr, _EQUAL)
    address, _, prefix = plain.partition("/")
    if prefix == _WHOLE[family]:
        return _host_frame(family, side, operation) + _packed(family, address)
    return _network(family, side, plain, operation)


_WHOLE = {"IPv4": "32", "IPv6": "128"}


def _packed(family: Family, address: str) -> bytes:
    if family == "IPv6":
        return IPv6Address(address).packed
    value = bytes(map(int, address.split(".")))
    if len(value) != 4:
        raise WireError(f"address {address}")
    return value


@lru_cache(maxsize=256)
def _network(family: Family, side: int, cidr: str, operation: int) -> bytes:
    """Compares whole bytes where a prefix ends with one, as iptables does, else what a mask leaves."""
    network = ip_network(cidr)
    if network.version != (4 if family == "IPv4" else 6):
        raise WireError(f"{cidr} is not of {family}")
    packed, mask, prefix = network.network_address.packed, network.netmask.packed, network.prefixlen
    if prefix and prefix % 8 == 0:
        size = prefix // 8
        return _payload(family, side, size) + _compared(packed[:size], operation)
    masked = _expression(
        "bitwise",
        *(number(1, 1), number(2, 1), number(3, len(packed))),
        attribute(4 | NESTED, attribute(1, mask)),
        attribute(5 | NESTED, attribute(1, bytes(len(packed)))),
    )
    return _payload(family, side, len(packed)) + masked + _compared(packed, operation)


def _aligned(info: bytes) -> bytes:
    return info + bytes(-len(info) % 8)


def _xt(what: str, name: str, revision: int, info: bytes) -> bytes:
    return _expression(what, text(1, name), number(2, revision), attribute(3, _aligned(info)))


@lru_cache(maxsize=4096)
def _match(family: Family, match: Match) -> bytes:
    match match:
        case L4(protocol, port, last):
            return _xt("match", protocol, 0, _ports(protocol, port, port if last is None else last))
        case Comment(words):
            value = words.encode()
            if len(value) > 255:
                raise WireError(f"a comment of {len(value)} bytes")
            return _xt("match", "comment", 0, value.ljust(256, b"\0"))
        case Mark(value, mask, negated):
            return _xt("match", "mark", 1, struct.pack("=IIB", value, mask, negated))
        case Statistic(threshold):
            return _xt("match", "statistic", 0, struct.pack("=HHI16x", 0, 0, min(threshold, PROBABILITY_ONE)))
        case Ctstate(states, negated):
            bits = sum(_STATES[each] for each in states.split(","))
            # Sixteen addresses and masks, times, protocol and ports stay empty; of the flags only STATE is set.
            return _xt("match", "conntrack", 3, struct.pack("=146xHHHH10x", 1, int(negated), bits, 0))
        case Addrtype(side, kind):
            wanted = _ADDRTYPES[kind]
            return _xt("match", "addrtype", 1, struct.pack("=HHI", *((wanted, 0) if side == "src" else (0, wanted)), 0))
        case Recent(action, name, mask, seconds):
            return _xt("match", "recent", 1, _recent(action, name, mask, seconds))
        case Nfacct(name):
            return _xt("match", "nfacct", 1, struct.pack("=32s8x", _short(name, 31)))
    raise WireError(f"no encoding of the match {match!r}")


def _short(name: str, most: int) -> bytes:
    value = name.encode()
    if len(value) > most:
        raise WireError(f"{name!r} is longer than {most} bytes")
    return value


def _ports(protocol: str, first: int | None, last: int | None) -> bytes:
    """struct xt_tcp, xt_udp, xt_sctp: source and destination ports from, to."""
    low, high = (0, 0xFFFF) if first is None or last is None else (first, last)
    if protocol == "tcp":
        return struct.pack("=HHHH4x", 0, 0xFFFF, low, high)
    if protocol == "udp":
        return struct.pack("=HHHHBx", 0, 0xFFFF, low, high, 0)
    if protocol == "sctp":  # the chunk map has 64 words; flag 2 says that the destination port counts
        return struct.pack("=HHHH256x4x12x4xII", *((0, 0, 0, 0, 0, 0) if first is None else (low, high, 0, 0, 2, 0)))
    raise WireError(f"ports of {protocol}")


def _recent(action: str, name: str, mask: str, seconds: int) -> bytes:
    """struct xt_recent_mtinfo_v1: SET is 2, CHECK 1, REAP 32; side 0 is the source."""
    what = 2 if action == "set" else 1 | 32
    packed = ip_network(mask).network_address.packed
    return struct.pack("=IIBB200sBx16s", seconds, 0, what, 0, _short(name, 199), 0, packed)


def _verdict(code: int, chain: str = "") -> bytes:
    parts = (number(1, code), text(2, chain)) if chain else (number(1, code),)
    return _expression("immediate", number(1, 0), attribute(2 | NESTED, attribute(2 | NESTED, *parts)))


_FIXED = {name: _verdict(code) for name, code in _VERDICTS.items()}


@lru_cache(maxsize=128)
def _jump_frame(code: int, size: int) -> tuple[bytes, bytes]:
    """What comes before and after a chain's name of this many bytes."""
    whole = _verdict(code, "x" * size)
    at = whole.rindex(b"x" * size)
    return whole[:at], whole[at + size :]


def _target(family: Family, target: Target) -> bytes:
    match target:
        case Jump(chain) if chain in _FIXED:
            return _FIXED[chain]
        case Jump(chain) | Goto(chain):
            if not _CHAIN.match(chain):
                raise WireError(f"{chain!r} is no name of a chain")
            name = chain.encode()
            before, after = _jump_frame(_JUMP if type(target) is Jump else _GOTO, len(name))
            return before + name + after
        case Dnat(to):
            return _dnat(family, to)
        case SetXmark(value, mask):
            return _xt("target", "MARK", 2, struct.pack("=II", value, mask))
        case Masquerade(random_fully):
            flags = 0x10 if random_fully else 0  # NF_NAT_RANGE_PROTO_RANDOM_FULLY
            # struct nf_nat_ipv4_multi_range_compat, which counts its ranges, or nf_nat_range
            info = struct.pack("=II12x", 1, flags) if family == "IPv4" else struct.pack("=I36x", flags)
            return _xt("target", "MASQUERADE", 0, info)
        case Reject(kind):
            return _xt("target", "REJECT", 0, struct.pack("=I", _REJECTS[family, kind]))
    raise WireError(f"no encoding of the target {target!r}")


@lru_cache(maxsize=2)
def _dnat_frame() -> bytes:
    """What comes before struct nf_nat_range2: flags, two addresses, three ports."""
    return _xt("target", "DNAT", 2, bytes(48))[:-48]


_RANGE = struct.Struct("=I16s16s")
_PORTS = struct.Struct("!HHH6x")


def _dnat(family: Family, to: str) -> bytes:
    address, _, port = to.rpartition(":")
    packed = _packed(family, address.strip("[]"))
    # NF_NAT_RANGE_MAP_IPS, NF_NAT_RANGE_PROTO_SPECIFIED
    return _dnat_frame() + _RANGE.pack(3, packed, packed) + _PORTS.pack(int(port), int(port), 0)

"""The Corefile's `acl`.

In: the directive. Out: an `AccessRule`: lines of `allow`, `block`, `filter` or `drop`, with types and networks after
the words `type` and `net`; where one of the two is left out, or says `*`, it is all of them.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import get_args

from svcdns.corefile import Directive, Line
from svcdns.directives import checked, names
from svcdns.records import TYPE_NUMBERS, Name
from svcdns.settings import EVERYWHERE, Access, AccessPolicy, AccessRule, Network

_ACCESSES: dict[str, Access] = {access: access for access in get_args(Access)}


def acl(directive: Directive, zones: tuple[Name, ...]) -> AccessRule:
    """`acl [ZONE...]`. Raises CorefileError."""
    return AccessRule(names(directive, directive.args) or zones, tuple(map(_policy, directive.body)))


def _policy(line: Line) -> AccessPolicy:
    access = _ACCESSES.get(line.name.lower())
    if access is None:
        raise line.error(f"unknown property '{line.name}' of acl; there is: {', '.join(_ACCESSES)}")
    types: set[int] | None = None
    networks: list[Network] | None = None
    for section, words in _sections(line):
        if section == "type":
            types = types or set()
            types |= {checked(line, _type, word) for word in _up_to_all(words)}
        else:
            networks = [*(networks or ()), *(one for word in _up_to_all(words) for one in checked(line, _nets, word))]
    is_all = types is None or 0 in types
    return AccessPolicy(access, frozenset() if is_all else frozenset(types or ()), tuple(networks or EVERYWHERE))


def _sections(line: Line) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for word in line.args:
        if word.lower() in ("type", "net"):
            found.append((word.lower(), []))
        elif not found:
            raise line.error(f"acl: '{word}' where 'type' or 'net' was expected")
        else:
            found[-1][1].append(word)
    for section, words in found:
        if not words:
            raise line.error(f"acl: nothing after '{section}'")
    return found


def _up_to_all(words: list[str]) -> list[str]:
    """After `*`, which is all, CoreDNS reads no further."""
    return ["*"] if "*" in words else words


def _type(word: str) -> int:
    if word != "*" and word not in TYPE_NUMBERS:
        raise ValueError(f"{word!r} is no type of records")
    return TYPE_NUMBERS.get(word, 0)


def _nets(word: str) -> tuple[Network, ...]:
    if word == "*":
        return EVERYWHERE
    length = word.partition("/")[2]
    try:
        if length and not length.isdecimal():
            raise ValueError
        return (ip_network(word, strict=False),)
    except ValueError:
        raise ValueError(f"{word!r} is no address, no CIDR and not *") from None

"""iptables-save dumps in the form in which two programs' can be compared.

kube-proxy writes the services of a shared chain in the random order of a Go map; everything else has one order. So
shared chains are compared with their service ports sorted, the rules that must come last at the end, and all other
chains line by line. The rules of one service port keep their order. Where in a line its comment stands does not count.
"""

from __future__ import annotations

import re

from svcagent.skeleton import SHARED
from svcnet.rules import comments_last, dump_lines

Normal = dict[tuple[str, str], list[str]]

LAST = "this must be the last rule"
SERVICE_PORT = re.compile(r'--comment "?([^ "]+)')
"""A comment of a shared chain begins with the service port that the rule is of."""


def normal(dump: str) -> Normal:
    """Chain by chain, the rules' words; the built-in chains' policies do not count."""
    chains: Normal = {}
    for table, chain, text in dump_lines(dump):
        known = chains.setdefault((table, chain), [])
        if text:
            known.append(comments_last(text))
    for key in SHARED:
        if key in chains:
            chains[key].sort(key=_place)
    return chains


def _place(text: str) -> tuple[bool, str]:
    if LAST in text:
        return True, text
    found = SERVICE_PORT.search(text)
    return False, found[1] if found else text


def difference(ours: Normal, theirs: Normal) -> str:
    """What differs, for people; "" if nothing does."""
    lines = []
    for key in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(key), theirs.get(key)
        if mine != other:
            lines.append(" ".join(key))
            lines += [f"  ours:   {text}" for text in mine or ["(no such chain)"] if text not in (other or ())]
            lines += [f"  theirs: {text}" for text in other or ["(no such chain)"] if text not in (mine or ())]
    return "\n".join(lines)

"""iptables-save dumps in the form in which two programs' can be compared.

kube-proxy writes the services of a shared chain in the random order of a Go map; everything else has one order. So
shared chains are compared as sorted lists, but for the rules that must come last, and all other chains line by line.
"""

from __future__ import annotations

from svcagent.skeleton import SHARED
from svcnet.rules import dump_lines

Normal = dict[tuple[str, str], list[str]]

LAST = "this must be the last rule"


def normal(dump: str) -> Normal:
    """Chain by chain, the rules' words; the built-in chains' policies do not count."""
    chains: Normal = {}
    for table, chain, text in dump_lines(dump):
        known = chains.setdefault((table, chain), [])
        if text:
            known.append(text)
    for key in SHARED:
        if key in chains:
            chains[key].sort(key=lambda text: (LAST in text, text))
    return chains


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

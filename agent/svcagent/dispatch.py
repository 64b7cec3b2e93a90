"""Many fragments in, the shared chains out: which rule sends a packet to which service.

The layout is kube-proxy's: one flat list per shared chain, sorted by service so that the same objects always give the
same bytes. A service that changes marks only those shared chains in which its own lines changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from svcagent.compile import ChainKey
from svcnet.rules import Rule


class Dispatch:
    """The lines of every service in every shared chain."""

    def __init__(self) -> None:
        self._lines: dict[ChainKey, dict[str, tuple[Rule, ...]]] = {}

    def put(self, service: str, lines: Mapping[ChainKey, tuple[Rule, ...]]) -> set[ChainKey]:
        """Replaces all lines of `service` ("namespace/name"); returns the shared chains that are different now."""
        changed = set()
        for chain in lines.keys() | {chain for chain, known in self._lines.items() if service in known}:
            known = self._lines.setdefault(chain, {})
            wanted = lines.get(chain, ())
            if known.get(service, ()) == wanted:
                continue
            changed.add(chain)
            if wanted:
                known[service] = wanted
            else:
                del known[service]
        return changed

    def rules(self, chain: ChainKey) -> tuple[Rule, ...]:
        """All lines of one shared chain, sorted by service."""
        known = self._lines.get(chain, {})
        return tuple(rule for service in sorted(known) for rule in known[service])


def merge(fragments: Iterable[Mapping[ChainKey, tuple[Rule, ...]]]) -> dict[ChainKey, tuple[Rule, ...]]:
    """The lines of several ports of one service, one port after the other."""
    merged: dict[ChainKey, tuple[Rule, ...]] = {}
    for lines in fragments:
        for chain, rules in lines.items():
            merged[chain] = merged.get(chain, ()) + rules
    return merged

"""Differences that healing did not end: another hand that was quick, or a spelling of this iptables' own?

In: what still differs right after a healing, as chain and content. Out: what to let be. Only what is read just so after
two healings in a row is a spelling; rewriting that for ever would change nothing. Any other content of such a chain
counts as a difference again.
"""

from __future__ import annotations

from typing import TypeAlias

Differences: TypeAlias = frozenset[tuple[str, bytes]]
"""`table chain`, and what stands for its content."""


class Doubts:
    """Of one address family. `misread` is what iptables shows otherwise than it was written."""

    def __init__(self) -> None:
        self.misread: Differences = frozenset()
        self._before: Differences = frozenset()

    def healed(self, after: Differences) -> bool:
        """Takes what differs after a healing; whether nothing of it is in doubt."""
        self.misread = after & self._before
        self._before = after
        return self.misread == after


def shown(differences: Differences) -> str:
    """A few of the chains, for a log line."""
    chains = sorted(chain for chain, _ in differences)
    return ", ".join(chains[:5]) + (", ..." if len(chains) > 5 else "")

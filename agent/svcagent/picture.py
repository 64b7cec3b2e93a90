"""What the kernel should hold of one family at one moment, for an audit to compare with a dump. Pure.

In: the digests of what was written, and a dump of iptables-save. Out: what somebody else changed of ours. A picture
does not change while it is compared, whatever is written meanwhile: `Pipeline.unwritten` says what still counts then.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from svcagent import patch, skeleton
from svcagent.compile import ChainKey


class Picture(msgspec.Struct, frozen=True):
    """`chains` of ours with their digests. `let_be` are chains that may hold anything."""

    chains: Mapping[ChainKey, bytes]
    let_be: frozenset[ChainKey] = frozenset()

    def differences(self, dump: str) -> dict[str, bytes]:
        """What somebody else changed of ours: `table chain` to what stands for it now.

        Of a built-in chain only the rules that name chains of ours are looked at.
        """
        found = patch.installed(dump)
        wrong = {key for key, mine in self.chains.items() if found.chains.get(key) != mine}
        wrong |= {(hook.table, hook.chain) for hook in patch.plan({}, found, hooks=skeleton.HOOKS).insert}
        wrong |= set(patch.stale_chains(found, self.chains))
        return {name(key): patch.seen(found, key) for key in sorted(wrong - self.let_be)}


def name(key: ChainKey) -> str:
    """`table chain`."""
    return " ".join(key)

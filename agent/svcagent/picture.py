"""What the kernel should hold of one family at one moment, for an audit to compare with a dump. Pure.

In: the digests of what was written, and a dump of iptables-save. Out: what somebody else changed of ours. A picture
does not change while it is compared, whatever is written meanwhile: `Pipeline.unwritten` says what still counts then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from svcagent import patch, skeleton
from svcagent.compile import ChainKey
from svcagent.patch import Installed


class Picture(msgspec.Struct, frozen=True):
    """`chains` of ours with their digests. `let_be` are chains that may hold anything."""

    chains: Mapping[ChainKey, bytes]
    let_be: frozenset[ChainKey] = frozenset()

    def differences(self, dump: str) -> dict[str, bytes]:
        """What a whole dump shows otherwise."""
        return self.compared(patch.installed(dump))

    def compared(self, found: Installed, keys: Collection[ChainKey] | None = None) -> dict[str, bytes]:
        """What somebody else changed of ours: `table chain` to what stands for it now; of these chains, or of all.

        Of a built-in chain only the rules that name chains of ours are looked at.
        """
        looked_at = self.chains if keys is None else [key for key in keys if key in self.chains]
        wrong = {key for key in looked_at if found.chains.get(key) != self.chains[key]}
        hooks = [hook for hook in skeleton.HOOKS if keys is None or (hook.table, hook.chain) in keys]
        wrong |= {(hook.table, hook.chain) for hook in patch.plan({}, found, hooks=hooks).insert}
        wrong |= set(patch.stale_chains(found, self.chains))
        return {name(key): patch.seen(found, key) for key in sorted(wrong - self.let_be)}


def name(key: ChainKey) -> str:
    """`table chain`."""
    return " ".join(key)


def key(name: str) -> ChainKey:
    """The chain of a `name`."""
    table, _, chain = name.partition(" ")
    return table, chain

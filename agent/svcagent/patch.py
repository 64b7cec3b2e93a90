"""What is installed against what is wanted: the smallest set of chains to rewrite or delete.

Installed state is kept as one digest a chain, never as rules: it comes from an iptables-save dump or from what we have
just written. Where a comment stands in its rule does not count: the two writers put it at different places. Chains are
rewritten whole, by flush and add. The result is a value; `changes` gives it as the netlink writer takes it, and
`RestoreInput` as text for iptables-restore --noflush, in which each table is one transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import chain as chained

import msgspec

from svcagent import names
from svcagent.compile import ChainKey
from svcagent.names import OWNED_PREFIXES
from svcagent.skeleton import Hook
from svcnet.rules import HINT_CHAINS, Goto, Jump, Rule, comments_last, comparable, dump_lines, parse_rule, render
from svcnet.transactions import Change


class Installed(msgspec.Struct):
    """What the kernel holds of one family: chain to digest, and the rule texts of the built-in chains.

    `held` are chains of ours that a rule of somebody else's jumps to: they can be emptied, but not deleted.
    """

    chains: dict[ChainKey, bytes]
    built_in: dict[ChainKey, frozenset[str]] = {}
    held: frozenset[ChainKey] = frozenset()
    chain_totals: Counter[str] = msgspec.field(default_factory=Counter)
    rule_totals: Counter[str] = msgspec.field(default_factory=Counter)

    def __post_init__(self) -> None:
        for key, mine in self.chains.items():
            self.count(key, None, mine)

    def keep(self, ours: Container[ChainKey]) -> None:
        """Forgets all other chains."""
        for key in [each for each in self.chains if each not in ours]:
            self.count(key, self.chains.pop(key), None)

    def copy(self) -> Installed:
        """Another one of the same."""
        return Installed(dict(self.chains), dict(self.built_in), self.held)

    def correct(self, keys: Iterable[ChainKey], found: Installed) -> None:
        """Takes over what was found of these chains, there or not."""
        for key in keys:
            old, new = self.chains.get(key), found.chains.get(key)
            self.count(key, old, new)
            if new is None:
                self.chains.pop(key, None)
            else:
                self.chains[key] = new
            if key[1] in _BUILT_IN:
                self.built_in[key] = found.built_in.get(key, frozenset())
        self.held |= found.held

    def count(self, key: ChainKey, old: bytes | None, new: bytes | None) -> None:
        """Keeps the totals of each table: a chain came, went or became another."""
        self.chain_totals[key[0]] += (new is not None) - (old is not None)
        self.rule_totals[key[0]] += count_of(new or b"") - count_of(old or b"")


class Patch(msgspec.Struct, frozen=True):
    """Chains to (re)write with their rules, chains to delete, jumps to insert at the head of built-in chains.

    `digests` has those that are known of the chains in `rewrite`: of what was there already, and of what was rendered
    since. `applied` makes the others.
    """

    rewrite: dict[ChainKey, tuple[Rule, ...]] = {}
    digests: dict[ChainKey, bytes] = {}
    delete: tuple[ChainKey, ...] = ()
    insert: tuple[Hook, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.rewrite or self.delete or self.insert)


class Extent:
    """How much was written: chains rewritten or deleted, and rules by table."""

    def __init__(self) -> None:
        self.chains = 0
        self.rules: Counter[str] = Counter()

    def of(self, patches: Iterable[Patch]) -> Iterator[Patch]:
        """The same patches; counts them, from nothing again."""
        self.chains, self.rules = 0, Counter()
        for each in patches:
            self.chains += len(each.rewrite) + len(each.delete)
            for (table, _), rules in each.rewrite.items():
                self.rules[table] += len(rules)
            yield each


def digest_lines(lines: Iterable[str]) -> bytes:
    """What stands for the rules of a chain, in order: eight bytes, and four that count them.

    `lines` are as iptables-save prints them, with their comments last.
    """
    texts = list(lines)
    return _digest("\n".join(texts), len(texts))


def _digest(whole: str, count: int) -> bytes:
    return blake2b(whole.encode(), digest_size=8).digest() + count.to_bytes(4, "big")


def count_of(digest: bytes) -> int:
    """How many rules the chain of this digest has."""
    return int.from_bytes(digest[8:], "big")


def digest(rules: Iterable[Rule]) -> bytes:
    return digest_lines(map(comparable, rules))


def merged(patches: Iterable[Patch]) -> Patch:
    """One patch that does what these do one after the other."""
    rewrite: dict[ChainKey, tuple[Rule, ...]] = {}
    digests: dict[ChainKey, bytes] = {}
    delete: list[ChainKey] = []
    insert: list[Hook] = []
    for patch in patches:
        rewrite |= patch.rewrite
        digests |= patch.digests
        delete += patch.delete
        insert += patch.insert
    return Patch(rewrite, digests, tuple(delete), tuple(insert))


_BUILT_IN = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})

_TOP_LEVEL = frozenset(
    {
        names.SERVICES,
        names.EXTERNAL_SERVICES,
        names.NODEPORTS,
        names.POSTROUTING,
        names.MARK_MASQ,
        names.FORWARD,
        names.PROXY_FIREWALL,
        names.CANARY,
    }
)


def _is_ours(chain: str) -> bool:
    return chain in _TOP_LEVEL or chain.startswith(OWNED_PREFIXES)


def installed(dump: str) -> Installed:
    """What a dump of iptables-save says is there."""
    lines: dict[ChainKey, list[str]] = {}
    key, known = ("", ""), [""]
    for table, chain, text in dump_lines(dump):
        if chain != key[1] or table != key[0]:  # a chain's rules stand together
            key = table, chain
            known = lines.setdefault(key, [])
        if text:
            known.append(comments_last(text))
    return Installed(
        {key: digest_lines(texts) for key, texts in lines.items() if key[1] not in _BUILT_IN},
        {key: frozenset(texts) for key, texts in lines.items() if key[1] in _BUILT_IN},
        _held((table, text) for (table, chain), texts in lines.items() if not _is_ours(chain) for text in texts),
    )


def owned(key: ChainKey) -> bool:
    """Whether a chain has a name of a service's or an endpoint's."""
    return key[0] == "nat" and key[1].startswith(OWNED_PREFIXES)


def seen(found: Installed, key: ChainKey) -> bytes:
    """What stands for a chain as it was found: b"" if it is not there; of a built-in one, its rules that name ours."""
    if key in found.chains:
        return found.chains[key]
    hooks = [text for text in found.built_in.get(key, ()) if "KUBE-" in text]
    return digest_lines(sorted(hooks)) if hooks else b""


def _held(foreign: Iterable[tuple[str, str]]) -> frozenset[ChainKey]:
    """The chains that rules of foreign chains (table, text) jump to, hooks of ours included."""
    return frozenset((table, _target(text)) for table, text in foreign if "KUBE-" in text)


def _target(text: str) -> str:
    """The chain that a rule jumps to, "" if it does not."""
    target = parse_rule(text).target
    return target.chain if isinstance(target, Jump | Goto) else ""


def plan(
    chains: Mapping[ChainKey, tuple[Rule, ...]],
    found: Installed,
    *,
    delete: Iterable[ChainKey] = (),
    hooks: Iterable[Hook] = (),
) -> Patch:
    """The patch that gives each of `chains` just these rules, removes `delete` and adds the missing `hooks`."""
    digests = {key: digest(rules) for key, rules in chains.items() if key in found.chains}
    same = {key for key, mine in digests.items() if found.chains[key] == mine}
    return Patch(
        rewrite={key: rules for key, rules in chains.items() if key not in same},
        digests={key: mine for key, mine in digests.items() if key not in same},
        delete=tuple(sorted(key for key in delete if key in found.chains)),
        insert=_missing(hooks, found),
    )


def _missing(hooks: Iterable[Hook], found: Installed) -> tuple[Hook, ...]:
    return tuple(
        hook for hook in hooks if comparable(hook.rule) not in found.built_in.get((hook.table, hook.chain), frozenset())
    )


def stale_chains(found: Installed, wanted: Container[ChainKey]) -> list[ChainKey]:
    """Chains of services and endpoints that nobody wants any more, kube-proxy's leftovers included."""
    return [key for key in found.chains if owned(key) and key not in wanted]


def applied(patch: Patch, found: Installed) -> None:
    """Brings `found` up to what it is once `patch` has been written."""
    for key, rules in patch.rewrite.items():
        mine = patch.digests.get(key) or digest(rules)
        found.count(key, found.chains.get(key), mine)
        found.chains[key] = mine
    for key in patch.delete:
        found.count(key, found.chains.pop(key, None), None)
    for hook in patch.insert:
        key = (hook.table, hook.chain)
        found.built_in[key] = found.built_in.get(key, frozenset()) | {comparable(hook.rule)}


_TABLES = ("mangle", "filter", "nat")


def changes(patch: Patch) -> list[Change]:
    """The patch table by table, for `transactions`; no table is in it of which nothing changes."""
    found = [
        Change(
            table,
            {key[1]: rules for key, rules in patch.rewrite.items() if key[0] == table},
            [name for owner, name in patch.delete if owner == table],
            [(hook.chain, hook.rule) for hook in patch.insert if hook.table == table],
        )
        for table in _TABLES
    ]
    return [each for each in found if each.rewrite or each.delete or each.insert]


class Afresh:
    """Patches that are made anew whenever they are asked for."""

    def __init__(self, make: Callable[[], Iterable[Patch]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Patch]:
        return iter(self._make())


class RestoreInput:
    """Patches as text for `iptables-restore --noflush`, in pieces; iterate again for the same once more.

    It is made patch by patch, as it is asked for, so that the command works on the first while the next are made. A
    chain line flushes an existing chain, so each piece declares the chains that it touches first; a deleted chain is
    flushed as well, and removed after every rule that might still have named it. Names come in descending order:
    iptables-legacy keeps chains in a sorted list, looks for the place of each new one from the front, and is done in
    half the time. Of several patches nat comes first: all but the last have nothing else, or what has to be there
    before the first Service.
    """

    def __init__(self, patches: Iterable[Patch]) -> None:
        self._patches = patches
        self._begun: Iterator[str] | None = None

    @property
    def empty(self) -> bool:
        self._begun = self._begun or iter(self)
        first = next(self._begun, None)
        self._begun = None if first is None else chained((first,), self._begun)
        return first is None

    def __iter__(self) -> Iterator[str]:
        begun, self._begun = self._begun, None
        return begun or self._pieces()

    def _pieces(self) -> Iterator[str]:
        tables = {table: _TableText() for table in _TABLES}
        nat = tables["nat"]
        begun = False
        for patch in self._patches:
            if any(tables.values()) and not patch.empty:
                yield from () if begun else ("*nat\n",)
                yield from nat.body()
                begun = True
            for change in changes(patch):
                patch.digests.update(tables[change.table].take(change))
        if begun:
            yield from nat.rest()
            del tables["nat"]
        for table, text in tables.items():
            if text:
                yield f"*{table}\n"
                yield from text.rest()


class _TableText:
    """What becomes of one table: a chain's rules as text, its declaration left out."""

    def __init__(self) -> None:
        self._rewrite: dict[str, str] = {}
        self._declare: list[str] = []
        self._insert: list[str] = []
        self._delete: list[str] = []
        self._taken = False

    def __bool__(self) -> bool:
        """Whether there was anything to take."""
        return self._taken

    def take(self, change: Change) -> dict[ChainKey, bytes]:
        """The digests of the chains: rules are rendered once for both."""
        self._taken = True
        digests = {}
        for chain, rules in change.rewrite.items():
            texts = [render(rule) for rule in rules]
            whole = "\n".join(texts)
            if "--comment" in whole:
                whole = "\n".join(map(comments_last, texts))
            digests[change.table, chain] = _digest(whole, len(texts))
            self._rewrite[chain] = "".join([f"-A {chain} {text}\n" for text in texts])
        self._insert += [f"-I {chain} {render(rule)}\n" for chain, rule in change.insert]
        self._declare += change.delete
        self._delete += change.delete
        return digests

    def body(self) -> Iterator[str]:
        """The chains that came since the last call, with their rules."""
        names = sorted(self._rewrite, reverse=True)
        yield "".join(f":{chain} - [0:0]\n" for chain in (*names, *self._declare))
        yield "".join([self._rewrite[chain] for chain in names])
        self._rewrite.clear()
        self._declare.clear()

    def rest(self) -> Iterator[str]:
        """All that is left, and the end."""
        yield from self.body()
        yield from self._insert
        yield from (f"-X {chain}\n" for chain in self._delete)
        yield "COMMIT\n"


def removal(dump: str) -> str:
    """Text for `iptables-restore --noflush` that removes every chain and jump of ours, "" if there is none.

    KUBE-FIREWALL stays where a kubelet lives: it is the kubelet's as much as ours. A chain that a rule of somebody
    else's still jumps to is emptied and stays: deleting it would fail, and with it everything else.
    """
    lines = list(dump_lines(dump))
    kubelet = any(chain in HINT_CHAINS for _, chain, _ in lines)
    mine = _TOP_LEVEL if kubelet else _TOP_LEVEL | {names.LOCALNET_FIREWALL}
    hooks = {(table, chain, text) for table, chain, text in lines if text and chain in _BUILT_IN}
    hooks = {hook for hook in hooks if _target(hook[2]) in mine}
    held = _held((line[0], line[2]) for line in lines if not _is_ours(line[1]) and line not in hooks)
    output: list[str] = []
    for table in _TABLES:
        found = [(chain, text) for owner, chain, text in lines if owner == table]
        chains = [chain for chain, text in found if not text and (_is_ours(chain) or chain in mine)]
        jumps = [(chain, text) for chain, text in found if (table, chain, text) in hooks]
        if chains or jumps:
            output.append(f"*{table}")
            output += [f":{chain} - [0:0]" for chain in chains]
            output += [f"-D {chain} {text}" for chain, text in jumps]
            output += [f"-X {chain}" for chain in chains if (table, chain) not in held]
            output.append("COMMIT")
    return "\n".join(output) + "\n" if output else ""

"""Changes of tables → transactions of nf_tables, in an order in which no packet meets half of a service. Pure.

In: a `Change` of each table. Out: `Batch`es of bounded size, each of which the kernel takes whole or not at all. A
chain is flushed and written anew, after all chains that it jumps to and in one batch; hooks follow when every chain is
there, and chains are deleted when nothing names them any more. Changes that fit are one transaction, all tables of it.
Refuses with `WireError`, which names the rule, what has no encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain as chained

import msgspec

from svcnet import nfnetlink, nftwire
from svcnet.nftwire import Request
from svcnet.rules import Family, Goto, Jump, Rule, render

BATCH_BYTES = 2 << 20
"""What one transaction may hold, unless a single chain is larger: some 5,000 rules, 50 ms of the kernel's time."""

_HEADER = struct.Struct("=IHHIIBBH")  # struct nlmsghdr, struct nfgenmsg
_REQUEST = nfnetlink.REQUEST


class Change(msgspec.Struct, frozen=True):
    """What is to become of one table. `insert` has (built-in chain, rule) in order, each put at the head."""

    table: str
    rewrite: Mapping[str, Sequence[Rule]] = {}
    delete: Sequence[str] = ()
    insert: Sequence[tuple[str, Rule]] = ()


class Step(msgspec.Struct, frozen=True):
    """Messages that stay together. `about` is the chain; `rules` are those of the last messages."""

    about: str
    requests: tuple[Request, ...]
    rules: Sequence[Rule] = ()
    size: int = 0

    def line(self, index: int) -> str:
        """What the message of this index was about, in iptables' words."""
        index -= len(self.requests) - len(self.rules)
        return f"-A {self.about} {render(self.rules[index])}" if index >= 0 else self.about


class Batch(msgspec.Struct, frozen=True):
    """One transaction."""

    family: Family
    steps: tuple[Step, ...]

    def data(self) -> bytes:
        """The datagram: messages are numbered from 1."""
        family = nftwire.FAMILIES[self.family]
        parts = []
        requests = chained.from_iterable(step.requests for step in self.steps)
        for sequence, each in enumerate(requests, 1):
            size = _HEADER.size + len(each.body)
            parts.append(_HEADER.pack(size, each.kind, each.flags | _REQUEST, sequence, 0, family, 0, 0))
            parts.append(each.body)
        return nfnetlink.batch(parts, 0)

    def line(self, sequence: int) -> str:
        """What the message of this number was about; "" for none of ours."""
        index = sequence - 1
        for step in self.steps:
            if 0 <= index < len(step.requests):
                return step.line(index)
            index -= len(step.requests)
        return ""

    def halves(self) -> tuple[Batch, Batch] | None:
        """The same in two transactions, None where it is one step."""
        middle = len(self.steps) // 2
        if not middle:
            return None
        return Batch(self.family, self.steps[:middle]), Batch(self.family, self.steps[middle:])


def batches(family: Family, changes: Iterable[Change], most: int = BATCH_BYTES) -> Iterator[Batch]:
    """The transactions, in order, each made when it is asked for."""
    steps: list[Step] = []
    size = 0
    for step in _steps(family, tuple(changes)):
        if steps and size + step.size > most:
            yield Batch(family, tuple(steps))
            steps, size = [], 0
        steps.append(step)
        size += step.size
    if steps:
        yield Batch(family, tuple(steps))


def _step(about: str, requests: Iterable[Request], rules: Sequence[Rule] = ()) -> Step:
    made = tuple(requests)
    return Step(about, made, rules, sum(20 + len(each.body) for each in made))


def _steps(family: Family, changes: Sequence[Change]) -> Iterator[Step]:
    # Encoded first: once the first hook is in, nothing is without encoding any more.
    hooks = [_hook(family, change.table, *each) for change in changes for each in change.insert]
    for change in changes:
        yield _step(change.table, [nftwire.table(change.table)])
        for name in leaves_first(change.rewrite):
            yield _rewriting(family, change.table, name, change.rewrite[name])
    yield from hooks
    for change in changes:
        for name in change.delete:
            yield _step(name, [nftwire.flush(nftwire.home(change.table, name))])
    for change in changes:
        for name in change.delete:
            yield _step(name, [nftwire.removal(change.table, name)])


def _hook(family: Family, table: str, name: str, rule: Rule) -> Step:
    where = nftwire.home(table, name)
    return _step(name, (nftwire.base_chain(table, name), nftwire.insert(where, family, rule)), (rule,))


def _rewriting(family: Family, table: str, name: str, rules: Sequence[Rule]) -> Step:
    """A chain of just these rules, whether it was there or not."""
    where = nftwire.home(table, name)
    requests = [nftwire.chain(table, name), nftwire.flush(where)]
    requests += [nftwire.append(where, family, rule) for rule in rules]
    return _step(name, requests, rules)


def leaves_first(chains: Mapping[str, Sequence[Rule]]) -> list[str]:
    """The names so that each comes after all that it jumps to; of a circle, which the kernel refuses, anyhow."""
    ordered: list[str] = []
    seen: set[str] = set()
    waiting = [(name, False) for name in reversed(tuple(chains))]
    while waiting:
        name, after_its_leaves = waiting.pop()
        if after_its_leaves:
            ordered.append(name)
        elif name not in seen:
            seen.add(name)
            waiting.append((name, True))
            waiting += [(target, False) for target in _targets(chains[name]) if target in chains]
    return ordered


def _targets(rules: Sequence[Rule]) -> Iterator[str]:
    for rule in rules:
        if isinstance(rule.target, Jump | Goto):
            yield rule.target.chain

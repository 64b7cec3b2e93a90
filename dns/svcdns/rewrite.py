"""Questions asked under one name and answered under another: the Corefile's `rewrite name exact` and `name suffix`.

In: a query and the rules. Out: the query as the rest of the server sees it, and the way back: the reply with the
question as the client put it, and, where the rule says so, with the names in it turned back. A rule matches whole
labels, in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from svcdns import foreign, wire
from svcdns.answer import Question, Reply
from svcdns.names import labels_above
from svcdns.records import CNAME, LONGEST_NAME, MX, NS, PTR, SRV, Name, Record
from svcdns.settings import Rewrite

Back: TypeAlias = Callable[[Name], Name]

_BEFORE_NAME = {CNAME: 0, NS: 0, PTR: 0, foreign.DNAME: 0, MX: 2, SRV: 6}


def rewritten(query: wire.Query, rules: Sequence[Rewrite]) -> tuple[wire.Query, tuple[Back, ...]] | None:
    """The query under its other name, and what turns names back, to be applied in this order. None: no rule matches."""
    name, hit = query.question.name, False
    back: list[Back] = []
    for rule in rules:
        changed = _changed(name, rule)
        if changed is None:
            continue
        hit = True
        if rule.answers:
            back.insert(0, _way_back(rule, name, changed))
        name = changed
        if rule.stop:
            break
    if not hit:
        return None
    packet = query.packet[:12] + name + query.packet[12 + len(query.question.name) :]
    question = Question(name, name.lower(), query.question.type)
    return msgspec.structs.replace(query, question=question, packet=packet), tuple(back)


def _changed(name: Name, rule: Rewrite) -> Name | None:
    lower = name.lower()
    if rule.kind == "exact":
        return rule.new if lower == rule.old else None
    above = labels_above(lower, rule.old)
    if above is None or (not above and not rule.apex):
        return None
    changed = name[: len(name) - len(rule.old)] + rule.new
    return changed if len(changed) <= LONGEST_NAME else None


def _way_back(rule: Rewrite, asked: Name, changed: Name) -> Back:
    if rule.kind == "exact":
        return lambda name: asked if name.lower() == changed else name

    def back(name: Name) -> Name:
        above = labels_above(name.lower(), rule.new)
        if above is None or (not above and not rule.apex):
            return name
        turned = name[: len(name) - len(rule.new)] + rule.old
        return turned if len(turned) <= LONGEST_NAME else name

    return back


def turned_back(packet: bytes, query: wire.Query, inner: wire.Query, back: Sequence[Back], limit: int) -> bytes:
    """The reply to `inner` as the reply to `query`. One that cannot be read is passed on by its header alone."""

    def turned(reply: Reply) -> Reply:
        answer, authority, additional = (
            tuple(_turned(one, back) for one in section)
            for section in (reply.answer, reply.authority, reply.additional)
        )
        return msgspec.structs.replace(reply, answer=answer, authority=authority, additional=additional)

    return foreign.retold(packet, query, inner, turned, limit)


def _turned(record: Record, back: Sequence[Back]) -> Record:
    owner, data = record.owner, record.data
    before = _BEFORE_NAME.get(record.type)
    for turn in back:
        owner = turn(owner)
        if before is not None:
            data = data[:before] + turn(data[before:])
    return Record(owner, record.type, record.ttl, data)

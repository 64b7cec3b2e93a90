"""The services that a host's iptables is tried with: between them they need a rule of every shape. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.judge import objects, services_of, store_of
from support.nodes import pipeline_of
from svcagent import specimens
from svcagent.patch import Patch
from svcnet.rules import FAMILIES, Comment, Family, Jump, Not, Rule


def shape(rule: Rule) -> tuple[object, ...]:
    """What decides how a rule is written, without its names and numbers."""
    sides = [type(side) for side in (rule.source, rule.destination, rule.in_interface) if side]
    matches = []
    for match in rule.matches:
        if not isinstance(match, Comment):
            flags = [getattr(match, name, None) for name in ("negated", "action", "side", "protocol", "states")]
            matches.append((type(match), *flags))
    target = rule.target
    verdict = target.chain if isinstance(target, Jump) and not target.chain.startswith("KUBE-") else type(target)
    return (*sides, Not in sides, rule.protocol, *matches, verdict)


def rules(patch: Patch) -> Iterator[Rule]:
    for found in patch.rewrite.values():
        yield from found
    for hook in patch.insert:
        yield hook.rule


@pytest.mark.parametrize("family", FAMILIES)
def test_the_specimens_have_every_shape_of_the_flow_tables_state(family: Family) -> None:
    written = {shape(each) for each in rules(pipeline_of(family=family).full(services_of(store_of(objects())), ""))}
    tried = {shape(each) for each in rules(pipeline_of(family=family).full(specimens.touched(), ""))}
    assert written <= tried


def test_nothing_of_the_specimens_is_left_out() -> None:
    pipeline = pipeline_of()
    pipeline.full(specimens.touched(), "")
    assert pipeline.problems == {}

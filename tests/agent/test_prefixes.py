"""The shape of a dispatch tree: a matter of the places alone, and changed only above what changed. Pure."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcagent.prefixes import LEAF, ROOT, Node, Prefixes

WIDTH = 10
places = st.integers(0, (1 << WIDTH) - 1)
changes = st.lists(st.tuples(st.booleans(), places), max_size=60)


def tree(found: list[int], most: int = 8) -> Prefixes:
    made = Prefixes(WIDTH)
    for place in found:
        made.add(place)
    made.settle(most)
    return made


def shown(found: Prefixes) -> dict[Node, object]:
    """Of every node what is written there: its children, or the places under it."""
    return {node: children or found.under(node) for node, children in found.nodes.items()}


@settings(max_examples=200, deadline=None)
@given(st.lists(places, max_size=80), changes, st.sampled_from([0, 8, 60]))
def test_every_change_leads_to_the_tree_of_a_fresh_start_and_tells_all_that_differs(
    before: list[int], wanted: list[tuple[bool, int]], most: int
) -> None:
    found, now = tree(before, most), list(before)
    old = shown(found)
    for comes, place in wanted:
        if comes:
            found.add(place)
            now.append(place)
        elif place in now:
            found.remove(place)
            now.remove(place)
    changed, gone = found.settle(most)
    new = shown(found)
    assert new == shown(tree(now, most))
    assert {node for node in new if new[node] != old.get(node)} <= changed <= new.keys()
    assert gone == old.keys() - new.keys()


@given(st.lists(places, max_size=200), st.sampled_from([0, 8, 60]))
def test_every_place_stands_under_one_leaf_and_few_beside_it(found: list[int], most: int) -> None:
    made = tree(found, most)
    leaves = [node for node, children in made.nodes.items() if not children]
    assert sorted(place for leaf in leaves for place in made.under(leaf)) == sorted(set(found))
    for leaf in leaves:
        assert len(made.under(leaf)) <= max(1, most if leaf == ROOT else min(most, LEAF))


@pytest.mark.parametrize("count", [1100, 30_000])
def test_a_new_place_concerns_few_nodes(count: int) -> None:
    made = Prefixes(32)
    for number in range(count):
        made.add(0x0A600000 + 7 * number)
    made.settle(1000)
    made.add(0x0A600003)
    changed, gone = made.settle(1000)
    assert len(changed) <= 15
    assert not gone


def spread(number: int) -> int:
    """As an API server chooses addresses: all over the range."""
    return number * 648_391 % (2**20 - 3)


@pytest.mark.parametrize("count", [2000, 10_000, 20_000, 30_000])
@pytest.mark.parametrize(
    "address", [lambda number: number, lambda number: 37 * number, spread], ids="one 37 all".split()
)
def test_services_are_reached_by_some_forty_rules_at_most(count: int, address: Callable[[int], int]) -> None:
    """Jumps that are looked at on the way down, and the lines of the leaf: the longest way, wherever addresses are."""
    made = Prefixes(32)
    for number in range(count):
        made.add(0x0A600002 + address(number) % (1 << 20))
    made.settle(1000)

    def longest(node: Node) -> int:
        children = made.nodes[node]
        below = (index + longest(child) for index, child in enumerate(children, 1))
        return max(below) if children else len(made.under(node))

    assert longest(ROOT) <= (40 if count == 30_000 else 45)

"""Changes as transactions: order, size, names, refusals. Pure."""

from __future__ import annotations

import pytest

from support.rule_shapes import every_shape
from svcnet import nfnetlink, nftwire
from svcnet.nftwire import WireError, encoded
from svcnet.rules import FAMILIES, RETURN, Addrtype, Comment, Family, Jump, Not, Other, Reject, Rule, comments_last
from svcnet.transactions import Change, batches, leaves_first

LEAF = Rule(matches=(Comment("ns/web"),), target=RETURN)
TREE = {"TOP": (Rule(target=Jump("MIDDLE")), Rule(target=Jump("LEAF"))), "MIDDLE": (Rule(target=Jump("LEAF")),)}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_shape_has_an_encoding_of_whole_attributes(family: Family) -> None:
    for rules in every_shape(family).values():
        for rule in rules:
            found = encoded(family, rule)
            assert len(found) % 4 == 0
            assert set(nfnetlink.attributes(found)) <= {4, 5, 7}


REFUSED: list[tuple[str, Rule]] = [
    ("a foreign match", Rule(matches=(Other("-m limit --limit 3/min"),))),
    ("a foreign target", Rule(target=Other("-j LOG"))),
    ("a kind of address that is not known", Rule(matches=(Addrtype("dst", "PROHIBIT"),))),
    ("an address of the other family", Rule(source="fd00::1/128")),
    ("a network of the other family", Rule(source=Not("fd00::/64"))),
    ("an interface too long for the kernel", Rule(in_interface="x" * 16)),
    ("an interface of any name", Rule(in_interface="+")),
    ("a chain too long for iptables", Rule(target=Jump("X" * 30))),
    ("a refusal of the other family", Rule(target=Reject("icmp6-port-unreachable"))),
    ("a second comment that no match can hold", Rule(matches=(Comment("x" * 256), Comment("y")))),
]


@pytest.mark.parametrize("rule", [row[1] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_has_no_encoding_is_refused_by_name(rule: Rule) -> None:
    with pytest.raises(WireError, match="no encoding of "):
        encoded("IPv4", rule)


def test_leaves_come_before_what_jumps_to_them() -> None:
    assert leaves_first({**TREE, "LEAF": (LEAF,)}) == ["LEAF", "MIDDLE", "TOP"]


def test_a_circle_ends() -> None:
    assert sorted(leaves_first({"A": (Rule(target=Jump("B")),), "B": (Rule(target=Jump("A")),)})) == ["A", "B"]


def test_changes_that_fit_are_one_transaction() -> None:
    change = Change("nat", {**TREE, "LEAF": (LEAF,)}, ["OLD"], [("OUTPUT", Rule(target=Jump("TOP")))])
    (batch,) = batches("IPv4", [change, Change("filter", {"EMPTY": ()})])
    assert [step.about for step in batch.steps] == [
        *("nat", "LEAF", "MIDDLE", "TOP", "filter", "EMPTY"),
        *("OUTPUT", "OLD", "OLD"),
    ]
    numbered = [message.sequence for message in nfnetlink.messages(batch.data())]
    assert numbered == [0, *range(1, len(numbered) - 1), 0]
    assert batch.line(4) == '-A LEAF -m comment --comment "ns/web" -j RETURN'
    assert batch.line(0) == batch.line(999) == ""


def test_a_large_change_is_split_between_chains_and_in_order() -> None:
    chains = {f"CHAIN-{number}": (LEAF,) * 10 for number in range(20)}
    found = list(batches("IPv4", [Change("nat", chains)], most=4000))
    assert len(found) > 3
    assert [step.about for batch in found for step in batch.steps] == ["nat", *chains]
    first = found[0].halves()
    assert first is not None
    assert first[0].steps + first[1].steps == found[0].steps


def test_what_cannot_be_halved_says_so() -> None:
    (batch,) = batches("IPv4", [Change("nat")])
    assert batch.halves() is None


def test_an_existing_chain_keeps_its_policy() -> None:
    made = nfnetlink.attributes(nftwire.base_chain("filter", "FORWARD").body)
    assert 5 not in made  # NFTA_CHAIN_POLICY
    with pytest.raises(WireError, match="no built-in chain PREROUTING in table filter"):
        nftwire.base_chain("filter", "PREROUTING")


MOVED = [
    ("none", "-p tcp -j RETURN", "-p tcp -j RETURN"),
    ("a word", "-m comment --comment a -j RETURN", "-j RETURN -m comment --comment a"),
    ("alone", "-m comment --comment a", "-m comment --comment a"),
    (
        "two keep their order",
        r'-p tcp -m comment --comment "a \" -j b" -m tcp -m comment --comment c -j DROP',
        r'-p tcp -m tcp -j DROP -m comment --comment "a \" -j b" -m comment --comment c',
    ),
    (
        "one that quotes another",
        '-m comment --comment "x -m comment --comment y" -j DROP',
        '-j DROP -m comment --comment "x -m comment --comment y"',
    ),
]


@pytest.mark.parametrize(("text", "moved"), [row[1:] for row in MOVED], ids=[row[0] for row in MOVED])
def test_comments_go_last(text: str, moved: str) -> None:
    assert comments_last(text) == moved
    assert comments_last(moved) == moved

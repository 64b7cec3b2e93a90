"""Finding the services that spoil a write, by trying parts of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcagent.culprits import culprits, suspects


@given(st.sets(st.integers(0, 200)), st.sets(st.integers(0, 200), max_size=3))
def test_all_bad_keys_are_found_with_few_questions(numbers: set[int], bad: set[int]) -> None:
    keys = [f"ns/{number}" for number in sorted(numbers)]
    wrong = {f"ns/{number}" for number in bad & numbers}
    asked = 0

    def works(some: Sequence[str]) -> bool:
        nonlocal asked
        asked += 1
        return not wrong & set(some)

    assert set(culprits(keys, works)) == wrong
    assert asked <= 1 + 2 * len(wrong) * max(len(keys), 2).bit_length()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('-A KUBE-SERVICES -m comment --comment "ns/web:http cluster IP" -j KUBE-SVC-X', ["ns/web"]),
        ('-A KUBE-SEP-X -m comment --comment "ns/web" -j DNAT', ["ns/web"]),
        ('-A KUBE-SERVICES -m comment --comment "other/web cluster IP" -j X', []),
        ("-A KUBE-SVC-X -j KUBE-SEP-Y", []),
        ("", []),
    ],
    ids=["with port", "without port", "another namespace", "no comment", "no line"],
)
def test_suspects_of_a_line(line: str, found: list[str]) -> None:
    assert suspects(line, ["ns/web", "ns/db"]) == found

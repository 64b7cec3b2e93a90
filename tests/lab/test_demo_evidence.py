"""What the demo makes of listings and counts; which rows it plays; its manifests."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # comes without types

from svclab.demo.evidence import counted, evenness, shares, way
from svclab.demo.report import Played, Step, as_data, step_lines, summary_lines
from svclab.demo.rows import ROWS, chosen
from svclab.errors import LabError

EXAMPLES = Path(__file__).parents[2] / "deploy/examples"

CHAINS = {
    "KUBE-NODEPORTS": """\
Chain KUBE-NODEPORTS (1 references)
target     prot opt source               destination
KUBE-EXT-AAAA  tcp  --  0.0.0.0/0   0.0.0.0/0   /* demo-9/web:http */ tcp dpt:31111
KUBE-EXT-BBBB  tcp  --  0.0.0.0/0   0.0.0.0/0   /* demo-9/web-two:http */ tcp dpt:31112
KUBE-EXT-CCCC  tcp  --  0.0.0.0/0   0.0.0.0/0   /* demo-9/db */ tcp dpt:31113
""",
    "KUBE-EXT-AAAA": """\
Chain KUBE-EXT-AAAA (1 references)
target     prot opt source               destination
KUBE-MARK-MASQ  all  --  0.0.0.0/0   0.0.0.0/0   /* masquerade traffic for demo-9/web:http external destinations */
KUBE-SVC-AAAA  all  --  0.0.0.0/0            0.0.0.0/0
""",
    "KUBE-SVC-AAAA": """\
Chain KUBE-SVC-AAAA (1 references)
target     prot opt source               destination
KUBE-SEP-1111  all  --  0.0.0.0/0  0.0.0.0/0  /* demo-9/web:http -> 10.244.1.2:80 */ statistic mode random
KUBE-SEP-2222  all  --  0.0.0.0/0  0.0.0.0/0  /* demo-9/web:http -> 10.244.2.2:80 */
""",
    "KUBE-SEP-1111": """\
Chain KUBE-SEP-1111 (1 references)
target     prot opt source               destination
KUBE-MARK-MASQ  all  --  10.244.1.2   0.0.0.0/0   /* demo-9/web:http */
DNAT       tcp  --  0.0.0.0/0   0.0.0.0/0   /* demo-9/web:http */ tcp to:10.244.1.2:80
""",
}


def test_the_way_of_a_packet() -> None:
    lines = way(CHAINS.__getitem__, "KUBE-NODEPORTS", "demo-9/web")
    assert [line.split()[1] for line in lines] == [
        "KUBE-EXT-AAAA",
        "KUBE-MARK-MASQ",
        "KUBE-SVC-AAAA",
        "KUBE-SEP-1111",
        "KUBE-SEP-2222",
        "KUBE-MARK-MASQ",
        "DNAT",
    ]
    assert lines[-1].endswith("tcp to:10.244.1.2:80")


def test_the_way_ends_where_nothing_is() -> None:
    assert way(CHAINS.__getitem__, "KUBE-NODEPORTS", "demo-9/none") == []


def test_counts() -> None:
    counts = counted("a\nb\n\n a\n")
    assert counts == {"a": 2, "b": 1}
    assert shares(counts) == ["     2   66.7 %  a", "     1   33.3 %  b"]


# Closed forms: erfc(sqrt(x/2)) with one degree of freedom, exp(-x/2) with two; tables for three.
EVEN = {
    "even": ({"a": 1000, "b": 1000, "c": 1000}, 3, 1.0),
    "two": ({"a": 60, "b": 40}, 2, 0.0455002639),
    "three": ({"a": 1050, "b": 1000, "c": 950}, 3, math.exp(-2.5)),
    "four": ({"a": 30, "b": 20, "c": 25, "d": 25}, 4, 0.5724067045),
    "one never came": ({"a": 15, "b": 15}, 3, math.exp(-7.5)),
}


@pytest.mark.parametrize(("counts", "choices", "p"), EVEN.values(), ids=EVEN)
def test_evenness(counts: dict[str, int], choices: int, p: float) -> None:
    assert evenness(counts, choices) == pytest.approx(p, rel=1e-6)


def test_evenness_tells_a_fair_choice_from_kube_proxys_classic_mistake() -> None:
    """One third each, against 1/3 of all, then 1/3 of the rest, then the rest."""
    dice = random.Random(1)  # noqa: S311  # the same dice each time
    fair = counted("\n".join(dice.choice("abc") for _ in range(3000)))
    assert evenness(fair, 3) > 1e-3
    assert evenness({"a": 1000, "b": 667, "c": 1333}, 3) < 1e-6


@pytest.mark.parametrize(("counts", "choices"), [({}, 3), ({"a": 1, "b": 1}, 1), ({"a": 1, "b": 1, "c": 1}, 2)])
def test_evenness_of_nothing(counts: dict[str, int], choices: int) -> None:
    with pytest.raises(ValueError, match="choices"):
        evenness(counts, choices)


CHOSEN = {
    "all": ("", [row.name for row in ROWS]),
    "some": ("9,4", ["4", "9"]),
    "a number means all of its rows": ("2", ["2", "2-dead"]),
    "one of them": ("2-dead", ["2-dead"]),
}


@pytest.mark.parametrize(("only", "names"), CHOSEN.values(), ids=CHOSEN)
def test_chosen_rows(only: str, names: list[str]) -> None:
    assert [row.name for row in chosen(only)] == names


@pytest.mark.parametrize("only", ["7", "1,x", ","])
def test_no_such_row(only: str) -> None:
    with pytest.raises(LabError, match="is no row"):
        chosen(only)


def test_rows_that_disturb_the_others_come_last() -> None:
    alone = [row.alone for row in ROWS]
    assert alone == sorted(alone)


GOOD = Step("works", 1.0, ("seen",))
BAD = Step("works not", 1.0, (), "expected: a\n    seen: b")


def test_a_failure_is_told() -> None:
    assert step_lines("4", BAD) == ["    4 ✗   1.0 s  works not", "      │ expected: a", "      │     seen: b"]
    played = [Played("3", "three", 1.0, (GOOD,)), Played("4", "four", 2.0, (GOOD, BAD))]
    lines = summary_lines(played, 3.0)
    assert lines[1] == "1 of 2 rows did what they should, in 3 s"
    assert lines[-1] == "      failed: works not"
    data = json.loads(json.dumps(as_data(played, 3.0, lab="lab")))
    assert (data["ok"], data["lab"], [row["ok"] for row in data["rows"]]) == (False, "lab", [True, False])
    assert data["rows"][1]["steps"][1]["failure"] == BAD.failure


def test_a_row_that_showed_nothing_is_not_good() -> None:
    assert not Played("4", "four", 0.0, ()).ok


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_examples_are_yaml_but_for_the_one_with_tabs(path: Path) -> None:
    if path.name == "wrong-tabs.yaml":
        with pytest.raises(yaml.YAMLError, match="cannot start any token"):
            yaml.safe_load(path.read_text())
        return
    for document in yaml.safe_load_all(path.read_text()):
        assert {"apiVersion", "kind", "metadata"} <= document.keys()

"""Which endpoints a service port may use on this node, row by row. Pure.

An endpoint is written as NAME:FLAGS: r ready, s serving, t terminating, l on this node; `z=a+b` zone hints, `n=x` node
hints. This node is `here` in zone `a`.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcagent.topology import Choice, Endpoint, choose


def endpoint(text: str) -> Endpoint:
    name, flags, *hints = text.split(":")
    known = dict(hint.split("=") for hint in hints)
    return Endpoint(
        address=name,
        port=80,
        text=name,
        ready="r" in flags,
        serving="s" in flags,
        terminating="t" in flags,
        local="l" in flags,
        zone_hints=frozenset(filter(None, known.get("z", "").split("+"))),
        node_hints=frozenset(filter(None, known.get("n", "").split("+"))),
    )


def chosen(endpoints: str, policies: str, zone: str = "a") -> Choice:
    return choose(
        tuple(endpoint(text) for text in sorted(endpoints.split())),
        uses_cluster="C" in policies,
        uses_local="L" in policies,
        node="here",
        zone=zone,
    )


def named(endpoints: tuple[Endpoint, ...]) -> str:
    return " ".join(each.text for each in endpoints)


# id, endpoints, policies in use (C cluster, L local), then: cluster, local, reachable, known
ROWS = [
    ("nothing", "", "C", "", "", "", False),
    ("nothing, Local too", "", "CL", "", "", "", False),
    ("ready ones", "x:rs y:rs z:", "C", "x y", "", "x y", True),
    ("unready only", "x: y:", "C", "", "", "", False),
    ("draining when nothing is ready", "x:st y:", "C", "x", "", "x", True),
    ("draining not when one is ready", "x:st y:rs", "C", "y", "", "y", True),
    ("terminating and not serving", "x:t", "C", "", "", "", False),
    ("serving but not ready is not enough", "x:s", "C", "", "", "", False),
    ("ready and terminating counts as ready", "x:rst y:rs", "C", "x y", "", "x y", True),
    # Local policies
    ("Local alone", "x:rsl y:rs", "L", "", "x", "x", True),
    ("Local alone, none here", "y:rs", "L", "", "", "", True),
    ("Local alone, none anywhere", "y:", "L", "", "", "", False),
    ("both", "x:rsl y:rs", "CL", "x y", "x", "x y", True),
    ("both, draining here, ready there", "x:stl y:rs", "CL", "y", "x", "x y", True),
    ("both, ready here hides draining here", "w:stl x:rsl y:rs", "CL", "x y", "x", "x y", True),
    ("Local, draining elsewhere is known", "y:st", "L", "", "", "", True),
    ("both, all draining", "x:stl y:st", "CL", "x y", "x", "x y", True),
    # zone hints (KEP-2433)
    ("zone", "x:rs:z=a y:rs:z=b", "C", "x", "", "x", True),
    ("several zones", "x:rs:z=a+b y:rs:z=b", "C", "x", "", "x", True),
    ("zone nobody serves", "x:rs:z=b y:rs:z=c", "C", "x y", "", "x y", True),
    ("a hint is missing", "x:rs:z=a y:rs", "C", "x y", "", "x y", True),
    ("an unready one needs no hint", "x:rs:z=a y:rs:z=b z:", "C", "x", "", "x", True),
    ("an unready one does not decide", "x:rs:z=b y::z=a", "C", "x", "", "x", True),
    ("hints do not count for draining ones", "x:st:z=b y:st:z=a", "C", "x y", "", "x y", True),
    ("hints do not narrow what is local", "x:rsl:z=b y:rs:z=a", "CL", "y", "x", "x y", True),
    # node hints (KEP-3015)
    ("node", "x:rs:n=here y:rs:n=there", "C", "x", "", "x", True),
    ("node before zone", "x:rs:n=here:z=b y:rs:n=there:z=a", "C", "x", "", "x", True),
    ("node nobody serves, zone", "x:rs:n=there:z=a y:rs:n=there:z=b", "C", "x", "", "x", True),
    ("a node hint is missing, zone", "x:rs:n=here:z=b y:rs:z=a", "C", "y", "", "y", True),
]


@pytest.mark.parametrize(
    ("endpoints", "policies", "cluster", "local", "reachable", "known"),
    [row[1:] for row in ROWS],
    ids=[row[0] for row in ROWS],
)
def test_choice(endpoints: str, policies: str, cluster: str, local: str, reachable: str, known: bool) -> None:
    found = chosen(endpoints, policies)
    assert (named(found.cluster), named(found.local), named(found.reachable), found.known) == (
        cluster,
        local,
        reachable,
        known,
    )


def test_a_node_without_zone_uses_no_zone_hints() -> None:
    assert named(chosen("x:rs:z=a y:rs:z=b", "C", zone="").cluster) == "x y"


def test_flows_may_stay_with_all_that_serve() -> None:
    assert named(chosen("v:rs w:s x:st y:t z:", "L").serving) == "v w x"


flags = st.sampled_from(["", "r", "rs", "s", "st", "t", "rsl", "stl", "l", "rst"])
hints = st.sampled_from(["", ":z=a", ":z=b", ":n=here", ":n=there:z=a"])
some = st.lists(st.tuples(flags, hints), max_size=5).map(
    lambda found: " ".join(f"{chr(97 + index)}:{flag}{hint}" for index, (flag, hint) in enumerate(found))
)


@given(some, st.sampled_from(["C", "L", "CL"]))
def test_every_choice_is_consistent(endpoints: str, policies: str) -> None:
    found = chosen(endpoints, policies)
    usable = {each.text for each in map(endpoint, endpoints.split()) if each.ready or each.draining}
    assert set(found.reachable) == {*found.cluster, *found.local}
    assert {each.text for each in found.reachable} <= usable
    assert found.known == bool(usable)
    assert all(each.local for each in found.local)
    if "C" in policies:
        assert bool(found.cluster) == found.known
    for each in (found.cluster, found.local, found.reachable):
        assert list(each) == sorted(each, key=lambda one: one.text)

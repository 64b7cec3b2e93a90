"""The object store: revisions, history, lists of the past, what a watch sees."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.lab_verbs import Cluster
from svclab.apiserver import lists
from svclab.apiserver.failures import StatusError
from svclab.apiserver.options import Listing
from svclab.apiserver.selectors import Selection, parsed_labels
from svclab.apiserver.state import ExpiredError, State, Stored

MAPS = "/configmaps"


def body(name: str, namespace: str = "a", **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, **({"labels": labels} if labels else {})}
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata}


def test_revisions_count_over_all_resources() -> None:
    state = State()
    first = state.write(MAPS, "a/x", body("x"))
    second = state.write("/secrets", "a/x", body("x"))
    third = state.remove(MAPS, "a/x")
    assert [first.revision, second.revision, third.revision] == [2, 3, 4]
    assert third.new.body["metadata"]["resourceVersion"] == "4"
    assert state.get(MAPS, "a/x") is None


def test_encoded_and_as_an_item_of_a_list() -> None:
    stored = State().write(MAPS, "a/x", body("x")).new
    assert json.loads(stored.encoded) == {**body("x"), "metadata": {**body("x")["metadata"], "resourceVersion": "2"}}
    assert json.loads(stored.item) == {"metadata": stored.body["metadata"]}


def test_html_is_escaped_as_go_does() -> None:
    assert b"\\u003cb\\u003e" in Stored({**body("x"), "data": {"a": "<b>"}}, 1).encoded


Steps = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=40)


@given(Steps)
def test_the_past_is_what_was(steps: list[tuple[str, bool]]) -> None:
    state, then = State(), {1: {}}
    for name, keep in steps:
        key = f"a/{name}"
        if keep:
            state.write(MAPS, key, body(name))
        elif state.get(MAPS, key):
            state.remove(MAPS, key)
        then[state.revision] = {one.body["metadata"]["name"]: one.revision for one in state.objects(MAPS)}
    for revision, known in then.items():
        found = state.objects_at(MAPS, "a", revision)
        assert {one.body["metadata"]["name"]: one.revision for one in found} == known
        replayed = dict(known)
        for change in state.changes_since(MAPS, revision):
            name = change.key.removeprefix("a/")
            if change.removed:
                del replayed[name]
            else:
                replayed[name] = change.revision
        assert replayed == then[state.revision]


def test_history_is_bounded() -> None:
    state = State(history=2)
    for number in range(4):
        state.write(MAPS, f"a/{number}", body(str(number)))
    assert [one.revision for one in state.changes_since(MAPS, 3)] == [4, 5]
    with pytest.raises(ExpiredError, match=r"too old resource version: 2 \(3\)"):
        state.changes_since(MAPS, 2)
    assert state.changes_since("/secrets", 1) == []


def test_a_restart_forgets_the_history_and_nothing_else() -> None:
    state = State({MAPS: {"a/x": {**body("x"), "metadata": {**body("x")["metadata"], "resourceVersion": "7"}}}}, 9)
    assert [one.revision for one in state.objects(MAPS)] == [7]
    assert state.changes_since(MAPS, 9) == []
    with pytest.raises(ExpiredError):
        state.changes_since(MAPS, 8)
    assert state.write(MAPS, "a/y", body("y")).revision == 10


SEEN = [
    # labels before, labels after, what a watch of app=web sees
    ("new, selected", None, {"app": "web"}, "ADDED"),
    ("new, not selected", None, {"app": "db"}, None),
    ("stays selected", {"app": "web"}, {"app": "web", "x": "y"}, "MODIFIED"),
    ("becomes selected", {"app": "db"}, {"app": "web"}, "ADDED"),
    ("is selected no more", {"app": "web"}, {"app": "db"}, "DELETED"),
    ("never selected", {}, {"app": "db"}, None),
]


@pytest.mark.parametrize(("before", "after", "type_"), [row[1:] for row in SEEN], ids=[row[0] for row in SEEN])
def test_what_a_watch_with_a_selector_sees(
    before: dict[str, str] | None, after: dict[str, str], type_: str | None
) -> None:
    state = State()
    if before is not None:
        state.write(MAPS, "a/x", body("x", **before))
    change = state.write(MAPS, "a/x", body("x", **after))
    seen = lists.seen(change, Selection(MAPS, parsed_labels("app=web")), "")
    assert (seen[0] if seen else None) == type_
    if seen and type_ == "DELETED":
        assert seen[1].body["metadata"]["labels"] == before
        assert seen[1].body["metadata"]["resourceVersion"] == str(change.revision)


def test_a_watch_of_one_namespace_sees_no_other() -> None:
    change = State().write(MAPS, "ab/x", body("x", "ab"))
    assert lists.seen(change, Selection(MAPS), "a") is None
    assert lists.seen(change, Selection(MAPS), "ab") is not None


def test_pages_are_of_one_moment() -> None:
    cluster = Cluster()
    path = "/api/v1/namespaces/default/configmaps"
    for name in "abcde":
        cluster.create(path, {"metadata": {"name": name}})
    target, names, token = cluster.target(path), [], ""
    while True:
        page = lists.listed(cluster.state, target, Listing(limit=2, continue_=token))
        names += [one.body["metadata"]["name"] for one in page.items]
        cluster.create(path, {"metadata": {"name": f"c-{len(names)}"}})
        token = page.metadata.get("continue", "")
        if not token:
            break
    assert names == list("abcde")


def test_a_page_whose_moment_is_forgotten() -> None:
    cluster = Cluster(history=3)
    path = "/api/v1/namespaces/default/configmaps"
    for name in "abcd":
        cluster.create(path, {"metadata": {"name": name}})
    page = lists.listed(cluster.state, cluster.target(path), Listing(limit=3))
    for name in "efgh":
        cluster.create(path, {"metadata": {"name": name}})
    with pytest.raises(StatusError) as refused:
        lists.listed(cluster.state, cluster.target(path), Listing(limit=3, continue_=page.metadata["continue"]))
    assert (refused.value.code, refused.value.status["reason"]) == (410, "Expired")
    token = refused.value.status["metadata"]["continue"]
    rest = lists.listed(cluster.state, cluster.target(path), Listing(limit=9, continue_=token))
    assert [one.body["metadata"]["name"] for one in rest.items] == list("defgh")


def test_a_revision_that_has_not_come() -> None:
    cluster = Cluster()
    with pytest.raises(StatusError) as refused:
        lists.listed(cluster.state, cluster.target("/api/v1/pods"), Listing(version=999))
    assert refused.value.status["message"] == "Timeout: Too large resource version: 999, current: 5"
    assert refused.value.code == 504

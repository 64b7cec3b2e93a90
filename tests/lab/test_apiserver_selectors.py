"""Selectors: what they select, and the API's words for what they are not."""

from __future__ import annotations

from typing import Any

import pytest

from svclab.apiserver.selectors import Selection, SelectorError, parsed_fields, parsed_labels, supported_fields

LABELS = {"app": "web", "tier": "front", "n": "5"}
SELECTS = [
    ("", True),
    ("app", True),
    ("!app", False),
    ("!nowhere", True),
    ("app=web", True),
    ("app==web", True),
    ("app=db", False),
    ("app!=db", True),
    ("nowhere!=db", True),
    ("app in (web,db)", True),
    ("app in (db)", False),
    ("app notin (db, cache)", True),
    ("nowhere notin (x)", True),
    ("nowhere in (x)", False),
    ("app=web,tier=front", True),
    ("app=web,tier=back", False),
    ("n>4", True),
    ("n>5", False),
    ("n<6,app", True),
    ("nowhere=", False),
    ("example.com/x notin (a),app = web", True),
]


@pytest.mark.parametrize(("text", "selected"), SELECTS, ids=[row[0] or "empty" for row in SELECTS])
def test_labels(text: str, selected: bool) -> None:
    assert Selection("/pods", parsed_labels(text)).selects({"metadata": {"labels": LABELS}}) is selected


# As the real kube-apiserver said them.
REFUSED = [
    ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
    (",", "found ',', expected: !, identifier, or 'end of string'"),
    ("a in x", "unable to parse requirement: found 'x' expected: '('"),
    ("a=b=c", "found '=', expected: ',' or 'end of string'"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_labels_refused(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as refused:
        parsed_labels(text)
    assert str(refused.value) == message


POD: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "a"},
    "spec": {"nodeName": "node1", "restartPolicy": "Always"},
    "status": {"phase": "Running", "podIPs": [{"ip": "10.1.1.1"}]},
}
FIELDS = [
    ("metadata.name=web", True),
    ("metadata.name!=web", False),
    ("spec.nodeName=node1,status.phase!=Failed", True),
    ("spec.nodeName=", False),
    ("status.podIP=10.1.1.1", True),
    ("spec.hostNetwork=false", True),
    (r"metadata.name=w\,b", False),
]


EVENT = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod"}, "reportingComponent": "kubelet"}


def test_both_views_of_events_have_words_of_their_own() -> None:
    for view, text in (
        ("/events", "involvedObject.kind=Pod,reportingComponent=kubelet"),
        ("events.k8s.io/events", "regarding.kind=Pod,reportingController=kubelet"),
    ):
        terms = parsed_fields(text, supported_fields(view, True), "")
        assert Selection(view, (), terms).selects(EVENT)
        assert not Selection(view, (), terms).selects({**EVENT, "involvedObject": {}})
    with pytest.raises(SelectorError, match="involvedObject"):
        parsed_fields("involvedObject.kind=Pod", supported_fields("events.k8s.io/events", True), "{}")


@pytest.mark.parametrize(("text", "selected"), FIELDS, ids=[row[0] for row in FIELDS])
def test_fields(text: str, selected: bool) -> None:
    terms = parsed_fields(text, supported_fields("/pods", True), "")
    assert Selection("/pods", (), terms).selects(POD) is selected


@pytest.mark.parametrize(
    ("text", "message"),
    [("a", "invalid selector: 'a'; can't understand 'a'"), ("a=b", "field label not supported: a")],
)
def test_fields_refused(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as refused:
        parsed_fields(text, supported_fields("/pods", True), "field label not supported: {}")
    assert str(refused.value) == message

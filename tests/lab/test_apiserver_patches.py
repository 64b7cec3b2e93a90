"""Patches: what they make of an object, as the real server does it, and how they are refused."""

from __future__ import annotations

from typing import Any

import pytest

from support.lab_verbs import Cluster, schema
from svclab.apiserver import patches
from svclab.apiserver.failures import StatusError

SERVICE = schema().name_of("", "Service")
DEPLOYMENT = schema().name_of("apps", "Deployment")

MERGE = [
    ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
    ({"a": 1, "b": 2}, {"b": None}, {"a": 1}),
    ({"a": {"b": 1, "c": 2}}, {"a": {"c": None, "d": {"e": None}}}, {"a": {"b": 1, "d": {}}}),
    ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
]


@pytest.mark.parametrize(("body", "patch", "result"), MERGE, ids=[str(row[1]) for row in MERGE])
def test_merge(body: Any, patch: Any, result: Any) -> None:
    assert patches.merged(body, patch) == result


def ports(*pairs: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"name": name, "port": port} for name, port in pairs]


A, B, C = {"port": 80, "name": "a"}, {"port": 81, "name": "b"}, {"port": 82, "name": "c"}
# Ports merge by `port`, containers by `name`, finalizers as a set; what is new comes before what was there.
STRATEGIC = [
    ("element is changed", [A, B], {"ports": [{"port": 81, "name": "x"}]}, [A, {"port": 81, "name": "x"}]),
    ("element is new", [A, B], {"ports": [C]}, [C, A, B]),
    ("element goes", [A, B], {"ports": [{"port": 80, "$patch": "delete"}]}, [B]),
    ("list is replaced", [A, B], {"ports": [{"$patch": "replace"}, C]}, [C]),
    (
        "order is said",
        [A, B],
        {"ports": [C], "$setElementOrder/ports": [{"port": 80}, {"port": 82}, {"port": 81}]},
        [A, C, B],
    ),
    ("only order is said", [A, B], {"$setElementOrder/ports": [{"port": 81}, {"port": 80}]}, [B, A]),
    ("list goes", [A, B], {"ports": None}, None),
    ("spec is replaced", [A, B], {"$patch": "replace", "ports": [C]}, [C]),
]


@pytest.mark.parametrize(
    ("before", "patch", "after"), [row[1:] for row in STRATEGIC], ids=[row[0] for row in STRATEGIC]
)
def test_strategic(before: Any, patch: Any, after: Any) -> None:
    body = {"spec": {"ports": before, "type": "ClusterIP"}}
    result = patches.strategic(body, {"spec": patch}, schema(), SERVICE)
    assert result["spec"].get("ports") == after
    assert body["spec"]["ports"] == before


def test_strategic_maps_and_nested_lists() -> None:
    body = {
        "metadata": {"labels": {"a": "1", "b": "2"}, "finalizers": ["x/y"]},
        "spec": {
            "template": {"spec": {"containers": [{"name": "web", "image": "a", "env": [{"name": "A", "value": "1"}]}]}}
        },
    }
    patch = {
        "metadata": {"labels": {"b": None, "c": "3"}, "$deleteFromPrimitiveList/finalizers": ["x/y"]},
        "spec": {"template": {"spec": {"containers": [{"name": "web", "env": [{"name": "B", "value": "2"}]}]}}},
    }
    result = patches.strategic(body, patch, schema(), DEPLOYMENT)
    assert result["metadata"] == {"labels": {"a": "1", "c": "3"}, "finalizers": []}
    (container,) = result["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "a"
    assert container["env"] == [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]


def test_strategy_of_rolling_update_keeps_only_what_belongs_to_a_type() -> None:
    body = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"type": "Recreate", "$retainKeys": ["type"]}}}
    assert patches.strategic(body, patch, schema(), DEPLOYMENT) == {"spec": {"strategy": {"type": "Recreate"}}}


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "one"}, "data": {"a": "1"}})
    return made


ONE = "/api/v1/namespaces/default/configmaps/one"
NOT_A_MAP = "into Go value of type map[string]interface {}"
NOT_OPERATIONS = "into Go value of type []handlers.jsonPatchOp"
DECODING = "error decoding patch: json: cannot unmarshal"
REJECTED = "the server rejected our request due to an error in our request"
OTHER_NAME = "the name of the object (two) does not match the name on the URL (one)"
MODIFIED = (
    'Operation cannot be fulfilled on configmaps "one": the object has been modified; '
    "please apply your changes to the latest version and try again"
)
NOT_LABELS = ' "" is invalid: patch: Invalid value: "map[metadata:map[labels:1]]": cannot restore map from int64'
UNKNOWN = "unknown patch type: {0} in map: map[$patch:{0}]"
REFUSED = [
    ("merge-patch", [], 400, f"{DECODING} array {NOT_A_MAP}"),
    ("strategic-merge-patch", 1, 400, f"json: cannot unmarshal number {NOT_A_MAP}"),
    ("json-patch", {}, 400, f"{DECODING} object {NOT_OPERATIONS}"),
    ("json-patch", [{"op": "remove", "path": "/foo"}], 422, REJECTED),
    ("json-patch", [{"op": "test", "path": "/data/a", "value": "2"}], 422, REJECTED),
    ("apply-patch", {}, 415, "415: Unsupported Media Type"),
    ("merge-patch", {"metadata": {"name": "two"}}, 400, OTHER_NAME),
    ("merge-patch", {"metadata": {"resourceVersion": "1"}}, 409, MODIFIED),
    ("strategic-merge-patch", {"metadata": {"labels": 1}}, 422, NOT_LABELS),
    ("strategic-merge-patch", {"metadata": {"$patch": "foo"}}, 500, UNKNOWN.format("foo")),
    (
        "strategic-merge-patch",
        {"data": {"$patch": "merge"}},
        500,
        UNKNOWN.format("merge"),
    ),
]


@pytest.mark.parametrize(("kind", "patch", "code", "message"), REFUSED, ids=[f"{row[0]} {row[1]}" for row in REFUSED])
def test_refused(cluster: Cluster, kind: str, patch: Any, code: int, message: str) -> None:
    before = cluster.find(ONE)
    with pytest.raises(StatusError) as refused:
        cluster.patch(ONE, patch, kind)
    assert (refused.value.code, refused.value.status["message"]) == (code, message)
    assert cluster.find(ONE) == before


def test_a_patch_that_changes_nothing_writes_nothing(cluster: Cluster) -> None:
    cluster.seen()
    cluster.patch(ONE, {"data": {"a": "1"}})
    assert cluster.seen() == []


def test_strict_patch_names_unknown_fields(cluster: Cluster) -> None:
    with pytest.raises(StatusError) as refused:
        cluster.patch(ONE, {"foo": 1}, "strategic-merge-patch", {"fieldValidation": ["Strict"]})
    said = ' "" is invalid: patch: Invalid value: "map[foo:1]": strict decoding error: unknown field "foo"'
    assert refused.value.status["message"] == said

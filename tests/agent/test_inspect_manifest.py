"""Objects in a file: what kubectl prints is read, what is bad is named with its place, and the rest counts."""

from __future__ import annotations

import json

import pytest

from svcagent.inspection.inventory import LabelledPod, SelectingService, inventory
from svcagent.inspection.manifest import read

WEB = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, creationTimestamp: 2026-01-01T00:00:00Z}
spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80}]}
"""
SLICE = """\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: null
ports: null
"""
NODE = "apiVersion: v1\nkind: Node\nmetadata: {name: node-a}\n"


def listed(*objects: str, kind: str = "List", version: str = "v1") -> str:
    items = "".join("- " + text.replace("\n", "\n  ").rstrip() + "\n" for text in objects)
    return f"apiVersion: {version}\nkind: {kind}\nitems:\n{items}"


def as_json(**more: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, **more}


GOOD = [
    pytest.param(WEB, ["shop/web"], id="one object"),
    pytest.param(f"{WEB}---\n{SLICE}---\n# nothing\n---\n{NODE}", ["shop/web", "shop/web-1", "node-a"], id="documents"),
    pytest.param(listed(WEB, SLICE, NODE), ["shop/web", "shop/web-1", "node-a"], id="a List"),
    pytest.param(f"{listed(WEB)}---\n{listed(SLICE)}", ["shop/web", "shop/web-1"], id="two Lists"),
    pytest.param(json.dumps(as_json()), ["shop/web"], id="JSON"),
    pytest.param(json.dumps(as_json(), indent="\t"), ["shop/web"], id="JSON with tabs"),
    pytest.param(json.dumps(as_json()) + "\n" + json.dumps(as_json()), ["shop/web"] * 2, id="JSON, one after another"),
    pytest.param(
        json.dumps({"kind": "List", "apiVersion": "v1", "items": [as_json()]}), ["shop/web"], id="a JSON List"
    ),
    pytest.param(
        json.dumps({"kind": "ServiceList", "apiVersion": "v1", "items": [{"metadata": {"name": "web"}}]}),
        ["default/web"],
        id="what the API itself lists: items without a kind",
    ),
    pytest.param("{apiVersion: v1, kind: Node, metadata: {name: a}}", ["a"], id="YAML in flow style"),
    pytest.param(WEB.replace(", namespace: shop", ""), ["default/web"], id="no namespace"),
    pytest.param("apiVersion: v1\nkind: List\nitems: []\n", [], id="an empty List"),
    pytest.param("", [], id="nothing"),
]


@pytest.mark.parametrize(("text", "keys"), GOOD)
def test_what_kubectl_prints_is_read(text: str, keys: list[str]) -> None:
    found = read(text, "f")
    assert found.problems == ()
    assert [each.key for each in found.objects] == keys


BAD = [
    pytest.param(WEB.replace("80", "eighty"), "f, line 1: Service shop/web: Expected `int`", id="a field"),
    pytest.param(
        listed(NODE, WEB.replace("80", "x")), "f, line 7, items[1]: Service shop/web: Expected", id="in a List"
    ),
    pytest.param(
        json.dumps({"kind": "List", "apiVersion": "v1", "items": [as_json(spec=1)]}),
        "f, items[0] of line 1: Service shop/web: Expected `object`",
        id="in a JSON List",
    ),
    pytest.param(WEB.replace("v1", "v2"), "apiVersion v2: only v1 is read", id="another version"),
    pytest.param(SLICE.replace("io/v1", "io/v1beta1"), "only discovery.k8s.io/v1 is read", id="an old slice"),
    pytest.param(WEB.replace("kind: Service", "x: y"), "it has no kind", id="no kind"),
    pytest.param("- 1\n", "no Kubernetes object, but list", id="no object"),
    pytest.param(WEB.replace("name: web,", ""), "metadata.name '' is no name", id="no name"),
    pytest.param(
        WEB.replace("name: web", r'name: "web\n-A INPUT -j DROP"'),
        "is no name of a Kubernetes object",
        id="a hostile name",
    ),
    pytest.param(WEB.replace("shop", "../shop"), "metadata.namespace '../shop' is no name", id="a hostile namespace"),
    pytest.param("a: b\n\tc: d\n", "f, line 2: not YAML", id="a tab"),
    pytest.param("a: \x00\n", "f, not YAML", id="no text"),
]


@pytest.mark.parametrize(("text", "problem"), BAD)
def test_what_is_bad_is_named_with_its_place(text: str, problem: str) -> None:
    found = read(text, "f")
    assert len(found.problems) == 1
    assert problem in found.problems[0]


def test_a_bad_object_leaves_the_good_ones() -> None:
    found = read(f"{NODE}---\n{WEB.replace('80', 'x')}---\n{SLICE}", "f")
    assert [each.key for each in found.objects] == ["node-a", "shop/web-1"]


def test_what_came_before_broken_yaml_counts() -> None:
    found = read(f"{NODE}---\n\t{WEB}", "f")
    assert [each.key for each in found.objects] == ["node-a"]
    assert len(found.problems) == 1


LEFT_OUT = [
    pytest.param("apiVersion: v1\nkind: Endpoints\nmetadata: {name: web}\n", "Endpoints web ignored", id="Endpoints"),
    pytest.param("apiVersion: apps/v1\nkind: Deployment\n", "f: ignored: 1 Deployment", id="another kind"),
    pytest.param(
        WEB.replace("name: web,", "name: web, labels: {service.kubernetes.io/service-proxy-name: x},"),
        "served by another proxy",
        id="another proxy's Service",
    ),
    pytest.param(
        SLICE.replace("labels: {", 'labels: {service.kubernetes.io/headless: "", '), "headless", id="a headless slice"
    ),
]


@pytest.mark.parametrize(("text", "note"), LEFT_OUT)
def test_what_does_not_count_is_told(text: str, note: str) -> None:
    found = read(text, "f")
    assert (found.objects, found.problems) == ((), ())
    assert note in found.notes[0]


def test_a_service_without_cluster_ip_is_told() -> None:
    found = read(WEB.replace("clusterIP: 10.96.0.1, ", ""), "f")
    assert len(found.objects) == 1
    assert "has no clusterIP" in found.notes[0]


def test_selectors_and_labels_are_read_and_the_later_of_two_counts() -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {a: b}}\nstatus: {podIP: FD00::01, phase: Running}\n"
    found = inventory(read(f"{WEB}---\n{WEB.replace('app: web', 'app: other')}---\n{pod}", "f").objects)
    assert isinstance(found.services["shop/web"], SelectingService)
    assert found.services["shop/web"].spec.selector == {"app": "other"}
    (read_pod,) = found.pods.values()
    assert isinstance(read_pod, LabelledPod)
    assert (read_pod.key, dict(read_pod.labels), read_pod.addresses) == ("default/p", {"a": "b"}, ("fd00::1",))

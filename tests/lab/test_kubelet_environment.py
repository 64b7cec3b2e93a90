"""Variables, command lines and downward API values, as the kubelet makes them."""

from __future__ import annotations

from typing import Any

import pytest

from support.kubelet_pods import body
from svclab.kubelet.environment import (
    MissingError,
    command_line,
    expanded,
    field_value,
    resource_value,
    service_variables,
    variables,
)

CONFIG = {"metadata": {"name": "cfg"}, "data": {"a": "1", "b": "2"}}
SECRET = {"metadata": {"name": "key"}, "data": {"password": "aHVudGVyMg=="}}


def look(kind: str, name: str) -> dict[str, Any] | None:
    return {("configmap", "cfg"): CONFIG, ("secret", "key"): SECRET}.get((kind, name))


def service(name: str, address: str, *ports: dict[str, Any], namespace: str = "default") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": address, "ports": list(ports)}}


KUBERNETES = service("kubernetes", "10.96.0.1", {"name": "https", "port": 443})
MYNAPP = service(
    "mynapp-svc", "10.96.1.1", {"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}
)


def test_service_variables_as_docker_links() -> None:
    assert service_variables([MYNAPP], "default", True) == {
        "MYNAPP_SVC_SERVICE_HOST": "10.96.1.1",
        "MYNAPP_SVC_SERVICE_PORT": "80",
        "MYNAPP_SVC_SERVICE_PORT_HTTP": "80",
        "MYNAPP_SVC_SERVICE_PORT_DNS": "53",
        "MYNAPP_SVC_PORT": "tcp://10.96.1.1:80",
        "MYNAPP_SVC_PORT_80_TCP": "tcp://10.96.1.1:80",
        "MYNAPP_SVC_PORT_80_TCP_PROTO": "tcp",
        "MYNAPP_SVC_PORT_80_TCP_PORT": "80",
        "MYNAPP_SVC_PORT_80_TCP_ADDR": "10.96.1.1",
        "MYNAPP_SVC_PORT_53_UDP": "udp://10.96.1.1:53",
        "MYNAPP_SVC_PORT_53_UDP_PROTO": "udp",
        "MYNAPP_SVC_PORT_53_UDP_PORT": "53",
        "MYNAPP_SVC_PORT_53_UDP_ADDR": "10.96.1.1",
    }


@pytest.mark.parametrize(
    ("namespace", "links", "hosts"),
    [
        pytest.param("default", True, {"KUBERNETES", "MYNAPP_SVC"}, id="own namespace"),
        pytest.param("default", False, {"KUBERNETES"}, id="without service links"),
        pytest.param("other", True, {"KUBERNETES", "ELSEWHERE"}, id="another namespace"),
    ],
)
def test_which_services_a_pod_is_told(namespace: str, links: bool, hosts: set[str]) -> None:
    headless = service("headless", "None", {"port": 80})
    elsewhere = service("elsewhere", "fd00::1", {"port": 80}, namespace="other")
    found = service_variables([KUBERNETES, MYNAPP, headless, elsewhere], namespace, links)
    assert {name.removesuffix("_SERVICE_HOST") for name in found if name.endswith("_SERVICE_HOST")} == hosts


def test_an_ipv6_service_is_in_brackets() -> None:
    found = service_variables([service("six", "fd00::1", {"port": 80})], "default", True)
    assert (found["SIX_PORT"], found["SIX_SERVICE_HOST"]) == ("tcp://[fd00::1]:80", "fd00::1")


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)z", "x1y2z"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(NONE)", "$(NONE)"),
        ("$(A", "$(A"),
        ("$A", "$A"),
        ("$", "$"),
        ("$()", "$()"),
    ],
)
def test_expansion(text: str, result: str) -> None:
    assert expanded(text, {"A": "1"}, {"A": "hidden", "B": "2"}) == result


def container_variables(links: dict[str, str] | None = None, **container: Any) -> dict[str, str]:
    return variables(
        {"name": "a", **container},
        links or {},
        look,
        "default",
        lambda reference: f"field {reference['fieldPath']}",
        lambda reference: f"resource {reference['resource']}",
    )


@pytest.mark.parametrize(
    ("container", "result"),
    [
        pytest.param({"env": [{"name": "A", "value": "x $(L)"}]}, {"A": "x link"}, id="a service link is expanded"),
        pytest.param({"env": [{"name": "L", "value": "own"}]}, {"L": "own"}, id="env beats service links"),
        pytest.param({"env": [{"name": "A"}]}, {"A": ""}, id="no value at all"),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "3"}]},
            {"A": "1", "B": "1$(C)", "C": "3"},
            id="only earlier ones are expanded",
        ),
        pytest.param({"envFrom": [{"configMapRef": {"name": "cfg"}}]}, {"a": "1", "b": "2"}, id="envFrom"),
        pytest.param(
            {"envFrom": [{"prefix": "P_", "secretRef": {"name": "key"}}]}, {"P_password": "hunter2"}, id="prefix"
        ),
        pytest.param(
            {"envFrom": [{"configMapRef": {"name": "cfg"}}], "env": [{"name": "a", "value": "$(b)"}]},
            {"a": "2", "b": "2"},
            id="env beats envFrom",
        ),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "key", "key": "password"}}}]},
            {"A": "hunter2"},
            id="secretKeyRef",
        ),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "z", "optional": True}}}]},
            {},
            id="optional key",
        ),
        pytest.param({"envFrom": [{"configMapRef": {"name": "no", "optional": True}}]}, {}, id="optional map"),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]},
            {"A": "field status.podIP"},
            id="fieldRef",
        ),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]},
            {"A": "resource limits.cpu"},
            id="resourceFieldRef",
        ),
    ],
)
def test_variables(container: dict[str, Any], result: dict[str, str]) -> None:
    assert container_variables({"L": "link"}, **container) == {"L": "link", **result}


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [{"configMapRef": {"name": "no"}}]}, 'configmap "no" not found'),
        ({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "no", "key": "k"}}}]}, 'secret "no" not found'),
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "z"}}}]},
            "couldn't find key z in ConfigMap default/cfg",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "key", "key": "z"}}}]},
            "couldn't find key z in Secret default/key",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_missing(container: dict[str, Any], message: str) -> None:
    with pytest.raises(MissingError) as caught:
        container_variables(**container)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("container", "argv"),
    [
        pytest.param({}, ["/entry", "image"], id="the image's"),
        pytest.param({"args": ["x"]}, ["/entry", "x"], id="args replace the image's command"),
        pytest.param({"command": ["sh"]}, ["sh"], id="command replaces both"),
        pytest.param({"command": ["sh", "-c"], "args": ["echo $(A)"]}, ["sh", "-c", "echo 1"], id="both, expanded"),
    ],
)
def test_command_line(container: dict[str, Any], argv: list[str]) -> None:
    assert command_line(container, ("/entry",), ("image",), {"A": "1"}) == argv


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['a/b']", 'say "hi"'),
        ("metadata.labels", 'app="web"'),
        ("metadata.annotations", 'a/b="say \\"hi\\""'),
        ("spec.nodeName", "node1"),
        ("status.podIP", "10.244.1.2"),
    ],
)
def test_fields(path: str, value: str) -> None:
    pod = body(nodeName="node1")
    pod["metadata"]["annotations"] = {"a/b": 'say "hi"'}
    assert field_value(pod, path, {"status.podIP": "10.244.1.2"}) == value


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ({"resource": "limits.cpu"}, "1"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "250"),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "64"),
        ({"resource": "limits.memory", "divisor": "0"}, "67108864"),
        ({"resource": "requests.cpu"}, "0"),
        ({"resource": "limits.ephemeral-storage"}, "2048"),
        ({"resource": "limits.cpu", "containerName": "b"}, "2"),
    ],
    ids=str,
)
def test_resources(reference: dict[str, str], value: str) -> None:
    pod = body({"resources": {"limits": {"cpu": "250m", "memory": "64Mi"}}}, {})
    capacity = {"cpu": "2", "ephemeral-storage": "2Ki"}
    assert resource_value(pod, pod["spec"]["containers"][0], reference, capacity) == value

"""No text of an API object becomes a rule of its own: what could break out of a rule takes only its object out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcagent.compile import fragment
from svcagent.dialect import Dialect
from svcagent.resolve import NodeView, resolve
from svckube.objects import ObjectMeta, Service, ServicePort, ServiceSpec
from svcnet.rules import parse_rule, render

DIALECT = Dialect(family="IPv4")


def service(name: str, port_name: str, **ports: int) -> Service:
    numbers = {"port": 80, "node_port": 30000, **ports}
    spec = ServiceSpec(cluster_ip="10.96.0.1", ports=(ServicePort(name=port_name, **numbers),))
    return Service(ObjectMeta(name=name, namespace="ns"), spec)


@pytest.mark.parametrize(
    ("name", "port_name", "ports"),
    [
        ("web\n-A INPUT -j ACCEPT", "http", {}),
        ("web", 'http" -j ACCEPT', {}),
        ("web", "http\r\nCOMMIT", {}),
        ("web", "http\x00", {}),
        ("web", "http", {"port": 0}),
        ("web", "http", {"port": 70000}),
        ("web", "http", {"node_port": -1}),
    ],
    ids=["newline", "quote", "carriage return", "zero byte", "port 0", "port too high", "negative node port"],
)
def test_it_is_named_and_left_out(name: str, port_name: str, ports: dict[str, int]) -> None:
    resolved = resolve(service(name, port_name, **ports), (), "IPv4", NodeView("node"))
    assert resolved.ports == ()
    assert len(resolved.problems) >= 1


@given(st.text(max_size=20), st.text(max_size=20))
def test_every_line_stays_one_rule(name: str, port_name: str) -> None:
    for port in resolve(service(name, port_name), (), "IPv4", NodeView("node")).ports:
        for rules in fragment(port, DIALECT).lines.values():
            for rule in rules:
                text = render(rule)
                assert text.splitlines() == [text]
                assert parse_rule(text) == rule

"""Rows for what the differential test beside kube-proxy has found, or what it cannot look at closely. Pure."""

from __future__ import annotations

from typing import Any

import pytest

from support.nodes import CLUSTER_CIDR, dialect_of
from support.worlds import NODE, endpoint, service, slice_of
from svcagent.compile import fragment
from svcagent.resolve import NodeView, resolve
from svckube.objects import EndpointSlice, Service
from svcnet.rules import Comment

POD, OTHER = "10.244.1.1", "10.244.1.2"
NODE_PORT = [{"port": 80, "nodePort": 30080}]


@pytest.mark.parametrize("affinity", ["None", "ClientIP"])
def test_without_endpoint_comments_nothing_else_changes(affinity: str) -> None:
    """A large cluster: rules to an endpoint's chain and in it lose their comments, all others keep them."""
    found = service(type="NodePort", sessionAffinity=affinity, ports=NODE_PORT)
    (port,) = resolve(found, [slice_of("web", endpoint(POD), endpoint(OTHER))], "IPv4", NodeView(NODE)).ports
    dialect = dialect_of("--cluster-cidr", CLUSTER_CIDR)
    usual, terse = fragment(port, dialect), fragment(port, dialect, endpoint_comments=False)
    assert terse.lines == usual.lines
    assert terse.chains.keys() == usual.chains.keys()
    for name, rules in usual.chains.items():
        for before, after in zip(rules, terse.chains[name], strict=True):
            of_endpoint = name.startswith("KUBE-SEP-") or getattr(before.target, "chain", "").startswith("KUBE-SEP-")
            kept = tuple(each for each in before.matches if not (of_endpoint and isinstance(each, Comment)))
            assert after.matches == kept
            assert (after.source, after.protocol, after.target) == (before.source, before.protocol, before.target)


UNREADY = endpoint(OTHER, ready=False, serving=False)
TWO_PORTS = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]


@pytest.mark.parametrize(
    ("found", "of", "expected"),
    [
        pytest.param(service(), [], [0], id="none"),
        pytest.param(service(), [slice_of("web", endpoint(POD), UNREADY)], [2], id="unready ones count"),
        pytest.param(
            service(), [slice_of("web", endpoint(POD)), slice_of("web", endpoint(POD), name="x")], [1], id="twice"
        ),
        pytest.param(
            service(ports=TWO_PORTS),
            [slice_of("web", endpoint(POD), ports=[{"name": "a", "port": 1}, {"name": "c", "port": 2}])],
            [1, 0],
            id="of ports that the Service has",
        ),
        pytest.param(service(), [slice_of("web", endpoint("fd00:10:244:1::1"), family="IPv6")], [0], id="other family"),
    ],
)
def test_known_endpoints(found: Service, of: list[EndpointSlice], expected: list[Any]) -> None:
    assert [port.known_endpoints for port in resolve(found, of, "IPv4", NodeView(NODE)).ports] == expected

"""The packet matrix, judged by the real kube-proxy on a real kube-apiserver: its rules, and packets through them.

kube-proxy is the judge of what `support.matrix.endings` says. Where the two differ, the words there are wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from peers.control_plane import ControlPlane
from peers.kube_proxy import KubeProxy
from peers.pair import create
from support.flows import CLUSTER_CIDR, NAMESPACE, NODE, NODE6, NODE_NAME
from support.matrix import IDS, OBJECTS, ROWS, Row, Seen, judge_sent, lead_to_node, send_all, traced
from support.site import Site, site
from svcnet import rules
from svcnet.rules import FAMILIES, Family, Tables
from svcnet.writers import Iptables

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def proxied(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site on whose node kube-proxy has programmed the matrix's objects."""
    with ExitStack() as stack:
        # Without controllers nobody but this test touches the slices.
        control_plane = stack.enter_context(ControlPlane(binaries, controllers=()))
        control_plane.add_node(NODE_NAME, [NODE, NODE6])
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        control_plane.request("POST", "/api/v1/namespaces", namespace)
        for manifest in OBJECTS:
            create(control_plane, manifest)
        found = stack.enter_context(site("mx-proxy"))
        lead_to_node(found)
        server = stack.enter_context(control_plane.reached_from(found.node.name))
        stack.enter_context(
            KubeProxy(
                binaries,
                tmp_path_factory.mktemp("matrix"),
                netns=found.node.name,
                kubeconfig=control_plane.kubeconfig("system:kube-proxy", server=server),
                hostname=NODE_NAME,
                cluster_cidr=CLUSTER_CIDR,
            )
        )
        yield found


@pytest.fixture(scope="module")
def dumped(proxied: Site) -> dict[Family, Tables]:
    with proxied.node.entered():
        return {family: rules.parse(Iptables(family, "nft").dump()) for family in FAMILIES}


@pytest.fixture(scope="module")
def sent(proxied: Site) -> dict[str, Seen]:
    return send_all(proxied, ROWS)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_kube_proxys_rules_say_the_same(dumped: dict[Family, Tables], row: Row) -> None:
    traced(row, dumped)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_packets_through_kube_proxy_end_the_same(sent: dict[str, Seen], row: Row) -> None:
    judge_sent(row, sent[row.id])

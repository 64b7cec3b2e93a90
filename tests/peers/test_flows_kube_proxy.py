"""The flow table and the rules themselves, beside the real kube-proxy on a real kube-apiserver.

Two sites hold the same objects: kube-proxy programs one node, `svcplane-agent run` the other. The dumps of both nodes
must be the same, the table must hold of kube-proxy's rules too, and packets must end alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from peers.control_plane import ControlPlane
from peers.kube_proxy import Flavour
from peers.pair import Pair, Switches, create, delete, pair, replace
from support.flows import (
    CLUSTER_CIDR,
    FLOWS,
    NAMESPACE,
    NODE,
    NODE6,
    NODE_NAME,
    OBJECTS,
    Flow,
    endpoints,
    port,
    service,
)
from support.judge import judge, judge_sent
from support.site import Site, site
from svcnet import rules
from svcnet.rules import FAMILIES
from svcnet.writers import Iptables

pytestmark = pytest.mark.peers


class Sites(msgspec.Struct):
    """Two sites with the same API objects, ours and kube-proxy's, and the programs on their nodes."""

    ours: Site
    theirs: Site
    nodes: Pair


@pytest.fixture(scope="module", params=["nft", "legacy"])
def sites(request: pytest.FixtureRequest, binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    flavour: Flavour = request.param
    folder = tmp_path_factory.mktemp(f"pair-{flavour}")
    with ExitStack() as stack:
        # Without controllers nobody but this test touches the slices.
        control_plane = stack.enter_context(ControlPlane(binaries, controllers=()))
        control_plane.add_node(NODE_NAME, [NODE, NODE6])
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        control_plane.request("POST", "/api/v1/namespaces", namespace)
        for manifest in OBJECTS:
            create(control_plane, manifest)
        ours, theirs = stack.enter_context(site(f"{flavour}o")), stack.enter_context(site(f"{flavour}t"))
        nodes = stack.enter_context(
            pair(
                binaries,
                folder,
                control_plane,
                (ours.node, theirs.node),
                flavour=flavour,
                node_name=NODE_NAME,
                switches=Switches(CLUSTER_CIDR),
            )
        )
        nodes.await_equal("start")
        yield Sites(ours, theirs, nodes)


@pytest.fixture(scope="module")
def sent(sites: Sites) -> tuple[dict[str, Counter[tuple[str, str]]], dict[str, Counter[tuple[str, str]]]]:
    return sites.ours.send_all(FLOWS), sites.theirs.send_all(FLOWS)


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.id for flow in FLOWS])
def test_kube_proxys_rules_say_the_same(sites: Sites, flow: Flow) -> None:
    with sites.theirs.node.entered():
        judge(flow, {family: rules.parse(Iptables(family, sites.nodes.flavour).dump()) for family in FAMILIES})


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.id for flow in FLOWS])
def test_packets_end_alike(
    sent: tuple[dict[str, Counter[tuple[str, str]]], dict[str, Counter[tuple[str, str]]]], flow: Flow
) -> None:
    ours, theirs = sent
    judge_sent(flow, theirs[flow.id])
    judge_sent(flow, ours[flow.id])


def test_rules_stay_equal_through_changes(sites: Sites) -> None:
    """Each step changes the API; after each the two nodes hold the same rules again."""
    nodes, plane = sites.nodes, sites.nodes.control_plane
    added = service("later", "10.96.0.40,fd00:10:96::40", [port(80, 8080, node_port=31200)], type="NodePort")

    def change(name: str, **spec: Any) -> None:
        path = f"/api/v1/namespaces/{NAMESPACE}/services/{name}"
        found = plane.get(path)
        plane.request("PUT", path, {**found, "spec": {**found["spec"], **spec}})

    create(plane, added)
    nodes.await_equal("a service without endpoints")
    slices = endpoints(added, {"pod1": "ready"})
    for each in slices:
        create(plane, each)
    nodes.await_equal("its first endpoint")
    for each in endpoints(added, {"pod1": "draining", "pod2": "ready", "pod3": "unready"}):
        replace(plane, each)
    nodes.await_equal("other endpoints in other states")
    change("later", externalIPs=["203.0.113.40"])
    nodes.await_equal("an external IP")
    change("later", sessionAffinity="ClientIP")
    nodes.await_equal("session affinity")
    change("later", externalTrafficPolicy="Local", internalTrafficPolicy="Local")
    nodes.await_equal("Local policies")
    change("later", ports=[{"name": "", "port": 81, "targetPort": 8080, "protocol": "TCP", "nodePort": 31201}])
    nodes.await_equal("other ports")
    for each in slices:
        delete(plane, each)
    nodes.await_equal("no endpoints any more")
    delete(plane, added)
    nodes.await_equal("its deletion")

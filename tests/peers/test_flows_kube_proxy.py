"""The flow table and the rules themselves, beside the real kube-proxy on a real kube-apiserver.

Two sites hold the same objects: kube-proxy programs one node, `svcplane-agent run` the other. The dumps of both nodes
must be the same, the table must hold of kube-proxy's rules too, and packets must end alike.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from peers.control_plane import ControlPlane
from peers.kube_proxy import KubeProxy
from peers.processes import Process, ProcessError
from support.dumps import Normal, difference, normal
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
from svcnet.writers import Flavour, Iptables

pytestmark = pytest.mark.peers


class Pair(msgspec.Struct):
    """Two nodes with the same API objects: ours and kube-proxy's."""

    flavour: Flavour
    control_plane: ControlPlane
    ours: Site
    theirs: Site
    agent: Process

    def dumps(self, family: rules.Family) -> tuple[Normal, Normal]:
        with self.ours.node.entered():
            ours = normal(Iptables(family, self.flavour).dump())
        with self.theirs.node.entered():
            theirs = normal(Iptables(family, self.flavour).dump())
        return ours, theirs

    def await_equal(self, what: str) -> None:
        """Until both nodes hold the same rules, in both families; AssertionError with the difference otherwise."""
        for family in FAMILIES:
            shown = ""

            def equal(family: rules.Family = family) -> bool:
                nonlocal shown
                shown = difference(*self.dumps(family))
                return not shown

            try:
                self.agent.wait_until(equal, f"the same {family} rules after {what}", 15)
            except ProcessError as error:
                raise AssertionError(f"{error}\n{shown}") from None


def create(control_plane: ControlPlane, manifest: dict[str, Any]) -> None:
    """Creates an object, and its status where it has one."""
    path = collection(manifest)
    status = manifest.get("status")
    made = control_plane.request("POST", path, {name: part for name, part in manifest.items() if name != "status"})
    if status:
        control_plane.request("PUT", f"{path}/{made['metadata']['name']}/status", {**made, "status": status})


def collection(manifest: dict[str, Any]) -> str:
    group = "/api/v1" if manifest["apiVersion"] == "v1" else f"/apis/{manifest['apiVersion']}"
    plural = {"Service": "services", "EndpointSlice": "endpointslices"}[manifest["kind"]]
    return f"{group}/namespaces/{NAMESPACE}/{plural}"


@pytest.fixture(scope="module", params=["nft", "legacy"])
def pair(request: pytest.FixtureRequest, binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
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
        server = stack.enter_context(control_plane.reached_from(theirs.node.name))
        stack.enter_context(
            KubeProxy(
                binaries,
                folder,
                netns=theirs.node.name,
                kubeconfig=control_plane.kubeconfig("system:kube-proxy", server=server),
                hostname=NODE_NAME,
                cluster_cidr=CLUSTER_CIDR,
                flavour=flavour,
                config={"iptables": {"minSyncPeriod": "100ms"}},
            )
        )
        agent = stack.enter_context(agent_of(control_plane, ours, flavour, folder))
        agent.start()
        found = Pair(flavour, control_plane, ours, theirs, agent)
        found.await_equal("start")
        yield found


def agent_of(control_plane: ControlPlane, found: Site, flavour: Flavour, folder: Path) -> Process:
    kubeconfig = control_plane.kubeconfig("system:kube-proxy", groups=["system:node-proxier"])
    argv = (Path(sys.executable).parent / "svcplane-agent", "run", "--kubeconfig", kubeconfig)
    flags = ("--netns", found.node.name, "--hostname-override", NODE_NAME, "--cluster-cidr", CLUSTER_CIDR)
    quick = ("--iptables-min-sync-period", "100ms", "--conntrack-max-per-core", "0")
    environment = {**os.environ, "XTABLES_LOCKFILE": str(folder / "agent.lock")}
    return Process(
        (*argv, *flags, *quick, "--iptables-flavour", flavour), folder / "agent.log", environment=environment
    )


@pytest.fixture(scope="module")
def sent(pair: Pair) -> tuple[dict[str, Counter[tuple[str, str]]], dict[str, Counter[tuple[str, str]]]]:
    return pair.ours.send_all(FLOWS), pair.theirs.send_all(FLOWS)


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.id for flow in FLOWS])
def test_kube_proxys_rules_say_the_same(pair: Pair, flow: Flow) -> None:
    with pair.theirs.node.entered():
        judge(flow, {family: rules.parse(Iptables(family, pair.flavour).dump()) for family in FAMILIES})


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.id for flow in FLOWS])
def test_packets_end_alike(
    sent: tuple[dict[str, Counter[tuple[str, str]]], dict[str, Counter[tuple[str, str]]]], flow: Flow
) -> None:
    ours, theirs = sent
    judge_sent(flow, theirs[flow.id])
    judge_sent(flow, ours[flow.id])


def test_rules_stay_equal_through_changes(pair: Pair) -> None:
    """Each step changes the API; after each the two nodes hold the same rules again."""
    plane = pair.control_plane
    added = service("later", "10.96.0.40,fd00:10:96::40", [port(80, 8080, node_port=31200)], type="NodePort")

    def change(name: str, **spec: Any) -> None:
        path = f"/api/v1/namespaces/{NAMESPACE}/services/{name}"
        found = plane.get(path)
        plane.request("PUT", path, {**found, "spec": {**found["spec"], **spec}})

    create(plane, added)
    pair.await_equal("a service without endpoints")
    slices = endpoints(added, {"pod1": "ready"})
    for each in slices:
        create(plane, each)
    pair.await_equal("its first endpoint")
    for each in endpoints(added, {"pod1": "draining", "pod2": "ready", "pod3": "unready"}):
        plane.request("PUT", f"{collection(each)}/{each['metadata']['name']}", each)
    pair.await_equal("other endpoints in other states")
    change("later", externalIPs=["203.0.113.40"])
    pair.await_equal("an external IP")
    change("later", sessionAffinity="ClientIP")
    pair.await_equal("session affinity")
    change("later", externalTrafficPolicy="Local", internalTrafficPolicy="Local")
    pair.await_equal("Local policies")
    change("later", ports=[{"name": "", "port": 81, "targetPort": 8080, "protocol": "TCP", "nodePort": 31201}])
    pair.await_equal("other ports")
    for each in slices:
        plane.request("DELETE", f"{collection(each)}/{each['metadata']['name']}")
    pair.await_equal("no endpoints any more")
    plane.request("DELETE", f"{collection(added)}/later")
    pair.await_equal("its deletion")

"""Our controllers of the network beside kube-controller-manager: the same objects, the same slices and Endpoints.

Two control planes get the same steps. One runs all of the real controllers; the other has ours in place of those that
write EndpointSlices and Endpoints. After each step both must hold the same, up to names, uids and the order inside a
list that the real one leaves to chance.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from difflib import unified_diff
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from peers.control_plane import CONTROLLERS, ApiError, ControlPlane
from peers.our_controllers import running_controllers
from support.waiting import eventually
from svclab.controllers.endpoints import EndpointsController
from svclab.controllers.endpointslice import EndpointSliceController
from svclab.controllers.mirroring import EndpointSliceMirroringController
from svclab.controllers.reduce import Delete, Record, World, Write, key_of

pytestmark = pytest.mark.peers

OURS = ("endpoints-controller", "endpointslice-controller", "endpointslice-mirroring-controller")
MINE = (EndpointSliceController(), EndpointsController(), EndpointSliceMirroringController())
NODES = {"node1": "zone-a", "node2": "zone-b", "node3": ""}
MARKER = "marker"

Body = dict[str, Any]


class Side(msgspec.Struct):
    """A namespace on one of the two control planes, and short ways to change what is in it."""

    plane: ControlPlane
    namespace: str

    def path(self, plural: str, name: str = "") -> str:
        root = "/apis/discovery.k8s.io/v1" if plural == "endpointslices" else "/api/v1"
        return f"{root}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def items(self, plural: str) -> list[Body]:
        found: list[Body] = self.plane.get(self.path(plural))["items"]
        return [one for one in found if not one["metadata"]["name"].startswith(MARKER)]

    def create(self, plural: str, body: Body) -> Side:
        self.plane.request("POST", self.path(plural), body)
        return self

    def change(self, plural: str, name: str, how: Callable[[Body], None], subresource: str = "") -> Side:
        def done() -> bool:
            body = self.plane.get(self.path(plural, name))
            how(body)
            path = self.path(plural, name) + (f"/{subresource}" if subresource else "")
            return bool(self.plane.request("PUT", path, body))

        eventually(done, f"{plural} {name} of {self.namespace} is changed")
        return self

    def delete(self, plural: str, name: str, **options: Any) -> Side:
        self.plane.request("DELETE", self.path(plural, name), options or None)
        return self

    def service(self, name: str = "web", *, labels: Mapping[str, str] | None = None, **spec: Any) -> Side:
        usual = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
        wanted = {field: value for field, value in {**usual, **spec}.items() if value is not None}
        return self.create("services", {"metadata": {"name": name, "labels": dict(labels or {})}, "spec": wanted})

    def respec(self, name: str = "web", **spec: Any) -> Side:
        """Fields set to None are removed."""

        def how(body: Body) -> None:
            body["spec"].update(spec)
            for field in [field for field, value in spec.items() if value is None]:
                del body["spec"][field]

        return self.change("services", name, how)

    def pod(
        self,
        name: str,
        ip: str = "",
        *,
        node: str = "node1",
        ready: bool = True,
        labels: Mapping[str, str] | None = None,
        ports: Mapping[str, int] | None = None,
        **spec: Any,
    ) -> Side:
        declared = [
            {"name": port, "containerPort": n} for port, n in ({"http": 8080} if ports is None else ports).items()
        ]
        container = {"name": "c", "image": "none", "ports": declared}
        made = {"containers": [container], "terminationGracePeriodSeconds": 600, "nodeName": node, **spec}
        self.create("pods", {"metadata": {"name": name, "labels": dict(labels or {"app": "web"})}, "spec": made})
        return self.status(name, ip, ready) if ip else self

    def status(self, name: str, ip: str, ready: bool, *, at: int = 1, phase: str = "Running") -> Side:
        def how(body: Body) -> None:
            conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": moment(at)}]
            ips = [{"ip": one} for one in ip.split(",")]
            body["status"] |= {"phase": phase, "podIP": ips[0]["ip"], "podIPs": ips, "conditions": conditions}

        return self.change("pods", name, how, "status")

    def relabel(self, plural: str, name: str, **labels: str | None) -> Side:
        def how(body: Body) -> None:
            present = body["metadata"].setdefault("labels", {})
            present.update(labels)
            for label in [label for label, value in labels.items() if value is None]:
                del present[label]

        return self.change(plural, name, how)

    def endpoints(self, name: str, *subsets: Body, **metadata: Any) -> Side:
        return self.create("endpoints", {"metadata": {"name": name, **metadata}, "subsets": list(subsets)})

    def mark(self, number: int) -> None:
        """Writes objects and waits until the controllers have answered to them: so they have seen all before, too."""
        name = f"{MARKER}-{number}"
        self.service(name, selector={"app": name})
        self.service(f"{name}-m", selector=None)
        self.endpoints(f"{name}-m", {"addresses": [{"ip": "192.0.2.9"}], "ports": [{"port": 1}]})
        wanted = {f"{name}", f"{name}-m"}

        def answered() -> bool:
            slices = self.plane.get(self.path("endpointslices"))["items"]
            owners = {one["metadata"]["labels"].get("kubernetes.io/service-name") for one in slices}
            return wanted <= owners and bool(self.plane.get(self.path("endpoints", name)))

        eventually(answered, f"marker {number} in {self.namespace} is answered", 20)

    def shown(self, with_triggers: bool = True) -> str:
        """All slices and Endpoints in comparable form."""
        created = {one["metadata"]["name"]: one["metadata"]["creationTimestamp"] for one in self.items("services")}
        slices = [comparable(one, created) for one in self.items("endpointslices")]
        endpoints = [comparable(one, created) for one in self.items("endpoints")]
        for one in [] if with_triggers else [*slices, *endpoints]:
            one["metadata"].pop("annotations", None)
        found = {"slices": sorted(slices, key=json.dumps), "endpoints": sorted(endpoints, key=json.dumps)}
        return json.dumps(found, indent=1, sort_keys=True).replace(self.namespace, "NAMESPACE")


def moment(number: int) -> str:
    return f"2026-01-01T00:00:{number:02}Z"


def comparable(body: Body, created: Mapping[str, str]) -> Body:
    """Without what differs between two servers; the lists that are sets sorted."""
    body = json.loads(json.dumps(body))
    meta = body["metadata"]
    for field in ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"):
        meta.pop(field, None)
    for owner in meta.get("ownerReferences", ()):
        owner["uid"] = "UID"
    service = meta.get("labels", {}).get("kubernetes.io/service-name", meta["name"])
    if meta["name"].startswith(f"{service}-"):
        meta["name"] = "GENERATED"
    annotations = meta.get("annotations", {})
    trigger = "endpoints.kubernetes.io/last-change-trigger-time"
    if trigger in annotations and annotations[trigger] == created.get(service):
        annotations[trigger] = "CREATION OF THE SERVICE"
    each = [*(body.get("endpoints") or ())]
    for subset in body.get("subsets") or ():
        each += [*subset.get("addresses", ()), *subset.get("notReadyAddresses", ())]
    for one in each:
        one.get("targetRef", {}).pop("uid", None)
    if body.get("endpoints"):
        body["endpoints"].sort(key=json.dumps)
    if body.get("subsets"):
        body["subsets"].sort(key=json.dumps)
    return body


@pytest.fixture(scope="module")
def planes(binaries: Path) -> Iterator[tuple[ControlPlane, ControlPlane]]:
    """(with the real controllers, with ours)."""
    with ExitStack() as stack:
        theirs = stack.enter_context(ControlPlane(binaries))
        ours = stack.enter_context(ControlPlane(binaries, controllers=[one for one in CONTROLLERS if one not in OURS]))
        for plane in (theirs, ours):
            for name, zone in NODES.items():
                plane.add_node(name, ["192.0.2.77"], zone=zone)
        stack.enter_context(running_controllers(ours, *MINE))
        yield theirs, ours


@pytest.fixture
def sides(planes: tuple[ControlPlane, ControlPlane], request: pytest.FixtureRequest) -> tuple[Side, Side]:
    name = f"lab-{request.node.callspec.id.replace('_', '-')}"
    sides = tuple(Side(plane, name) for plane in planes)
    for side in sides:
        side.plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        eventually(partial(side.plane.has_service_account, name), f"{name} is ready for pods")
    return sides[0], sides[1]


def are_equal(one: Side, other: Side, with_triggers: bool) -> bool:
    return one.shown(with_triggers) == other.shown(with_triggers)


def sizes(side: Side) -> list[int]:
    return sorted(len(one["endpoints"] or ()) for one in side.items("endpointslices"))


def has_endpoints(side: Side, count: int) -> bool:
    return sum(sizes(side)) == count


def unfinished(side: Side) -> list[Write]:
    """What our controllers would still write, given the objects as the server has them: nothing is said twice."""
    world = World()
    for plural in ("services", "pods", "endpoints", "endpointslices"):
        for body in side.plane.get(side.path(plural))["items"]:
            world.put(plural, key_of(body), body)
    for node in side.plane.get("/api/v1/nodes")["items"]:
        world.put("nodes", key_of(node), node)
    keys = {*world.all("services"), *world.all("endpoints")}
    outcomes = [one.reconcile(key, world, 0.0) for one in MINE for key in sorted(keys)]
    orphans = {key for key in world.all("endpoints") if key not in world.all("services")}
    writes = [write for outcome in outcomes for write in outcome.writes if not isinstance(write, Record)]
    return [write for write in writes if not (isinstance(write, Delete) and write.key in orphans)]


def difference(theirs: str, ours: str) -> str:
    return "\n".join(unified_diff(theirs.splitlines(), ours.splitlines(), lineterm="", n=6))


Step = Callable[[Side], Side]


def steps(*named: tuple[str, Step]) -> tuple[tuple[str, Step], ...]:
    return named


LIFE = steps(
    ("a Service without pods", lambda s: s.service(labels={"team": "blue"})),
    ("a pod without an address", lambda s: s.pod("a")),
    ("it gets one", lambda s: s.status("a", "10.244.1.1", True)),
    ("one that is not ready", lambda s: s.pod("b", "10.244.2.1", node="node2", ready=False)),
    ("it becomes ready", lambda s: s.status("b", "10.244.2.1", True, at=5)),
    ("one of another app", lambda s: s.pod("c", "10.244.1.3", labels={"app": "other"})),
    ("relabelled in", lambda s: s.relabel("pods", "c", app="web")),
    ("relabelled out", lambda s: s.relabel("pods", "a", app="old")),
    ("and in again", lambda s: s.relabel("pods", "a", app="web")),
    ("one without a node's zone", lambda s: s.pod("d", "10.244.3.1", node="node3")),
    ("terminating", lambda s: s.delete("pods", "b")),
    ("terminating and not ready", lambda s: s.status("b", "10.244.2.1", False, at=9)),
    ("gone", lambda s: s.delete("pods", "b", gracePeriodSeconds=0)),
    ("ended well", lambda s: s.status("c", "10.244.1.3", False, at=10, phase="Succeeded")),
    ("ended badly", lambda s: s.status("d", "10.244.3.1", False, at=11, phase="Failed")),
    ("another address", lambda s: s.status("a", "10.244.1.99", True, at=12)),
    ("the Service's labels change", lambda s: s.relabel("services", "web", team=None, colour="red")),
    ("the selector changes", lambda s: s.respec(selector={"app": "web", "tier": "front"})),
    ("a pod fits it", lambda s: s.relabel("pods", "a", tier="front")),
    ("the Service goes", lambda s: s.delete("services", "web")),
    ("and comes again", lambda s: s.service()),
)

PORTS = steps(
    (
        "two pods that call different ports http",
        lambda s: s.pod("a", "10.244.1.1").pod("b", "10.244.1.2", ports={"http": 9090}),
    ),
    ("a Service by name", lambda s: s.service()),
    ("one that has no such port", lambda s: s.pod("c", "10.244.1.3", ports={"metrics": 1})),
    (
        "three more by number",
        lambda s: s.respec(
            ports=[
                {"name": "http", "port": 80, "targetPort": "http"},
                {"name": "admin", "port": 81, "targetPort": 8081, "appProtocol": "kubernetes.io/h2c"},
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
            ]
        ),
    ),
    ("a port is renamed", lambda s: s.respec(ports=[{"name": "www", "port": 80, "targetPort": "http"}])),
    ("no name", lambda s: s.respec(ports=[{"port": 80, "targetPort": 8080}])),
    ("a name nobody has", lambda s: s.respec(ports=[{"port": 80, "targetPort": "nobody"}])),
    (
        "a sidecar has it",
        lambda s: s.pod(
            "d",
            "10.244.1.4",
            initContainers=[
                {
                    "name": "s",
                    "image": "none",
                    "restartPolicy": "Always",
                    "ports": [{"name": "nobody", "containerPort": 7}],
                }
            ],
        ),
    ),
    ("the same name for UDP only", lambda s: s.respec(ports=[{"port": 80, "targetPort": "http", "protocol": "UDP"}])),
    ("back", lambda s: s.respec(ports=[{"port": 80, "targetPort": "http"}])),
)

HEADLESS = steps(
    (
        "pods with hostnames",
        lambda s: (
            s.pod("a", "10.244.1.1", hostname="alpha", subdomain="web")
            .pod("b", "10.244.1.2", hostname="beta", subdomain="other")
            .pod("c", "10.244.1.3", ready=False, hostname="gamma", subdomain="web")
        ),
    ),
    ("headless", lambda s: s.service(clusterIP="None")),
    ("without ports", lambda s: s.service("bare", clusterIP="None", ports=None)),
    ("all are published", lambda s: s.respec(publishNotReadyAddresses=True)),
    ("terminating and published", lambda s: s.delete("pods", "a")),
    ("readiness of a published one", lambda s: s.status("c", "10.244.1.3", True, at=7)),
    ("no longer", lambda s: s.respec(publishNotReadyAddresses=None)),
    ("nothing selected", lambda s: s.service("nobody", clusterIP="None", selector={"app": "nobody"})),
    ("a pod on a node that does not exist", lambda s: s.pod("x", "10.244.1.10", node="node9")),
    ("published all the same", lambda s: s.respec(publishNotReadyAddresses=True)),
)

SUBSET = {
    "addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2", "hostname": "two"}],
    "ports": [{"port": 8080, "name": "http"}],
}

MIRRORED = steps(
    ("no Service", lambda s: s.endpoints("ext", SUBSET)),
    ("a Service without a selector", lambda s: s.service("ext", selector=None)),
    (
        "an address is not ready",
        lambda s: s.change(
            "endpoints",
            "ext",
            lambda b: b.update(subsets=[{**SUBSET, "notReadyAddresses": [{"ip": "192.0.2.3", "nodeName": "node1"}]}]),
        ),
    ),
    (
        "two subsets and a family more",
        lambda s: s.change(
            "endpoints",
            "ext",
            lambda b: b.update(
                subsets=[
                    SUBSET,
                    {
                        "addresses": [{"ip": "2001:db8::1"}, {"ip": "192.0.2.1"}],
                        "ports": [{"port": 9, "protocol": "UDP", "name": "u"}],
                    },
                ]
            ),
        ),
    ),
    ("labels", lambda s: s.relabel("endpoints", "ext", team="blue")),
    (
        "annotations",
        lambda s: s.change("endpoints", "ext", lambda b: b["metadata"].update(annotations={"why": "because"})),
    ),
    ("the Service's labels", lambda s: s.relabel("services", "ext", colour="red")),
    ("skipped", lambda s: s.relabel("endpoints", "ext", **{"endpointslice.kubernetes.io/skip-mirror": "true"})),
    ("not skipped", lambda s: s.relabel("endpoints", "ext", **{"endpointslice.kubernetes.io/skip-mirror": None})),
    (
        "no ports",
        lambda s: s.change("endpoints", "ext", lambda b: b.update(subsets=[{"addresses": [{"ip": "192.0.2.7"}]}])),
    ),
    ("empty", lambda s: s.change("endpoints", "ext", lambda b: b.update(subsets=None))),
    ("full", lambda s: s.change("endpoints", "ext", lambda b: b.update(subsets=[SUBSET]))),
    (
        "a leader's",
        lambda s: s.endpoints("lead", SUBSET, annotations={"control-plane.alpha.kubernetes.io/leader": "{}"}),
    ),
    ("with a Service", lambda s: s.service("lead", selector=None)),
    ("a selector comes", lambda s: s.respec("ext", selector={"app": "web"})),
    ("a pod for it", lambda s: s.pod("a", "10.244.1.1")),
    ("the selector goes", lambda s: s.respec("ext", selector=None)),
    ("the Endpoints go", lambda s: s.delete("endpoints", "ext")),
    ("the Endpoints come", lambda s: s.endpoints("ext", SUBSET)),
    ("the Service goes", lambda s: s.delete("services", "ext")),
)

FLIPS = steps(
    (
        "a Service with pods",
        lambda s: s.pod("a", "10.244.1.1").pod("b", "10.244.2.2", node="node2", ready=False).service(),
    ),
    ("near by zone", lambda s: s.respec(trafficDistribution="PreferSameZone")),
    ("near by node", lambda s: s.respec(trafficDistribution="PreferSameNode")),
    ("it becomes ready", lambda s: s.status("b", "10.244.2.2", True, at=3)),
    ("another, without a zone", lambda s: s.pod("c", "10.244.3.3", node="node3")),
    ("close", lambda s: s.respec(trafficDistribution="PreferClose")),
    ("anywhere", lambda s: s.respec(trafficDistribution=None)),
    (
        "external",
        lambda s: s.respec(type="ExternalName", externalName="db.example.com", clusterIP=None, clusterIPs=None),
    ),
    ("a pod less", lambda s: s.delete("pods", "a", gracePeriodSeconds=0)),
    ("internal again", lambda s: s.respec(type="ClusterIP", externalName=None)),
    ("node port", lambda s: s.respec(type="NodePort")),
    (
        "a slice is deleted by hand",
        lambda s: s.delete("endpointslices", s.items("endpointslices")[0]["metadata"]["name"]),
    ),
    (
        "a slice is emptied by hand",
        lambda s: s.change(
            "endpointslices", s.items("endpointslices")[0]["metadata"]["name"], lambda b: b.update(endpoints=[])
        ),
    ),
    ("Endpoints are deleted by hand", lambda s: s.delete("endpoints", "web")),
    ("the selector goes", lambda s: s.respec(selector=None)),
)

FAMILIES = steps(
    (
        "pods with two addresses",
        lambda s: (
            s.pod("a", "10.244.1.1,fd00:10:244:1::1").pod("b", "10.244.1.2").pod("c", "fd00:10:244:1::3,10.244.1.3")
        ),
    ),
    ("one family", lambda s: s.service("four")),
    ("the other", lambda s: s.service("six", ipFamilies=["IPv6"], ipFamilyPolicy="SingleStack")),
    ("both", lambda s: s.service("both", ipFamilyPolicy="RequireDualStack")),
    ("both and headless", lambda s: s.service("bare", clusterIP="None", ipFamilyPolicy="PreferDualStack")),
    (
        "one family less",
        lambda s: s.change(
            "services",
            "both",
            lambda b: b["spec"].update(
                ipFamilyPolicy="SingleStack",
                ipFamilies=b["spec"]["ipFamilies"][:1],
                clusterIPs=b["spec"]["clusterIPs"][:1],
            ),
        ),
    ),
    ("and more", lambda s: s.respec("four", ipFamilyPolicy="PreferDualStack")),
)

# The real ones remember when each pod was ready the last time they looked. Ours remember nothing and read it off what
# is written, so from these steps on the annotation differs: a pod is newly shown, and is not newly ready.
UNTIL_TRIGGERS_DIFFER = {
    "ports": "three more by number",
    "headless": "published all the same",
    "flips": "a slice is deleted by hand",
}
SCRIPTS = {
    "life": LIFE,
    "ports": PORTS,
    "headless": HEADLESS,
    "mirrored": MIRRORED,
    "flips": FLIPS,
    "families": FAMILIES,
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_same_as_the_real_controllers(sides: tuple[Side, Side], script: str) -> None:
    theirs, ours = sides
    triggers = True
    for number, (name, step) in enumerate(SCRIPTS[script]):
        triggers = triggers and name != UNTIL_TRIGGERS_DIFFER.get(script)
        for side in sides:
            step(side)
        for side in sides:
            side.mark(number)
        try:
            eventually(partial(are_equal, theirs, ours, triggers), "both are the same", 5)
        except AssertionError:
            differs = difference(theirs.shown(triggers), ours.shown(triggers))
            pytest.fail(f"after {name!r}, theirs → ours:\n{differs}", pytrace=False)
        assert unfinished(ours) == [], f"after {name!r} they would write again what the server has stored"


@pytest.mark.parametrize("count", [110], ids=["many"])
def test_many_pods_fill_slices(sides: tuple[Side, Side], count: int) -> None:
    """Who stands in which slice is chance in the real one; how full they are is not, while pods only come."""
    theirs, ours = sides
    for side in sides:
        side.service()
        for number in range(count):
            side.pod(f"p{number}", f"10.244.1.{number}")
        side.mark(0)
    for side in sides:
        eventually(partial(has_endpoints, side, count), "all pods are endpoints")
    assert len(sizes(ours)) == len(sizes(theirs)) == 2
    assert [one["subsets"] for one in map(without_uids, ours.items("endpoints"))] == [
        one["subsets"] for one in map(without_uids, theirs.items("endpoints"))
    ]


def without_uids(body: Body) -> Body:
    return json.loads(json.dumps(comparable(body, {})).replace("lab-many", ""))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["endpointslices"], ids=["namespace"])
def test_a_namespace_goes(sides: tuple[Side, Side], kind: str) -> None:
    for side in sides:
        side.service()
        side.pod("a", "10.244.1.1", terminationGracePeriodSeconds=0)
        side.mark(0)
        side.plane.request("DELETE", f"/api/v1/namespaces/{side.namespace}")
    for side in sides:
        eventually(partial(is_gone, side), f"{side.namespace} is gone", 30)


def is_gone(side: Side) -> bool:
    try:
        side.plane.get(f"/api/v1/namespaces/{side.namespace}")
    except ApiError as error:
        return error.status == 404
    return False

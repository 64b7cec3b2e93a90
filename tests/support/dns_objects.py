"""Random objects that DNS speaks of, from pools so small that names, addresses and hostnames meet.

In: a seed. Out: a `Change`: an object to be there, or to be gone. All that a name can be about is drawn from the pools
below, so `support.dns_questions` hits what exists and what does not, without looking.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, TypeAlias

import msgspec

Manifest: TypeAlias = dict[str, Any]

NAMESPACES = ("one", "two", "three")
SERVICES = ("web", "db", "api", "svc", "x1", "a-b")
HOSTNAMES = ("h-0", "h-1", "web")
PODS = ("pod-a", "pod-b", "pod-c")
PORTS = ("http", "dns", "web", "")
PROTOCOLS = ("TCP", "UDP", "SCTP")
V4 = tuple(f"10.244.0.{number}" for number in range(1, 6))
V6 = ("fd00:10:244::1", "fd00:10:244::2", "fd00:10:244:1::", "2001:db8::a")
OUTSIDE = ("www.example.org", "alias.example.org", "gone.example.org", "www.example.org.")


class Change(msgspec.Struct, frozen=True):
    """`plural` as in a URL, behind the group's path; `manifest` None: to be gone."""

    path: str
    name: str
    manifest: Manifest | None


def cluster_ip(namespace: str, service: str, family: str) -> str:
    """Each service has its own, so that two never want the same one."""
    high, low = NAMESPACES.index(namespace) + 1, SERVICES.index(service) + 1
    return f"10.96.{high}.{low}" if family == "IPv4" else f"fd00:10:96::{high}{low}"


class Objects:
    """An endless source. The same seed gives the same objects."""

    def __init__(self, seed: int) -> None:
        self._draw = Random(seed)  # noqa: S311  # it has to be repeated, not to be kept secret

    def change(self) -> Change:
        kinds = (self._service, self._slice, self._pod, self._namespace)
        (kind,) = self._draw.choices(kinds, (40, 50, 8, 3))
        change = kind(self._draw.choice(NAMESPACES))
        gone = self._draw.random() < (0.25 if kind == self._namespace else 0.2)
        return msgspec.structs.replace(change, manifest=None) if gone else change

    def filling(self) -> list[Change]:
        """What to begin with: every namespace, and most of the rest."""
        found = [self._namespace(name) for name in NAMESPACES]
        for namespace in NAMESPACES:
            found += [self._service(namespace) for _ in SERVICES]
            found += [self._slice(namespace) for _ in SERVICES * 2]
            found += [self._pod(namespace) for _ in PODS]
        return found

    def _namespace(self, name: str) -> Change:
        return Change("/api/v1/namespaces", name, _manifest("v1", "Namespace", name))

    def _service(self, namespace: str) -> Change:
        draw, name = self._draw, self._draw.choice(SERVICES)
        path = f"/api/v1/namespaces/{namespace}/services"
        (kind,) = draw.choices(("ClusterIP", "Headless", "ExternalName"), (4, 4, 2))
        if kind == "ExternalName":
            inside = f"{draw.choice(SERVICES)}.{draw.choice(NAMESPACES)}.svc.cluster.local"
            below = draw.choice((inside, inside, f"{draw.choice(HOSTNAMES)}.{inside}", f"_http._tcp.{inside}"))
            target = draw.choice((below.replace("_", ""), *OUTSIDE))
            return Change(path, name, _manifest("v1", "Service", name, {"type": kind, "externalName": target}))
        families = draw.choice((("IPv4",), ("IPv4",), ("IPv6",), ("IPv4", "IPv6"), ("IPv6", "IPv4")))
        addresses = ["None"] if kind == "Headless" else [cluster_ip(namespace, name, one) for one in families]
        spec = {
            "clusterIP": addresses[0],
            "clusterIPs": addresses,
            "ipFamilies": families,
            "ipFamilyPolicy": "RequireDualStack" if len(families) == 2 else "SingleStack",
            "ports": self._ports(0 if kind == "Headless" else 1),
        }
        return Change(path, name, _manifest("v1", "Service", name, spec))

    def _ports(self, least: int) -> list[Manifest]:
        draw = self._draw
        names = draw.sample(PORTS, draw.choice((least, 1, 1, 2, 3)))
        if len(names) > 1:
            names = [name for name in names if name]
        return [
            {"port": draw.choice((80, 443, 53)) + number, "protocol": draw.choice(PROTOCOLS)}
            | ({"name": name} if name else {})
            for number, name in enumerate(names)
        ]

    def _slice(self, namespace: str) -> Change:
        draw, service = self._draw, self._draw.choice(SERVICES)
        family = draw.choice(("IPv4", "IPv4", "IPv6"))
        name = f"{service}-{family.lower()}-{draw.randint(0, 1)}"
        manifest = _manifest("discovery.k8s.io/v1", "EndpointSlice", name)
        manifest["metadata"]["labels"] = {"kubernetes.io/service-name": service}
        manifest["addressType"] = family
        pool = V4 if family == "IPv4" else V6
        manifest["endpoints"] = [self._endpoint(namespace, pool) for _ in range(draw.choice((0, 1, 2, 3, 3)))]
        manifest["ports"] = self._ports(0)
        return Change(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", name, manifest)

    def _endpoint(self, namespace: str, pool: Sequence[str]) -> Manifest:
        draw = self._draw
        # The API takes one address for each endpoint only, or several of which just the first counts.
        found: Manifest = {"addresses": [draw.choice(pool)]}
        ready = draw.choice((True, True, True, False, None))
        if ready is not None:
            found["conditions"] = {"ready": ready, "serving": draw.random() < 0.5, "terminating": draw.random() < 0.2}
        if draw.random() < 0.5:
            found["hostname"] = draw.choice(HOSTNAMES)
        if draw.random() < 0.4:
            found["targetRef"] = {"kind": "Pod", "name": draw.choice(PODS), "namespace": namespace}
        return found

    def _pod(self, namespace: str) -> Change:
        """One address: CoreDNS knows no second one."""
        draw, name = self._draw, self._draw.choice(PODS)
        manifest = _manifest("v1", "Pod", name, {"containers": [{"name": "c", "image": "i"}]})
        address = draw.choice((*V4, *V6[:2]))
        manifest["status"] = {"phase": draw.choice(("Running", "Running", "Succeeded")), "podIP": address}
        manifest["status"]["podIPs"] = [{"ip": address}]
        return Change(f"/api/v1/namespaces/{namespace}/pods", name, manifest)


def _manifest(version: str, kind: str, name: str, spec: Manifest | None = None) -> Manifest:
    found: Manifest = {"apiVersion": version, "kind": kind, "metadata": {"name": name}}
    return found | ({"spec": spec} if spec is not None else {})

"""The pods behind a Service: which ones, on which addresses and ports, and which Services a pod's change touches (p).

In: Services, pods and nodes as JSON values; a `World` to look them up in. Out: plain answers that the controllers of
EndpointSlices and of Endpoints share (k8s.io/endpointslice/util). A pod that has ended or has no address is behind no
Service; a named port that a pod does not have is left out for that pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address, ip_address
from typing import Any

from svclab.controllers.conditions import condition, conditions_of, status_of
from svclab.controllers.pods import ENDED, is_terminating, phase_of
from svclab.controllers.reduce import Body, Seen, World, key_of
from svclab.controllers.selection import has_all, labels_of

IS_HEADLESS = "service.kubernetes.io/headless"
LAST_CHANGE = "endpoints.kubernetes.io/last-change-trigger-time"
ZONE = "topology.kubernetes.io/zone"


def selects(service: Body, labels: Body) -> bool:
    """Does the Service's selector match? No selector matches nothing."""
    selector = (service.get("spec") or {}).get("selector") or {}
    return bool(selector) and has_all(selector, labels)


def is_selecting(service: Body) -> bool:
    """Do our controllers write the endpoints of this Service? Not without a selector, and not of an ExternalName."""
    spec = service.get("spec") or {}
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def pods_of(service: Body, world: World) -> list[Body]:
    """The pods its selector matches, by name."""
    pods = world.by_namespace("pods", service["metadata"]["namespace"])
    found = (pod for pod in pods if selects(service, labels_of(pod)))
    return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))


def is_ready(pod: Body) -> bool:
    return status_of(pod, "Ready") == "True"


def became_ready_or_unready(pod: Body) -> str:
    """When its readiness last changed (RFC 3339), "" if nobody has said."""
    return str((condition(conditions_of(pod), "Ready") or {}).get("lastTransitionTime") or "")


def belongs_in_endpoints(pod: Body, with_terminating: bool) -> bool:
    """Pods that have ended never do, pods without an address do not yet."""
    if phase_of(pod) in ENDED or not _pod_ips(pod):
        return False
    return with_terminating or not is_terminating(pod)


def addresses_of(pod: Body, family: str) -> list[str]:
    """Its addresses of a family (`IPv4`, `IPv6`), in the usual spelling."""
    found = (address_and_family(ip) for ip in _pod_ips(pod))
    return [address for address, its_family in found if its_family == family]


def address_and_family(text: str) -> tuple[str, str]:
    """An address in its usual spelling, and `IPv4` or `IPv6`; ("", "") if it is none.

    Leading zeros are allowed, as Kubernetes allows them in stored objects; `::ffff:10.0.0.1` is an IPv4 address.
    """
    if "." in text and ":" not in text:
        text = ".".join(part.lstrip("0") or "0" for part in text.split("."))
    try:
        parsed = ip_address(text)
    except ValueError:
        return "", ""
    if isinstance(parsed, IPv6Address):
        return (str(parsed.ipv4_mapped), "IPv4") if parsed.ipv4_mapped else (str(parsed), "IPv6")
    return str(parsed), "IPv4"


def is_headless(service: Body) -> bool:
    return (service.get("spec") or {}).get("clusterIP") in (None, "", "None")


def hostname_of(pod: Body, service: Body) -> str:
    """The hostname a headless Service publishes for the pod: if its subdomain is the Service's name."""
    spec = pod.get("spec") or {}
    return str(spec.get("hostname") or "") if spec.get("subdomain") == service["metadata"]["name"] else ""


def port_on(pod: Body, service_port: Body) -> int | None:
    """The number of a Service's port on this pod; None if it is a name that no container declares."""
    wanted = service_port.get("targetPort") or service_port["port"]
    if isinstance(wanted, int):
        return wanted
    protocol = service_port.get("protocol") or "TCP"
    for container in _containers(pod):
        for port in container.get("ports") or ():
            if port.get("name") == wanted and (port.get("protocol") or "TCP") == protocol:
                return int(port["containerPort"])
    return None


def reference_to(pod: Body) -> Body:
    meta = pod["metadata"]
    return {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}


def services_touched(seen: Seen, world: World) -> Iterator[str]:
    """Keys of the selecting Services whose endpoints a pod's change may change."""
    if seen.old is not None and seen.new is not None and _published(seen.old) == _published(seen.new):
        return
    labels = [labels_of(one) for one in (seen.old, seen.new) if one is not None]
    namespace = seen.key.partition("/")[0]
    for service in world.by_namespace("services", namespace):
        if any(selects(service, each) for each in labels):
            yield key_of(service)


def services_on_node(seen: Seen, world: World) -> Iterator[str]:
    """Keys of the Services with pods on a node that came, went, or moved to another zone."""
    was, now = (None if one is None else labels_of(one).get(ZONE, "") for one in (seen.old, seen.new))
    if was == now:
        return
    found: set[str] = set()
    for pod in world.pods_on(seen.key):
        services = world.by_namespace("services", pod["metadata"]["namespace"])
        found |= {key_of(service) for service in services if selects(service, labels_of(pod))}
    yield from sorted(found)


def earliest(times: Iterable[str]) -> str:
    """The first of some times in RFC 3339, all in UTC as the API writes them; "" of none."""
    return min((time for time in times if time), default="")


def stamped(body: Body, trigger: str) -> Body:
    """With the annotation of when the change behind it was made; without one if nobody knows."""
    meta = body["metadata"]
    annotations = {name: value for name, value in (meta.get("annotations") or {}).items() if name != LAST_CHANGE}
    if trigger:
        annotations[LAST_CHANGE] = trigger
    bare = {name: value for name, value in meta.items() if name != "annotations"}
    return {**body, "metadata": {**bare, "annotations": annotations} if annotations else bare}


def _published(pod: Body) -> tuple[Any, ...]:
    """What endpoints are made of; all else of a pod changes none."""
    spec, meta = pod.get("spec") or {}, pod["metadata"]
    names = (spec.get("hostname"), spec.get("subdomain"), spec.get("nodeName"))
    ended = belongs_in_endpoints(pod, with_terminating=True)
    return (meta.get("uid"), meta.get("labels"), is_terminating(pod), is_ready(pod), _pod_ips(pod), ended, names)


def _pod_ips(pod: Body) -> list[str]:
    status = pod.get("status") or {}
    ips = [one["ip"] for one in status.get("podIPs") or () if one.get("ip")]
    return ips or ([status["podIP"]] if status.get("podIP") else [])


def _containers(pod: Body) -> Iterator[Body]:
    """Containers, then the sidecars among the init containers."""
    spec = pod.get("spec") or {}
    yield from spec.get("containers") or ()
    yield from (one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always")

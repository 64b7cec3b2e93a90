"""Service: defaults, what a change of type drops, warnings, the table. Its rules are in `service_rules`.

Source: kubernetes pkg/apis/core/v1/defaults.go, pkg/registry/core/service, pkg/api/service/warnings.go, v1.36.3.
"""

from __future__ import annotations

from typing import Any

from svclab.apiserver.strategy import addresses, formats, metadata, printed, service_rules
from svclab.apiserver.strategy.errors import FieldError
from svclab.apiserver.strategy.kind import AGE, NAME, Column, Strategy
from svclab.apiserver.strategy.metadata import Body
from svclab.apiserver.strategy.normal_form import copied

AFFINITY_SECONDS = 10800


def externally_accessible(spec: Body) -> bool:
    """Is there an address by which it is reached from outside, and so an externalTrafficPolicy?"""
    kind = spec.get("type")
    return kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_health_check(spec: Body) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


class Service(Strategy):
    kind = "Service"
    rule = staticmethod(formats.dns_label)
    created_by_update = True
    table = (
        NAME,
        Column("Type"),
        Column("Cluster-IP"),
        Column("External-IP"),
        Column("Port(s)"),
        AGE,
        Column("Selector", priority=1),
    )

    def set_defaults(self, kept: Body) -> None:
        spec = kept["spec"]
        affinity = spec.setdefault("sessionAffinity", "None")
        config = spec.get("sessionAffinityConfig")
        if affinity == "None":
            spec.pop("sessionAffinityConfig", None)
        elif affinity == "ClientIP" and (config or {}).get("clientIP", {}).get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}
        kind = spec.setdefault("type", "ClusterIP")
        for port in spec.get("ports", ()):
            port.setdefault("protocol", "TCP")
            port["targetPort"] = port["targetPort"] or port["port"]
        if externally_accessible(spec):
            spec.setdefault("externalTrafficPolicy", "Cluster")
        if kind in ("NodePort", "LoadBalancer", "ClusterIP"):
            spec.setdefault("internalTrafficPolicy", "Cluster")
        if kind == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)
            for ingress in kept["status"]["loadBalancer"].get("ingress", ()):
                if ingress.get("ip"):
                    ingress.setdefault("ipMode", "VIP")

    def prepared_for_create(self, obj: Body) -> Body:
        return _without_unused_policy({**obj, "status": {"loadBalancer": {}}})

    def prepared_for_update(self, new: Body, old: Body, subresource: str) -> Body:
        if subresource == "status":
            return {**new, "spec": old["spec"]}
        kept = {**new, "spec": _without_what_the_type_lost(new["spec"], old["spec"]), "status": old["status"]}
        if kept["spec"]["type"] != "LoadBalancer":
            kept["status"] = {key: value for key, value in old["status"].items() if key != "loadBalancer"}
            kept["status"]["loadBalancer"] = {}
        return _without_unused_policy(kept)

    def errors(self, obj: Body, old: Body | None) -> list[FieldError]:
        return service_rules.errors(obj, old)

    def changes_errors(self, new: Body, old: Body) -> list[FieldError]:
        found = metadata.kind_update_errors(new, old) + service_rules.changes_errors(new, old)
        return found + service_rules.errors(new, old)

    def status_errors(self, new: Body, old: Body) -> list[FieldError]:
        return metadata.kind_update_errors(new, old) + service_rules.status_errors(new, old)

    def warnings(self, obj: Body, old: Body | None) -> list[str]:
        return _warnings(obj, old)

    def cells(self, obj: Body, now: float) -> list[Any]:
        spec = obj["spec"]
        ports = ",".join(_port_text(port) for port in spec.get("ports") or ())
        return [
            obj["metadata"]["name"],
            spec["type"],
            (spec.get("clusterIPs") or ["<none>"])[0],
            _external_addresses(obj),
            ports or "<none>",
            printed.age(obj, now),
            printed.labels(spec.get("selector")),
        ]


def _without_unused_policy(service: Body) -> Body:
    """What leads to no cluster address has no internalTrafficPolicy; one that is wrong is left for validation."""
    spec = service["spec"]
    if spec["type"] != "ExternalName" or spec.get("internalTrafficPolicy") not in ("Cluster", "Local"):
        return service
    return {**service, "spec": {key: value for key, value in spec.items() if key != "internalTrafficPolicy"}}


def _without_what_the_type_lost(spec: Body, before: Body) -> Body:
    """Fields that the new type has no use for, that were set for the old one, and that the client did not change."""
    kept = copied(spec)
    now, then = spec["type"], before["type"]

    def same(field: str) -> bool:
        return bool(spec.get(field) == before.get(field))

    if then != "ExternalName" and now == "ExternalName":
        if same("clusterIP") and same("clusterIPs"):
            kept.pop("clusterIP", None)
            kept.pop("clusterIPs", None)
        for field in ("ipFamilies", "ipFamilyPolicy"):
            if same(field):
                kept.pop(field, None)
    with_ports = ("NodePort", "LoadBalancer")
    if then in with_ports and now not in with_ports and node_ports(spec) <= node_ports(before):
        for port in kept.get("ports", ()):
            port.pop("nodePort", None)
    if needs_health_check(before) and not needs_health_check(spec) and same("healthCheckNodePort"):
        kept.pop("healthCheckNodePort", None)
    if then == "LoadBalancer" != now:
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if same(field):
                kept.pop(field, None)
    if externally_accessible(before) and not externally_accessible(spec) and same("externalTrafficPolicy"):
        kept.pop("externalTrafficPolicy", None)
    return kept


def node_ports(spec: Body) -> set[int]:
    return {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}


def _warnings(obj: Body, old: Body | None) -> list[str]:
    spec, found = obj["spec"], []
    headless = spec["type"] == "ClusterIP" and spec.get("clusterIP") == "None"
    if "service.kubernetes.io/topology-aware-hints" in (obj["metadata"].get("annotations") or {}):
        found.append(
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, "
            "please use service.kubernetes.io/topology-mode instead"
        )
    external = spec.get("externalIPs") or []
    if spec.get("clusterIP") not in (None, "", "None"):
        for index, address in enumerate(spec.get("clusterIPs") or ()):
            found += addresses.address_warnings(f"spec.clusterIPs[{index}]", address)
    if headless:
        ignored = {
            "loadBalancerIP": bool(spec.get("loadBalancerIP")),
            "externalIPs": bool(external),
            "SessionAffinity": spec.get("sessionAffinity") != "None",
        }
        found += [f"spec.{field} is ignored for headless services" for field, given in ignored.items() if given]
    for index, address in enumerate(external):
        found += addresses.address_warnings(f"spec.externalIPs[{index}]", address)
    if external and not headless and spec["type"] != "ExternalName":
        found.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if spec.get("loadBalancerIP"):
        found += addresses.address_warnings("spec.loadBalancerIP", spec["loadBalancerIP"])
    for index, cidr in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        found += addresses.cidr_warnings(f"spec.loadBalancerSourceRanges[{index}]", cidr)
    if spec["type"] == "ExternalName" and external:
        found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if spec["type"] != "ExternalName" and spec.get("externalName"):
        found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return found


def _external_addresses(obj: Body) -> str:
    spec = obj["spec"]
    external: list[str] = spec.get("externalIPs") or []
    if spec["type"] == "ExternalName":
        return str(spec.get("externalName", ""))
    if spec["type"] != "LoadBalancer":
        return ",".join(external) or "<none>"
    ingress = obj.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    given = sorted({each.get("ip") or each.get("hostname", "") for each in ingress} - {""})
    return ",".join([*given, *external]) or "<pending>"


def _port_text(port: Body) -> str:
    number = f"{port['port']}:{port['nodePort']}" if port.get("nodePort") else str(port["port"])
    return f"{number}/{port['protocol']}"

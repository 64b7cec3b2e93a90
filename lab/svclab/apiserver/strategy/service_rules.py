"""What a Service must be, and what of it may change.

In: Services with their defaults and allocated values. Out: errors in the API server's order and words. Source:
kubernetes pkg/apis/core/validation/validation.go (ValidateServiceCreate, ValidateServiceUpdate), v1.36.3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from svclab.apiserver.strategy import addresses, formats, metadata
from svclab.apiserver.strategy.errors import (
    FieldError,
    all_wrong,
    duplicate,
    forbidden,
    required,
    unsupported,
    wrong,
)
from svclab.apiserver.strategy.metadata import Body

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
FAMILIES = ("IPv4", "IPv6")
FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
LONGEST_AFFINITY = 86400
RANGES_ANNOTATION = "service.beta.kubernetes.io/load-balancer-source-ranges"
HINTS_ANNOTATION, MODE_ANNOTATION = "service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"
ONLY_LOAD_BALANCER = "may only be used when `type` is 'LoadBalancer'"


def is_headless(spec: Body) -> bool:
    return spec.get("clusterIPs") == ["None"]


def errors(obj: Body, old: Body | None) -> list[FieldError]:
    spec = obj["spec"]
    before = old["spec"] if old else None
    return [
        *_annotation_errors(obj),
        *_type_errors(spec),
        *_ports_errors(spec),
        *metadata.labels_errors(spec.get("selector"), "spec.selector"),
        *_affinity_errors(spec),
        *cluster_ips_errors(spec, before),
        *_external_ips_errors(spec, before),
        *([] if spec["type"] in TYPES else [unsupported("spec.type", spec["type"], TYPES)]),
        *_port_uniqueness_errors(spec),
        *_source_ranges_errors(obj, old),
        *_load_balancer_errors(spec),
        *_traffic_errors(spec),
    ]


def _annotation_errors(obj: Body) -> list[FieldError]:
    given = obj["metadata"].get("annotations") or {}
    hints, mode = given.get(HINTS_ANNOTATION), given.get(MODE_ANNOTATION)
    if hints is None or mode is None or hints == mode:
        return []
    said = f"must match annotations[{HINTS_ANNOTATION}] when both are specified"
    return [wrong(f"metadata.annotations[{MODE_ANNOTATION}]", mode, said)]


def _type_errors(spec: Body) -> list[FieldError]:
    kind, found = spec["type"], []
    if not spec.get("ports") and not is_headless(spec) and kind != "ExternalName":
        found.append(required("spec.ports"))
    if kind in ("LoadBalancer", "NodePort") and is_headless(spec):
        found.append(wrong("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services"))
    if kind != "ExternalName":
        return found
    for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(field):
            found.append(forbidden(f"spec.{field}", "may not be set for ExternalName services"))
    name = spec.get("externalName", "").removesuffix(".")
    if not name:
        return [*found, required("spec.externalName")]
    return found + all_wrong("spec.externalName", name, formats.dns_subdomain(name))


def _ports_errors(spec: Body) -> list[FieldError]:
    found: list[FieldError] = []
    ports = spec.get("ports") or []
    names: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"spec.ports[{index}]", port.get("name", "")
        if name:
            found += all_wrong(f"{path}.name", name, formats.dns_label(name))
            if name in names:
                found.append(duplicate(f"{path}.name", name))
            names.add(name)
        elif len(ports) > 1:
            found.append(required(f"{path}.name"))
        found += all_wrong(f"{path}.port", port["port"], formats.port(port["port"]))
        if port["protocol"] not in PROTOCOLS:
            found.append(unsupported(f"{path}.protocol", port["protocol"], PROTOCOLS))
        found += port_number_or_name_errors(f"{path}.targetPort", port["targetPort"])
        if (application := port.get("appProtocol")) is not None:
            found += all_wrong(f"{path}.appProtocol", application, formats.label_key(application))
    return found


def port_number_or_name_errors(path: str, given: int | str) -> list[FieldError]:
    return all_wrong(path, given, formats.port(given) if isinstance(given, int) else formats.port_name(given))


def _affinity_errors(spec: Body) -> list[FieldError]:
    affinity = spec.get("sessionAffinity", "")
    if affinity not in ("ClientIP", "None"):
        return [unsupported("spec.sessionAffinity", affinity, ("ClientIP", "None"))]
    if affinity == "None":
        return []
    seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"]
    if 0 < seconds <= LONGEST_AFFINITY:
        return []
    said = f"must be greater than 0 and less than {LONGEST_AFFINITY}"
    return [wrong("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, said)]


def cluster_ips_errors(spec: Body, before: Body | None) -> list[FieldError]:
    """clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy together; also asked before allocation."""
    if spec["type"] == "ExternalName":
        return []
    found: list[FieldError] = []
    first, given = spec.get("clusterIP", ""), spec.get("clusterIPs") or []
    if first and not given:
        found.append(required("spec.clusterIPs"))
    elif first and given[0] != first:
        found.append(wrong("spec.clusterIPs", given, "first value must match `clusterIP`"))
    elif not first and given:
        found.append(wrong("spec.clusterIPs", given, "must be empty when `clusterIP` is not specified"))
    found += _families_errors(spec)
    malformed = []
    known = (before or {}).get("clusterIPs") or ()
    for index, address in enumerate(given):
        if index == 0 and address == "None":
            if len(given) > 1:
                malformed.append(wrong("spec.clusterIPs", given, "'None' must be the first and only value"))
            continue
        malformed += addresses.address_errors(f"spec.clusterIPs[{index}]", address, known)
    found += malformed
    if len(given) > 2:
        found.append(wrong("spec.clusterIPs", given, "may only hold up to 2 values"))
    if malformed:
        return found
    if len(given) > 1 and len({addresses.is_ipv6(address) for address in given}) == 1:
        found.append(wrong("spec.clusterIPs", given, "may specify no more than one IP for each IP family"))
    if not is_headless(spec):
        found += _family_mismatches(given, spec.get("ipFamilies") or [])
    return found


def _families_errors(spec: Body) -> list[FieldError]:
    found: list[FieldError] = []
    families = spec.get("ipFamilies") or []
    for index, family in enumerate(families):
        if family not in FAMILIES:
            found.append(unsupported(f"spec.ipFamilies[{index}]", family, FAMILIES))
        if family in families[:index]:
            found.append(duplicate(f"spec.ipFamilies[{index}]", family))
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in FAMILY_POLICIES:
        found.append(unsupported("spec.ipFamilyPolicy", policy, FAMILY_POLICIES))
    return found


def _family_mismatches(given: list[str], families: list[str]) -> list[FieldError]:
    return [
        wrong(f"spec.clusterIPs[{index}]", address, f"expected an {family} value as indicated by `ipFamilies[{index}]`")
        for index, (address, family) in enumerate(zip(given, families, strict=False))
        if family in FAMILIES and (family == "IPv6") != addresses.is_ipv6(address)
    ]


def _external_ips_errors(spec: Body, before: Body | None) -> list[FieldError]:
    found: list[FieldError] = []
    known = (before or {}).get("externalIPs") or ()
    for index, address in enumerate(spec.get("externalIPs") or ()):
        path = f"spec.externalIPs[{index}]"
        found += addresses.address_errors(path, address, known) or addresses.endpoint_errors(path, address)
    return found


def _port_uniqueness_errors(spec: Body) -> list[FieldError]:
    found: list[FieldError] = []
    ports = spec.get("ports") or []
    if spec["type"] == "ClusterIP":
        said = "may not be used when `type` is 'ClusterIP'"
        found += [forbidden(f"spec.ports[{i}].nodePort", said) for i, port in enumerate(ports) if port.get("nodePort")]
    seen: Counter[tuple[str, str, int]] = Counter()
    for index, port in enumerate(ports):
        if number := port.get("nodePort"):
            if seen["node", port["protocol"], number]:
                found.append(duplicate(f"spec.ports[{index}].nodePort", number))
            seen["node", port["protocol"], number] += 1
    for index, port in enumerate(ports):
        if seen["port", port["protocol"], port["port"]]:
            key = {
                "Name": "",
                "Protocol": port["protocol"],
                "AppProtocol": None,
                "Port": port["port"],
                "TargetPort": 0,
                "NodePort": 0,
            }
            found.append(duplicate(f"spec.ports[{index}]", key))
        seen["port", port["protocol"], port["port"]] += 1
    return found


def _source_ranges_errors(obj: Body, old: Body | None) -> list[FieldError]:
    spec, annotations = obj["spec"], obj["metadata"].get("annotations") or {}
    outside = spec["type"] != "LoadBalancer"
    found: list[FieldError] = []
    if ranges := spec.get("loadBalancerSourceRanges"):
        path = "spec.LoadBalancerSourceRanges"
        if outside:
            found.append(forbidden(path, ONLY_LOAD_BALANCER))
        known = {each.strip() for each in (old["spec"].get("loadBalancerSourceRanges") or ())} if old else ()
        for index, each in enumerate(ranges):
            found += addresses.cidr_errors(f"{path}[{index}]", each.strip(), known)
    elif RANGES_ANNOTATION in annotations:
        path, text = f"metadata.annotations[{RANGES_ANNOTATION}]", annotations[RANGES_ANNOTATION]
        if outside:
            found.append(forbidden(path, ONLY_LOAD_BALANCER))
        before = (old["metadata"].get("annotations") or {}).get(RANGES_ANNOTATION) if old else None
        if before != text and text.strip():
            for each in text.strip().split(","):
                found += addresses.cidr_errors(path, each.strip())
    return found


def _load_balancer_errors(spec: Body) -> list[FieldError]:
    found: list[FieldError] = []
    if spec.get("allocateLoadBalancerNodePorts") is not None and spec["type"] != "LoadBalancer":
        found.append(forbidden("spec.allocateLoadBalancerNodePorts", ONLY_LOAD_BALANCER))
    return found + _class_errors(spec)


def _class_errors(spec: Body) -> list[FieldError]:
    chosen = spec.get("loadBalancerClass")
    if chosen is None:
        return []
    if spec["type"] != "LoadBalancer":
        return [forbidden("spec.loadBalancerClass", ONLY_LOAD_BALANCER)]
    return all_wrong("spec.loadBalancerClass", chosen, formats.label_key(chosen))


def _traffic_errors(spec: Body) -> list[FieldError]:
    found: list[FieldError] = []
    kind, policy = spec["type"], spec.get("externalTrafficPolicy", "")
    outside = kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))
    path = "spec.externalTrafficPolicy"
    if policy and not outside:
        found.append(wrong(path, policy, "may only be set for externally-accessible services"))
    elif policy and policy not in ("Cluster", "Local"):
        found.append(unsupported(path, policy, ("Cluster", "Local")))
    path, port = "spec.healthCheckNodePort", spec.get("healthCheckNodePort", 0)
    if kind == "LoadBalancer" and policy == "Local":
        found += all_wrong(path, port, formats.port(port)) if port else [required(path)]
    elif port:
        said = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        found.append(wrong(path, port, said))
    inside = spec.get("internalTrafficPolicy")
    if inside is not None and inside not in ("Cluster", "Local"):
        found.append(unsupported("spec.internalTrafficPolicy", inside, ("Cluster", "Local")))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in DISTRIBUTIONS:
        found.append(unsupported("spec.trafficDistribution", distribution, DISTRIBUTIONS))
    return found


def changes_errors(new: Body, old: Body) -> list[FieldError]:
    """What an update may not change."""
    now, then = new["spec"], old["spec"]
    found = _address_changes(now, then) + _family_changes(now, then)
    if now["type"] == then["type"] == "LoadBalancer" and now.get("loadBalancerClass") != then.get("loadBalancerClass"):
        chosen = now.get("loadBalancerClass")
        found.append(wrong("spec.loadBalancerClass", chosen, "may not change once set"))
    found += _class_errors(now)
    local = all(s["type"] == "LoadBalancer" and s.get("externalTrafficPolicy") == "Local" for s in (now, then))
    if local and now.get("healthCheckNodePort", 0) != then.get("healthCheckNodePort", 0):
        found.append(forbidden("spec.healthCheckNodePort", "field is immutable"))
    return found


def _address_changes(now: Body, then: Body) -> list[FieldError]:
    if "ExternalName" in (now["type"], then["type"]) or (is_headless(now) and is_headless(then)):
        return []
    given, known = now.get("clusterIPs") or [], then.get("clusterIPs") or []
    shown = now.get("clusterIPs")
    found: list[FieldError] = []
    if len(given) == len(known):
        for index, (one, other) in enumerate(zip(given, known, strict=True)):
            if one != other:
                found.append(wrong(f"spec.clusterIPs[{index}]", shown, "may not change once set"))
        return found
    if len(given) < len(known) and not given:
        found.append(wrong("spec.clusterIPs[0]", shown, "primary clusterIP can not be unset"))
    if given and known and given[0] != known[0]:
        found.append(wrong("spec.clusterIPs[0]", shown, "may not change once set"))
    if len(given) == 1 < len(known):
        found += _release_errors(now, "clusterIP")
    return found


def _family_changes(now: Body, then: Body) -> list[FieldError]:
    if "ExternalName" in (now["type"], then["type"]) or is_headless(now) or is_headless(then):
        return []
    given, known = now.get("ipFamilies") or [], then.get("ipFamilies") or []
    path, said = "spec.ipFamilies[0]", "may not change once set"
    if len(given) == len(known):
        return [wrong(path, given, said) for one, other in zip(given, known, strict=True) if one != other]
    found: list[FieldError] = []
    if len(given) < len(known) and not now.get("clusterIPs"):
        found.append(wrong(path, now.get("ipFamilies"), "primary ipFamily can not be unset"))
    if given and known and given[0] != known[0]:
        found.append(wrong(path, now.get("clusterIPs"), said))
    if len(given) == 1 < len(known):
        found += _release_errors(now, "ipFamily")
    return found


def _release_errors(spec: Body, what: str) -> list[FieldError]:
    policy = spec.get("ipFamilyPolicy")
    if policy == "SingleStack":
        return []
    said = f"must be set to 'SingleStack' when releasing the secondary {what}"
    return [wrong("spec.ipFamilyPolicy", policy, said)]


def status_errors(new: Body, old: Body) -> list[FieldError]:
    ingresses = new.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    path = "status.loadBalancer.ingress"
    if new["spec"]["type"] != "LoadBalancer" and ingresses:
        return [forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")]
    before = old.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    known = {each["ip"] for each in before if each.get("ip")}
    found: list[FieldError] = []
    for index, each in enumerate(ingresses):
        found += _ingress_errors(each, f"{path}[{index}]", known)
    return found


def _ingress_errors(ingress: Mapping[str, str], path: str, known: set[str]) -> list[FieldError]:
    address, mode, name = ingress.get("ip"), ingress.get("ipMode"), ingress.get("hostname")
    found = addresses.address_errors(f"{path}.ip", address, known) if address else []
    if mode is None and address:
        found.append(required(f"{path}.ipMode", "must be specified when `ip` is set"))
    elif mode is not None and not address:
        found.append(forbidden(f"{path}.ipMode", "may not be specified when `ip` is not set"))
    elif mode is not None and mode not in ("Proxy", "VIP"):
        found.append(unsupported(f"{path}.ipMode", mode, ("Proxy", "VIP")))
    if name:
        found += all_wrong(f"{path}.hostname", name, formats.dns_subdomain(name))
        if addresses.sloppy(name):
            found.append(wrong(f"{path}.hostname", name, "must be a DNS name, not an IP address"))
    return found

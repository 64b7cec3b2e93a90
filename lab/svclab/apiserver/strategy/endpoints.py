"""Endpoints and EndpointSlice: defaults, rules, tables.

Source: kubernetes pkg/apis/core/validation, pkg/apis/discovery, pkg/registry/discovery/endpointslice, v1.36.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from svclab.apiserver.strategy import addresses, formats, metadata, printed
from svclab.apiserver.strategy.errors import (
    FieldError,
    all_wrong,
    duplicate,
    required,
    too_many,
    unsupported,
    wrong,
)
from svclab.apiserver.strategy.kind import AGE, NAME, Column, Strategy
from svclab.apiserver.strategy.metadata import Body
from svclab.apiserver.strategy.service_rules import PROTOCOLS

FAMILIES = ("FQDN", "IPv4", "IPv6")
MOST_ENDPOINTS, MOST_ADDRESSES, MOST_PORTS, MOST_HINTS = 1000, 100, 20000, 8
SHOWN = 3
CONTROLLERS = ("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")


class Endpoints(Strategy):
    kind = "Endpoints"
    created_by_update = True
    table = (NAME, Column("Endpoints"), AGE)

    def set_defaults(self, kept: Body) -> None:
        for subset in kept.get("subsets", ()):
            for port in subset.get("ports", ()):
                port.setdefault("protocol", "TCP")

    def errors(self, obj: Body, old: Body | None) -> list[FieldError]:
        found: list[FieldError] = []
        for index, subset in enumerate(obj.get("subsets") or ()):
            found += _subset_errors(subset, f"subsets[{index}]")
        return [] if old is not None and old.get("subsets") == obj.get("subsets") else found

    def changes_errors(self, new: Body, old: Body) -> list[FieldError]:
        found = metadata.kind_update_errors(new, old) + metadata.errors_in_metadata(new, True, self.rule)
        return found + self.errors(new, old)

    def warnings(self, obj: Body, old: Body | None) -> list[str]:
        if _labels(obj).get("endpoints.kubernetes.io/managed-by") == "endpoint-controller":
            return []
        return [
            text
            for index, subset in enumerate(obj.get("subsets") or ())
            for part in ("addresses", "notReadyAddresses")
            for position, each in enumerate(subset.get(part) or ())
            for text in addresses.address_warnings(f"subsets[{index}].{part}[{position}].ip", each["ip"])
        ]

    def cells(self, obj: Body, now: float) -> list[Any]:
        shown: list[str] = []
        for subset in obj.get("subsets") or ():
            ready = [each["ip"] for each in subset.get("addresses") or ()]
            ports = subset.get("ports")
            shown += [_with_port(ip, port["port"]) for port in ports for ip in ready] if ports else ready
        text = ",".join(shown[:SHOWN])
        if len(shown) > SHOWN:
            text += f" + {len(shown) - SHOWN} more..."
        return [obj["metadata"]["name"], text if obj.get("subsets") else "<none>", printed.age(obj, now)]


class EndpointSlice(Strategy):
    kind = "EndpointSlice"
    group = "discovery.k8s.io"
    table = (NAME, *(Column(name) for name in ("AddressType", "Ports", "Endpoints", "Age")))

    def set_defaults(self, kept: Body) -> None:
        for port in kept["ports"] or ():
            port.setdefault("name", "")
            port.setdefault("protocol", "TCP")

    def prepared_for_create(self, obj: Body) -> Body:
        return _without_topology(obj)

    def prepared_for_update(self, new: Body, old: Body, subresource: str) -> Body:
        return new if new["endpoints"] == old["endpoints"] else _without_topology(new)

    def errors(self, obj: Body, old: Body | None) -> list[FieldError]:
        family = obj["addressType"]
        found = [] if family else [required("addressType")]
        if family and family not in FAMILIES:
            found.append(unsupported("addressType", family, FAMILIES))
        found += _slice_ports_errors(obj["ports"] or [])
        if old is not None and old["endpoints"] == obj["endpoints"]:
            return found
        return found + _slice_endpoints_errors(obj["endpoints"] or [], family)

    def changes_errors(self, new: Body, old: Body) -> list[FieldError]:
        found = metadata.errors_in_metadata(new, True, self.rule) + self.errors(new, old)
        if new["addressType"] != old["addressType"]:
            found.append(wrong("addressType", new["addressType"], "field is immutable"))
        return found

    def warnings(self, obj: Body, old: Body | None) -> list[str]:
        found = []
        if old is None and obj["addressType"] == "FQDN":
            found.append("spec.addressType: FQDN endpoints are deprecated")
        if _labels(obj).get("endpointslice.kubernetes.io/managed-by") in CONTROLLERS:
            return found
        for index, endpoint in enumerate(obj["endpoints"] or ()):
            for position, address in enumerate(endpoint["addresses"] or ()):
                found += addresses.address_warnings(f"endpoints[{index}].addresses[{position}]", address)
        return found

    def cells(self, obj: Body, now: float) -> list[Any]:
        ports = [
            str(each["port"]) if each.get("port") is not None else each.get("name", "*") for each in obj["ports"] or ()
        ]
        shown = [address for each in obj["endpoints"] or () for address in each["addresses"] or ()]
        return [obj["metadata"]["name"], obj["addressType"], _first(ports), _first(shown), printed.age(obj, now)]

    def spec_changed(self, new: Body, old: Body) -> bool:
        fields = ("addressType", "endpoints", "ports")
        return any(new.get(field) != old.get(field) for field in fields) or _labels(new) != _labels(old)


def _labels(obj: Body) -> Body:
    return obj["metadata"].get("labels") or {}


def _without_topology(obj: Body) -> Body:
    kept = [
        {key: value for key, value in each.items() if key != "deprecatedTopology"} for each in obj["endpoints"] or ()
    ]
    return {**obj, "endpoints": kept or None}


def _first(shown: Sequence[str]) -> str:
    text = ",".join(shown[:SHOWN])
    return f"{text} + {len(shown) - SHOWN} more..." if len(shown) > SHOWN else text or "<unset>"


def _with_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _subset_errors(subset: Body, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    parts = {part: subset.get(part) or [] for part in ("addresses", "notReadyAddresses")}
    if not any(parts.values()):
        found.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
    for part, given in parts.items():
        for index, address in enumerate(given):
            found += _subset_address_errors(address, f"{path}.{part}[{index}]")
    ports = subset.get("ports") or []
    for index, port in enumerate(ports):
        here, name = f"{path}.ports[{index}]", port.get("name", "")
        if name:
            found += all_wrong(f"{here}.name", name, formats.dns_label(name))
        elif len(ports) > 1:
            found.append(required(f"{here}.name"))
        found += all_wrong(f"{here}.port", port["port"], formats.port(port["port"]))
        found += _port_kind_errors(port, here)
    return found


def _subset_address_errors(address: Body, path: str) -> list[FieldError]:
    ip, name, node = address["ip"], address.get("hostname", ""), address.get("nodeName")
    found = addresses.address_errors(f"{path}.ip", ip)
    if name:
        found += all_wrong(f"{path}.hostname", name, formats.dns_label(name))
    if node is not None:
        found += all_wrong(f"{path}.nodeName", node, formats.dns_subdomain(node))
    return found + addresses.endpoint_errors(f"{path}.ip", ip)


def _port_kind_errors(port: Body, path: str) -> list[FieldError]:
    protocol, application = port.get("protocol", ""), port.get("appProtocol")
    found = [] if protocol in PROTOCOLS else [unsupported(f"{path}.protocol", protocol, PROTOCOLS)]
    if application is not None:
        found += all_wrong(f"{path}.appProtocol", application, formats.label_key(application))
    return found


def _slice_ports_errors(ports: list[Body]) -> list[FieldError]:
    if len(ports) > MOST_PORTS:
        return [too_many("ports", len(ports), MOST_PORTS)]
    found: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        here, name = f"ports[{index}]", port["name"]
        if name:
            found += all_wrong(f"{here}.name", name, formats.dns_label(name))
        if name in names:
            found.append(duplicate(f"{here}.name", name))
        names.add(name)
        found += _port_kind_errors(port, here)
    return found


def _slice_endpoints_errors(endpoints: list[Body], family: str) -> list[FieldError]:
    if len(endpoints) > MOST_ENDPOINTS:
        return [too_many("endpoints", len(endpoints), MOST_ENDPOINTS)]
    found: list[FieldError] = []
    for index, endpoint in enumerate(endpoints):
        here, given = f"endpoints[{index}]", endpoint["addresses"] or []
        if not given:
            found.append(required(f"{here}.addresses", "must contain at least 1 address"))
        elif len(given) > MOST_ADDRESSES:
            found.append(too_many(f"{here}.addresses", len(given), MOST_ADDRESSES))
        for position, address in enumerate(given):
            found += _slice_address_errors(address, family, f"{here}.addresses", position)
        if (node := endpoint.get("nodeName")) is not None:
            found += all_wrong(f"{here}.nodeName", node, formats.dns_subdomain(node))
        if (name := endpoint.get("hostname")) is not None:
            found += all_wrong(f"{here}.hostname", name, formats.dns_label(name))
        found += _hints_errors(endpoint.get("hints") or {}, f"{here}.hints")
    return found


def _slice_address_errors(address: str, family: str, path: str, position: int) -> list[FieldError]:
    here = f"{path}[{position}]"
    if family == "FQDN":
        return _domain_errors(address, here)
    if family not in FAMILIES:
        return []
    check = addresses.address_errors if family == "IPv4" else addresses.strict_address_errors
    if found := check(here, address):
        return found
    if addresses.is_ipv6(address) != (family == "IPv6"):
        found = [wrong(path, address, f"must be an {family} address")]
    return found + addresses.endpoint_errors(here, address)


def _domain_errors(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    plain = name.removesuffix(".")
    if messages := formats.dns_subdomain(plain):
        return [wrong(path, plain, ",".join(messages))]
    labels = plain.split(".")
    if len(labels) < 2:
        return [wrong(path, plain, "should be a domain with at least two segments separated by dots")]
    for label in labels:
        if messages := formats.dns_label(label):
            return [wrong(path, label, ",".join(messages))]
    return []


def _hints_errors(hints: Body, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for part, rule in (("forZones", formats.label_value), ("forNodes", formats.dns_subdomain)):
        given = hints.get(part) or []
        if len(given) > MOST_HINTS:
            return [*found, too_many(f"{path}.{part}", len(given), MOST_HINTS)]
        names: set[str] = set()
        for index, each in enumerate(given):
            at, name = f"{path}.{part}[{index}].name", each["name"]
            if name in names:
                found.append(duplicate(at, name))
            names.add(name)
            found += all_wrong(at, name, rule(name))
    return found

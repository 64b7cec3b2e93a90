"""NetworkPolicy: defaults and rules. It is stored and shown; nothing in the lab enforces it.

Source: kubernetes pkg/apis/networking, v1.36.3.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

from svclab.apiserver.strategy import addresses, formats, metadata, printed
from svclab.apiserver.strategy.errors import FieldError, all_wrong, forbidden, required, unsupported, wrong
from svclab.apiserver.strategy.kind import AGE, NAME, Column, Strategy
from svclab.apiserver.strategy.metadata import Body

PROTOCOLS = ("TCP", "UDP", "SCTP")
DIRECTIONS = (("ingress", "from"), ("egress", "to"))
KINDS = ("Ingress", "Egress")


class NetworkPolicy(Strategy):
    kind = "NetworkPolicy"
    group = "networking.k8s.io"
    table = (NAME, Column("Pod-Selector"), AGE)

    def set_defaults(self, kept: Body) -> None:
        spec = kept["spec"]
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
        for direction, _ in DIRECTIONS:
            for rule in spec.get(direction, ()):
                for port in rule.get("ports", ()):
                    port.setdefault("protocol", "TCP")

    def errors(self, obj: Body, old: Body | None) -> list[FieldError]:
        spec = obj["spec"]
        known = {cidr for block, _ in _blocks(old) for cidr in (block.get("cidr", ""), *(block.get("except") or ()))}
        found = metadata.selector_errors(spec.get("podSelector"), "spec.podSelector")
        for direction, peers in DIRECTIONS:
            for index, rule in enumerate(spec.get(direction) or ()):
                here = f"spec.{direction}[{index}]"
                for position, port in enumerate(rule.get("ports") or ()):
                    found += _port_errors(port, f"{here}.ports[{position}]")
                for position, peer in enumerate(rule.get(peers) or ()):
                    found += _peer_errors(peer, f"{here}.{peers}[{position}]", known)
        kinds = spec.get("policyTypes") or []
        if len(kinds) > len(KINDS):
            return [*found, wrong("spec.policyTypes", kinds, "may not specify more than two policyTypes")]
        for index, kind in enumerate(kinds):
            if kind not in KINDS:
                found.append(unsupported(f"spec.policyTypes[{index}]", kind, KINDS))
        return found

    def warnings(self, obj: Body, old: Body | None) -> list[str]:
        found: list[str] = []
        for block, path in _blocks(obj):
            found += addresses.cidr_warnings(f"{path}.cidr", block.get("cidr", ""))
            for index, cidr in enumerate(block.get("except") or ()):
                found += addresses.cidr_warnings(f"{path}.except[{index}]", cidr)
        return found

    def cells(self, obj: Body, now: float) -> list[Any]:
        chosen = printed.selector(obj["spec"].get("podSelector") or {})
        return [obj["metadata"]["name"], chosen, printed.age(obj, now)]

    def spec_changed(self, new: Body, old: Body) -> bool:
        return bool(new["spec"] != old["spec"])


def _blocks(policy: Body | None) -> Iterator[tuple[Body, str]]:
    for direction, peers in DIRECTIONS:
        for index, rule in enumerate(policy["spec"].get(direction) or () if policy else ()):
            for position, peer in enumerate(rule.get(peers) or ()):
                if peer.get("ipBlock") is not None:
                    yield peer["ipBlock"], f"spec.{direction}[{index}].{peers}[{position}].ipBlock"


def _port_errors(port: Body, path: str) -> list[FieldError]:
    protocol, number, last = port.get("protocol"), port.get("port"), port.get("endPort")
    found = [] if protocol in PROTOCOLS else [unsupported(f"{path}.protocol", protocol, PROTOCOLS)]
    if number is None:
        if last is not None:
            said = "may not be specified when `port` is not specified"
            found.append(wrong(f"{path}.endPort", last, said))
    elif isinstance(number, int):
        found += all_wrong(f"{path}.port", number, formats.port(number))
        if last is not None:
            if last < number:
                found.append(wrong(f"{path}.endPort", number, "must be greater than or equal to `port`"))
            found += all_wrong(f"{path}.endPort", last, formats.port(last))
    else:
        if last is not None:
            said = "may not be specified when `port` is non-numeric"
            found.append(wrong(f"{path}.endPort", last, said))
        found += all_wrong(f"{path}.port", number, formats.port_name(number))
    return found


def _peer_errors(peer: Body, path: str, known: Container[str]) -> list[FieldError]:
    given = [field for field in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(field) is not None]
    found: list[FieldError] = []
    for field in given:
        if field == "ipBlock":
            found += _block_errors(peer[field], f"{path}.ipBlock", known)
        else:
            found += metadata.selector_errors(peer[field], f"{path}.{field}")
    if not given:
        found.append(required(path, "must specify a peer"))
    elif len(given) > 1 and "ipBlock" in given:
        found.append(forbidden(path, "may not specify both ipBlock and another peer"))
    return found


def _block_errors(block: Body, path: str, known: Container[str]) -> list[FieldError]:
    cidr = block.get("cidr", "")
    if not cidr:
        return [required(f"{path}.cidr")]
    found = addresses.cidr_errors(f"{path}.cidr", cidr, known)
    outer = addresses.network(cidr)
    for index, each in enumerate(block.get("except") or () if outer else ()):
        here = f"{path}.except[{index}]"
        found += addresses.cidr_errors(here, each, known)
        inner = addresses.network(each)
        if outer and inner and not _is_strictly_inside(inner, outer):
            found.append(wrong(here, each, "must be a strict subset of `cidr`"))
    return found


def _is_strictly_inside(inner: addresses.Network, outer: addresses.Network) -> bool:
    inside = inner.version == outer.version and inner.network_address in outer
    return inside and inner.prefixlen > outer.prefixlen

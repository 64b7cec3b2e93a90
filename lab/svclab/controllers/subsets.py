"""Subsets of Endpoints in the one form that can be compared: every address once, every port once, sorted (p).

In: subsets as somebody wrote them, or one per pod and port. Out: the canonical list (pkg/api/v1/endpoints
`RepackSubsets`) and its cut to what one object may hold. An address that is ready in one subset and not in another,
on the same port, is not ready.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Any

from svclab.controllers import fingerprint

Body = dict[str, Any]

CAPACITY = 1000  # addresses in one Endpoints object (KEP-752)

_Address = tuple[str, str]  # ip and uid of the target: pods may share an address
_Port = tuple[str, int, str, str | None]
_NO_PORT: _Port = ("", -1, "", None)


def repacked(subsets: Iterable[Body]) -> list[Body]:
    """The canonical subsets; new lists, whose addresses are the given ones."""
    addresses: dict[_Address, Body] = {}
    offered: dict[_Port, dict[_Address, bool]] = {}
    for subset in subsets:
        ports = [_port_key(port) for port in subset.get("ports") or ()] or [_NO_PORT]
        for port in ports:
            by_address = offered.setdefault(port, {})
            for field, ready in (("addresses", True), ("notReadyAddresses", False)):
                for address in subset.get(field) or ():
                    key = _address_key(address)
                    addresses.setdefault(key, address)
                    by_address[key] = by_address.get(key, True) and ready
    groups: dict[tuple[tuple[_Address, bool], ...], list[_Port]] = {}
    for port, by_address in offered.items():
        if by_address:
            groups.setdefault(tuple(sorted(by_address.items())), []).append(port)
    final = [_subset(members, ports, addresses) for members, ports in groups.items()]
    return sorted(final, key=fingerprint.of_subset) if len(final) > 1 else final


def size(subsets: Iterable[Body]) -> int:
    """How many addresses, of both sorts."""
    return sum(len(one.get("addresses") or ()) + len(one.get("notReadyAddresses") or ()) for one in subsets)


def truncated(subsets: list[Body]) -> list[Body]:
    """At most CAPACITY addresses, ready ones first, taken from each subset in proportion."""
    ready = sum(len(one.get("addresses") or ()) for one in subsets)
    unready = size(subsets) - ready
    if ready + unready <= CAPACITY:
        return subsets
    field, total, room = ("addresses", ready, CAPACITY)
    if ready <= CAPACITY:
        field, total, room = ("notReadyAddresses", unready, CAPACITY - ready)
    left, kept = room, []
    for subset in subsets:
        present = subset.get(field) or []
        share = min(ceil(len(present) / total * room), left)
        cut = {**subset, field: present[:share]}
        if field == "addresses":
            cut.pop("notReadyAddresses", None)
        left -= len(cut[field])
        kept.append({name: value for name, value in cut.items() if value})
    return kept


def same(one: Iterable[Body], other: Iterable[Body]) -> bool:
    """Equal, leaving out fields that say nothing and the resourceVersion of a target."""
    return [_plain(subset) for subset in one] == [_plain(subset) for subset in other]


def _subset(members: Iterable[tuple[_Address, bool]], ports: list[_Port], addresses: dict[_Address, Body]) -> Body:
    members = sorted(members)
    made: Body = {
        "addresses": [addresses[key] for key, ready in members if ready],
        "notReadyAddresses": [addresses[key] for key, ready in members if not ready],
        "ports": sorted((_port(key) for key in ports if key != _NO_PORT), key=fingerprint.of_subset_port),
    }
    return {name: value for name, value in made.items() if value}


def _address_key(address: Body) -> _Address:
    return address["ip"], (address.get("targetRef") or {}).get("uid", "")


def _port_key(port: Body) -> _Port:
    return port.get("name") or "", port["port"], port.get("protocol") or "TCP", port.get("appProtocol")


def _port(key: _Port) -> Body:
    name, number, protocol, application = key
    made = {"name": name, "port": number, "protocol": protocol, "appProtocol": application}
    return {field: value for field, value in made.items() if value not in (None, "")}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _plain(one)
            for name, one in value.items()
            if one not in (None, "", [], {}) and name != "resourceVersion"
        }
    return [_plain(one) for one in value] if isinstance(value, list) else value

"""Cluster addresses and node ports for Services: which one a new Service gets, which an update keeps.

In: the Service a client wants, with its defaults; the one that is stored, if any; what is in use; the ranges; `dice`.
Out: the Service with its allocated values, or errors. Nothing is released here: in use is what Services have.
As the API server does it: the upper part of a range is for those that ask for nothing, the lower for those that name
an address; a dry run gets the network's address and port 32769. One IP family. Source: kubernetes
pkg/registry/core/service, v1.36.3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Any, TypeAlias

import msgspec

from svclab.apiserver.strategy import addresses
from svclab.apiserver.strategy.errors import FieldError, quoted, wrong
from svclab.apiserver.strategy.metadata import Body
from svclab.apiserver.strategy.normal_form import copied
from svclab.apiserver.strategy.service import needs_health_check, node_ports
from svclab.apiserver.strategy.service_rules import cluster_ips_errors

Dice: TypeAlias = Callable[[int], int]
"""A number from 0 up to, and without, its argument."""

FIRST_DRY_PORT = 32769
WITH_NODE_PORTS = ("NodePort", "LoadBalancer")


class AllocationError(Exception):
    """The range is full, or the health check's port is taken: the API server answers 500 with this message."""


class Ranges(msgspec.Struct, frozen=True):
    """Where cluster addresses and node ports come from; `node_ports` with both ends."""

    service_cidr: IPv4Network | IPv6Network
    node_ports: tuple[int, int] = (30000, 32767)

    @property
    def family(self) -> str:
        return f"IPv{self.service_cidr.version}"


class InUse(msgspec.Struct, frozen=True):
    """What Services have: canonical addresses, and ports of every protocol and use."""

    addresses: Container[str] = frozenset()
    ports: Container[int] = frozenset()


class Holdings:
    """What all Services have, kept up to date: a creation must not walk all of them."""

    def __init__(self, services: Iterable[Body]) -> None:
        self._addresses: Counter[str] = Counter()
        self._ports: Counter[int] = Counter()
        for service in services:
            self.changed(None, service)

    def changed(self, old: Body | None, new: Body | None) -> None:
        """A Service was there, is there now, or both."""
        for service, many in ((old, -1), (new, 1)):
            held_addresses, held_ports = _held(service)
            _count(self._addresses, held_addresses, many)
            _count(self._ports, held_ports, many)

    def of_others(self, service: Body | None) -> InUse:
        """What the others have; `service` as it is stored, None for one that is new."""
        held_addresses, held_ports = _held(service)
        return InUse(_Others(self._addresses, held_addresses), _Others(self._ports, held_ports))


class _Others(msgspec.Struct, frozen=True):
    """What is counted more often than it is `mine`."""

    counted: Counter[Any]
    mine: set[Any]

    def __contains__(self, one: object) -> bool:
        return self.counted[one] > (one in self.mine)


def _count(counted: Counter[Any], held: set[Any], many: int) -> None:
    for one in held:
        counted[one] += many
        if not counted[one]:
            del counted[one]


def _held(service: Body | None) -> tuple[set[str], set[int]]:
    """Addresses and ports of one Service."""
    spec: Body = service["spec"] if service else {}
    held: set[str] = set()
    if spec.get("type") != "ExternalName":
        held = {str(address) for each in spec.get("clusterIPs") or () if (address := addresses.sloppy(each))}
    ports = node_ports(spec)
    if needs_health_check(spec) and spec.get("healthCheckNodePort"):
        ports.add(spec["healthCheckNodePort"])
    return held, ports


def allocated(
    service: Body, old: Body | None, used: InUse, ranges: Ranges, dice: Dice, dry_run: bool = False
) -> Body | list[FieldError]:
    """Raises AllocationError where the API server's answer is 500."""
    new = copied(service)
    spec, before = new["spec"], copied(old["spec"]) if old else None
    if before is not None:
        _keep_what_was_not_said(spec, before)
    _match_singular_and_plural(spec, before)
    free = _Addresses(used.addresses, ranges.service_cidr, dice, dry_run)
    ports = _Ports(used.ports, ranges.node_ports, dice, dry_run)
    errors = (
        _families_settled(spec, before, ranges)
        or _address_settled(new["metadata"].get("name", ""), spec, before, free)
        or (_ports_updated(spec, before, ports) if before is not None else _ports_created(spec, ports))
    )
    if errors:
        return errors
    if needs_health_check(spec) and not (before is not None and needs_health_check(before)):
        _settle_health_check(spec, ports)
    return new


def _keep_what_was_not_said(spec: Body, before: Body) -> None:
    """A client may send what it sent first, without what it got."""
    if "ExternalName" not in (spec["type"], before["type"]):
        for field in ("clusterIP", "clusterIPs"):
            if not spec.get(field) and before.get(field):
                spec[field] = before[field]
    if _allocates_ports(before) and _allocates_ports(spec):
        kept = node_ports(before) & node_ports(spec)
        known = {port.get("name", ""): port.get("nodePort", 0) for port in before.get("ports") or ()}
        for port in spec.get("ports") or ():
            number = known.get(port.get("name", ""), 0)
            if not port.get("nodePort") and number and number not in kept:
                port["nodePort"] = number
    if needs_health_check(before) and needs_health_check(spec) and before.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = spec.get("healthCheckNodePort") or before["healthCheckNodePort"]


def _match_singular_and_plural(spec: Body, before: Body | None) -> None:
    one, many = spec.get("clusterIP", ""), spec.get("clusterIPs") or []
    if before is None:
        if one and not many:
            spec["clusterIPs"] = [one]
        return
    old_one, old_many = before.get("clusterIP", ""), before.get("clusterIPs") or []
    if old_many and not many and old_one == one:
        spec["clusterIPs"] = many = old_many
    if old_one != one and many == old_many:
        if one:
            spec["clusterIPs"] = [one]
        else:
            spec.pop("clusterIPs", None)


def _families_settled(spec: Body, before: Body | None, ranges: Ranges) -> list[FieldError]:
    """ipFamilyPolicy and ipFamilies, for a cluster of one family."""
    if spec["type"] == "ExternalName" or _is_same_prefer_dual(spec, before):
        return []
    bare = spec.get("clusterIP") == "None" and not spec.get("selector")
    if spec.get("ipFamilyPolicy") is None:
        adopted = (before or {}).get("ipFamilyPolicy")
        spec["ipFamilyPolicy"] = adopted or ("RequireDualStack" if bare else "SingleStack")
    if errors := cluster_ips_errors(spec, before):
        return errors
    errors = _policy_errors(spec, before)
    for index, address in enumerate(spec.get("clusterIPs") or ()):
        families = spec.get("ipFamilies") or []
        if address == "None":
            break
        if index >= len(families):
            family = "IPv6" if addresses.is_ipv6(address) else "IPv4"
            if family != ranges.family:
                said = f"{family} is not configured on this cluster"
                errors.append(wrong(f"spec.clusterIPs[{index}]", spec["clusterIPs"], said))
            else:
                spec["ipFamilies"] = [*families, family]
    if errors:
        return errors
    families = spec.get("ipFamilies") or []
    policy = spec["ipFamilyPolicy"]
    if bare:
        families = families or [ranges.family]
        if len(families) < 2 and policy != "SingleStack":
            families = [families[0], "IPv6" if families[0] == "IPv4" else "IPv4"]
        spec["ipFamilies"] = families
        return []
    if policy == "RequireDualStack":
        said = "this cluster is not configured for dual-stack services"
        errors.append(wrong("spec.ipFamilyPolicy", policy, said))
    errors += [
        wrong(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
        for index, family in enumerate(families)
        if family != ranges.family
    ]
    if not errors:
        spec["ipFamilies"] = families or [ranges.family]
    return errors


def _is_same_prefer_dual(spec: Body, before: Body | None) -> bool:
    return (
        before is not None
        and spec.get("ipFamilyPolicy") == "PreferDualStack"
        and before.get("ipFamilyPolicy") in (None, "PreferDualStack")
        and spec["type"] == before["type"]
        and all((spec.get(field) or []) == (before.get(field) or []) for field in ("clusterIPs", "ipFamilies"))
    )


def _policy_errors(spec: Body, before: Body | None) -> list[FieldError]:
    policy, path = spec["ipFamilyPolicy"], "spec.ipFamilyPolicy"
    fields = {"clusterIPs": ("cluster IP", "cluster IPs"), "ipFamilies": ("IP family", "IP families")}
    errors: list[FieldError] = []
    for field, (one, _) in fields.items() if before is not None else ():
        given, known = spec.get(field) or [], (before or {}).get(field) or []
        if policy == "SingleStack" and given == known:
            spec[field] = given[:1]
            if not given:
                spec.pop(field)
        elif policy != "SingleStack" and 0 < len(given) < len(known):
            errors.append(wrong(path, policy, f"must be 'SingleStack' to release the secondary {one}"))
    for field, (_, many) in fields.items():
        if policy == "SingleStack" and len(spec.get(field) or ()) == 2:
            said = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {many} are specified"
            errors.append(wrong(path, policy, said))
    return errors


def _address_settled(name: str, spec: Body, before: Body | None, free: _Addresses) -> list[FieldError]:
    from_nothing = before is None or before["type"] == "ExternalName"
    asked = (spec.get("clusterIPs") or [""])[0]
    if spec["type"] == "ExternalName" or not from_nothing or asked == "None":
        return []
    if asked and (said := free.refusal(asked)):
        return [wrong("spec.clusterIPs", spec["clusterIPs"], f"failed to allocate IP {asked}: {said}")]
    chosen = asked or free.next(name)
    spec["clusterIP"], spec["clusterIPs"] = chosen, [chosen]
    return []


class _Addresses:
    """The addresses one request may have. The first and, of IPv4, the last of the network are nobody's."""

    def __init__(self, used: Container[str], cidr: IPv4Network | IPv6Network, dice: Dice, dry_run: bool) -> None:
        self._used, self._cidr, self._dice, self._dry_run = used, cidr, dice, dry_run
        self._first, self._last = int(cidr.network_address) + 1, int(cidr.broadcast_address)
        if cidr.version == 4:
            self._last -= 1

    def refusal(self, asked: str) -> str:
        """Why this address cannot be had; "" if it can."""
        address = addresses.sloppy(asked)
        if address is not None and address in self._cidr and self._first <= int(address) <= self._last:
            taken = not self._dry_run and str(address) in self._used
            return "provided IP is already allocated" if taken else ""
        if not self._dry_run:
            return "the provided network does not match the current range"
        return f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {self._cidr}"

    def next(self, name: str) -> str:
        """A free address for the Service of this name. AllocationError if there is none."""
        if self._dry_run:
            return str(self._cidr.network_address)
        border = self._first + _reserved(self._cidr.num_addresses, 16, 256, 16)
        found = _free(range(border, self._last + 1), self._taken, self._dice)
        if found is None:
            found = _free(range(self._first, border), self._taken, self._dice)
        if found is None:
            raise AllocationError(f"failed to allocate a serviceIP for Service {quoted(name)}: range is full")
        return self._shown(found)

    def _taken(self, number: int) -> bool:
        return self._shown(number) in self._used

    def _shown(self, number: int) -> str:
        return str(type(self._cidr.network_address)(number))


def _reserved(size: int, smallest: int, largest: int, step: int) -> int:
    """How much of a range is kept for those that name what they want."""
    return 0 if size <= smallest else min(max(smallest, size // step), largest)


def _free(numbers: range, taken: Callable[[int], bool], dice: Dice) -> int | None:
    """From a random place on, around the end, the first that is free."""
    if not numbers:
        return None
    start = dice(len(numbers))
    return next((n for part in (numbers[start:], numbers[:start]) for n in part if not taken(n)), None)


class _Ports:
    """The ports that one request takes. Lives as long as the request."""

    def __init__(self, used: Container[int], ends: tuple[int, int], dice: Dice, dry_run: bool) -> None:
        self._used, self._ends, self._dice, self._dry_run = used, ends, dice, dry_run
        self._mine: set[int] = set()

    def refusal(self, port: int) -> str:
        """Takes the port; why not, if it cannot be had."""
        low, high = self._ends
        if not self._dry_run and not low <= port <= high:
            return f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
        if port in self._used or port in self._mine:
            return "provided port is already allocated"
        self._mine.add(port)
        return ""

    def next(self) -> int:
        """Takes a free port. AllocationError if there is none."""
        if self._dry_run:
            port: int | None = max(self._mine, default=FIRST_DRY_PORT - 1) + 1
        else:
            low, high = self._ends
            border = low + _reserved(high - low + 1, 16, 128, 32)
            port = _free(range(border, high + 1), self._taken, self._dice)
            if port is None:
                port = _free(range(low, border), self._taken, self._dice)
        if port is None:
            raise AllocationError("range is full")
        self._mine.add(port)
        return port

    def _taken(self, port: int) -> bool:
        return port in self._used or port in self._mine


def _allocates_ports(spec: Body) -> bool:
    balanced = spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts", True)
    return spec["type"] == "NodePort" or bool(balanced)


def _next_node_port(ports: _Ports) -> int:
    try:
        return ports.next()
    except AllocationError as full:
        raise AllocationError(f"failed to allocate a nodePort: {full}") from full


def _ports_created(spec: Body, ports: _Ports) -> list[FieldError]:
    """One node port for each port number: two protocols on one port share it."""
    if spec["type"] not in WITH_NODE_PORTS:
        return []
    chosen: dict[int, int] = {}
    wanted = spec.get("ports") or []
    for index, port in enumerate(wanted):
        number, asked = port["port"], port.get("nodePort", 0)
        path = f"spec.ports[{index}].nodePort"
        if not asked and not _allocates_ports(spec):
            continue
        if number not in chosen:
            named = next((p["nodePort"] for p in wanted if p["port"] == number and p.get("nodePort")), 0)
            if named and (said := ports.refusal(named)):
                return [wrong(path, named, said)]
            chosen[number] = port["nodePort"] = named or _next_node_port(ports)
        elif not asked:
            port["nodePort"] = chosen[number]
        elif asked != chosen[number] and (said := ports.refusal(asked)):
            return [wrong(path, asked, said)]
    return []


def _ports_updated(spec: Body, before: Body | None, ports: _Ports) -> list[FieldError]:
    if spec["type"] not in WITH_NODE_PORTS:
        return []
    known, mine = node_ports(before or {}), set()
    seen: set[tuple[str, int]] = set()
    for index, port in enumerate(spec.get("ports") or ()):
        asked = port.get("nodePort", 0)
        if not asked and not _allocates_ports(spec):
            continue
        if asked and asked not in known and asked not in mine:
            if said := ports.refusal(asked):
                return [wrong(f"spec.ports[{index}].nodePort", asked, said)]
            mine.add(asked)
        elif not asked:
            port["nodePort"] = _next_node_port(ports)
        key = (port["protocol"], port["nodePort"])
        if key in seen:
            raise AllocationError(f"duplicate nodePort: {{{key[0]} {key[1]}}}")
        seen.add(key)
    return []


def _settle_health_check(spec: Body, ports: _Ports) -> None:
    asked = spec.get("healthCheckNodePort", 0)
    if not asked:
        try:
            spec["healthCheckNodePort"] = ports.next()
        except AllocationError as full:
            raise AllocationError(f"failed to allocate a HealthCheck NodePort 0: {full}") from full
    elif said := ports.refusal(asked):
        raise AllocationError(f"failed to allocate requested HealthCheck NodePort {asked}: {said}")

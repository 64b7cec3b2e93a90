"""Addresses of Services of type LoadBalancer, out of a pool (p).

In: services, and the pool: `A-B` or a CIDR, whose network and broadcast addresses are not given out. Out:
`status.loadBalancer.ingress`, and Events where a Service stays `<pending>`. The status is the only book there is: an
address is taken while a Service shows it, so it survives our restarts and comes free when the Service goes or changes
its type. `spec.loadBalancerIP` is honoured or refused, never replaced by another address. A Service with a
`loadBalancerClass` is another controller's, and so is an address outside the pool. Nobody shares an address: of two
Services that show the same one, the older keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import msgspec

from svclab.controllers import backends
from svclab.controllers.reduce import Body, Outcome, Patch, Record, Seen, World, Write, key_of
from svclab.errors import LabError

COMPONENT = "service-controller"
ALL = "pool"

_Address = IPv4Address | IPv6Address


class Pool(msgspec.Struct, frozen=True):
    """All addresses from first to last, of one family."""

    first: _Address
    last: _Address

    def __contains__(self, address: _Address) -> bool:
        return address.version == self.first.version and int(self.first) <= int(address) <= int(self.last)

    def __iter__(self) -> Iterator[_Address]:
        kind = type(self.first)
        return (kind(number) for number in range(int(self.first), int(self.last) + 1))

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @property
    def family(self) -> str:
        return f"IPv{self.first.version}"


def pool_of(text: str) -> Pool | None:
    """Reads the flag; "" is no pool. Raises LabError."""
    text = text.strip()
    if not text:
        return None
    try:
        if "/" in text:
            network = ip_network(text)
            inner = network.num_addresses > 2
            return Pool(network[1 if inner else 0], network[-2 if inner else -1])
        first, last = (ip_address(part.strip()) for part in text.partition("-")[::2])
        if first.version != last.version or int(first) > int(last):
            raise ValueError("the first address comes after the last")
        return Pool(first, last)
    except ValueError as error:
        raise LabError(f"--lb-pool {text}: {error}; give 192.168.56.200-192.168.56.250 or 192.168.57.0/24") from error


class Claim(msgspec.Struct, frozen=True):
    """What a Service gets: an address, or the reason why none."""

    address: str = ""
    refusal: str = ""


class LoadBalancerController:
    name = "service-lb-controller"
    watches = ("services",)

    def __init__(self, pool: str = "") -> None:
        """`pool` is the text of the flag; "" for none. Raises LabError."""
        self._pool = pool_of(pool)

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        """One key for all Services: who gets what depends on all of them, and no two may get the same."""
        had, has = (
            None if one is None or not (_is_ours(one) or _shown(one)) else _facts(one) for one in (seen.old, seen.new)
        )
        return (ALL,) if had != has else ()

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        claims = self._claims(world)
        services = sorted(world.all("services").items())
        return Outcome(tuple(write for key, one in services for write in self._writes(one, claims.get(key, Claim()))))

    def _writes(self, service: Body, claim: Claim) -> list[Write]:
        shown = _shown(service)
        if not _is_ours(service):
            is_another_type = (service.get("spec") or {}).get("type") != "LoadBalancer"
            if is_another_type and any(self._has(address) for address in shown):
                return [_status(service, []), _told(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")]
            return []
        if shown and not any(self._has(address) for address in shown):
            return []  # somebody else's, or of a pool we had before: it may be in use
        wanted = [claim.address] if claim.address else []
        writes: list[Write] = [] if shown == wanted else [_status(service, wanted)]
        if claim.refusal:
            message = f"Error syncing load balancer: failed to ensure load balancer: {claim.refusal}"
            writes.append(_told(service, "Warning", "SyncLoadBalancerFailed", message))
        elif writes:
            writes.append(
                _told(service, "Normal", "EnsuredLoadBalancer", f"Ensured load balancer with address {wanted[0]}")
            )
        return writes

    def _has(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and self._pool is not None and parsed in self._pool

    def _claims(self, world: World) -> dict[str, Claim]:
        """Of all Services at once, so that no two get the same: who has one, who wants a certain one, then the rest."""
        services = [one for one in world.all("services").values() if _is_ours(one) or _shown(one)]
        services.sort(key=lambda one: (one["metadata"].get("creationTimestamp") or "", key_of(one)))
        taken: dict[str, str] = {}
        claims: dict[str, Claim] = {}
        for one in services:
            shown = [address for address in _shown(one) if address not in taken]
            if not _is_ours(one):
                taken.update(dict.fromkeys(shown, key_of(one)))
            elif shown and _requested(one) in ("", shown[0]):
                taken[shown[0]] = key_of(one)
                claims[key_of(one)] = Claim(shown[0])
        pending = [one for one in services if _is_ours(one) and key_of(one) not in claims]
        for one in sorted(pending, key=lambda one: not _requested(one)):
            claim = claims[key_of(one)] = self._claim(one, taken)
            if claim.address:
                taken[claim.address] = key_of(one)
        return claims

    def _claim(self, service: Body, taken: dict[str, str]) -> Claim:
        if self._pool is None:
            return Claim(refusal="there is no pool of addresses; give the controllers one with --lb-pool")
        families = (service.get("spec") or {}).get("ipFamilies") or [self._pool.family]
        requested = _requested(service)
        if self._pool.family not in families:
            return Claim(refusal=f"the pool {self._pool} has no {families[0]} addresses")
        if requested:
            if not self._has(requested):
                return Claim(refusal=f"spec.loadBalancerIP {requested} is not in the pool {self._pool}")
            if requested in taken:
                return Claim(refusal=f"spec.loadBalancerIP {requested} is taken by Service {taken[requested]}")
            return Claim(requested)
        free = next((str(address) for address in self._pool if str(address) not in taken), "")
        return Claim(free) if free else Claim(refusal=f"all addresses of the pool {self._pool} are taken")


def _is_ours(service: Body) -> bool:
    spec = service.get("spec") or {}
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass")


def _shown(service: Body) -> list[str]:
    """The addresses in its status."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [one["ip"] for one in ingress if one.get("ip")]


def _requested(service: Body) -> str:
    requested = (service.get("spec") or {}).get("loadBalancerIP") or ""
    return backends.address_and_family(requested)[0] or requested


def _facts(service: Body) -> tuple[object, ...]:
    """All that decides about its address."""
    meta, spec = service["metadata"], service.get("spec") or {}
    families = tuple(spec.get("ipFamilies") or ())
    return (
        meta.get("uid"),
        spec.get("type"),
        spec.get("loadBalancerClass"),
        _requested(service),
        families,
        _shown(service),
    )


def _parsed(address: str) -> _Address | None:
    try:
        return ip_address(address)
    except ValueError:
        return None


def _status(service: Body, addresses: list[str]) -> Patch:
    ingress = [{"ip": address, "ipMode": "VIP"} for address in addresses]
    patch = {"status": {"loadBalancer": {"ingress": ingress or None}}}
    return Patch("services", key_of(service), patch, "status", service["metadata"]["uid"])


def _told(service: Body, kind: str, reason: str, message: str) -> Record:
    return Record({**service, "apiVersion": "v1", "kind": "Service"}, kind, reason, message, COMPONENT)

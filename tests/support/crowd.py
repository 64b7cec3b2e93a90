"""Many Services with a few endpoints each, by number: what large clusters are tested and measured with."""

from __future__ import annotations

from support.worlds import endpoint, service, slice_of
from svckube.objects import EndpointSlice, Service


def name_of(number: int) -> str:
    return f"svc-{number:05}"


def cluster_ip(number: int) -> str:
    return f"10.{96 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"


def crowd_service(number: int, **spec: object) -> Service:
    address = cluster_ip(number)
    return service(name_of(number), clusterIP=address, clusterIPs=[address], ipFamilies=["IPv4"], **spec)


def crowd_slice(number: int, count: int = 5, shift: int = 0, version: str = "1") -> EndpointSlice:
    """`shift` moves the first endpoint elsewhere."""
    block, last = divmod(number, 250)
    found = [f"10.{200 + index}.{(block + (0 if index else shift)) % 250}.{1 + last}" for index in range(count)]
    return slice_of(name_of(number), *map(endpoint, found), version=version)

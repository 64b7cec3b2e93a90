"""What a name under one of our zones speaks of: the grammar of cluster names, and of addresses in names.

In: a name's labels left of the zone, in lower case. Out: one of the `Meaning` values. Whether a namespace or a service
exists is not asked here. Source: Kubernetes DNS-Based Service Discovery 1.1.0, and CoreDNS for pod names, for SRV
without underscores, and for `ns.dns`.

    (zone)  svc  pod  dns  _proto.svc.ns.svc      exist and hold nothing     Empty
    ns.svc  ns.pod                                exist with the namespace   NamespaceName
    svc.ns.svc  ep.svc.ns.svc  port.proto.svc.ns.svc                         ServiceName
    10-244-1-5.ns.pod                                                        PodName
    dns-version   ns.dns                                                     SchemaVersion, Nameserver

Nothing else means anything. `*` and `any` are labels like others.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TypeAlias

import msgspec

from svcdns.records import LONGEST_LABEL, OCTETS, Name, packed


class Empty(msgspec.Struct, frozen=True):
    """A name that exists and has no records but perhaps those of the apex."""


class NamespaceName(msgspec.Struct, frozen=True):
    namespace: str
    pods: bool


class ServiceName(msgspec.Struct, frozen=True):
    """`endpoint` and `port` with `protocol` exclude each other; "" where the name does not say."""

    key: str
    namespace: str
    endpoint: str = ""
    port: str = ""
    protocol: str = ""


class PodName(msgspec.Struct, frozen=True):
    """`dashed` is the address as the name spells it."""

    namespace: str
    dashed: str


class SchemaVersion(msgspec.Struct, frozen=True):
    pass


class Nameserver(msgspec.Struct, frozen=True):
    pass


class Meaningless(msgspec.Struct, frozen=True):
    pass


Meaning: TypeAlias = Empty | NamespaceName | ServiceName | PodName | SchemaVersion | Nameserver | Meaningless

EMPTY, SCHEMA_VERSION, NAMESERVER, MEANINGLESS = Empty(), SchemaVersion(), Nameserver(), Meaningless()
IN_ADDR_ARPA: Name = b"\7in-addr\4arpa\0"
_ARPA = b"\4arpa\0"
IP6_ARPA: Name = b"\3ip6\4arpa\0"


def labels_above(name: Name, zone: Name) -> list[str] | None:
    """The labels of `name` left of `zone` (both in lower case), None if the name is not in the zone.

    Octets become characters one to one (Latin-1), so what is no cluster name never turns into one.
    """
    if not name.endswith(zone):
        return None
    labels, at, end = [], 0, len(name) - len(zone)
    while at < end:
        size = name[at]
        labels.append(name[at + 1 : at + 1 + size].decode("latin-1"))
        at += size + 1
    return labels if at == end else None


def meaning(labels: list[str]) -> Meaning:
    """What the labels left of a forward zone say."""
    if not labels:
        return EMPTY
    match labels[-1]:
        case "svc":
            return _service(labels)
        case "pod":
            return _pod(labels)
        case "dns":
            return EMPTY if len(labels) == 1 else NAMESERVER if labels == ["ns", "dns"] else MEANINGLESS
        case "dns-version" if len(labels) == 1:
            return SCHEMA_VERSION
    return MEANINGLESS


def _service(labels: list[str]) -> Meaning:
    match labels:
        case [service, namespace, _]:
            return ServiceName(f"{namespace}/{service}", namespace)
        case [endpoint, service, namespace, _]:
            return ServiceName(f"{namespace}/{service}", namespace, endpoint)
        case [port, protocol, service, namespace, _]:
            # CoreDNS takes both with and without the underscore that RFC 2782 asks for.
            port, protocol = port.removeprefix("_"), protocol.removeprefix("_")
            return ServiceName(f"{namespace}/{service}", namespace, "", port, protocol) if port else MEANINGLESS
        case [namespace, _]:
            return NamespaceName(namespace, pods=False)
        case [_]:
            return EMPTY
    return MEANINGLESS


def _pod(labels: list[str]) -> Meaning:
    match labels:
        case [_]:
            return EMPTY
        case [namespace, _]:
            return NamespaceName(namespace, pods=True)
        # As CoreDNS answers them, names below a pod's are the pod's own.
        case [dashed, namespace, _] | [_, dashed, namespace, _] | [_, _, dashed, namespace, _]:
            return PodName(namespace, dashed)
    return MEANINGLESS


def dashed(address: bytes) -> str:
    """An address as one label: `10-244-1-5`, `fd00-10--5`. A label must not end in a dash: a last one gets a `0`."""
    if len(address) == 4:
        return "-".join(map(str, address))
    text = str(IPv6Address(address)).replace(":", "-")
    return text + "0" if text.endswith("-") else text


def undashed(label: str) -> bytes | None:
    """The address a pod's label spells: IPv4 with exactly three single dashes, IPv6 else; None if it spells none."""
    if label.count("-") == 3 and "--" not in label:
        return packed(label.replace("-", "."))
    return packed(label.replace("-", ":"))


def reverse_address(name: Name) -> bytes | None:
    """The whole address that a reverse name (in lower case) spells, else None (RFC 1035 section 3.5, RFC 3596 2.5)."""
    if (octets := labels_above(name, IN_ADDR_ARPA)) is not None:
        if len(octets) != 4 or not all(octet in OCTETS for octet in octets):
            return None
        return bytes([OCTETS[octet] for octet in reversed(octets)])
    if (nibbles := labels_above(name, IP6_ARPA)) is not None and len(nibbles) == 32:
        text = "".join(reversed(nibbles))
        return bytes.fromhex(text) if len(text) == 32 and all(c in "0123456789abcdef" for c in text) else None
    return None


def reverse_name(address: bytes) -> Name:
    """The name whose PTR tells what the address belongs to."""
    if len(address) == 4:
        parts, zone = [str(octet) for octet in reversed(address)], IN_ADDR_ARPA
    else:
        parts, zone = list(reversed(address.hex())), IP6_ARPA
    return relative(*parts) + zone


def is_reverse(name: Name) -> bool:
    """Whether the name (in lower case) is in one of the two trees of addresses."""
    if not name.endswith(_ARPA):
        return False
    return labels_above(name, IN_ADDR_ARPA) is not None or labels_above(name, IP6_ARPA) is not None


def relative(*labels: str) -> bytes:
    """Labels on the wire, to stand left of a zone: the zone's own octets make it a `Name`.

    A label that is too long for DNS raises ValueError; the API server lets none through.
    """
    parts = []
    for label in labels:
        octets = label.encode()
        if not 0 < len(octets) <= LONGEST_LABEL:
            raise ValueError(f"{label!r} cannot be a label: it needs 1 to {LONGEST_LABEL} octets")
        parts.append(bytes([len(octets)]) + octets)
    return b"".join(parts)

"""IP addresses and CIDRs in fields of the API.

In: texts. Out: what is wrong with them, or what to warn of. "Sloppy" reading ignores leading zeros, as the API server
did once. Source: apimachinery pkg/util/validation/ip.go, kubernetes pkg/apis/core/validation, v1.36.3.
"""

from __future__ import annotations

import re
from collections.abc import Container
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from svclab.apiserver.strategy.errors import FieldError, quoted, wrong

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

LINK_LOCAL_MULTICAST = (IPv4Network("224.0.0.0/24"),)


def sloppy(text: str) -> Address | None:
    """The address, whose IPv4 parts may have leading zeros; one mapped into IPv6 is the IPv4 one."""
    if "%" in text:
        return None
    try:
        address = ip_address(re.sub(r"(^|[.:])0+(?=\d)", r"\1", text) if "." in text else text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_ipv6(text: str) -> bool:
    return isinstance(sloppy(text), IPv6Address)


def _exact(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def address_errors(path: str, text: str, known: Container[str] = ()) -> list[FieldError]:
    """A field older than strict rules: `known` texts, which the old object has, are let through."""
    if text in known:
        return []
    if sloppy(text) is None:
        return [wrong(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
    address = _exact(text)
    if address is None:
        return [wrong(path, text, "must not have leading 0s")]
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return [wrong(path, text, "must not be an IPv4-mapped IPv6 address")]
    return []


def strict_address_errors(path: str, text: str) -> list[FieldError]:
    """As `address_errors`, and in canonical form."""
    found = address_errors(path, text)
    plain = sloppy(text)
    if not found and str(plain) != text:
        return [wrong(path, text, f"must be in canonical form ({quoted(str(plain))})")]
    return found


def endpoint_errors(path: str, text: str) -> list[FieldError]:
    """What may not be an endpoint, nor an external IP."""
    address = sloppy(text)
    if address is None:
        return [wrong(path, text, "must be a valid IP address")]
    found = []
    if address.is_unspecified:
        found.append(wrong(path, text, f"may not be unspecified ({text})"))
    if address.is_loopback:
        found.append(wrong(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if address.is_link_local:
        found.append(wrong(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    if _is_link_local_multicast(address):
        found.append(wrong(path, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"))
    return found


def _is_link_local_multicast(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return any(address in network for network in LINK_LOCAL_MULTICAST)
    return address.packed[0] == 0xFF and address.packed[1] & 0x0F == 0x02


def _network(text: str) -> tuple[Address, Network] | None:
    """Address and network of a CIDR read sloppily."""
    first, slash, length = text.partition("/")
    address = sloppy(first)
    if not slash or address is None or not re.fullmatch("[0-9]+", length):
        return None
    bits = int(length)
    if ":" in first and isinstance(address, IPv4Address):
        bits -= 96
    if not 0 <= bits <= address.max_prefixlen:
        return None
    return address, ip_network(f"{address}/{bits}", strict=False)


def network(text: str) -> Network | None:
    """The network of a CIDR read sloppily; None if it is none."""
    read = _network(text)
    return read[1] if read else None


def cidr_errors(path: str, text: str, known: Container[str] = ()) -> list[FieldError]:
    if text in known:
        return []
    if _network(text) is None:
        return [wrong(path, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")]
    first, _, length = text.partition("/")
    address = _exact(first)
    if address is None or (len(length) > 1 and length.startswith("0")):
        return [wrong(path, text, "must not have leading 0s in IP or prefix length")]
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return [wrong(path, text, "must not have an IPv4-mapped IPv6 address")]
    if ip_network(text, strict=False).network_address != address:
        return [wrong(path, text, "must not have bits set beyond the prefix length")]
    return []


def address_warnings(path: str, text: str) -> list[str]:
    plain, address = sloppy(text), _exact(text)
    if plain is None:
        return []
    if address is None or (isinstance(address, IPv6Address) and address.ipv4_mapped):
        return [f"{path}: non-standard IP address {quoted(text)} is invalid: use {quoted(str(plain))}"]
    if isinstance(address, IPv6Address) and str(address) != text:
        said = f"should be in RFC 5952 canonical format ({quoted(str(address))})"
        return [f"{path}: IPv6 address {quoted(text)} {said}"]
    return []


def cidr_warnings(path: str, text: str) -> list[str]:
    read = _network(text)
    if read is None:
        return []
    address, network = read
    warnings = []
    if address != network.network_address:
        said = f"should be {quoted(str(network))} or {quoted(f'{address}/{address.max_prefixlen}')}?"
        warnings.append(f"{path}: CIDR value {quoted(text)} is ambiguous in this context ({said})")
    if any(error.detail.startswith(("must not have leading", "must not have an")) for error in cidr_errors(path, text)):
        warnings.append(f"{path}: non-standard CIDR value {quoted(text)} is invalid: use {quoted(str(network))}")
    if not warnings and isinstance(address, IPv6Address) and str(network) != text:
        said = f"should be in RFC 5952 canonical format ({quoted(str(network))})"
        warnings.append(f"{path}: IPv6 CIDR value {quoted(text)} {said}")
    return warnings

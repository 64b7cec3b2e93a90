"""kube-proxy's spelling: service port names, chain names and comments.

In: namespaces, names, ports, protocols. Out: text that is the same on every node and in every version, because people,
dashboards and other programs know it. Source: kube-proxy 1.36 in iptables mode, as its dumps show.
"""

from __future__ import annotations

from hashlib import sha256

SERVICES = "KUBE-SERVICES"
EXTERNAL_SERVICES = "KUBE-EXTERNAL-SERVICES"
NODEPORTS = "KUBE-NODEPORTS"
POSTROUTING = "KUBE-POSTROUTING"
MARK_MASQ = "KUBE-MARK-MASQ"
FORWARD = "KUBE-FORWARD"
PROXY_FIREWALL = "KUBE-PROXY-FIREWALL"
LOCALNET_FIREWALL = "KUBE-FIREWALL"
CANARY = "KUBE-PROXY-CANARY"

# Chains that belong to one service port or endpoint, all in nat. Any chain with such a name is taken for ours.
OWNED_PREFIXES = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-")

INVALID_COUNTER = "ct_state_invalid_dropped_pkts"
LOCALHOST_COUNTER = "localhost_nps_accepted_pkts"
COUNTERS = (INVALID_COUNTER, LOCALHOST_COUNTER)
"""nfacct objects that rules count into where the kernel has them."""


def service_port_name(namespace: str, name: str, port: str) -> str:
    """`namespace/name:port`, or `namespace/name` for an unnamed port."""
    return f"{namespace}/{name}:{port}" if port else f"{namespace}/{name}"


_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PAIRS = tuple(high + low for high in _BASE32 for low in _BASE32)


def _hash(text: str) -> str:
    """The first ten bytes of SHA-256 in base 32 (RFC 4648), two letters at a time: thrice as fast as base64's."""
    number = int.from_bytes(sha256(text.encode()).digest()[:10], "big")
    first = (
        _PAIRS[number >> 70] + _PAIRS[number >> 60 & 1023] + _PAIRS[number >> 50 & 1023] + _PAIRS[number >> 40 & 1023]
    )
    last = (
        _PAIRS[number >> 30 & 1023] + _PAIRS[number >> 20 & 1023] + _PAIRS[number >> 10 & 1023] + _PAIRS[number & 1023]
    )
    return first + last


def port_hash(service_port: str, protocol: str) -> str:
    """What the SVC, SVL, EXT and FW chains of one service port share: 16 letters, the same for IPv4 and IPv6."""
    return _hash(service_port + protocol)


def endpoint_chain(service_port: str, protocol: str, endpoint: str) -> str:
    """The KUBE-SEP chain of one endpoint; `endpoint` is `ip:port` or `[ip]:port`."""
    return f"KUBE-SEP-{_hash(service_port + protocol + endpoint)}"


def number_of(chain: str) -> int:
    """Ten bits of the hash in a chain's name."""
    return _BASE32.index(chain[-2]) << 5 | _BASE32.index(chain[-1])


def prefix_chain(cidr: str) -> str:
    """The dispatch chain of a prefix that is too long for a name."""
    return f"KUBE-SVC-{_hash(cidr)}"


def host_port(address: str, port: int) -> str:
    """`ip:port`, or `[ip]:port` for IPv6."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

"""What shapes the rules of one family beside the services: the options, and facts of the node and its iptables.

In: `Options`, the Node object, the node's addresses, what its iptables can do. Out: a `Dialect`, from which `compile`
and `skeleton` read all that varies. Two equal dialects give equal rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Literal

import msgspec

from svcagent.options import Dispatch, Options
from svcagent.resolve import canonical_address, canonical_cidr, within
from svckube.objects import Node
from svcnet.rules import Family, Not, Reject, Rule, family_of, host_cidr


class LocalTraffic(msgspec.Struct, frozen=True):
    """How to tell traffic of this node's (or the cluster's) pods: by source CIDR, by interface, or not at all."""

    by: Literal["source", "interface", "nothing"] = "nothing"
    value: str = ""

    def rule(self, **rest: object) -> Rule:
        """A rule that matches local traffic."""
        return self._rule(self.value, rest)

    def foreign_rule(self, **rest: object) -> Rule:
        """A rule that matches everything but local traffic."""
        return self._rule(Not(self.value), rest)

    def _rule(self, value: str | Not, rest: dict[str, object]) -> Rule:
        field = "source" if self.by == "source" else "in_interface"
        return msgspec.structs.replace(Rule(**rest), **{field: value})  # type: ignore[arg-type]  # checked by callers


MOST_SERVICES, MOST_ENDPOINTS = 1000, 256
"""Lines of a shared chain, and endpoints of a service port, up to which they are kube-proxy's flat list by default."""
_UNLIMITED = 1 << 62


class Dialect(msgspec.Struct, frozen=True):
    """What shapes the rules of one family beside the services: options, and facts of the node and its iptables."""

    family: Family
    local_traffic: LocalTraffic = LocalTraffic()
    masquerade_all: bool = False
    masquerade_bit: int = 14
    random_fully: bool = True
    localhost_nodeports: bool = True
    node_port_addresses: tuple[str, ...] | None = None
    node_ip: str = ""
    drop_invalid: bool = True
    accounting: bool = False
    dispatch: Dispatch = "auto"

    @property
    def most_services(self) -> int:
        """The longest list of lines in KUBE-SERVICES or KUBE-NODEPORTS; of more, a tree is made."""
        return {"auto": MOST_SERVICES, "flat": _UNLIMITED, "tree": 8}[self.dispatch]

    @property
    def most_endpoints(self) -> int:
        """The longest list of endpoints of a service port; more are chosen from in two steps."""
        return {"auto": MOST_ENDPOINTS, "flat": _UNLIMITED, "tree": 8}[self.dispatch]

    @property
    def mark(self) -> int:
        return 1 << self.masquerade_bit

    @property
    def recent_mask(self) -> str:
        return "255.255.255.255" if self.family == "IPv4" else "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

    @property
    def reject(self) -> Reject:
        return Reject("icmp-port-unreachable" if self.family == "IPv4" else "icmp6-port-unreachable")


LOOPBACK = {"IPv4": "127.0.0.1", "IPv6": "::1"}


def node_ip(node: Node | None, family: Family) -> str:
    """The node's address of a family: its first InternalIP, else its first ExternalIP, else loopback."""
    addresses = (node.status.addresses or ()) if node else ()
    for kind in ("InternalIP", "ExternalIP"):
        for each in addresses:
            if each.type == kind and (found := _canonical(canonical_address, each.address, family)):
                return found
    return LOOPBACK[family]


def own_ip(options: Options, node: Node | None, family: Family) -> str:
    """As `node_ip`, but --bind-address wins in its family unless it is the unspecified address."""
    asked = options.bind_address
    if family_of(asked) == family and not ip_address(asked).is_unspecified:
        return asked
    return node_ip(node, family)


def _canonical(parse: Callable[[str], str], text: str, family: Family) -> str:
    """`text` as `parse` spells it, "" if it is of the other family or, a Node object's fault, nothing of the kind."""
    try:
        found = parse(text)
    except ValueError:
        return ""
    return found if family_of(found) == family else ""


def local_traffic(options: Options, family: Family, node: Node | None) -> LocalTraffic:
    """How --detect-local-mode tells the pods' traffic; a family without a CIDR cannot tell."""
    match options.detect_local_mode:
        case "BridgeInterface":
            return LocalTraffic("interface", options.pod_bridge_interface)
        case "InterfaceNamePrefix":
            return LocalTraffic("interface", f"{options.pod_interface_name_prefix}+")
        case "NodeCIDR":
            cidrs = (node.spec.pod_cidrs or (node.spec.pod_cidr,)) if node else ()
            cidr = next((found for each in cidrs if (found := _canonical(canonical_cidr, each, family))), "")
            return LocalTraffic("source", cidr) if cidr else LocalTraffic()
        case "ClusterCIDR":
            cidr = options.cluster_cidr_of(family)
            return LocalTraffic("source", cidr) if cidr else LocalTraffic()


def _node_port_cidrs(options: Options, family: Family, own: str) -> tuple[str, ...]:
    """The CIDRs that restrict node ports in this family, empty if nothing does."""
    wanted = options.nodeport_addresses
    if wanted == ("primary",):
        wanted = () if ip_address(own).is_loopback else (host_cidr(own),)
    cidrs = tuple(cidr for cidr in wanted if family_of(cidr) == family)
    return () if any(cidr.endswith("/0") for cidr in cidrs) else cidrs


def dialect(
    options: Options,
    family: Family,
    node: Node | None,
    addresses: Iterable[str],
    *,
    random_fully: bool,
    drop_invalid: bool,
    accounting: bool,
) -> Dialect:
    """The dialect of one family. `addresses` are all that this node's interfaces carry, of either family."""
    own = own_ip(options, node, family)
    cidrs = _node_port_cidrs(options, family, own)
    localhost = options.localhost_nodeports and family == "IPv4" and (not cidrs or within(LOOPBACK["IPv4"], cidrs))
    served: tuple[str, ...] | None = None
    if cidrs:
        candidates = (each for each in addresses if family_of(each) == family and within(each, cidrs))
        served = tuple(sorted(each for each in candidates if localhost or not ip_address(each).is_loopback))
    return Dialect(
        family=family,
        local_traffic=local_traffic(options, family, node),
        masquerade_all=options.masquerade_all,
        masquerade_bit=options.masquerade_bit,
        random_fully=random_fully,
        localhost_nodeports=localhost,
        node_port_addresses=served,
        node_ip=own,
        drop_invalid=drop_invalid,
        accounting=accounting,
        dispatch=options.dispatch,
    )

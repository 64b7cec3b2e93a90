"""Pod ranges of nodes: each node gets the lowest free one, out of each cluster range (p).

In: nodes, the cluster's ranges and the mask of a node's share. Out: `spec.podCIDR` and `spec.podCIDRs`, once; the API
does not let them change. No range is given twice, nor one that overlaps the Services' range: nodes of which the Node
object is there hold theirs, also those whose range is not one of ours. When nothing is left, the Node says so in an
Event (pkg/controller/nodeipam). The real allocator goes round; we take the lowest, since we keep no memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

from svclab.controllers.reduce import Body, Outcome, Patch, Record, Seen, World, Write
from svclab.errors import LabError

COMPONENT = "cidrAllocator"
ALL = "nodes"
IPV6_MASK = 64

_Network = IPv4Network | IPv6Network


class NodeIpamController:
    name = "node-ipam-controller"
    watches = ("nodes",)

    def __init__(self, cluster_cidr: str, mask_size: int = 24, service_cidr: str = "") -> None:
        """The flags' texts; ranges may be lists with commas. `mask_size` is for IPv4. Raises LabError."""
        self._ranges = _networks("--cluster-cidr", cluster_cidr)
        self._services = _networks("--service-cluster-ip-range", service_cidr)
        self._masks = [mask_size if one.version == 4 else max(IPV6_MASK, one.prefixlen) for one in self._ranges]
        for network, mask in zip(self._ranges, self._masks, strict=True):
            if not network.prefixlen <= mask <= min(network.prefixlen + 16, network.max_prefixlen):
                raise LabError(
                    f"--node-cidr-mask-size {mask} does not fit --cluster-cidr {network};"
                    f" give {network.prefixlen} to {min(network.prefixlen + 16, network.max_prefixlen)}"
                )

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        """One key for all nodes: who gets what depends on all of them."""
        had, has = (None if one is None else tuple(_cidrs(one)) for one in (seen.old, seen.new))
        return (ALL,) if had != has else ()

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        nodes = sorted(world.all("nodes").values(), key=_age)
        taken = [*self._services, *(network for node in nodes for network in _held(node))]
        writes: list[Write] = []
        for node in nodes:
            if _cidrs(node) or node["metadata"].get("deletionTimestamp") or not self._ranges:
                continue
            free = [self._free(index, taken) for index in range(len(self._ranges))]
            given = [one for one in free if one is not None]
            if len(given) < len(free):
                name = node["metadata"]["name"]
                message = f"Node {name} status is now: CIDRNotAvailable"
                about = {**node, "apiVersion": "v1", "kind": "Node"}
                writes.append(Record(about, "Normal", "CIDRNotAvailable", message, COMPONENT))
                continue
            taken += given
            writes.append(_assignment(node, [str(one) for one in given]))
        return Outcome(tuple(writes))

    def _free(self, index: int, taken: list[_Network]) -> _Network | None:
        """The lowest share of a range that overlaps nothing taken."""
        network, mask = self._ranges[index], self._masks[index]
        spans = [(int(one[0]), int(one[-1])) for one in taken if one.version == network.version]
        size = 1 << (network.max_prefixlen - mask)
        first = int(network[0])
        for start in range(first, first + network.num_addresses, size):
            if not any(low < start + size and start <= high for low, high in spans):
                return ip_network((start, mask))
        return None


def _assignment(node: Body, cidrs: list[str]) -> Patch:
    patch = {"spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs}}
    return Patch("nodes", node["metadata"]["name"], patch, uid=node["metadata"]["uid"])


def _cidrs(node: Body) -> list[str]:
    spec = node.get("spec") or {}
    return list(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else []))


def _held(node: Body) -> list[_Network]:
    return [network for text in _cidrs(node) if (network := _network(text)) is not None]


def _age(node: Body) -> tuple[str, str]:
    return node["metadata"].get("creationTimestamp") or "", node["metadata"]["name"]


def _network(text: str) -> _Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _networks(flag: str, text: str) -> list[_Network]:
    found = []
    for part in (part.strip() for part in text.split(",") if part.strip()):
        network = _network(part)
        if network is None:
            raise LabError(f"{flag} {part}: not a range; give something like 10.244.0.0/16")
        found.append(network)
    return found

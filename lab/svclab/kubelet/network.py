"""What the node does for packets of pods: routes to other nodes' pods, masquerade for what leaves the cluster.

In: this node's name and all Nodes. Out: routes with a protocol number of our own, and one iptables chain of our own,
`SVCP-MASQ`, with one jump to it in `nat POSTROUTING`. Pods see each other, and nodes, without NAT; everything else sees
the node. Both are put right whenever the Nodes change, and removed by `remove`. Nothing else is touched.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from svclab import netns

Body: TypeAlias = dict[str, Any]

PROTOCOL = 119  # of our routes; /etc/iproute2/rt_protos has no such number
CHAIN = "SVCP-MASQ"
COMMENT = "svcplane kubelet: pods to the outside"


class Layout(msgspec.Struct, frozen=True):
    """This node's pod ranges, gateways of other nodes' ranges, and every address that is not masqueraded."""

    own: tuple[str, ...] = ()
    gateways: dict[str, str] = {}
    cluster: tuple[str, ...] = ()


def layout(name: str, nodes: Iterable[Body]) -> Layout:
    """From Nodes; those without address or range are left out. Pure."""
    own: tuple[str, ...] = ()
    gateways: dict[str, str] = {}
    cluster: set[str] = set()
    for node in nodes:
        ranges = pod_ranges(node)
        addresses = internal_addresses(node)
        cluster |= {*ranges, *addresses}
        if node["metadata"]["name"] == name:
            own = ranges
            continue
        for cidr in ranges:
            gateway = next((one for one in addresses if (":" in one) == (":" in cidr)), None)
            if gateway is not None:
                gateways[cidr] = gateway
    return Layout(own, dict(sorted(gateways.items())), tuple(sorted(cluster)))


def pod_ranges(node: Body) -> tuple[str, ...]:
    spec = node.get("spec") or {}
    return tuple(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else []))


def internal_addresses(node: Body) -> tuple[str, ...]:
    addresses = (node.get("status") or {}).get("addresses") or []
    return tuple(one["address"] for one in addresses if one["type"] == "InternalIP")


def masquerade_rules(found: Layout, version: int) -> str:
    """The chain, as input of iptables-restore. Pure."""
    own = [cidr for cidr in found.own if ip_network(cidr).version == version]
    lines = ["*nat", f":{CHAIN} - [0:0]"]
    if own:
        cluster = [one for one in found.cluster if ip_network(one).version == version]
        lines += [f"-A {CHAIN} -d {one} -j RETURN" for one in cluster]
        lines += [f"-A {CHAIN} -d {'224.0.0.0/4' if version == 4 else 'ff00::/8'} -j RETURN"]
        lines += [f"-A {CHAIN} -s {cidr} -j MASQUERADE" for cidr in own]
    return "\n".join([*lines, "COMMIT", ""])


def applied(found: Layout) -> None:
    """Makes the node's kernel agree. Raises OSError or subprocess.CalledProcessError, with what iptables said."""
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        _switch_on(Path("/proc/sys/net") / name, needed=any((":" in cidr) == (name[3] == "6") for cidr in found.own))
    wanted = {**dict.fromkeys(found.own, netns.UNREACHABLE), **found.gateways}
    there = netns.own_routes(PROTOCOL)
    for destination, gateway in there.items():
        if wanted.get(destination) != gateway:
            netns.remove_route(destination, gateway, PROTOCOL)
    for destination, gateway in wanted.items():
        if there.get(destination) != gateway:
            netns.replace_route(destination, gateway, PROTOCOL)
    for version, suffix in ((4, ""), (6, "6")):
        if any(ip_network(cidr).version == version for cidr in found.own):
            _run([f"ip{suffix}tables-restore", "-w", "10", "--noflush"], masquerade_rules(found, version))
            jump = ["POSTROUTING", "-m", "comment", "--comment", COMMENT, "-j", CHAIN]
            command = [f"ip{suffix}tables", "-w", "10", "-t", "nat"]
            with suppress(subprocess.CalledProcessError):
                _run([*command, "-C", *jump])
                continue
            _run([*command, "-A", *jump])


def remove() -> None:
    """Takes away routes and chain of the calling thread's namespace; nothing happens if there are none."""
    for destination, gateway in netns.own_routes(PROTOCOL).items():
        netns.remove_route(destination, gateway, PROTOCOL)
    for command in ("iptables", "ip6tables"):
        base = [command, "-w", "10", "-t", "nat"]
        with suppress(subprocess.CalledProcessError, FileNotFoundError):
            _run([*base, "-D", "POSTROUTING", "-m", "comment", "--comment", COMMENT, "-j", CHAIN])
            _run([*base, "-F", CHAIN])
            _run([*base, "-X", CHAIN])


def _switch_on(path: Path, *, needed: bool) -> None:
    if needed and path.read_text().strip() == "0":
        path.write_text("1")


def _run(argv: list[str], text: str | None = None) -> None:
    subprocess.run(argv, input=text, capture_output=True, text=True, check=True, timeout=30)


def problem(error: Exception) -> str:
    """What to say about a failure of `applied`."""
    said = getattr(error, "stderr", "") or str(error)
    return " ".join(str(said).split())

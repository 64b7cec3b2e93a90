"""Hosts as network namespaces: create, connect, configure, remove; by pyroute2 and the kernel's own files.

Every namespace made here is called `svcp-...`, and nothing else is ever removed. A pod may also be held by a process
instead of a name: then its namespace ends with the process. Removing a namespace removes the
links, routes, rules and conntrack entries in it. Addresses are `address/length`; duplicate detection of IPv6 is off,
because it would make a new address unusable for a second.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyroute2
from pyroute2 import netns

PREFIX = "svcp-"
NUD_PERMANENT = 0x80
IFA_F_NODAD = 0x02


class Host:
    """One namespace. Its name begins with `PREFIX`."""

    def __init__(self, name: str) -> None:
        if not name.startswith(PREFIX):
            raise ValueError(f"namespace {name!r} does not begin with {PREFIX!r}")
        self.name = name

    def create(self) -> Host:
        """Makes the namespace, with loopback up and forwarding on. FileExistsError if there is one of this name."""
        netns.create(self.name)
        with self.route_socket() as route:
            route.link("set", index=1, state="up")
        self.sysctl("ipv4/ip_forward", "1")
        self.sysctl("ipv6/conf/all/forwarding", "1")
        self.sysctl("ipv6/conf/default/accept_dad", "0")
        return self

    def remove(self) -> None:
        """Removes the namespace; processes inside must have ended. Nothing happens if it is gone already."""
        with suppress(FileNotFoundError):
            netns.remove(self.name)

    def route_socket(self) -> pyroute2.IPRoute:
        return pyroute2.IPRoute(netns=self.name)

    def sysctl(self, path: str, value: str) -> None:
        """Writes below /proc/sys/net of this namespace."""
        with self.entered():
            (Path("/proc/sys/net") / path).write_text(value)

    def add_address(self, interface: str, *addresses: str) -> None:
        with self.route_socket() as route:
            index = _index(route, interface, self.name)
            for each in addresses:
                address, _, length = each.partition("/")
                route.addr("add", index=index, address=address, prefixlen=int(length))

    def add_route(self, destination: str, *, via: str = "", interface: str = "") -> None:
        """`destination` is a CIDR, or "default"/"default6". A gateway must be on the interface, if one is given."""
        with self.route_socket() as route:
            target = {"default": "0.0.0.0/0", "default6": "::/0"}.get(destination, destination)
            how: dict[str, object] = {"gateway": via} if via else {}
            if interface:
                how["oif"] = _index(route, interface, self.name)
            if via and interface:
                how["flags"] = "onlink"
            route.route("add", dst=target, **how)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread works in this namespace meanwhile: sockets made here stay here."""
        with entered(self.name):
            yield

    def run(self, *argv: str, text: str | None = None, seconds: float = 60.0) -> str:
        """Runs a command in this namespace and returns what it prints; CalledProcessError if it fails."""
        done = subprocess.run(
            self.argv(*argv), input=text, capture_output=True, text=True, timeout=seconds, check=False
        )
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, argv, done.stdout, done.stderr)
        return done.stdout

    def argv(self, *argv: str) -> Sequence[str]:
        """The command line that runs `argv` in this namespace."""
        return ["ip", "netns", "exec", self.name, *argv]


def connect(one: Host, interface: str, other: Host, peer: str) -> None:
    """A veth pair between two hosts, both ends up."""
    with one.route_socket() as route:
        route.link("add", ifname=interface, kind="veth", peer={"ifname": peer, "net_ns_fd": other.name})
        route.link("set", index=_index(route, interface, one.name), state="up")
    with other.route_socket() as route:
        route.link("set", index=_index(route, peer, other.name), state="up")


def add_bridge(host: Host, name: str, ports: Sequence[str]) -> None:
    """A bridge over interfaces of `host`: a switch."""
    with host.route_socket() as route:
        route.link("add", ifname=name, kind="bridge")
        bridge = _index(route, name, host.name)
        route.link("set", index=bridge, state="up")
        for port in ports:
            route.link("set", index=_index(route, port, host.name), master=bridge)


# What a pod's default route points at. IPv4: nobody carries it, the pod knows the node's end by its hardware address;
# an address on the veth would be what MASQUERADE chooses. IPv6: the node's end of the veth, and scopes see to the rest.
POD_GATEWAY = "169.254.1.1"
POD_GATEWAY6 = "fe80::1"


def attach_pod(node: Host, pod: Host, interface: str, *addresses: str) -> None:
    """Hangs a pod on its node by a routed veth: no bridge, so that conntrack sees both directions of every flow.

    `addresses` are the pod's, without length; `interface` is the node's end, the pod's end is eth0.
    """
    connect(node, interface, pod, "eth0")
    with node.route_socket() as route:
        hardware = _configure_node(route, interface, addresses)
    with pod.route_socket() as route:
        _configure_pod(route, hardware, addresses)


def hang_pod(pid: int, interface: str, *addresses: str) -> None:
    """`attach_pod` for a pod that a process holds; the node is the calling thread's namespace.

    An interface of that name from before is replaced.
    """
    remove_link(interface)
    with pyroute2.IPRoute() as node:
        node.link("add", ifname=interface, kind="veth", peer={"ifname": "eth0", "net_ns_pid": pid})
        node.link("set", index=_index(node, interface, "this node"), state="up")
        hardware = _configure_node(node, interface, addresses)
    with entered(f"/proc/{pid}/ns/net"), pyroute2.IPRoute() as pod:
        pod.link("set", index=1, state="up")
        pod.link("set", index=_index(pod, "eth0", "the pod"), state="up")
        _configure_pod(pod, hardware, addresses)


def _configure_node(node: pyroute2.IPRoute, interface: str, addresses: Sequence[str]) -> str:
    """Routes to the pod, and the gateway that IPv6 wants; returns the hardware address of the node's end."""
    index = _index(node, interface, "the node")
    if any(":" in address for address in addresses):
        node.addr("add", index=index, address=POD_GATEWAY6, prefixlen=64)
    for address in addresses:
        node.route("add", dst=f"{address}/{128 if ':' in address else 32}", oif=index)
    return str(node.get_links(index)[0].get_attr("IFLA_ADDRESS"))


def _configure_pod(pod: pyroute2.IPRoute, hardware: str, addresses: Sequence[str]) -> None:
    eth0 = _index(pod, "eth0", "the pod")
    pod.neigh("add", dst=POD_GATEWAY, lladdr=hardware, ifindex=eth0, state=NUD_PERMANENT)
    for address in addresses:
        six = ":" in address
        pod.addr("add", index=eth0, address=address, prefixlen=128 if six else 32, flags=IFA_F_NODAD if six else 0)
        gateway = POD_GATEWAY6 if six else POD_GATEWAY
        pod.route("add", dst="::/0" if six else "0.0.0.0/0", gateway=gateway, oif=eth0, flags="onlink")


def remove_link(interface: str) -> None:
    """Removes an interface of the calling thread's namespace, if it is there."""
    with pyroute2.IPRoute() as route:
        for index in route.link_lookup(ifname=interface):
            with suppress(pyroute2.NetlinkError):  # its other end went at the same moment
                route.link("del", index=index)


@contextmanager
def entered(namespace: str) -> Iterator[None]:
    """The calling thread works in another namespace meanwhile: a name, or a path such as /proc/PID/ns/net."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        netns.setns(namespace, flags=0)
        yield
    finally:
        netns.setns(before)
        os.close(before)


UNREACHABLE = "unreachable"


def own_routes(protocol: int) -> dict[str, str]:
    """Destination → gateway (or `UNREACHABLE`) of the routes that carry our protocol number, in this namespace."""
    found = {}
    with pyroute2.IPRoute() as route:
        for message in route.get_routes(proto=protocol):
            destination = f"{message.get_attr('RTA_DST')}/{message['dst_len']}"
            found[destination] = message.get_attr("RTA_GATEWAY") or UNREACHABLE
    return found


def replace_route(destination: str, gateway: str, protocol: int) -> None:
    """Points a destination (CIDR) at a gateway, or makes it `UNREACHABLE`. Raises OSError, if the kernel refuses it."""
    how: dict[str, object] = {"type": UNREACHABLE} if gateway == UNREACHABLE else {"gateway": gateway}
    try:
        with pyroute2.IPRoute() as route:
            route.route("replace", dst=destination, proto=protocol, **how)
    except pyroute2.NetlinkError as error:
        raise OSError(error.code, f"route {destination} via {gateway}: {error}") from error


def remove_route(destination: str, gateway: str, protocol: int) -> None:
    """Removes a route of ours; nothing happens if it is gone."""
    how: dict[str, object] = {"type": UNREACHABLE} if gateway == UNREACHABLE else {"gateway": gateway}
    with pyroute2.IPRoute() as route, suppress(pyroute2.NetlinkError):
        route.route("del", dst=destination, proto=protocol, **how)


def names() -> list[str]:
    """Every namespace of ours that exists."""
    return sorted(name for name in netns.listnetns() if name.startswith(PREFIX))


def _index(route: pyroute2.IPRoute, interface: str, host: str) -> int:
    found: list[int] = route.link_lookup(ifname=interface)
    if not found:
        raise LookupError(f"{host} has no interface {interface}")
    return found[0]

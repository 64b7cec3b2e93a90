"""How the hosts of a lab are connected, as lines for `ip -batch`; pure.

In: a plan. Out: for each network namespace its lines and its settings below /proc/sys/net.

    internet ── router ─┬─ control     The router and the bridge are the namespace "segment": a bridge in the machine's
    203.0.113.0/25      ├─ node1 …     own would have its frames judged by the machine's iptables
                        ├─ outside     (bridge-nf-call-iptables), where Docker drops what it does not know.
                        └─ machine

Hosts send what they do not know to the router, and that sends it to the internet host, where every unknown address
ends. Nothing there knows the way to pods: a pod that talks to the outside must be masqueraded by its node.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from svclab.cluster.plan import INTERNET, INTERNET_HOSTS, Plan

BRIDGE = "br0"
ROUTER_TO_INTERNET = str(INTERNET[-2])
INTERNET_HOST = str(INTERNET[1])
OWN_SERVER = "192.168.123.234"  # of `svcplane-lab upstream`: the one that hand-made Endpoints point at

# A reply may come back over another way than the request went (2: any route will do); nobody is told of shorter ways:
# a redirect would lead the outside host past the node that translates for it. An address is usable at once.
SETTINGS = {
    "ipv4/conf/all/rp_filter": "2",
    "ipv4/conf/default/rp_filter": "2",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    "ipv4/conf/all/accept_redirects": "0",
    "ipv4/conf/default/accept_redirects": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/all/accept_dad": "0",
}
FORWARDING = {"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"}


class Wiring(msgspec.Struct, frozen=True):
    """One host: `lines` are for `ip -batch` inside of it, `settings` are written before them.

    `plug` are lines for the segment's namespace: the cable to this host.
    """

    namespace: str
    lines: tuple[str, ...]
    settings: Mapping[str, str]
    plug: tuple[str, ...] = ()


def segment(plan: Plan) -> Wiring:
    """The switch and router."""
    lines = (
        "link set lo up",
        f"link add {BRIDGE} type bridge",
        f"address add {plan.router}/{plan.length} dev {BRIDGE}",
        f"link set {BRIDGE} up",
    )
    # Without this, what goes over the bridge meets iptables here too: nobody's rules, but work for every packet.
    quiet = {"bridge/bridge-nf-call-iptables": "0", "bridge/bridge-nf-call-ip6tables": "0"}
    return Wiring(plan.namespace("segment"), lines, {**SETTINGS, **FORWARDING, **quiet})


def internet(plan: Plan) -> Wiring:
    """One host that has every address of a range."""
    namespace = plan.namespace("internet")
    plug = (
        f"link add internet type veth peer name eth0 netns {namespace}",
        f"address add {ROUTER_TO_INTERNET}/{INTERNET.prefixlen} dev internet",
        "link set internet up",
        f"route add default via {INTERNET_HOST}",
    )
    lines = (
        "link set lo up",
        f"address add {INTERNET_HOST}/{INTERNET.prefixlen} dev eth0",
        "link set eth0 up",
        f"route add local {INTERNET_HOSTS} dev lo",
        f"route add local {OWN_SERVER} dev lo",
        f"route add {plan.node_cidr} via {ROUTER_TO_INTERNET}",
    )
    return Wiring(namespace, lines, SETTINGS, plug)


def host(plan: Plan, name: str) -> Wiring:
    """A host on the segment. Only nodes forward."""
    namespace = plan.namespace(name)
    lines = (
        "link set lo up",
        f"address add {plan.hosts[name]}/{plan.length} dev eth0",
        "link set eth0 up",
        f"route add default via {plan.router}",
    )
    forwards = FORWARDING if name in plan.node_names else {}
    return Wiring(namespace, lines, {**SETTINGS, **forwards}, _cable(name, f"peer name eth0 netns {namespace}"))


def machine(plan: Plan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Lines for the machine's own namespace: its cable. And lines for the segment, which has the other end."""
    here = (
        f"link add {plan.link} type veth peer name machine netns {plan.namespace('segment')}",
        f"address add {plan.machine}/{plan.length} dev {plan.link}",
        f"link set {plan.link} up",
    )
    return here, (f"link set machine master {BRIDGE}", "link set machine up")


def pool_routes(plan: Plan, address: str) -> tuple[str, ...]:
    """Lines that lead the load balancer addresses to this address."""
    return tuple(f"route replace {part} via {address}" for part in plan.pool)


def _cable(port: str, peer: str) -> tuple[str, ...]:
    return (f"link add {port} type veth {peer}", f"link set {port} master {BRIDGE}", f"link set {port} up")

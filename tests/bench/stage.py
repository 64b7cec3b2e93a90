"""Where the agent's benchmark plays: a machine with the API server, and a node with one of the programs.

Both are network namespaces with a link between them. All pods' addresses are the node's own, so that every endpoint of
every service answers (`bench.responder`). Every cluster IP is the other machine's, where nothing listens: what no rule
knows is refused at once, and conntrack soon forgets it. Unanswered it would be remembered for two minutes, without NAT,
and so would be a later connection from the same port. Each program runs in the node's namespace, as on its own host.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.crowd import CLIENT, PODS, SERVICE_CIDR
from peers.build import built
from peers.control_plane import ControlPlane
from peers.kube_proxy import KubeProxy
from peers.processes import Process
from support.site import lone_host
from support.waiting import eventually
from svclab import netns
from svclab.netns import Host

MACHINE, NODE = "192.168.56.10", "192.168.56.11"
LINK = "eth1"
PROGRAMS = ("agent-nft", "agent-legacy", "kube-proxy-legacy", "kube-proxy-nftables", "kube-proxy-nft")
"""agent-FLAVOUR and kube-proxy-FLAVOUR write that flavour of iptables; kube-proxy-nftables is its mode of that name."""


@contextmanager
def machine() -> Iterator[tuple[Host, ControlPlane]]:
    with lone_host("bench-machine") as host:
        host.add_address("lo", f"{MACHINE}/32")
        host.run("ip", "route", "add", "local", SERVICE_CIDR, "dev", "lo")
        with ControlPlane(
            built(), address=MACHINE, netns=host.name, service_cidrs=(SERVICE_CIDR,), controllers=()
        ) as plane:
            plane.add_node("node", [NODE])
            yield host, plane


@contextmanager
def node(machine: Host, folder: Path, name: str = LINK) -> Iterator[Host]:
    """A node without rules; `name` is the machine's end of its link. Of several the machine talks to the latest."""
    with lone_host(f"bench-{name}") as host:
        netns.connect(machine, name, host, LINK)
        machine.run("ip", "route", "replace", f"{NODE}/32", "dev", name)
        machine.run("ip", "route", "replace", PODS, "via", NODE, "dev", name, "onlink")
        host.add_address(LINK, f"{NODE}/24")
        host.run("ip", "route", "add", "local", PODS, "dev", "lo")
        host.add_address("lo", f"{CLIENT}/32")
        host.run("ip", "route", "add", "default", "via", MACHINE, "dev", LINK, "src", CLIENT)
        # A connection's end is remembered for 10 seconds, else; and thousands are made in one.
        host.sysctl("netfilter/nf_conntrack_tcp_timeout_close", "1")
        responder = Process(
            (sys.executable, Path(__file__).with_name("responder.py")), folder / f"{name}.log", netns=host.name
        )
        with responder:
            responder.start()
            yield host
    # The kernel takes a namespace away later, rules first and links last; the next program shall not pay for it.
    eventually(lambda: name not in machine.run("ls", "/sys/class/net").split(), "the last node's rules are gone", 120)


def program(plane: ControlPlane, host: Host, name: str, *flags: str) -> Process:
    """Not started yet; its log is `NAME.log` in the control plane's folder. `flags` are more of the agent's."""
    kind = name.rpartition("-")[2]
    if name.startswith("kube-proxy"):
        return KubeProxy(
            built(),
            plane.folder,
            netns=host.name,
            kubeconfig=plane.kubeconfig("system:kube-proxy"),
            hostname="node",
            cluster_cidr=PODS,
            flavour="legacy" if kind == "legacy" else "nft",
            config={"mode": "nftables"} if kind == "nftables" else None,
        ).process
    kubeconfig = plane.kubeconfig("system:kube-proxy", groups=["system:node-proxier"])
    usual = ("--kubeconfig", kubeconfig, "--hostname-override", "node", "--cluster-cidr", PODS)
    more = ("--iptables-flavour", kind, "--conntrack-max-per-core", "0")
    environment = {**os.environ, "XTABLES_LOCKFILE": str(plane.folder / "xtables.lock")}
    argv = (Path(sys.executable).parent / "svcplane-agent", "run", *usual, *more, *flags)
    return Process(argv, plane.folder / "agent.log", netns=host.name, environment=environment)

"""Two nodes beside one API server: the real kube-proxy programs one, `svcplane-agent run` the other.

In: a control plane, two hosts, the same switches for both programs. Out: both nodes' rules in comparable form.
Refuses nothing; a program that ends is a `ProcessError` with the end of its log.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from peers.control_plane import ControlPlane
from peers.kube_proxy import Flavour, KubeProxy
from peers.processes import Process, ProcessError
from support.dumps import Normal, difference, normal
from svclab.netns import Host
from svcnet.rules import FAMILIES, Family
from svcnet.writers import Iptables


class Switches(msgspec.Struct, frozen=True):
    """The same wish in both programs' words: fields of KubeProxyConfiguration, flags of `svcplane-agent run`."""

    cluster_cidr: str = ""
    config: Mapping[str, Any] = {}
    flags: tuple[str, ...] = ()


class Pair(msgspec.Struct):
    """Two nodes with the same API objects: ours and kube-proxy's."""

    flavour: Flavour
    control_plane: ControlPlane
    ours: Host
    theirs: Host
    agent: Process
    proxy: Process

    def our_rules(self, family: Family) -> Normal:
        return self._rules(self.ours, family)

    def their_rules(self, family: Family) -> Normal:
        return self._rules(self.theirs, family)

    def _rules(self, node: Host, family: Family) -> Normal:
        with node.entered():
            return normal(Iptables(family, self.flavour).dump())

    def await_equal(self, what: str) -> None:
        """Until both nodes hold the same rules, in both families; AssertionError with the difference otherwise."""
        for family in FAMILIES:
            shown = ""

            def equal(family: Family = family) -> bool:
                nonlocal shown
                shown = difference(self.our_rules(family), self.their_rules(family))
                return not shown

            try:
                self.agent.wait_until(equal, f"the same {family} rules after {what}", 15)
            except ProcessError as error:
                raise AssertionError(f"{error}\n{shown}") from None


@contextmanager
def pair(
    binaries: Path,
    folder: Path,
    control_plane: ControlPlane,
    nodes: tuple[Host, Host],
    *,
    flavour: Flavour,
    node_name: str,
    switches: Switches,
    min_sync: str = "100ms",
) -> Iterator[Pair]:
    """Both programs at work on `nodes` (ours, theirs) until the block ends. `min_sync`: least time between passes."""
    ours, theirs = nodes
    with ExitStack() as stack:
        server = stack.enter_context(control_plane.reached_from(theirs.name))
        config = {**switches.config, "iptables": {**switches.config.get("iptables", {}), "minSyncPeriod": min_sync}}
        proxy = KubeProxy(
            binaries,
            folder,
            netns=theirs.name,
            kubeconfig=control_plane.kubeconfig("system:kube-proxy", server=server),
            hostname=node_name,
            cluster_cidr=switches.cluster_cidr,
            flavour=flavour,
            config=config,
        )
        agent = stack.enter_context(_agent(control_plane, ours, flavour, folder, node_name, switches, min_sync))
        agent.start()
        stack.enter_context(proxy)
        yield Pair(flavour, control_plane, ours, theirs, agent, proxy.process)


def _agent(
    control_plane: ControlPlane,
    node: Host,
    flavour: Flavour,
    folder: Path,
    node_name: str,
    switches: Switches,
    min_sync: str,
) -> Process:
    kubeconfig = control_plane.kubeconfig("system:kube-proxy", groups=["system:node-proxier"])
    argv = (Path(sys.executable).parent / "svcplane-agent", "run", "--kubeconfig", kubeconfig)
    flags = ("--netns", node.name, "--hostname-override", node_name, *switches.flags)
    if switches.cluster_cidr:
        flags += ("--cluster-cidr", switches.cluster_cidr)
    quick = ("--iptables-min-sync-period", min_sync, "--conntrack-max-per-core", "0")
    environment = {**os.environ, "XTABLES_LOCKFILE": str(folder / "agent.lock")}
    return Process(
        (*argv, *flags, *quick, "--iptables-flavour", flavour), folder / "agent.log", environment=environment
    )


JUMP = re.compile(r"(?:^| )-j (\S+)")
PLURALS = {"Service": "services", "EndpointSlice": "endpointslices"}


def collection(manifest: Mapping[str, Any]) -> str:
    """The path under which objects of this manifest's kind and namespace are made."""
    group = "/api/v1" if manifest["apiVersion"] == "v1" else f"/apis/{manifest['apiVersion']}"
    return f"{group}/namespaces/{manifest['metadata']['namespace']}/{PLURALS[manifest['kind']]}"


def create(control_plane: ControlPlane, manifest: Mapping[str, Any]) -> None:
    """Creates an object, and its status where it has one."""
    _write(control_plane, "POST", collection(manifest), manifest)


def replace(control_plane: ControlPlane, manifest: Mapping[str, Any]) -> None:
    """Writes over an object that exists, and over its status where the manifest has one."""
    _write(control_plane, "PUT", f"{collection(manifest)}/{manifest['metadata']['name']}", manifest)


def delete(control_plane: ControlPlane, manifest: Mapping[str, Any]) -> None:
    control_plane.request("DELETE", f"{collection(manifest)}/{manifest['metadata']['name']}")


def _write(control_plane: ControlPlane, method: str, path: str, manifest: Mapping[str, Any]) -> None:
    made = control_plane.request(method, path, {name: part for name, part in manifest.items() if name != "status"})
    if status := manifest.get("status"):
        one = f"{collection(manifest)}/{manifest['metadata']['name']}"
        control_plane.request("PUT", f"{one}/status", {**made, "status": status})


def names_in(lines: Sequence[str]) -> list[str]:
    """The chains and verdicts that these rules jump to."""
    return [found[1] for text in lines if (found := JUMP.search(text))]

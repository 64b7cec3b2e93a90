"""The real kube-proxy in a network namespace.

In: binaries, a namespace, a kubeconfig that leads to an API server from inside it, the node's name, and the flavour of
iptables to program. Out: a process whose rules can be read with iptables-save, its metrics and its health.
Refuses to run outside a namespace: it would rewrite the machine's own NAT table.

The Node object should exist first (`ControlPlane.add_node`): kube-proxy takes its addresses from it, and waits for it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from peers.processes import Process
from peers.reach import Answer, HttpServer

Flavour: TypeAlias = Literal["nft", "legacy"]

METRICS_PORT, HEALTHZ_PORT = 10249, 10256
LAST_TIME = re.compile(
    r'^kubeproxy_sync_proxy_rules_last_(queued_)?timestamp_seconds\{ip_family="(\w+)"\} (\S+)$', re.MULTILINE
)
TOOLS = tuple(f"{family}{tool}" for family in ("iptables", "ip6tables") for tool in ("", "-save", "-restore"))


class KubeProxy:
    """kube-proxy with a configuration file of our making.

    kubeconfig     as written by `ControlPlane.kubeconfig("system:kube-proxy", server=...)`
    hostname       the Node's name
    cluster_cidr   pod range, "" for none: what counts as local traffic and is not masqueraded
    flavour        which iptables it finds on its PATH
    config         fields of KubeProxyConfiguration, laid over ours
    """

    def __init__(
        self,
        binaries: Path,
        folder: Path,
        *,
        netns: str,
        kubeconfig: Path,
        hostname: str,
        cluster_cidr: str = "",
        flavour: Flavour = "nft",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        if not netns:
            raise ValueError("kube-proxy needs a network namespace of its own: it rewrites the NAT table it finds")
        file = folder / "kube-proxy.json"
        file.write_text(json.dumps({**configuration(kubeconfig, hostname, cluster_cidr), **(config or {})}, indent=1))
        environment = {
            **os.environ,
            "PATH": f"{iptables_folder(folder, flavour)}:{os.environ['PATH']}",
            # The lock file is one for the machine, the tables are one a namespace.
            "XTABLES_LOCKFILE": str(folder / "xtables.lock"),
        }
        argv = (binaries / "kube-proxy", "--config", file, "--v=2")
        self.process = Process(argv, folder / "kube-proxy.log", netns=netns, environment=environment)
        self._metrics = HttpServer("127.0.0.1", METRICS_PORT, netns)
        self._health = HttpServer("127.0.0.1", HEALTHZ_PORT, netns)

    def start(self) -> None:
        """Returns after the first successful sync of every address family."""
        self.process.start()
        try:
            self.process.wait_until(self.synced, "kube-proxy has synced its rules", 60)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Its rules stay, as on a node."""
        self.process.stop()

    def __enter__(self) -> KubeProxy:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def synced(self) -> bool:
        """Whether each address family has synced since a sync was last asked for."""
        times = {(bool(queued), family): float(at) for queued, family, at in LAST_TIME.findall(self.metrics())}
        asked = {family: at for (queued, family), at in times.items() if queued}
        return bool(asked) and all(times.get((False, family), 0.0) >= at for family, at in asked.items())

    def metrics(self) -> str:
        """The text of /metrics. OSError when kube-proxy does not listen."""
        return self._metrics.request("GET", "/metrics").body.decode()

    def healthz(self) -> Answer:
        return self._health.request("GET", "/healthz")


def configuration(kubeconfig: Path, hostname: str, cluster_cidr: str) -> dict[str, Any]:
    """A KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1) for iptables mode."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "hostnameOverride": hostname,
        "clusterCIDR": cluster_cidr,
        "mode": "iptables",
        "metricsBindAddress": f"127.0.0.1:{METRICS_PORT}",
        "healthzBindAddress": f"127.0.0.1:{HEALTHZ_PORT}",
        # Zero means "leave it": nf_conntrack_max is read-only in a namespace, and failing to set it is fatal.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def iptables_folder(folder: Path, flavour: Flavour) -> Path:
    """A folder for the front of PATH whose `iptables`, `iptables-save`, … are of that flavour.

    FileNotFoundError when the machine lacks it; Debian's package `iptables` holds both.
    """
    links = folder / f"iptables-{flavour}"
    links.mkdir(exist_ok=True)
    search = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    for tool in TOOLS:
        wanted = re.sub("tables", f"tables-{flavour}", tool)
        found = shutil.which(wanted, path=search)
        if found is None:
            raise FileNotFoundError(f"no {wanted} on PATH or in /usr/sbin: install the package iptables")
        if not (links / tool).is_symlink():
            (links / tool).symlink_to(found)
    return links

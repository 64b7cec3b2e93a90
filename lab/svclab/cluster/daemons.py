"""Which daemons a lab has, where they run and with which flags; pure.

In: a plan and the lab's folder. Out: a list in the order of starting. A daemon's name is unique in the lab and is the
name of its log. `program` is one of the installed commands.
"""

from __future__ import annotations

import msgspec

from svclab.cluster.plan import API_PORT, CLUSTER_DOMAIN, NODE_DNS, NODE_MASK, Plan

HEARTBEAT = "2s"  # of each node's lease
NODE_COREFILE = "nodelocal.Corefile"  # in the lab's folder
GRACE = "8s"  # without one, until a node counts as dead: Kubernetes' own ratio of four


class Daemon(msgspec.Struct, frozen=True):
    """`host` is where it runs, "" for this machine itself; `node` is the node it belongs to, if any.

    `needs_api`: started before the API server answers, it would fail, and wait before it tries again.
    """

    name: str
    host: str
    program: str
    arguments: tuple[str, ...]
    node: str = ""
    needs_api: bool = True


def daemons(plan: Plan, folder: str) -> tuple[Daemon, ...]:
    """All of them."""
    found = [_apiserver(plan, folder), _controllers(plan, folder)]
    for node in plan.node_names:
        found += [_kubelet(plan, folder, node), _agent(plan, folder, node), _nodelocal(plan, folder, node)]
    found.append(Daemon("upstream", "internet", "svcplane-lab", ("upstream",), needs_api=False))
    if plan.lb_pool:
        found.append(Daemon("pool-route", "", "svcplane-lab", ("supervise", "--pool-route", "--state", folder)))
    return tuple(found)


def _apiserver(plan: Plan, folder: str) -> Daemon:
    address, pki = plan.hosts["control"], f"{folder}/pki"
    arguments = (
        "apiserver",
        "--bind-address=0.0.0.0",
        f"--secure-port={API_PORT}",
        f"--advertise-address={address}",
        f"--data={folder}/apiserver.db",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--service-account-key-file={pki}/service-accounts.key",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--service-cluster-ip-range={plan.service_cidr}",
    )
    return Daemon("apiserver", "control", "svcplane-lab", arguments, needs_api=False)


def _controllers(plan: Plan, folder: str) -> Daemon:
    arguments = (
        "controllers",
        f"--kubeconfig={folder}/kubeconfigs/controllers.conf",
        f"--cluster-cidr={plan.cluster_cidr}",
        f"--node-cidr-mask-size={NODE_MASK}",
        f"--service-cluster-ip-range={plan.service_cidr}",
        f"--lb-pool={plan.lb_pool}",
        f"--node-monitor-grace-period={GRACE}",
        f"--root-ca-file={folder}/pki/ca.crt",
    )
    return Daemon("controllers", "control", "svcplane-lab", arguments)


def _kubelet(plan: Plan, folder: str, node: str) -> Daemon:
    arguments = (
        "kubelet",
        f"--hostname-override={node}",
        f"--kubeconfig={folder}/kubeconfigs/{node}.conf",
        f"--node-ip={plan.hosts[node]}",
        f"--root-dir={folder}/hosts/{node}/kubelet",
        f"--cluster-dns={plan.dns_service}",
        f"--cluster-domain={CLUSTER_DOMAIN}",
        f"--node-status-update-frequency={HEARTBEAT}",
        *((f"--images={plan.images}",) if plan.images else ()),
    )
    return Daemon(f"{node}-kubelet", node, "svcplane-lab", arguments, node)


def _agent(plan: Plan, folder: str, node: str) -> Daemon:
    arguments = (
        "run",
        f"--hostname-override={node}",
        f"--kubeconfig={folder}/kubeconfigs/agent.conf",
        f"--cluster-cidr={plan.cluster_cidr}",
        # Who types `expose` and `curl` shall not have to wait for the end of a second.
        "--iptables-min-sync-period=100ms",
        # The machine's own matters, which a namespace may not set.
        "--conntrack-max-per-core=0",
        "--oom-score-adj=0",
    )
    return Daemon(f"{node}-agent", node, "svcplane-agent", arguments, node)


def _nodelocal(plan: Plan, folder: str, node: str) -> Daemon:
    """As NodeLocal DNSCache: on an address of its own, and on the one that pods have in their resolv.conf."""
    arguments = (
        "nodelocal",
        f"--local-ip={NODE_DNS},{plan.dns_service}",
        f"--cluster-dns={plan.dns_upstream}",
        f"--conf={folder}/{NODE_COREFILE}",
        "--sync-interval=5",
    )
    return Daemon(f"{node}-nodelocal", node, "svcplane-dns", arguments, node, needs_api=False)

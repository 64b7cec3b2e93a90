"""Which rows the demo plays, in the order of the acceptance table. What disturbs the others plays at the end, alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from svclab.demo.row_names import external_names, names, outside_endpoints
from svclab.demo.row_nodelocal import node_caches
from svclab.demo.row_outside import load_balancers, node_ports
from svclab.demo.row_pods import pods
from svclab.demo.row_services import affinity, cluster_ips, ports
from svclab.demo.row_workloads import dead_node, labels, workloads
from svclab.demo.stage import Stage
from svclab.errors import LabError


class Row(NamedTuple):
    """`name` begins with the number in the table."""

    name: str
    title: str
    play: Callable[[Stage], None]
    alone: bool = False


ROWS = (
    Row("1", "pods: one network namespace, an address each, no NAT", pods),
    Row("2", "replicas are kept, endpoints follow, a rolling update loses nothing", workloads),
    Row("3", "labels move a pod out of its Service and its ReplicaSet, and back", labels),
    Row("4", "ClusterIP: kubectl expose, an even choice of pods", cluster_ips),
    Row("5", "sessionAffinity ClientIP", affinity),
    Row("6", "several ports, and messages for what is wrong", ports),
    Row("8", "names from a pod", names),
    Row("9", "NodePort from outside, the rules, a selector that misses", node_ports),
    Row("11", "LoadBalancer", load_balancers),
    Row("13", "ExternalName", external_names),
    Row("14", "Endpoints by hand, outside the cluster", outside_endpoints),
    Row("17", "a DNS cache on every node", node_caches, alone=True),
    Row("2-dead", "a dead node", dead_node, alone=True),
)


def chosen(only: str) -> tuple[Row, ...]:
    """The rows of a list such as `1,4,9`; a number means all rows of that number; empty means all. LabError if none."""
    if not only:
        return ROWS
    wanted = [word.strip() for word in only.split(",") if word.strip()]
    there = {row.name for row in ROWS} | {row.name.partition("-")[0] for row in ROWS}
    unknown = [word for word in wanted if word not in there]
    if unknown or not wanted:
        known = ", ".join(row.name for row in ROWS)
        raise LabError(f"--only {only}: {unknown[0] if unknown else 'it'} is no row; there are {known}")
    return tuple(row for row in ROWS if {row.name, row.name.partition("-")[0]} & set(wanted))

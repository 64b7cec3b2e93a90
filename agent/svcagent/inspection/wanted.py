"""The rules that a node would get, computed from an inventory alone: no kernel is asked.

In: an `Inventory`, `Options`, the node's name. Out: a `Site`, which is where rules stand (dialect, addresses), and
`Tables`. The way is the daemon's own: a `Pipeline` whose first pass finds an empty kernel. What only the node knows is
taken as usual there: its addresses are those of its Node object and loopback, MASQUERADE takes --random-fully, and
conntrack is as liberal as the options say.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from svcagent.compile import ChainKey
from svcagent.dialect import LOOPBACK, Dialect, dialect
from svcagent.inspection.inventory import Inventory, canonical
from svcagent.options import Options
from svcagent.pipeline import Pipeline
from svcagent.resolve import NodeView
from svckube.objects import Node
from svcnet.rules import FAMILIES, Chain, Family, Rule, Tables

BUILT_IN = {
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
}


class Site(msgspec.Struct, frozen=True):
    """The node that rules are computed for. `addresses` are its own, of either family, as canonical text."""

    view: NodeView
    dialects: dict[Family, Dialect]
    addresses: frozenset[str]


class Wanted(msgspec.Struct, frozen=True):
    """The rules of one family. `problems` are those of objects that are partly ignored, by `namespace/name`."""

    tables: Tables
    problems: dict[str, tuple[str, ...]]


def node_addresses(node: Node | None) -> frozenset[str]:
    """The addresses that a Node object tells, and loopback's; what does not parse (a host name) is left out."""
    told = (each.address for each in (node.status.addresses or ())) if node else ()
    return frozenset(canonical(told)) | frozenset(LOOPBACK.values())


def site(options: Options, objects: Inventory, name: str, *, accounting: bool = False) -> Site:
    """The node `name`, as the options and its Node object (if there is one) shape it."""
    node = objects.nodes.get(name)
    addresses = node_addresses(node)
    labels = node.metadata.labels if node else None
    dialects = {
        family: dialect(
            options,
            family,
            node,
            addresses,
            random_fully=True,
            drop_invalid=not options.conntrack.tcp_be_liberal,
            accounting=accounting,
        )
        for family in FAMILIES
    }
    return Site(NodeView(name, labels.zone if labels else "", options.external_ip_ranges), dialects, addresses)


def _chains(objects: Inventory, keys: Iterable[str] | None, where: Site, family: Family) -> tuple[Tables, Pipeline]:
    """All tables after a first pass that found nothing."""
    pipeline = Pipeline(where.dialects[family], where.view)
    patch = pipeline.full(objects.touched(keys), "")
    rules: dict[ChainKey, tuple[Rule, ...]] = {(table, name): () for table, names in BUILT_IN.items() for name in names}
    rules.update(patch.rewrite)
    for hook in patch.insert:
        rules[hook.table, hook.chain] = (hook.rule, *rules[hook.table, hook.chain])
    tables: Tables = {}
    for (table, name), found in rules.items():
        policy = "ACCEPT" if name in BUILT_IN[table] else "-"
        tables.setdefault(table, {})[name] = Chain(name, found, policy)
    return tables, pipeline


def wanted(objects: Inventory, where: Site, family: Family) -> Wanted:
    """Everything that the node would get."""
    tables, pipeline = _chains(objects, None, where, family)
    return Wanted(tables, dict(pipeline.problems))


def wanted_for(objects: Inventory, keys: Iterable[str], where: Site, family: Family) -> Wanted:
    """What these Services add: their own chains, and their lines in the shared chains."""
    with_them, pipeline = _chains(objects, tuple(keys), where, family)
    without, _ = _chains(objects, (), where, family)
    tables: Tables = {}
    for table, chains in with_them.items():
        for name, chain in chains.items():
            common = without.get(table, {}).get(name)
            lines = tuple(rule for rule in chain.rules if common is None or rule not in common.rules)
            if lines:
                tables.setdefault(table, {})[name] = msgspec.structs.replace(chain, rules=lines)
    return Wanted(tables, dict(pipeline.problems))

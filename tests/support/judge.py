"""Judges of the flow table: of rules (ours as compiled, anybody's as dumped), and of what was really sent."""

from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction
from functools import cache

import msgspec

from support.flows import CLIENT, CLIENT6, CLUSTER_CIDR, FLOWS, NODE, NODE6, NODE_NAME, OBJECTS, PODS, PODS6, Flow
from svcagent.dialect import dialect
from svcagent.options import parse as parse_options
from svcagent.patch import Patch
from svcagent.pipeline import Pipeline
from svcagent.resolve import NodeView
from svckube.objects import EndpointSlice, KubeObject, Service
from svckube.store import Store
from svckube.stream import Applied
from svcnet.rules import FAMILIES, Chain, Family, Tables
from svcnet.trace import Host, Packet, sentence, trace

KINDS: dict[str, type[KubeObject]] = {"Service": Service, "EndpointSlice": EndpointSlice}

NODE_ADDRESSES = frozenset({NODE, NODE6, "127.0.0.1", "::1", "169.254.1.1"})

BUILT_IN = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
}
EMPTY_DUMP = "".join(
    f"*{table}\n" + "".join(f":{chain} ACCEPT [0:0]\n" for chain in chains) + "COMMIT\n"
    for table, chains in BUILT_IN.items()
)
"""iptables-save of a host without any rules."""


def objects() -> list[KubeObject]:
    """The table's objects, decoded as the API server's would be."""
    return [msgspec.convert(each, KINDS[each["kind"]]) for each in OBJECTS]


def store_of(found: list[KubeObject]) -> Store:
    store = Store(KINDS.values())
    for each in found:
        store.apply(Applied(each))
    return store


def pipeline_of(family: Family) -> Pipeline:
    options = parse_options(["--cluster-cidr", CLUSTER_CIDR])
    shape = dialect(options, family, None, NODE_ADDRESSES, random_fully=True, drop_invalid=True, accounting=True)
    return Pipeline(shape, NodeView(NODE_NAME))


def services_of(store: Store, keys: list[str] | None = None):  # type: ignore[no-untyped-def]  # Touched
    for key in sorted(store.objects(Service)) if keys is None else keys:
        yield key, store.get(Service, key), store.slices(key)


def applied_to_nothing(patch: Patch) -> Tables:
    """The tables of a host that had no rules before `patch`."""
    tables: Tables = {
        table: {name: Chain(name, policy="ACCEPT") for name in chains} for table, chains in BUILT_IN.items()
    }
    for (table, name), rules in patch.rewrite.items():
        tables.setdefault(table, {})[name] = Chain(name, rules)
    for hook in patch.insert:
        chain = tables[hook.table][hook.chain]
        tables[hook.table][hook.chain] = Chain(hook.chain, (hook.rule, *chain.rules), chain.policy)
    return tables


@cache
def compiled() -> dict[Family, Tables]:
    """What we would write for the table's objects, per family."""
    store = store_of(objects())
    return {family: applied_to_nothing(pipeline_of(family).full(services_of(store), EMPTY_DUMP)) for family in FAMILIES}


def packet(flow: Flow) -> Packet:
    six = ":" in flow.address
    sources = {
        "node": "",
        "client": CLIENT6 if six else CLIENT,
        **(PODS6 if six else PODS),
    }
    interfaces = {"node": "", "client": "eth0", "pod3": "eth0"}
    node = flow.address if flow.address == "127.0.0.1" else (NODE6 if six else NODE)
    return Packet(
        source=sources[flow.source] or node,
        destination=flow.address,
        port=flow.port,
        protocol=flow.protocol,
        in_interface=interfaces.get(flow.source, flow.source),
    )


def judge(flow: Flow, tables: dict[Family, Tables]) -> None:
    """AssertionError, with the rules that were met, unless every possible outcome is what the table says."""
    six = ":" in flow.address
    outcomes = trace(tables["IPv6" if six else "IPv4"], Host(NODE_ADDRESSES), packet(flow))
    shown = "\n".join(f"{sentence(each)}\n  " + "\n  ".join(map(str, each.steps)) for each in outcomes)
    landed: dict[str, Fraction] = defaultdict(Fraction)
    pods = {address: pod for pod, address in (PODS6 if six else PODS).items()}
    for each in outcomes:
        verdict = {"REJECT": "refused", "DROP": "dropped"}.get(each.verdict)
        landed[verdict or pods.get(each.destination, each.destination)] += each.share
        if verdict is None:
            assert each.port == flow.target, shown
            if flow.masqueraded is not None:
                assert each.masqueraded == flow.masqueraded, shown
    assert set(landed) == (set(flow.lands) or {flow.otherwise}), shown
    for share in landed.values():
        assert abs(share - Fraction(1, len(landed))) < Fraction(1, 10**6), shown


def judge_sent(flow: Flow, seen: Counter[tuple[str, str]]) -> None:
    """AssertionError unless connections of this row ended as the table says; `seen` is from `Site.send`."""
    landed = {where for where, _ in seen}
    if flow.sticky:
        assert len(landed) == 1, seen
        assert landed <= set(flow.lands), seen
        return
    assert landed == (set(flow.lands) or {flow.otherwise}), seen
    if flow.masqueraded is not None:
        assert {sender for _, sender in seen} == {"node" if flow.masqueraded else "sender"}, seen


assert len({flow.id for flow in FLOWS}) == len(FLOWS), "two rows of one name"

"""The rules of one service port and of none: shapes kube-proxy's documentation teaches, and even shares. Pure.

That every rule is kube-proxy's own is shown by the peers tests; here is what must hold of whatever is compiled.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.nodes import CLUSTER_CIDR, dialect_of, node
from support.worlds import NODE, OTHER_NODE, endpoint, service, services, slice_of, slices
from svcagent import skeleton
from svcagent.compile import Fragment, fragment
from svcagent.dialect import Dialect
from svcagent.resolve import NodeView, resolve
from svckube.objects import EndpointSlice, Service
from svcnet.rules import FAMILIES, Chain, Family, Goto, Jump, Rule, render
from svcnet.trace import Host, Packet, trace

VERDICTS = {"ACCEPT", "DROP", "RETURN"}
POD = endpoint("10.244.1.1")
FLAGS = ("--cluster-cidr", CLUSTER_CIDR)


def fragments(found: Service, *of: EndpointSlice, dialect: Dialect | None = None) -> list[Fragment]:
    shape = dialect or dialect_of(*FLAGS)
    return [fragment(port, shape) for port in resolve(found, of, shape.family, NodeView(NODE, "zone-a")).ports]


def one(found: Service, *of: EndpointSlice, dialect: Dialect | None = None) -> Fragment:
    (only,) = fragments(found, *of, dialect=dialect)
    return only


def texts(found: Fragment, prefix: str) -> list[str]:
    """The rules of the one chain of this kind."""
    ((_, rules),) = ((name, rules) for name, rules in found.chains.items() if name.startswith(f"KUBE-{prefix}-"))
    return [render(rule) for rule in rules]


def kinds(found: Fragment) -> list[str]:
    return sorted(name.split("-")[1] for name in found.chains)


def jumped_to(rules: tuple[Rule, ...]) -> set[str]:
    return {rule.target.chain for rule in rules if isinstance(rule.target, Jump | Goto)}


dialects = st.sampled_from(
    [
        dialect_of(*flags, family=family, accounting=accounting, drop_invalid=drop_invalid)
        for family in FAMILIES
        for accounting, drop_invalid in ((False, True), (True, False))
        for flags in ((), FLAGS, ("--masquerade-all",), ("--nodeport-addresses=192.168.0.0/16", *FLAGS))
    ]
)


@settings(max_examples=80, deadline=None)
@given(services("alpha"), st.lists(slices("alpha", 1), max_size=2), dialects)
def test_every_chain_that_a_rule_jumps_to_exists_and_every_chain_is_jumped_to(
    found: Service, of: list[EndpointSlice], dialect: Dialect
) -> None:
    base = skeleton.base(dialect)
    shared = {name for _, name in (*base, *skeleton.SHARED, *skeleton.ENSURED)}
    for each in fragments(found, *of, dialect=dialect):
        rules = [*each.chains.values(), *each.lines.values()]
        wanted = {chain for rule in rules for chain in jumped_to(rule)}
        assert wanted - VERDICTS - shared <= each.chains.keys()
        assert each.chains.keys() <= wanted
        assert all(chain[0] in ("nat", "filter") and chain in skeleton.SHARED for chain in each.lines)
        assert all(each.chains.values()), "a chain of its own without rules"


@given(dialects)
def test_the_skeletons_jumps_have_targets(dialect: Dialect) -> None:
    chains = {*skeleton.base(dialect), *skeleton.SHARED, *skeleton.ENSURED}
    for (table, _), rules in skeleton.base(dialect).items():
        assert {(table, chain) for chain in jumped_to(rules) - VERDICTS} <= chains
    for hook in skeleton.HOOKS:
        assert {(hook.table, chain) for chain in jumped_to((hook.rule,))} <= chains


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.sampled_from(FAMILIES))
def test_every_endpoint_gets_its_even_share(count: int, family: Family) -> None:
    prefix = "10.244.1." if family == "IPv4" else "fd00:10:244:1::"
    of = slice_of("web", *(endpoint(f"{prefix}{host}") for host in range(1, count + 1)), family=family)
    found = one(service(), of, dialect=dialect_of(*FLAGS, family=family))
    (entry,) = found.lines["nat", "KUBE-SERVICES"]
    chains = {name: Chain(name, rules) for name, rules in found.chains.items()}
    tables = {"nat": {**chains, "OUTPUT": Chain("OUTPUT", (entry,), "ACCEPT")}}
    source, destination = ("192.0.2.1", "10.96.0.10") if family == "IPv4" else ("fd00::1", "fd00:10:96::a")
    outcomes = trace(tables, Host(frozenset()), Packet(source, destination, 80))
    assert sum(each.share for each in outcomes) == 1
    assert len({each.destination for each in outcomes}) == count
    assert all(abs(each.share - Fraction(1, count)) < Fraction(1, 10**8) for each in outcomes)


HOLDERS: list[tuple[str, dict[str, Any], list[Any], list[str]]] = [
    ("cluster IP", {}, [POD], ["SEP", "SVC"]),
    ("no endpoints", {}, [], []),
    ("node port", {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}, [POD], ["EXT", "SEP", "SVC"]),
    (
        "external Local, here and there",
        {"externalIPs": ["203.0.113.1"], "externalTrafficPolicy": "Local"},
        [POD, endpoint("10.244.2.1", node=OTHER_NODE)],
        ["EXT", "SEP", "SEP", "SVC", "SVL"],
    ),
    (
        "external Local, only there",
        {"externalIPs": ["203.0.113.1"], "externalTrafficPolicy": "Local"},
        [endpoint("10.244.2.1", node=OTHER_NODE)],
        ["EXT", "SEP", "SVC"],
    ),
    ("internal Local", {"internalTrafficPolicy": "Local"}, [POD], ["SEP", "SVL"]),
    ("internal Local, only there", {"internalTrafficPolicy": "Local"}, [endpoint("10.244.2.1", node=OTHER_NODE)], []),
    (
        "both Local, and from outside the node's own traffic goes anywhere",
        {"internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local", "externalIPs": ["203.0.113.1"]},
        [POD],
        ["EXT", "SEP", "SVC", "SVL"],
    ),
    (
        "source ranges",
        {
            "type": "LoadBalancer",
            "loadBalancerSourceRanges": ["192.0.2.0/24"],
            "status": {"loadBalancer": {"ingress": [{"ip": "192.168.56.200"}]}},
        },
        [POD],
        ["EXT", "FW", "SEP", "SVC"],
    ),
    (
        "source ranges without an address to guard",
        {"loadBalancerSourceRanges": ["192.0.2.0/24"], "externalIPs": ["203.0.113.1"]},
        [POD],
        ["EXT", "SEP", "SVC"],
    ),
]


@pytest.mark.parametrize(("spec", "entries", "wanted"), [row[1:] for row in HOLDERS], ids=[row[0] for row in HOLDERS])
def test_which_chains_a_port_has(spec: dict[str, Any], entries: list[Any], wanted: list[str]) -> None:
    assert kinds(one(service(**spec), slice_of("web", *entries))) == wanted


MASQUERADE = [
    ("nothing tells the pods", (), []),
    ("by CIDR", FLAGS, ["! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp"]),
    (
        "by interface",
        ("--detect-local-mode=InterfaceNamePrefix", "--pod-interface-name-prefix=veth"),
        ["-d 10.96.0.10/32 ! -i veth+ -p tcp"],
    ),
    ("all", ("--masquerade-all", *FLAGS), ["-d 10.96.0.10/32 -p tcp"]),
]


@pytest.mark.parametrize(("flags", "starts"), [row[1:] for row in MASQUERADE], ids=[row[0] for row in MASQUERADE])
def test_who_is_masqueraded_to_the_cluster_ip(flags: tuple[str, ...], starts: list[str]) -> None:
    found = texts(one(service(), slice_of("web", POD), dialect=dialect_of(*flags)), "SVC")
    assert [text.partition(" -m comment")[0] for text in found if "KUBE-MARK-MASQ" in text] == starts


AFFINE = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}}}


def test_affinity_is_asked_for_before_the_dice_are_thrown() -> None:
    found = texts(one(service(**AFFINE), slice_of("web", POD, endpoint("10.244.1.2")), dialect=dialect_of()), "SVC")
    assert ["--rcheck --seconds 7 --reap" in text for text in found] == [True, True, False, False]
    assert ["--mode random" in text for text in found] == [False, False, True, False]


NODE_IN_RANGE = [("inside", "192.168.56.0/24", 2), ("outside", "192.0.2.0/24", 1)]


@pytest.mark.parametrize(("cidr", "rules"), [row[1:] for row in NODE_IN_RANGE], ids=[row[0] for row in NODE_IN_RANGE])
def test_a_node_within_the_ranges_may_come_from_the_balancers_address(cidr: str, rules: int) -> None:
    status = {"loadBalancer": {"ingress": [{"ip": "192.168.56.200"}]}}
    found = service(type="LoadBalancer", loadBalancerSourceRanges=[cidr], status=status)
    shape = dialect_of(*FLAGS, on=node("192.168.56.11"))
    assert len([text for text in texts(one(found, slice_of("web", POD), dialect=shape), "FW") if "-j" in text]) == rules


TAILS = [
    ("everywhere", (), "IPv4", ["-m addrtype --dst-type LOCAL"]),
    (
        "not on loopback",
        ("--iptables-localhost-nodeports=false",),
        "IPv4",
        ["! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL"],
    ),
    ("never on IPv6 loopback", (), "IPv6", ["! -d ::1/128 -m addrtype --dst-type LOCAL"]),
    ("on some", ("--nodeport-addresses=192.168.0.0/16,10.0.0.0/8",), "IPv4", ["-d 10.0.0.5/32", "-d 192.168.56.11/32"]),
    ("on none", ("--nodeport-addresses=172.16.0.0/12",), "IPv4", []),
]


@pytest.mark.parametrize(("flags", "family", "rules"), [row[1:] for row in TAILS], ids=[row[0] for row in TAILS])
def test_which_addresses_lead_to_node_ports(flags: tuple[str, ...], family: Family, rules: list[str]) -> None:
    comment = '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
    found = [render(rule) for rule in skeleton.node_port_tail(dialect_of(*flags, family=family))]
    assert [text.replace(f"{comment} ", "").removesuffix(" -j KUBE-NODEPORTS") for text in found] == rules
    assert all(text.endswith("-j KUBE-NODEPORTS") and comment in text for text in found)


ACCOUNTING = [("with nfacct", True, 1), ("without", False, 0)]


@pytest.mark.parametrize(("able", "count"), [row[1:] for row in ACCOUNTING], ids=[row[0] for row in ACCOUNTING])
def test_counters_where_the_kernel_has_them(able: bool, count: int) -> None:
    shape = dialect_of(accounting=able)
    forward = [render(rule) for rule in skeleton.base(shape)["filter", "KUBE-FORWARD"]]
    assert sum("--nfacct-name ct_state_invalid_dropped_pkts" in text for text in forward) == count
    found = one(service(ports=[{"port": 80, "nodePort": 30080}]), slice_of("web", POD), dialect=shape)
    ports = [render(rule) for rule in found.lines["nat", "KUBE-NODEPORTS"]]
    assert sum("--nfacct-name localhost_nps_accepted_pkts" in text for text in ports) == count


def test_a_liberal_conntrack_needs_no_drop_of_invalid_packets() -> None:
    rules = skeleton.base(dialect_of(drop_invalid=False))["filter", "KUBE-FORWARD"]
    assert not any("INVALID" in render(rule) for rule in rules)

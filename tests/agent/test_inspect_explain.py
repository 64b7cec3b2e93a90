"""Reasons against rules: in any cluster, whatever is stopped has a reason, and what arrives has none. Pure."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from support.flows import CLUSTER_CIDR, NODE, NODE6, NODE_NAME
from support.nodes import ADDRESSES
from support.worlds import World, worlds
from svcagent.inspection.destinations import of_inventory, of_rules
from svcagent.inspection.explain import Question, reasons
from svcagent.inspection.inventory import Inventory, SelectingService, inventory
from svcagent.inspection.wanted import Site, site, wanted
from svcagent.options import parse as parse_options
from svcnet.rules import FAMILIES, Family, family_of
from svcnet.trace import Host, Packet, trace

HOST = Host(frozenset(ADDRESSES))
SENDERS: dict[Family, list[tuple[str, str]]] = {
    "IPv4": [("10.244.1.1", "pod"), ("192.0.2.1", "eth0"), (NODE, "")],
    "IPv6": [("fd00:10:244:1::1", "pod"), ("2001:db8::1", "eth0"), (NODE6, "")],
}
WHY = {"NoEndpoints", "NotReady", "NoSuchTargetPort", "LocalPolicy", "SourceRanges"}


def stood(world: World) -> tuple[Inventory, Site]:
    services = (msgspec.convert(msgspec.to_builtins(each), SelectingService) for each in world.services.values())
    objects = inventory((*services, *world.slices.values()))
    return objects, site(parse_options(["--cluster-cidr", CLUSTER_CIDR]), objects, NODE_NAME)


@settings(max_examples=60, deadline=None)
@given(worlds(), st.sampled_from(FAMILIES), st.integers(0, 2))
def test_a_reason_if_and_only_if_something_stops_it(world: World, family: Family, sender: int) -> None:
    objects, where = stood(world)
    tables = wanted(objects, where, family).tables
    known = tuple(of_inventory(objects, where.view))
    source, interface = SENDERS[family][sender]
    for goal in known:
        address = goal.address or (ADDRESSES[2] if family == "IPv4" else ADDRESSES[4])
        if family_of(address) != family:
            continue
        packet = Packet(source, address, goal.port, goal.protocol, interface)
        outcomes = tuple(trace(tables, HOST, packet))
        question = Question(packet, outcomes, HOST, where.view, known, objects)
        codes = {each.code for each in reasons(question)}
        if question.arrives and question.translated:
            assert codes == set()
        elif question.arrives:
            # The node itself may send to addresses that only KUBE-EXTERNAL-SERVICES would refuse: kube-proxy's gap.
            assert goal.kind in ("external IP", "loadbalancer IP")
            assert not interface
        else:
            assert codes
            assert codes <= WHY


@settings(max_examples=60, deadline=None)
@given(worlds(), st.sampled_from(FAMILIES))
def test_the_rules_tell_what_the_objects_tell(world: World, family: Family) -> None:
    """All destinations can be read from the comments, but not which node ports are of the other family."""
    objects, where = stood(world)
    told = set(of_rules(wanted(objects, where, family).tables))
    meant = {
        each for each in of_inventory(objects, where.view) if not each.address or family_of(each.address) == family
    }
    # Refused external and load balancer IPs have one comment.
    assert {(each.service, each.address, each.port, each.protocol) for each in told} == {
        (each.service, each.address, each.port, each.protocol) for each in meant
    }

"""The flow table, judged by real sockets through the rules that the agent's own loop has written."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from support.flows import CLUSTER_CIDR, FLOWS, NODE_NAME, Flow
from support.judge import judge_sent, objects
from support.site import Site, site
from svcagent.metrics import Metrics
from svcagent.node import set_sysctls
from svcagent.options import parse as parse_options
from svcagent.sync import Agent
from svckube.objects import EndpointSlice, Node, Service
from svckube.store import Listed
from svcnet.rules import FAMILIES
from svcnet.writers import Flavour, Iptables

pytestmark = pytest.mark.netns

Sent = dict[str, Counter[tuple[str, str]]]


def programmed(found: Site, flavour: Flavour) -> Agent:
    """An agent that has done its first pass on the site's node. Call it inside the node's namespace."""
    options = parse_options(["--cluster-cidr", CLUSTER_CIDR, "--conntrack-max-per-core", "0"])
    set_sysctls(options)
    agent = Agent(options, NODE_NAME, [Iptables(family, flavour) for family in FAMILIES], Metrics(CollectorRegistry()))
    services = tuple(each for each in objects() if isinstance(each, Service))
    slices = tuple(each for each in objects() if isinstance(each, EndpointSlice))
    agent.receive([Listed(Service, services), Listed(EndpointSlice, slices), Listed(Node, ())])
    agent.step(time.monotonic())
    return agent


@pytest.fixture(scope="module", params=["nft", "legacy"])
def sent(request: pytest.FixtureRequest) -> Iterator[Sent]:
    with site(request.param) as found:
        with found.node.entered():
            agent = programmed(found, request.param)
            assert agent.livez()[0] == 200
        yield found.send_all(FLOWS)


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.id for flow in FLOWS])
def test_flow_lands_where_the_table_says(sent: Sent, flow: Flow) -> None:
    judge_sent(flow, sent[flow.id])

"""The flow table, judged by real sockets through the rules that the agent's own loop has written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from support.flows import CLUSTER_CIDR, FLOWS, NODE_NAME, Flow
from support.judge import judge_sent, objects
from support.site import site
from support.stepped import Stepped

pytestmark = pytest.mark.netns

Sent = dict[str, Counter[tuple[str, str]]]


@pytest.fixture(scope="module", params=["nft", "legacy"])
def sent(request: pytest.FixtureRequest) -> Iterator[Sent]:
    with site(request.param) as found:
        with found.node.entered():
            stepped = Stepped(request.param, "--cluster-cidr", CLUSTER_CIDR, node=NODE_NAME)
            stepped.start(*objects())
            assert stepped.agent.livez()[0] == 200
        yield found.send_all(FLOWS)


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.id for flow in FLOWS])
def test_flow_lands_where_the_table_says(sent: Sent, flow: Flow) -> None:
    judge_sent(flow, sent[flow.id])

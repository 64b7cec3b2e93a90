"""The packet matrix, judged by real sockets through the rules that the agent's own loop has written.

All of it on the nft flavour; on the legacy one the Services whose policies are both Local, which use every chain.
"""

from __future__ import annotations

import pytest

from support.flows import CLUSTER_CIDR, NODE_NAME
from support.matrix import IDS, ROWS, SUBJECTS, Row, Seen, judge_sent, lead_to_node, objects, send_all
from support.site import site
from support.stepped import Stepped
from svcnet.writers import Flavour

pytestmark = pytest.mark.netns

LEGACY_ROWS = [row for each in SUBJECTS if each.external == each.internal == "Local" for row in each.rows()]


def sent_through(flavour: Flavour, rows: list[Row]) -> dict[str, Seen]:
    with site(f"mx-{flavour}") as found:
        lead_to_node(found)
        with found.node.entered():
            stepped = Stepped(flavour, "--cluster-cidr", CLUSTER_CIDR, node=NODE_NAME)
            stepped.start(*objects())
        try:
            assert stepped.agent.livez()[0] == 200
            return send_all(found, rows)
        finally:
            stepped.agent.close()


@pytest.fixture(scope="module")
def through_nft() -> dict[str, Seen]:
    return sent_through("nft", ROWS)


@pytest.fixture(scope="module")
def through_legacy() -> dict[str, Seen]:
    return sent_through("legacy", LEGACY_ROWS)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_packets_end_as_kubernetes_says(through_nft: dict[str, Seen], row: Row) -> None:
    judge_sent(row, through_nft[row.id])


@pytest.mark.parametrize("row", LEGACY_ROWS, ids=[row.id for row in LEGACY_ROWS])
def test_packets_end_the_same_on_legacy(through_legacy: dict[str, Seen], row: Row) -> None:
    judge_sent(row, through_legacy[row.id])

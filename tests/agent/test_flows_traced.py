"""The flow table, judged by `trace` over the rules that we compile. Pure: no kernel, no root."""

from __future__ import annotations

import pytest

from support.flows import FLOWS, Flow
from support.judge import compiled, judge


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.id for flow in FLOWS])
def test_flow_lands_where_the_table_says(flow: Flow) -> None:
    judge(flow, compiled())

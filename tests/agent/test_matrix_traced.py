"""The packet matrix, judged by `trace` over the rules that we compile. Pure: no kernel, no root."""

from __future__ import annotations

import pytest

from support.judge import EMPTY_DUMP, applied_to_nothing, pipeline_of, services_of, store_of
from support.matrix import IDS, ROWS, Row, objects, traced
from svcnet.rules import FAMILIES, Family, Tables


@pytest.fixture(scope="module")
def compiled() -> dict[Family, Tables]:
    store = store_of(objects())
    return {family: applied_to_nothing(pipeline_of(family).full(services_of(store), EMPTY_DUMP)) for family in FAMILIES}


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_packet_ends_as_kubernetes_says(compiled: dict[Family, Tables], row: Row) -> None:
    traced(row, compiled)

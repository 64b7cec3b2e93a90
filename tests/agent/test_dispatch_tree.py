"""Trees in place of long lists: every packet lands as before, with the same shares. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.crowd import cluster_ip, crowd_service, crowd_slice, name_of
from support.flows import FLOWS, Flow
from support.judge import EMPTY_DUMP, applied_to_nothing, judge, objects, services_of, store_of
from support.nodes import CLUSTER_CIDR, pipeline_of
from support.restored import Restored
from support.worlds import endpoint, service, slice_of
from svcagent.dialect import MOST_SERVICES
from svcagent.patch import Patch, RestoreInput, installed, removal
from svcagent.pipeline import Pipeline, Touched
from svcnet.rules import FAMILIES, Tables
from svcnet.trace import Host, Packet, trace

NODE_PORT = 30000
ADDRESSES = frozenset({"192.168.56.11", "127.0.0.1"})


@pytest.fixture(scope="module")
def treed() -> dict[str, Tables]:
    store = store_of(objects())
    return {
        family: applied_to_nothing(pipeline_of("--dispatch=tree", family=family).full(services_of(store), EMPTY_DUMP))
        for family in FAMILIES
    }


def test_the_flow_tables_state_is_large_enough_for_trees(treed: dict[str, Tables]) -> None:
    assert any("/" in name for name in treed["IPv4"]["nat"])


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.id for flow in FLOWS])
def test_flow_lands_where_the_table_says(treed: dict[str, Tables], flow: Flow) -> None:
    judge(flow, treed)


def crowd(count: int, *flags: str) -> tuple[Pipeline, Tables]:
    pipeline = pipeline_of(*flags)
    found = ((f"ns/{name_of(each)}", of(each), (crowd_slice(each, 1),)) for each in range(count))
    return pipeline, applied_to_nothing(pipeline.full(found, EMPTY_DUMP))


def of(number: int):  # type: ignore[no-untyped-def]  # Service
    return crowd_service(number, type="NodePort", ports=[{"port": 80, "nodePort": NODE_PORT + number}])


def way(tables: Tables, address: str, port: int) -> tuple[str, int]:
    """Where a packet lands, and how many rules of shared chains and trees stand before the service's own."""
    (outcome,) = trace(tables, Host(ADDRESSES), Packet("192.168.56.100", address, port, in_interface="eth0"))
    return outcome.destination, len(outcome.steps)


@pytest.mark.parametrize("count", [MOST_SERVICES, MOST_SERVICES + 1], ids=["the longest list", "one more"])
def test_auto_is_a_list_up_to_a_border_and_every_service_is_reached_on_either_side(count: int) -> None:
    _, tables = crowd(count)
    lists = (len(tables["nat"][name].rules) for name in ("KUBE-SERVICES", "KUBE-NODEPORTS"))
    assert [each > 900 for each in lists] == [count == MOST_SERVICES] * 2
    for number in (0, 1, count // 2, count - 1):
        expected = crowd_slice(number, 1).endpoints[0].addresses[0]  # type: ignore[index]
        assert way(tables, cluster_ip(number), 80)[0] == expected
        assert way(tables, "192.168.56.11", NODE_PORT + number)[0] == expected


def test_nothing_of_a_tree_is_left_after_a_cleanup() -> None:
    found = ((f"ns/{name_of(each)}", of(each), (crowd_slice(each, 1),)) for each in range(50))
    kernel = Restored()
    kernel.restore("".join(RestoreInput(pipeline_of("--dispatch=tree").portions(found, installed(kernel.dump())))))
    assert any("/" in name for name in kernel.tables["nat"])
    kernel.restore(removal(kernel.dump()))
    assert kernel.dump() == Restored().dump()


def test_flat_stays_a_list() -> None:
    _, tables = crowd(MOST_SERVICES + 1, "--dispatch=flat")
    assert len(tables["nat"]["KUBE-SERVICES"].rules) == MOST_SERVICES + 2


def test_a_new_service_among_many_writes_a_few_chains() -> None:
    pipeline, _ = crowd(MOST_SERVICES + 500)
    number = MOST_SERVICES + 500
    patch = pipeline.partial([(f"ns/{name_of(number)}", of(number), (crowd_slice(number, 1),))])
    assert len(patch.rewrite) <= 20
    assert sum(map(len, patch.rewrite.values())) <= 80


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=80), st.integers(1, 9))
def test_every_order_of_events_ends_in_the_tree_of_a_fresh_start(events: list[tuple[int, bool]], every: int) -> None:
    """The model refuses a jump to a chain that is not there, and to delete one that is jumped to."""
    pipeline, kernel = pipeline_of("--dispatch=tree"), Restored()
    there: set[int] = set()
    touched: set[int] = set()

    def passes(found: Iterable[int], write: Callable[[Touched], Patch]) -> None:
        patch = write(
            [
                (f"ns/{name_of(each)}", of(7 * each) if each in there else None, (crowd_slice(each, 1),))
                for each in found
            ]
        )
        kernel.restore("".join(RestoreInput([patch])))
        pipeline.applied(patch)

    passes((), lambda found: pipeline.full(found, kernel.dump()))
    for count, (number, comes) in enumerate(events):
        (there.add if comes else there.discard)(number)
        touched.add(number)
        if count % every == 0:
            passes(sorted(touched), pipeline.partial)
            touched.clear()
    passes(sorted(touched), pipeline.partial)
    assert pipeline.differences(kernel.dump()) == {}
    again, fresh = pipeline_of("--dispatch=tree"), Restored()
    patch = again.full([(f"ns/{name_of(each)}", of(7 * each), (crowd_slice(each, 1),)) for each in sorted(there)], "")
    fresh.restore("".join(RestoreInput([patch])))
    assert kernel.dump() == fresh.dump()


MANY = 300


def shares(*flags: str, affinity: str = "None") -> tuple[Counter[str], dict[str, Fraction]]:
    """Chain kinds of one service with many endpoints, and each endpoint's share of new connections."""
    pipeline = pipeline_of(*flags)
    addresses = [f"10.244.{1 + number // 250}.{1 + number % 250}" for number in range(MANY)]
    touched = [("ns/web", service(sessionAffinity=affinity), (slice_of("web", *map(endpoint, addresses)),))]
    tables = applied_to_nothing(pipeline.full(touched, EMPTY_DUMP))
    landed: dict[str, Fraction] = dict.fromkeys(addresses, Fraction())
    for each in trace(tables, Host(ADDRESSES), Packet("10.244.1.9", "10.96.0.10", 80, in_interface="eth0")):
        landed[each.destination] += each.share
    return Counter(name[:9] for name in tables["nat"]), landed


def test_very_many_endpoints_are_chosen_from_in_two_steps_with_the_same_shares() -> None:
    kinds, landed = shares()
    flat, before = shares("--dispatch=flat")
    assert flat["KUBE-SVC-"] == 1
    assert 8 <= kinds["KUBE-SVC-"] <= 1 + 64
    assert kinds["KUBE-SEP-"] == flat["KUBE-SEP-"] == MANY
    for found in (landed, before):
        assert sum(found.values()) == 1
        assert all(abs(share - Fraction(1, MANY)) < Fraction(1, 10**7) for share in found.values())


def test_affinity_asks_every_endpoint_and_stays_a_list() -> None:
    assert shares(affinity="ClientIP")[0]["KUBE-SVC-"] == 1


def test_one_more_endpoint_rewrites_the_groups_it_concerns() -> None:
    pipeline = pipeline_of("--cluster-cidr", CLUSTER_CIDR)
    addresses = [f"10.244.{1 + number // 250}.{1 + number % 250}" for number in range(MANY)]
    patch = pipeline.full([("ns/web", service(), (slice_of("web", *map(endpoint, addresses)),))], "")
    pipeline.applied(patch)
    more = slice_of("web", *map(endpoint, [*addresses, "10.244.9.9"]))
    patch = pipeline.partial([("ns/web", service(), (more,))])
    # The choice of the group, one group, the endpoint's own.
    assert len(patch.rewrite) == 3

"""A large cluster: with more than a thousand endpoints the rules for single endpoints carry no comments. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.nodes import pipeline_of
from support.restored import Restored
from support.worlds import World, endpoint, service, slice_of
from svcagent.patch import Installed, Patch, RestoreInput, installed
from svcagent.pipeline import LARGE_CLUSTER_ENDPOINTS, Pipeline


def world(many: int) -> World:
    """`alpha` with one endpoint, `beta` with so many, and `gamma` with one."""
    counts = {"alpha": 1, "beta": many, "gamma": 1}
    services = {
        name: service(name, clusterIP=f"10.96.0.{number}", clusterIPs=[f"10.96.0.{number}"], ipFamilies=["IPv4"])
        for number, name in enumerate(counts, 10)
    }
    slices = {
        f"{name}-1": slice_of(name, *(endpoint(f"10.244.{number >> 8}.{number & 255}") for number in range(count)))
        for name, count in counts.items()
    }
    return World(services, slices)


def full(pipeline: Pipeline, kernel: Restored, found: World) -> None:
    patch = pipeline.full(found.touched(found.services), kernel.dump())
    kernel.restore("".join(RestoreInput([patch])))
    pipeline.applied(patch)


def started(found: World) -> tuple[Pipeline, Restored]:
    pipeline, kernel = pipeline_of(), Restored()
    full(pipeline, kernel, found)
    return pipeline, kernel


def commented(kernel: Restored) -> set[bool]:
    """Whether rules in endpoint chains have comments: both answers if only some have."""
    chains = kernel.tables["nat"].items()
    return {"--comment" in text for name, rules in chains if name.startswith("KUBE-SEP-") for text in rules}


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [pytest.param(1000, {True}, id="a thousand"), pytest.param(1001, {False}, id="one more")],
)
def test_a_full_pass_is_all_of_one_sort(endpoints: int, expected: set[bool]) -> None:
    """The early services too, which were compiled before the border was passed."""
    pipeline, kernel = started(world(endpoints - 2))
    assert commented(kernel) == expected
    assert not pipeline.outgrown
    assert pipeline.differences(kernel.dump()) == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [pytest.param(5, LARGE_CLUSTER_ENDPOINTS, id="grows"), pytest.param(LARGE_CLUSTER_ENDPOINTS, 5, id="shrinks")],
)
def test_crossing_the_border_asks_for_a_full_pass_that_ends_as_a_first_one(before: int, after: int) -> None:
    pipeline, kernel = started(world(before))
    patch = pipeline.partial(world(after).touched(["beta"]))
    assert pipeline.outgrown
    kernel.restore("".join(RestoreInput([patch])))
    pipeline.applied(patch)
    full(pipeline, kernel, world(after))
    _, direct = started(world(after))
    assert not pipeline.outgrown
    assert kernel.dump() == direct.dump()


def test_a_service_that_goes_takes_its_endpoints_with_it() -> None:
    pipeline, _ = started(world(LARGE_CLUSTER_ENDPOINTS))
    gone = world(LARGE_CLUSTER_ENDPOINTS)
    pipeline.partial(World({"alpha": gone.services["alpha"]}, gone.slices).touched(["beta"]))
    assert pipeline.outgrown


def test_a_full_pass_comes_in_portions_each_of_which_the_kernel_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model refuses a jump to a chain that does not exist. A second pass, smaller, removes what is left over."""
    monkeypatch.setattr("svcagent.pipeline.PORTION_RULES", 1)
    pipeline, kernel = pipeline_of(), Restored()
    for found in (world(5), world(2)):
        pipeline.failed()
        taken = 0
        for portion in pipeline.portions(found.touched(found.services), installed(kernel.dump())):
            kernel.restore("".join(RestoreInput([portion])))
            taken += 1
            assert pipeline.needs_full, "not before the last one is taken"
        assert taken == len(found.services) + 1
        assert pipeline.differences(kernel.dump()) == {}
        whole = Restored()
        whole.restore(
            "".join(RestoreInput(pipeline_of().portions(found.touched(found.services), installed(whole.dump()))))
        )
        assert kernel.dump() == whole.dump()


def test_restore_input_is_made_while_the_command_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than one portion is made before text of the one before it is there; nat comes first, each table once."""
    monkeypatch.setattr("svcagent.pipeline.PORTION_RULES", 1)
    found = world(5)
    made = 0

    def portions() -> Iterator[Patch]:
        nonlocal made
        for portion in pipeline_of().portions(found.touched(found.services), Installed({})):
            made += 1
            yield portion

    text = RestoreInput(portions())
    assert not text.empty
    assert made == 2, "with one alone the order would be another"
    lines = [line for piece in text for line in piece.splitlines()]
    assert made == len(found.services) + 1
    assert [line for line in lines if line[0] in "*C"] == [
        *("*nat", "COMMIT", "*mangle", "COMMIT", "*filter", "COMMIT"),
    ]


def test_restore_input_of_nothing_is_empty_and_of_one_patch_keeps_the_order_of_the_tables() -> None:
    assert RestoreInput([]).empty
    assert RestoreInput([Patch(), Patch()]).empty
    found = world(5)
    whole = pipeline_of().full(found.touched(found.services), "")
    text = RestoreInput([Patch(), whole, Patch()])
    assert not text.empty
    again = "".join(text)
    assert "".join(text) == again, "and it can be read again"
    assert [line for line in again.splitlines() if line[0] == "*"] == ["*mangle", "*filter", "*nat"]

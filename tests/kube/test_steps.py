"""What a reflector does next: hours of trouble in milliseconds."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svckube.steps import (
    ANY,
    LAST_DELAY,
    NEWEST,
    NEWEST_WHOLE,
    QUIET,
    RETRY_AFTER_LIMIT,
    Began,
    Expired,
    List,
    ListDone,
    Mute,
    Outcome,
    State,
    Step,
    Trouble,
    Wait,
    Waited,
    Watch,
    WatchDone,
    advance,
)


def walk(outcomes: Iterable[tuple[float, Outcome]], chance: float = 0.5) -> list[Step]:
    """Feeds (seconds since the step before, outcome) in; the step after each outcome."""
    state, now, taken = State(), 1000.0, []
    for seconds, outcome in outcomes:
        now += seconds
        state, step = advance(state, outcome, now, chance)
        taken.append(step)
    return taken


@pytest.mark.parametrize(
    ("outcomes", "want"),
    [
        pytest.param([(0, Began())], [ANY], id="first-list-takes-what-the-watch-cache-has"),
        pytest.param([(0, Began()), (1, ListDone("7"))], [ANY, Watch("7", 450)], id="then-watch"),
        pytest.param(
            [(0, Began()), (1, ListDone("7")), (450, WatchDone())],
            [ANY, Watch("7", 450), Watch("7", 450)],
            id="a-clean-end-resumes-at-once",
        ),
        pytest.param(
            [(0, Began()), (1, ListDone("7")), (0.01, WatchDone()), (0.4, Waited())],
            [ANY, Watch("7", 450), Wait(0.4), Watch("7", 450)],
            id="a-watch-that-ends-as-soon-as-it-began-is-trouble",
        ),
        pytest.param(
            [(0, Began()), (9, Trouble()), (0.4, Waited()), (9, Trouble()), (0.8, Waited()), (1, ListDone("7"))],
            [ANY, Wait(0.4), ANY, Wait(0.8), ANY, Watch("7", 450)],
            id="a-failed-list-is-repeated",
        ),
        pytest.param(
            [(0, Began()), (1, ListDone("7")), (60, Trouble()), (0.4, Waited())],
            [ANY, Watch("7", 450), Wait(0.4), Watch("7", 450)],
            id="a-broken-watch-is-resumed-and-not-relisted",
        ),
        pytest.param(
            [(0, Began()), (1, ListDone("7")), (60, Expired()), (1, ListDone("90"))],
            [ANY, Watch("7", 450), NEWEST, Watch("90", 450)],
            id="410-lists-the-newest-state-at-once",
        ),
        pytest.param(
            [(0, Began()), (1, ListDone("7")), (60, Expired()), (1, ListDone("8")), (1, Expired()), (0.4, Waited())],
            [ANY, Watch("7", 450), NEWEST, Watch("8", 450), Wait(0.4), NEWEST],
            id="a-second-410-waits",
        ),
        pytest.param(
            [(0, Began()), (1, Expired()), (1, ListDone("8"))],
            [ANY, NEWEST, Watch("8", 450)],
            id="410-for-any-state",
        ),
        pytest.param(
            [(0, Began()), (1, ListDone("7")), (60, Expired()), (300, Expired()), (300, Expired()), (5, ListDone("8"))],
            [ANY, Watch("7", 450), NEWEST, NEWEST_WHOLE, NEWEST_WHOLE, Watch("8", 450)],
            id="410-in-the-middle-of-pages-lists-in-one-piece",
        ),
        pytest.param(
            [(0, Began()), (1, ListDone("7")), (60, Expired()), (1, Trouble()), (0.4, Waited())],
            [ANY, Watch("7", 450), NEWEST, Wait(0.4), NEWEST],
            id="trouble-does-not-forget-that-a-list-is-due",
        ),
        pytest.param(
            [(0, Began()), (1, ListDone("700")), (150, Mute()), (0.4, Waited()), (1, ListDone("90"))],
            [ANY, Watch("700", 450), Wait(0.4), NEWEST, Watch("90", 450)],
            id="a-watch-that-never-said-a-word-leads-to-a-list",
        ),
        pytest.param(
            [(0, Began()), (1, Trouble(7.0)), (1, Trouble(0.0)), (1, Trouble(1e9))],
            [ANY, Wait(7.4), Wait(0.8), Wait(RETRY_AFTER_LIMIT + 1.6)],
            id="retry-after-is-a-floor-but-not-for-ever",
        ),
    ],
)
def test_steps(outcomes: list[tuple[float, Outcome]], want: list[Step]) -> None:
    assert walk(outcomes) == want


def test_the_delay_doubles_to_its_limit_and_starts_anew_after_quiet() -> None:
    outage = walk([(0.0, Began()), *((0.1, Trouble()) for _ in range(8))], chance=1.0)
    assert [step.seconds for step in outage if isinstance(step, Wait)] == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    later = walk([(0.0, Began()), *((0.1, Trouble()) for _ in range(8)), (QUIET + 0.1, Trouble())], chance=1.0)
    assert later[-1] == Wait(0.8)
    too_soon = walk([(0.0, Began()), *((0.1, Trouble()) for _ in range(8)), (QUIET - 0.1, Trouble())], chance=1.0)
    assert too_soon[-1] == Wait(30.0)


def test_what_a_watch_has_seen_is_where_it_resumes() -> None:
    state, _ = advance(State(), ListDone("7"), 0.0, 0.0)
    state = state.seen("9").seen("")
    assert advance(state, WatchDone(), 60.0, 0.0)[1] == Watch("9", 300)


def test_watches_of_a_cluster_end_spread_over_time() -> None:
    state, _ = advance(State(), ListDone("7"), 0.0, 0.0)
    lengths = [advance(state, WatchDone(), 60.0, chance)[1] for chance in (0.0, 0.25, 0.999)]
    assert lengths == [Watch("7", 300), Watch("7", 375), Watch("7", 599)]


def test_six_hours_without_a_server_cost_few_requests_and_end_soon_after_it_is_back() -> None:
    dice = random.Random(7)  # noqa: S311  # a repeatable run, not a secret
    state, now, requests = State(), 0.0, 0
    state, step = advance(state, Began(), now, dice.random())
    while now < 6 * 3600:
        if isinstance(step, Wait):
            now += step.seconds
            state, step = advance(state, Waited(), now, dice.random())
        else:
            requests += 1
            now += 0.01
            state, step = advance(state, Trouble(), now, dice.random())
    assert now - 6 * 3600 < LAST_DELAY
    assert 6 * 3600 / LAST_DELAY < requests < 6 * 3600 / LAST_DELAY * 2.3


outcomes = st.one_of(
    st.builds(ListDone, st.sampled_from(["5", "6"])),
    st.builds(Trouble, st.sampled_from([None, 0.0, 3.0, 1e6])),
    st.sampled_from([WatchDone(), Expired(), Mute()]),
)


@given(st.lists(st.tuples(st.floats(0, 1000), outcomes, st.floats(0, 1, exclude_max=True)), max_size=30))
def test_whatever_happens_the_next_step_makes_sense(happenings: list[tuple[float, Outcome, float]]) -> None:
    state, now = State(), 0.0
    state, step = advance(state, Began(), now, 0.0)
    for seconds, outcome, chance in happenings:
        while isinstance(step, Wait):
            assert 0 <= step.seconds <= RETRY_AFTER_LIMIT + LAST_DELAY
            now += step.seconds
            state, step = advance(state, Waited(), now, chance)
        if (isinstance(outcome, ListDone) and not isinstance(step, List)) or (
            isinstance(outcome, WatchDone | Mute) and not isinstance(step, Watch)
        ):
            continue  # cannot happen: a watch does not end as a list
        if isinstance(step, Watch):
            assert step.resource_version
            assert 300 <= step.timeout_seconds < 600
        now += seconds
        state, step = advance(state, outcome, now, chance)
    while isinstance(step, Wait):
        state, step = advance(state, Waited(), now, 0.0)
    if isinstance(step, List):
        assert step.resource_version in ("0", "")
        _, step = advance(state, ListDone("77"), now, 0.0)
        assert step == Watch("77", 300)


@pytest.mark.parametrize("outcome", [WatchDone(), Expired(), Trouble(), Mute()], ids=["ends", "410", "fails", "mute"])
def test_a_server_that_refuses_at_once_is_not_asked_in_a_tight_loop(outcome: Outcome) -> None:
    dice = random.Random(3)  # noqa: S311  # a repeatable run, not a secret
    state, now, requests = State(), 0.0, 0
    state, step = advance(state, Began(), now, 0.0)
    while now < 600:
        if isinstance(step, Wait):
            now += step.seconds
            state, step = advance(state, Waited(), now, dice.random())
            continue
        requests += 1
        now += 0.001
        answer = ListDone("7") if isinstance(step, List) else outcome
        state, step = advance(state, answer, now, dice.random())
    assert requests < 120

"""When passes and audits are due: hours in a millisecond. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcagent.pace import Pace

FOREVER = 1e9


class Run:
    """A pace that is lived through: each pass and audit takes its time, and is noted with the moment it began."""

    def __init__(self, pass_takes: float = 0.0, audit_takes: float = 0.0) -> None:
        self.pace = Pace(min_interval=1.0, audit_interval=30.0, max_retry=30.0)
        self.now = 0.0
        self.passes: list[float] = []
        self.audits: list[float] = []
        self._pass_takes = pass_takes
        self._audit_takes = audit_takes

    def until(self, end: float, works: Callable[[], bool] = lambda: True) -> None:
        """Does what is due up to `end`, as the agent's loop would."""
        early = False
        while True:
            wait = self.pace.wait(self.now, FOREVER)
            if self.now + wait > end:
                self.now = max(self.now, end)
                return
            self.now += wait
            if self.pace.pass_due(self.now):
                self.passes.append(self.now)
                self.now += self._pass_takes
                (self.pace.succeeded if works() else self.pace.failed)(self.now)
            elif self.pace.audit_due(self.now):
                self.audits.append(self.now)
                self.pace.audit_begins()
                self.now += self._audit_takes
                self.pace.audited(self.now, self._audit_takes)
            else:
                assert not early, f"woken at {self.now} for nothing, twice"
                early = True  # by a rounding of `now + wait`: the smallest step further it is due
                self.now = math.nextafter(self.now, FOREVER)
                continue
            early = False

    def request(self, *moments: float) -> None:
        for moment in moments:
            self.until(moment)
            self.pace.request()


def test_nothing_is_due_before_a_request() -> None:
    run = Run()
    run.until(3600)
    assert (run.passes, run.audits) == ([], [])
    assert run.pace.wait(run.now, 10.0) == 10.0


def test_the_first_request_is_served_at_once() -> None:
    run = Run()
    run.request(5.0)
    run.until(6.0)
    assert run.passes == [5.0]


def test_a_burst_becomes_two_passes() -> None:
    run = Run(pass_takes=0.1)
    run.request(5.0, *(5.0 + step / 100 for step in range(1, 90)))
    run.until(20.0)
    assert run.passes == [5.0, pytest.approx(6.1)]


def test_a_steady_stream_is_served_once_an_interval() -> None:
    run = Run()
    run.request(*(step / 10 for step in range(100)))
    assert len(run.passes) == 10


def test_a_failing_first_pass_is_tried_again_with_nothing_to_trigger_it() -> None:
    run = Run()
    run.request(0.0)
    run.until(120.0, works=lambda: False)
    assert run.passes == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 61.0, 91.0]
    assert run.audits == []


def test_success_ends_the_back_off() -> None:
    run = Run()
    run.request(0.0)
    run.until(10.0, works=lambda: len(run.passes) > 3)
    run.request(20.0)
    run.until(60.0, works=lambda: len(run.passes) > 6)
    assert run.passes == [0.0, 1.0, 3.0, 7.0, 20.0, 21.0, 23.0]


def test_an_audit_comes_every_interval() -> None:
    run = Run()
    run.request(0.0)
    run.until(100.0)
    assert run.audits == [30.0, 60.0, 90.0]


def test_changes_that_keep_coming_do_not_put_audits_off() -> None:
    run = Run(pass_takes=0.3, audit_takes=0.1)
    run.request(*(step / 10 for step in range(1000)))
    assert len(run.audits) == 3


def test_an_audit_that_takes_long_comes_more_rarely() -> None:
    run = Run(audit_takes=6.0)
    run.request(0.0)
    run.until(4000.0)
    assert run.audits == [30.0, 636.0, 1242.0, 1848.0, 2454.0, 3060.0, 3666.0]


def test_passes_go_on_during_an_audit_and_there_is_one_at_a_time() -> None:
    pace = Pace(1.0, 30.0, 30.0)
    pace.succeeded(0.0)
    pace.audit_begins()
    assert not pace.audit_due(100.0)
    assert pace.wait(100.0, 10.0) == 10.0
    pace.request()
    assert pace.pass_due(100.0)
    pace.succeeded(100.1)
    pace.audited(101.0, took=2.0)
    assert not pace.audit_due(300.9)
    assert pace.audit_due(301.0)


def test_what_somebody_else_does_during_an_audit_is_looked_at_by_the_next() -> None:
    pace = Pace(1.0, 30.0, 30.0)
    pace.succeeded(0.0)
    pace.audit_begins()
    pace.disturbed(31.0)
    pace.audited(32.0, took=0.5)
    assert not pace.audit_due(36.9), "a tenth of the time"
    assert pace.audit_due(37.0)


def test_a_wait_is_never_negative_nor_longer_than_asked() -> None:
    pace = Pace(1.0, 30.0, 30.0)
    pace.request()
    assert pace.wait(1000.0, 10.0) == 0.0
    pace.succeeded(1000.0)
    assert pace.wait(1000.0, 10.0) == 10.0


@given(st.lists(st.floats(0, 1000), max_size=30), st.integers(0, 5), st.floats(0, 3))
def test_every_request_is_served_in_the_end_and_never_too_soon(
    moments: list[float], failures: int, takes: float
) -> None:
    run = Run(pass_takes=takes)
    for moment in sorted(moments):
        run.until(moment, works=lambda: len(run.passes) > failures)
        run.pace.request()
    run.until(run.now + 400, works=lambda: len(run.passes) > failures)
    if moments:
        assert run.passes[-1] >= max(moments)
        assert not run.pace.pass_due(FOREVER)
    for one, next_one in zip(run.passes, run.passes[1:], strict=False):
        assert next_one - one >= 1.0 + takes - 1e-9

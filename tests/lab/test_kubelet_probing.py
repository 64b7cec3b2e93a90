"""Thresholds, back-off and addresses: small state machines of the kubelet."""

from __future__ import annotations

from typing import Any

import pytest

from svclab.kubelet.addresses import ExhaustedError, next_free
from svclab.kubelet.backoff import Backoff, duration
from svclab.kubelet.probing import Kind, answered, begun


@pytest.mark.parametrize(
    ("kind", "spec", "answers", "verdict", "resting"),
    [
        pytest.param("readiness", {}, "+", True, False, id="ready at the first success"),
        pytest.param("readiness", {"successThreshold": 2}, "+", None, False, id="one success of two"),
        pytest.param("readiness", {"successThreshold": 2}, "+-++", True, False, id="in a row"),
        pytest.param("readiness", {}, "+--", True, False, id="two failures of three"),
        pytest.param("readiness", {}, "+---", False, False, id="three failures"),
        pytest.param("readiness", {}, "+---+", True, False, id="and back"),
        pytest.param("liveness", {}, "--", None, False, id="liveness below its threshold"),
        pytest.param("liveness", {"failureThreshold": 1}, "-", False, True, id="liveness rests after its verdict"),
        pytest.param("startup", {"failureThreshold": 2}, "--", False, True, id="startup failed"),
        pytest.param("startup", {}, "--+", True, True, id="startup succeeded"),
    ],
)
def test_thresholds(kind: Kind, spec: dict[str, Any], answers: str, verdict: bool | None, resting: bool) -> None:
    probe = begun(kind, {"periodSeconds": 1, **spec}, 0.0)
    for number, answer in enumerate(answers):
        probe = answered(probe, answer == "+", 100.0 + number)
    assert (probe.verdict, probe.resting) == (verdict, resting)


@pytest.mark.parametrize(
    ("kind", "spec", "first"),
    [
        ("readiness", {}, 0.0),
        ("readiness", {"initialDelaySeconds": 5}, 5.0),
        ("liveness", {}, 10.0),
        ("liveness", {"initialDelaySeconds": 15}, 15.0),
        ("startup", {"periodSeconds": 3}, 0.0),
    ],
    ids=str,
)
def test_the_first_question(kind: Kind, spec: dict[str, Any], first: float) -> None:
    assert begun(kind, spec, 50.0).due == 50.0 + first


def test_failures_of_the_first_period_are_asked_again_and_not_counted() -> None:
    probe = begun("readiness", {"periodSeconds": 10, "failureThreshold": 1}, 0.0)
    probe = answered(probe, False, 0.1)
    assert (probe.verdict, probe.in_a_row, probe.due) == (None, 0, 0.35)
    assert answered(probe, False, 10.1).verdict is False


def test_back_off_doubles_to_five_minutes_and_is_forgotten() -> None:
    state, failed, waits = Backoff(), 0.0, []
    for _ in range(8):
        waits.append(max(state.ends(failed) - failed, 0.0))
        state = state.after(failed)
        failed += 1 + waits[-1]
    assert waits == [0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    assert state.ends(failed) == failed + 300
    assert state.ends(failed + 1000) == 0.0
    assert state.after(failed + 1000).seconds == 10.0


@pytest.mark.parametrize(("seconds", "text"), [(10, "10s"), (60, "1m0s"), (80, "1m20s"), (300, "5m0s")])
def test_durations_as_go_prints_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("cidr", "taken", "last", "found"),
    [
        pytest.param("10.244.1.0/24", [], "", "10.244.1.2", id="the first"),
        pytest.param("10.244.1.0/24", ["10.244.1.2"], "10.244.1.2", "10.244.1.3", id="the next"),
        pytest.param("10.244.1.0/24", [], "10.244.1.2", "10.244.1.3", id="a freed one is not given at once"),
        pytest.param("10.244.1.0/24", ["10.244.1.2"], "10.244.1.254", "10.244.1.3", id="round, not the broadcast"),
        pytest.param("10.244.1.0/24", [], "10.9.0.1", "10.244.1.2", id="another range before"),
        pytest.param("fd00:1::/64", [], "", "fd00:1::2", id="IPv6"),
    ],
)
def test_next_address(cidr: str, taken: list[str], last: str, found: str) -> None:
    assert next_free(cidr, taken, last) == found


def test_a_full_range_is_named() -> None:
    with pytest.raises(ExhaustedError, match=r"no IP addresses available in range set: 10\.244\.1\.2-10\.244\.1\.6"):
        next_free("10.244.1.0/29", [f"10.244.1.{last}" for last in range(2, 7)], "10.244.1.4")

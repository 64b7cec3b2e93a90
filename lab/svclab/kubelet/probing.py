"""What the answers to a probe mean: a state machine over (now, answer). Pure.

As the kubelet's (kubernetes pkg/kubelet/prober/worker.go): thresholds count answers in a row, liveness and startup
probes rest after their verdict until the container's next run, nothing but the startup probe runs before it succeeded.

One difference: a readiness or startup probe that fails within its first period is asked again after a moment, and the
failure is not counted. The kubelet's first probe comes at any time in that period; a program that needs a moment to
listen would be ready one period later.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

Body: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal["readiness", "liveness", "startup"]
KINDS: tuple[Kind, ...] = ("startup", "liveness", "readiness")
FIELDS = {"readiness": "readinessProbe", "liveness": "livenessProbe", "startup": "startupProbe"}

SOON = 0.25  # seconds to the next try within the first period


class Probe(msgspec.Struct, frozen=True):
    """One probe of one run of a container. `verdict` is None until a threshold was reached."""

    kind: Kind
    spec: Body
    began: float
    due: float
    verdict: bool | None = None
    last: bool | None = None
    in_a_row: int = 0
    resting: bool = False

    @property
    def period(self) -> float:
        return float(self.spec.get("periodSeconds") or 10)

    @property
    def timeout(self) -> float:
        return float(self.spec.get("timeoutSeconds") or 1)


def begun(kind: Kind, spec: Body, started: float) -> Probe:
    """The probe of a run that started at `started`."""
    delay = float(spec.get("initialDelaySeconds") or 0)
    if kind == "liveness":
        delay = max(delay, float(spec.get("periodSeconds") or 10))
    return Probe(kind, spec, started, started + delay)


def adopted(probe: Probe, now: float, verdict: bool | None) -> Probe:
    """The probe of a run that was there before this kubelet; what it found before is kept until it says otherwise."""
    return msgspec.structs.replace(probe, verdict=verdict, due=now, began=now - probe.period, resting=False)


def forgiving(probe: Probe, now: float) -> bool:
    """Is a failure at `now` asked again soon, and not counted?"""
    first = probe.began + float(probe.spec.get("initialDelaySeconds") or 0)
    return probe.kind != "liveness" and probe.verdict is None and now < first + min(probe.period, 10.0)


def answered(probe: Probe, success: bool, now: float) -> Probe:
    """The state after an answer."""
    if not success and forgiving(probe, now):
        return msgspec.structs.replace(probe, due=now + min(SOON, probe.period))
    in_a_row = probe.in_a_row + 1 if probe.last is success else 1
    needed = (probe.spec.get("successThreshold") or 1) if success else (probe.spec.get("failureThreshold") or 3)
    state = msgspec.structs.replace(probe, last=success, in_a_row=in_a_row, due=now + probe.period)
    if in_a_row < needed:
        return state
    resting = probe.kind == "startup" or (probe.kind == "liveness" and not success)
    return msgspec.structs.replace(state, verdict=success, resting=resting)

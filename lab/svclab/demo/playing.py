"""Plays rows: several at the same time, those that disturb the others at the end; and tidies up behind them.

In: a lab, rows, where lines go. Out: what each row has shown. A row that fails ends; the others go on. The Kubernetes
namespaces of a row go as soon as it has ended, also those that an earlier demo left.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from svclab.cluster.api import Api, ApiError
from svclab.cluster.state import Lab
from svclab.demo.report import Played, Step, step_lines
from svclab.demo.rows import Row
from svclab.demo.stage import CheckError, Stage
from svclab.errors import LabError

GONE_SECONDS = 90.0
PAUSE = 0.2


def play(
    lab: Lab, kubectl: str, rows: Sequence[Row], tell: Callable[[str], None], *, at_once: int = 3, keep: bool = False
) -> list[Played]:
    """In the order of `rows`. `keep`: the namespaces stay, to look into."""
    voice = threading.Lock()

    def told(row: Row, step: Step) -> None:
        with voice:
            for line in step_lines(row.name, step):
                tell(line)

    def one(row: Row) -> Played:
        began = time.monotonic()
        stage = Stage(lab, kubectl, row.name, lambda step: told(row, step))
        try:
            _prepare(stage, lab)
            row.play(stage)
        except (CheckError, LabError, OSError, subprocess.SubprocessError, LookupError, ValueError) as error:
            if not any(step.failure for step in stage.steps):  # between two steps
                stage.steps.append(Step("between two steps", 0.0, (), f"{type(error).__name__}: {error}"))
                told(row, stage.steps[-1])
        finally:
            if not keep:
                with suppress(ApiError):
                    _delete(lab, _namespaces(lab, stage.namespace))
        return Played(row.name, row.title, time.monotonic() - began, tuple(stage.steps))

    together, alone = [row for row in rows if not row.alone], [row for row in rows if row.alone]
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        played = list(pool.map(one, together))
    played += [one(row) for row in alone]
    if not keep:
        _await_gone(lab, [namespace for row in rows for namespace in _namespaces(lab, f"demo-{row.name}")])
    return played


def _prepare(stage: Stage, lab: Lab) -> None:
    left = _namespaces(lab, stage.namespace)
    _delete(lab, left)
    _await_gone(lab, left)
    stage.kubectl("create", "namespace", stage.namespace)
    account = f"/api/v1/namespaces/{stage.namespace}/serviceaccounts/default"
    stage.until(lambda: stage.api.get(account), "the namespace's service account, which pods need")


def _namespaces(lab: Lab, name: str) -> list[str]:
    """Those of a row: `demo-8`, `demo-8-other`."""
    there = [each["metadata"]["name"] for each in Api(lab).get("/api/v1/namespaces")["items"]]
    others = ("", "-other")
    return [each for each in there if each in {name + other for other in others}]


def _delete(lab: Lab, namespaces: Sequence[str]) -> None:
    for namespace in namespaces:
        with suppress(ApiError):  # it goes already
            Api(lab).request("DELETE", f"/api/v1/namespaces/{namespace}")


def _await_gone(lab: Lab, namespaces: Sequence[str]) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    while left := [each for each in namespaces if each in _all(lab)]:
        if time.monotonic() > deadline:
            raise LabError(
                f"namespace {', '.join(left)} does not go: svcplane-lab kubectl -- describe namespace {left[0]}"
            )
        time.sleep(PAUSE)


def _all(lab: Lab) -> set[str]:
    return {each["metadata"]["name"] for each in Api(lab).get("/api/v1/namespaces")["items"]}

"""What one event costs the agent itself: the same at many services as at few. Counted in bytecodes, not in seconds."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from support.crowd import crowd_service, crowd_slice
from support.site import lone_host
from support.stepped import Stepped

pytestmark = [pytest.mark.netns, pytest.mark.timeout(300)]

FEW, MANY = 300, 3000
"""Both on the same side of the border beyond which rules for single endpoints carry no comments."""


def bytecodes(work: Callable[[], object]) -> int:
    """How many instructions of Python `work` takes in this thread."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        count += event == "opcode"
        return trace

    gc.disable()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
        gc.enable()
    return count


def cost(services: int) -> int:
    with lone_host("cost") as host, host.entered():
        stepped = Stepped("nft", families=["IPv4"])
        numbers = range(services)
        stepped.start(*map(crowd_service, numbers), *map(crowd_slice, numbers))
        for shift in (1, 2):  # the first fills what is remembered of encodings
            before = stepped.metric("svcplane_chains_written_total")
            found = bytecodes(lambda: stepped.say(crowd_slice(7, shift=shift, version=str(1 + shift))))  # noqa: B023
            assert stepped.metric("svcplane_chains_written_total") == before + 3  # a chain less, one more, the choice
        return found


def test_a_changed_endpoint_costs_the_same_at_ten_times_the_services() -> None:
    few, many = cost(FEW), cost(MANY)
    assert few > 1000
    assert many < 1.1 * few


def test_an_event_needs_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No iptables-save, no iptables-restore: with none of them installed any more it goes on."""
    with lone_host("cost") as host, host.entered():
        stepped = Stepped("nft", families=["IPv4"])
        stepped.start(crowd_service(0), crowd_slice(0))
        monkeypatch.setenv("PATH", str(tmp_path))
        stepped.say(crowd_slice(0, shift=1, version="2"))
        assert stepped.metric("svcplane_chains_written_total") > 0
        assert stepped.metric("kubeproxy_sync_proxy_rules_iptables_restore_failures_total") == 0
        monkeypatch.undo()
        stepped.run(60)
        assert stepped.metric("svcplane_healed_total") == 0, "and what was written is what an audit expects"

"""What a running program costs: processor time, and memory. In: its pid. Out: milliseconds and MiB (proc(5))."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

USER, BOTH = 1, 2
"""The clocks of a process, as clock_getcpuclockid(3) numbers them: CPUCLOCK_VIRT, CPUCLOCK_SCHED."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Milliseconds of processor time, a process and its ended children together; `user` is a part of `both`."""

    both: float
    user: float

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.both - other.both, self.user - other.user)


def spent(pid: int) -> Spent:
    # Of children proc(5) has ticks only; the process's own clock (clock_getcpuclockid(3)) is finer.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = (int(ticks) * 1e3 / os.sysconf("SC_CLK_TCK") for ticks in fields[13:15])
    both, own = (time.clock_gettime(~pid << 3 | clock) * 1e3 for clock in (BOTH, USER))
    return Spent(both + user + system, own + user)


def resident(pid: int) -> float:
    """MiB of a process and its children that live."""
    found = _size(pid, "VmRSS")
    with suppress(OSError):  # a child that has ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += sum(resident(int(child)) for child in (task / "children").read_text().split())
    return found


def peak(pid: int) -> float:
    """MiB of the process itself that were resident at most."""
    return _size(pid, "VmHWM")


def _size(pid: int, title: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{title}:"))  # a dead one has none

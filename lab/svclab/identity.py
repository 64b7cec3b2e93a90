"""Who a process is: more than its number, which the kernel gives to somebody else one day."""

from __future__ import annotations

import msgspec


class Identity(msgspec.Struct, frozen=True):
    """`started` is in clock ticks since boot (field 22 of proc(5)'s stat), `boot` the kernel's id of that boot."""

    pid: int
    started: int
    boot: str

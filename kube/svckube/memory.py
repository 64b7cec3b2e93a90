"""Memory that is no longer used, and still the process's."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8  # malloc.h of the GNU C library


def keep_together() -> None:
    """Has all threads take memory from one place: mallopt(3), where the C library has it. To be called before them.

    Each thread would have an arena of its own, and the holes in one are of no use to another. Arenas spare threads the
    waiting for each other, but these wait for the interpreter anyway.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    if option is not None:
        option(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Returns freed memory to the system: malloc_trim(3), where the C library has it.

    What was needed for a moment at the start, such as a list's JSON, would stay resident for the life of the process.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

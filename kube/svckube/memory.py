"""Memory that is no longer used, and still the process's."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Returns freed memory to the system: malloc_trim(3), where the C library has it.

    What was needed for a moment at the start, such as a list's JSON, would stay resident for the life of the process.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

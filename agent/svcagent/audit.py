"""Looking at what the kernel holds, beside the loop: at many services iptables-save takes seconds.

In: a `Picture` of what should be there. Out: `Looked`, a message for the loop, which decides what becomes of it. A look
reads and compares; it shares nothing that changes with the loop. In nf_tables each chain's rules are read for
themselves, and a list of chains may come in part if somebody commits meanwhile: such a look is `disturbed`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from svcagent import patch
from svcagent.doubts import Differences
from svcagent.patch import Installed
from svcagent.picture import Picture
from svckube import memory
from svcnet.rules import Family
from svcnet.writers import Iptables, IptablesError


class Looked(msgspec.Struct, frozen=True):
    """What differs from the picture, `error` if that could not be told. `generation` is nf_tables' at the beginning.

    `found` is all that was seen.
    """

    family: Family
    differences: Differences
    generation: int
    disturbed: bool
    seconds: float
    found: Installed
    error: str = ""


Look: TypeAlias = Callable[[], Looked]


def look(iptables: Iptables, picture: Picture, generation: Callable[[], int], clock: Callable[[], float]) -> Looked:
    """Compares what this iptables shows with the picture. Nothing differs where it cannot be told."""
    began, before = clock(), generation()
    differences: Differences = frozenset()
    found, complaint = Installed({}), ""
    try:
        found = patch.installed(iptables.dump())
        differences = frozenset(picture.compared(found).items())
    except (IptablesError, ValueError) as error:  # the second: a dump that is none
        complaint = str(error)
    disturbed = before != generation()
    return Looked(iptables.family, differences, before, disturbed, clock() - began, found, complaint)


def beside(deliver: Callable[[Looked], None]) -> Callable[[Look], None]:
    """Does looks in threads of their own, in the network namespace of the caller's, and delivers what they find."""

    def start(task: Look) -> None:
        # Nobody waits for it at the end: it has nothing to lose.
        threading.Thread(target=work, args=(task,), name="audit", daemon=True).start()

    def work(task: Look) -> None:
        deliver(task())
        memory.give_back()

    return start

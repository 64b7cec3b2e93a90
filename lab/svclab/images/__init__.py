"""Images without a registry: a table from names to programs that run on this host.

`resolve(reference, extra)` finds what a container runs; `read(path)` reads the user's own table (`--images FILE`).
The table itself and the rules of references are in `table` (pure); the programs are in `svclab.programs`.

What differs from real images: there is no file system of their own, containers see the host's. So a tag cannot be
missing, `busybox` has the host's shell and tools, and a program that the host lacks is a container that cannot start.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from svclab.images.file import read
from svclab.images.table import Image, InvalidImageError, Programs, UnknownImageError, find, known, parse

__all__ = ["Image", "InvalidImageError", "UnknownImageError", "known", "parse", "read", "resolve"]

_START = Path(__file__).parents[1] / "programs" / "start.py"


def resolve(reference: str, extra: Mapping[str, Image]) -> Image:
    """The image for a reference in a Pod; `extra` is what `read` returned, or empty.

    UnknownImageError if there is none, with a sentence on how to map it; InvalidImageError, one of those, if the
    reference can be no name at all.
    """
    return find(reference, extra, Programs(sys.executable, str(Path(sys.executable).parent), str(_START)))

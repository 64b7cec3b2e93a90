"""Runs one of the programs: `python -S -E start.py NAME [ARGUMENT...]`; exit status 2 for a name that is none.

It is a script and no module, because without site packages nothing else tells Python where `svclab` is.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

PROGRAMS = {"site": "svclab.programs.sites", "agnhost": "svclab.programs.agnhost"}


def main(words: list[str]) -> int:
    name, *arguments = words or [""]
    if name not in PROGRAMS:
        print(f"start.py: {name!r} is no program; there are: {', '.join(PROGRAMS)}", file=sys.stderr)
        return 2
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from importlib import import_module

    with suppress(OSError), open("/proc/self/comm", "w") as comm:  # what `ps` and `ss -p` show
        comm.write(arguments[0] if arguments else name)
    status: int = import_module(PROGRAMS[name]).main(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

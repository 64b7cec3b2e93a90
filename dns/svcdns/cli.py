"""`svcplane-dns run`, `nodelocal`, `lookup` and `top`: the parts put together, and the life of the process.

In: argv and signals. Out: a server, or lines printed; exit status 0, 1 for what could not be done (one sentence
on stderr says what and what to try), 2 for a bad command line.

SIGTERM and SIGINT end a server, SIGUSR1 makes it read its settings anew; `life` has the rest.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from glob import glob
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import msgspec

from svcdns.clients import EVERYBODY, Guard, Network, attached
from svcdns.corefile import blocks_of
from svcdns.life import Life, LoopError
from svcdns.lookup import look_up
from svcdns.nodeflags import NodeLocal
from svcdns.options import Lookup, Run, Top, parse
from svcdns.plugins import settings_of
from svcdns.settings import Settings
from svcdns.tally import Tally
from svcdns.top import top
from svckube import memory
from svckube.access import AccessError
from svckube.observe import log_to, registry

if TYPE_CHECKING:
    from svcdns import nodelocal


def main(words: Sequence[str] | None = None) -> int:
    """The program; `words` are argv without the name. Returns the exit status."""
    command = parse(sys.argv[1:] if words is None else words, version("svcplane"))
    log_to(sys.stderr)
    memory.keep_together()
    try:
        match command:
            case Run():
                guard = Guard((*_attached(), *command.clients), command.rate_limit)
                return asyncio.run(_run(partial(_load, command), command.http, guard, workers=command.workers - 1))
            case NodeLocal():
                from svcdns import nodelocal  # what changes a node's network takes 10 MiB

                return nodelocal.run(command, _serve, partial(_read, port=command.port))
            case Lookup():
                return asyncio.run(look_up(command.source, command.name, command.type, command.pod))
            case Top():
                print("\n".join(top(command.socket, command.count)))
                return 0
            case _:
                assert_never(command)
    except (AccessError, LoopError, OSError, ValueError) as error:
        print(f"svcplane-dns: {error}", file=sys.stderr)
        return 1


def _serve(node: nodelocal.Node) -> None:
    # Its addresses are the node's own affair: whoever reaches them is at home.
    asyncio.run(_run(node.load, (node.options.http,) if node.options.http else (), Guard(EVERYBODY), node))


async def _run(
    load: Callable[[], tuple[Settings, str]],
    http: Sequence[str],
    guard: Guard,
    node: nodelocal.Node | None = None,
    workers: int = 0,
) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _raise_file_limit()
    metrics = registry()
    tally = Tally(metrics)
    if node is not None:
        node.count(tally)
    life = Life(load, metrics, tally, stop, http, guard, node, workers)
    loop.add_signal_handler(signal.SIGUSR1, life.asked.set)
    await life.run()
    return 0


def _load(options: Run) -> tuple[Settings, str]:
    """The settings, and a hash of the text that they come from."""
    if options.settings is not None:
        return options.settings, ""
    return _read(options.conf, port=options.port)


def _read(file: str, fill: Callable[[str], str] = str, *, port: int) -> tuple[Settings, str]:
    """A Corefile's settings, and the hash of what it says; `fill` makes a Corefile of a template's text."""
    try:
        text = Path(file).read_text(errors="replace")
    except OSError as error:
        raise OSError(error.errno, f"cannot read the Corefile {file}: {error.strerror}") from error
    blocks = blocks_of(fill(text), file, os.environ, _imported)
    return settings_of(blocks, port), hashlib.sha512(msgspec.json.encode(blocks)).hexdigest()


def _imported(pattern: str, file: str) -> list[tuple[str, str]]:
    """The files that `import` in `file` means. A pattern may match none; a file has to be there."""
    whole = str(Path(file).resolve().parent / pattern)
    found = [Path(one) for one in sorted(glob(whole)) if Path(one).is_file()]
    if not found and not any(mark in pattern for mark in "*?["):
        raise FileNotFoundError(f"file to import not found: {pattern}")
    return [(str(path), path.read_text(errors="replace")) for path in found]


def _attached() -> tuple[Network, ...]:
    """The networks that this machine is in now."""
    texts = []
    for name in ("route", "if_inet6"):
        path = Path("/proc/net", name)
        texts.append(path.read_text() if path.exists() else "")  # a kernel may lack one of the families
    return attached(*texts)


def _raise_file_limit() -> None:
    """Each forwarded query and each TCP client is a file; the soft limit is for programs that use select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())

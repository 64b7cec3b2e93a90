"""Starts a daemon of the lab on its host, and finds it again.

In: a lab and a daemon. Out: a process of its own session whose pid and start time stand in the daemon's record before
the program begins, so that none is ever lost, whoever dies meanwhile. Its output goes to its log. It gets a clean
environment: what the user of `up` has set (KUBECONFIG, PYTHONPATH, proxies) is not the daemons' business.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import msgspec

from svclab import processes
from svclab.cli import COMMANDS
from svclab.cluster import placement, topology
from svclab.cluster.daemons import Daemon
from svclab.cluster.state import Lab, write
from svclab.errors import LabError
from svclab.identity import Identity

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
VARIABLE = "SVCPLANE_LAB"  # in the environment of all that is started here: the lab's name
LAUNCH_FAILED = 127
PROGRAMS = {"svcplane-lab": "svclab", "svcplane-agent": "svcagent", "svcplane-dns": "svcdns"}
"""Each of our commands, and the package whose module `cli` is it."""


class Record(msgspec.Struct, frozen=True):
    """Who a daemon is, and how often it was started again."""

    who: Identity
    restarts: int = 0


def environment(lab: Lab) -> dict[str, str]:
    """What every process of the lab starts with."""
    return {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", VARIABLE: lab.plan.name}


def command(program: str) -> str:
    """The path of one of our own commands: beside this Python. LabError if it is not installed."""
    found = shutil.which(
        program, path=os.pathsep.join((os.path.dirname(sys.executable), sysconfig.get_path("scripts")))
    )
    if found is None:
        raise LabError(f"{program} is not installed beside {sys.executable}: pip install 'svcplane[lab]'")
    return found


def start(lab: Lab, daemon: Daemon, restarts: int = 0) -> int:
    """Forks; the pid. The caller has one thread. What goes wrong in the child stands in the daemon's log.

    The program is imported before, here, where every other daemon finds it imported: Python's start and its imports
    are two thirds of what it takes to bring a lab up. So a daemon that is started again runs the code that was there
    when the supervisor began. ImportError if the program is broken.
    """
    main = imported(daemon)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = LAUNCH_FAILED
        try:
            _become(lab, daemon, restarts)
            status = main(list(daemon.arguments))
        except SystemExit as error:  # argparse
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:  # never back into the parent's code
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
    return pid


def imported(daemon: Daemon) -> Callable[[Sequence[str]], int]:
    """The function that is the program, all that it needs imported."""
    package = PROGRAMS[daemon.program]
    entry: Callable[[Sequence[str]], int] = import_module(f"{package}.cli").main
    if package == "svclab":
        import_module(COMMANDS[daemon.arguments[0]][0])
    return entry


def running(lab: Lab, name: str) -> Record | None:
    """The daemon's record, if it runs."""
    record = recorded(lab, name)
    return record if record is not None and processes.lives(record.who) else None


def recorded(lab: Lab, name: str) -> Record | None:
    try:
        return msgspec.json.decode(lab.record(name).read_bytes(), type=Record)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def record_self(lab: Lab, name: str, restarts: int = 0) -> None:
    """Writes down that this process is the daemon."""
    who = processes.identity(os.getpid())
    if who is None:
        raise LabError("/proc does not show this process; is it mounted?")
    write(lab.record(name), msgspec.json.encode(Record(who, restarts)))


def _become(lab: Lab, daemon: Daemon, restarts: int) -> None:
    """Out of the fork of a supervisor, a process as if it had been started alone."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    log = os.open(lab.log(daemon.name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, source in enumerate((nothing, log, log)):
        os.dup2(source, descriptor)
    for descriptor in map(int, os.listdir("/proc/self/fd")):  # among them the supervisor's lock
        if descriptor > 2:
            with suppress(OSError):  # the listing's own
                os.close(descriptor)
    record_self(lab, daemon.name, restarts)
    os.chdir("/")
    os.environ.clear()
    os.environ.update(environment(lab))
    sys.argv = [command(daemon.program), *daemon.arguments]
    _show(daemon)
    if daemon.host:
        placement.enter(topology.place(lab, daemon.host))


def _show(daemon: Daemon) -> None:
    """`ps` shows the daemon, not the supervisor: the command line is written over the one that the kernel knows.

    Its place is in /proc/self/stat, fields 48 and 49; what is too long for it is cut off.
    """
    Path("/proc/self/comm").write_text(daemon.program)
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    first, last = int(fields[45]), int(fields[46])
    words = "\0".join((daemon.program, *daemon.arguments)).encode()
    ctypes.memmove(first, words[: last - first - 1].ljust(last - first, b"\0"), last - first)

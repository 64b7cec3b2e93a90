"""Starts containers: real processes with a root, processes and a /proc of their own, in their pod's other namespaces.

In: a `Launch`. Out: a `Launched` that waits at a gate until its record is on disk: a kubelet that dies in between
leaves nothing. A container's root is an overlay over the host's own root, in memory: it may write anywhere, and
nothing it writes outside its volumes is there after it. /tmp, /run, /dev and /sys are its own.

The shape of a run: kubelet → shim (sh, waits and writes the exit status) → the container's first process. The first
process is number 1 of its pid namespace, so all of the container ends with it. Building the root takes a
thread, because namespaces are entered by threads: it is thrown away afterwards.

Refused: a program that is not there, a working directory that cannot be entered, a mount that fails.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import site
import sys
import sysconfig
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from svclab.identity import Identity
from svclab.kubelet import syscalls
from svclab.kubelet.deaths import child_of
from svclab.processes import born

T = TypeVar("T")

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# 3: the gate, through which the command comes (no list of processes shows an environment); 4: where the exit status
# goes; 5: says that the inside is there; 6: a pid namespace to join; 9: the container's stderr. The shim's first child
# is number 1 of the new pid namespace, so the shim may start nothing else. (`unshare --fork` would do as well, but it
# ends with 1 where its child was killed.)
_SHIM = 'exec 6<&- 9>&2 2>/dev/null; /bin/sh -c "$0" 2>&9 9>&- 4>&-; echo $? >&4'
_PROC = "mount -n -t proc -o nosuid,nodev,noexec proc /proc || exit 125; "
_INSIDE = "echo >&5; exec 5>&-; . /proc/self/fd/3; exit 125"
_PAUSE = "echo >&5; exec 5>&-; read -r _ <&3 || exit 125; exec 3<&-; exec sleep infinity"

_OWN = ("/proc", "/sys", "/dev", "/run", "/tmp", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")  # noqa: S108
_NOT_CARRIED = {"autofs", "cgroup", "cgroup2", "nsfs", "overlay", "proc", "sysfs", "binfmt_misc", "fusectl"}


class LaunchError(Exception):
    """The message is what a user sees in the pod's status."""


class Mount(msgspec.Struct, frozen=True):
    source: str
    target: str
    read_only: bool = False


class Launch(msgspec.Struct, frozen=True):
    """What to run. Paths are the node's, `mounts` targets and `directory` the container's."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str
    pause: int
    scratch: str  # an empty directory of ours, where the root is put together
    hidden: str  # what the container must not see: the kubelet's files
    mounts: tuple[Mount, ...]
    log: str
    status: str  # gets the exit status
    pid_of: int = 0  # share this process's pid namespace
    host_pid: bool = False
    user: int | None = None
    group: int | None = None
    read_only_root: bool = False
    privileged: bool = False


class Launched(msgspec.Struct):
    """A container at the gate: `release` lets it go, once."""

    shim: Identity
    init: Identity
    gate: int
    script: str

    def release(self) -> None:
        with suppress(BrokenPipeError), os.fdopen(self.gate, "w") as gate:
            gate.write(self.script)


class _Begun(NamedTuple):
    pid: int
    ready: int
    opener: int
    script: str


def launched(launch: Launch) -> Launched:
    """Puts a container together, up to the gate. Raises LaunchError."""
    try:
        return _met(in_a_thread(lambda: _begun(launch)), inside=1)
    except OSError as error:
        raise LaunchError(f"failed to create container: {error}") from error


def paused(flags: int, host_name: str, prepare: Callable[[], None], shared: bool) -> Launched:
    """A process that only holds namespaces (`flags`); `prepare` runs in them before. Its init is what holds pids.

    `shared`: it is number 1 of a pid namespace that all containers of the pod live in.
    """

    def make() -> _Begun:
        syscalls.unshare(flags)
        if flags & syscalls.CLONE_NEWUTS:
            syscalls.set_host_name(host_name)
        prepare()
        argv = ["/bin/sh", "-c", _PAUSE]
        if shared:
            argv = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--", *argv]
        return _spawned(argv, "\n", os.devnull, None)

    return _met(in_a_thread(make), inside=1 if shared else 0)


def in_a_thread(call: Callable[[], T]) -> T:
    """The result of a call made in a thread of its own, whose namespaces end with it."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(call())
        except BaseException as error:  # raised again where the result is asked for
            failed.append(error)

    thread = threading.Thread(target=run, name="namespaces", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def _begun(launch: Launch) -> _Begun:
    # The files of the kubelet cannot be reached by their paths later: they are opened before the root is changed.
    with ExitStack() as closing:
        log = _opened(launch.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, closing)
        status = _opened(launch.status, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, closing)
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        _build_root(launch, closing)
        program = _found(launch)
        environment = [f"{name}={value}" for name, value in launch.environment.items()]
        run_as = _run_as(launch)
        inner = [*run_as, "env", "-i", f"--chdir={launch.directory}", *environment, program, *launch.argv[1:]]
        wrapper, inside = ["unshare", "--pid", "--"], _PROC + _INSIDE
        if launch.pid_of:
            wrapper = ["nsenter", "--no-fork", "--pid=/proc/self/fd/6", "--"]
        elif launch.host_pid:
            wrapper, inside = [], _INSIDE
        pids = _opened(f"/proc/{launch.pid_of}/ns/pid", os.O_RDONLY, closing) if launch.pid_of else None
        for kind in ("net", "ipc", "uts"):
            syscalls.enter(f"/proc/{launch.pause}/ns/{kind}")
        with suppress(OSError):  # the host's is as good, but shows the host's interfaces
            syscalls.mount("sysfs", "/sys", "sysfs", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
        argv = [*wrapper, "/bin/sh", "-c", _SHIM, inside]
        script = f"exec 3<&-; unset PWD OLDPWD; exec {shlex.join(inner)}\n"
        return _spawned(argv, script, log, status, pids=pids)


def _opened(path: str, flags: int, closing: ExitStack) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    closing.callback(os.close, descriptor)
    return descriptor


def _build_root(launch: Launch, closing: ExitStack) -> None:
    carried = [path for path, kind in syscalls.mount_points() if _is_carried(path, kind, launch)]
    sources = {path: _opened(path, os.O_PATH, closing) for path in ("/dev", *carried, *_kept())}
    volumes = [(mount, _opened(mount.source, os.O_PATH, closing)) for mount in launch.mounts]
    scratch = launch.scratch
    syscalls.mount("tmpfs", scratch, "tmpfs", options="mode=0755")
    for name in ("upper", "work", "root"):
        os.mkdir(f"{scratch}/{name}", 0o755)
    layers = f"lowerdir=/,upperdir={scratch}/upper,workdir={scratch}/work"
    syscalls.mount("overlay", f"{scratch}/root", "overlay", options=layers)
    os.chdir(f"{scratch}/root")
    syscalls.mount(".", "/", flags=syscalls.MS_MOVE)
    os.chroot(".")
    os.chdir("/")
    hardened = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("proc", "/proc", "proc", hardened | syscalls.MS_NOEXEC)
    host_devices = sources.pop("/dev")
    if launch.privileged:
        _bind(host_devices, "/dev", recursive=True)
    else:
        _make_devices(host_devices)
    for path, mode in (("/run", "0755"), ("/tmp", "1777")):  # noqa: S108
        with suppress(FileNotFoundError):
            syscalls.mount("tmpfs", path, "tmpfs", hardened, f"mode={mode}")
    if os.path.isdir(launch.hidden):
        syscalls.mount("tmpfs", launch.hidden, "tmpfs", hardened, "mode=0700")
    for path, descriptor in sources.items():
        _bind(descriptor, path)
    for mount, descriptor in sorted(volumes, key=lambda pair: pair[0].target.count("/")):
        _bind(descriptor, mount.target, read_only=mount.read_only)
    if launch.read_only_root:
        syscalls.mount("", "/", flags=syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY)
    with suppress(FileExistsError, OSError):
        os.makedirs(launch.directory)  # as runtimes do for a workingDir that the image does not have


def _make_devices(host: int) -> None:
    """/dev as runtimes make it: the harmless devices of the host, and a /dev/shm of its own."""
    syscalls.mount("tmpfs", "/dev", "tmpfs", syscalls.MS_NOSUID, "mode=0755")
    for name in ("null", "zero", "full", "random", "urandom", "tty", "pts"):
        source = f"/proc/self/fd/{host}/{name}"
        if os.path.exists(source):
            descriptor = os.open(source, os.O_PATH | os.O_CLOEXEC)
            _bind(descriptor, f"/dev/{name}")
            os.close(descriptor)
    os.mkdir("/dev/shm")  # noqa: S108
    syscalls.mount("tmpfs", "/dev/shm", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=1777")  # noqa: S108
    links = {
        "fd": "/proc/self/fd",
        "stdin": "/proc/self/fd/0",
        "stdout": "/proc/self/fd/1",
        "stderr": "/proc/self/fd/2",
    }
    for name, target in {**links, "ptmx": "pts/ptmx"}.items():
        os.symlink(target, f"/dev/{name}")


def _is_carried(path: str, kind: str, launch: Launch) -> bool:
    """An overlay has only the file system of `/`; others, such as a separate /usr, are put into it one by one."""
    inside = any(path == one or path.startswith(f"{one}/") for one in (*_OWN, launch.hidden))
    return path != "/" and kind not in _NOT_CARRIED and not inside


def _kept() -> list[str]:
    """Where our own programs live, if the container's /tmp and /run would hide it."""
    places = {sys.prefix, sys.base_prefix, sysconfig.get_paths()["purelib"], *site.getsitepackages(), *sys.path}
    places.add(str(Path(__file__).parents[2]))
    hidden = [one for one in places if one.startswith(("/tmp/", "/run/")) and os.path.exists(one)]  # noqa: S108
    return sorted(one for one in hidden if not any(one != other and one.startswith(f"{other}/") for other in hidden))


def _bind(descriptor: int, target: str, *, read_only: bool = False, recursive: bool = False) -> None:
    source = f"/proc/self/fd/{descriptor}"
    if os.path.islink(target):
        os.unlink(target)  # in the overlay only: /etc/resolv.conf is a link on many hosts
    if not os.path.exists(target):
        if os.path.isdir(source):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    syscalls.mount(source, target, flags=syscalls.MS_BIND | (syscalls.MS_REC if recursive else 0))
    if read_only:
        syscalls.mount("", target, flags=syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY)


def _found(launch: Launch) -> str:
    """The program's path in the container's root."""
    name = launch.argv[0]
    if "/" not in name:
        path = shutil.which(name, path=launch.environment.get("PATH", PATH))
        if path is None:
            raise LaunchError(_start_failed(f'exec: "{name}": executable file not found in $PATH'))
        return path
    path = os.path.join(launch.directory, name)
    if not os.path.exists(path):
        raise LaunchError(_start_failed(f'exec: "{name}": stat {name}: no such file or directory'))
    if os.path.isdir(path) or not os.access(path, os.X_OK):
        raise LaunchError(_start_failed(f'exec: "{name}": permission denied'))
    return path


def _start_failed(why: str) -> str:
    return f"unable to start container process: {why}"


def _run_as(launch: Launch) -> list[str]:
    if launch.user is None and launch.group is None:
        return []
    user = launch.user or 0
    group = launch.group if launch.group is not None else (user if launch.user is not None else 0)
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--"]


def _spawned(
    argv: list[str],
    script: str,
    log: int | str,
    status: int | None,
    *,
    pids: int | None = None,
) -> _Begun:
    """Starts `argv` behind a gate, in the namespaces of the calling thread."""
    gate, opener = os.pipe()
    ready, teller = os.pipe()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    output = null if isinstance(log, str) else log
    high: dict[int, int] = {}
    try:
        # Descriptors are moved out of the way first, so that none is overwritten before it is copied.
        wanted = {0: null, 1: output, 2: output, 3: gate, 4: status, 5: teller, 6: pids}
        there = {number: descriptor for number, descriptor in wanted.items() if descriptor is not None}
        high = {number: fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10) for number, descriptor in there.items()}
        actions = [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in high.items()]
        program = shutil.which(argv[0], path=PATH)
        if program is None:
            raise LaunchError(f"{argv[0]} is not installed on this node")
        pid = os.posix_spawn(program, argv, {"PATH": PATH}, file_actions=actions, setsid=True)
    except BaseException:
        os.close(opener)
        os.close(ready)
        raise
    finally:
        for descriptor in (gate, teller, null, *high.values()):
            os.close(descriptor)
    return _Begun(pid, ready, opener, script)


def _met(begun: _Begun, inside: int) -> Launched:
    """Finds the first process, `inside` generations down. Not in a thread that has the container's /proc."""
    try:
        if not os.read(begun.ready, 1):
            raise LaunchError("the container's namespaces could not be made; is util-linux new enough?")
        found: int | None = begun.pid
        for _ in range(inside):
            found = child_of(found) if found is not None else None
        if found is None:
            raise LaunchError("the container's first process ended before it began")
        return Launched(born(begun.pid), born(found), begun.opener, begun.script)
    except BaseException:
        os.close(begun.opener)
        raise
    finally:
        os.close(begun.ready)

"""Runs a program in the sandbox that a systemd unit describes, on a machine where systemd does not run.

    python sandbox.py UNIT STATE -- PROGRAM ARGUMENT...

Applied, by the means that systemd uses: CapabilityBoundingSet=, NoNewPrivileges=, SystemCallFilter= with the sets that
`systemd-analyze syscall-filter` prints, MemoryDenyWriteExecute=, ProtectSystem=strict with ReadWritePaths=, PrivateTmp=
and ProtectKernelTunables=. STATE, if it is not empty, is a folder in the place of StateDirectory=. Refused: a unit
without one of them, since then nothing would be proved. Not applied: users, credentials, address families, and what
hides rather than forbids.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

NEW_MOUNTS = 0x20000  # CLONE_NEWNS, linux/sched.h
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM  # SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(EPERM), seccomp.h
MASKED_EQUAL = 7  # SCMP_CMP_MASKED_EQ
WRITE, EXECUTE = 2, 4  # PROT_WRITE, PROT_EXEC
PROT_ARGUMENT = 2  # of mmap, mprotect and pkey_mprotect
API_FILE_SYSTEMS = ("/dev", "/proc", "/sys")
NAMESPACES = "/run/netns/"  # files of other tests too, which come and go


class Condition(ctypes.Structure):
    """struct scmp_arg_cmp"""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("mask", ctypes.c_uint64), ("value", ctypes.c_uint64))


def settings(unit: Path) -> dict[str, list[str]]:
    """The values of every key, in their order."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in unit.read_text().splitlines():
        if match := re.match(r"(\w+)=(.*)", line):
            found[match[1]].append(match[2])
    return found


def argv_of(unit: Path, programs: Path, **variables: str) -> list[str]:
    """ExecStart= with the programs of another folder, and the variables of EnvironmentFile=. `d` stands for %d."""
    (line,) = settings(unit)["ExecStart"]
    words: list[str] = []
    for word in line.replace("/opt/svcplane/bin", str(programs)).replace("%d", variables.get("d", "%d")).split():
        words += variables[word[1:]].split() if word.startswith("$") else [word]
    return words


def sandboxed(unit: Path, argv: Sequence[str], state: str = "") -> list[str]:
    """The command line that runs `argv` in the unit's sandbox, with a folder in StateDirectory='s place."""
    return [sys.executable, __file__, str(unit), state, "--", *argv]


def allowed(unit: dict[str, list[str]]) -> set[str]:
    """The system calls of SystemCallFilter=."""
    found: set[str] = set()
    for line in unit["SystemCallFilter"]:
        named = {name for word in line.removeprefix("~").split() for name in _expanded(word)}
        found = found - named if line.startswith("~") else found | named
    return found


def _expanded(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    shown = subprocess.run(
        ["systemd-analyze", "syscall-filter", word], check=True, capture_output=True, text=True, env={"LC_ALL": "C"}
    ).stdout
    words = [line.strip() for line in shown.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return {name for each in words for name in _expanded(each)}


def protect_files(unit: dict[str, list[str]], state: str) -> None:
    """In a mount namespace of its own: everything is read-only but for the paths that the unit names."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("--make-rprivate", "/")
    named = [path for line in unit["ReadWritePaths"] for path in line.split()]
    # A dash: only if it is there.
    writable = [path.removeprefix("-") for path in named if Path(path.removeprefix("-")).exists() or path[0] != "-"]
    if state:
        writable.append(state)
    _mount("--bind", "/proc/sys", "/proc/sys")
    for path in writable:
        _mount("--bind", path, path)
    if unit["PrivateTmp"] == ["yes"]:
        # Not over /tmp, where the tests' own files are, and not over the checkout.
        private = os.environ["TMPDIR"] = "/srv" if sys.prefix.startswith("/var/tmp/") else "/var/tmp"
        _mount("-t", "tmpfs", "tmpfs", private)
        writable.append(private)
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in dict.fromkeys(points):
        kept = point in writable or point.startswith((*API_FILE_SYSTEMS, NAMESPACES))
        if point == "/proc/sys" or not kept:
            _mount("-o", "remount,bind,ro", point)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def filter_calls(names: Iterable[str]) -> None:
    """From here on every other system call is EPERM, and so is memory that can be written and run."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(REFUSE)))
    both = WRITE | EXECUTE
    for name in sorted(names):
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            continue  # of another architecture
        memory = name in ("mmap", "mprotect", "pkey_mprotect")
        cases = [[Condition(PROT_ARGUMENT, MASKED_EQUAL, both, one)] for one in (0, WRITE, EXECUTE)] if memory else [[]]
        for case in cases:
            conditions = (Condition * len(case))(*case)
            if seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, len(case), conditions):
                raise OSError(f"no rule for {name}")
    if seccomp.seccomp_load(context):
        raise OSError("the filter is not loaded")


def main() -> None:
    unit = settings(Path(sys.argv[1]))
    program = sys.argv[sys.argv.index("--") + 1 :]
    if "SANDBOX_ENTERED" in os.environ:
        del os.environ["SANDBOX_ENTERED"]
        filter_calls(allowed(unit))
        os.execv(program[0], program)  # noqa: S606  # an argv, no shell
    for key in ("NoNewPrivileges", "MemoryDenyWriteExecute", "ProtectKernelTunables"):
        if unit[key] != ["yes"]:
            raise SystemExit(f"{sys.argv[1]} has no {key}=yes")
    if unit["ProtectSystem"] != ["strict"]:
        raise SystemExit(f"{sys.argv[1]} has no ProtectSystem=strict")
    protect_files(unit, sys.argv[2])
    (names,) = unit["CapabilityBoundingSet"]
    kept = "".join(f",+{name.removeprefix('CAP_').lower()}" for name in names.split())
    os.environ["SANDBOX_ENTERED"] = "1"
    words = ["setpriv", f"--bounding-set=-all{kept}", "--inh-caps=-all", "--no-new-privs", sys.executable, *sys.argv]
    os.execvp(words[0], words)  # noqa: S606  # an argv, no shell


if __name__ == "__main__":
    main()

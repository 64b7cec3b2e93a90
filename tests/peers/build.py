"""Builds the real programs that svcplane is measured against: etcd, Kubernetes and CoreDNS; and helm.

In: the go.mod and go.sum files beside this one, which pin the versions, and the Go tool chain on PATH.
Out: one folder of static binaries outside the tree, named after a hash of everything that went in, so a changed
version or flag is a new folder and an old one is never overwritten. `python tests/peers/build.py` prints the folder
and the version of each program; `--all` adds the programs that no test needs but people do.
Refuses, with what to try: no Go, a Go older than go.mod asks for, a build that fails.

This file imports nothing of the project: it must run before anything is installed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULES = (HERE, HERE / "coredns", HERE / "helm")


class BuildError(Exception):
    """A program could not be built; the message says which and what to try."""


@dataclass(frozen=True, slots=True)
class Program:
    """One binary: `package` is its Go import path in `module`; `go build` names its output after the path."""

    name: str
    package: str
    version_argv: tuple[str, ...] = ("--version",)
    module: Path = HERE
    for_tests: bool = True

    @property
    def built_as(self) -> str:
        return re.sub(r"/v\d+$", "", self.package).rpartition("/")[2]


KUBERNETES = "k8s.io/kubernetes/cmd"
PROGRAMS = {
    program.name: program
    for program in (
        Program("etcd", "go.etcd.io/etcd/server/v3"),
        Program("kube-apiserver", f"{KUBERNETES}/kube-apiserver"),
        Program("kube-controller-manager", f"{KUBERNETES}/kube-controller-manager"),
        Program("kube-scheduler", f"{KUBERNETES}/kube-scheduler"),
        Program("kube-proxy", f"{KUBERNETES}/kube-proxy"),
        Program("kubectl", f"{KUBERNETES}/kubectl", ("version", "--client")),
        Program("coredns", "github.com/coredns/coredns", ("-version",), module=HERE / "coredns"),
        Program("helm", "helm.sh/helm/v3/cmd/helm", ("version", "--short"), module=HERE / "helm"),
        Program("kubelet", f"{KUBERNETES}/kubelet", for_tests=False),
        Program("kubeadm", f"{KUBERNETES}/kubeadm", ("version", "-o", "short"), for_tests=False),
    )
}
FOR_TESTS = tuple(program.name for program in PROGRAMS.values() if program.for_tests)


def cache_root() -> Path:
    """$SVCPLANE_CACHE, else $XDG_CACHE_HOME/svcplane, else ~/.cache/svcplane."""
    if named := os.environ.get("SVCPLANE_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "svcplane"


def linker_flags(module: Path) -> str:
    """`-ldflags` for one module.

    Kubernetes takes its version from the linker: unstamped it calls itself v0.0.0-master, and `kubectl version` fails.
    """
    stamped = re.search(r"^\s*k8s\.io/kubernetes v((\d+)\.(\d+)\S*)", (module / "go.mod").read_text(), re.MULTILINE)
    if stamped is None:
        return "-s -w"
    version, major, minor = stamped.groups()
    package = "k8s.io/component-base/version"
    return f"-s -w -X {package}.gitVersion=v{version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"


def build_flags(module: Path) -> list[str]:
    return ["-trimpath", "-ldflags", linker_flags(module)]


def run_go(module: Path, *argv: str) -> str:
    """Standard output of `go argv` in `module`. BuildError carries what Go said."""
    try:
        done = subprocess.run(
            ["go", *argv], cwd=module, env={**os.environ, "CGO_ENABLED": "0"}, capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise BuildError("no `go` on PATH: install Go (https://go.dev/dl) to build the peers") from error
    if done.returncode:
        raise BuildError(f"`go {' '.join(argv)}` in {module} ended with {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout


def go_version() -> str:
    """What `go version` prints; BuildError when a module here asks for a newer one."""
    said = run_go(HERE, "version").strip()
    have = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", said)
    if have is None:
        raise BuildError(f"cannot read a version out of `go version`: {said}")
    for module in MODULES:
        wanted = re.search(r"^go (\d+)\.(\d+)(?:\.(\d+))?$", (module / "go.mod").read_text(), re.MULTILINE)
        if wanted and _numbers(have) < _numbers(wanted):
            raise BuildError(
                f"{module / 'go.mod'} needs Go {wanted[0].removeprefix('go ')} or newer, this is {have[0]}: "
                "install a newer Go, or set GOTOOLCHAIN=auto to let Go fetch it"
            )
    return said


def _numbers(version: re.Match[str]) -> tuple[int, ...]:
    return tuple(int(part or 0) for part in version.groups())


def binary_folder() -> Path:
    """Where the binaries of these modules, flags and tool chain belong, built or not."""
    inputs = [go_version().encode()]
    for module in MODULES:
        inputs += [(module / "go.mod").read_bytes(), (module / "go.sum").read_bytes()]
        inputs += [flag.encode() for flag in build_flags(module)]
    digest = hashlib.sha256(b"\0".join(inputs))
    return cache_root() / "peers" / digest.hexdigest()[:16]


def built(names: Iterable[str] = FOR_TESTS) -> Path:
    """The folder that holds the named programs, after building those that are missing.

    Safe to call from several processes: one builds, the others wait and find the work done. A binary appears under
    its name whole or not at all. Minutes when Go's own cache is cold, no time when everything is there.
    """
    unknown = sorted(set(names) - PROGRAMS.keys())
    if unknown:
        raise BuildError(f"no such program: {', '.join(unknown)}; there are {', '.join(PROGRAMS)}")
    folder = binary_folder()
    if _missing(folder, names):
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_suffix(".lock")):
            missing = _missing(folder, names)
            for module in MODULES:
                _build(module, [program for program in missing if program.module == module], folder)
    return folder


def _missing(folder: Path, names: Iterable[str]) -> list[Program]:
    return [PROGRAMS[name] for name in names if not (folder / name).exists()]


def _build(module: Path, programs: list[Program], folder: Path) -> None:
    if not programs:
        return
    print(f"building {', '.join(program.name for program in programs)} into {folder}", file=sys.stderr, flush=True)
    # Beside its destination: a rename is atomic only within one file system.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as workshop:
        # One build for all: they share most packages, and Go links them side by side.
        packages = [program.package for program in programs]
        run_go(module, "build", *build_flags(module), "-o", f"{workshop}/", *packages)
        for program in programs:
            os.replace(Path(workshop, program.built_as), folder / program.name)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def version_of(folder: Path, program: Program) -> str:
    """The first line that the binary prints about its version."""
    done = subprocess.run([folder / program.name, *program.version_argv], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the real programs that the peers tests run.")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"default: {' '.join(FOR_TESTS)}")
    parser.add_argument("--all", action="store_true", help="build every program")
    asked = parser.parse_args()
    names = tuple(PROGRAMS) if asked.all else tuple(asked.programs) or FOR_TESTS
    try:
        folder = built(names)
    except BuildError as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    print(folder)
    for name in names:
        print(f"{name:24} {version_of(folder, PROGRAMS[name])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Where a lab keeps its things: one folder, and what lies where in it.

In: a name, or a folder. Out: a `Lab`, which is its plan and its paths; the plan is written before anything else is
made, so whatever an interrupted `up` left behind can be found and removed. Refused with LabError: no such lab.

    plan.json                what it was asked to be
    admin.conf               kubeconfig of the administrator; kubeconfigs/ has those of the daemons
    pki/                     the CA, the API server's certificate, the key that signs service account tokens
    apiserver.db             the API server's objects (SQLite)
    nodelocal.Corefile       what the DNS cache of each node is told
    daemons/NAME.json        pid, start time and restarts of each daemon
    logs/NAME.log            what it writes
    off/NODE                 there while a node is switched off
    hosts/HOST/              run/ is the host's /run, resolv.conf its /etc/resolv.conf, kubelet/ the kubelet's state
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from svclab.cluster.plan import Plan
from svclab.errors import LabError

ROOT = Path("/var/lib/svcplane-lab")


class Lab(msgspec.Struct, frozen=True):
    """A plan and the folder that belongs to it."""

    plan: Plan
    folder: Path

    @property
    def admin_conf(self) -> Path:
        return self.folder / "admin.conf"

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    def kubeconfig(self, user: str) -> Path:
        """Of a daemon: controllers, agent, or the kubelet of a node under the node's name."""
        return self.folder / "kubeconfigs" / f"{user}.conf"

    def log(self, daemon: str) -> Path:
        return self.folder / "logs" / f"{daemon}.log"

    def record(self, daemon: str) -> Path:
        return self.folder / "daemons" / f"{daemon}.json"

    def off(self, node: str) -> Path:
        return self.folder / "off" / node

    def host(self, name: str) -> Path:
        return self.folder / "hosts" / name

    def kubelet_root(self, node: str) -> Path:
        return self.host(node) / "kubelet"

    def save(self) -> None:
        """Makes the folder, readable by its owner alone: it holds keys."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        for each in ("pki", "kubeconfigs", "daemons", "logs", "off", "hosts"):
            (self.folder / each).mkdir(exist_ok=True)
        write(self.folder / "plan.json", msgspec.json.format(msgspec.json.encode(self.plan)))


def folder_of(name: str, state: str = "") -> Path:
    """`state` is what --state says."""
    return Path(state).absolute() if state else ROOT / name


def find(name: str = "lab", state: str = "") -> Lab | None:
    """The lab whose folder this is, running or not. LabError if its plan cannot be read."""
    folder = folder_of(name, state)
    try:
        return Lab(msgspec.json.decode((folder / "plan.json").read_bytes(), type=Plan), folder)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise LabError(f"{folder}/plan.json: {error}; remove the lab with svcplane-lab down --name {name}") from error


def load(name: str = "lab", state: str = "") -> Lab:
    """As `find`; LabError if there is none."""
    lab = find(name, state)
    if lab is None:
        others = sorted(path.parent.name for path in ROOT.glob("*/plan.json")) if ROOT.is_dir() else []
        there = f"there is {', '.join(others)} (--name)" if others else "bring it up with svcplane-lab up"
        raise LabError(f"no lab {name!r} in {folder_of(name, state)}; {there}")
    return lab


def write(path: Path, content: bytes | str, mode: int = 0o600) -> None:
    """The file appears whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content.encode() if isinstance(content, str) else content)
    beside.chmod(mode)
    beside.replace(path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One `up`, `down` or `node` at a time: holds a lock on the folder itself, which may be removed meanwhile."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists() and os.stat(folder).st_ino == os.fstat(lock).st_ino:
                yield
                return
        finally:
            os.close(lock)

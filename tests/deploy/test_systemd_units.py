"""The units as systemd reads them, and what install.sh and uninstall.sh leave behind. systemd itself does not run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.netns  # install.sh wants root

SYSTEMD = Path(__file__).parents[2] / "deploy/systemd"
PROGRAMS = Path(sys.executable).parent
UNITS = ("agent", "dns", "nodelocal", "apiserver", "controllers", "kubelet")
LATER = ("RestartSteps", "RestartMaxDelaySec")
"""Keys of systemd 254; an older one says that it ignores them."""


def install(root: Path, *units: str) -> None:
    argv = (SYSTEMD / "install.sh", "--root", root, "--programs", PROGRAMS, *units)
    subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)


def uninstall(root: Path) -> None:
    subprocess.run((SYSTEMD / "uninstall.sh", "--root", root), check=True, capture_output=True, timeout=60)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    install(tmp_path, *UNITS)
    units = sorted((tmp_path / "etc/systemd/system").glob("*.service"))
    assert len(units) == len(UNITS)
    done = subprocess.run(("systemd-analyze", "verify", "--man=no", *units), capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if not any(f"'{key}'" in line for key in LATER)]
    assert (done.returncode, complaints) == (0, [])


@pytest.mark.parametrize(
    ("unit", "most"),
    [
        pytest.param("agent", 2.4, id="agent"),
        pytest.param("dns", 1.6, id="dns"),
        pytest.param("nodelocal", 2.1, id="nodelocal"),
        pytest.param("apiserver", 1.8, id="apiserver"),
        pytest.param("controllers", 1.8, id="controllers"),
    ],
)
def test_exposure(unit: str, most: float) -> None:
    """Of 10, as `systemd-analyze security` counts; deploy/README.md names these numbers."""
    argv = ("systemd-analyze", "security", "--offline=true", "--threshold=100", SYSTEMD / f"svcplane-{unit}.service")
    shown = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", shown)
    assert found, shown
    assert float(found[1]) <= most


def test_installing_again_keeps_the_configuration(tmp_path: Path) -> None:
    install(tmp_path, "agent", "dns", "nodelocal")
    before = files(tmp_path)
    configuration = ("agent.env", "agent.yaml", "dns.env", "nodelocal.Corefile", "nodelocal.env")
    assert set(before) == {
        *(f"etc/svcplane/{name}" for name in configuration),
        *(f"etc/systemd/system/svcplane-{name}.service" for name in ("agent", "dns", "nodelocal")),
    }
    install(tmp_path, "agent", "dns", "nodelocal")
    assert files(tmp_path) == before
    (tmp_path / "etc/svcplane/agent.env").write_text("SVCPLANE_AGENT_FLAGS=-v=4\n")
    (tmp_path / "etc/systemd/system/svcplane-agent.service").write_text("[Service]\n")
    install(tmp_path, "agent")
    assert files(tmp_path) == before | {"etc/svcplane/agent.env": b"SVCPLANE_AGENT_FLAGS=-v=4\n"}
    assert (tmp_path / "etc/svcplane").stat().st_mode & 0o777 == 0o700


def test_uninstalling_leaves_what_is_not_ours(tmp_path: Path) -> None:
    other = tmp_path / "etc/systemd/system/other.service"
    other.parent.mkdir(parents=True)
    other.write_text("[Service]\n")
    before = files(tmp_path)
    install(tmp_path, *UNITS)
    (tmp_path / "var/lib/svcplane").mkdir(parents=True)
    (tmp_path / "var/lib/svcplane/apiserver.db").touch()
    uninstall(tmp_path)
    assert files(tmp_path) == before
    assert not (tmp_path / "etc/svcplane").exists()
    assert not (tmp_path / "var/lib/svcplane").exists()
    uninstall(tmp_path)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(("install.sh",), id="no-unit"),
        pytest.param(("install.sh", "proxy"), id="unknown-unit"),
        pytest.param(("install.sh", "--root", "/nowhere", "agent"), id="root-without-programs"),
        pytest.param(("uninstall.sh", "--all"), id="unknown-flag"),
    ],
)
def test_wrong_usage_changes_nothing(argv: tuple[str, ...]) -> None:
    done = subprocess.run((SYSTEMD / argv[0], *argv[1:]), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert argv[0] in done.stdout + done.stderr

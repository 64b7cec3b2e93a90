"""Following the configuration file: what counts as a change, what is said to a bad one, and the new beginning."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from support.waiting import eventually
from svcagent.configuration import API_VERSION, KIND, read
from svcagent.reload import ConfigurationFile, Follower


def text(**fields: object) -> str:
    return json.dumps({"apiVersion": API_VERSION, "kind": KIND, **fields})


def followed(path: Path) -> ConfigurationFile:
    start = text(clusterCIDR="10.0.0.0/8")
    path.write_text(start)
    return ConfigurationFile(path, start, read(start), read)


CHANGES = [
    ("untouched", lambda path: None, False),
    ("touched", lambda path: path.write_text(path.read_text()), False),
    ("spelled otherwise", lambda path: path.write_text(text(mode="", clusterCIDR="10.1.0.0/8") + "\n"), False),
    ("another value", lambda path: path.write_text(text(clusterCIDR="11.0.0.0/8")), True),
    (
        "a field of no effect, which /configz shows",
        lambda path: path.write_text(text(clusterCIDR="10.0.0.0/8", clientConnection={"burst": 7})),
        True,
    ),
    ("one that is shown to nobody", lambda path: path.write_text(text(clusterCIDR="10.0.0.0/8", portRange="1")), False),
]


@pytest.mark.parametrize(("change", "changed"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_only_another_configuration_is_a_change(
    change: Callable[[Path], object], changed: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = followed(tmp_path / "config.conf")
    change(tmp_path / "config.conf")
    assert file.changed() is changed
    assert not caplog.records


FAULTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("a bad value", lambda path: path.write_text(text(oomScoreAdj=1001)), "OOMScoreAdj: Invalid value: 1001"),
    ("half a file", lambda path: path.write_text('{"apiVersion": "'), "not YAML"),
    ("an empty file", lambda path: path.write_text(""), "this is no KubeProxyConfiguration"),
    ("no file", lambda path: path.unlink(), "No such file"),
    ("not text", lambda path: path.write_bytes(b"\xff\xfe\x00"), "codec can't decode"),
]


@pytest.mark.parametrize(("fault", "why"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_bad_file_is_one_error_line_and_the_old_configuration_goes_on(
    fault: Callable[[Path], object], why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "config.conf"
    file = followed(path)
    fault(path)
    assert [file.changed() for _ in range(3)] == [False, False, False]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert why in str(record.__dict__["fields"]["error"])
    path.write_text(text(clusterCIDR="10.0.0.0/8"))
    assert not file.changed(), "what was in force is back"
    fault(path)
    assert not file.changed()
    assert len(caplog.records) == 2, "the same fault later is said again"
    path.write_text(text(clusterCIDR="11.0.0.0/8"))
    assert file.changed()


def test_a_config_map_is_swapped_under_the_file(tmp_path: Path) -> None:
    """A kubelet writes a new folder and renames the symbolic link that leads to it."""
    for name, cidr in (("old", "10.0.0.0/8"), ("new", "11.0.0.0/8")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.conf").write_text(text(clusterCIDR=cidr))
    (tmp_path / "..data").symlink_to("old")
    path = tmp_path / "config.conf"
    path.symlink_to("..data/config.conf")
    start = path.read_text()
    file = ConfigurationFile(path, start, read(start), read)
    assert not file.changed()
    (tmp_path / "..data.tmp").symlink_to("new")
    (tmp_path / "..data.tmp").rename(tmp_path / "..data")
    assert file.changed()


def test_the_follower_tells_once(tmp_path: Path) -> None:
    file = followed(tmp_path / "config.conf")
    told = threading.Semaphore(0)
    follower = Follower(file, told.release, every=0.01)
    follower.start()
    try:
        assert not follower.due
        (tmp_path / "config.conf").write_text(text(clusterCIDR="11.0.0.0/8"))
        assert told.acquire(timeout=10)
        assert follower.due
    finally:
        follower.stop()
    assert not told.acquire(blocking=False)


PROGRAM = """
import os, sys
from pathlib import Path
from threading import Event
from svcagent.configuration import read
from svcagent.reload import ConfigurationFile, Follower, begin_again

path, report = Path(sys.argv[1]), Path(sys.argv[2])
text = path.read_text()
told = Event()
follower = Follower(ConfigurationFile(path, text, read(text), read), told.set, every=0.01)
follower.start()
with report.open("a") as lines:
    lines.write(f"{os.getpid()} {read(text).options.cluster_cidr[0]}\\n")
told.wait(30)
follower.stop()
if follower.due:
    begin_again()
"""


def test_the_process_begins_again_as_itself(tmp_path: Path) -> None:
    path, report = tmp_path / "config.conf", tmp_path / "report"
    followed(path)
    report.touch()
    paths = os.pathsep.join(sys.path)
    argv = [sys.executable, "-c", PROGRAM, str(path), str(report)]
    child = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": paths})
    try:
        eventually(lambda: "10.0.0.0/8" in report.read_text(), "the first start")
        path.write_text(text(clusterCIDR="11.0.0.0/8"))
        eventually(lambda: "11.0.0.0/8" in report.read_text(), "the second start")
        assert report.read_text().splitlines() == [f"{child.pid} 10.0.0.0/8", f"{child.pid} 11.0.0.0/8"]
    finally:
        child.kill()
        child.wait()

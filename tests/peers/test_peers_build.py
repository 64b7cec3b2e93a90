"""build.py against a `go` of our own on PATH: what it refuses, and that two builders share one build."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.build import HERE, PROGRAMS
from support.waiting import eventually

# Says its version; notes each build in $BUILDS and ends it when a line comes out of the pipe $GATE.
GO = """\
#!/bin/sh
case $1 in
version) echo "go version go$GO_IS linux/amd64" ;;
build)
    echo build >> "$BUILDS"
    read -r open < "$GATE"
    while [ "$1" != -o ]; do shift; done
    printf '#!/bin/sh\\necho v1\\n' > "$2/kubectl"
    chmod +x "$2/kubectl"
    ;;
esac
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "go").write_text(GO)
    (tools / "go").chmod(0o755)
    os.mkfifo(tmp_path / "gate")
    paths = {"BUILDS": tmp_path / "builds", "GATE": tmp_path / "gate", "SVCPLANE_CACHE": tmp_path / "cache"}
    return {
        **os.environ,
        **{name: str(path) for name, path in paths.items()},
        "GO_IS": "1.99.0",
        "PATH": f"{tools}:/usr/bin:/bin",
    }


def builder(environment: dict[str, str], *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        (sys.executable, HERE / "build.py", *argv),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def two_builders(environment: dict[str, str]) -> Iterator[list[subprocess.Popen[str]]]:
    """The first is in the middle of its build, the second waits for the lock."""
    started = [builder(environment, "kubectl")]
    try:
        eventually(lambda: Path(environment["BUILDS"]).exists(), "the first builder builds")
        started.append(builder(environment, "kubectl"))
        eventually(lambda: any(file.endswith(".lock") for file in open_files(started[1].pid)), "the second one waits")
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def open_files(pid: int) -> list[str]:
    return [os.readlink(handle) for handle in Path(f"/proc/{pid}/fd").iterdir()]


def test_two_builders_build_once(environment: dict[str, str], two_builders: list[subprocess.Popen[str]]) -> None:
    Path(environment["GATE"]).write_text("go on\n")
    said = [process.communicate(timeout=20)[0].splitlines() for process in two_builders]
    assert said[0] == said[1]
    folder, version = said[0]
    assert version.split() == ["kubectl", "v1"]
    assert [path.name for path in Path(folder).iterdir()] == ["kubectl"]
    assert Path(environment["BUILDS"]).read_text() == "build\n"


@pytest.mark.parametrize(
    ("argv", "changes", "message"),
    [
        pytest.param([], {"PATH": "/nonexistent"}, "no `go` on PATH", id="no Go"),
        pytest.param([], {"GO_IS": "1.20.3"}, "or newer, this is go1.20.3", id="an old Go"),
        pytest.param(["kubecuddle"], {}, "no such program: kubecuddle; there are etcd,", id="a misspelt program"),
    ],
)
def test_refusals(environment: dict[str, str], argv: list[str], changes: dict[str, str], message: str) -> None:
    with builder({**environment, **changes}, *argv) as process:
        _, said = process.communicate(timeout=20)
    assert message in said
    assert process.returncode == 1


def test_the_key_follows_the_tool_chain(environment: dict[str, str]) -> None:
    folders = set()
    for version in ("1.99.0", "1.99.1"):
        script = "from peers.build import binary_folder; print(binary_folder())"
        settings = {**environment, "GO_IS": version, "PYTHONPATH": str(HERE.parent)}
        done = subprocess.run((sys.executable, "-c", script), env=settings, capture_output=True, check=True)
        folders.add(done.stdout)
    assert len(folders) == 2


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_is_a_tool_of_its_module(name: str) -> None:
    program = PROGRAMS[name]
    tools = (program.module / "go.mod").read_text().split("require", 1)[0]
    assert program.package in tools.split()

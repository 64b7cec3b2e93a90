"""Processes are known by pid and start time, and no other is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator

import msgspec
import pytest

from svclab import processes
from svclab.identity import Identity


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def identity(process: subprocess.Popen[bytes]) -> Identity:
    found = processes.identity(process.pid)
    assert found is not None
    return found


def test_identity_lasts(sleeper: subprocess.Popen[bytes]) -> None:
    who = identity(sleeper)
    assert processes.lives(who)
    assert msgspec.json.decode(msgspec.json.encode(who), type=Identity) == who
    assert 0 <= processes.seconds_lived(who) < 60


def test_end(sleeper: subprocess.Popen[bytes]) -> None:
    who = identity(sleeper)
    assert processes.end([who]) == []
    assert not processes.lives(who)  # a zombie, until we wait for it, has ended
    assert sleeper.wait(5) == -9
    assert processes.identity(sleeper.pid) is None
    assert processes.end([who]) == []


@pytest.mark.parametrize(
    "change", [{"started": 1}, {"boot": "another"}], ids=["the pid is another's now", "before the last boot"]
)
def test_another_is_not_ended(sleeper: subprocess.Popen[bytes], change: dict[str, object]) -> None:
    before = msgspec.structs.replace(identity(sleeper), **change)
    assert not processes.lives(before)
    assert processes.watched(before) is None
    assert processes.end([before]) == []
    assert sleeper.poll() is None


def test_a_thread_is_no_process() -> None:
    """Its number may have been a process's once."""
    numbers: list[int] = []
    end = threading.Event()
    thread = threading.Thread(target=lambda: (numbers.append(threading.get_native_id()), end.wait()))
    thread.start()
    try:
        while not numbers:
            thread.join(0.001)
        assert processes.opened(numbers[0]) is None
        assert not processes.signalled(Identity(numbers[0], 1, "before"), signal.SIGKILL)
    finally:
        end.set()
        thread.join()


def test_own_identity() -> None:
    found = processes.identity(os.getpid())
    assert found is not None
    assert found.pid == os.getpid()


def test_a_name_with_brackets(tmp_path: os.PathLike[str]) -> None:
    """/proc/PID/stat has the program's name in brackets, and the name may have any."""
    program = os.path.join(tmp_path, "a) R 1 (b")
    os.symlink("/bin/sleep", program)
    with subprocess.Popen([program, "1000"]) as process:
        try:
            assert processes.lives(identity(process))
        finally:
            process.kill()

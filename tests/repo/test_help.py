"""`--help` is the manual: every command has a sentence, and so has every one of its options."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

PROGRAMS = ("svcplane-agent", "svcplane-dns", "svcplane-lab")
WIDE = {**os.environ, "COLUMNS": "400"}


def shown(program: str, *words: str) -> str:
    argv = (Path(sys.executable).with_name(program), *words)
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=WIDE, timeout=60).stdout


def entries(text: str) -> dict[str, str]:
    """Options, arguments and commands with what is said of them. argparse puts a text beside or below its entry."""
    pattern = r"^ {2,4}(?! )(\S(?:\S| (?! ))*)(?:(?: {2,}|\n {10,})(\S.*))?$"
    return dict(re.findall(pattern, text.partition("\n\n")[2], re.MULTILINE))


def commands(program: str) -> list[str]:
    return [word for word in entries(shown(program, "--help")) if re.fullmatch(r"[a-z]+", word)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_everything_is_explained(program: str) -> None:
    names = commands(program)
    assert "run" in names or "up" in names
    silent = [
        (" ".join(words), entry)
        for words in ([], *([name] for name in names))
        for entry, said in entries(shown(program, *words, "--help")).items()
        if not said and entry not in ("COMMAND", "run | rules | trace | status | cleanup")
    ]
    assert silent == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_version(program: str) -> None:
    assert shown(program, "--version") == f"{program} {version('svcplane')}\n"

"""The commands of the iptables family: which are run, and what is said when they fail. Pure: stand-ins on PATH."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.programs import program
from svcnet import writers
from svcnet.rules import Family
from svcnet.writers import Flavour, Iptables, IptablesError, detect

NAMES: list[tuple[Family, Flavour, str, str]] = [
    ("IPv4", "nft", "save", "iptables-nft-save"),
    ("IPv6", "legacy", "restore", "ip6tables-legacy-restore"),
    ("IPv4", "plain", "save", "iptables-save"),
    ("IPv6", "plain", "", "ip6tables"),
]


@pytest.mark.parametrize(("family", "flavour", "verb", "name"), NAMES, ids=[row[3] for row in NAMES])
def test_names_of_commands(family: Family, flavour: Flavour, verb: str, name: str) -> None:
    assert Iptables(family, flavour).command(verb) == name


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


PLAIN = Iptables("IPv4", "plain")
INPUT = "*nat\n:A - [0:0]\n-A A -j NOWHERE\nCOMMIT\n"


def test_a_program_that_is_not_there(path: Path) -> None:
    with pytest.raises(IptablesError, match=r"^iptables-save is not installed .*apt-get install iptables"):
        PLAIN.dump()


def test_a_program_that_may_not_be_run(path: Path) -> None:
    (path / "iptables-save").write_text("#!/bin/sh\n")
    with pytest.raises(IptablesError, match=r"^cannot run iptables-save: Permission denied$"):
        PLAIN.dump()


COMPLAINTS = [
    ("legacy", "iptables-restore: line 3 failed", " | input line 3: -A A -j NOWHERE"),
    ("nft", "iptables-restore v1.8.9 (nf_tables): \nline 3: RULE_APPEND failed", " | input line 3: -A A -j NOWHERE"),
    ("parser", "iptables-restore v1.8.9: Error occurred at line: 3\nTry help", " | input line 3: -A A -j NOWHERE"),
    ("no line", "iptables-restore: permission denied", ""),
    ("a line that is not there", "iptables-restore: line 9 failed", ""),
]


@pytest.mark.parametrize(("said", "shown"), [row[1:] for row in COMPLAINTS], ids=[row[0] for row in COMPLAINTS])
def test_an_error_shows_the_line_of_our_input(path: Path, said: str, shown: str) -> None:
    program(path, "iptables-restore", f"echo '{said}' >&2; exit 2")
    with pytest.raises(IptablesError) as raised:
        PLAIN.restore(INPUT)
    words = " ".join(said.split())  # one line, whatever was printed
    assert str(raised.value) == f"iptables-restore -w 5 --noflush: exit status 2: {words}{shown}"


def test_restore_hands_the_text_over(path: Path, tmp_path: Path) -> None:
    program(
        path,
        "iptables-restore",
        f'echo "$@" > {tmp_path}/got; while read -r line; do echo "$line"; done >> {tmp_path}/got',
    )
    PLAIN.restore(INPUT)
    assert (tmp_path / "got").read_text() == f"-w 5 --noflush\n{INPUT}"


def test_restore_names_the_line_of_text_in_pieces(path: Path) -> None:
    program(path, "iptables-restore", "echo 'line 3 failed' >&2; exit 1")
    with pytest.raises(IptablesError, match=r"input line 3: -A A -j NOWHERE$"):
        PLAIN.restore(["*nat\n:A - [0:0]\n", "-A A -j NOWHERE\nCOMMIT\n"])


def test_a_command_that_ends_before_all_is_read_says_why(path: Path) -> None:
    """There is more text than a pipe holds."""
    program(path, "iptables-restore", "echo no more >&2; exit 1")
    with pytest.raises(IptablesError, match=r"exit status 1: no more$"):
        PLAIN.restore("-A A -j B\n" * 100_000 for _ in range(30))


def test_text_that_fails_while_it_is_made_commits_nothing(path: Path, tmp_path: Path) -> None:
    def pieces() -> Iterator[str]:
        yield "*nat\n:A - [0:0]\n"
        raise ZeroDivisionError

    program(path, "iptables-restore", f'while read -r line; do echo "$line"; done > {tmp_path}/got')
    with pytest.raises(ZeroDivisionError):
        PLAIN.restore(pieces())
    assert "COMMIT" not in (tmp_path / "got").read_text()


def test_a_command_that_hangs_is_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "COMMAND_SECONDS", 0.05)
    program(path, "iptables-save", "while :; do :; done")
    with pytest.raises(IptablesError, match=r"^iptables-save did not end within 0\.05 s$"):
        PLAIN.dump()


def test_a_dump_with_bytes_that_are_no_text(path: Path) -> None:
    program(path, "iptables-save", r"""printf '*nat\n-A A -m comment --comment "\377"\nCOMMIT\n'""")
    assert re.fullmatch(r'\*nat\n-A A -m comment --comment "."\nCOMMIT\n', PLAIN.dump())


def test_a_dump_of_tables_one_by_one(path: Path) -> None:
    program(path, "iptables-save", 'echo "$@"')
    assert PLAIN.dump("nat", "mangle") == "-t nat\n-t mangle\n"


VERSIONS = [
    ("iptables v1.8.9 (nf_tables)", True),
    ("iptables v1.6.2", True),
    ("iptables v1.6.1", False),
    ("iptables v1.4.21", False),
    ("iptables v2.0.0", True),
    ("BusyBox", False),
]


@pytest.mark.parametrize(("printed", "able"), VERSIONS, ids=[row[0] for row in VERSIONS])
def test_random_fully_by_version(path: Path, printed: str, able: bool) -> None:
    program(path, "iptables", f"echo '{printed}'")
    assert PLAIN.random_fully() is able


@pytest.mark.parametrize("status", [0, 3])
def test_a_family_works_if_its_nat_table_can_be_read(path: Path, status: int) -> None:
    program(path, "iptables", f'[ "$*" = "-w 5 -t nat -S POSTROUTING" ] && exit {status}; exit 9')
    assert PLAIN.works() is (status == 0)


def test_a_host_with_one_flavour_is_asked_for_no_name(path: Path) -> None:
    program(path, "iptables-nft", "exit 0")
    assert detect() == "plain"

"""The commands through which rules reach the kernel, in either flavour of iptables; `nftwriter` is the other door.

An `Iptables` is the set of commands of one family and one flavour. It takes and gives text in the form of
iptables-save, runs in the network namespace of the calling thread, and every call has a time limit. `detect` finds the
flavour that this host uses, by the same signs as the wrapper in kube-proxy's image.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import IO, Literal, TypeAlias

import msgspec

from svcnet.rules import FAMILIES, HINT_CHAINS, Family

Flavour: TypeAlias = Literal["nft", "legacy", "plain"]
"""iptables-nft, iptables-legacy, or a host that has just `iptables`."""

LOCK_SECONDS = 5
SLOW_LOCK_SECONDS = 120
"""For input that is made while iptables-legacy-restore reads it: the alarm of its wait for the lock stays set, and when
it comes during a read, the rest of the input is not read. So the input has as long to come."""
COMMAND_SECONDS = 600
"""iptables-nft-restore of ten thousand services takes minutes; a command that hangs longer than this is killed."""

PIPE_BYTES = 1 << 20
"""What waits in the pipe to a command: on a busy machine each turn that the two take costs milliseconds."""

_PREFIX = {"IPv4": "iptables", "IPv6": "ip6tables"}
_NOT_THERE = re.compile("No chain/|is incompatible")  # the second is what iptables-nft 1.8.9 says of one not there
_LINE = re.compile(r"line:? (\d+)")


class IptablesError(Exception):
    """A command of the iptables family failed. The message has its own words; `line` is the input line it names."""

    def __init__(self, message: str, number: int = 0, line: str = "") -> None:
        super().__init__(f"{message} | input line {number}: {line}" if number else message)
        self.line = line


class Iptables(msgspec.Struct, frozen=True):
    """The iptables commands of one family and flavour."""

    family: Family
    flavour: Flavour

    def command(self, verb: str = "") -> str:
        """The name of a command: `iptables-nft-save` for verb "save"."""
        words = [_PREFIX[self.family], "" if self.flavour == "plain" else self.flavour, verb]
        return "-".join(word for word in words if word)

    def dump(self, *tables: str) -> str:
        """The output of iptables-save, of some tables or of all."""
        if not tables:
            return _run([self.command("save")])[0]
        return "".join(_run([self.command("save"), "-t", table])[0] for table in tables)

    def chains(self, wanted: Iterable[tuple[str, str]]) -> str:
        """What iptables-save would show of these chains alone, each a table and a name: nothing of those not there."""
        shown = []
        for table, chain in wanted:
            try:
                _, *rules = self.run("-t", table, "-S", chain).splitlines(keepends=True)  # the first makes the chain
            except IptablesError as error:
                if not _NOT_THERE.search(str(error)):
                    raise
            else:
                shown += [f"*{table}\n:{chain} - [0:0]\n", *rules]
        return "".join(shown)

    def restore(self, text: str | Iterable[str]) -> int:
        """Applies restore input to what is there. Each table in it is one transaction.

        Pieces of text are handed over as they are made, and made again to name a line that is refused.
        Returns the process ID of the command that did it, by which the kernel's notices name the writer.
        """
        seconds = LOCK_SECONDS if isinstance(text, str) else SLOW_LOCK_SECONDS
        try:
            return _run(self._restore(seconds), _pieces(text))[1]
        except IptablesError as error:
            raise IptablesError(str(error), *_complaint(str(error), _pieces(text))) from error

    def accepts(self, text: str | Iterable[str]) -> bool:
        """Whether an empty host takes this restore input: tried in a network namespace that ends with the try."""
        try:
            _run(["unshare", "--net", "--", *self._restore(SLOW_LOCK_SECONDS)], _pieces(text))
        except IptablesError:
            return False
        return True

    def _restore(self, lock_seconds: int) -> list[str]:
        return [self.command("restore"), "-w", str(lock_seconds), "--noflush"]

    def run(self, *words: str) -> str:
        """One iptables command, such as `-t nat -D INPUT ...`."""
        return _run([self.command(), "-w", str(LOCK_SECONDS), *words])[0]

    def on_nft(self) -> bool:
        """Whether these commands write nf_tables, which announce changes; legacy ones do not."""
        return "nf_tables" in _run([self.command(), "--version"])[0]

    def random_fully(self) -> bool:
        """Whether MASQUERADE takes --random-fully (1.6.2 and later)."""
        return self.version() >= (1, 6, 2)

    def version(self) -> tuple[int, ...]:
        """Such as (1, 8, 9); empty if it cannot be made out."""
        found = re.search(r"v(\d+)\.(\d+)\.(\d+)", _run([self.command(), "--version"])[0])
        return tuple(int(part) for part in found.groups()) if found is not None else ()

    def works(self) -> bool:
        """Whether the nat table of this family can be read here."""
        try:
            self.run("-t", "nat", "-S", "POSTROUTING")
        except IptablesError:
            return False
        return True


def _run(argv: Sequence[str], pieces: Iterable[str] | None = None) -> tuple[str, int]:
    """What the command printed, and its process ID. It works on the first pieces while the next are made."""
    pipe = subprocess.PIPE
    try:
        with (
            ThreadPoolExecutor(1, "feeder") as feeder,
            subprocess.Popen(
                argv,
                bufsize=PIPE_BYTES // 4,
                stdin=subprocess.DEVNULL if pieces is None else pipe,
                stdout=pipe,
                stderr=pipe,
                encoding="utf-8",
                errors="surrogateescape",  # the comment of a foreign rule may be any bytes
            ) as running,
        ):
            try:
                stdin, running.stdin = running.stdin, None  # or `communicate` would close it
                feeding = feeder.submit(_feed, stdin, pieces) if stdin and pieces is not None else None
                printed, complaint = running.communicate(timeout=COMMAND_SECONDS)
                if feeding:
                    feeding.result()
            except BaseException:
                running.kill()
                raise
    except FileNotFoundError as error:
        raise IptablesError(f"{argv[0]} is not installed (Debian, Ubuntu: apt-get install iptables)") from error
    except OSError as error:
        raise IptablesError(f"cannot run {argv[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise IptablesError(f"{' '.join(argv)} did not end within {COMMAND_SECONDS} s") from error
    if running.returncode != 0:
        raise IptablesError(f"{' '.join(argv)}: exit status {running.returncode}: {' '.join(complaint.split())}")
    return printed, running.pid


def _pieces(text: str | Iterable[str]) -> Iterable[str]:
    return (text,) if isinstance(text, str) else text


def _feed(stdin: IO[str], pieces: Iterable[str]) -> None:
    with suppress(OSError):
        fcntl.fcntl(stdin, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    with suppress(BrokenPipeError), stdin:  # a command that ends early says why by itself
        stdin.writelines(pieces)


def _complaint(message: str, pieces: Iterable[str]) -> tuple[int, str]:
    """Number and text of the input line that a message of iptables-restore names; 0 and "" if it names none."""
    found = _LINE.search(message)
    if found is None:
        return 0, ""
    wanted = int(found[1])
    lines = (line for piece in pieces for line in piece.splitlines())
    line = next(islice(lines, wanted - 1, None), None) if wanted else None
    return (wanted, line) if line is not None else (0, "")


def detect() -> Flavour:
    """The flavour that this host uses.

    The one that shows one of HINT_CHAINS is it. Without any, the flavour with more rules is, and nft on a tie.
    """
    if shutil.which("iptables-nft") is None or shutil.which("iptables-legacy") is None:
        return "plain"
    nft = [Iptables(family, "nft") for family in FAMILIES]
    if any(f":{hint} " in _dump_or_nothing(each, "mangle") for each in nft for hint in HINT_CHAINS):
        return "nft"
    # Asking legacy for one table by name would create it in the kernel: ask for what is there.
    legacy_dumps = [_dump_or_nothing(Iptables(family, "legacy")) for family in FAMILIES]
    if any(f":{hint} " in dump for dump in legacy_dumps for hint in HINT_CHAINS):
        return "legacy"
    legacy_rules = sum(_count_rules(dump) for dump in legacy_dumps)
    return "legacy" if legacy_rules > sum(_count_rules(_dump_or_nothing(each)) for each in nft) else "nft"


def _dump_or_nothing(iptables: Iptables, *tables: str) -> str:
    try:
        return iptables.dump(*tables)
    except IptablesError:
        return ""  # a family or flavour that the kernel lacks holds no rules


def _count_rules(dump: str) -> int:
    return sum(line.startswith("-") for line in dump.splitlines())

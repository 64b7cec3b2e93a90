"""How a plugin reads its lines: words counted, numbers and names checked, and every refusal with its line.

In: a `Line` of a Corefile. Out: plain values. Refuses by `CorefileError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from svcdns.addresses import seconds_of, zone_names
from svcdns.corefile import Directive, Line
from svcdns.records import Name

Found: TypeAlias = dict[str, Any]
"""Fields of a value in the making, by name."""
Option: TypeAlias = Callable[[Line, Found], None]

T = TypeVar("T")


def options(directive: Directive, known: Mapping[str, Option]) -> Found:
    """What the lines between the braces say, by one function for each option's name."""
    found: Found = {}
    for line in directive.body:
        read = known.get(line.name)
        if read is None:
            there = f"; there is: {', '.join(sorted(known))}" if known else ""
            raise line.error(f"unknown property '{line.name}' of {directive.name}{there}")
        read(line, found)
    return found


def counted(line: Line, least: int, most: int | None = None) -> tuple[str, ...]:
    """The words after the name, if they are as many as that."""
    most = least if most is None else most
    if not least <= len(line.args) <= most:
        wanted = str(least) if least == most else f"{least} to {most}" if most < 1000 else f"{least} or more"
        raise line.error(f"wrong argument count after '{line.name}': {len(line.args)}, not {wanted}")
    return line.args


def any_number(line: Line, least: int = 1) -> tuple[str, ...]:
    return counted(line, least, 1000)


def checked(line: Line, read: Callable[[str], T], text: str) -> T:
    """`read(text)`, its ValueError with the line in front."""
    try:
        return read(text)
    except ValueError as error:
        raise line.error(f"{line.name}: {error}") from None


def number(line: Line, text: str, least: int = 0, most: int = (1 << 32) - 1) -> int:
    def read(word: str) -> int:
        if not word.removeprefix("-").isascii() or not word.removeprefix("-").isdecimal():
            raise ValueError(f"{word!r} is no number")
        if not least <= int(word) <= most:
            raise ValueError(f"{word} is not in range [{least}, {most}]")
        return int(word)

    return checked(line, read, text)


def duration(line: Line, text: str) -> float:
    return checked(line, seconds_of, text)


def names(line: Line, texts: Sequence[str]) -> tuple[Name, ...]:
    return tuple(name for text in texts for name in checked(line, zone_names, text))


def flag(field: str, value: bool = True) -> Option:
    """An option that is one word."""

    def read(line: Line, found: Found) -> None:
        counted(line, 0)
        found[field] = value

    return read


def seconds(field: str, least: float = 0.0) -> Option:
    def read(line: Line, found: Found) -> None:
        found[field] = duration(line, counted(line, 1)[0])
        if found[field] < least:
            raise line.error(f"{line.name} must be at least {least:g} seconds")

    return read


def amount(field: str, least: int = 0, most: int = (1 << 32) - 1) -> Option:
    def read(line: Line, found: Found) -> None:
        found[field] = number(line, counted(line, 1)[0], least, most)

    return read


def listening(line: Line, default: str) -> str:
    """The address of an HTTP endpoint, `host:port` or `:port`; `default` if none is given."""
    words = counted(line, 0, 1)
    if not words:
        return default
    host, colon, port = words[0].rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise line.error(f"{line.name}: {words[0]!r} is no address; write host:port, [host]:port or :port")
    return words[0]

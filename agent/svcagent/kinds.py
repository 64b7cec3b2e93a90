"""Kinds of values in a KubeProxyConfiguration: how one is read, shown again, and taken from a flag.

In: a value as YAML or JSON gives it. Out: the value as `Options` holds it, durations in seconds, addresses and CIDRs in
canonical form. A value of the wrong type is mistyped; one that has the type and makes no sense is invalid, and the
reasons are worded as kube-proxy 1.36 words them, so that they are found by who searches for them.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from svcagent.names import host_port
from svcagent.options import duration
from svcagent.resolve import canonical_address, canonical_cidr
from svcnet.rules import family_of


class MistypedError(Exception):
    """Not of the type of its field."""


class InvalidError(Exception):
    """Of the right type, and impossible. `sentence` is what follows the field's name."""

    def __init__(self, value: Any, reason: str, *, what: str = "Invalid value", at: str = "") -> None:
        self.sentence = f"{at}: {what}: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}: {reason}"
        super().__init__(self.sentence.lstrip(": "))


class Kind(msgspec.Struct, frozen=True):
    """A kind of value: `parse` makes of a flag's text what a file would hold, `read` of that what Options holds.

    `show` is the way back from Options to a file. `read` raises MistypedError or InvalidError, `parse` ValueError.
    """

    read: Callable[[Any], Any]
    show: Callable[[Any], Any] = lambda value: value
    parse: Callable[[str], Any] = str


def shown_duration(seconds: float) -> str:
    """Seconds as Go prints a duration: `1h0m0s`, `1m30s`, `250ms`, `0s`."""
    count = round(abs(seconds) * 1e9)
    sign = "-" if seconds < 0 and count else ""
    if count < 10**9:
        unit, scale = next(((name, each) for name, each in (("ms", 10**6), ("µs", 10**3)) if count >= each), ("ns", 1))
        return f"{sign}{_decimal(count, scale)}{unit}" if count else "0s"
    minutes, rest = divmod(count, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 10**9)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else sign + text


def _decimal(count: int, scale: int) -> str:
    whole, rest = divmod(count, scale)
    return f"{whole}.{rest:0{len(str(scale)) - 1}d}".rstrip("0") if rest else str(whole)


def boolean(text: str) -> bool:
    """A flag's true or false, as Go spells them."""
    if text.lower() in ("true", "t", "1"):
        return True
    if text.lower() in ("false", "f", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise MistypedError(f"{_quoted(value)} is not text: put it in quotes")
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise MistypedError(f"{_quoted(value)} is not a list of text")
    return value


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise MistypedError(f"{_quoted(value)} is neither true nor false")
    return value


def _is_whole(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MistypedError(f"{_quoted(value)} is not a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise MistypedError("a number must be finite")
    return int(value) if isinstance(value, int) or value.is_integer() else value


def _integer(value: Any) -> int:
    if not _is_whole(value):
        raise MistypedError(f"{_quoted(value)} is not a whole number")
    if not -(2**31) <= value < 2**31:
        raise MistypedError(f"{_quoted(value)} does not fit into 32 bits")
    return int(value)


def _duration(value: Any) -> float:
    text = _text(value)
    try:
        return -duration(text[1:]) if text.startswith("-") else duration(text)
    except ValueError as error:
        raise MistypedError(str(error)) from error


def _gates(value: Any) -> tuple[tuple[str, bool], ...]:
    if not isinstance(value, dict) or not all(isinstance(each, bool) for each in value.values()):
        raise MistypedError(f"{_quoted(value)} is not a mapping of names to true or false")
    return tuple(sorted((str(name), on) for name, on in value.items()))


def _levels(value: Any) -> list[dict[str, Any]]:
    pairs = value if isinstance(value, list) else [value]
    if not all(isinstance(each, dict) and each.keys() == {"filePattern", "verbosity"} for each in pairs):
        raise MistypedError(f"{_quoted(value)} is not a list of filePattern and verbosity")
    return [{"filePattern": _text(each["filePattern"]), "verbosity": _integer(each["verbosity"])} for each in pairs]


def _size(value: Any) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)


def _flush(value: Any) -> float:
    """A duration, or a whole number of nanoseconds."""
    return _integer(value) / 1e9 if not isinstance(value, str) else _duration(value)


def _patterns(text: str) -> list[dict[str, Any]]:
    pairs = (each.partition("=") for each in text.split(",") if each)
    return [{"filePattern": pattern, "verbosity": int(level)} for pattern, _, level in pairs]


def _within(read: Callable[[Any], Any], fits: Callable[[Any], bool], reason: str, show: Callable[[Any], Any]) -> Any:
    def checked(value: Any) -> Any:
        found = read(value)
        if not fits(found):
            raise InvalidError(show(found), reason)
        return found

    return checked


def _same(value: Any) -> Any:
    return value


TEXT = Kind(_text)
TEXTS = Kind(lambda value: _texts(value or []), lambda value: value or None, lambda text: text.split(","))
SWITCH = Kind(_switch, parse=boolean)
NUMBER = Kind(_number, parse=float)
INTEGER = Kind(_integer, parse=int)
SIZE = Kind(_size)
VMODULE = Kind(_levels, parse=_patterns)
GATES = Kind(_gates, dict)
ANY_DURATION = Kind(_duration, shown_duration)
FLUSH = Kind(_flush, shown_duration)

_NOT_NEGATIVE = "must be greater than or equal to 0"
COUNT = Kind(_within(_integer, lambda number: number >= 0, _NOT_NEGATIVE, _same), parse=int)
BIT = Kind(_within(_integer, range(32).__contains__, "must be within the range [0, 31]", _same))
SCORE = Kind(_within(_integer, range(-1000, 1001).__contains__, "must be within the range [-1000, 1000]", _same))
DURATION = Kind(_within(_duration, lambda seconds: seconds >= 0, _NOT_NEGATIVE, shown_duration), shown_duration)
# Zero asks for the default here, and never gets so far as to be refused.
PERIOD = Kind(
    _within(_duration, lambda seconds: seconds >= 0, "must be greater than 0", shown_duration), shown_duration
)


def one_of(allowed: Sequence[str], default: str, reason: str) -> Kind:
    """Text from a list; "" is `default`. `reason` says why nothing else is possible."""

    def read(value: Any) -> str:
        text = _text(value) or default
        if text not in allowed:
            raise InvalidError(value, reason)
        return text

    return Kind(read)


LOG_FORMAT = one_of(("text", "json"), "text", "Unsupported log format")


def supported(allowed: Sequence[str]) -> Kind:
    """Text from a list, or ""."""

    def read(value: Any) -> str:
        text = _text(value)
        if text and text not in allowed:
            names = ", ".join(f'"{each}"' for each in (*allowed, ""))
            raise InvalidError(text, f"supported values: {names}", what="Unsupported value")
        return text

    return Kind(read)


def _address(value: Any) -> str:
    text = _text(value)
    try:
        return canonical_address(text) if text else ""
    except ValueError as error:
        raise InvalidError(text, "not a valid textual representation of an IP address") from error


ADDRESS = Kind(_address)

_HOST_PORT = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*)):([^:\[\]]*)")


def listening(port: int) -> Kind:
    """`ip:port` or `[ip]:port`; a bare address gets `port`."""

    def read(value: Any) -> str:
        text = _text(value)
        if not text:
            return ""
        if not text.startswith("["):
            try:
                return host_port(canonical_address(text), port)
            except ValueError:
                pass
        parts = _HOST_PORT.fullmatch(text)
        if parts is None:
            raise InvalidError(text, "must be IP:port")
        host, number = parts[1] or parts[2] or "", parts[3]
        try:
            address = canonical_address(host)
        except ValueError as error:
            raise InvalidError(host, "must be a valid IP") from error
        if not number.isdecimal() or not 0 < int(number) < 65536:
            raise InvalidError(number, "must be a valid port")
        return host_port(address, int(number))

    return Kind(read)


_PAIR = "must be a either a single CIDR or dual-stack pair of CIDRs (e.g. [10.100.0.0/16, fde4:8dba:82e1::/48]"


def _cluster_cidr(value: Any) -> tuple[str, ...]:
    parts = [part.strip() for part in _text(value).split(",")] if value else []
    found = []
    for number, part in enumerate(parts[:2]):
        try:
            found.append(canonical_cidr(part))
        except ValueError as error:
            reason = "must be a valid CIDR block (e.g. 10.100.0.0/16 or fde4:8dba:82e1::/48)"
            raise InvalidError(part, reason, at=f"[{number}]") from error
    if len(parts) > 2 or len({family_of(each) for each in found}) != len(found):
        raise InvalidError(parts, _PAIR)
    return tuple(found)


CLUSTER_CIDR = Kind(_cluster_cidr, ",".join)


def _node_port_addresses(value: Any) -> tuple[str, ...]:
    texts = _texts(value or [])
    if "primary" in texts and len(texts) > 1:
        raise InvalidError("primary", "can't use both 'primary' and CIDRs", at=f"[{texts.index('primary')}]")
    found = []
    for number, text in enumerate(texts):
        try:
            found.append(text if text == "primary" else canonical_cidr(text))
        except ValueError as error:
            raise InvalidError(text, "must be a valid CIDR", at=f"[{number}]") from error
    return tuple(found)


NODE_PORT_ADDRESSES = Kind(_node_port_addresses, lambda value: list(value) or None)

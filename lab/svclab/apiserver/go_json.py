"""JSON as Go's decoder reads it: which keys were said twice, and Go's words for what is wrong with the text.

In: bytes. Out: JSON values in which an object that repeats a key is a `Doubled`, and a number with a point or an
exponent is a `Decimal` that remembers how it was written. Refused: what is no JSON, with the message of Go's scanner
(encoding/json, as sigs.k8s.io/json has it).
"""

from __future__ import annotations

import json
import re
from typing import Any


class Doubled(dict[str, Any]):
    """An object in which keys were repeated; the last value counts, as in Go."""

    repeated: list[str]


class Decimal(float):
    """A number that is no integer, and how it was written."""

    text: str


class JsonError(ValueError):
    """The message is Go's."""


def decoded(data: bytes) -> Any:
    """Raises JsonError."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode(errors="replace")  # as Go does
    try:
        return json.loads(text, object_pairs_hook=_object, parse_float=_decimal, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise JsonError(fault(text) or str(error)) from error


def encoded(value: Any) -> bytes:
    """As Go's encoder writes it: no spaces; <, >, & and the line separators escaped."""
    return escaped(json.dumps(value, ensure_ascii=False, separators=(",", ":"))).encode()


def indented(data: bytes) -> bytes:
    """The same JSON for people, as Go's MarshalIndent writes it: no line ends it."""
    return escaped(json.dumps(json.loads(data), ensure_ascii=False, indent=2)).encode()


def repeated(value: Any, path: str = "") -> list[str]:
    """Paths of all keys that were said twice."""
    found: list[str] = []
    if isinstance(value, dict):
        again = value.repeated if isinstance(value, Doubled) else ()
        for key, one in value.items():
            below = f"{path}.{key}" if path else key
            found += [*([below] if key in again else ()), *repeated(one, below)]
    elif isinstance(value, list):
        for index, one in enumerate(value):
            found += repeated(one, f"{path}[{index}]")
    return found


def named(value: Any) -> str:
    """What Go's decoder calls a JSON value that it does not expect."""
    known = {dict: "object", list: "array", str: "string", bool: "bool"}
    return next((name for type_, name in known.items() if isinstance(value, type_)), "number")


def quoted(text: str) -> str:
    """As Go's %q, for texts of printable signs."""
    return json.dumps(text, ensure_ascii=False)


_ESCAPED = re.compile("[<>&\u2028\u2029]")


def escaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text) if _ESCAPED.search(text) else text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    doubled = Doubled(made)
    seen: set[str] = set()
    doubled.repeated = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
    return doubled


def _decimal(text: str) -> Decimal:
    made = Decimal(text)
    made.text = text
    return made


def _refused(text: str) -> Any:
    raise ValueError(text)


_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_END = "unexpected end of JSON input"


def fault(text: str) -> str:
    """Go's message for the first thing that is wrong, "" if nothing is."""
    try:
        position = _skipped(text, _value(text, 0))
        if position < len(text):
            raise JsonError(_bad(text[position], "after top-level value"))
    except JsonError as error:
        return str(error)
    except RecursionError:
        return "exceeded max depth"
    return ""


def _skipped(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _at(text: str, position: int) -> str:
    if position >= len(text):
        raise JsonError(_END)
    return text[position]


def _bad(sign: str, where: str) -> str:
    shown = {"'": r"'\''", '"': "'\"'"}.get(sign)
    if shown is None:
        known = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
        plain = sign if sign.isprintable() else f"\\x{ord(sign):02x}" if ord(sign) < 0x80 else f"\\u{ord(sign):04x}"
        shown = f"'{known.get(sign, plain)}'"
    return f"invalid character {shown} {where}"


def _value(text: str, position: int) -> int:
    position = _skipped(text, position)
    sign = _at(text, position)
    if sign == "{":
        return _members(text, position + 1)
    if sign == "[":
        return _elements(text, position + 1)
    if sign == '"':
        return _string(text, position + 1)
    if sign == "-" or sign.isdigit():
        return _number(text, position)
    for literal in ("true", "false", "null"):
        if sign == literal[0]:
            for offset, wanted in enumerate(literal):
                if (found := _at(text, position + offset)) != wanted:
                    raise JsonError(_bad(found, f"in literal {literal} (expecting '{wanted}')"))
            return position + len(literal)
    raise JsonError(_bad(sign, "looking for beginning of value"))


def _number(text: str, position: int) -> int:
    found = _NUMBER.match(text, position)
    if found is None:
        raise JsonError(_bad(_at(text, position + 1), "in numeric literal"))
    end = found.end()
    if end < len(text) and text[end] == "." and "." not in found[0] and "e" not in found[0].lower():
        raise JsonError(_bad(_at(text, end + 1), "after decimal point in numeric literal"))
    if end < len(text) and text[end] in "eE" and "e" not in found[0].lower():
        after = end + 1 + (text[end + 1 : end + 2] in ("+", "-"))
        raise JsonError(_bad(_at(text, after), "in exponent of numeric literal"))
    return end


def _string(text: str, position: int) -> int:
    while True:
        found = _PLAIN.match(text, position)
        position = found.end() if found else position
        sign = _at(text, position)
        if sign == '"':
            return position + 1
        if sign != "\\":
            raise JsonError(_bad(sign, "in string literal"))
        escape = _at(text, position + 1)
        position += 2
        if escape == "u":
            for offset in range(4):
                if (digit := _at(text, position + offset)) not in "0123456789abcdefABCDEF":
                    raise JsonError(_bad(digit, "in \\u hexadecimal character escape"))
            position += 4
        elif escape not in 'bfnrt\\/"':
            raise JsonError(_bad(escape, "in string escape code"))


def _members(text: str, position: int) -> int:
    position = _skipped(text, position)
    if _at(text, position) == "}":
        return position + 1
    while True:
        position = _skipped(text, position)
        if (sign := _at(text, position)) != '"':
            raise JsonError(_bad(sign, "looking for beginning of object key string"))
        position = _skipped(text, _string(text, position + 1))
        if (sign := _at(text, position)) != ":":
            raise JsonError(_bad(sign, "after object key"))
        position = _skipped(text, _value(text, position + 1))
        sign = _at(text, position)
        if sign == "}":
            return position + 1
        if sign != ",":
            raise JsonError(_bad(sign, "after object key:value pair"))
        position += 1


def _elements(text: str, position: int) -> int:
    position = _skipped(text, position)
    if _at(text, position) == "]":
        return position + 1
    while True:
        position = _skipped(text, _value(text, position))
        sign = _at(text, position)
        if sign == "]":
            return position + 1
        if sign != ",":
            raise JsonError(_bad(sign, "after array element"))
        position += 1

"""An object as the API server would keep it: through Go's structs and back.

In: JSON values whose types have been checked. Out: a new object without nulls, empty optional fields and unknown
fields, with the structs that Go always writes; quantities in canonical form. Every level is a copy.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

from svclab.apiserver.strategy.quantity import canonical
from svclab.apiserver.strategy.shapes import FIELDS

Shape: TypeAlias = tuple[dict[str, tuple[str, str]], tuple[tuple[str, str, str], ...]]
ZERO: dict[str, Any] = {"s": "", "i": 0, "b": False, "q": "0", "p": 0}
# Scalars that are structs in Go, and so never left out for being empty.
STRUCTS = {"t", "u", "p", "q"}


def normal_form(kind: str, value: dict[str, Any]) -> dict[str, Any]:
    """`kind` names a type of `shapes`."""
    fields, always = shape(kind)
    kept: dict[str, Any] = {}
    for name, given in value.items():
        mark_and_type = fields.get(name)
        if mark_and_type is None or given is None:
            continue
        mark, written = mark_and_type
        one = _kept(written, given)
        if one or mark in "*+:" or (mark == "?" and (written in FIELDS or written in STRUCTS)):
            kept[name] = one
    for name, mark, written in always:
        if name not in kept:
            kept[name] = None if mark == "+" else _empty(written)
        elif mark == ":" and written[0] in "[{" and not kept[name]:
            kept[name] = None
    return kept


def ordered(kind: str, value: Any) -> Any:
    """`value` of this kind with its fields as Go writes them: of structs in the order of the type, of maps sorted.

    What the kind does not know stays, at the end.
    """
    if kind in FIELDS and isinstance(value, dict):
        fields, _ = shape(kind)
        found = {name: ordered(written, value[name]) for name, (_, written) in fields.items() if name in value}
        return found | {key: each for key, each in value.items() if key not in found}
    if kind[0] == "[" and isinstance(value, list):
        return [ordered(kind[1:], each) for each in value]
    if kind[0] == "{" and isinstance(value, dict):
        return {key: ordered(kind[1:], value[key]) for key in sorted(value)}
    return value


def copied(body: dict[str, Any]) -> dict[str, Any]:
    """JSON values of one's own, to be changed: dicts and lists are new at every level."""
    return {key: _copied(each) for key, each in body.items()}


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return copied(value)
    return [_copied(each) for each in value] if isinstance(value, list) else value


@cache
def shape(kind: str) -> Shape:
    """Fields by name, and those that are written even if nobody gave them."""
    fields: dict[str, tuple[str, str]] = {}
    for field in FIELDS[kind].split():
        position = next(index for index, sign in enumerate(field) if sign in "?~*+:")
        fields[field[:position]] = (field[position], field[position + 1 :])
    always = tuple(
        (name, mark, written)
        for name, (mark, written) in fields.items()
        if mark in ":+" or (mark == "?" and (written in FIELDS or written in STRUCTS))
    )
    return fields, always


def _kept(written: str, value: Any) -> Any:
    if written == "q":
        return canonical(value)
    if written in "sibptuyr":
        return value
    if written[0] == "[":
        one = written[1:]
        return [_element(one, each) for each in value]
    if written[0] == "{":
        one = written[1:]
        return {key: _element(one, each) for key, each in value.items()}
    return normal_form(written, value)


def _empty(written: str) -> Any:
    if written in FIELDS:
        return normal_form(written, {})
    return ZERO.get(written)


def _element(written: str, value: Any) -> Any:
    if value is None:
        return _empty(written)
    return _kept(written, value)

"""Patches: merge (RFC 7396), strategic merge (Kubernetes' own) and JSON Patch (RFC 6902).

In: a body, a patch, for strategic ones the kind's fields. Out: a new body; the old one is not changed. Refused: a
patch that does not apply. A strategic patch merges lists whose schema names a merge key; its directives are
`$patch` (replace, delete, merge), `$retainKeys`, `$setElementOrder/FIELD` and `$deleteFromPrimitiveList/FIELD`.
Source: apimachinery pkg/util/strategicpatch, v0.36.3.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, TypeAlias

import jsonpatch

from svclab.apiserver.schema import Field, Schema

Body: TypeAlias = dict[str, Any]

DIRECTIVE, RETAIN = "$patch", "$retainKeys"
ORDER, DELETE_PRIMITIVES = "$setElementOrder/", "$deleteFromPrimitiveList/"


class PatchError(ValueError):
    """The patch does not apply; the message is the API's where it has one."""


def merged(body: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(body) if isinstance(body, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def json_patched(body: Body, operations: list[Body]) -> Body:
    """RFC 6902. Raises PatchError."""
    try:
        result: Body = jsonpatch.apply_patch(body, operations, in_place=False)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError, ValueError) as error:
        raise PatchError(str(error)) from error
    return result


def strategic(body: Body, patch: Body, schema: Schema, definition: str) -> Body:
    """`definition` names the kind's type. Raises PatchError."""
    return _Strategic(schema).object(deepcopy(body), patch, Field("struct", "", definition))


class _Strategic:
    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def object(self, original: Body, patch: Body, field: Field) -> Body:
        """`original` belongs to us."""
        directive = patch.get(DIRECTIVE)
        if directive == "replace":
            return {key: _plain(value) for key, value in patch.items() if key != DIRECTIVE}
        if directive == "delete":
            return {}
        if directive is not None:
            raise PatchError(f"unknown patch type: {directive} in map: {go_map(patch)}")
        retained = patch.get(RETAIN)
        if isinstance(retained, list):
            original = {key: value for key, value in original.items() if key in retained}
        for key, value in patch.items():
            if key.startswith(DELETE_PRIMITIVES) and isinstance(value, list):
                name = key.removeprefix(DELETE_PRIMITIVES)
                original[name] = [one for one in original.get(name) or [] if one not in value]
            elif key.startswith(ORDER):
                name = key.removeprefix(ORDER)
                if name not in patch and isinstance(original.get(name), list):
                    known = self._below(field, name)
                    key_ = known.merge_key if known else ""
                    original[name] = _ordered(original[name], original[name], value, key_)
            elif key not in (DIRECTIVE, RETAIN):
                self._set(original, key, value, patch, field)
        return original

    def _set(self, original: Body, key: str, value: Any, patch: Body, field: Field) -> None:
        known = self._below(field, key)
        before = original.get(key)
        if value is None:
            original.pop(key, None)
        elif isinstance(value, dict) and isinstance(before, dict):
            if known is not None and "replace" in known.strategies:
                original[key] = _plain(value)
            else:
                original[key] = self.object(before, value, known or Field("any", ""))
        elif isinstance(value, list) and isinstance(before, list) and known and "merge" in known.strategies:
            order = patch.get(ORDER + key)
            result = self._list(before, value, known)
            # Without an order of its own the patch's list is one: what is new comes first.
            original[key] = _ordered(result, before, order if isinstance(order, list) else value, known.merge_key)
        elif isinstance(value, list) and known and "merge" in known.strategies:
            original[key] = self._list([], value, known)
        else:
            original[key] = _plain(value)

    def _list(self, original: list[Any], patch: list[Any], field: Field) -> list[Any]:
        if field.element is None or field.element.kind != "struct":
            return list(dict.fromkeys([*original, *patch])) if all(_hashable(one) for one in patch) else patch
        key = field.merge_key
        if any(isinstance(one, dict) and one.get(DIRECTIVE) == "replace" for one in patch):
            return [_plain(one) for one in patch if not (isinstance(one, dict) and one.get(DIRECTIVE) == "replace")]
        result = list(original)
        for one in patch:
            if not isinstance(one, dict):
                raise PatchError("expected all elements to be of the same kind: map")
            if key not in one:
                raise PatchError(f"map: {go_map(one)} does not contain declared merge key: {key}")
            places = [
                place for place, other in enumerate(result) if isinstance(other, dict) and other.get(key) == one[key]
            ]
            if one.get(DIRECTIVE) == "delete":
                result = [other for place, other in enumerate(result) if place not in places]
            elif places:
                result[places[0]] = self.object(dict(result[places[0]]), one, field.element)
            else:
                result.append(_plain(one))
        return result

    def _below(self, field: Field, key: str) -> Field | None:
        if field.kind == "struct":
            return self._schema.fields(field.struct).get(key)
        return field.element if field.kind == "map" else None


def _ordered(items: list[Any], server: list[Any], order: list[Any], key: str) -> list[Any]:
    """Elements as `$setElementOrder` lists them; those that only the server knows keep their place between."""

    def identity(one: Any) -> Any:
        return one.get(key) if isinstance(one, dict) else one

    wanted = [identity(one) for one in order]
    before = [identity(one) for one in server]
    ours = sorted((one for one in items if identity(one) in wanted), key=lambda one: wanted.index(identity(one)))
    theirs = [one for one in items if identity(one) not in wanted]
    theirs.sort(key=lambda one: before.index(identity(one)) if identity(one) in before else len(before))
    result = []
    while ours and theirs:
        left, right = identity(theirs[0]), identity(ours[0])
        first = left in before and right in before and before.index(left) < before.index(right)
        result.append((theirs if first else ours).pop(0))
    return [*result, *ours, *theirs]


def _plain(value: Any) -> Any:
    """A part of the patch that meets nothing: without directives and without what it wants removed."""
    if isinstance(value, dict):
        return {
            key: _plain(one)
            for key, one in value.items()
            if one is not None and key not in (DIRECTIVE, RETAIN) and not key.startswith((ORDER, DELETE_PRIMITIVES))
        }
    if isinstance(value, list):
        kept = [one for one in value if not (isinstance(one, dict) and one.get(DIRECTIVE) == "delete")]
        return [_plain(one) for one in kept]
    return value


def _hashable(value: Any) -> bool:
    return not isinstance(value, dict | list)


def go_map(value: Body) -> str:
    """As Go prints a map: what error messages show of a patch."""
    return f"map[{' '.join(f'{key}:{_go_value(one)}' for key, one in sorted(value.items()))}]"


def _go_value(value: Any) -> str:
    if isinstance(value, dict):
        return go_map(value)
    if isinstance(value, list):
        return f"[{' '.join(_go_value(one) for one in value)}]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)

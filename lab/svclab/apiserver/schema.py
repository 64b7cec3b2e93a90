"""Types of the API, as facts: which fields they have, of which type, and how lists are merged.

In: the bytes of schema.json (drawn from a real kube-apiserver by tests/peers/draw_schema.py). Out: `Schema`, which
checks a decoded object against its type, in Go's words, and knows the merge keys of strategic merge patches.

A check finds two sorts of faults. A value of the wrong type ends the request, with the message of Go's decoder; the
first one in the text counts. A field that is unknown or said twice is only told: whether that matters is the
request's fieldValidation. Source of the wording: sigs.k8s.io/json, apimachinery pkg/apis/meta/v1.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import datetime
from typing import Any

import msgspec

from svclab.apiserver.go_json import Decimal, Doubled
from svclab.apiserver.strategy import quantity

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
ANYTHING = {META + "FieldsV1", META + "Patch", "io.k8s.apimachinery.pkg.runtime.RawExtension"}
DELETE_OPTIONS = META + "DeleteOptions"
SCALARS = {INT_OR_STRING, QUANTITY, META + "Time", META + "MicroTime", *ANYTHING}
RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


class DecodeError(ValueError):
    """A value that Go cannot decode into its field. The message is Go's.

    `converted` is what Go says where it has a map instead of a text (strategic merge patches), "" if that is the same.
    """

    def __init__(self, message: str, converted: str = "") -> None:
        super().__init__(message)
        self.converted = converted


class Field(msgspec.Struct, frozen=True):
    """One field, or one element of a list or map.

    `kind` is struct, list, map, string, bytes, integer, boolean, or a scalar with a syntax of its own (int-or-string,
    quantity, time, microtime, any). `go` is Go's name of the type; `struct` names the definition.
    """

    kind: str
    go: str
    struct: str = ""
    element: Field | None = None
    merge_key: str = ""
    strategies: tuple[str, ...] = ()


class Schema:
    """The facts. `groups` is discovery: for each path such as `apis/apps/v1` its resources as the API tells them."""

    def __init__(self, facts: bytes) -> None:
        known = json.loads(facts)
        self.groups: list[dict[str, Any]] = known["groups"]
        self.definitions: dict[str, dict[str, Any]] = known["definitions"]
        self._go: dict[str, dict[str, str]] = known["go"]
        self._numbers: dict[str, dict[str, Any]] = known["protobuf"]
        self._fields: dict[str, dict[str, Field]] = {}
        self._names: dict[tuple[str, str], str] = {}
        for name, definition in self.definitions.items():
            for gvk in definition.get("x-kubernetes-group-version-kind", ()):
                if len(definition["x-kubernetes-group-version-kind"]) == 1:
                    self._names[gvk["group"], gvk["kind"]] = name

    def name_of(self, group: str, kind: str) -> str:
        """The definition of a kind, such as `io.k8s.api.core.v1.Pod`; "" if there is none."""
        return self._names.get((group, kind), "")

    def numbers(self, name: str) -> dict[str, Any]:
        """Protobuf's field number → JSON name, or such a table again where a struct is embedded."""
        return self._numbers[name]

    def fields(self, name: str) -> dict[str, Field]:
        """Fields of a struct by JSON name, in Go's order."""
        if name not in self._fields:
            properties = self.definitions[name].get("properties", {})
            go = self._go.get(name, {})
            self._fields[name] = {
                one: self._field(properties[one], _go_type(written.partition(",")[0])) for one, written in go.items()
            }
        return self._fields[name]

    def faults(self, name: str, value: Any) -> list[str]:
        """Fields that are unknown or said twice, as `unknown field "spec.x"`. Raises DecodeError."""
        check = _Check(self)
        check.value(Field("struct", _named(name), name), value, "", ())
        if check.first:
            raise DecodeError(check.first, check.converted)
        return list(dict.fromkeys(check.strict))[:100]

    def _field(self, schema: dict[str, Any], go: str) -> Field:
        go = go.removeprefix("*")
        merge_key = schema.get("x-kubernetes-patch-merge-key", "")
        strategies = (
            tuple(schema.get("x-kubernetes-patch-strategy", "").split(","))
            if merge_key or ("x-kubernetes-patch-strategy" in schema)
            else ()
        )
        reference = schema.get("$ref") or next((one["$ref"] for one in schema.get("allOf", ())), "")
        if reference:
            name = reference.rpartition("/")[2]
            if name in SCALARS or "properties" not in self.definitions[name]:
                return Field(_scalar(name), go)
            return Field("struct", go, name, None, merge_key, strategies)
        if schema.get("type") == "array":
            element = self._field(schema["items"], go.removeprefix("[]"))
            return Field("list", go, "", element, merge_key, strategies)
        if "additionalProperties" in schema:
            inner = go.partition("]")[2] if go.startswith("map[") else ("resource.Quantity" if "List" in go else go)
            return Field("map", go, "", self._field(schema["additionalProperties"], inner), merge_key, strategies)
        if schema.get("format") == "byte":
            return Field("bytes", "[]uint8")
        return Field(schema.get("type", "any"), go)


class _Check:
    """One walk through an object, in the order of its text."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.first = ""
        self.converted = ""
        self.strict: list[str] = []

    def value(self, field: Field, value: Any, struct: str, path: tuple[str, ...], where: str = "") -> None:
        """`struct` and `path` are Go's error context; `where` is the path of strict errors, with indexes."""
        if value is None or field.kind == "any":
            return
        context = (field, struct, path)
        if field.kind in ("struct", "map"):
            if isinstance(value, dict):
                self._object(field, value, struct, path, where)
            else:
                self._wrong(value, *context)
        elif field.kind == "list":
            if isinstance(value, list) and field.element is not None:
                for index, one in enumerate(value):
                    self.value(field.element, one, struct, path, f"{where}[{index}]")
            else:
                self._wrong(value, *context)
        elif field.kind == "integer":
            low, high = RANGES.get(field.go, RANGES["int64"])
            if type(value) is not int or not low <= value <= high:
                self._wrong(value, *context)
        elif field.kind == "boolean":
            if not isinstance(value, bool):
                self._wrong(value, *context)
        elif not isinstance(value, str) or field.kind != "string":
            self._scalar(value, *context)

    def _object(self, field: Field, value: dict[str, Any], struct: str, path: tuple[str, ...], where: str) -> None:
        fields = self._schema.fields(field.struct) if field.kind == "struct" else None
        repeated = value.repeated if isinstance(value, Doubled) else ()
        for key, one in value.items():
            below = f"{where}.{key}" if where else key
            known = fields.get(key) if fields is not None else field.element
            if known is None:
                self.strict.append(f"unknown field {json.dumps(below, ensure_ascii=False)}")
                continue
            if fields is None:
                self.value(known, one, struct, path, below)
            else:
                self.value(known, one, _named(field.struct).removeprefix("v1."), (*path, key), below)
            self.strict += [f"duplicate field {json.dumps(below, ensure_ascii=False)}"] * (key in repeated)

    def _scalar(self, value: Any, field: Field, struct: str, path: tuple[str, ...]) -> None:
        """What has a syntax of its own. Go's decoders of these end the whole decoding."""
        kind = field.kind
        if kind == "int-or-string":
            if not isinstance(value, str) and (type(value) is not int or not -(2**31) <= value < 2**31):
                self._wrong(value, Field("integer", "int32"), struct, path)
                raise DecodeError(self.first)
        elif kind == "quantity":
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                try:
                    quantity.value(value.text if isinstance(value, Decimal) else value)
                    return
                except ValueError as error:
                    raise DecodeError(str(error)) from error
            raise DecodeError(quantity.MESSAGE)
        elif not isinstance(value, str):
            self._wrong(value, Field(kind, "string") if kind.endswith("time") else field, struct, path)
        elif kind.endswith("time"):
            _check_time(value, micro=kind == "microtime")
        elif kind == "bytes":
            self._check_base64(value)

    def _check_base64(self, text: str) -> None:
        plain = text.replace("\n", "").replace("\r", "")
        try:
            base64.b64decode(plain, validate=True)
        except (binascii.Error, ValueError):
            bad = re.search(r"[^A-Za-z0-9+/\r\n]", text.rstrip("="))
            if not self.first:
                self.first = f"illegal base64 data at input byte {bad.start() if bad else len(text) & ~3}"
                self.converted = f"error decoding from json: {self.first}"

    def _wrong(self, value: Any, field: Field, struct: str, path: tuple[str, ...]) -> None:
        if self.first:
            return
        said = _said(value, whole=field.kind == "integer")
        target = f"Go struct field {struct}.{'.'.join(path)}" if struct else "Go value"
        self.first = f"json: cannot unmarshal {said} into {target} of type {field.go}"
        self.converted = _not_converted(value, field)


def _said(value: Any, whole: bool) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        text = value.text if isinstance(value, Decimal) else str(value)
        return f"number {text}" if whole else "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _not_converted(value: Any, field: Field) -> str:
    """Source: apimachinery pkg/runtime/converter.go."""
    kinds = {bool: "bool", int: "int64", Decimal: "float64", float: "float64", str: "string", list: "slice"}
    found = kinds.get(type(value), "map")
    if field.kind in ("struct", "map", "list"):
        target = {"list": "slice from", "struct": "struct from:"}.get(field.kind, "map from")
        return f"cannot restore {target} {found}"
    wanted = {"integer": field.go, "boolean": "bool"}.get(field.kind, "string")
    return f"cannot convert {found} to {wanted}"


_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d([.,]\d+)?([Zz]|[+-]\d\d:\d\d)")


def _check_time(text: str, micro: bool) -> None:
    layout = "2006-01-02T15:04:05.000000Z07:00" if micro else "2006-01-02T15:04:05Z07:00"
    found = _TIME.fullmatch(text)
    try:
        if found and (not micro or (found[1] and len(found[1]) == 7)):
            datetime.fromisoformat(text.upper().replace(",", "."))
            return
    except ValueError as error:
        raise DecodeError(f'parsing time "{text}": {_out_of_range(str(error))}') from error
    rest, layout_rest = _unparsed(text, layout)
    raise DecodeError(f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{layout_rest}"')


def _out_of_range(said: str) -> str:
    part = next((one for one in ("month", "day", "hour", "minute", "second") if one in said), "day")
    return f"{part} out of range"


def _unparsed(text: str, layout: str) -> tuple[str, str]:
    """What is left of the text, and of Go's layout, where they part."""
    fraction = ".000000" if "000000" in layout else ""
    parts = ["2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05", *([fraction] if fraction else []), "Z07:00"]
    for part in parts:
        pattern = r"\.\d{6}" if part == fraction else r"\d" * len(part) if part.isdigit() else re.escape(part)
        if part == "Z07:00":
            pattern = r"Z|[+-]\d\d:\d\d"
        found = re.match(pattern, text)
        if part == "05" and found and not fraction:
            found = re.match(r"\d\d([.,]\d+)?", text)
        if not found:
            return text, part
        text = text[found.end() :]
    return text, ""


def _scalar(name: str) -> str:
    if name == INT_OR_STRING:
        return "int-or-string"
    if name == QUANTITY:
        return "quantity"
    return {META + "Time": "time", META + "MicroTime": "microtime"}.get(name, "any")


def _named(definition: str) -> str:
    return "v1." + definition.rpartition(".")[2]


def _go_type(written: str) -> str:
    """Go's name for a type as a program prints it: `v1.ServiceType` for what the source calls ServiceType."""

    def qualified(found: re.Match[str]) -> str:
        package, name = found[1] or "", found[2]
        if package in ("metav1.", "corev1.", "v1.", "") and name[0].isupper():
            return f"v1.{name}"
        return f"{package}{name}"

    return re.sub(r"(\w+\.)?([A-Za-z]\w*)", qualified, written.replace("map[", "\0")).replace("\0", "map[")

"""Kubernetes' protobuf, read: kubectl and client-go's typed clients send their objects in it.

In: a body that begins with `k8s\\0`. Out: the object as JSON values. We answer in JSON, which those clients accept too.
Refused: what is no such message. The format (runtime.Unknown around the object) is described in Kubernetes' API
concepts, "Protobuf encoding"; field numbers come with `Schema`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TypeAlias

from svclab.apiserver.schema import DELETE_OPTIONS, Field, Schema

Body: TypeAlias = dict[str, Any]
Value: TypeAlias = int | bytes

MAGIC = b"k8s\0"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class ProtobufError(ValueError):
    """Not a message of ours."""


def read(data: bytes, schema: Schema) -> Body:
    """Raises ProtobufError."""
    if not data.startswith(MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        outer = dict(_parts(data[len(MAGIC) :]))
        head = {number: _bytes(value).decode() for number, value in _parts(_bytes(outer.get(1, b"")))}
        version, kind = head.get(1, ""), head.get(2, "")
        group = version.rpartition("/")[0]
        body: Body = {"kind": kind, "apiVersion": version}
        name = DELETE_OPTIONS if kind == "DeleteOptions" else schema.name_of(group, kind)
        if name:
            body |= _message(_bytes(outer.get(2, b"")), name, schema, schema.numbers(name))
        return body
    except (IndexError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ProtobufError("proto: illegal wireType or unexpected EOF") from error


def _message(data: bytes, name: str, schema: Schema, numbers: dict[str, Any]) -> Body:
    """`numbers` is a part of the type's table where a struct is embedded."""
    fields = schema.fields(name)
    body: Body = {}
    for number, value in _parts(data):
        known = numbers.get(str(number))
        if isinstance(known, dict):
            body |= _message(_bytes(value), name, schema, known)
        elif known is not None:
            field = fields[known]
            if field.kind == "list" and field.element is not None:
                body.setdefault(known, []).extend(_elements(value, field.element, schema))
            elif field.kind == "map" and field.element is not None:
                entry = dict(_parts(_bytes(value)))
                one = _one(entry.get(2, b""), field.element, schema)
                body.setdefault(known, {})[_bytes(entry.get(1, b"")).decode()] = one
            else:
                body[known] = _one(value, field, schema)
    return body


def _elements(value: Value, field: Field, schema: Schema) -> list[Any]:
    if field.kind in ("integer", "boolean") and isinstance(value, bytes):  # packed
        found, position = [], 0
        while position < len(value):
            number, position = _varint(value, position)
            found.append(_one(number, field, schema))
        return found
    return [_one(value, field, schema)]


def _one(value: Value, field: Field, schema: Schema) -> Any:
    kind = field.kind
    if kind == "integer":
        return _signed(value)
    if kind == "boolean":
        return bool(value)
    data = _bytes(value)
    if kind == "struct":
        return _message(data, field.struct, schema, schema.numbers(field.struct))
    if kind == "string":
        return data.decode()
    if kind == "bytes":
        return base64.b64encode(data).decode()
    if kind == "list" and field.element is not None:  # a list that is a type of its own: a message of items
        return [_one(item, field.element, schema) for _, item in _parts(data)]
    return _scalar(data, kind)


def _scalar(data: bytes, kind: str) -> Any:
    parts = dict(_parts(data))
    if kind == "quantity":
        return _bytes(parts.get(1, b"")).decode()
    if kind == "int-or-string":
        if parts.get(1, 0):
            return _bytes(parts.get(3, b"")).decode()
        return _signed(parts.get(2, 0))
    if kind in ("time", "microtime"):
        if not data:
            return None
        nanos = _signed(parts.get(2, 0))
        moment = datetime.fromtimestamp(_signed(parts.get(1, 0)), UTC)
        fraction = f".{nanos // 1000:06d}" if kind == "microtime" else ""
        return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"
    return None  # managed fields and raw extensions: not kept


def _parts(data: bytes) -> Iterator[tuple[int, Value]]:
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, position = _varint(data, position)
            yield number, value
        elif wire == BYTES:
            size, position = _varint(data, position)
            if position + size > len(data):
                raise ProtobufError("unexpected EOF")
            yield number, data[position : position + size]
            position += size
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
            yield number, int.from_bytes(data[position : position + size], "little")
            position += size
        else:
            raise ProtobufError(f"proto: illegal wireType {wire}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ProtobufError("proto: integer overflow")


def _signed(value: Value) -> int:
    if isinstance(value, bytes):
        raise ProtobufError("proto: wrong wireType")
    return value - 2**64 if value >= 2**63 else value


def _bytes(value: Value) -> bytes:
    if isinstance(value, int):
        raise ProtobufError("proto: wrong wireType")
    return value

"""Bodies of requests: from bytes to an object whose types are right.

In: the body, its media type, the kind that is expected, fieldValidation. Out: the object as JSON values, and warnings
about fields that are unknown or said twice. Refused, in the API server's words: other media types, syntax errors,
other kinds, values of the wrong type; unknown fields too where the client asked for Strict. Source: apiserver
pkg/endpoints/handlers/create.go and rest.go; apimachinery pkg/runtime/serializer/json.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import yaml  # type: ignore[import-untyped]  # PyYAML comes without types

from svclab.apiserver import go_json, protobuf
from svclab.apiserver.failures import bad_request, unsupported_media_type
from svclab.apiserver.schema import DecodeError, Schema

Body: TypeAlias = dict[str, Any]

ACCEPTED = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
PROTOBUF = "application/vnd.kubernetes.protobuf"
SCHEME = "pkg/runtime/scheme.go:111"
HEAD = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'


class Decoder:
    """Reads bodies of the kinds in a schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def object(self, data: bytes, media: str, group: str, kind: str, validation: str) -> tuple[Body, list[str]]:
        """The object, with its kind and apiVersion, and the warnings to send. Raises StatusError."""
        value, told = self._value(data, media, kind)
        version = f"{group}/v1" if group else "v1"
        said_version, said_kind = self._head(value, data, kind)
        if not said_version and not said_kind:
            said_version, said_kind = version, kind
        said_version, said_kind = said_version or version, said_kind or kind
        bare_version = said_version.rpartition("/")[2]
        head = f'{said_kind} in version "{bare_version}" cannot be handled as a {kind}'
        said_group = said_version.rpartition("/")[0]
        name = self._schema.name_of(said_group, said_kind) if bare_version == "v1" else ""
        if not name:
            no_kind = f'no kind "{said_kind}" is registered for version "{said_version}" in scheme "{SCHEME}"'
            raise bad_request(f"{head}: {no_kind}")
        try:
            faults = self._schema.faults(name, value or {})
        except DecodeError as error:
            raise bad_request(f"{head}: {error}") from error
        faults = told + faults
        if (said_group, said_kind) != (group, kind):
            raise bad_request(f"{head}: {unknown_conversion(said_kind, group, kind)}")
        if faults and validation == "Strict":
            raise bad_request(f"{head}: strict decoding error: {', '.join(faults)}")
        body = {"kind": kind, "apiVersion": version, **(value or {})}
        return body, faults if validation == "Warn" else []

    def _value(self, data: bytes, media: str, kind: str) -> tuple[Any, list[str]]:
        try:
            if media in ("application/json", ""):
                return go_json.decoded(data), []
            if media == PROTOBUF:
                return protobuf.read(data, self._schema), []
            if media == "application/yaml":
                return _from_yaml(data)
        except protobuf.ProtobufError as error:
            raise bad_request(f"{_unrecognized(kind)}: {error} ({_summary(data)})") from error
        except go_json.JsonError as error:
            said = f"couldn't get version/kind; json parse error: {error}"
            raise bad_request(f"{_unrecognized(kind)}: {said} ({_summary(data)})") from error
        except yaml.YAMLError as error:
            raise bad_request(f"{_unrecognized(kind)}: {_yaml_said(error)} ({_summary(data)})") from error
        raise unsupported_media_type(ACCEPTED)

    def _head(self, value: Any, data: bytes, kind: str) -> tuple[str, str]:
        """apiVersion and kind that the body names, "" for what it leaves out."""
        where = f"{_unrecognized(kind)}: couldn't get version/kind; json parse error: json: cannot unmarshal"
        if not isinstance(value, dict):
            if value is None:
                return "", ""
            raise bad_request(f"{where} {_type(value)} into Go value of type {HEAD} ({_summary(data)})")
        for field in ("apiVersion", "kind"):
            if not isinstance(value.get(field, ""), str) and value[field] is not None:
                said = f"{_type(value[field])} into Go struct field .{field} of type string"
                raise bad_request(f"{where} {said} ({_summary(data)})")
        version = value.get("apiVersion") or ""
        if version.count("/") > 1:
            said = f"unexpected GroupVersion string: {version}"
            raise bad_request(f"{_unrecognized(kind)}: {said} ({_summary(data)})")
        return version, value.get("kind") or ""


def unknown_conversion(said: str, group: str, kind: str) -> str:
    """A body of another kind than the path's."""
    return f"converting (v1.{said}) to ({group.partition('.')[0] or 'core'}.{kind}): unknown conversion"


def _unrecognized(kind: str) -> str:
    return f"the object provided is unrecognized (must be of type {kind})"


def _summary(data: bytes) -> str:
    if not data:
        return "<empty>"
    if data[:1] == b"{":
        text = data.decode(errors="replace")
        return text if len(data) <= 30 else data[:30].decode(errors="replace") + " ..."
    return data.hex() if len(data) <= 30 else data[:30].hex() + " ..."


def _type(value: Any) -> str:
    names = {bool: "bool", int: "number", float: "number", go_json.Decimal: "number", str: "string", list: "array"}
    return names.get(type(value), "object")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # the same
    """YAML as Kubernetes reads it: what YAML takes for a date stays a text, keys become texts."""


_Loader.yaml_implicit_resolvers = {
    sign: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for sign, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _from_yaml(data: bytes) -> tuple[Any, list[str]]:
    told: list[str] = []

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> Body:
        loader.flatten_mapping(node)
        made: Body = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            name = str(key).lower() if isinstance(key, bool) else str(key)
            if name in made:
                told.append(f'line {key_node.start_mark.line + 1}: key "{name}" already set in map')
            made[name] = loader.construct_object(value_node, deep=True)
        return made

    class Loader(_Loader):
        pass

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    value = yaml.load(data, Loader)  # noqa: S506  # a SafeLoader
    return value, ["yaml: unmarshal errors:\n  " + "\n  ".join(told)] if told else []


def _yaml_said(error: yaml.YAMLError) -> str:
    """Go's YAML has the same ancestor as PyYAML, and nearly the same sentences."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem:
        problem = error.problem.replace("not allowed here", "not allowed in this context")
        if problem.startswith("expected ',' or"):
            problem = f"did not find {problem.partition(', but')[0]}"
        if "'\\t'" in problem:
            problem = "found character that cannot start any token"
        line = error.problem_mark.line if error.problem_mark else 0
        return f"yaml: line {line + 1}: {problem}" if line else f"yaml: {problem}"
    return f"yaml: {error}"


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML comes without types
    """Go's choice of quotes: double ones around what would not be read back as a text."""


def _text(dumper: yaml.SafeDumper, text: str) -> Any:
    plain = dumper.resolve(yaml.ScalarNode, text, (True, False)) == "tag:yaml.org,2002:str"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def as_yaml(body: Body) -> bytes:
    """An answer in the form that some clients ask for."""
    text: str = yaml.dump(body, Dumper=_Dumper, default_flow_style=False, allow_unicode=True)
    return text.encode()

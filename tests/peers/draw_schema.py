"""Draws `schema.json`, the facts about types that the lab's API server stands on, from the real kube-apiserver.

In: a function that GETs a path of a running kube-apiserver, and the Go sources of the types beside it. Out: the bytes
of `lab/svclab/apiserver/schema.json`: discovery of the kinds we serve, and for every type they reach its fields in
the order Go writes them. From OpenAPI: types, formats, required, defaults, list types, merge keys. From the structs'
tags: order, `omitempty`, pointers, protobuf's field numbers, and Go's names for types, which decoding errors show.
No descriptions.

    python tests/peers/draw_schema.py        # writes the file; a peers test says whether it is still true
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

Get: TypeAlias = Callable[[str], dict[str, Any]]

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "lab/svclab/apiserver/schema.json"

SERVED = {
    "api/v1": (
        *("bindings", "configmaps", "endpoints", "events", "namespaces", "nodes", "pods", "secrets"),
        *("serviceaccounts", "services"),
    ),
    "apis/apps/v1": ("deployments", "replicasets"),
    "apis/events.k8s.io/v1": ("events",),
    "apis/authentication.k8s.io/v1": ("selfsubjectreviews", "tokenreviews"),
    "apis/authorization.k8s.io/v1": ("selfsubjectaccessreviews", "subjectaccessreviews"),
    "apis/networking.k8s.io/v1": ("networkpolicies",),
    "apis/coordination.k8s.io/v1": ("leases",),
    "apis/discovery.k8s.io/v1": ("endpointslices",),
}
# Subresources that would change what is stored, and have no implementation here.
NOT_SERVED = {"pods/ephemeralcontainers", "pods/resize"}

# Where a definition's package lives: (module, folder).
PACKAGES = {
    "io.k8s.api.": ("k8s.io/api", ""),
    "io.k8s.apimachinery.pkg.": ("k8s.io/apimachinery", "pkg"),
}
STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^\t(?:(\w+)[ \t]+)?([\w.*\[\]]+)[ \t]+`([^`]*)`", re.MULTILINE)


def drawn(get: Get) -> bytes:
    """The file's content, the same for the same server. Raises LookupError for a type whose struct is not found."""
    groups, definitions = [], {}
    for path in SERVED:
        wanted = SERVED[path]
        resources = [
            one
            for one in get(f"/{path}")["resources"]
            if one["name"].partition("/")[0] in wanted and one["name"] not in NOT_SERVED
        ]
        groups.append({"path": path, "resources": resources})
        schemas = get(f"/openapi/v3/{path}")["components"]["schemas"]
        for name in _reached(schemas, _roots(schemas, path, resources)):
            definitions[name] = _bare(schemas[name])
    structs = _Structs()
    go, numbers = {}, {}
    for name in sorted(definitions):
        properties = definitions[name].get("properties")
        if properties:
            go[name] = structs.fields(name)
            numbers[name] = structs.numbers(name)
            missing = properties.keys() ^ go[name].keys()
            if missing:
                raise LookupError(f"{name}: OpenAPI and Go disagree about {sorted(missing)}")
    return _written(groups, definitions, go, numbers)


def _roots(schemas: dict[str, Any], path: str, resources: Iterable[dict[str, Any]]) -> list[str]:
    version = path.removeprefix("api/").removeprefix("apis/")
    own = "" if path == "api/v1" else version.partition("/")[0]
    kinds = {(one.get("group", own), one["kind"]) for one in resources}
    kinds |= {(group, f"{kind}List") for group, kind in kinds}
    kinds |= {("", "DeleteOptions"), ("", "Status")}
    return [
        name
        for name, schema in schemas.items()
        for gvk in schema.get("x-kubernetes-group-version-kind", ())
        if (gvk["group"], gvk["kind"]) in kinds and gvk["version"] == "v1"
    ] + [name for name in schemas if name.endswith(".meta.v1.Patch")]


def _reached(schemas: dict[str, Any], roots: Iterable[str]) -> list[str]:
    waiting, found = list(roots), set[str]()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(schemas[name]))
    return sorted(found)


def _bare(schema: Any) -> Any:
    """Without prose. A property may be called `description`; then it is a schema and stays."""
    if isinstance(schema, list):
        return [_bare(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    bare = {key: _bare(value) for key, value in schema.items() if not (key == "description" and isinstance(value, str))}
    if "x-kubernetes-group-version-kind" in bare and len(bare["x-kubernetes-group-version-kind"]) > 3:
        del bare["x-kubernetes-group-version-kind"]  # DeleteOptions belongs to every group there is
    return bare


class _Structs:
    """Fields of Go structs, read from the module cache that the peers are built from."""

    def __init__(self) -> None:
        self._folders: dict[str, Path] = {}
        self._packages: dict[str, dict[str, str]] = {}

    def fields(self, name: str) -> dict[str, str]:
        """JSON name → `GoType` or `GoType,omitempty`, in the struct's order, for a definition."""
        return self._fields(*self._place(name))

    def numbers(self, name: str) -> dict[str, Any]:
        """Protobuf's field number → JSON name, or again such a table where a struct is embedded as a message."""
        return self._numbers(*self._place(name))

    def _place(self, name: str) -> tuple[str, str, str]:
        prefix = next(one for one in PACKAGES if name.startswith(one))
        package, _, struct = name.removeprefix(prefix).rpartition(".")
        return prefix, package.replace(".", "/"), struct

    def _fields(self, prefix: str, package: str, struct: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for _, type_, tag in FIELD.findall(self._package(prefix, package)[struct]):
            json_name, *options = _said(tag, "json").split(",")
            if "inline" in options or not json_name:
                if type_ != "metav1.TypeMeta":
                    found |= self._fields(prefix, package, type_)
                else:
                    found |= {"kind": "string,omitempty", "apiVersion": "string,omitempty"}
            elif json_name != "-":
                found[json_name] = ",".join([type_, *(one for one in options if one in ("omitempty", "omitzero"))])
        return found

    def _numbers(self, prefix: str, package: str, struct: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _, type_, tag in FIELD.findall(self._package(prefix, package)[struct]):
            json_name = _said(tag, "json").partition(",")[0]
            parts = _said(tag, "protobuf").split(",")
            if len(parts) > 1 and json_name != "-":
                found[parts[1]] = json_name or self._numbers(prefix, package, type_)
        return found

    def _package(self, prefix: str, package: str) -> dict[str, str]:
        if package not in self._packages:
            module, folder = PACKAGES[prefix]
            if module not in self._folders:
                said = subprocess.run(
                    ["go", "list", "-m", "-f", "{{.Dir}}", module], cwd=HERE, check=True, capture_output=True, text=True
                )
                self._folders[module] = Path(said.stdout.strip())
            sources = sorted((self._folders[module] / folder / package).glob("*.go"))
            self._packages[package] = {
                struct: body for one in sources for struct, body in STRUCT.findall(one.read_text())
            }
        return self._packages[package]


def _said(tag: str, key: str) -> str:
    found = re.search(rf'\b{key}:"([^"]*)"', tag)
    return found[1] if found else ""


def _written(groups: list[Any], definitions: dict[str, Any], go: dict[str, Any], numbers: dict[str, Any]) -> bytes:
    """One line a group and a definition, so that a difference between versions can be read."""

    def lines(values: dict[str, Any]) -> str:
        return ",\n".join(f"{json.dumps(key)}: {_compact(values[key])}" for key in sorted(values))

    text = '{"groups": [\n' + ",\n".join(_compact(group) for group in groups)
    text += (
        '\n],\n"definitions": {\n'
        + lines(definitions)
        + '\n},\n"go": {\n'
        + lines(go)
        + '\n},\n"protobuf": {\n'
        + lines(numbers)
        + "\n}}\n"
    )
    return text.encode()


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def main() -> int:
    sys.path.insert(0, str(HERE.parent))
    from peers import build
    from peers.control_plane import ControlPlane

    with ControlPlane(build.built(), controllers=()) as control_plane:
        TARGET.write_bytes(drawn(control_plane.get))
    return 0


if __name__ == "__main__":
    sys.exit(main())

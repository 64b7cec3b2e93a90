"""OpenAPI documents: what kubectl reads before it creates, applies and explains.

In: `Schema` and `Served`. Out: the index of /openapi/v3 and one document for each group. A document has the schemas
with their merge keys, and the paths with the parameters and content types that kubectl looks for. No descriptions.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, TypeAlias

from svclab.apiserver import go_json
from svclab.apiserver.resources import Served
from svclab.apiserver.schema import Schema

Body: TypeAlias = dict[str, Any]

JSON, YAML = "application/json", "application/yaml"
PATCHES = ("application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json")
# kubectl validates on its own what no group's document speaks of, such as `kind: List`, and reads the old document
# for that, in protobuf. In this one there are no definitions: swagger "2.0", info {"Kubernetes", "v1.36.3"}.
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
NO_DEFINITIONS = b"\x0a\x032.0\x12\x15\x0a\x0aKubernetes\x12\x07v1.36.3"
WRITING = ("dryRun", "fieldManager", "fieldValidation")
LISTING = (
    *("allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion"),
    *("resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch"),
)
DELETING = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
# verb: (method, action, query parameters); what the path is of: a collection or an object
COLLECTION = {
    "list": ("get", "list", LISTING),
    "create": ("post", "post", WRITING),
    "deletecollection": ("delete", "deletecollection", (*LISTING, *DELETING)),
}
OBJECT = {
    "get": ("get", "get", ()),
    "update": ("put", "put", WRITING),
    "patch": ("patch", "patch", (*WRITING, "force")),
    "delete": ("delete", "delete", DELETING),
}


class OpenApi:
    """Documents are made when first asked for."""

    def __init__(self, schema: Schema, served: Served) -> None:
        self._schema = schema
        self._served = served
        self._made: dict[str, bytes] = {}
        # Clients keep documents by this hash: it has to change when their content may.
        self._hash = hashlib.sha256(json.dumps(schema.definitions).encode()).hexdigest().upper()

    def index(self) -> Body:
        paths = {f"apis/{name}/v1" if name else "api/v1": name for name in self._served.groups}
        return {
            "paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={self._hash}"} for path in sorted(paths)}
        }

    def document(self, path: str) -> bytes | None:
        """`path` is `api/v1` or `apis/GROUP/v1`; None if there is none."""
        name = "" if path == "api/v1" else path.removeprefix("apis/").removesuffix("/v1")
        if name not in self._served.groups or (name and path != f"apis/{name}/v1"):
            return None
        if path not in self._made:
            paths = self._paths(path, name)
            schemas = self._schemas(paths)
            document = {
                "openapi": "3.0.0",
                "info": {"title": "Kubernetes", "version": "1.36"},
                "paths": paths,
                "components": {"schemas": schemas},
            }
            self._made[path] = go_json.encoded(document)
        return self._made[path]

    def _paths(self, prefix: str, group: str) -> Body:
        paths: Body = {}
        for told in self._served.groups[group]:
            plural, _, subresource = told["name"].partition("/")
            gvk = {"group": told.get("group", group), "version": told.get("version", "v1"), "kind": told["kind"]}
            base = f"/{prefix}/namespaces/{{namespace}}/{plural}" if told["namespaced"] else f"/{prefix}/{plural}"
            one = f"{base}/{{name}}" + (f"/{subresource}" if subresource else "")
            verbs = set(told["verbs"])
            if not subresource:
                paths[base] = self._operations(COLLECTION, verbs, gvk)
                if told["namespaced"] and "list" in verbs:
                    paths[f"/{prefix}/{plural}"] = self._operations({"list": COLLECTION["list"]}, verbs, gvk)
                paths[one] = self._operations(OBJECT, verbs, gvk)
            else:
                known = {**OBJECT, "create": COLLECTION["create"]}
                paths[one] = self._operations(known, verbs, gvk)
        return {path: operations for path, operations in sorted(paths.items()) if operations}

    def _operations(self, known: dict[str, Any], verbs: set[str], gvk: Body) -> Body:
        name = self._schema.name_of(gvk["group"], gvk["kind"])
        content = {"schema": {"$ref": f"#/components/schemas/{name}"}} if name else {}
        operations: Body = {}
        for verb, (method, action, parameters) in known.items():
            if verb not in verbs:
                continue
            operation: Body = {
                "parameters": [{"name": one, "in": "query", "schema": {"type": "string"}} for one in parameters],
                "responses": {"200": {"description": "OK", "content": {JSON: content, YAML: content}}},
                "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": gvk,
            }
            if method == "patch":
                operation["requestBody"] = {"content": {one: {} for one in PATCHES}, "required": True}
            elif method in ("post", "put"):
                operation["requestBody"] = {"content": {"*/*": content}, "required": True}
            operations[method] = operation
        return operations

    def _schemas(self, paths: Body) -> Body:
        """Those that the paths refer to, and what these refer to."""
        waiting, found = _references(paths), set[str]()
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting |= _references(self._schema.definitions[name])
        return {name: self._schema.definitions[name] for name in sorted(found)}


def _references(value: Any) -> set[str]:
    return set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(value)))

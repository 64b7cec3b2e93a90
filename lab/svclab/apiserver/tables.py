"""Answers in other shapes: Table, as `kubectl get` asks for it, and PartialObjectMetadata.

In: the Accept header, objects and their strategy. Out: which shape is wanted, and the body in it. Source:
apiserver pkg/endpoints/handlers/response.go, pkg/registry/rest/table.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import msgspec

from svclab.apiserver.failures import not_acceptable, not_convertible
from svclab.apiserver.strategy import Strategy

Body: TypeAlias = dict[str, Any]
As: TypeAlias = Literal["", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"]

ACCEPTED = "application/json, application/yaml, application/vnd.kubernetes.protobuf"


class Shape(msgspec.Struct, frozen=True):
    """How an answer is to look. `media` is application/json or application/yaml; `protocol` is Table's version."""

    as_: As = ""
    media: str = "application/json"
    version: str = "v1"


def asked(accept: str) -> Shape:
    """The first shape in an Accept header that we have. Raises StatusError."""
    if not accept:
        return Shape()
    found = False
    for clause in accept.split(","):
        media, *parameters = (one.strip() for one in clause.split(";"))
        given = dict(one.partition("=")[::2] for one in parameters)
        if media == "*/*":
            return Shape()
        if media not in ("application/json", "application/yaml"):
            continue
        as_, found = given.get("as", ""), True
        if not as_:
            return Shape("", media)
        known = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
        if given.get("g") == "meta.k8s.io" and given.get("v") in ("v1", "v1beta1") and as_ in known:
            return Shape(as_, media, given["v"])  # type: ignore[arg-type]  # one of `known`
    raise not_convertible(ACCEPTED) if found else not_acceptable(ACCEPTED)


def table(
    strategy: Strategy, bodies: Iterable[Body], metadata: Body, now: float, include: str, version: str, heads: bool
) -> Body:
    """`include` is the query parameter includeObject; `heads` False: without columns (later events of a watch)."""
    rows = []
    for body in bodies:
        row: Body = {"cells": strategy.cells(body, now)}
        if include == "Object":
            row["object"] = body
        elif include != "None":
            row["object"] = partial(body, version)
        else:
            row["object"] = None
        rows.append(row)
    columns = [
        {"name": one.name, "type": one.type, "format": one.format, "description": "", "priority": one.priority}
        for one in strategy.columns()
    ]
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": columns if heads else None,
        "rows": rows,
    }


def partial(body: Body, version: str = "v1") -> Body:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": body.get("metadata", {}),
    }


def reshaped(shape: Shape, strategy: Strategy, body: Body, now: float, include: str = "Metadata") -> Body:
    """One object. A Status stays what it is."""
    if not shape.as_ or body.get("kind") == "Status":
        return body
    if shape.as_ == "Table":
        metadata = {"resourceVersion": body["metadata"].get("resourceVersion", "")}
        return table(strategy, [body], metadata, now, include, shape.version, heads=True)
    return partial(body, shape.version)

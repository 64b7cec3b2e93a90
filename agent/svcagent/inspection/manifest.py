"""Kubernetes objects in a file, as `kubectl get svc,endpointslices,nodes,pods -o yaml` (or `-o json`) prints them.

In: text; a List, an object, or several YAML or JSON documents of these. Out: `Manifest`: the objects of the kinds that
matter here, a sentence for each bad one with its place, and notes on what was left out on purpose. Objects without a
namespace are in `default`, as `kubectl apply` has it.
Refuses, object by object: what is no object, has no or no possible name, is of another API version, or does not decode.
What follows after a YAML error cannot be read; what came before it counts.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml  # type: ignore[import-untyped]  # comes without types

from svcagent.inspection.inventory import LabelledPod, SelectingService
from svckube.objects import EndpointSlice, KubeObject, Node

_KINDS: dict[str, tuple[str, type[KubeObject]]] = {
    "Service": ("v1", SelectingService),
    "EndpointSlice": ("discovery.k8s.io/v1", EndpointSlice),
    "Node": ("v1", Node),
    "Pod": ("v1", LabelledPod),
}
# What kube-proxy's own watches leave out by label.
_LEFT_OUT = {
    "Service": ("service.kubernetes.io/service-proxy-name", "is served by another proxy"),
    "EndpointSlice": ("service.kubernetes.io/headless", "belongs to a headless Service"),
}
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?\Z")


class Manifest(msgspec.Struct, frozen=True):
    """What a file holds: good objects in its order, `problems` (bad objects), `notes` (good ones that do not count)."""

    objects: tuple[KubeObject, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]  # Any: no types
    """YAML as the API's own tools read it: a time is text."""


_FOREIGN_TAGS = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _FOREIGN_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Place(msgspec.Struct, frozen=True):
    """A value of the file, where it stands, and the kind and API version that its list gives it."""

    value: Any
    where: str
    kind: str = ""
    version: str = ""


class _BrokenError(ValueError):
    """The text ends being YAML or JSON here."""


def read(text: str, name: str) -> Manifest:
    """The objects in `text`; `name` is how messages call the file."""
    objects: list[KubeObject] = []
    problems: list[str] = []
    notes: list[str] = []
    others: Counter[str] = Counter()
    try:
        for place in _places(text):
            try:
                found = _object(place, notes, others)
            except ValueError as error:
                problems.append(f"{name}, {place.where}: {error}")
            else:
                objects += [found] if found is not None else []
    except _BrokenError as error:
        problems.append(f"{name}, {error}")
    notes += [f"ignored: {count} {kind}" for kind, count in sorted(others.items())]
    return Manifest(tuple(objects), tuple(problems), tuple(f"{name}: {note}" for note in notes))


def _places(text: str) -> Iterator[_Place]:
    if text.lstrip().startswith("{"):
        try:
            documents = list(_json_documents(text))
        except json.JSONDecodeError:
            pass  # YAML in flow style begins like this as well
        else:
            for value, line in documents:
                yield from _json_places(value, f"line {line}")
            return
    yield from _yaml_places(text)


def _json_documents(text: str) -> Iterator[tuple[Any, int]]:
    """Values that follow each other, as `kubectl get -o json` or `jq -c` print them, with the line they begin on."""
    decoder, at = json.JSONDecoder(), 0
    while rest := re.compile(r"\S").search(text, at):
        value, end = decoder.raw_decode(text, rest.start())
        yield value, text.count("\n", 0, rest.start()) + 1
        at = end


def _json_places(value: Any, where: str) -> Iterator[_Place]:
    kind, version = _kind_and_version(value)
    if not kind.endswith("List") or not isinstance(value.get("items"), list):
        yield _Place(value, where)
        return
    for number, item in enumerate(value["items"]):
        yield _Place(item, f"items[{number}] of {where}", kind.removesuffix("List"), version)


def _yaml_places(text: str) -> Iterator[_Place]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            yield from _node_places(loader, loader.get_node())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(part for part in (error.problem, error.context) if part)
        raise _BrokenError(f"line {mark.line + 1 if mark else '?'}: not YAML: {words}") from error
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise _BrokenError(f"not YAML: {error}") from error
    finally:
        loader.dispose()


def _node_places(loader: Any, node: Any) -> Iterator[_Place]:
    """A document's objects. A list is built item by item, so that each keeps its line."""
    pairs = {key.value: value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}
    kind, items = getattr(pairs.get("kind"), "value", ""), pairs.get("items")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(items, yaml.SequenceNode):
        version = getattr(pairs.get("apiVersion"), "value", "")
        for number, item in enumerate(items.value):
            where = f"line {item.start_mark.line + 1}, items[{number}]"
            yield _Place(loader.construct_document(item), where, kind.removesuffix("List"), str(version))
        return
    value = loader.construct_document(node)
    if value is not None:  # a document of nothing but comments
        yield _Place(value, f"line {node.start_mark.line + 1}")


def _kind_and_version(value: Any) -> tuple[str, str]:
    if not isinstance(value, dict):
        return "", ""
    kind, version = value.get("kind"), value.get("apiVersion")
    return (kind if isinstance(kind, str) else ""), (version if isinstance(version, str) else "")


def _object(place: _Place, notes: list[str], others: Counter[str]) -> KubeObject | None:
    """The object at a place, None if it does not count here; ValueError says what is bad about it."""
    if not isinstance(place.value, dict):
        raise ValueError(f"no Kubernetes object, but {type(place.value).__name__}")
    kind, version = _kind_and_version(place.value)
    kind, version = kind or place.kind, version or place.version
    if not kind:
        raise ValueError("no Kubernetes object: it has no kind")
    if kind == "List" and place.value.get("items") in (None, []):
        return None
    meta = place.value.get("metadata")
    labels = meta.get("labels") if isinstance(meta, dict) else None
    named = f"{kind} {_spelled(meta)}".rstrip()
    if kind == "Endpoints":
        notes.append(f"{place.where}: {named} ignored: EndpointSlices count")
        return None
    if kind not in _KINDS:
        others[kind] += 1
        return None
    wanted, struct = _KINDS[kind]
    if version != wanted:
        raise ValueError(f"{named}: apiVersion {version or 'is missing'}: only {wanted} is read")
    label, why = _LEFT_OUT.get(kind, ("", ""))
    if label and isinstance(labels, dict) and label in labels:
        notes.append(f"{place.where}: {named} ignored: it {why} (label {label})")
        return None
    try:
        found = msgspec.convert(place.value, struct)
    except msgspec.ValidationError as error:
        raise ValueError(f"{named}: {error}") from error
    return _checked(found, kind, notes, place.where)


def _checked(found: KubeObject, kind: str, notes: list[str], where: str) -> KubeObject:
    meta = found.metadata
    if kind != "Node" and not meta.namespace:
        meta = msgspec.structs.replace(meta, namespace="default")
        found = msgspec.structs.replace(found, metadata=meta)
    for field, text in (("name", meta.name), ("namespace", meta.namespace or "default")):
        if len(text) > 253 or not _NAME.match(text):
            raise ValueError(f"{kind}: metadata.{field} {text!r} is no name of a Kubernetes object")
    if isinstance(found, SelectingService) and not found.spec.cluster_ip and found.spec.type != "ExternalName":
        notes.append(f"{where}: Service {found.key} has no clusterIP, which the API server gives: it gets no rules")
    return found


def _spelled(meta: object) -> str:
    if not isinstance(meta, dict):
        return ""
    return "/".join(str(part) for part in (meta.get("namespace"), meta.get("name")) if part)

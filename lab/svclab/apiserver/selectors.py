"""Label and field selectors: from the text of a query parameter to a test of an object.

In: `app=web,tier in (a,b),!x` or `metadata.name=web,spec.nodeName!=node1`. Out: a predicate over a body's labels or
fields. Refused, with the API's message: what does not parse, operators without a value, fields that a kind does not
know. Source: apimachinery pkg/labels and pkg/fields, v0.36.3; which fields a kind has: its own conversion functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from svclab.apiserver.strategy import formats

Body: TypeAlias = dict[str, Any]


class SelectorError(ValueError):
    """The message is the API's."""


class Requirement(msgspec.Struct, frozen=True):
    """One condition on a label. `operator`: in, notin, exists, !, gt, lt; equality is `in` with one value."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.operator == "exists":
            return value is not None
        if self.operator == "!":
            return value is None
        if self.operator == "in":
            return value is not None and value in self.values
        if self.operator == "notin":
            return value is None or value not in self.values
        try:
            number, limit = int(value or ""), int(next(iter(self.values)))
        except ValueError:
            return False
        return number > limit if self.operator == "gt" else number < limit


LabelSelector: TypeAlias = tuple[Requirement, ...]
_WORD = re.compile(r"\s*(?:(?P<sign>==|!=|[!=<>(),])|(?P<word>[^\s!=<>(),]+))|\s+$")
_OPERATORS = ("=", "==", "!=", "in", "notin", "gt", "lt", ">", "<")


def parsed_labels(text: str) -> LabelSelector:
    """Raises SelectorError."""
    parser = _Parser(text)
    found: list[Requirement] = []
    while True:
        word = parser.peek()
        if not word:
            return tuple(sorted(found, key=lambda one: one.key))
        if word in ("(", ")", ",", "=", "==", "!=", ">", "<"):
            raise SelectorError(f"found '{word}', expected: !, identifier, or 'end of string'")
        found.append(parser.requirement())
        word = parser.take()
        if not word:
            return tuple(sorted(found, key=lambda one: one.key))
        if word != ",":
            raise SelectorError(f"found '{word}', expected: ',' or 'end of string'")
        after = parser.peek()
        if after != "!" and (not after or after in _SIGNS):
            raise SelectorError(f"found '{after}', expected: identifier after ','")


_SIGNS = {"(", ")", ",", "=", "==", "!=", ">", "<", "!"}


class _Parser:
    def __init__(self, text: str) -> None:
        self._words = [found[found.lastgroup] for found in _WORD.finditer(text) if found.lastgroup]
        self._next = 0

    def peek(self) -> str:
        return self._words[self._next] if self._next < len(self._words) else ""

    def take(self) -> str:
        word = self.peek()
        self._next += 1
        return word

    def requirement(self) -> Requirement:
        absent = self.peek() == "!"
        if absent:
            self.take()
        key = self.take()
        if not key or key in _SIGNS:
            raise SelectorError(f"unable to parse requirement: found '{key}', expected: identifier")
        if wrong := formats.label_key(key):
            raise SelectorError(_invalid("key", key, wrong))
        if absent:
            return Requirement(key, "!")
        word = self.peek()
        if word in ("", ","):
            return Requirement(key, "exists")
        operator = self.take()
        if operator not in _OPERATORS:
            raise SelectorError(
                f"unable to parse requirement: found '{operator}', expected: in, notin, =, ==, !=, gt, lt"
            )
        operator = {"=": "in", "==": "in", "!=": "notin", ">": "gt", "<": "lt"}.get(operator, operator)
        several = word in ("in", "notin")
        values = self._values() if several else frozenset([self._value()])
        if operator in ("gt", "lt"):
            for value in values:
                if not re.fullmatch(r"[+-]?\d+", value):
                    said = f"Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"
                    raise SelectorError(f"unable to parse requirement: values[0]: {said}")
        for value in sorted(values):
            if wrong := formats.label_value(value):
                raise SelectorError(_invalid(f"values[0][{key}]", value, wrong))
        return Requirement(key, operator, values)

    def _value(self) -> str:
        if self.peek() in ("", ","):
            return ""
        word = self.take()
        if word in _SIGNS:
            raise SelectorError(f"unable to parse requirement: found '{word}', expected: identifier")
        return word

    def _values(self) -> frozenset[str]:
        if (word := self.take()) != "(":
            raise SelectorError(f"unable to parse requirement: found '{word}' expected: '('")
        values: set[str] = set()
        while True:
            word = self.take()
            if word == ",":
                values.add("")
                continue
            if word == ")":
                return frozenset(values or {""})
            if not word or word in _SIGNS:
                raise SelectorError(f"unable to parse requirement: found '{word}', expected: ',', ')' or identifier")
            values.add(word)
            word = self.take()
            if word == ")":
                return frozenset(values)
            if word != ",":
                raise SelectorError(f"unable to parse requirement: found '{word}', expected: ',' or ')'")
            if self.peek() == ")":
                values.add("")


def _invalid(field: str, value: str, wrong: list[str]) -> str:
    return f'unable to parse requirement: {field}: Invalid value: "{value}": {"; ".join(wrong)}'


class Term(msgspec.Struct, frozen=True):
    """One condition on a field."""

    path: str
    value: str
    equal: bool


FieldSelector: TypeAlias = tuple[Term, ...]


def parsed_fields(text: str, supported: Mapping[str, Callable[[Body], str]], unknown: str) -> FieldSelector:
    """`supported` says which fields a kind has; `unknown` is the message for others, with one `{}`."""
    terms = []
    for part in re.split(r"(?<!\\),", text):
        if not part:
            continue
        found = re.search(r"!=|==|=", part)
        if found is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        terms.append(Term(part[: found.start()], _unescaped(part[found.end() :]), found[0] != "!="))
    for term in terms:
        if term.path not in supported:
            raise SelectorError(unknown.format(term.path))
    return tuple(terms)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([\\,=])", r"\1", text)


def _path(path: str, default: str = "") -> Callable[[Body], str]:
    parts = path.split(".")

    def value(body: Body) -> str:
        found: Any = body
        for part in parts:
            found = found.get(part) if isinstance(found, dict) else None
        if isinstance(found, bool):
            return "true" if found else "false"
        return default if found is None else str(found)

    return value


def _pod_ip(body: Body) -> str:
    ips = body.get("status", {}).get("podIPs") or ()
    return str(ips[0].get("ip", "")) if ips else str(body.get("status", {}).get("podIP", ""))


def _reporting(body: Body) -> str:
    return str(body.get("source", {}).get("component") or body.get("reportingComponent", ""))


NAMED = {"metadata.name": _path("metadata.name"), "metadata.namespace": _path("metadata.namespace")}
CLUSTER_NAMED = {"metadata.name": _path("metadata.name")}
_EVENT = {
    **NAMED,
    **{
        f"involvedObject.{one}": _path(f"involvedObject.{one}")
        for one in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    },
    **{one: _path(one) for one in ("reason", "reportingComponent", "type")},
    "source": _reporting,
}
FIELDS: Mapping[str, Mapping[str, Callable[[Body], str]]] = {
    "/pods": {
        **NAMED,
        "spec.nodeName": _path("spec.nodeName"),
        "spec.restartPolicy": _path("spec.restartPolicy"),
        "spec.schedulerName": _path("spec.schedulerName"),
        "spec.serviceAccountName": _path("spec.serviceAccountName"),
        "spec.hostNetwork": _path("spec.hostNetwork", "false"),
        "status.phase": _path("status.phase"),
        "status.podIP": _pod_ip,
        "status.podIPs": _pod_ip,
        "status.nominatedNodeName": _path("status.nominatedNodeName"),
    },
    "/nodes": {**CLUSTER_NAMED, "spec.unschedulable": _path("spec.unschedulable", "false")},
    "/namespaces": {**CLUSTER_NAMED, "status.phase": _path("status.phase")},
    "/secrets": {**NAMED, "type": _path("type")},
    "/services": {**NAMED, "spec.clusterIP": _path("spec.clusterIP"), "spec.type": _path("spec.type")},
    "/events": _EVENT,
    # Another view of the same objects, with names of its own.
    "events.k8s.io/events": {
        **NAMED,
        **{path.replace("involvedObject", "regarding"): _EVENT[path] for path in _EVENT if path.startswith("involved")},
        **{one: _path(one) for one in ("reason", "type")},
        "reportingController": _path("reportingComponent"),
    },
}


def supported_fields(resource: str, namespaced: bool) -> Mapping[str, Callable[[Body], str]]:
    return FIELDS.get(resource, NAMED if namespaced else CLUSTER_NAMED)


class Selection(msgspec.Struct, frozen=True):
    """Both selectors of a request; an empty one selects all."""

    resource: str
    labels: LabelSelector = ()
    fields: FieldSelector = ()

    def __bool__(self) -> bool:
        return bool(self.labels or self.fields)

    def selects(self, body: Body) -> bool:
        labels = body["metadata"].get("labels") or {}
        if not all(one.holds(labels) for one in self.labels):
            return False
        if not self.fields:
            return True
        known = FIELDS.get(self.resource, NAMED)
        return all((known[term.path](body) == term.value) is term.equal for term in self.fields)

"""Label selectors: does this one select these labels? Pure.

In: a map (`Service.spec.selector`) or a LabelSelector (matchLabels, matchExpressions), and labels. Out: yes or no.
A missing LabelSelector selects nothing and an empty one everything, as `metav1.LabelSelectorAsSelector` has it.
An operator we do not know selects nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def labels_of(body: Mapping[str, Any]) -> dict[str, str]:
    """Of an object or of a template; {} if it has none."""
    return (body.get("metadata") or {}).get("labels") or {}


def has_all(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Are all wanted pairs there? True for no wish at all: what that means is for the caller to say."""
    return all(labels.get(name) == value for name, value in wanted.items())


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """`selector` is a LabelSelector."""
    if selector is None:
        return False
    expressions = selector.get("matchExpressions") or ()
    return has_all(selector.get("matchLabels") or {}, labels) and all(_holds(each, labels) for each in expressions)


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    name, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return name in labels and labels[name] in values
        case "NotIn":
            return name not in labels or labels[name] not in values
        case "Exists":
            return name in labels
        case "DoesNotExist":
            return name not in labels
    return False

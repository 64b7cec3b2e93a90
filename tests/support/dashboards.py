"""What a Grafana dashboard asks of Prometheus.

In: the file of a dashboard, and the text of a scrape. Out: the metrics that its panels read, each with the labels that
they sum by, match or show; and for a scrape which there are, by the same names.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

ADDED = {"job", "instance"}
"""Labels that Prometheus puts on everything."""
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",), "unknown": ("",)}


def asked(dashboard: Path) -> dict[str, set[str]]:
    """By metric the labels that panels need. ValueError where an expression is no PromQL."""
    found: dict[str, set[str]] = defaultdict(set)
    for panel in json.loads(dashboard.read_text())["panels"]:
        for target in panel.get("targets", ()):
            tree = promql_parser.parse(target["expr"].replace("$__rate_interval", "5m"))
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            for node in _nodes(tree):
                if isinstance(node, promql_parser.VectorSelector):
                    found[node.name] |= shown | {matcher.name for matcher in node.matchers.matchers}
                elif isinstance(node, promql_parser.AggregateExpr):
                    for selector in _nodes(node):
                        if isinstance(selector, promql_parser.VectorSelector):
                            found[selector.name] |= set(node.modifier.labels)
    return {name: labels - ADDED for name, labels in found.items()}


def _nodes(tree: Any) -> Iterator[Any]:
    """All parts of an expression; the parser's nodes have their children under these names."""
    yield tree
    for field in ("expr", "lhs", "rhs", "vector_selector"):
        if (child := getattr(tree, field, None)) is not None:
            yield from _nodes(child)
    for child in getattr(tree, "args", None) or ():
        yield from _nodes(child)


def offered(scrape: str) -> dict[str, set[str] | None]:
    """By metric the labels that its samples have; None for a metric that is declared and has no sample yet."""
    found: dict[str, set[str] | None] = {}
    for family in text_string_to_metric_families(scrape):
        for suffix in _SUFFIXES[family.type]:
            samples = [sample for sample in family.samples if sample.name == family.name + suffix]
            labels = set().union(*(sample.labels for sample in samples))
            found[family.name + suffix] = labels if samples else None
    return found

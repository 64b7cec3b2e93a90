"""Deployment, ReplicaSet and Scale: defaults, rules, tables.

Source: kubernetes pkg/apis/apps/v1/defaults.go, pkg/apis/apps/validation, pkg/registry/apps, v1.36.3.
"""

from __future__ import annotations

import re
from typing import Any

from svclab.apiserver.strategy import formats, metadata, printed
from svclab.apiserver.strategy.errors import FieldError, all_wrong, forbidden, required, unsupported, wrong
from svclab.apiserver.strategy.kind import AGE, NAME, Column, Strategy
from svclab.apiserver.strategy.metadata import Body
from svclab.apiserver.strategy.pod_defaults import set_template_defaults
from svclab.apiserver.strategy.pod_rules import template_errors
from svclab.apiserver.strategy.pod_warnings import pod_warnings
from svclab.apiserver.strategy.scheduling import matches

NEGATIVE = "must be greater than or equal to 0"
OF_TEMPLATE = tuple(Column(name, priority=1) for name in ("Containers", "Images", "Selector"))


class Workload(Strategy):
    """What Deployments and ReplicaSets have in common."""

    group = "apps"

    def set_defaults(self, kept: Body) -> None:
        kept["spec"].setdefault("replicas", 1)
        set_template_defaults(kept["spec"]["template"]["spec"])

    def prepared_for_create(self, obj: Body) -> Body:
        return {**obj, "status": self.empty_status()}

    def empty_status(self) -> Body:
        return {}

    def changes_errors(self, new: Body, old: Body) -> list[FieldError]:
        found = metadata.kind_update_errors(new, old) + self.errors(new, old)
        if new["spec"].get("selector") != old["spec"].get("selector"):
            found.append(wrong("spec.selector", shown_selector(new["spec"].get("selector")), "field is immutable"))
        return found

    def warnings(self, obj: Body, old: Body | None) -> list[str]:
        template = obj["spec"]["template"]
        if old is not None and not self.spec_changed(obj, old):
            return []
        found: list[str] = []
        if old is None and (messages := formats.dns_label(obj["metadata"]["name"])):
            found.append(
                "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
                f"a DNS label is recommended: [{' '.join(messages)}]"
            )
        return found + pod_warnings(template["spec"], template.get("metadata") or {}, "spec.template")

    def spec_changed(self, new: Body, old: Body) -> bool:
        return bool(new["spec"] != old["spec"])

    def of_template(self, spec: Body) -> list[str]:
        """The cells of the wide columns."""
        containers = spec["template"]["spec"]["containers"] or []
        return [
            ",".join(each["name"] for each in containers),
            ",".join(each.get("image", "") for each in containers),
        ]


class ReplicaSet(Workload):
    kind = "ReplicaSet"
    table = (NAME, *(Column(name, "integer") for name in ("Desired", "Current", "Ready")), AGE, *OF_TEMPLATE)

    def empty_status(self) -> Body:
        return {"replicas": 0}

    def errors(self, obj: Body, old: Body | None) -> list[FieldError]:
        spec = obj["spec"]
        found = _negative_errors(spec, ("replicas", "minReadySeconds"), "spec")
        return found + _selector_and_template_errors(spec)

    def status_errors(self, new: Body, old: Body) -> list[FieldError]:
        status = new.get("status") or {}
        fields = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")
        found = metadata.kind_update_errors(new, old) + _negative_errors(status, fields, "status")
        found += _negative_errors(status, ("terminatingReplicas",), "status")
        return found + _counts_errors(status, ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"))

    def cells(self, obj: Body, now: float) -> list[Any]:
        spec, status = obj["spec"], obj.get("status") or {}
        counts = [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0)]
        selector = printed.selector(spec.get("selector"))
        return [obj["metadata"]["name"], *counts, printed.age(obj, now), *self.of_template(spec), selector]


class Deployment(Workload):
    kind = "Deployment"
    table = (NAME, *(Column(name) for name in ("Ready", "Up-to-date", "Available", "Age")), *OF_TEMPLATE)

    def set_defaults(self, kept: Body) -> None:
        super().set_defaults(kept)
        spec = kept["spec"]
        strategy = spec["strategy"]
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)

    def prepared_for_update(self, new: Body, old: Body, subresource: str) -> Body:
        kept = super().prepared_for_update(new, old, subresource)
        if subresource != "status":
            return kept
        meta = {key: value for key, value in kept["metadata"].items() if key != "labels"}
        if "labels" in old["metadata"]:
            meta["labels"] = old["metadata"]["labels"]
        return {**kept, "metadata": meta}

    def errors(self, obj: Body, old: Body | None) -> list[FieldError]:
        spec = obj["spec"]
        found = _negative_errors(spec, ("replicas",), "spec") + _selector_and_template_errors(spec)
        found += _strategy_errors(spec["strategy"], "spec.strategy")
        fields = ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
        found += _negative_errors(spec, fields, "spec")
        deadline = spec.get("progressDeadlineSeconds")
        if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
            found.append(wrong("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
        return found

    def status_errors(self, new: Body, old: Body) -> list[FieldError]:
        status, before = new.get("status") or {}, old.get("status") or {}
        fields = ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        more = ("unavailableReplicas", "terminatingReplicas", "collisionCount")
        found = metadata.kind_update_errors(new, old) + _negative_errors(status, (*fields, *more), "status")
        found += _counts_errors(status, ("updatedReplicas", "readyReplicas", "availableReplicas"))
        count, was = status.get("collisionCount"), before.get("collisionCount")
        if was is not None and (count is None or count < was):
            found.append(wrong("status.collisionCount", count or 0, "cannot be decremented"))
        return found

    def cells(self, obj: Body, now: float) -> list[Any]:
        spec, status = obj["spec"], obj.get("status") or {}
        selector = printed.selector(spec.get("selector"))
        return [
            obj["metadata"]["name"],
            f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
            status.get("updatedReplicas", 0),
            status.get("availableReplicas", 0),
            printed.age(obj, now),
            *self.of_template(spec),
            "" if selector == "<none>" else selector,
        ]

    def spec_changed(self, new: Body, old: Body) -> bool:
        """Annotations count too: they are copied to the ReplicaSets."""
        given, known = (each["metadata"].get("annotations") or {} for each in (new, old))
        return bool(new["spec"] != old["spec"] or given != known)


class Scale(Strategy):
    """The subresource of both."""

    kind = "Scale"
    group = "autoscaling"
    table = (Column("Name"), Column("Desired", "integer"), Column("Available", "integer"), AGE)

    def defaulted(self, obj: Body) -> Body:
        scale = super().defaulted({**obj, "kind": "Scale"})
        return {**scale, "kind": obj.get("kind", "Scale")}

    def errors(self, obj: Body, old: Body | None) -> list[FieldError]:
        return _negative_errors(obj.get("spec") or {}, ("replicas",), "spec")

    def cells(self, obj: Body, now: float) -> list[Any]:
        counts = [(obj.get(part) or {}).get("replicas", 0) for part in ("spec", "status")]
        return [obj["metadata"]["name"], *counts, printed.age(obj, now)]


def shown_selector(selector: Body | None) -> Body | None:
    """In the order of Go's struct."""
    if selector is None:
        return None
    shown: Body = {}
    if labels := selector.get("matchLabels"):
        shown["matchLabels"] = dict(sorted(labels.items()))
    if expressions := selector.get("matchExpressions"):
        fields = ("key", "operator", "values")
        shown["matchExpressions"] = [{name: each[name] for name in fields if name in each} for each in expressions]
    return shown


def _negative_errors(holder: Body, fields: tuple[str, ...], path: str) -> list[FieldError]:
    return [wrong(f"{path}.{field}", holder[field], NEGATIVE) for field in fields if (holder.get(field) or 0) < 0]


def _selector_and_template_errors(spec: Body) -> list[FieldError]:
    selector, template = spec.get("selector"), spec["template"]
    shown = shown_selector(selector)
    malformed = metadata.selector_errors(selector, "spec.selector")
    found = [required("spec.selector")] if selector is None else malformed
    empty = selector is not None and not shown
    if empty:
        found = [*found, wrong("spec.selector", shown, "empty selector is invalid for deployment")]
    if malformed:
        return [*found, wrong("spec.selector", shown, "invalid label selector")]
    labels = (template.get("metadata") or {}).get("labels")
    if selector is None or (not empty and not matches(selector, labels or {})):
        shown_labels = None if labels is None else dict(sorted(labels.items()))
        said = "`selector` does not match template `labels`"
        found = [*found, wrong("spec.template.metadata.labels", shown_labels, said)]
    found = found + template_errors(template, "spec.template")
    policy = template["spec"].get("restartPolicy", "")
    if policy != "Always":
        found.append(unsupported("spec.template.spec.restartPolicy", policy, ("Always",)))
    if template["spec"].get("activeDeadlineSeconds") is not None:
        said = "activeDeadlineSeconds in ReplicaSet is not Supported"
        found.append(forbidden("spec.template.spec.activeDeadlineSeconds", said))
    return found


def _strategy_errors(strategy: Body, path: str) -> list[FieldError]:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if kind == "Recreate":
        said = "may not be specified when strategy `type` is 'Recreate'"
        return [] if rolling is None else [forbidden(f"{path}.rollingUpdate", said)]
    if kind != "RollingUpdate":
        inner = rolling and {
            "MaxUnavailable": rolling.get("maxUnavailable", 0),
            "MaxSurge": rolling.get("maxSurge", 0),
        }
        return [unsupported(path, {"Type": kind, "RollingUpdate": inner}, ("Recreate", "RollingUpdate"))]
    here = f"{path}.rollingUpdate"
    if rolling is None:
        return [required(here, "this should be defaulted and never be nil")]
    unavailable, surge = rolling["maxUnavailable"], rolling["maxSurge"]
    found = _share_errors(unavailable, f"{here}.maxUnavailable") + _share_errors(surge, f"{here}.maxSurge")
    if _number(unavailable) == 0 and _number(surge) == 0:
        found.append(wrong(f"{here}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
    if isinstance(unavailable, str) and not formats.percent(unavailable) and _number(unavailable) > 100:
        found.append(wrong(f"{here}.maxUnavailable", unavailable, "must not be greater than 100%"))
    return found


def _share_errors(given: int | str, path: str) -> list[FieldError]:
    if isinstance(given, str):
        return all_wrong(path, given, formats.percent(given))
    return [wrong(path, given, NEGATIVE)] if given < 0 else []


def _number(given: int | str) -> int:
    """What a share says; a text that is neither number nor percentage counts as 0."""
    found = re.fullmatch("([+-]?[0-9]+)%?", str(given))
    return int(found[1]) if found else 0


def _counts_errors(status: Body, fields: tuple[str, ...]) -> list[FieldError]:
    found = [
        wrong(f"status.{field}", status.get(field, 0), "cannot be greater than status.replicas")
        for field in fields
        if status.get(field, 0) > status.get("replicas", 0)
    ]
    available = status.get("availableReplicas", 0)
    if available > status.get("readyReplicas", 0):
        found.append(wrong("status.availableReplicas", available, "cannot be greater than readyReplicas"))
    return found

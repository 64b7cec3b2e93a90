"""What metadata must be: names, labels, annotations, owners, finalizers.

In: objects as JSON values. Out: errors in the order in which the API server finds them; keys of maps are visited in
sorted order, where the API server's order is random. Source: apimachinery pkg/api/validation/objectmeta.go, v0.36.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from svclab.apiserver.strategy import formats
from svclab.apiserver.strategy.errors import FieldError, all_wrong, forbidden, go_json, required, too_long, wrong
from svclab.apiserver.strategy.normal_form import ordered

Body: TypeAlias = dict[str, Any]
NameRule: TypeAlias = Callable[[str], list[str]]

ANNOTATIONS_LIMIT = 256 * 1024
STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")
# The rule for names of kinds that have another than the subdomain.
NAMES: Mapping[str, NameRule] = {"Namespace": formats.dns_label, "Service": formats.dns_label}


def errors_in_metadata(obj: Body, namespaced: bool, rule: NameRule | None = None) -> list[FieldError]:
    """On creation. `rule` is the kind's rule for names; without one, it is looked up by `obj["kind"]`."""
    rule = rule or NAMES.get(obj.get("kind", ""), formats.dns_subdomain)
    found = common_errors(obj, namespaced, rule)
    return found + _unqualified_finalizers(obj["metadata"])


def common_errors(obj: Body, namespaced: bool, rule: NameRule) -> list[FieldError]:
    """What holds for every kind, without the finalizers' extra rule."""
    meta = obj.get("metadata") or {}
    found: list[FieldError] = []
    if prefix := meta.get("generateName"):
        found += all_wrong("metadata.generateName", prefix, rule(_without_trailing_dash(prefix)))
    if name := meta.get("name"):
        found += all_wrong("metadata.name", name, rule(name))
    else:
        found.append(required("metadata.name", "name or generateName is required"))
    namespace = meta.get("namespace")
    if namespaced and namespace:
        found += all_wrong("metadata.namespace", namespace, formats.dns_label(namespace))
    elif namespaced:
        found.append(required("metadata.namespace"))
    elif namespace:
        found.append(forbidden("metadata.namespace", "not allowed on this type"))
    if meta.get("generation", 0) < 0:
        found.append(wrong("metadata.generation", meta["generation"], "must be greater than or equal to 0"))
    found += labels_errors(meta.get("labels"), "metadata.labels")
    found += annotations_errors(meta.get("annotations"), "metadata.annotations")
    found += owners_errors(meta.get("ownerReferences"), "metadata.ownerReferences")
    return found + _finalizers_errors(meta.get("finalizers"), "metadata.finalizers")


def update_errors_in_metadata(new: Body, old: Body) -> list[FieldError]:
    """What may not change. The API server asks this twice in an update: once for all kinds, once for the kind."""
    now, before = new.get("metadata") or {}, old.get("metadata") or {}
    found: list[FieldError] = []
    added = sorted(set(now.get("finalizers") or ()) - set(before.get("finalizers") or ()))
    if before.get("deletionTimestamp") and added:
        listed = ", ".join(go_json(each) for each in added)
        found.append(
            forbidden(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{listed}}}",
            )
        )
    for name in ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if name in now and now[name] != before.get(name):
            found.append(wrong(f"metadata.{name}", now[name], "field is immutable"))
    found += labels_errors(now.get("labels"), "metadata.labels")
    found += annotations_errors(now.get("annotations"), "metadata.annotations")
    return found + owners_errors(now.get("ownerReferences"), "metadata.ownerReferences")


def kind_update_errors(new: Body, old: Body) -> list[FieldError]:
    """`update_errors_in_metadata` as each kind's own validation asks it."""
    return update_errors_in_metadata(new, old) + _unqualified_finalizers(new["metadata"])


def labels_errors(labels: Mapping[str, str] | None, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for key, value in sorted((labels or {}).items()):
        found += all_wrong(path, key, formats.label_key(key))
        found += all_wrong(path, value, formats.label_value(value))
    return found


def annotations_errors(annotations: Mapping[str, str] | None, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    total = 0
    for key, value in sorted((annotations or {}).items()):
        found += all_wrong(path, key, formats.label_key(key.lower()))
        total += formats.size(key) + formats.size(value)
    return [*found, too_long(path, ANNOTATIONS_LIMIT)] if total > ANNOTATIONS_LIMIT else found


def selector_errors(selector: Body | None, path: str) -> list[FieldError]:
    """A label selector; None has no errors."""
    if selector is None:
        return []
    found = labels_errors(selector.get("matchLabels"), f"{path}.matchLabels")
    for index, each in enumerate(selector.get("matchExpressions") or ()):
        found += _requirement_errors(each, f"{path}.matchExpressions[{index}]")
    return found


def _requirement_errors(requirement: Body, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    values, operator = requirement.get("values") or [], requirement.get("operator", "")
    if operator in ("In", "NotIn"):
        if not values:
            found.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            said = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            found.append(forbidden(f"{path}.values", said))
    else:
        found.append(wrong(f"{path}.operator", operator, "not a valid selector operator"))
    key = requirement.get("key", "")
    found += all_wrong(f"{path}.key", key, formats.label_key(key))
    for index, value in enumerate(values):
        found += all_wrong(f"{path}.values[{index}]", value, formats.label_value(value))
    return found


def owners_errors(owners: Iterable[Body] | None, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    controller = ""
    for owner in owners or ():
        found += _owner_errors(owner, path)
        if owner.get("controller"):
            this = f"{owner.get('kind', '')}/{owner.get('name', '')}"
            if controller:
                said = (
                    "Only one reference can have Controller set to true. "
                    f'Found "true" in references for {controller} and {this}'
                )
                shown = [ordered("OwnerReference", each) for each in owners or ()]
                found.append(wrong(path, shown, said))
            else:
                controller = this
    return found


def _owner_errors(owner: Body, path: str) -> list[FieldError]:
    version, kind = owner.get("apiVersion", ""), owner.get("kind", "")
    # Go reads a version of more than two parts as none.
    good = version.count("/") < 2 and version.rpartition("/")[2]
    found = [] if good else [wrong(f"{path}.apiVersion", version, "version must not be empty")]
    for field in ("kind", "name", "uid"):
        if not owner.get(field):
            found.append(wrong(f"{path}.{field}", "", "must not be empty"))
    if version == "v1" and kind == "Event":
        found.append(wrong(path, owner, "/v1, Kind=Event is disallowed from being an owner"))
    return found


def _finalizers_errors(finalizers: list[str] | None, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for each in finalizers or ():
        found += all_wrong(path, each, formats.label_key(each))
    if finalizers and {"orphan", "foregroundDeletion"} <= set(finalizers):
        found.append(wrong(path, finalizers, "finalizer orphan and foregroundDeletion cannot be both set"))
    return found


def _unqualified_finalizers(meta: Body) -> list[FieldError]:
    said = "name is neither a standard finalizer name nor is it fully qualified"
    return [
        wrong(f"metadata.finalizers[{index}]", each, said)
        for index, each in enumerate(meta.get("finalizers") or ())
        if "/" not in each and each not in STANDARD_FINALIZERS
    ]


def _without_trailing_dash(prefix: str) -> str:
    return prefix[:-2] + "a" if len(prefix) > 1 and prefix.endswith("-") else prefix

"""Where a pod may run: tolerations, taints, affinity, spreading.

In: parts of a pod's or a node's spec. Out: errors in the API server's order and words. matchLabelKeys are let through
unchecked. Source: kubernetes pkg/apis/core/validation/validation.go, v1.36.3.
"""

from __future__ import annotations

from collections.abc import Sequence

from svclab.apiserver.strategy import formats
from svclab.apiserver.strategy.errors import FieldError, all_wrong, duplicate, forbidden, required, unsupported, wrong
from svclab.apiserver.strategy.metadata import Body, selector_errors

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
REQUIRED_TERMS, PREFERRED_TERMS = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def tolerations_errors(tolerations: Sequence[Body], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, toleration in enumerate(tolerations):
        here = f"{path}[{index}]"
        key, operator, effect = (toleration.get(field, "") for field in ("key", "operator", "effect"))
        if key:
            found += all_wrong(f"{here}.key", key, formats.label_key(key))
        elif operator != "Exists":
            said = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            found.append(wrong(f"{here}.operator", operator, said))
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            said = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            found.append(wrong(f"{here}.effect", effect, said))
        found += _operator_errors(operator, toleration.get("value", ""), here)
        if effect and effect not in EFFECTS:
            found.append(unsupported(f"{here}.effect", effect, EFFECTS))
    return found


def _operator_errors(operator: str, value: str, path: str) -> list[FieldError]:
    if operator in ("", "Equal"):
        messages = formats.label_value(value)
        return [wrong(f"{path}.operator", value, ";".join(messages))] if messages else []
    if operator == "Exists":
        said = "value must be empty when `operator` is 'Exists'"
        return [wrong(f"{path}.operator", value, said)] if value else []
    supported = ("Equal", "Exists", "Lt", "Gt") if operator in ("Lt", "Gt") else ("Equal", "Exists")
    return [unsupported(f"{path}.operator", operator, supported)]


def added_tolerations_errors(now: Sequence[Body], before: Sequence[Body], path: str) -> list[FieldError]:
    """Tolerations of a pod may be added, and their seconds changed."""

    def bare(toleration: Body) -> Body:
        return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}

    kept = [bare(each) for each in now]
    if any(bare(each) not in kept for each in before):
        said = "existing toleration can not be modified except its tolerationSeconds"
        return [forbidden(path, said)]
    return tolerations_errors(now, path)


def taints_errors(taints: Sequence[Body], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        here = f"{path}[{index}]"
        key, value, effect = (taint.get(field, "") for field in ("key", "value", "effect"))
        found += all_wrong(f"{here}.key", key, formats.label_key(key))
        if messages := formats.label_value(value):
            found.append(wrong(f"{here}.value", value, ";".join(messages)))
        if not effect:
            found.append(required(f"{here}.effect"))
        elif effect not in EFFECTS:
            found.append(unsupported(f"{here}.effect", effect, EFFECTS))
        if (key, effect) in seen:
            shown = {"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint.get("timeAdded")}
            same = duplicate(here, shown)
            found.append(FieldError(same.type, here, shown, "taints must be unique by key and effect pair"))
        seen.add((key, effect))
    return found


def affinity_errors(affinity: Body | None, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if node := (affinity or {}).get("nodeAffinity"):
        found += _node_affinity_errors(node, f"{path}.nodeAffinity")
    for kind in ("podAffinity", "podAntiAffinity"):
        given = (affinity or {}).get(kind) or {}
        here = f"{path}.{kind}"
        for index, term in enumerate(given.get(REQUIRED_TERMS) or ()):
            found += _pod_term_errors(term, f"{here}.{REQUIRED_TERMS}[{index}]")
        for index, weighted in enumerate(given.get(PREFERRED_TERMS) or ()):
            at = f"{here}.{PREFERRED_TERMS}[{index}]"
            found += _weight_errors(weighted, at)
            found += _pod_term_errors(weighted.get("podAffinityTerm") or {}, f"{at}.podAffinityTerm")
    return found


def _node_affinity_errors(node: Body, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if (needed := node.get(REQUIRED_TERMS)) is not None:
        here = f"{path}.{REQUIRED_TERMS}.nodeSelectorTerms"
        terms = needed.get("nodeSelectorTerms") or []
        if not terms:
            found.append(required(here, "must have at least one node selector term"))
        for index, term in enumerate(terms):
            found += _node_term_errors(term, f"{here}[{index}]", strict=True)
    for index, weighted in enumerate(node.get(PREFERRED_TERMS) or ()):
        at = f"{path}.{PREFERRED_TERMS}[{index}]"
        found += _weight_errors(weighted, at)
        found += _node_term_errors(weighted.get("preference") or {}, f"{at}.preference", strict=False)
    return found


def _weight_errors(weighted: Body, path: str) -> list[FieldError]:
    weight = weighted.get("weight", 0)
    return [] if 0 < weight <= 100 else [wrong(f"{path}.weight", weight, "must be in the range 1-100")]


def _node_term_errors(term: Body, path: str, strict: bool) -> list[FieldError]:
    found: list[FieldError] = []
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        found += _node_requirement_errors(requirement, f"{path}.matchExpressions[{index}]", strict)
    for index, requirement in enumerate(term.get("matchFields") or ()):
        found += _field_requirement_errors(requirement, f"{path}.matchFields[{index}]")
    return found


def _node_requirement_errors(requirement: Body, path: str, strict: bool) -> list[FieldError]:
    found: list[FieldError] = []
    operator, values, key = requirement.get("operator", ""), requirement.get("values") or [], requirement.get("key", "")
    if operator in ("In", "NotIn"):
        if not values:
            found.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            said = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            found.append(forbidden(f"{path}.values", said))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            said = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            found.append(required(f"{path}.values", said))
    else:
        found.append(wrong(f"{path}.operator", operator, "not a valid selector operator"))
    found += all_wrong(f"{path}.key", key, formats.label_key(key))
    for index, value in enumerate(values if strict else ()):
        found += all_wrong(f"{path}.values[{index}]", value, formats.label_value(value))
    return found


def _field_requirement_errors(requirement: Body, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    operator, values, key = requirement.get("operator", ""), requirement.get("values") or [], requirement.get("key", "")
    if operator not in ("In", "NotIn"):
        found.append(wrong(f"{path}.operator", operator, "not a valid selector operator"))
    elif len(values) != 1:
        said = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        found.append(required(f"{path}.values", said))
    if key != "metadata.name":
        return [*found, wrong(f"{path}.key", key, "not a valid field selector key")]
    for index, value in enumerate(values):
        found += all_wrong(f"{path}.values[{index}]", value, formats.dns_subdomain(value))
    return found


def _pod_term_errors(term: Body, path: str) -> list[FieldError]:
    found = selector_errors(term.get("labelSelector"), f"{path}.labelSelector")
    found += selector_errors(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for name in term.get("namespaces") or ():
        found += all_wrong(f"{path}.namespace", name, formats.dns_label(name))
    key = term.get("topologyKey", "")
    if not key:
        found.append(required(f"{path}.topologyKey", "can not be empty"))
    return found + all_wrong(f"{path}.topologyKey", key, formats.label_key(key))


def spread_errors(constraints: Sequence[Body], path: str) -> list[FieldError]:
    """topologySpreadConstraints."""
    found: list[FieldError] = []
    for index, constraint in enumerate(constraints):
        here = f"{path}[{index}]"
        key, action = constraint.get("topologyKey", ""), constraint.get("whenUnsatisfiable", "")
        if constraint.get("maxSkew", 0) <= 0:
            found.append(wrong(f"{here}.maxSkew", constraint.get("maxSkew", 0), "must be greater than zero"))
        if not key:
            found.append(required(f"{here}.topologyKey", "can not be empty"))
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            found.append(unsupported(f"{here}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway")))
        same = [(each.get("topologyKey", ""), each.get("whenUnsatisfiable", "")) for each in constraints[index + 1 :]]
        if (key, action) in same:
            found.append(duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
        found += _domains_errors(constraint.get("minDomains"), action, f"{here}.minDomains")
        for policy in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if (given := constraint.get(policy)) is not None and given not in ("Honor", "Ignore"):
                found.append(unsupported(f"{here}.{policy}", given, ("Honor", "Ignore")))
        found += selector_errors(constraint.get("labelSelector"), f"{here}.labelSelector")
    return found


def _domains_errors(domains: int | None, action: str, path: str) -> list[FieldError]:
    if domains is None:
        return []
    found = [] if domains > 0 else [wrong(path, domains, "must be greater than zero")]
    if action != "DoNotSchedule":
        said = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        found.append(wrong(path, domains, said))
    return found


def matches(selector: Body, labels: dict[str, str]) -> bool:
    """Does a label selector choose these labels? An empty selector chooses all."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for each in selector.get("matchExpressions") or ():
        value, values = labels.get(each["key"]), each.get("values") or ()
        fits = {
            "In": value in values,
            "NotIn": value is None or value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not fits.get(each["operator"], False):
            return False
    return True

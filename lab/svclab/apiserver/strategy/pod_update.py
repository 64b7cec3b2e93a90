"""What an update of a pod may change: images, deadline, tolerations, gates.

In: pods with their defaults. Out: errors in the API server's order and words; the last shows what differs.
Source: kubernetes pkg/apis/core/validation/validation.go (ValidatePodUpdate), v1.36.3.
"""

from __future__ import annotations

import re

from svclab.apiserver.strategy import metadata
from svclab.apiserver.strategy.errors import FieldError, forbidden, required, wrong
from svclab.apiserver.strategy.metadata import Body
from svclab.apiserver.strategy.pod_difference import difference
from svclab.apiserver.strategy.pod_rules import MOST_SECONDS, annotations_changes_errors, pod_errors
from svclab.apiserver.strategy.scheduling import added_tolerations_errors

CHANGEABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def update_errors(new: Body, old: Body) -> list[FieldError]:
    found = metadata.kind_update_errors(new, old) + pod_errors(new) + annotations_changes_errors(new, old)
    now, before = new["spec"], old["spec"]
    for kind in ("containers", "initContainers"):
        given, known = now.get(kind) or [], before.get(kind) or []
        if len(given) != len(known):
            return [*found, forbidden(f"spec.{kind}", "pod updates may not add or remove containers")]
        found += _images_errors(given, f"spec.{kind}")
    deadline, was = now.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    path = "spec.activeDeadlineSeconds"
    if deadline is not None:
        if not 0 <= deadline <= MOST_SECONDS:
            return [*found, wrong(path, deadline, f"must be between 0 and {MOST_SECONDS}, inclusive")]
        if was is not None and was < deadline:
            return [*found, wrong(path, deadline, "must be less than or equal to previous value")]
    elif was is not None:
        found.append(wrong(path, None, "must not update from a positive integer to nil value"))
    found += added_tolerations_errors(now.get("tolerations") or (), before.get("tolerations") or (), "spec.tolerations")
    found += _gates_errors(now, before)
    kept = _with_what_may_change(now, before)
    if kept != before:
        shown = difference(before, kept)
        found.append(forbidden("spec", f"pod updates may not change fields other than {CHANGEABLE}\n{shown}"))
    return found


def _images_errors(containers: list[Body], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, container in enumerate(containers):
        image = container.get("image", "")
        if not image:
            found.append(required(f"{path}[{index}].image"))
        if re.search(r"^\s|\s$", image):
            said = "must not have leading or trailing whitespace"
            found.append(wrong(f"{path}[{index}].image", image, said))
    return found


def _gates_errors(now: Body, before: Body) -> list[FieldError]:
    known = {gate["name"] for gate in before.get("schedulingGates") or ()}
    places = {gate["name"]: index for index, gate in enumerate(now.get("schedulingGates") or ())}
    said = "only deletion is allowed, but found new scheduling gate"
    return [
        forbidden(f"spec.schedulingGates[{index}].name", f"{said} '{name}'")
        for name, index in places.items()
        if name not in known
    ]


def _with_what_may_change(now: Body, before: Body) -> Body:
    """The new spec with the old values where a change is allowed; a difference that is left is forbidden."""
    kept = dict(now)
    for kind in ("containers", "initContainers"):
        if now.get(kind):
            pairs = zip(now[kind], before[kind], strict=True)
            kept[kind] = [_with_image(container, old) for container, old in pairs]
    for field in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        kept.pop(field, None)
        if field in before:
            kept[field] = before[field]
    if before.get("terminationGracePeriodSeconds", 0) < 0 and kept.get("terminationGracePeriodSeconds") == 1:
        kept["terminationGracePeriodSeconds"] = before["terminationGracePeriodSeconds"]
    if before.get("schedulingGates") and set(before.get("nodeSelector") or {}) <= set(now.get("nodeSelector") or {}):
        kept.pop("nodeSelector", None)
        if "nodeSelector" in before:
            kept["nodeSelector"] = before["nodeSelector"]
    return kept


def _with_image(container: Body, old: Body) -> Body:
    kept = {key: value for key, value in container.items() if key != "image"}
    return {**kept, "image": old["image"]} if "image" in old else kept

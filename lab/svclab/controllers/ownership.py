"""Who owns what: controller references, adoption and release. Pure.

A controller owns an object when the object's controllerRef has its uid. It adopts what its selector selects and nobody
controls, and releases what it controls and no longer selects (ControllerRefManager in Kubernetes).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from svclab.controllers.kinds import KINDS
from svclab.controllers.pods import is_terminating
from svclab.controllers.reduce import Body, Patch, Write, controller_of, key_of
from svclab.controllers.selection import labels_of, selects


class Claimed(msgspec.Struct, frozen=True):
    """What is owned after the writes, and the writes that make it so."""

    owned: list[Body]
    writes: list[Write]


def controller_reference(plural: str, owner: Body) -> Body:
    """The ownerReference of a controller, as `metav1.NewControllerRef` makes it."""
    kind = KINDS[plural]
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def claimed(
    owner: Body, owners: str, selector: Mapping[str, Any] | None, plural: str, candidates: Iterable[Body]
) -> Claimed:
    """`owners` is the owner's plural, `plural` that of the candidates, which are all of the same namespace."""
    result = Claimed([], [])
    reference = controller_reference(owners, owner)
    dying = is_terminating(owner)
    for body in candidates:
        metadata, of = body["metadata"], controller_of(body)
        fits = selects(selector, labels_of(body))
        references = metadata.get("ownerReferences") or []
        if of is not None:
            if of["uid"] != reference["uid"]:
                continue
            if fits:
                result.owned.append(body)
            elif not dying:
                kept = [one for one in references if one["uid"] != reference["uid"]]
                result.writes.append(_owned_by(kept, plural, body))
        elif fits and not dying and not is_terminating(body):
            adopted = [*(one for one in references if one["uid"] != reference["uid"]), reference]
            result.writes.append(_owned_by(adopted, plural, body))
            result.owned.append({**body, "metadata": {**metadata, "ownerReferences": adopted}})
    return result


def _owned_by(references: list[Body], plural: str, body: Body) -> Patch:
    metadata = body["metadata"]
    # A merge patch replaces the whole list, so it must not be applied to a list that we have not seen.
    change = {"ownerReferences": references or None, "resourceVersion": metadata.get("resourceVersion")}
    return Patch(plural, key_of(body), {"metadata": change}, uid=metadata["uid"])

"""The garbage collector: objects go with their owners. Pure.

In: every kind we know. Out: deletions, owner references taken off, finalizers removed. Three ways, as in Kubernetes:
background (the owner is gone, so dependents go), foreground (the owner waits, with a finalizer, for the dependents that
block it), orphan (dependents forget the owner). Owners of kinds we do not watch count as there. Before a dependent of
missing owners is deleted the server is asked whether they are missing indeed: our tables come from different watches.
"""

from __future__ import annotations

from collections.abc import Iterable

from svclab.controllers.kinds import KINDS, plural_of
from svclab.controllers.pods import is_terminating
from svclab.controllers.reduce import Body, Delete, Outcome, Patch, Seen, World, Write, key_of

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


class GarbageCollector:
    name = "garbage-collector-controller"
    watches = tuple(plural for plural in KINDS if plural != "events")

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        """Keys are `plural|namespace/name`."""
        keys = {f"{seen.resource}|{seen.key}"} if seen.new is not None and _matters(seen.new) else set()
        for body in (seen.old, seen.new):
            if body is None:
                continue
            if seen.new is None or is_terminating(seen.new):
                owned = world.owned_by(body["metadata"]["uid"])
                keys |= {f"{plural}|{key_of(one)}" for plural, one in owned}
            for reference in body["metadata"].get("ownerReferences") or ():
                owner = world.by_uid(reference["uid"])
                if owner is not None and is_terminating(owner[1]):  # it may be waiting for this one
                    keys.add(f"{owner[0]}|{key_of(owner[1])}")
        return sorted(keys)

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        plural, _, object_key = key.partition("|")
        body = world.get(plural, object_key)
        if body is None:
            return Outcome()
        finalizers = body["metadata"].get("finalizers") or []
        if not is_terminating(body):
            return Outcome(_dependent(plural, body, world))
        if ORPHAN in finalizers:
            return Outcome(_orphaning(plural, body, world))
        if FOREGROUND in finalizers:
            return Outcome(_waiting(plural, body, world))
        return Outcome()


def _matters(body: Body) -> bool:
    metadata = body["metadata"]
    return bool(metadata.get("ownerReferences")) or (is_terminating(body) and bool(metadata.get("finalizers")))


def _change(plural: str, body: Body, metadata: Body) -> Patch:
    change = {**metadata, "resourceVersion": body["metadata"].get("resourceVersion")}
    return Patch(plural, key_of(body), {"metadata": change}, uid=body["metadata"]["uid"])


def _without_finalizer(plural: str, body: Body, finalizer: str) -> Patch:
    left = [one for one in body["metadata"]["finalizers"] if one != finalizer]
    return _change(plural, body, {"finalizers": left or None})


def _orphaning(plural: str, owner: Body, world: World) -> tuple[Write, ...]:
    uid = owner["metadata"]["uid"]
    writes: list[Write] = []
    for kind, body in world.owned_by(uid):
        left = [one for one in body["metadata"]["ownerReferences"] if one["uid"] != uid]
        writes.append(_change(kind, body, {"ownerReferences": left or None}))
    return tuple(writes) or (_without_finalizer(plural, owner, ORPHAN),)


def _waiting(plural: str, owner: Body, world: World) -> tuple[Write, ...]:
    """Dependents delete themselves (`_dependent`); here it is only seen whether one still blocks."""
    uid = owner["metadata"]["uid"]
    references = (
        one
        for _, body in world.owned_by(uid)
        for one in body["metadata"]["ownerReferences"]
        if one["uid"] == uid and one.get("blockOwnerDeletion")
    )
    return () if any(references) else (_without_finalizer(plural, owner, FOREGROUND),)


def _dependent(plural: str, body: Body, world: World) -> tuple[Write, ...]:
    metadata = body["metadata"]
    references = metadata.get("ownerReferences") or []
    states = {one["uid"]: _state(one, metadata.get("namespace", ""), world) for one in references}
    solid = [one for one in references if states[one["uid"]] == "there"]
    if not references or len(solid) == len(references):
        return ()
    if solid:
        return (_change(plural, body, {"ownerReferences": solid}),)
    uid, finalizers = metadata["uid"], metadata.get("finalizers") or []
    if "waiting" in states.values():
        has_own = bool(world.owned_by(uid))
        return (Delete(plural, key_of(body), uid, propagation="Foreground" if has_own else "Background"),)
    policy = "Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers else "Background"
    absent = tuple(_place(one, metadata.get("namespace", "")) for one in references)
    return (Delete(plural, key_of(body), uid, propagation=policy, absent=absent),)


def _state(reference: Body, namespace: str, world: World) -> str:
    """Of an owner: "there", "waiting" (for its dependents to go), "gone"."""
    if not plural_of(reference["apiVersion"], reference["kind"]):
        return "there"
    plural, key, uid = _place(reference, namespace)
    owner = world.get(plural, key)
    if owner is None or owner["metadata"]["uid"] != uid:
        return "gone"
    return "waiting" if is_terminating(owner) and FOREGROUND in (owner["metadata"].get("finalizers") or ()) else "there"


def _place(reference: Body, namespace: str) -> tuple[str, str, str]:
    plural = plural_of(reference["apiVersion"], reference["kind"])
    key = f"{namespace}/{reference['name']}" if KINDS[plural].namespaced else reference["name"]
    return plural, key, reference["uid"]

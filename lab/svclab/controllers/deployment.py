"""The Deployment controller: one ReplicaSet per pod template, and the way from one to the next. Pure.

In: Deployments, their ReplicaSets and pods. Out: ReplicaSets made, scaled, annotated and cleaned up; status; events.
One call makes one step of the real controller's: what a step writes comes back as an event and leads to the next one.

The new ReplicaSet is the one whose template equals the Deployment's, whatever its hash says. So ReplicaSets that
another implementation made are taken over as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from svclab.controllers import progress, rollout
from svclab.controllers.conditions import condition
from svclab.controllers.hashing import template_hash
from svclab.controllers.ownership import claimed, controller_reference
from svclab.controllers.pods import ENDED, is_terminating, phase_of
from svclab.controllers.progress import PROGRESSING, with_condition
from svclab.controllers.reduce import (
    Body,
    Create,
    Delete,
    Outcome,
    Patch,
    Record,
    Seen,
    World,
    Write,
    controller_of,
    key_of,
)
from svclab.controllers.rollout import DESIRED, MAXIMUM, fences, replicas_of
from svclab.controllers.selection import labels_of, selects

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
HISTORY_LIMIT = 2000  # characters
NOT_COPIED = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    *(REVISION, HISTORY, DESIRED, MAXIMUM),
)
NAME_LIMIT = 253  # RFC 1123 subdomain


class DeploymentController:
    name = "deployment-controller"
    watches = ("deployments", "replicasets", "pods")

    def keys(self, seen: Seen, world: World) -> Iterable[str]:
        if seen.resource == "deployments":
            return (seen.key,)
        bodies = [body for body in (seen.old, seen.new) if body is not None]
        if seen.resource == "replicasets":
            return {key for body in bodies for key in _deployments_of(body, world)}
        if seen.new is not None:
            return ()
        # A pod that went may have been the last old one that a Recreate waits for.
        owners = (controller_of(body) for body in bodies)
        replicasets = (world.by_uid(owner["uid"]) for owner in owners if owner is not None)
        return {key for found in replicasets if found is not None for key in _deployments_of(found[1], world)}

    def reconcile(self, key: str, world: World, now: float) -> Outcome:
        deployment = world.get("deployments", key)
        if deployment is None:
            return Outcome()
        selector = deployment["spec"].get("selector")
        candidates = world.by_namespace("replicasets", deployment["metadata"]["namespace"])
        claim = claimed(deployment, "deployments", selector, "replicasets", candidates)
        step = _Step(deployment, claim.owned, world, now)
        if is_terminating(deployment):
            status = progress.counts(step.deployment, step.new, step.everything, now)
        else:
            status = step.made()
        return step.outcome(claim.writes, status)


def _deployments_of(replicaset: Body, world: World) -> list[str]:
    namespace = replicaset["metadata"]["namespace"]
    owner = controller_of(replicaset)
    if owner is not None:
        return [f"{namespace}/{owner['name']}"] if owner["kind"] == "Deployment" else []
    deployments = world.by_namespace("deployments", namespace)
    return [key_of(one) for one in deployments if selects(one["spec"].get("selector"), labels_of(replicaset))]


class _Step:
    """One reconciliation: its writes in order, and the ReplicaSets as they will be after them."""

    def __init__(self, deployment: Body, replicasets: list[Body], world: World, now: float) -> None:
        self.deployment = deployment  # its status changes as the step goes
        self.now = now
        self._world = world
        self._revision = ""  # the Deployment's own, if it is another one now
        self._shown: Body = deployment.get("status") or {}
        self._writes: list[Write] = []
        wanted = _plain(deployment["spec"]["template"])
        born = rollout.oldest_first(replicasets)
        self.new = next((one for one in born if _plain(one["spec"]["template"]) == wanted), None)
        self.old = [one for one in born if one is not self.new]

    @property
    def everything(self) -> list[Body]:
        return [*self.old, self.new] if self.new is not None else list(self.old)

    def made(self) -> Body:
        """Takes the step; returns the status to show."""
        paused = bool(self.deployment["spec"].get("paused"))
        self._note_pause(paused)
        if paused or self._is_scaling():
            self._sync_revision()
            self._scale()
            if paused:
                self._clean_up()
            return progress.counts(self.deployment, self.new, self.everything, self.now)
        if rollout.is_rolling(self.deployment):
            self._roll()
        else:
            self._recreate()
        return progress.rolled_out(self.deployment, self.new, self.everything, self.now)

    def outcome(self, claims: list[Write], status: Body) -> Outcome:
        writes = [*claims, *self._writes]
        change: Body = {}
        if difference := progress.difference(self._shown, status):
            change["status"] = difference
        if self._revision:
            # By way of the status: a Deployment whose annotations change otherwise gets a new generation.
            change["metadata"] = {"annotations": {REVISION: self._revision}}
        if change:
            key, uid = key_of(self.deployment), self.deployment["metadata"]["uid"]
            writes.append(Patch("deployments", key, change, "status", uid))
        return Outcome(tuple(writes), None if change else progress.next_look(self.deployment, status, self.now))

    def _set_progress(self, status: str, reason: str, message: str) -> None:
        now = self.deployment.get("status") or {}
        conditions = with_condition(now.get("conditions") or [], PROGRESSING, status, reason, message, self.now)
        self.deployment = {**self.deployment, "status": {**now, "conditions": conditions}}

    def _note_pause(self, paused: bool) -> None:
        if progress.deadline_of(self.deployment) is None:
            return
        current = condition((self.deployment.get("status") or {}).get("conditions") or (), PROGRESSING)
        reason = current.get("reason") if current is not None else None
        if reason == "ProgressDeadlineExceeded":
            return
        if paused and reason != "DeploymentPaused":
            self._set_progress("Unknown", "DeploymentPaused", "Deployment is paused")
        elif not paused and reason == "DeploymentPaused":
            self._set_progress("Unknown", "DeploymentResumed", "Deployment is resumed")

    def _is_scaling(self) -> bool:
        desired = replicas_of(self.deployment)
        said = (rollout.annotation(one, DESIRED) for one in self.everything if replicas_of(one) > 0)
        return any(number is not None and number != desired for number in said)

    # The new ReplicaSet

    def _sync_revision(self) -> None:
        """The new ReplicaSet, if it exists, has the highest revision and the Deployment's annotations."""
        if self.new is None:
            return
        annotations = _annotations_for(self.deployment, self.new, self._next_revision())
        wanted_seconds = self.deployment["spec"].get("minReadySeconds", 0)
        changed = annotations != (self.new["metadata"].get("annotations") or {})
        if changed or self.new["spec"].get("minReadySeconds", 0) != wanted_seconds:
            self.new = self._change(self.new, annotations, {"minReadySeconds": wanted_seconds})
        self._set_revision(annotations.get(REVISION, ""))
        current = condition((self.deployment.get("status") or {}).get("conditions") or (), PROGRESSING)
        if current is None and progress.deadline_of(self.deployment) is not None:
            found = f'Found new replica set "{self.new["metadata"]["name"]}"'
            self._set_progress("True", "FoundNewReplicaSet", found)

    def _next_revision(self) -> int:
        return max((rollout.annotation(one, REVISION) or 0 for one in self.old), default=0) + 1

    def _set_revision(self, revision: str) -> None:
        metadata = self.deployment["metadata"]
        if (metadata.get("annotations") or {}).get(REVISION) != revision:
            self._revision = revision

    def _create(self) -> None:
        deployment, template = self.deployment, self.deployment["spec"]["template"]
        collisions = (deployment.get("status") or {}).get("collisionCount")
        hashed, name = self._free_name(collisions)
        metadata = deployment["metadata"]
        labels = {**labels_of(template), HASH: hashed}
        selector = deployment["spec"].get("selector") or {}
        empty = {"metadata": {"name": name}, "spec": {"replicas": 0}}
        size = rollout.room_for_new(deployment, self.old, 0)
        revision = self._next_revision()
        body = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": labels,
                "annotations": {**_annotations_for(deployment, empty, revision), **self._size_annotations()},
                "ownerReferences": [controller_reference("deployments", deployment)],
            },
            "spec": {
                "replicas": size,
                "minReadySeconds": deployment["spec"].get("minReadySeconds", 0),
                "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH: hashed}},
                "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
            },
        }
        failed = f'Failed to create new replica set "{name}": '
        self._writes.append(
            Create("replicasets", body, otherwise=self._record("ReplicaSetCreateError", failed, "Warning"))
        )
        if size > 0:
            self._writes.append(self._record("ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {size}"))
        self._set_revision(str(revision))
        if progress.deadline_of(deployment) is not None:
            self._set_progress("True", "NewReplicaSetCreated", f'Created new replica set "{name}"')
        self.new = body

    def _free_name(self, collisions: int | None) -> tuple[str, str]:
        """Hash and name of the new ReplicaSet; another hash if the name is taken by one that is not ours."""
        metadata = self.deployment["metadata"]
        while True:
            hashed = template_hash(self.deployment["spec"]["template"], collisions)
            name = f"{metadata['name'][: NAME_LIMIT - 1 - len(hashed)]}-{hashed}"
            if self._world.get("replicasets", f"{metadata['namespace']}/{name}") is None:
                return hashed, name
            collisions = (collisions or 0) + 1
            status = {**(self.deployment.get("status") or {}), "collisionCount": collisions}
            self.deployment = {**self.deployment, "status": status}

    # Scaling

    def _size_annotations(self) -> dict[str, str]:
        return {DESIRED: str(replicas_of(self.deployment)), MAXIMUM: str(rollout.maximum(self.deployment))}

    def _scale_to(self, replicaset: Body, size: int, *, force: bool = False) -> bool:
        """Whether the size changes. With `force` the annotations are brought up to date even if it does not."""
        before = replicas_of(replicaset)
        old = replicaset["metadata"].get("annotations") or {}
        annotations = {**old, **self._size_annotations()}
        if before == size and not (force and annotations != old):
            return False
        changed = self._change(replicaset, annotations, {"replicas": size})
        if replicaset is self.new:
            self.new = changed
        else:
            self.old = [changed if one is replicaset else one for one in self.old]
        if before == size:
            return False
        name, way = replicaset["metadata"]["name"], "up" if before < size else "down"
        said = f"Scaled {way} replica set {name} from {before} to {size}"
        self._writes.append(self._record("ScalingReplicaSet", said))
        return True

    def _change(self, replicaset: Body, annotations: Mapping[str, str], spec: Mapping[str, Any]) -> Body:
        metadata = replicaset["metadata"]
        if "uid" in metadata:
            change = {"metadata": {"annotations": dict(annotations)}, "spec": dict(spec)}
            self._writes.append(Patch("replicasets", key_of(replicaset), change, uid=metadata["uid"]))
        return {
            **replicaset,
            "metadata": {**metadata, "annotations": dict(annotations)},
            "spec": {**replicaset["spec"], **spec},
        }

    def _scale(self) -> None:
        """Scaling from outside, in the middle of a rollout or not; no rollout goes on in this step."""
        active = [one for one in self.everything if replicas_of(one) > 0]
        if len(active) <= 1:
            youngest = self.new if self.new is not None else (self.old[-1] if self.old else None)
            target = active[0] if active else youngest
            if target is not None:
                self._scale_to(target, replicas_of(self.deployment))
        elif self._is_saturated():
            for one in [one for one in self.old if replicas_of(one) > 0]:
                self._scale_to(one, 0)
        elif rollout.is_rolling(self.deployment):
            sizes = rollout.proportional(self.deployment, active)
            for one in active:
                self._scale_to(one, sizes[one["metadata"]["name"]], force=True)

    def _is_saturated(self) -> bool:
        desired = replicas_of(self.deployment)
        return (
            self.new is not None
            and replicas_of(self.new) == desired
            and rollout.annotation(self.new, DESIRED) == desired
            and rollout.counted([self.new], "availableReplicas") == desired
        )

    # The two strategies

    def _roll(self) -> None:
        self._sync_revision()
        if self.new is None:
            self._create()
            return
        size, desired = replicas_of(self.new), replicas_of(self.deployment)
        if size != desired:
            room = rollout.room_for_new(self.deployment, self.everything, size)
            if self._scale_to(self.new, desired if size > desired else room):
                return
        if not self._shrink_old():
            self._clean_up_when_complete()

    def _shrink_old(self) -> bool:
        active = [one for one in self.old if replicas_of(one) > 0]
        if not active or self.new is None:
            return False
        least = replicas_of(self.deployment) - fences(self.deployment)[1]
        pending = replicas_of(self.new) - rollout.counted([self.new], "availableReplicas")
        spare = rollout.total(self.everything) - least - pending
        if spare <= 0:
            return False
        moved = False
        for one in active:  # pods that are not available cost nothing
            broken = replicas_of(one) - rollout.counted([one], "availableReplicas")
            gone = min(max(spare, 0), max(broken, 0))
            spare -= gone
            moved |= self._scale_to(one, replicas_of(one) - gone)
        names = {one["metadata"]["name"] for one in active}
        left = [one for one in self.old if one["metadata"]["name"] in names]
        surplus = rollout.counted([*left, self.new], "availableReplicas") - least
        for one in left:
            gone = min(max(surplus, 0), replicas_of(one))
            surplus -= gone
            moved |= self._scale_to(one, replicas_of(one) - gone)
        return moved

    def _recreate(self) -> None:
        self._sync_revision()
        if any([self._scale_to(one, 0) for one in self.old if replicas_of(one) > 0]):  # noqa: C419  # all of them
            return
        if rollout.counted(self.old, "replicas") > 0 or any(_has_pods(one, self._world) for one in self.old):
            return
        if self.new is None:
            self._create()
            return
        if not self._scale_to(self.new, replicas_of(self.deployment)):
            self._clean_up_when_complete()

    def _clean_up_when_complete(self) -> None:
        if progress.is_complete(self.deployment, self.deployment.get("status") or {}):
            self._clean_up()

    def _clean_up(self) -> None:
        limit = self.deployment["spec"].get("revisionHistoryLimit")
        alive = [one for one in self.old if not is_terminating(one)]
        if limit is None:
            return
        by_revision = sorted(alive, key=lambda one: rollout.annotation(one, REVISION) or 0)
        for one in by_revision[: max(len(alive) - limit, 0)]:
            status = one.get("status") or {}
            observed = (status.get("observedGeneration") or 0) >= one["metadata"].get("generation", 0)
            if replicas_of(one) == 0 and not status.get("replicas") and observed:
                self._writes.append(Delete("replicasets", key_of(one), one["metadata"]["uid"]))

    def _record(self, reason: str, message: str, type_: str = "Normal") -> Record:
        return Record(self.deployment, type_, reason, message, DeploymentController.name)


def _plain(template: Body) -> Body:
    """The template without the label that tells ReplicaSets apart, and without what means nothing."""
    metadata = {name: value for name, value in (template.get("metadata") or {}).items() if value}
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if name != HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}


def _annotations_for(deployment: Body, replicaset: Body, revision: int) -> dict[str, str]:
    """The ReplicaSet's annotations: the Deployment's, and its revision, with the ones it had before."""
    copied = deployment["metadata"].get("annotations") or {}
    old: dict[str, str] = replicaset["metadata"].get("annotations") or {}
    annotations = {**old, **{name: value for name, value in copied.items() if name not in NOT_COPIED}}
    before = old.get(REVISION, "")
    if before and not before.isdecimal():
        return annotations
    if int(before or 0) < revision:
        annotations[REVISION] = str(revision)
        if before:
            history = [*filter(None, old.get(HISTORY, "").split(",")), before]
            while len(",".join(history)) > HISTORY_LIMIT:
                history = history[1:]
            annotations[HISTORY] = ",".join(history)
    return annotations


def _has_pods(replicaset: Body, world: World) -> bool:
    owned = world.owned_by(replicaset["metadata"]["uid"])
    return any(plural == "pods" and phase_of(pod) not in ENDED for plural, pod in owned)

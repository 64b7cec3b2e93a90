"""What requests do to the objects: create, update, patch and delete, as the API server's registry does them.

In: a `Target`, a decoded object or a patch, options, and the `Moment`: time, a new uid and dice. Out: `Answer`; what
changed is in the state, and in `taken`, which the caller writes to disk before it answers. Refused by `StatusError`:
whatever the real server refuses, in its words. Pure: the same calls with the same moments give the same state.

The order of an update is the registry's: namespace, name, uid, resourceVersion, then the strategy. An object whose
last finalizer goes while it is being deleted is removed by that update.

Source: apiserver pkg/registry/generic/registry/store.go, pkg/registry/rest, v0.36.3.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec

from svclab.apiserver import failures
from svclab.apiserver.failures import StatusError
from svclab.apiserver.options import Deleting, Writing
from svclab.apiserver.resources import Resource, Served, Target, strategy_of
from svclab.apiserver.schema import Schema
from svclab.apiserver.state import Change, State, Stored, versioned
from svclab.apiserver.strategy import RefusedError, Strategy, allocation
from svclab.apiserver.strategy.errors import FieldError, invalid, wrong

Body: TypeAlias = dict[str, Any]

GENERATED = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words
GENERATED_FROM = 58  # of 63 characters, five are ours
TRIES = 8
WITH_GENERATION = {
    *("/pods", "apps/deployments", "apps/replicasets", "discovery.k8s.io/endpointslices"),
    "networking.k8s.io/networkpolicies",
}
SERVICES = "/services"
OTHER_NAMESPACE = "the namespace of the provided object does not match the namespace sent on the request"
IMMORTAL = ("default", "kube-system", "kube-public")
# Deleting one of these leaves its dependents to the garbage collector, unless the client says something else.
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
RETURNED = {"/pods", "/services", "/serviceaccounts", "/namespaces"}  # deleting them answers with the object
METADATA = (
    *("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp"),
    *("deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers"),
)
WIPED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields")


class Moment(msgspec.Struct, frozen=True):
    """What a request needs from outside: seconds since 1970, a uid, and a number from 0 up to its argument."""

    now: float
    uid: str
    dice: Callable[[int], int]

    @property
    def time(self) -> str:
        return datetime.fromtimestamp(self.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Answer(msgspec.Struct, frozen=True):
    """`stored` is there if the answer is an object that is kept: its bytes are made already."""

    code: int
    body: Body
    stored: Stored | None = None
    warnings: tuple[str, ...] = ()


class Verbs:
    """The writing verbs over one state."""

    def __init__(self, schema: Schema, served: Served, state: State, ranges: allocation.Ranges) -> None:
        self.schema = schema
        self.served = served
        self.state = state
        self._ranges = ranges
        self._holdings = allocation.Holdings(one.body for one in state.objects(SERVICES))
        self._changes: list[Change] = []

    def taken(self) -> list[Change]:
        """What has changed since the last call. The caller writes it down, then tells the watchers."""
        changes, self._changes = self._changes, []
        return changes

    # What others build on

    def stored(self, target: Target) -> Stored:
        """Raises StatusError: not found."""
        found = self.state.get(target.resource.store, target.key)
        if found is None:
            raise failures.not_found(target.resource.plural, target.resource.group, target.name)
        return found

    def admit_update(self, target: Target) -> None:
        """Raises StatusError where nothing may be changed: the namespace is not there."""
        self._admit_namespace(target, creating=False)

    def create(self, target: Target, sent: Body, options: Writing, moment: Moment) -> Answer:
        """`sent` is decoded and may be changed. Raises StatusError."""
        resource = target.resource
        head = {"kind": resource.kind, "apiVersion": resource.api_version}
        obj = {**head, **sent, "metadata": {**(sent.get("metadata") or {})}}
        metadata = obj["metadata"]
        version = metadata.pop("resourceVersion", "") or ""
        for key in WIPED:
            metadata.pop(key, None)
        _match_namespace(metadata, target.namespace if resource.namespaced else "")
        self._admit_namespace(target, creating=True, name=metadata.get("name") or "")
        strategy = strategy_of(resource)
        for attempt in range(TRIES):
            named = _named(obj, moment)
            made, warnings = self._made(target, strategy, named, options, moment)
            if version not in ("", "0"):
                raise failures.internal("resourceVersion should not be set on objects to be created")
            key = resource.key(target.namespace, made["metadata"]["name"])
            if self.state.get(resource.store, key) is None:
                stored = self._write(resource, key, made, options)
                return Answer(201, stored.body, stored, warnings)
            if not metadata.get("generateName") or metadata.get("name") or attempt == TRIES - 1:
                break
        there = self.state.get(resource.store, key)
        going = there is not None and "deletionTimestamp" in there.body["metadata"]
        raise failures.already_exists(resource.plural, resource.group, made["metadata"]["name"], going=going)

    def update(self, target: Target, sent: Body, options: Writing, moment: Moment) -> Answer:
        """PUT of an object or of its status. Raises StatusError."""
        resource = target.resource
        metadata = {**(sent.get("metadata") or {})}
        namespace = metadata.get("namespace") or ""
        if resource.namespaced and namespace and namespace != target.namespace:
            raise failures.bad_request(OTHER_NAMESPACE)
        name = metadata.get("name") or ""
        if name != target.name:
            said = f"the name of the object ({name}) does not match the name on the URL ({target.name})"
            if not name:
                said = f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
            raise failures.bad_request(said)
        old = self.state.get(resource.store, target.key)
        strategy = strategy_of(resource)
        if old is None and strategy.created_by_update and not resource.subresource:
            made = self.create(target, {**sent, "metadata": metadata}, options, moment)
            return msgspec.structs.replace(made, code=201)
        if old is None:
            raise failures.not_found(resource.plural, resource.group, target.name)
        uid = metadata.get("uid")
        if uid and uid != old.body["metadata"]["uid"]:
            said = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old.body['metadata']['uid']}"
            where = f"Code: 4, Key: /registry/{_registry(resource)}/{target.key}, ResourceVersion: 0"
            said = f"StorageError: invalid object, {where}, AdditionalErrorMsg: {said}"
            raise failures.conflict(resource.plural, resource.group, target.name, said)
        return self.replaced(target, {**sent, "metadata": metadata}, old, options, moment)

    def replaced(
        self, target: Target, new: Body, old: Stored, options: Writing, moment: Moment, code: int = 200
    ) -> Answer:
        """Puts `new` in the place of `old`, with all that an update checks. Raises StatusError."""
        resource = target.resource
        strategy = strategy_of(resource)
        self._admit_namespace(target, creating=False)
        _check_version(resource, strategy, new, old, target.name)
        _match_namespace(new["metadata"], target.namespace if resource.namespaced else "")
        before = old.body["metadata"]
        kept, warnings = self._kept(target, strategy, new, old.body, options, moment)
        if options.dry_run:
            body = versioned(kept, old.revision)
            return Answer(code, body, Stored(body, old.revision), warnings)
        if _ends_now(kept, before) and not (resource.store == "/namespaces" and kept["spec"].get("finalizers")):
            change = self._recorded(self.state.remove(resource.store, target.key, kept))
            return Answer(code, change.new.body, change.new, warnings)
        if _same(kept, old.body):
            return Answer(code, old.body, old, warnings)
        stored = self._write(resource, target.key, kept, options)
        return Answer(code, stored.body, stored, warnings)

    def rewrite(self, target: Target, body: Body) -> Stored:
        """Stores what a subresource has made of an object that has been checked before."""
        kept = strategy_of(target.resource).ordered(body)
        return self._write(target.resource, target.key, kept, Writing())

    # Deleting

    def delete(self, target: Target, options: Deleting, moment: Moment) -> Answer:
        """One object, at once or in time. Raises StatusError."""
        resource = target.resource
        if resource.store == "/namespaces" and target.name in IMMORTAL:
            raise failures.forbidden("namespaces", "", target.name, "this namespace may not be deleted")
        old = self.stored(target)
        _check_preconditions(resource, options, old.body, target.name)
        marked = _marked(resource, old.body, options, moment)
        if marked is not None and _waits(resource, marked):
            return self._kept_deleting(target, old, marked, options)
        if options.dry_run:
            return self._deleted(resource, marked or old.body, None, done=True)
        if marked is not None and not _same(marked, old.body):
            self._recorded(self.state.write(resource.store, target.key, marked))
        change = self._recorded(self.state.remove(resource.store, target.key))
        return self._deleted(resource, change.new.body, change.new, done=True)

    def _kept_deleting(self, target: Target, old: Stored, marked: Body, options: Deleting) -> Answer:
        if _same(marked, old.body):
            return self._deleted(target.resource, old.body, old, done=False)
        if options.dry_run:
            return self._deleted(target.resource, marked, None, done=False)
        change = self._recorded(self.state.write(target.resource.store, target.key, marked))
        return self._deleted(target.resource, change.new.body, change.new, done=False)

    def _deleted(self, resource: Resource, body: Body, stored: Stored | None, *, done: bool) -> Answer:
        if not done or resource.store in RETURNED:
            return Answer(200, body, stored)
        metadata = body["metadata"]
        details = failures.about(resource.plural, resource.group, metadata["name"], metadata["uid"])
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return Answer(200, status)

    # Steps of writing

    def _made(
        self, target: Target, strategy: Strategy, obj: Body, options: Writing, moment: Moment
    ) -> tuple[Body, tuple[str, ...]]:
        """A new object as it would be stored, and warnings. Raises StatusError: not valid."""
        resource = target.resource
        made = strategy.defaulted(obj)
        metadata = {**made["metadata"], "uid": moment.uid, "creationTimestamp": moment.time}
        if resource.store in WITH_GENERATION:
            metadata["generation"] = 1
        made = {**made, "metadata": arranged(metadata)}
        made = self._admitted(resource, strategy, made, None)
        made = self._allocated(resource, made, None, options, moment)
        made = strategy.prepared_for_create(made)
        _refuse(resource, strategy.create_errors(made), made)
        return strategy.ordered(made), tuple(strategy.warnings(made, None))

    def _kept(
        self, target: Target, strategy: Strategy, new: Body, old: Body, options: Writing, moment: Moment
    ) -> tuple[Body, tuple[str, ...]]:
        resource = target.resource
        before = old["metadata"]
        kept = strategy.defaulted({"kind": old["kind"], "apiVersion": old["apiVersion"], **new})
        metadata = {**kept["metadata"], "creationTimestamp": before["creationTimestamp"]}
        metadata.pop("managedFields", None)
        metadata["uid"] = metadata.get("uid") or before["uid"]
        metadata["resourceVersion"] = before["resourceVersion"]
        for key in ("generation", "deletionTimestamp", "deletionGracePeriodSeconds"):
            metadata.pop(key, None)
            if key in before:
                metadata[key] = before[key]
        kept = {**kept, "metadata": metadata}
        if not resource.subresource:
            kept = self._admitted(resource, strategy, kept, old)
            kept = self._allocated(resource, kept, old, options, moment)
        kept = strategy.prepared_for_update(kept, old, resource.subresource)
        status_only = resource.subresource == "status"
        if resource.store in WITH_GENERATION and not status_only and strategy.spec_changed(kept, old):
            kept = {**kept, "metadata": {**kept["metadata"], "generation": before.get("generation", 0) + 1}}
        _refuse(resource, strategy.update_errors(kept, old, resource.subresource), kept)
        kept = strategy.ordered(kept)
        return kept, tuple(strategy.warnings(kept, old))

    def _allocated(self, resource: Resource, service: Body, old: Body | None, options: Writing, moment: Moment) -> Body:
        if resource.store != SERVICES:
            return service
        used = self._holdings.of_others(old)
        try:
            found = allocation.allocated(service, old, used, self._ranges, moment.dice, options.dry_run)
        except allocation.AllocationError as error:
            raise failures.internal_error(str(error)) from error
        if isinstance(found, list):
            _refuse(resource, found, service)
            return service
        return found

    def _write(self, resource: Resource, key: str, body: Body, options: Writing) -> Stored:
        if options.dry_run:
            return Stored(body, 0)
        return self._recorded(self.state.write(resource.store, key, body)).new

    def _recorded(self, change: Change) -> Change:
        """Every change of the state comes by here."""
        self._changes.append(change)
        if change.resource == SERVICES:
            old = change.old.body if change.old else None
            self._holdings.changed(old, None if change.removed else change.new.body)
        return change

    def _admit_namespace(self, target: Target, *, creating: bool, name: str = "") -> None:
        """NamespaceLifecycle: nothing is written into a namespace that is not there, nothing new into one that goes."""
        resource = target.resource
        if not resource.namespaced:
            return
        namespace = self.state.get("/namespaces", target.namespace)
        if namespace is None:
            raise failures.not_found("namespaces", "", target.namespace)
        if creating and namespace.body.get("status", {}).get("phase") == "Terminating":
            said = f"unable to create new content in namespace {target.namespace} because it is being terminated"
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {target.namespace} is being terminated",
                "field": "metadata.namespace",
            }
            raise failures.forbidden(resource.plural, resource.group, name, said, [cause])

    def _admitted(self, resource: Resource, strategy: Strategy, obj: Body, old: Body | None) -> Body:
        """With what admission adds. Raises StatusError, also where a pod's service account is not there."""
        metadata, account = obj["metadata"], None
        name = strategy.wants_account(obj) if old is None else ""
        if name:
            key = f"{metadata['namespace']}/{name}"
            found = self.state.get("/serviceaccounts", key)
            if found is None:
                said = f'error looking up service account {key}: serviceaccount "{name}" not found'
                raise failures.forbidden("pods", "", metadata.get("name", ""), said)
            account = found.body
        try:
            return strategy.admitted(obj, old, account)
        except RefusedError as error:
            name = metadata.get("name", "")
            raise failures.forbidden(resource.plural, resource.group, name, str(error)) from error


def arranged(metadata: Body) -> Body:
    """In the order in which Go writes it."""
    known = {key: metadata[key] for key in METADATA if key in metadata}
    return known | {key: value for key, value in metadata.items() if key not in known}


def _match_namespace(metadata: Body, namespace: str) -> None:
    said = metadata.get("namespace") or ""
    if said and said != namespace:
        raise failures.bad_request(OTHER_NAMESPACE)
    if namespace:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)


def _registry(resource: Resource) -> str:
    """Where etcd would have it: some error messages show that."""
    known = {"services": "services/specs", "endpoints": "services/endpoints", "nodes": "minions"}
    return known.get(resource.plural, resource.plural)


def _named(obj: Body, moment: Moment) -> Body:
    metadata = obj["metadata"]
    if metadata.get("name") or not metadata.get("generateName"):
        return obj
    base = str(metadata["generateName"])[:GENERATED_FROM]
    name = base + "".join(GENERATED[moment.dice(len(GENERATED))] for _ in range(5))
    return {**obj, "metadata": {**metadata, "name": name}}


def _refuse(resource: Resource, errors: list[FieldError], body: Body) -> None:
    if errors:
        raise StatusError(invalid(resource.kind, resource.kind_group, body["metadata"].get("name", ""), errors))


def _check_version(resource: Resource, strategy: Strategy, new: Body, old: Stored, name: str) -> None:
    version = new["metadata"].get("resourceVersion") or ""
    if version and not (version.isascii() and version.isdigit()):
        raise failures.internal(f'strconv.ParseUint: parsing "{version}": invalid syntax')
    if not version or int(version) == 0:
        if strategy.unconditional:
            return
        error = wrong("metadata.resourceVersion", 0, "must be specified for an update")
        raise StatusError(invalid(resource.plural, resource.group, name, [error]))
    if int(version) != old.revision:
        raise failures.conflict(resource.plural, resource.group, name, failures.MODIFIED)


def _same(new: Body, old: Body) -> bool:
    """Equal but for the resourceVersion: then nothing is written, and watchers hear nothing."""
    if {**new, "metadata": 0} != {**old, "metadata": 0}:
        return False
    one, other = dict(new["metadata"]), dict(old["metadata"])
    one.pop("resourceVersion", None)
    other.pop("resourceVersion", None)
    return one == other


def _ends_now(new: Body, before: Body) -> bool:
    if new["metadata"].get("finalizers") or "deletionTimestamp" not in before:
        return False
    return not before.get("deletionGracePeriodSeconds")


def _check_preconditions(resource: Resource, options: Deleting, body: Body, name: str) -> None:
    metadata = body["metadata"]
    # The registry's own check speaks of kinds, that of namespaces and of the storage of resources.
    what = resource.plural if resource.store == "/namespaces" else resource.kind
    for said, field, found in (
        (options.uid, "UID", metadata["uid"]),
        (options.version, "ResourceVersion", metadata["resourceVersion"]),
    ):
        if said is None or said == found:
            continue
        if resource.store == "/namespaces":
            why = f"Precondition failed: {field} in precondition: {said}, {field} in object meta: {found}"
        else:
            end = "deleted and then recreated" if field == "UID" else "modified"
            why = f"the {field} in the precondition ({said}) does not match the {field} in record ({found}). "
            why += f"The object might have been {end}"
        raise failures.conflict(what, resource.group, name, why)


def _marked(resource: Resource, old: Body, options: Deleting, moment: Moment) -> Body | None:
    """The object as its deletion leaves it, None if it just goes; the same as `old` if it goes already."""
    metadata = old["metadata"]
    if resource.store == "/namespaces":
        return _terminating(old, options, moment)
    graceful = resource.store == "/pods"
    if graceful and "deletionTimestamp" in metadata and metadata.get("deletionGracePeriodSeconds"):
        return _shortened(old, options, moment)
    finalizers = _finalizers(metadata.get("finalizers", []), options)
    changed = {**metadata, "finalizers": finalizers}
    if not finalizers:
        del changed["finalizers"]
    grace = _grace(old, options) if graceful and "deletionTimestamp" not in metadata else 0
    if not graceful and not finalizers:
        return None
    if "deletionTimestamp" not in metadata and "generation" in metadata:
        changed["generation"] = metadata["generation"] + 1
    when = msgspec.structs.replace(moment, now=moment.now + grace).time
    changed["deletionTimestamp"] = min(metadata.get("deletionTimestamp", when), when)
    changed["deletionGracePeriodSeconds"] = grace
    return {**old, "metadata": arranged(changed)}


def _terminating(old: Body, options: Deleting, moment: Moment) -> Body | None:
    metadata = old["metadata"]
    if "deletionTimestamp" in metadata:
        return old if old.get("spec", {}).get("finalizers") or metadata.get("finalizers") else None
    changed = {**metadata, "deletionTimestamp": moment.time}
    finalizers = _finalizers(metadata.get("finalizers", []), options)
    if finalizers:
        changed["finalizers"] = finalizers
    status = {**old.get("status", {}), "phase": "Terminating"}
    return {**old, "metadata": arranged(changed), "status": status}


def _shortened(old: Body, options: Deleting, moment: Moment) -> Body:
    """A pod that is being deleted: its grace period may only become shorter."""
    metadata = old["metadata"]
    period: int = metadata["deletionGracePeriodSeconds"]
    grace = period if options.grace is None else 1 if options.grace < 0 else options.grace
    if grace >= period:
        return old
    ends = datetime.fromisoformat(metadata["deletionTimestamp"]).timestamp() - period + grace
    if ends < int(moment.now):
        ends, grace = moment.now, min(grace, 1)
    when = msgspec.structs.replace(moment, now=ends).time
    changed = {**metadata, "deletionTimestamp": when, "deletionGracePeriodSeconds": grace}
    return {**old, "metadata": changed}


def _grace(pod: Body, options: Deleting) -> int:
    """How long a pod has to end. Nobody has to wait for one that no kubelet has, or that has ended."""
    if not pod["spec"].get("nodeName") or pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
        return 0
    asked = pod["spec"].get("terminationGracePeriodSeconds", 0) if options.grace is None else options.grace
    return 1 if asked < 0 else int(asked)


def _finalizers(present: list[str], options: Deleting) -> list[str]:
    """With the garbage collector's two, as the propagation policy wants them."""
    policy = options.policy
    if options.orphan is not None:
        policy = "Orphan" if options.orphan else "Background"
    if policy is None:
        return present
    kept = [one for one in present if one not in (ORPHAN, FOREGROUND)]
    wanted = {"Orphan": [ORPHAN], "Foreground": [FOREGROUND]}.get(policy, [])
    return present if sorted(kept + wanted) == sorted(present) else kept + wanted


def _waits(resource: Resource, marked: Body) -> bool:
    """Is the object kept until somebody else lets it go?"""
    if resource.store == "/namespaces":
        return True
    metadata = marked["metadata"]
    return bool(metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds"))

"""Reading: single objects, lists with pages, and what a watch begins with.

In: the state, a target, listing options. Out: objects and list metadata. Refused: selectors that do not parse,
versions that have not come yet or are no longer known, continue tokens that are none. Source: apiserver
pkg/storage/continue.go, pkg/storage/cacher, v0.36.3.
"""

from __future__ import annotations

import base64
import json
from typing import Any, TypeAlias

import msgspec

from svclab.apiserver import go_json
from svclab.apiserver.failures import StatusError, bad_request, expired, future_version, status
from svclab.apiserver.options import Listing
from svclab.apiserver.resources import Resource, Target
from svclab.apiserver.selectors import Selection, SelectorError, parsed_fields, parsed_labels, supported_fields
from svclab.apiserver.state import Change, ExpiredError, State, Stored

Body: TypeAlias = dict[str, Any]

TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
NOT_A_SELECTOR = '"{}" is not a known field selector: only "metadata.name", "metadata.namespace"'
HAS_CONVERSION = {"/pods", "/nodes", "/namespaces", "/secrets", "/services", "/events"}


class Page(msgspec.Struct, frozen=True):
    """A list, or one page of it. `metadata` is the list's."""

    items: tuple[Stored, ...]
    metadata: Body
    revision: int


def selection(target: Target, asked: Listing) -> Selection:
    """Raises StatusError."""
    resource = target.resource
    kind = f"{resource.group}/{resource.plural}"
    unknown = "field label not supported: {}" if resource.store in HAS_CONVERSION else NOT_A_SELECTOR
    try:
        labels = parsed_labels(asked.labels)
        fields = parsed_fields(asked.fields, supported_fields(kind, resource.namespaced), unknown)
    except SelectorError as error:
        raise bad_request(str(error)) from error
    if target.name:
        said = parsed_fields(f"metadata.name={target.name}", {"metadata.name": str}, "")
        if fields and fields != said:
            raise bad_request("fieldSelector metadata.name doesn't match requested name")
        fields = said
    return Selection(kind, labels, fields)


def listed(state: State, target: Target, asked: Listing) -> Page:
    """Raises StatusError."""
    resource = target.resource
    chosen = selection(target, asked)
    namespace = target.namespace if resource.namespaced else ""
    revision, start = state.revision, ""
    if asked.continue_:
        revision, start = _continued(asked)
        revision = revision if revision > 0 else state.revision
    elif asked.version is not None:
        check_not_future(state, asked.version)
        exact = asked.match == "Exact" or (not asked.match and asked.limit and asked.version > 0)
        revision = asked.version if exact else state.revision
    try:
        found = state.objects_at(resource.store, namespace, revision)
    except ExpiredError as error:
        if asked.continue_:
            token = _token(-1, start)
            raise StatusError({**status(410, "Expired", TOO_OLD), "metadata": {"continue": token}}) from error
        raise expired("The resourceVersion for the provided list is too old.") from error
    if start:
        found = [one for one in found if _place(resource, one) >= start]
    if chosen:
        found = [one for one in found if chosen.selects(one.body)]
    metadata: Body = {"resourceVersion": str(revision)}
    limit = max(asked.limit, 0)
    if limit and len(found) > limit and not (asked.version == 0 and not asked.match):
        metadata["continue"] = _token(revision, _place(resource, found[limit - 1]) + "\0")
        if not chosen:
            metadata["remainingItemCount"] = len(found) - limit
        found = found[:limit]
    return Page(tuple(found), metadata, revision)


def check_not_future(state: State, version: int) -> None:
    """Raises StatusError."""
    if version > state.revision:
        raise future_version(version, state.revision)


def seen(change: Change, chosen: Selection, namespace: str) -> tuple[str, Stored] | None:
    """What a watch with this selection sees of a change: the event's type and the object; None for nothing.

    An object that stops being selected is DELETED, with its last selected body and the revision of the change.
    """
    if namespace and not change.key.startswith(f"{namespace}/"):
        return None
    before = change.old is not None and chosen.selects(change.old.body)
    now = not change.removed and chosen.selects(change.new.body)
    if now:
        return ("MODIFIED" if before else "ADDED"), change.new
    if not before or change.old is None:
        return None
    if change.removed:
        return "DELETED", change.new
    old = change.old.body
    last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(change.revision)}}
    return "DELETED", Stored(last, change.revision)


def event(type_: str, stored: Stored) -> bytes:
    return b'{"type":"' + type_.encode() + b'","object":' + stored.encoded + b"}\n"


def bookmark(resource: Resource, revision: int, *, initial_ends: bool = False) -> bytes:
    """Where a watch stands; the first one says that everything that existed has been sent."""
    metadata: Body = {"resourceVersion": str(revision)}
    if initial_ends:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    body: Body = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    return go_json.encoded({"type": "BOOKMARK", "object": body}) + b"\n"


def error_event(refused: StatusError) -> bytes:
    return go_json.encoded({"type": "ERROR", "object": refused.status}) + b"\n"


def _place(resource: Resource, stored: Stored) -> str:
    metadata = stored.body["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if resource.namespaced else str(metadata["name"])


def _token(revision: int, start: str) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _continued(asked: Listing) -> tuple[int, str]:
    where = "invalid continue token: continue key is not valid"
    try:
        data = base64.urlsafe_b64decode(asked.continue_ + "=" * (-len(asked.continue_) % 4))
        token = go_json.decoded(data.decode("latin-1").encode())  # Go's messages speak of single bytes
    except go_json.JsonError as error:
        raise bad_request(f"{where}: {error}") from error
    except ValueError as error:
        raise bad_request(f"{where}: illegal base64 data at input byte 0") from error
    if not isinstance(token, dict) or token.get("v") != "meta.k8s.io/v1":
        raise bad_request(f"{where}: server does not recognize this encoded version ")
    revision, start = token.get("rv"), token.get("start")
    if not isinstance(revision, int) or revision == 0:
        raise bad_request(f"{where}: incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    if not isinstance(start, str) or not start:
        raise bad_request(f"{where}: encoded start key empty (version meta.k8s.io/v1)")
    if asked.version:
        raise bad_request("specifying resource version is not allowed when using continue")
    return revision, start

"""Writes as values → requests. In: an Access and a Write. Out: what the server stored, or why it did not.

Refused: Records (see `recorder`). Nothing is tried twice here.
"""

from __future__ import annotations

import http.client
from typing import Any

import msgspec

from svckube.access import Access, AccessError
from svclab.controllers.kinds import KINDS
from svclab.controllers.reduce import Body, Create, Delete, DeleteAll, Patch, Update, Write, key_of

_json = msgspec.json.Decoder()


class Answer(msgspec.Struct, frozen=True):
    """`body` is None if the object is gone; then `uid` tells which it was, "" for any."""

    resource: str
    key: str
    body: Body | None = None
    uid: str = ""


class OwnerThereError(Exception):
    """An owner that should be missing exists: its message names it."""


def perform(access: Access, write: Write) -> Answer | None:
    """None where the answer says nothing about an object. Raises AccessError, OwnerThereError."""
    match write:
        case Create():
            return _created(access, write)
        case Update(resource, body, subresource):
            path = KINDS[resource].object(key_of(body), subresource)
            return _stored(resource, access.update(path, _encoded(_whole(resource, body))))
        case Patch(resource, key, patch, subresource, uid):
            if uid:
                patch = {**patch, "metadata": {**(patch.get("metadata") or {}), "uid": uid}}
            path = KINDS[resource].object(key, subresource)
            return _stored(resource, access.patch(path, _encoded(patch)))
        case Delete():
            return _deleted(access, write)
        case DeleteAll(resource, namespace):
            access.delete(KINDS[resource].collection(namespace))
    return None


def fetch(access: Access, resource: str, key: str) -> Answer:
    """How the object is now. Raises AccessError, but not for a missing one."""
    try:
        return _stored(resource, access.get(KINDS[resource].object(key)))
    except AccessError as error:
        if error.status != http.client.NOT_FOUND:
            raise
        return Answer(resource, key)


def _created(access: Access, write: Create) -> Answer | None:
    kind, metadata = KINDS[write.resource], write.body["metadata"]
    if write.subresource:
        access.create(kind.object(key_of(write.body), write.subresource), _encoded(write.body))
        return None
    body = _whole(write.resource, write.body)
    return _stored(write.resource, access.create(kind.collection(metadata.get("namespace", "")), _encoded(body)))


def _deleted(access: Access, write: Delete) -> Answer:
    for plural, key, uid in write.absent:
        found = fetch(access, plural, key).body
        if found is not None and found["metadata"]["uid"] == uid:
            raise OwnerThereError(f"{plural} {key} exists")
    options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1"}
    if write.uid:
        options["preconditions"] = {"uid": write.uid}
    if write.grace_seconds is not None:
        options["gracePeriodSeconds"] = write.grace_seconds
    if write.propagation:
        options["propagationPolicy"] = write.propagation
    body = _json.decode(access.delete(KINDS[write.resource].object(write.key), _encoded(options)))
    metadata = body.get("metadata") or {}
    # A Status, an object as it last was, or a pod that may go at once: no more to come.
    if body.get("kind") == "Status" or not metadata.get("deletionTimestamp"):
        return Answer(write.resource, write.key, uid=write.uid)
    if metadata.get("deletionGracePeriodSeconds") == 0 and not metadata.get("finalizers"):
        return Answer(write.resource, write.key, uid=write.uid)
    return Answer(write.resource, write.key, body)


def _stored(resource: str, answer: bytes) -> Answer:
    body = _json.decode(answer)
    return Answer(resource, key_of(body), body)


def _whole(resource: str, body: Body) -> Body:
    kind = KINDS[resource]
    return {"apiVersion": kind.api_version, "kind": kind.kind, **body}


def _encoded(body: Body) -> bytes:
    return msgspec.json.encode(body)

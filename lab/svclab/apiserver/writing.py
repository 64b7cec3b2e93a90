"""From what a client sends to what the verbs take: bodies decoded, patches applied.

In: bytes and their media type. Out: the verbs' answers. Refused: media types, syntax, patches that do not apply, and
what comes out of them not being an object of the kind. Source: apiserver pkg/endpoints/handlers/patch.go, v0.36.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import msgspec

from svclab.apiserver import event_views, failures, go_json, patches, protobuf, subresources
from svclab.apiserver.decoding import ACCEPTED, PROTOBUF, SCHEME, Decoder, unknown_conversion
from svclab.apiserver.failures import StatusError, bad_request
from svclab.apiserver.options import Deleting, Query, Writing, deleting, writing
from svclab.apiserver.patches import PatchError
from svclab.apiserver.protobuf import ProtobufError
from svclab.apiserver.resources import Target
from svclab.apiserver.schema import DELETE_OPTIONS, DecodeError
from svclab.apiserver.verbs import OTHER_NAMESPACE, Answer, Moment, Verbs

Body: TypeAlias = dict[str, Any]

MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
# Server-side apply is not there; a client that tries it is told as by a server that never heard of it.


class Writer:
    """Requests that write, over `Verbs`."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._decoder = Decoder(verbs.schema)

    def posted(self, target: Target, data: bytes, media: str, query: Query, moment: Moment) -> Answer:
        options = writing(query, "CreateOptions")
        sent, told = self._decoded(target, data, media, options)
        with _warned(told):
            if target.resource.subresource or target.resource.plural == "bindings":
                answer = subresources.posted(self._verbs, target, sent, options, moment)
            else:
                answer = self._verbs.create(target, sent, options, moment)
        return _with(answer, told)

    def put(self, target: Target, data: bytes, media: str, query: Query, moment: Moment) -> Answer:
        options = writing(query, "UpdateOptions")
        sent, told = self._decoded(target, data, media, options)
        with _warned(told):
            if target.resource.subresource in ("scale", "finalize"):
                answer = subresources.put(self._verbs, target, sent, options, moment)
            else:
                answer = self._verbs.update(target, sent, options, moment)
        return _with(answer, told)

    def patched(self, target: Target, data: bytes, media: str, query: Query, moment: Moment) -> Answer:
        if media not in (MERGE, STRATEGIC, JSON_PATCH):
            raise failures.unsupported_patch()
        options = writing(query, "PatchOptions")
        self._verbs.admit_update(target)
        old = self._verbs.stored(target)
        scale = target.resource.subresource == "scale"
        before = subresources.scale_of(target, old.body) if scale else old.body
        other_view = target.resource.group == event_views.GROUP
        if other_view:
            before = event_views.events_of(before)
        new, told = self._applied(target, before, data, media, options)
        _check_identity(target, new)
        if other_view:
            new = event_views.core_of(new)
        with _warned(told):
            if scale:
                answer = subresources.put(self._verbs, target, new, options, moment)
            else:
                answer = self._verbs.replaced(target, new, old, options, moment)
        return _with(answer, told)

    def deleted(self, target: Target, data: bytes, media: str, query: Query, moment: Moment) -> Answer:
        return self._verbs.delete(target, self.delete_options(data, media, query), moment)

    def delete_options(self, data: bytes, media: str, query: Query) -> Deleting:
        if not data:
            return deleting(query, None)
        if media not in ("application/json", "application/yaml", PROTOBUF, ""):
            raise failures.unsupported_media_type(ACCEPTED)
        try:
            body = protobuf.read(data, self._verbs.schema) if media == PROTOBUF else go_json.decoded(data)
            if isinstance(body, dict) and body.get("kind", "DeleteOptions") != "DeleteOptions":
                version = body.get("apiVersion", "v1")
                said = f'no kind "{body["kind"]}" is registered for version "{version}" in scheme "{SCHEME}"'
                raise bad_request(said)
            self._verbs.schema.faults(DELETE_OPTIONS, body)
        except ProtobufError as error:
            raise bad_request(str(error)) from error
        except go_json.JsonError as error:
            raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error
        except DecodeError as error:
            raise bad_request(str(error)) from error
        return deleting(query, body or {})

    def decoded(self, target: Target, data: bytes, media: str) -> Body:
        """A body that is not stored."""
        return self._decoded(target, data, media, Writing())[0]

    def _decoded(self, target: Target, data: bytes, media: str, options: Writing) -> tuple[Body, list[str]]:
        resource = target.resource
        sent, told = self._decoder.object(data, media, resource.kind_group, resource.kind, options.validation)
        return (event_views.core_of(sent) if resource.group == event_views.GROUP else sent), told

    def _applied(
        self, target: Target, before: Body, data: bytes, media: str, options: Writing
    ) -> tuple[Body, list[str]]:
        """The patched object, checked against its type, and warnings."""
        resource = target.resource
        definition = self._verbs.schema.name_of(resource.kind_group, resource.kind)
        patch, told = self._patch(data, media)
        try:
            if media == JSON_PATCH:
                new = patches.json_patched(before, patch)
            elif media == MERGE:
                new = patches.merged(before, patch)
            else:
                new = patches.strategic(before, patch, self._verbs.schema, definition)
        except PatchError as error:
            raise failures.unprocessable() if media == JSON_PATCH else failures.internal(str(error)) from error
        if media == STRATEGIC:
            shown = patches.go_map(patch)
        else:
            tree = _as_tree(patch) if media == JSON_PATCH else patch
            shown = go_json.encoded(_touched(new, tree)).decode()
        if media == STRATEGIC:
            new = {**new, "kind": resource.kind, "apiVersion": resource.kind_version}
        elif (new.get("kind"), new.get("apiVersion")) != (resource.kind, resource.kind_version):
            raise _invalid_patch(shown, self._other_kind(new, resource.kind_group, resource.kind))
        try:
            faults = told + self._verbs.schema.faults(definition, new)
        except DecodeError as error:
            said = (error.converted or str(error)) if media == STRATEGIC else str(error)
            raise _invalid_patch(shown, said) from error
        if faults and options.validation == "Strict":
            raise _invalid_patch(shown, f"strict decoding error: {', '.join(faults)}")
        return new, faults if options.validation == "Warn" else []

    def _other_kind(self, new: Body, group: str, kind: str) -> str:
        said, version = new.get("kind"), str(new.get("apiVersion"))
        if self._verbs.schema.name_of(version.rpartition("/")[0], str(said)) and version.endswith("v1"):
            return unknown_conversion(str(said), group, kind)
        return f'no kind "{said}" is registered for version "{version}" in scheme "{SCHEME}"'

    def _patch(self, data: bytes, media: str) -> tuple[Any, list[str]]:
        where = "" if media == STRATEGIC else "error decoding patch: "
        try:
            patch = go_json.decoded(data)
        except go_json.JsonError as error:
            raise bad_request(f"{where}{error}") from error
        wanted = list if media == JSON_PATCH else dict
        if not isinstance(patch, wanted):
            type_ = "[]handlers.jsonPatchOp" if media == JSON_PATCH else "map[string]interface {}"
            raise bad_request(f"{where}json: cannot unmarshal {go_json.named(patch)} into Go value of type {type_}")
        if media == JSON_PATCH:
            return patch, [
                f'json patch duplicate field "[{index}].{key}"'
                for index, one in enumerate(patch)
                for key in getattr(one, "repeated", ())
            ]
        return patch, [f'duplicate field "{path}"' for path in go_json.repeated(patch)]


def _check_identity(target: Target, new: Body) -> None:
    name = new["metadata"].get("name") if isinstance(new.get("metadata"), dict) else ""
    if name != target.name:
        said = f"the name of the object ({name or ''}) does not match the name on the URL ({target.name})"
        raise bad_request(said)
    namespace = new["metadata"].get("namespace") or ""
    if target.resource.namespaced and namespace and namespace != target.namespace:
        raise bad_request(OTHER_NAMESPACE)


def _invalid_patch(shown: str, said: str) -> StatusError:
    text = f"Invalid value: {go_json.quoted(shown)}: {said}"
    details = {"causes": [{"reason": "FieldValueInvalid", "message": text, "field": "patch"}]}
    return StatusError(failures.status(422, "Invalid", f' "" is invalid: patch: {text}', details))


@contextmanager
def _warned(told: list[str]) -> Iterator[None]:
    """What is wrong with fields is told also when the request fails for another reason."""
    try:
        yield
    except StatusError as error:
        error.warnings = tuple(told)
        raise


def _touched(body: Any, patch: Any) -> Any:
    """As Go's patch libraries write it: keys sorted wherever the patch has been."""
    if not isinstance(body, dict) or not isinstance(patch, dict):
        return body
    return {key: _touched(body[key], patch.get(key)) for key in sorted(body)}


def _as_tree(operations: list[Body]) -> Body:
    """The paths of a JSON patch, as nested objects."""
    tree: Body = {}
    for one in operations:
        below = tree
        for part in str(one.get("path", "")).split("/")[1:]:
            below = below.setdefault(part, {})
    return tree


def _with(answer: Answer, told: list[str]) -> Answer:
    return msgspec.structs.replace(answer, warnings=(*told, *answer.warnings)) if told else answer

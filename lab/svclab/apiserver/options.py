"""Options of requests: query parameters and DeleteOptions, checked as the API server checks them.

In: query parameters (each with all its values) or a decoded body. Out: frozen options. Refused: what is no number or
truth value, values that are not supported, combinations that contradict. Source: apimachinery pkg/apis/meta/v1
(conversion, validation), pkg/apis/meta/internalversion/validation, v0.36.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from svclab.apiserver.failures import StatusError, bad_request, internal, invalid_options
from svclab.apiserver.strategy.errors import go_json

Query: TypeAlias = Mapping[str, Sequence[str]]
Faults: TypeAlias = list[tuple[str, str, str]]

UNSUPPORTED, FORBIDDEN, INVALID = "FieldValueNotSupported", "FieldValueForbidden", "FieldValueInvalid"


class Writing(msgspec.Struct, frozen=True):
    """Of create, update and patch."""

    dry_run: bool = False
    validation: str = "Warn"
    force: bool | None = None
    manager: str = ""


class Listing(msgspec.Struct, frozen=True):
    """Of list, watch and deletecollection. `version` None: not said."""

    watch: bool = False
    labels: str = ""
    fields: str = ""
    version: int | None = None
    match: str = ""
    limit: int = 0
    continue_: str = ""
    seconds: int | None = None
    bookmarks: bool = False
    initial: bool | None = None


class Deleting(msgspec.Struct, frozen=True):
    """Of delete. `orphan` is the old form of `policy`."""

    grace: int | None = None
    uid: str | None = None
    version: str | None = None
    orphan: bool | None = None
    policy: str | None = None
    dry_run: bool = False


def writing(query: Query, kind: str) -> Writing:
    """`kind` is CreateOptions, UpdateOptions or PatchOptions. Raises StatusError."""
    faults = _dry_run_faults(query.get("dryRun", ()))
    manager = _one(query, "fieldManager")
    if len(manager.encode()) > 128:
        faults.append(("fieldManager", "FieldValueTooLong", "Too long: may not be more than 128 bytes"))
    force = _truth(query, "force")
    if force is not None and kind == "PatchOptions":
        faults.append(("force", FORBIDDEN, "Forbidden: may not be specified for non-apply patch"))
    validation = _one(query, "fieldValidation")
    if validation not in ("", "Ignore", "Strict", "Warn"):
        said = _unsupported(validation, '"", "Ignore", "Strict", "Warn"')
        faults.append(("fieldValidation", UNSUPPORTED, said))
    if faults:
        raise invalid_options(kind, faults)
    return Writing(bool(query.get("dryRun")), validation or "Warn", force, manager)


def listing(query: Query, *, single: bool = False) -> Listing:
    """`single`: of a GET of one object. Raises StatusError."""
    found = Listing(
        bool(_truth(query, "watch")),
        _one(query, "labelSelector"),
        _one(query, "fieldSelector"),
        None,
        _one(query, "resourceVersionMatch"),
        _number(query, "limit") or 0,
        _one(query, "continue"),
        _number(query, "timeoutSeconds"),
        bool(_truth(query, "allowWatchBookmarks")),
        _truth(query, "sendInitialEvents"),
    )
    version = _one(query, "resourceVersion")
    if faults := _listing_faults(found, version):
        raise invalid_options("ListOptions", faults)
    if version and not (version.isascii() and version.isdigit()):
        said = f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax'
        raise internal(said) if found.watch or single else bad_request(f"invalid resource version: {said}")
    return msgspec.structs.replace(found, version=int(version) if version else None)


def _listing_faults(asked: Listing, version: str) -> Faults:
    faults: Faults = []
    match = asked.match
    initial = asked.initial is not None
    if match and asked.watch and not initial:
        said = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        faults.append(_forbidden("resourceVersionMatch", said))
        if match != "NotOlderThan":
            faults.append(("resourceVersionMatch", UNSUPPORTED, _unsupported(match, '"NotOlderThan"')))
    elif match and not asked.watch:
        if not version:
            said = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            faults.append(_forbidden("resourceVersionMatch", said))
        if asked.continue_:
            said = "resourceVersionMatch is forbidden when continue is provided"
            faults.append(_forbidden("resourceVersionMatch", said))
        if match not in ("Exact", "NotOlderThan"):
            said = _unsupported(match, '"Exact", "NotOlderThan", ""')
            faults.append(("resourceVersionMatch", UNSUPPORTED, said))
        if match == "Exact" and version == "0":
            said = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            faults.append(_forbidden("resourceVersionMatch", said))
    if initial:
        if not asked.watch:
            faults.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
        elif match != "NotOlderThan":
            said = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            faults.append(_forbidden("resourceVersionMatch", said))
    return faults


def deleting(query: Query, body: Mapping[str, Any] | None) -> Deleting:
    """The body counts if there is one, else the query. Raises StatusError."""
    if body is None:
        policy = _one(query, "propagationPolicy")
        dry = list(query.get("dryRun", ()))
        found = Deleting(
            _number(query, "gracePeriodSeconds"),
            None,
            None,
            _truth(query, "orphanDependents"),
            policy if "propagationPolicy" in query else None,
            bool(dry),
        )
    else:
        conditions = body.get("preconditions") or {}
        dry = list(body.get("dryRun") or ())
        found = Deleting(
            body.get("gracePeriodSeconds"),
            conditions.get("uid"),
            conditions.get("resourceVersion"),
            body.get("orphanDependents"),
            body.get("propagationPolicy"),
            bool(dry),
        )
    faults: Faults = []
    if found.policy is not None and found.orphan is not None:
        said = (
            "Invalid value: " + go_json(found.policy) + ": orphanDependents and deletionPropagation cannot be both set"
        )
        faults.append(("propagationPolicy", INVALID, said))
    if found.policy is not None and found.policy not in ("Foreground", "Background", "Orphan"):
        said = _unsupported(found.policy, '"Foreground", "Background", "Orphan", "nil"')
        faults.append(("propagationPolicy", UNSUPPORTED, said))
    faults += _dry_run_faults(dry)
    if faults:
        raise invalid_options("DeleteOptions", faults)
    return found


def _dry_run_faults(values: Sequence[str]) -> Faults:
    if all(value == "All" for value in values):
        return []
    return [("dryRun", UNSUPPORTED, f'Unsupported value: {go_json(list(values))}: supported values: "All"')]


def _unsupported(value: str, supported: str) -> str:
    return f"Unsupported value: {go_json(value)}: supported values: {supported}"


def _forbidden(field: str, said: str) -> tuple[str, str, str]:
    return field, FORBIDDEN, f"Forbidden: {said}"


def _one(query: Query, name: str) -> str:
    values = query.get(name) or ("",)
    return values[0]


def _number(query: Query, name: str) -> int | None:
    text = _one(query, name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise _not_parsed("ParseInt", text) from None


def _truth(query: Query, name: str) -> bool | None:
    """As Go's conversion of query parameters: every text but false and 0 is true, the empty one too."""
    if name not in query:
        return None
    return _one(query, name).lower() not in ("false", "0")


def _not_parsed(how: str, text: str) -> StatusError:
    return bad_request(f'strconv.{how}: parsing "{text}": invalid syntax')

"""What a request is answered with when it is refused: Kubernetes' Status objects.

In: what was asked for and what is wrong with it. Out: `StatusError`, an exception that carries the body. The wording is
the API's protocol: kubectl and client-go read reasons, causes and sometimes the text. Source: apimachinery
pkg/api/errors, v0.36.3.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Body: TypeAlias = dict[str, Any]


class StatusError(Exception):
    """`status` is the Status body; its code is the HTTP status."""

    def __init__(self, status: Body) -> None:
        super().__init__(status.get("message", ""))
        self.status = status
        self.warnings: tuple[str, ...] = ()  # what had been found before

    @property
    def code(self) -> int:
        code: int = self.status["code"]
        return code


def status(code: int, reason: str, message: str, details: Body | None = None) -> Body:
    body: Body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    if reason:
        body["reason"] = reason
    if details is not None:
        body["details"] = details
    body["code"] = code
    return body


def about(resource: str, group: str = "", name: str = "", uid: str = "") -> Body:
    """Details that name an object; `resource` is the plural."""
    details = {"name": name, "group": group, "kind": resource, "uid": uid}
    return {key: value for key, value in details.items() if value}


def qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def bad_request(message: str) -> StatusError:
    return StatusError(status(400, "BadRequest", message))


def unauthorized() -> StatusError:
    return StatusError(status(401, "Unauthorized", "Unauthorized"))


def forbidden(resource: str, group: str, name: str, why: str, causes: list[Body] | None = None) -> StatusError:
    what = qualified(resource, group) + (f' "{name}"' if name else "")
    details = about(resource, group, name)
    if causes:
        details["causes"] = causes
    return StatusError(status(403, "Forbidden", f"{what} is forbidden: {why}", details))


def not_found(resource: str, group: str, name: str) -> StatusError:
    details = about(resource, group, name)
    return StatusError(status(404, "NotFound", f'{qualified(resource, group)} "{name}" not found', details))


def no_such_resource() -> StatusError:
    return StatusError(status(404, "NotFound", "the server could not find the requested resource", {}))


def method_not_allowed() -> StatusError:
    said = "the server does not allow this method on the requested resource"
    return StatusError(status(405, "MethodNotAllowed", said, {}))


def not_convertible(accepted: str) -> StatusError:
    return StatusError(status(406, "NotAcceptable", f"only the following media types are accepted: {accepted}"))


def not_acceptable(accepted: str) -> StatusError:
    said = f"406: Not Acceptable\n\nAvailable representations: {accepted}"
    return StatusError(status(406, "NotAcceptable", said, {}))


def already_exists(resource: str, group: str, name: str, *, going: bool = False) -> StatusError:
    """`going`: what is in the way is being deleted."""
    said = f'{"object is being deleted: " if going else ""}{qualified(resource, group)} "{name}" already exists'
    return StatusError(status(409, "AlreadyExists", said, about(resource, group, name)))


def conflict(resource: str, group: str, name: str, why: str) -> StatusError:
    said = f'Operation cannot be fulfilled on {qualified(resource, group)} "{name}": {why}'
    return StatusError(status(409, "Conflict", said, about(resource, group, name)))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def expired(message: str) -> StatusError:
    return StatusError(status(410, "Expired", message))


def too_large(limit: int) -> StatusError:
    return StatusError(status(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}"))


def unsupported_media_type(accepted: str) -> StatusError:
    said = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    return StatusError(status(415, "UnsupportedMediaType", said))


def unsupported_patch() -> StatusError:
    return StatusError(status(415, "UnsupportedMediaType", "415: Unsupported Media Type", {}))


def unprocessable() -> StatusError:
    """A JSON patch that does not apply."""
    return StatusError(status(422, "Invalid", "the server rejected our request due to an error in our request", {}))


def internal(message: str) -> StatusError:
    """An error without a reason of its own, as Go's server wraps it."""
    return StatusError(status(500, "", message))


def internal_error(message: str) -> StatusError:
    """One that the server says of itself."""
    details = {"causes": [{"message": message}]}
    return StatusError(status(500, "InternalError", f"Internal error occurred: {message}", details))


def not_implemented(message: str) -> StatusError:
    return StatusError(status(501, "NotImplemented", message))


def future_version(asked: int, current: int) -> StatusError:
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    said = f"Timeout: Too large resource version: {asked}, current: {current}"
    return StatusError(status(504, "Timeout", said, details))


def invalid_options(kind: str, errors: list[tuple[str, str, str]]) -> StatusError:
    """Query parameters or options that contradict: (field, reason, text without the field)."""
    said = [f"{field}: {text}" for field, _, text in errors]
    message = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    details = {
        "group": "meta.k8s.io",
        "kind": kind,
        "causes": [{"reason": reason, "message": text, "field": field} for field, reason, text in errors],
    }
    return StatusError(status(422, "Invalid", f'{kind}.meta.k8s.io "" is invalid: {message}', details))

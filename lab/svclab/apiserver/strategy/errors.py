"""What validation finds, and the Status that tells a client.

In: a path, a value, a sentence. Out: `FieldError`, whose texts are those of Kubernetes' field.Error, and `invalid`,
the body of the answer 422. Values are JSON values; Go's `%q` and its JSON (with <, > and & escaped) are spelled here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

NOT_FOUND: Final = "FieldValueNotFound"
REQUIRED: Final = "FieldValueRequired"
DUPLICATE: Final = "FieldValueDuplicate"
INVALID: Final = "FieldValueInvalid"
UNSUPPORTED: Final = "FieldValueNotSupported"
FORBIDDEN: Final = "FieldValueForbidden"
TOO_LONG: Final = "FieldValueTooLong"
TOO_MANY: Final = "FieldValueTooMany"
INTERNAL: Final = "InternalError"
TYPE_INVALID: Final = "FieldValueTypeInvalid"

SAID = {
    NOT_FOUND: "Not found",
    REQUIRED: "Required value",
    DUPLICATE: "Duplicate value",
    INVALID: "Invalid value",
    UNSUPPORTED: "Unsupported value",
    FORBIDDEN: "Forbidden",
    TOO_LONG: "Too long",
    TOO_MANY: "Too many",
    INTERNAL: "Internal error",
    TYPE_INVALID: "Invalid value",
}
WITHOUT_VALUE = {REQUIRED, FORBIDDEN, TOO_LONG, INTERNAL}


class FieldError(msgspec.Struct, frozen=True):
    """One thing wrong with one field. `value` is a JSON value; `shown` replaces it in the text."""

    type: str
    field: str
    value: Any = ""
    detail: str = ""
    shown: str = ""

    @property
    def body(self) -> str:
        """The text without the field's name."""
        text = SAID[self.type]
        if self.type not in WITHOUT_VALUE:
            text += f": {self.shown or as_go_shows(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    @property
    def message(self) -> str:
        return f"{self.field}: {self.body}"


def required(path: str, detail: str = "") -> FieldError:
    return FieldError(REQUIRED, path, detail=detail)


def wrong(path: str, value: Any, detail: str, shown: str = "") -> FieldError:
    return FieldError(INVALID, path, value, detail, shown)


def forbidden(path: str, detail: str) -> FieldError:
    return FieldError(FORBIDDEN, path, detail=detail)


def duplicate(path: str, value: Any, shown: str = "") -> FieldError:
    return FieldError(DUPLICATE, path, value, shown=shown)


def unsupported(path: str, value: Any, supported: Iterable[str]) -> FieldError:
    """`supported` in the order the API lists it."""
    listed = ", ".join(quoted(each) for each in supported)
    return FieldError(UNSUPPORTED, path, value, f"supported values: {listed}" if listed else "")


def not_found(path: str, value: Any) -> FieldError:
    return FieldError(NOT_FOUND, path, value)


def too_long(path: str, limit: int) -> FieldError:
    return FieldError(TOO_LONG, path, detail=f"may not be more than {limit} byte{'' if limit == 1 else 's'}")


def too_many(path: str, count: int, limit: int) -> FieldError:
    return FieldError(TOO_MANY, path, count, f"must have at most {limit} item{'' if limit == 1 else 's'}")


def all_wrong(path: str, value: Any, messages: Iterable[str]) -> list[FieldError]:
    """One error for each message about the same value."""
    return [wrong(path, value, message) for message in messages]


def as_go_shows(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    return go_json(value)


def go_json(value: Any) -> str:
    """As encoding/json writes it: no spaces, <, > and & escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


ESCAPES = {'"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
ESCAPES["\v"] = "\\v"


def quoted(text: str) -> str:
    """As Go's %q."""
    return '"' + "".join(_escaped(sign) for sign in text) + '"'


def _escaped(sign: str) -> str:
    if sign in ESCAPES:
        return ESCAPES[sign]
    if sign.isprintable():
        return sign
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def invalid(kind: str, group: str, name: str, errors: Sequence[FieldError]) -> dict[str, Any]:
    """The Status of an answer 422: every error is a cause, a text said twice is said once in the message."""
    texts = list(dict.fromkeys(error.message for error in errors))
    said = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    qualified = f"{kind}.{group}" if group else kind
    details: dict[str, Any] = {
        **({"name": name} if name else {}),
        **({"group": group} if group else {}),
        "kind": kind,
    }
    if errors:
        details["causes"] = [{"reason": error.type, "message": error.body, "field": error.field} for error in errors]
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"{qualified} {quoted(name)} is invalid" + (f": {said}" if texts else ""),
        "reason": "Invalid",
        "details": details,
        "code": 422,
    }

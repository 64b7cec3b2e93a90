"""What the API server asks of a kind: `Strategy`, and the columns of its tables.

A strategy is pure: objects are JSON values, never changed in place; time is a parameter. The order of a creation is
defaulted → admitted → (allocation, of Services) → prepared_for_create → create_errors; of an update: defaulted →
admitted → (allocation) → prepared_for_update → update_errors. The server fills in namespace, uid, creationTimestamp and
resourceVersion before it asks for errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from svclab.apiserver.strategy import formats, metadata
from svclab.apiserver.strategy.errors import FieldError
from svclab.apiserver.strategy.metadata import Body, NameRule
from svclab.apiserver.strategy.normal_form import normal_form, ordered
from svclab.apiserver.strategy.printed import age


class RefusedError(Exception):
    """Admission says no: the answer is 403, its message `pods "x" is forbidden:` and this."""


class Column(msgspec.Struct, frozen=True, omit_defaults=False):
    """A column of a table. `priority` 1: only `kubectl get -o wide` shows it."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0


NAME = Column("Name", format="name")
AGE = Column("Age")


class Strategy:
    """One kind: what is the same for all. A kind's class says what is different."""

    kind = ""
    group = ""
    namespaced = True
    rule: NameRule = staticmethod(formats.dns_subdomain)
    table: Sequence[Column] = (NAME, AGE)
    # May a client update without saying a resourceVersion?
    unconditional = True
    # May PUT of a name that does not exist create it?
    created_by_update = False

    def defaulted(self, obj: Body) -> Body:
        """`obj` as Go would keep it, with the API's defaults."""
        kept = normal_form(self.kind, obj)
        self.set_defaults(kept)
        return kept

    def ordered(self, obj: Body) -> Body:
        """`obj` with its fields in the order in which Go writes them."""
        found: Body = ordered(self.kind, obj)
        return found

    def set_defaults(self, kept: Body) -> None:
        """Writes defaults into `kept`, which belongs to the caller."""

    def wants_account(self, obj: Body) -> str:
        """The service account that admission must be given on creation; "" for none."""
        return ""

    def admitted(self, obj: Body, old: Body | None, account: Body | None = None) -> Body:
        """`obj` with what admission plug-ins add. Raises RefusedError."""
        return obj

    def prepared_for_create(self, obj: Body) -> Body:
        return obj

    def prepared_for_update(self, new: Body, old: Body, subresource: str) -> Body:
        """`subresource` "status" leaves everything but the status (and metadata) as it was; "" leaves the status."""
        if subresource == "status":
            return {**new, **{part: old[part] for part in ("spec",) if part in old}}
        return {**new, "status": old["status"]} if "status" in old else new

    def create_errors(self, obj: Body) -> list[FieldError]:
        return metadata.errors_in_metadata(obj, self.namespaced, self.rule) + self.errors(obj, None)

    def update_errors(self, new: Body, old: Body, subresource: str) -> list[FieldError]:
        found = metadata.common_errors(new, self.namespaced, formats.path_segment)
        found += metadata.update_errors_in_metadata(new, old)
        if subresource == "status":
            return found + self.status_errors(new, old)
        return found + self.changes_errors(new, old)

    def errors(self, obj: Body, old: Body | None) -> list[FieldError]:
        """What is wrong with the object itself; `old` is what it was, in an update."""
        return []

    def changes_errors(self, new: Body, old: Body) -> list[FieldError]:
        """What the kind's own validation finds in an update."""
        return metadata.kind_update_errors(new, old) + self.errors(new, old)

    def status_errors(self, new: Body, old: Body) -> list[FieldError]:
        """The same for an update of the status."""
        return metadata.kind_update_errors(new, old)

    def warnings(self, obj: Body, old: Body | None) -> list[str]:
        return []

    def columns(self) -> list[Column]:
        return list(self.table)

    def cells(self, obj: Body, now: float) -> list[Any]:
        """One row; `now` in seconds since 1970."""
        return [obj["metadata"].get("name", ""), age(obj, now)]

    def spec_changed(self, new: Body, old: Body) -> bool:
        """Does metadata.generation grow?"""
        return False

"""ServiceAccount and Lease: who one is, and who is in charge.

Source: kubernetes pkg/registry/core/serviceaccount, pkg/apis/coordination/validation, v1.36.3.
"""

from __future__ import annotations

from typing import Any

from svclab.apiserver.strategy import metadata, printed
from svclab.apiserver.strategy.errors import FieldError, wrong
from svclab.apiserver.strategy.kind import AGE, NAME, Column, Strategy
from svclab.apiserver.strategy.metadata import Body

MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"


class ServiceAccount(Strategy):
    kind = "ServiceAccount"

    def prepared_for_create(self, obj: Body) -> Body:
        return _with_names_only(obj)

    def prepared_for_update(self, new: Body, old: Body, subresource: str) -> Body:
        return _with_names_only(new)

    def changes_errors(self, new: Body, old: Body) -> list[FieldError]:
        found = metadata.kind_update_errors(new, old)
        return found + metadata.errors_in_metadata(new, True, self.rule)

    def warnings(self, obj: Body, old: Body | None) -> list[str]:
        given, known = (((each or {}).get("metadata") or {}).get("annotations") or {} for each in (obj, old))
        if MOUNTABLE not in given or MOUNTABLE in known:
            return []
        said = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        return [f"metadata.annotations[{MOUNTABLE}]: {said}"]


def _with_names_only(account: Body) -> Body:
    if not account.get("secrets"):
        return account
    named = [{"name": each["name"]} if each.get("name") else {} for each in account["secrets"]]
    return {**account, "secrets": named}


class Lease(Strategy):
    kind = "Lease"
    group = "coordination.k8s.io"
    unconditional = False
    created_by_update = True
    table = (NAME, Column("Holder"), AGE)

    def prepared_for_create(self, obj: Body) -> Body:
        return _uncoordinated(obj)

    def prepared_for_update(self, new: Body, old: Body, subresource: str) -> Body:
        return _uncoordinated(new)

    def errors(self, obj: Body, old: Body | None) -> list[FieldError]:
        spec = obj["spec"]
        found: list[FieldError] = []
        seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
        if seconds is not None and seconds <= 0:
            found.append(wrong("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
        if transitions is not None and transitions < 0:
            found.append(wrong("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))
        return found

    def cells(self, obj: Body, now: float) -> list[Any]:
        return [obj["metadata"]["name"], obj["spec"].get("holderIdentity") or "", printed.age(obj, now)]


def _uncoordinated(lease: Body) -> Body:
    """Without the fields of a feature that is off."""
    kept = {key: value for key, value in lease["spec"].items() if key not in ("strategy", "preferredHolder")}
    return {**lease, "spec": kept}

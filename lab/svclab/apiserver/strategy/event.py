"""Event: what may be told of which object. The rules of core/v1, which are older than those of events.k8s.io.

Source: kubernetes pkg/apis/core/validation/events.go, pkg/printers/internalversion/printers.go, v1.36.3.
"""

from __future__ import annotations

from typing import Any

from svclab.apiserver.strategy import formats, metadata, printed
from svclab.apiserver.strategy.errors import FieldError, all_wrong, required, wrong
from svclab.apiserver.strategy.kind import Column, Strategy
from svclab.apiserver.strategy.metadata import Body

LIMITS = {"reportingInstance": 128, "action": 128, "reason": 128, "message": 1024}


class Event(Strategy):
    kind = "Event"
    created_by_update = True
    table = (
        *(Column(name) for name in ("Last Seen", "Type", "Reason", "Object")),
        *(Column(name, priority=1) for name in ("Subobject", "Source")),
        Column("Message"),
        *(Column(name, priority=1) for name in ("First Seen", "Count")),
        Column("Name", format="name", priority=1),
    )

    def create_errors(self, obj: Body) -> list[FieldError]:
        # The kind's own rules look at no metadata; what is the same for all kinds is asked afterwards.
        return self.errors(obj, None) or metadata.common_errors(obj, True, formats.path_segment)

    def changes_errors(self, new: Body, old: Body) -> list[FieldError]:
        return self.errors(new, old)

    def errors(self, obj: Body, old: Body | None) -> list[FieldError]:
        namespace, other = obj["metadata"].get("namespace", ""), obj["involvedObject"].get("namespace", "")
        modern = obj.get("eventTime") is not None
        allowed = ("", "default") if not modern else ("default", "kube-system")
        agree = namespace in allowed if not other else modern or namespace == other
        found = [] if agree else [wrong("involvedObject.namespace", other, "does not match event.namespace")]
        if modern:
            found += _modern_errors(obj)
        return found + all_wrong("namespace", namespace, formats.dns_subdomain(namespace))

    def cells(self, obj: Body, now: float) -> list[Any]:
        first = printed.since(obj.get("firstTimestamp") or obj.get("eventTime"), now)
        last = printed.since(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
        count, series = obj.get("count", 0) or 1, obj.get("series")
        if series is not None:
            last, count = printed.since(series.get("lastObservedTime"), now), series.get("count", 0)
        involved, source = obj["involvedObject"], obj.get("source") or {}
        target = involved.get("kind", "").lower()
        if involved.get("name"):
            target += f"/{involved['name']}"
        component = source.get("component") or obj.get("reportingComponent") or ""
        instance = source.get("host") or obj.get("reportingInstance") or ""
        return [
            last,
            obj.get("type", ""),
            obj.get("reason", ""),
            target,
            involved.get("fieldPath", ""),
            f"{component}, {instance}" if instance else component,
            obj.get("message", "").strip(),
            first,
            count,
            obj["metadata"]["name"],
        ]


def _modern_errors(obj: Body) -> list[FieldError]:
    found: list[FieldError] = []
    component = obj.get("reportingComponent", "")
    if not component:
        found.append(required("reportingComponent"))
    found += all_wrong("reportingComponent", component, formats.label_key(component))
    for field, limit in LIMITS.items():
        value = obj.get(field, "")
        if not value and field != "message":
            found.append(required(field))
        if formats.size(value) > limit:
            found.append(wrong(field, "", f"can have at most {limit} characters"))
    return found

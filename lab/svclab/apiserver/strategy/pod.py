"""Pod: defaults, admission, status on creation, updates, warnings, the table.

Source: kubernetes pkg/registry/core/pod/strategy.go, pkg/printers/internalversion/printers.go, v1.36.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from svclab.apiserver.strategy import formats, metadata, pod_admission, pod_rules, pod_update, printed
from svclab.apiserver.strategy.errors import FieldError
from svclab.apiserver.strategy.kind import NAME, Column, Strategy
from svclab.apiserver.strategy.metadata import Body
from svclab.apiserver.strategy.pod_defaults import set_pod_defaults, set_template_defaults
from svclab.apiserver.strategy.pod_warnings import pod_warnings

GATED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
    "lastProbeTime": None,
}


class Pod(Strategy):
    kind = "Pod"
    table = (
        NAME,
        *(Column(name) for name in ("Ready", "Status", "Restarts", "Age")),
        *(Column(name, priority=1) for name in ("IP", "Node", "Nominated Node", "Readiness Gates")),
    )

    def set_defaults(self, kept: Body) -> None:
        set_pod_defaults(kept["spec"])
        set_template_defaults(kept["spec"])
        status = kept["status"]
        address, known = status.get("podIP"), status.get("podIPs") or [{}]
        if address and known[0].get("ip") != address:
            status["podIPs"] = [{"ip": address}]
        elif known[0].get("ip"):
            status["podIP"] = known[0]["ip"]

    def wants_account(self, obj: Body) -> str:
        return str(obj["spec"].get("serviceAccountName") or "default")

    def admitted(self, obj: Body, old: Body | None, account: Body | None = None) -> Body:
        return pod_admission.admitted(obj, account) if old is None else pod_admission.updated(obj, old)

    def prepared_for_create(self, obj: Body) -> Body:
        status: Body = {"phase": "Pending", "qosClass": pod_rules.quality_of_service(obj["spec"])}
        if obj["spec"].get("schedulingGates"):
            # The API server's clock; the creation is as good.
            time = obj["metadata"].get("creationTimestamp")
            status["conditions"] = [{**GATED, "lastTransitionTime": time}]
        return {**obj, "status": status}

    def prepared_for_update(self, new: Body, old: Body, subresource: str) -> Body:
        kept = super().prepared_for_update(new, old, subresource)
        if subresource != "status":
            return kept
        meta = {key: value for key, value in kept["metadata"].items() if key != "ownerReferences"}
        if "ownerReferences" in old["metadata"]:
            meta["ownerReferences"] = old["metadata"]["ownerReferences"]
        return {**kept, "metadata": meta, "status": _with_what_old_kubelets_drop(kept["status"], old["status"])}

    def create_errors(self, obj: Body) -> list[FieldError]:
        return pod_rules.pod_errors(obj) + pod_rules.created_errors(obj)

    def changes_errors(self, new: Body, old: Body) -> list[FieldError]:
        return pod_update.update_errors(new, old)

    def status_errors(self, new: Body, old: Body) -> list[FieldError]:
        return metadata.kind_update_errors(new, old) + pod_rules.status_errors(new, old)

    def warnings(self, obj: Body, old: Body | None) -> list[str]:
        if old is not None:
            return []
        found: list[str] = []
        if wrong := formats.dns_label(obj["metadata"]["name"]):
            found.append(
                "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
                f"a DNS label is recommended: [{' '.join(wrong)}]"
            )
        return found + pod_warnings(obj["spec"], obj["metadata"], "")

    def cells(self, obj: Body, now: float) -> list[Any]:
        spec, status = obj["spec"], obj.get("status") or {}
        shown = _Shown(obj)
        restarts = str(shown.restarts)
        if shown.restarts and shown.restarted:
            restarts += f" ({printed.since(shown.restarted, now)} ago)"
        gates = spec.get("readinessGates") or []
        conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
        passed = sum(1 for gate in gates if conditions.get(gate["conditionType"]) == "True")
        address = next((each.get("ip") for each in status.get("podIPs") or ()), "")
        return [
            obj["metadata"]["name"],
            f"{shown.ready}/{shown.total}",
            shown.reason,
            restarts,
            printed.age(obj, now),
            address or "<none>",
            spec.get("nodeName") or "<none>",
            status.get("nominatedNodeName") or "<none>",
            f"{passed}/{len(gates)}" if gates else "<none>",
        ]

    def spec_changed(self, new: Body, old: Body) -> bool:
        return bool(new["spec"] != old["spec"])


def _with_what_old_kubelets_drop(status: Body, before: Body) -> Body:
    """qosClass, and each observedGeneration: kept where the new status does not say it."""
    kept = dict(status)
    for field in ("qosClass", "observedGeneration"):
        if not kept.get(field) and before.get(field):
            kept[field] = before[field]
    known: dict[str, list[int]] = {}
    for condition in before.get("conditions") or ():
        known.setdefault(condition["type"], []).append(condition.get("observedGeneration", 0))
    conditions = []
    for condition in status.get("conditions") or ():
        generations = known.get(condition["type"]) or [0]
        generation = generations.pop(0)
        missing = generation and not condition.get("observedGeneration")
        conditions.append({**condition, "observedGeneration": generation} if missing else condition)
    return {**kept, "conditions": conditions} if conditions else kept


class _Shown:
    """What a pod looks like in one line. Lives while the line is made."""

    def __init__(self, pod: Body) -> None:
        spec, status = pod["spec"], pod.get("status") or {}
        self._sidecars = {
            each["name"] for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"
        }
        self._inits = len(spec.get("initContainers") or ())
        self._conditions = {each["type"]: each for each in status.get("conditions") or ()}
        self.total = len(spec["containers"]) + len(self._sidecars)
        self.ready, self.restarts, self.restarted = 0, 0, ""
        self.reason: str = status.get("reason") or status.get("phase", "")
        if self._conditions.get("PodScheduled", {}).get("reason") == "SchedulingGated":
            self.reason = "SchedulingGated"
        initializing = self._count_inits(status.get("initContainerStatuses") or ())
        if not initializing or self._conditions.get("Initialized", {}).get("status") == "True":
            self._count(status.get("initContainerStatuses") or (), status.get("containerStatuses") or ())
        if pod["metadata"].get("deletionTimestamp"):
            if status.get("reason") == "NodeLost":
                self.reason = "Unknown"
            elif status.get("phase") not in ("Succeeded", "Failed"):
                self.reason = "Terminating"

    def _add(self, container: Mapping[str, Any]) -> None:
        self.restarts += container.get("restartCount", 0)
        ended = (container.get("lastState") or {}).get("terminated") or {}
        self.restarted = max(self.restarted, ended.get("finishedAt") or "")

    def _count_inits(self, statuses: Any) -> bool:
        """Is the pod still at its init containers?"""
        for index, container in enumerate(statuses):
            self._add(container)
            state = container.get("state") or {}
            ended, waiting = state.get("terminated"), state.get("waiting") or {}
            if ended is not None and ended.get("exitCode", 0) == 0:
                continue
            if container["name"] in self._sidecars and container.get("started"):
                self.ready += bool(container.get("ready"))
                continue
            if ended is not None:
                self.reason = f"Init:{_ending(ended)}"
            elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
                self.reason = f"Init:{waiting['reason']}"
            else:
                self.reason = f"Init:{index}/{self._inits}"
            return True
        return False

    def _count(self, inits: Any, statuses: Any) -> None:
        self.restarts, self.restarted = 0, ""
        for container in inits:
            if container["name"] in self._sidecars:
                self._add(container)
        running, failure = False, ""
        for container in reversed(statuses):
            self._add(container)
            state = container.get("state") or {}
            ended = state.get("terminated")
            if (state.get("waiting") or {}).get("reason"):
                self.reason = state["waiting"]["reason"]
            elif ended is not None:
                self.reason = _ending(ended)
                if ended.get("exitCode", 0):
                    failure = self.reason
            elif container.get("ready") and state.get("running") is not None:
                running = True
                self.ready += 1
        if self.reason == "Completed":
            if running and self._conditions.get("Ready", {}).get("status") == "True":
                self.reason = "Running"
            elif failure:
                self.reason = failure
            elif running:
                self.reason = "NotReady"


def _ending(ended: Mapping[str, Any]) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"

"""Node and Namespace: defaults, rules, tables.

Source: kubernetes pkg/apis/core/validation, pkg/registry/core/node, pkg/registry/core/namespace, v1.36.3.
"""

from __future__ import annotations

from typing import Any

from svclab.apiserver.strategy import addresses, formats, metadata, printed
from svclab.apiserver.strategy.containers import resource_amount_errors
from svclab.apiserver.strategy.errors import FieldError, all_wrong, duplicate, forbidden, wrong
from svclab.apiserver.strategy.kind import AGE, NAME, Column, Strategy
from svclab.apiserver.strategy.metadata import STANDARD_FINALIZERS, Body
from svclab.apiserver.strategy.scheduling import taints_errors

NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
ROLE = "node-role.kubernetes.io/"
NAME_LABEL = "kubernetes.io/metadata.name"


class Node(Strategy):
    kind = "Node"
    namespaced = False
    table = (
        NAME,
        *(Column(name) for name in ("Status", "Roles", "Age", "Version")),
        *(
            Column(name, priority=1)
            for name in ("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime")
        ),
    )

    def set_defaults(self, kept: Body) -> None:
        spec, status = kept["spec"], kept["status"]
        ranges = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
        if spec.get("podCIDR") and spec["podCIDR"] != ranges[0]:
            ranges = [spec["podCIDR"]]
        if ranges:
            spec["podCIDR"], spec["podCIDRs"] = ranges[0], ranges
        if "capacity" in status:
            status.setdefault("allocatable", dict(status["capacity"]))

    def admitted(self, obj: Body, old: Body | None, account: Body | None = None) -> Body:
        """A new node takes no pods until the controllers have seen that it is ready."""
        taints = obj["spec"].get("taints") or []
        same = any(all(each.get(field) == value for field, value in NOT_READY.items()) for each in taints)
        if old is not None or same:
            return obj
        return {**obj, "spec": {**obj["spec"], "taints": [*taints, dict(NOT_READY)]}}

    def prepared_for_create(self, obj: Body) -> Body:
        return obj

    def errors(self, obj: Body, old: Body | None) -> list[FieldError]:
        spec = obj["spec"]
        found = taints_errors(spec.get("taints") or (), "metadata.taints") + _amounts_errors(obj["status"])
        ranges = spec.get("podCIDRs") or []
        for index, cidr in enumerate(ranges):
            found += addresses.cidr_errors(f"spec.podCIDRs[{index}]", cidr)
        if len(ranges) > 2 or (len(ranges) == 2 and len({":" in cidr for cidr in ranges}) == 1):
            said = "may specify no more than one CIDR for each IP family"
            found.append(wrong("spec.podCIDRs", ranges, said))
        return found

    def changes_errors(self, new: Body, old: Body) -> list[FieldError]:
        found = metadata.errors_in_metadata(new, False, self.rule) + self.errors(new, old)
        return found + self.status_errors(new, old)

    def status_errors(self, new: Body, old: Body) -> list[FieldError]:
        found = metadata.kind_update_errors(new, old) + _amounts_errors(new["status"])
        seen: list[Body] = []
        for index, address in enumerate(new["status"].get("addresses") or ()):
            if address in seen:
                shown = {"Type": address.get("type", ""), "Address": address.get("address", "")}
                found.append(duplicate(f"status.addresses[{index}]", shown))
            seen.append(address)
        now, before = new["spec"], old["spec"]
        ranges, known = now.get("podCIDRs") or [], before.get("podCIDRs") or []
        if known and len(ranges) != len(known):
            found.append(forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid'))
        elif known:
            said = 'node updates may not change podCIDR except from "" to valid'
            pairs = zip(ranges, known, strict=True)
            found += [forbidden("spec.podCIDRs", said) for one, other in pairs if one != other]
        if before.get("providerID") and now.get("providerID") != before["providerID"]:
            said = 'node updates may not change providerID except from "" to valid'
            found.append(forbidden("spec.providerID", said))
        return found + taints_errors(now.get("taints") or (), "metadata.taints")

    def warnings(self, obj: Body, old: Body | None) -> list[str]:
        found: list[str] = []
        if obj["spec"].get("configSource") is not None:
            found.append("spec.configSource: the feature is removed")
        if obj["spec"].get("externalID"):
            found.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
        for index, cidr in enumerate(obj["spec"].get("podCIDRs") or ()):
            found += addresses.cidr_warnings(f"spec.podCIDRs[{index}]", cidr)
        return found

    def cells(self, obj: Body, now: float) -> list[Any]:
        status = obj.get("status") or {}
        info = status.get("nodeInfo") or {}
        ready = next((each["status"] for each in status.get("conditions") or () if each["type"] == "Ready"), None)
        shown = ["Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"]
        if obj["spec"].get("unschedulable"):
            shown.append("SchedulingDisabled")
        kernel = info.get("kernelVersion") or "<unknown>"
        if info.get("architecture"):
            kernel += f" ({info['architecture']})"
        return [
            obj["metadata"]["name"],
            ",".join(shown),
            ",".join(_roles(obj)) or "<none>",
            printed.age(obj, now),
            info.get("kubeletVersion", ""),
            _address(status, "InternalIP"),
            _address(status, "ExternalIP"),
            info.get("osImage") or "<unknown>",
            kernel,
            info.get("containerRuntimeVersion") or "<unknown>",
        ]


def _amounts_errors(status: Body) -> list[FieldError]:
    found: list[FieldError] = []
    for part in ("capacity", "allocatable"):
        for name, amount in sorted((status.get(part) or {}).items()):
            found += resource_amount_errors(name, amount, f"status.{part}.{name}")
    return found


def _address(status: Body, kind: str) -> str:
    given = (each["address"] for each in status.get("addresses") or () if each["type"] == kind)
    return next(given, "<none>")


def _roles(node: Body) -> list[str]:
    labels = node["metadata"].get("labels") or {}
    roles = {key.removeprefix(ROLE) for key in labels if key.startswith(ROLE)}
    return sorted((roles | {labels.get("kubernetes.io/role", "")}) - {""})


class Namespace(Strategy):
    kind = "Namespace"
    namespaced = False
    rule = staticmethod(formats.dns_label)
    table = (NAME, Column("Status"), AGE)

    def set_defaults(self, kept: Body) -> None:
        if name := kept["metadata"].get("name"):
            kept["metadata"].setdefault("labels", {})[NAME_LABEL] = name
        kept["status"].setdefault("phase", "Active")

    def prepared_for_create(self, obj: Body) -> Body:
        finalizers = obj["spec"].get("finalizers") or []
        if "kubernetes" not in finalizers:
            finalizers = [*finalizers, "kubernetes"]
        meta = obj["metadata"]
        if name := meta.get("name"):
            meta = {**meta, "labels": {**(meta.get("labels") or {}), NAME_LABEL: name}}
        return {
            **obj,
            "metadata": meta,
            "spec": {**obj["spec"], "finalizers": finalizers},
            "status": {"phase": "Active"},
        }

    def prepared_for_update(self, new: Body, old: Body, subresource: str) -> Body:
        if subresource == "status":
            return {**new, "spec": old["spec"]}
        if subresource == "finalize":
            return {**new, "status": old["status"]}
        return {**new, "spec": old["spec"], "status": old["status"]}

    def errors(self, obj: Body, old: Body | None) -> list[FieldError]:
        return _finalizers_errors(obj, "spec.finalizers", indexed=False)

    def update_errors(self, new: Body, old: Body, subresource: str) -> list[FieldError]:
        if subresource == "finalize":
            found = metadata.common_errors(new, False, formats.path_segment)
            found += metadata.update_errors_in_metadata(new, old) + metadata.kind_update_errors(new, old)
            return found + _finalizers_errors(new, "spec.finalizers", indexed=True)
        return super().update_errors(new, old, subresource)

    def changes_errors(self, new: Body, old: Body) -> list[FieldError]:
        found = metadata.errors_in_metadata(new, False, self.rule) + self.errors(new, old)
        return found + metadata.kind_update_errors(new, old)

    def status_errors(self, new: Body, old: Body) -> list[FieldError]:
        found = metadata.kind_update_errors(new, old)
        phase, going = new["status"].get("phase", ""), bool(new["metadata"].get("deletionTimestamp"))
        if not going and phase != "Active":
            said = "may only be 'Active' if `deletionTimestamp` is empty"
            found.append(wrong("status.Phase", phase, said))
        elif going and phase != "Terminating":
            said = "may only be 'Terminating' if `deletionTimestamp` is not empty"
            found.append(wrong("status.Phase", phase, said))
        return found

    def cells(self, obj: Body, now: float) -> list[Any]:
        return [obj["metadata"]["name"], (obj.get("status") or {}).get("phase", ""), printed.age(obj, now)]


def _finalizers_errors(obj: Body, path: str, indexed: bool) -> list[FieldError]:
    found: list[FieldError] = []
    for index, name in enumerate((obj.get("spec") or {}).get("finalizers") or ()):
        here = f"{path}[{index}]" if indexed else path
        found += all_wrong(here, name, formats.label_key(name))
        if "/" not in name and name not in STANDARD_FINALIZERS:
            found.append(wrong(here, name, "name is neither a standard finalizer name nor is it fully qualified"))
    return found

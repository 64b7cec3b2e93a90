"""References to fields and resources of the pod itself, in variables and in files.

Source: kubernetes pkg/apis/core/validation/validation.go, pkg/apis/core/pods, v1.36.3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from svclab.apiserver.strategy import formats
from svclab.apiserver.strategy.errors import FieldError, all_wrong, required, unsupported, wrong
from svclab.apiserver.strategy.metadata import Body
from svclab.apiserver.strategy.quantity import canonical

# What may stand in a fieldPath at all.
KNOWN = (
    *("metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations"),
    *("spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "spec.schedulerName"),
    *("status.phase", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs", "spec.host"),
)
RESOURCES = tuple(
    f"{part}.{name}" for part in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory")
)
SIZES = ("1", *(f"1{unit}" for unit in "kMGTPE"), *(f"1{unit}i" for unit in "KMGTPE"))
DIVISORS = {"cpu": ("1m", "1"), "memory": SIZES, "ephemeral-storage": SIZES}
CALLED = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": "local ephemeral storage"}


def field_errors(reference: Body, supported: Sequence[str], path: str) -> list[FieldError]:
    """A fieldRef; `supported` in the order the API lists them."""
    field = reference.get("fieldPath", "")
    if not reference.get("apiVersion"):
        return [required(f"{path}.apiVersion")]
    if not field:
        return [required(f"{path}.fieldPath")]
    subscripted = re.fullmatch(r"(.+)\['(.*)'\]", field)
    base = subscripted[1] if subscripted else field
    known = base in ("metadata.annotations", "metadata.labels") if subscripted else base in KNOWN
    if reference["apiVersion"] != "v1" or not known:
        said = (
            f"field label not supported: {field}"
            if reference["apiVersion"] == "v1"
            else (f"unsupported pod version: {reference['apiVersion']}")
        )
        return [wrong(f"{path}.fieldPath", field, f"error converting fieldPath: {said}")]
    if subscripted:
        key = subscripted[2].lower() if base == "metadata.annotations" else subscripted[2]
        return all_wrong(path, key, formats.label_key(key))
    internal = "spec.nodeName" if base == "spec.host" else base
    return [] if internal in supported else [unsupported(f"{path}.fieldPath", internal, supported)]


def resource_field_errors(reference: Body, path: str, in_volume: bool) -> list[FieldError]:
    """A resourceFieldRef."""
    resource = reference.get("resource", "")
    found: list[FieldError] = []
    if in_volume and not reference.get("containerName"):
        found.append(required(f"{path}.containerName"))
    elif not resource:
        found.append(required(f"{path}.resource"))
    elif resource not in RESOURCES and not re.match(r"(limits|requests)\.hugepages-", resource):
        found.append(unsupported(f"{path}.resource", resource, RESOURCES))
    divisor, name = canonical(reference.get("divisor", "0")), resource.partition(".")[2]
    if divisor != "0" and resource in RESOURCES and divisor not in DIVISORS[name]:
        few = name == "cpu"
        listed = " and ".join(DIVISORS[name]) if few else ", ".join(SIZES)
        said = f"only divisor's values {listed} are supported with the {CALLED[name]} resource"
        found.append(wrong(f"{path}.divisor", resource, said))
    return found

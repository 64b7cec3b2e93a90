"""What the API server warns of in pods and templates.

In: a spec with its defaults, the metadata beside it, the path of both ("" for a Pod, "spec.template"). Out: sentences
for Warning headers. Source: kubernetes pkg/api/pod/warnings.go, pkg/api/node/util.go, v1.36.3.
"""

from __future__ import annotations

from collections.abc import Iterator

from svclab.apiserver.strategy import addresses, quantity
from svclab.apiserver.strategy.errors import quoted
from svclab.apiserver.strategy.metadata import Body

OLD_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}
OLD_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}


def pod_warnings(spec: Body, meta: Body, path: str) -> list[str]:
    prefix = f"{path}." if path else ""
    at = f"{prefix}spec"
    found = [
        f"{at}.nodeSelector[{key}]: {OLD_LABELS[key]}" for key in spec.get("nodeSelector") or () if key in OLD_LABELS
    ]
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        here, key = f"{at}.topologySpreadConstraints[{index}]", constraint.get("topologyKey", "")
        if key in OLD_LABELS:
            found.append(f"{here}.topologyKey: {key} is {OLD_LABELS[key]}")
        if constraint.get("labelSelector") is None:
            found.append(f"{here}.labelSelector: a null labelSelector results in matching no pod")
    annotations = meta.get("annotations") or {}
    found += [
        f"{prefix}metadata.annotations[{key}]: {OLD_ANNOTATIONS[key]}" for key in OLD_ANNOTATIONS if key in annotations
    ]
    for index, volume in enumerate(spec.get("volumes") or ()):
        if volume.get("gitRepo") is not None:
            found.append(f"{at}.volumes[{index}].gitRepo: deprecated in v1.11, and disabled by default in v1.33+")
    found += _repeated(spec.get("hostAliases") or (), "ip", f"{at}.hostAliases")
    found += _repeated(spec.get("imagePullSecrets") or (), "name", f"{at}.imagePullSecrets")
    for index, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            found.append(f'{at}.imagePullSecrets[{index}].name: invalid empty name ""')
    for container, here in _containers(spec, at):
        found += _container_warnings(container, here)
    found += _ports_warnings(spec, at)
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        said = "must be >= 0; negative values are invalid and will be treated as 1"
        found.append(f"{at}.terminationGracePeriodSeconds: {said}")
    for index, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        found += addresses.address_warnings(f"{at}.dnsConfig.nameservers[{index}]", server)
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        found += addresses.address_warnings(f"{at}.hostAliases[{index}].ip", alias.get("ip", ""))
    return found


def _containers(spec: Body, path: str) -> Iterator[tuple[Body, str]]:
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(kind) or ()):
            yield container, f"{path}.{kind}[{index}]"


def _repeated(items: tuple[Body, ...] | list[Body], field: str, path: str) -> list[str]:
    found: list[str] = []
    seen: set[str] = set()
    for index, item in enumerate(items):
        value = item.get(field, "")
        if value in seen:
            found.append(f"{path}[{index}].{field}: duplicate {field} {quoted(value)}")
        seen.add(value)
    return found


def _container_warnings(container: Body, path: str) -> list[str]:
    found: list[str] = []
    resources = container.get("resources") or {}
    for name in ("memory", "ephemeral-storage"):
        for kind in ("limits", "requests"):
            amount = (resources.get(kind) or {}).get(name)
            if amount is not None and quantity.value(amount).denominator != 1:
                said = f"fractional byte value {quoted(amount)} is invalid, must be an integer"
                found.append(f"{path}.resources.{kind}[{name}]: {said}")
    seen: set[str] = set()
    for index, variable in enumerate(container.get("env") or ()):
        name, value = variable.get("name", ""), variable.get("value", "")
        itself = f"$({name})"
        if name in seen and (variable.get("valueFrom") is not None or value == itself or itself not in value):
            said = f"hides previous definition of {quoted(name)}, which may be dropped when using apply"
            found.append(f"{path}.env[{index}]: {said}")
        seen.add(name)
    return found


def _ports_warnings(spec: Body, path: str) -> list[str]:
    found: list[str] = []
    known: dict[tuple[int, str], list[tuple[str, Body]]] = {}
    names: dict[str, str] = {}
    renamed: list[str] = []
    for container, here in _containers(spec, path):
        for index, port in enumerate(container.get("ports") or ()):
            at = f"{here}.ports[{index}]"
            others = known.setdefault((port.get("containerPort", 0), port.get("protocol", "")), [])
            found += [text for other, theirs in others if (text := _overlap(at, port, other, theirs))]
            others.append((at, port))
            if name := port.get("name"):
                if name in names:
                    renamed.append(
                        f"{at}: duplicate port name {quoted(name)} with {names[name]}, "
                        f"services and probes that select ports by name will use {names[name]}"
                    )
                names.setdefault(name, at)
    return found + renamed


def _overlap(at: str, port: Body, other: str, theirs: Body) -> str:
    mine, yours = ((each.get("hostIP", ""), each.get("hostPort", 0)) for each in (port, theirs))
    if mine == yours:
        return f"{at}: duplicate port definition with {other}"
    if not mine[1] or not yours[1]:
        return f"{at}: overlapping port definition with {other}"
    if mine[1] == yours[1] and bool(mine[0]) != bool(yours[0]):
        return f"{at}: dangerously ambiguous port definition with {other}"
    return ""

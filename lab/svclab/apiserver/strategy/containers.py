"""What the containers of a pod must be: names, images, ports, environment, resources, probes, hooks.

In: containers with their defaults. Out: errors in the API server's order and words. Source: kubernetes
pkg/apis/core/validation/validation.go, v1.36.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from svclab.apiserver.strategy import formats, quantity
from svclab.apiserver.strategy.errors import (
    FieldError,
    all_wrong,
    duplicate,
    forbidden,
    required,
    too_many,
    unsupported,
    wrong,
)
from svclab.apiserver.strategy.fields import field_errors, resource_field_errors
from svclab.apiserver.strategy.metadata import Body
from svclab.apiserver.strategy.service_rules import PROTOCOLS, port_number_or_name_errors
from svclab.apiserver.strategy.volumes import mounts_errors

NEGATIVE = "must be greater than or equal to 0"
WHOLE = "must be an integer"
ENVIRONMENT_FIELDS = (
    *("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName"),
    *("status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"),
)
STANDARD_RESOURCES = {
    *("cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage"),
    *("limits.cpu", "limits.memory", "limits.ephemeral-storage", "pods", "resourcequotas", "services"),
    *("replicationcontrollers", "secrets", "configmaps", "persistentvolumeclaims", "storage", "requests.storage"),
    *("services.nodeports", "services.loadbalancers"),
}
CONTAINER_RESOURCES = {"cpu", "memory", "ephemeral-storage"}
INTEGER_RESOURCES = {"pods", "services", "secrets", "configmaps"}
VALUE_FROM = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


class Around(msgspec.Struct, frozen=True):
    """What a container's rules must know of its pod: good volumes, grace period in seconds, how it restarts."""

    volumes: Mapping[str, Body]
    grace: int
    restart_policy: str


def containers_errors(spec: Body, around: Around, path: str) -> list[FieldError]:
    """`path` is that of the spec."""
    return _regular_errors(spec.get("containers") or [], around, f"{path}.containers") + _init_errors(
        spec, around, f"{path}.initContainers"
    )


def _regular_errors(containers: list[Body], around: Around, path: str) -> list[FieldError]:
    if not containers:
        return [required(path)]
    found: list[FieldError] = []
    names: set[str] = set()
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        found += _common_errors(container, around, here)
        name = container.get("name", "")
        if name in names:
            found.append(duplicate(f"{here}.name", name))
        names.add(name)
        found += _hooks_and_probes_errors(container, around, here)
        found += _restart_errors(container, here)
    return found + host_ports_errors(containers, path)


def _init_errors(spec: Body, around: Around, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    names = {container.get("name", "") for container in spec.get("containers") or ()}
    for index, container in enumerate(spec.get("initContainers") or ()):
        here, name = f"{path}[{index}]", container.get("name", "")
        found += _common_errors(container, around, here)
        found += _restart_errors(container, here)
        if name in names:
            found.append(duplicate(f"{here}.name", name))
        elif name:
            names.add(name)
        found += host_ports_errors([container], path)
        if container.get("restartPolicy") == "Always":
            found += _hooks_and_probes_errors(container, around, here)
            continue
        for field in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            if container.get(field) is not None:
                said = "may not be set for init containers without restartPolicy=Always"
                found.append(forbidden(f"{here}.{field}", said))
    return found


def _common_errors(container: Body, around: Around, path: str) -> list[FieldError]:
    name = container.get("name", "")
    found = all_wrong(f"{path}.name", name, formats.dns_label(name)) if name else [required(f"{path}.name")]
    if not container.get("image"):
        found.append(required(f"{path}.image"))
    policies = ("File", "FallbackToLogsOnError")
    if (policy := container.get("terminationMessagePolicy", "")) not in policies:
        found.append(unsupported(f"{path}.terminationMessagePolicy", policy, policies))
    found += _ports_errors(container.get("ports") or [], f"{path}.ports")
    found += _environment_errors(container.get("env") or [], f"{path}.env")
    found += _environment_sources_errors(container.get("envFrom") or [], f"{path}.envFrom")
    found += mounts_errors(container, around.volumes, f"{path}.volumeMounts")
    pull = ("Always", "IfNotPresent", "Never")
    if (policy := container.get("imagePullPolicy", "")) not in pull:
        found.append(unsupported(f"{path}.imagePullPolicy", policy, pull))
    found += resources_errors(container.get("resources") or {}, f"{path}.resources")
    found += _resize_errors(container.get("resizePolicy") or [], around.restart_policy, f"{path}.resizePolicy")
    return found + _security_errors(container.get("securityContext") or {}, f"{path}.securityContext")


def _ports_errors(ports: list[Body], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        here, name = f"{path}[{index}]", port.get("name", "")
        if name:
            if messages := formats.port_name(name):
                found += all_wrong(f"{here}.name", name, messages)
            elif name in names:
                found.append(duplicate(f"{here}.name", name))
            else:
                names.add(name)
        number, host = port.get("containerPort", 0), port.get("hostPort", 0)
        if number:
            found += all_wrong(f"{here}.containerPort", number, formats.port(number))
        else:
            found.append(required(f"{here}.containerPort"))
        if host:
            found += all_wrong(f"{here}.hostPort", host, formats.port(host))
        if (protocol := port.get("protocol", "")) not in PROTOCOLS:
            found.append(unsupported(f"{here}.protocol", protocol, PROTOCOLS))
    return found


def host_ports_errors(containers: list[Body], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    taken: set[str] = set()
    for index, container in enumerate(containers):
        for position, port in enumerate(container.get("ports") or ()):
            if not (number := port.get("hostPort")):
                continue
            text = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{number}"
            if text in taken:
                found.append(duplicate(f"{path}[{index}].ports[{position}].hostPort", text))
            taken.add(text)
    return found


def _environment_errors(variables: list[Body], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, variable in enumerate(variables):
        here, name = f"{path}[{index}]", variable.get("name", "")
        if name:
            found += all_wrong(f"{here}.name", name, formats.variable_name(name))
        else:
            found.append(required(f"{here}.name"))
        if (source := variable.get("valueFrom")) is not None:
            found += _value_from_errors(source, bool(variable.get("value")), f"{here}.valueFrom")
    return found


def _value_from_errors(source: Body, has_value: bool, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    given = [kind for kind in VALUE_FROM if source.get(kind) is not None]
    for kind in given:
        here, reference = f"{path}.{kind}", source[kind]
        if kind == "fieldRef":
            found += field_errors(reference, ENVIRONMENT_FIELDS, here)
        elif kind == "resourceFieldRef":
            found += resource_field_errors(reference, here, in_volume=False)
        elif kind != "fileKeyRef":
            name, key = reference.get("name", ""), reference.get("key", "")
            found += all_wrong(f"{here}.name", name, formats.dns_subdomain(name))
            found += all_wrong(f"{here}.key", key, formats.data_key(key)) if key else [required(f"{here}.key")]
    if not given:
        said = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        found.append(wrong(path, "", said))
    elif has_value:
        found.append(wrong(path, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        found.append(wrong(path, "", "may not have more than one field specified at a time"))
    return found


def _environment_sources_errors(sources: list[Body], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, source in enumerate(sources):
        here, prefix = f"{path}[{index}]", source.get("prefix", "")
        if prefix:
            found += all_wrong(f"{here}.prefix", prefix, formats.variable_name(prefix))
        given = [kind for kind in ("configMapRef", "secretRef") if source.get(kind) is not None]
        for kind in given:
            name = source[kind].get("name", "")
            at = f"{here}.{kind}.name"
            found += all_wrong(at, name, formats.dns_subdomain(name)) if name else [required(at)]
        if not given:
            found.append(wrong(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            found.append(wrong(path, "", "may not have more than one field specified at a time"))
    return found


def resources_errors(resources: Body, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, amount in sorted(limits.items()):
        found += _resource_name_errors(name, f"{path}.limits[{name}]")
        found += resource_amount_errors(name, amount, f"{path}.limits[{name}]")
    for name, amount in sorted(requests.items()):
        found += _resource_name_errors(name, f"{path}.requests[{name}]")
        found += resource_amount_errors(name, amount, f"{path}.requests[{name}]")
        shared = "/" not in name and not name.startswith("hugepages-")
        if name not in limits:
            if not shared:
                said = "Limit must be set for non overcommitable resources"
                found.append(required(f"{path}.limits", said))
            continue
        asked, most = quantity.value(amount), quantity.value(limits[name])
        if asked != most and not shared:
            said = f"must be equal to {name} limit of {limits[name]}"
            found.append(wrong(f"{path}.requests", amount, said))
        elif asked > most:
            said = f"must be less than or equal to {name} limit of {limits[name]}"
            found.append(wrong(f"{path}.requests", amount, said))
    named = {*limits, *requests}
    if any(name.startswith("hugepages-") for name in named) and not {"cpu", "memory"} & named:
        found.append(forbidden(path, "HugePages require cpu or memory"))
    return found


def _resource_name_errors(name: str, path: str) -> list[FieldError]:
    found = all_wrong(path, name, formats.label_key(name))
    if "/" not in name:
        huge = name.startswith("hugepages-")
        if not found and name not in STANDARD_RESOURCES and not huge:
            found.append(wrong(path, name, "must be a standard resource type or fully qualified"))
        if name not in CONTAINER_RESOURCES and not huge:
            found.append(wrong(path, name, "must be a standard resource for containers"))
    elif "kubernetes.io/" not in name and (name.startswith("requests.") or formats.label_key(f"requests.{name}")):
        found.append(wrong(path, name, "doesn't follow extended resource name standard"))
    return found


def resource_amount_errors(name: str, amount: str, path: str) -> list[FieldError]:
    value = quantity.value(amount)
    found = [wrong(path, amount, NEGATIVE)] if value < 0 else []
    extended = "/" in name and "kubernetes.io/" not in name
    if (extended or name in INTEGER_RESOURCES) and value.denominator != 1:
        found.append(wrong(path, amount, WHOLE))
    return found


def _resize_errors(policies: list[Body], restart_policy: str, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        resource, action = policy["resourceName"], policy["restartPolicy"]
        if resource in seen:
            found.append(duplicate(f"{path}[{index}]", resource))
        seen.add(resource)
        for value, supported in ((resource, ("cpu", "memory")), (action, ("NotRequired", "RestartContainer"))):
            if not value:
                found.append(required(path))
            elif value not in supported:
                found.append(unsupported(path, value, supported))
        if restart_policy == "Never" and action != "NotRequired":
            said = "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
            found.append(wrong(path, action, said))
    return found


def _security_errors(context: Body, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if context.get("privileged"):
        found.append(forbidden(f"{path}.privileged", "disallowed by cluster policy"))
    for field in ("runAsUser", "runAsGroup"):
        if (number := context.get(field)) is not None:
            found += all_wrong(f"{path}.{field}", number, formats.within(number, 0, 2**31 - 1))
    return found


def _hooks_and_probes_errors(container: Body, around: Around, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    lifecycle = container.get("lifecycle") or {}
    for hook in ("postStart", "preStop"):
        if (handler := lifecycle.get(hook)) is not None:
            found += _handler_errors(handler, around.grace, f"{path}.lifecycle.{hook}")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if (probe := container.get(name)) is not None:
            found += _probe_errors(probe, name, around.grace, f"{path}.{name}")
    return found


def _probe_errors(probe: Body, name: str, grace: int, path: str) -> list[FieldError]:
    found = _handler_errors(probe, grace, path)
    for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        if probe.get(field, 0) < 0:
            found.append(wrong(f"{path}.{field}", probe[field], NEGATIVE))
    seconds = probe.get("terminationGracePeriodSeconds")
    if seconds is not None and seconds <= 0:
        found.append(wrong(f"{path}.terminationGracePeriodSeconds", seconds, "must be greater than 0"))
    if name == "readinessProbe":
        if seconds is not None:
            said = "must not be set for readinessProbes"
            found.append(wrong(f"{path}.terminationGracePeriodSeconds", seconds, said))
    elif probe.get("successThreshold", 0) != 1:
        found.append(wrong(f"{path}.successThreshold", probe.get("successThreshold", 0), "must be 1"))
    return found


def _handler_errors(holder: Body, grace: int, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    given = [kind for kind in HANDLERS if holder.get(kind) is not None]
    for position, kind in enumerate(given):
        here, handler = f"{path}.{kind}", holder[kind]
        if position:
            found.append(forbidden(here, "may not specify more than 1 handler type"))
        elif kind == "exec" and not handler.get("command"):
            found.append(required(f"{here}.command"))
        elif kind == "httpGet":
            found += _http_errors(handler, here)
        elif kind in ("tcpSocket", "grpc"):
            found += port_number_or_name_errors(f"{here}.port", handler.get("port", 0))
        elif kind == "sleep" and not 0 <= handler.get("seconds", 0) <= grace:
            said = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
            found.append(wrong(here, handler.get("seconds", 0), said))
    return found if given else [required(path, "must specify a handler type")]


def _http_errors(handler: Body, path: str) -> list[FieldError]:
    found = [] if handler.get("path") else [required(f"{path}.path")]
    found += port_number_or_name_errors(f"{path}.port", handler.get("port", 0))
    if (scheme := handler.get("scheme", "")) not in ("HTTP", "HTTPS"):
        found.append(unsupported(f"{path}.scheme", scheme, ("HTTP", "HTTPS")))
    for header in handler.get("httpHeaders") or ():
        name = header.get("name", "")
        found += all_wrong(f"{path}.httpHeaders", name, formats.header_name(name))
    return found


def _restart_errors(container: Body, path: str) -> list[FieldError]:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or []
    policies = ("Always", "Never", "OnFailure")
    found: list[FieldError] = []
    if policy is None and rules:
        said = "must specify restartPolicy when restart rules are used"
        found.append(required(f"{path}.restartPolicy", said))
    elif policy is not None and policy not in policies:
        found.append(unsupported(f"{path}.restartPolicy", policy, policies))
    if len(rules) > 20:
        found.append(too_many(f"{path}.restartPolicyRules", len(rules), 20))
    return found


def trimmed_images_errors(containers: list[Body], path: str) -> list[FieldError]:
    said = "must not have leading or trailing whitespace"
    return [
        wrong(f"{path}[{index}].image", image, said)
        for index, container in enumerate(containers)
        if re.search(r"^\s|\s$", image := container.get("image", ""))
    ]

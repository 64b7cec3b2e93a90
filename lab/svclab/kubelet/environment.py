"""The environment of a container, its command line, and what `fieldRef` and `resourceFieldRef` stand for. Pure.

In: a Pod, one of its containers, the Services of the cluster, and a way to look up a ConfigMap or Secret. Out:
variables, argv. Spelling and order of precedence are the kubelet's (kubernetes pkg/kubelet/envvars, kubelet_pods.go):
service links < envFrom < env. Refused, by `MissingError` with the kubelet's words: a ConfigMap, Secret or key that is
not there.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any, TypeAlias

Body: TypeAlias = dict[str, Any]

Look: TypeAlias = Callable[[str, str], Body | None]
"""Kind ("configmap" or "secret") and name → the object in the pod's namespace, None if there is none."""

_REFERENCE = re.compile(r"\$(\$|\([^)]*\))")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")
_QUANTITY = re.compile(r"^([+-]?[0-9.]+)([a-zA-Z]*)([0-9]*)$")
_SUFFIXES = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{suffix: Fraction(1000**power) for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{suffix: Fraction(1024**power) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}


class MissingError(Exception):
    """What a container needs and is not there; the message is the kubelet's."""


def service_variables(services: Iterable[Body], namespace: str, links: bool) -> dict[str, str]:
    """Variables for the Services that a pod of the namespace is told about: always `default/kubernetes`.

    `links` is `spec.enableServiceLinks`: the Services of the pod's own namespace too.
    """
    chosen: dict[str, Body] = {}
    for service in services:
        meta = service["metadata"]
        if service["spec"].get("clusterIP", "") in ("", "None"):
            continue
        if meta["namespace"] == "default" and meta["name"] == "kubernetes":
            chosen.setdefault("kubernetes", service)
        elif meta["namespace"] == namespace and links:
            chosen[meta["name"]] = service
    found: dict[str, str] = {}
    for name in sorted(chosen):
        found |= _variables_of(name, chosen[name]["spec"])
    return found


def _variables_of(name: str, spec: Body) -> dict[str, str]:
    prefix, ports = _upper(name), spec.get("ports") or []
    host = str(spec["clusterIP"])
    found = {f"{prefix}_SERVICE_HOST": host}
    if not ports:
        return found
    found[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
    for port in ports:
        if port.get("name"):
            found[f"{prefix}_SERVICE_PORT_{_upper(port['name'])}"] = str(port["port"])
    joined = f"[{host}]" if ":" in host else host
    for number, port in enumerate(ports):
        protocol = port.get("protocol") or "TCP"
        url = f"{protocol.lower()}://{joined}:{port['port']}"
        if number == 0:
            found[f"{prefix}_PORT"] = url
        link = f"{prefix}_PORT_{port['port']}_{protocol.upper()}"
        found |= {link: url, f"{link}_PROTO": protocol.lower(), f"{link}_PORT": str(port["port"]), f"{link}_ADDR": host}
    return found


def _upper(name: str) -> str:
    return name.replace("-", "_").upper()


def expanded(text: str, *mappings: Mapping[str, str]) -> str:
    """`$(NAME)` replaced by its value, first mapping first; unknown names stay as they are; `$$` is one dollar."""

    def replacement(match: re.Match[str]) -> str:
        found = match.group(1)
        if found == "$":
            return "$"
        return next((values[found[1:-1]] for values in mappings if found[1:-1] in values), match.group(0))

    return _REFERENCE.sub(replacement, text)


def variables(
    container: Body,
    links: Mapping[str, str],
    look: Look,
    namespace: str,
    field: Callable[[Body], str],
    resource: Callable[[Body], str],
) -> dict[str, str]:
    """All variables of a container but its image's. `field` and `resource` resolve fieldRef and resourceFieldRef.

    Raises MissingError.
    """
    own: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        for kind, key in (("configmap", "configMapRef"), ("secret", "secretRef")):
            if (reference := source.get(key)) is not None:
                found = _found(look, kind, reference)
                values = {} if found is None else texts(kind, found)
                own |= {source.get("prefix", "") + name: value for name, value in values.items()}
    for variable in container.get("env") or []:
        value: str | None = variable.get("value") or ""
        origin = variable.get("valueFrom")
        if value:
            value = expanded(value, own, links)
        elif origin:
            value = _value_from(origin, look, namespace, field, resource)
        if value is not None:
            own[variable["name"]] = value
    return {**links, **own}


def _value_from(
    origin: Body, look: Look, namespace: str, field: Callable[[Body], str], resource: Callable[[Body], str]
) -> str | None:
    if "fieldRef" in origin:
        return field(origin["fieldRef"])
    if "resourceFieldRef" in origin:
        return resource(origin["resourceFieldRef"])
    for kind, key, shown in (("configmap", "configMapKeyRef", "ConfigMap"), ("secret", "secretKeyRef", "Secret")):
        if (reference := origin.get(key)) is not None:
            found = _found(look, kind, reference)
            values = {} if found is None else texts(kind, found)
            if reference["key"] in values:
                return values[reference["key"]]
            if reference.get("optional"):
                return None
            raise MissingError(
                f"couldn't find key {reference['key']} in {shown} {namespace}/{reference.get('name', '')}"
            )
    raise MissingError(f"environment from {', '.join(origin)} is not supported by this kubelet")


def _found(look: Look, kind: str, reference: Body) -> Body | None:
    found = look(kind, reference.get("name", ""))
    if found is None and not reference.get("optional"):
        raise MissingError(f'{kind} "{reference.get("name", "")}" not found')
    return found


def texts(kind: str, found: Body) -> dict[str, str]:
    """The data of a ConfigMap or Secret as text."""
    data = found.get("data") or {}
    if kind == "configmap":
        return {str(key): str(value) for key, value in data.items()}
    return {key: value.decode(errors="replace") for key, value in contents(kind, found).items()}


def contents(kind: str, found: Body) -> dict[str, bytes]:
    """The data of a ConfigMap or Secret as bytes."""
    data = found.get("data") or {}
    coded = data if kind == "secret" else found.get("binaryData") or {}
    plain = {key: str(value).encode() for key, value in data.items()} if kind == "configmap" else {}
    try:
        return {**plain, **{key: base64.b64decode(value) for key, value in coded.items()}}
    except ValueError as error:
        raise MissingError(f'{kind} "{found["metadata"].get("name", "")}" holds what is no base64: {error}') from error


def field_value(pod: Body, path: str, facts: Mapping[str, str]) -> str:
    """What a `fieldRef.fieldPath` stands for. `facts` holds the values that the API does not know yet, by path."""
    if path in facts:
        return facts[path]
    meta = pod["metadata"]
    if match := _SUBSCRIPT.match(path):
        return str((meta.get(match[1]) or {}).get(match[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        values = meta.get(path.partition(".")[2]) or {}
        return "\n".join(f"{key}={_quoted(values[key])}" for key in sorted(values))
    value: Any = pod
    for step in path.split("."):
        value = (value or {}).get(step)
    if isinstance(value, dict | list):
        raise MissingError(f"unsupported fieldPath: {path}")
    return "" if value is None else str(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def resource_value(pod: Body, container: Body, reference: Body, capacity: Mapping[str, str]) -> str:
    """What a `resourceFieldRef` stands for: whole divisors, rounded up. A limit that is not set is the node's."""
    name = reference.get("containerName") or container["name"]
    owner = next((one for one in containers_of(pod) if one["name"] == name), container)
    where, _, what = reference["resource"].partition(".")
    found = ((owner.get("resources") or {}).get(where) or {}).get(what)
    if found is None:
        found = capacity.get(what, "0") if where == "limits" else "0"
    divisor = quantity(str(reference.get("divisor") or "1")) or Fraction(1)
    return str(math.ceil(quantity(str(found)) / divisor))


def quantity(text: str) -> Fraction:
    """A resource quantity such as `250m`, `1Gi`, `2e3`. Raises MissingError."""
    match = _QUANTITY.match(text)
    if match is None:
        raise MissingError(f"{text!r} is no quantity")
    number, suffix, exponent = match.groups()
    if exponent and suffix in ("e", "E"):
        return Fraction(number) * Fraction(10) ** int(exponent)
    if suffix not in _SUFFIXES:
        raise MissingError(f"{text!r} is no quantity")
    return Fraction(number) * _SUFFIXES[suffix]


def containers_of(pod: Body) -> list[Body]:
    """Init containers, then the others, in the order of the spec."""
    return [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]


def command_line(
    container: Body, entrypoint: Iterable[str], command: Iterable[str], env: Mapping[str, str]
) -> list[str]:
    """argv: `command` replaces the image's entrypoint and its command, `args` only the command."""
    own = [expanded(word, env) for word in container.get("command") or []]
    args = [expanded(word, env) for word in container.get("args") or []]
    if own:
        return own + args
    return [*entrypoint, *(args or command)]

"""Defaults of pods and of pod templates.

In: a spec in normal form, which belongs to the caller and is changed in place. Source: kubernetes
pkg/apis/core/v1/defaults.go and the defaults in k8s.io/api, v1.36.3.
"""

from __future__ import annotations

import re

from svclab.apiserver.strategy.metadata import Body
from svclab.apiserver.strategy.quantity import rounded_up

GRACE_SECONDS = 30
FILE_MODE = 0o644
TOKEN_SECONDS = 3600
DOMAIN = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?))*(?::[0-9]+)?"
PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REFERENCE = re.compile(
    rf"(?:{DOMAIN}/)?{PART}(?:/{PART})*(?P<tag>:\w[\w.-]{{0,127}})?"
    r"(?P<digest>@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)


def pull_policy(image: str) -> str:
    """Always for `latest` and for no tag at all; a text that is no reference counts as one with a tag."""
    found = REFERENCE.fullmatch(image)
    latest = found and (found["tag"] == ":latest" or (not found["tag"] and not found["digest"]))
    return "Always" if latest else "IfNotPresent"


def set_pod_defaults(spec: Body) -> None:
    """What only a Pod gets, and no template."""
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        resources = container["resources"]
        for name, amount in resources.get("limits", {}).items():
            resources.setdefault("requests", {}).setdefault(name, amount)
        for port in container.get("ports", ()):
            if spec.get("hostNetwork") and port["containerPort"]:
                port.setdefault("hostPort", port["containerPort"])
    spec.setdefault("enableServiceLinks", True)
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1


def set_template_defaults(spec: Body) -> None:
    """What Pods and templates get."""
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", GRACE_SECONDS)
    spec.setdefault("schedulerName", "default-scheduler")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for volume in spec.get("volumes", ()):
        _set_volume_defaults(volume)
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            _set_container_defaults(container)
    _round_up(spec, "overhead")
    _round_up(spec.get("resources") or {}, "limits", "requests")


def _set_container_defaults(container: Body) -> None:
    container.setdefault("imagePullPolicy", pull_policy(container.get("image", "")))
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
    for variable in container.get("env", ()):
        _set_field_version(variable.get("valueFrom") or {})
        if key := (variable.get("valueFrom") or {}).get("fileKeyRef"):
            key.setdefault("optional", False)
    _round_up(container.get("resources") or {}, "limits", "requests")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if (probe := container.get(name)) is not None:
            for field, value in (("timeoutSeconds", 1), ("periodSeconds", 10)):
                probe.setdefault(field, value)
            for field, value in (("successThreshold", 1), ("failureThreshold", 3)):
                probe.setdefault(field, value)
            _set_handler_defaults(probe)
    lifecycle = container.get("lifecycle") or {}
    if lifecycle.pop("stopSignal", None) and not lifecycle:  # a feature that is off by default
        del container["lifecycle"]
    for handler in lifecycle.values():
        _set_handler_defaults(handler)


def _set_handler_defaults(handler: Body) -> None:
    if (get := handler.get("httpGet")) is not None:
        get.setdefault("path", "/")
        get.setdefault("scheme", "HTTP")
    if (grpc := handler.get("grpc")) is not None:
        grpc["service"] = grpc.get("service") or ""


def _set_field_version(source: Body) -> None:
    if (field := source.get("fieldRef")) is not None:
        field.setdefault("apiVersion", "v1")


def _set_volume_defaults(volume: Body) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for source in ("secret", "configMap", "downwardAPI", "projected"):
        if (given := volume.get(source)) is not None:
            given.setdefault("defaultMode", FILE_MODE)
    for item in (volume.get("downwardAPI") or {}).get("items", ()):
        _set_field_version(item)
    if (host := volume.get("hostPath")) is not None:
        host.setdefault("type", "")
    if (image := volume.get("image")) is not None:
        image.setdefault("pullPolicy", pull_policy(image.get("reference", "")))
    for source in (volume.get("projected") or {}).get("sources") or ():
        if (token := source.get("serviceAccountToken")) is not None:
            token.setdefault("expirationSeconds", TOKEN_SECONDS)
        for item in (source.get("downwardAPI") or {}).get("items", ()):
            _set_field_version(item)


def _round_up(holder: Body, *fields: str) -> None:
    for field in fields:
        if given := holder.get(field):
            holder[field] = {name: rounded_up(amount) for name, amount in given.items()}

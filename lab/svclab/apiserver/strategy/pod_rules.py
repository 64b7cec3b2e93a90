"""What the spec of a pod or of a template must be, and the status of a pod.

In: specs with their defaults. Out: errors in the API server's order and words. Windows, resource claims and security
profiles are not checked. Source: kubernetes pkg/apis/core/validation/validation.go, v1.36.3.
"""

from __future__ import annotations

import re

from svclab.apiserver.strategy import addresses, formats, metadata, quantity
from svclab.apiserver.strategy.containers import Around, containers_errors, trimmed_images_errors
from svclab.apiserver.strategy.errors import FieldError, all_wrong, duplicate, forbidden, required, unsupported, wrong
from svclab.apiserver.strategy.metadata import Body
from svclab.apiserver.strategy.scheduling import affinity_errors, spread_errors, tolerations_errors
from svclab.apiserver.strategy.volumes import volumes_errors

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
MOST_SECONDS = 2**31 - 1
MIRROR, DELETION_COST = "kubernetes.io/config.mirror", "controller.kubernetes.io/pod-deletion-cost"


def spec_errors(spec: Body, path: str, in_pod: bool) -> list[FieldError]:
    """`in_pod` is False for a template."""
    grace = spec.get("terminationGracePeriodSeconds", 0)
    good, found = volumes_errors(spec.get("volumes") or [], f"{path}.volumes")
    around = Around(good, grace, spec.get("restartPolicy", ""))
    found += containers_errors(spec, around, path)
    found += _host_network_errors(spec, f"{path}.containers", in_pod)
    if (policy := spec.get("restartPolicy", "")) not in RESTART_POLICIES:
        found.append(unsupported(f"{path}.restartPolicy", policy, RESTART_POLICIES))
    if (policy := spec.get("dnsPolicy", "")) not in DNS_POLICIES:
        found.append(unsupported(f"{path}.dnsPolicy", policy, DNS_POLICIES))
    found += metadata.labels_errors(spec.get("nodeSelector"), f"{path}.nodeSelector")
    found += _security_errors(spec, f"{path}.securityContext")
    found += affinity_errors(spec.get("affinity"), f"{path}.affinity")
    found += _dns_errors(spec, f"{path}.dnsConfig")
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        kind = gate.get("conditionType", "")
        found += all_wrong(f"{path}.readinessGates[{index}].conditionType", kind, formats.label_key(kind))
    found += _gates_errors(spec, f"{path}.schedulingGates")
    found += spread_errors(spec.get("topologySpreadConstraints") or (), f"{path}.topologySpreadConstraints")
    found += _host_users_errors(spec, path)
    found += _hostname_override_errors(spec, path)
    return found + _simple_errors(spec, path)


def _simple_errors(spec: Body, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for field in ("serviceAccountName", "nodeName"):
        if name := spec.get(field):
            found += all_wrong(f"{path}.{field}", name, formats.dns_subdomain(name))
    if (seconds := spec.get("activeDeadlineSeconds")) is not None:
        found += all_wrong(f"{path}.activeDeadlineSeconds", seconds, formats.within(seconds, 1, MOST_SECONDS))
    for field in ("hostname", "subdomain"):
        if name := spec.get(field):
            found += all_wrong(f"{path}.{field}", name, formats.dns_label(name))
    found += tolerations_errors(spec.get("tolerations") or (), f"{path}.tolerations")
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        here = f"{path}.hostAliases[{index}]"
        found += addresses.address_errors(f"{here}.ip", alias.get("ip", ""))
        for position, name in enumerate(alias.get("hostnames") or ()):
            found += all_wrong(f"{here}.hostnames[{position}]", name, formats.dns_subdomain(name))
    for field in ("priorityClassName", "runtimeClassName"):
        if (name := spec.get(field)) is not None and (name or field == "runtimeClassName"):
            found += all_wrong(f"{path}.{field}", name, formats.dns_subdomain(name))
    policies = ("PreemptLowerPriority", "Never")
    if (policy := spec.get("preemptionPolicy")) is not None and policy not in policies:
        found.append(unsupported(f"{path}.preemptionPolicy", policy, policies))
    if (system := spec.get("os")) is not None:
        name = system.get("name", "")
        if not name:
            found.append(required(f"{path}.os.name"))
        elif name not in ("linux", "windows"):
            found.append(unsupported(f"{path}.os", name, ("linux", "windows")))
    return found


def _host_network_errors(spec: Body, path: str, in_pod: bool) -> list[FieldError]:
    found: list[FieldError] = []
    said = "must match `containerPort` when `hostNetwork` is true"
    for index, container in enumerate(spec.get("containers") or () if spec.get("hostNetwork") else ()):
        for position, port in enumerate(container.get("ports") or ()):
            host = port.get("hostPort", 0)
            if (in_pod or host) and host != port.get("containerPort", 0):
                found.append(wrong(f"{path}[{index}].ports[{position}].hostPort", host, said))
    return found


def _security_errors(spec: Body, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    context = spec.get("securityContext") or {}
    for field in ("fsGroup", "runAsUser", "runAsGroup"):
        if (number := context.get(field)) is not None:
            found += all_wrong(f"{path}.{field}", number, formats.within(number, 0, MOST_SECONDS))
    for index, number in enumerate(context.get("supplementalGroups") or ()):
        found += all_wrong(f"{path}.supplementalGroups[{index}]", number, formats.within(number, 0, MOST_SECONDS))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        said = "ShareProcessNamespace and HostPID cannot both be enabled"
        found.append(wrong(f"{path}.shareProcessNamespace", True, said))
    return found


def _dns_errors(spec: Body, path: str) -> list[FieldError]:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            return [required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            said = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [required(f"{path}.nameservers", said)]
    found: list[FieldError] = []
    servers, searches = (config or {}).get("nameservers") or [], (config or {}).get("searches") or []
    if len(servers) > 3:
        found.append(wrong(f"{path}.nameservers", servers, "must not have more than 3 nameservers"))
    for index, server in enumerate(servers):
        found += addresses.address_errors(f"{path}.nameservers[{index}]", server)
    if len(searches) > 32:
        found.append(wrong(f"{path}.searches", searches, "must not have more than 32 search paths"))
    if formats.size(" ".join(searches)) > 2048:
        said = "must not have more than 2048 characters (including spaces) in the search list"
        found.append(wrong(f"{path}.searches", searches, said))
    for index, search in enumerate(searches):
        if search != ".":
            name = search.removesuffix(".")
            found += all_wrong(f"{path}.searches[{index}]", name, formats.dns_subdomain_with_underscore(name))
    for index, option in enumerate((config or {}).get("options") or ()):
        if not option.get("name"):
            found.append(required(f"{path}.options[{index}]", "must not be empty"))
    return found


def _gates_errors(spec: Body, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        name = gate.get("name", "")
        found += all_wrong(f"{path}[{index}]", name, formats.label_key(name))
        if name in seen:
            found.append(duplicate(f"{path}[{index}]", name))
        seen.add(name)
    return found


def _host_users_errors(spec: Body, path: str) -> list[FieldError]:
    if spec.get("hostUsers") is not False:
        return []
    said = "when `hostUsers` is false"
    fields = {"hostNetwork": "hostNetwork", "hostPID": "HostPID", "hostIPC": "HostIPC"}
    return [forbidden(f"{path}.{shown}", said) for field, shown in fields.items() if spec.get(field)]


def _hostname_override_errors(spec: Body, path: str) -> list[FieldError]:
    name = spec.get("hostnameOverride")
    if name is None:
        return []
    here = f"{path}.hostnameOverride"
    found: list[FieldError] = []
    if spec.get("setHostnameAsFQDN"):
        found.append(forbidden(here, "may not be specified when setHostnameAsFQDN is true"))
    if spec.get("hostNetwork"):
        found.append(forbidden(here, "may not be specified when hostNetwork is true"))
    return found + all_wrong(here, name, formats.dns_subdomain(name))


def annotations_errors(annotations: dict[str, str], spec: Body, path: str) -> list[FieldError]:
    """Annotations that mean something to pods."""
    found: list[FieldError] = []
    if MIRROR in annotations and not spec.get("nodeName"):
        said = "must set spec.nodeName if mirror pod annotation is set"
        found.append(wrong(f"{path}[{MIRROR}]", annotations[MIRROR], said))
    cost = annotations.get(DELETION_COST)
    if cost is not None and not (re.fullmatch("0|-?[1-9][0-9]*", cost) and -(2**31) <= int(cost) < 2**31):
        found.append(wrong(f"{path}[{DELETION_COST}]", cost, "must be a 32bit integer"))
    return found


def annotations_changes_errors(new: Body, old: Body) -> list[FieldError]:
    """Of an update, also of the status: who mirrors a static pod stays so."""
    given, known = (each["metadata"].get("annotations") or {} for each in (new, old))
    path, found = "metadata.annotations", []
    if MIRROR in known and given.get(MIRROR) != known[MIRROR]:
        found.append(forbidden(f"{path}[{MIRROR}]", "may not remove or update mirror pod annotation"))
    elif MIRROR in given and MIRROR not in known:
        found.append(forbidden(f"{path}[{MIRROR}]", "may not add mirror pod annotation"))
    return found + annotations_errors(given, new["spec"], path)


def pod_errors(pod: Body) -> list[FieldError]:
    """Metadata and spec of a Pod, in creation and update."""
    spec, annotations = pod["spec"], pod["metadata"].get("annotations") or {}
    found = metadata.errors_in_metadata(pod, True, formats.dns_subdomain)
    found += annotations_errors(annotations, spec, "metadata.annotations")
    found += spec_errors(spec, "spec", in_pod=True)
    found += trimmed_images_errors(spec.get("containers") or [], "spec.containers")
    return found + trimmed_images_errors(spec.get("initContainers") or [], "spec.initContainers")


def created_errors(pod: Body) -> list[FieldError]:
    """What only a new pod may not have."""
    spec, found = pod["spec"], []
    if spec.get("ephemeralContainers"):
        found.append(forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        found.append(forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared"))
    return found


def template_errors(template: Body, path: str) -> list[FieldError]:
    """A PodTemplateSpec."""
    meta, spec = template.get("metadata") or {}, template["spec"]
    annotations = meta.get("annotations") or {}
    found = metadata.labels_errors(meta.get("labels"), f"{path}.labels")
    found += metadata.annotations_errors(annotations, f"{path}.annotations")
    found += annotations_errors(annotations, spec, f"{path}.annotations")
    found += spec_errors(spec, f"{path}.spec", in_pod=False)
    if spec.get("ephemeralContainers"):
        said = "ephemeral containers not allowed in pod template"
        found.append(forbidden(f"{path}.spec.ephemeralContainers", said))
    return found


def status_errors(new: Body, old: Body) -> list[FieldError]:
    """Of an update of a Pod's status."""
    now, before = new.get("status") or {}, old.get("status") or {}
    found = annotations_changes_errors(new, old)
    for index, condition in enumerate(now.get("conditions") or ()):
        kind = condition.get("type", "")
        if kind not in ("PodScheduled", "Ready", "Initialized"):
            found += all_wrong(f"status.conditions[{index}].Type", kind, formats.label_key(kind))
    if now.get("qosClass", "") != before.get("qosClass", ""):
        found.append(wrong("status.qosClass", now.get("qosClass", ""), "field is immutable"))
    found += _transition_errors(now, before, old["spec"])
    for field, path in (("podIPs", "status.podIPs"), ("hostIPs", "status.hostIPs")):
        given = [each.get("ip", "") for each in now.get(field) or ()]
        known = {each.get("ip", "") for each in before.get(field) or ()}
        if field == "hostIPs" and given and now.get("hostIP", "") != given[0]:
            found.append(wrong(f"{path}[0].ip", given[0], "must be equal to `hostIP`"))
        for index, address in enumerate(given):
            found += addresses.address_errors(f"{path}[{index}]", address, known)
        if len(given) > 2 or (len(given) == 2 and len({addresses.is_ipv6(each) for each in given}) == 1):
            shown = [{"IP": address} for address in given]
            found.append(wrong(path, shown, "may specify no more than one IP for each IP family"))
    return found


def _transition_errors(now: Body, before: Body, spec: Body) -> list[FieldError]:
    policies = {each["name"]: each.get("restartPolicy") or spec["restartPolicy"] for each in spec["containers"]}
    running = {each["name"] for each in now.get("containerStatuses") or () if not each["state"].get("terminated")}
    said = "may not be transitioned to non-terminated state"
    found: list[FieldError] = []
    for index, status in enumerate(before.get("containerStatuses") or ()):
        ended = status["state"].get("terminated")
        if not ended or status["name"] not in running:
            continue
        policy = policies.get(status["name"], "Never")
        if policy == "Never" or (policy == "OnFailure" and ended.get("exitCode") == 0):
            found.append(forbidden(f"status.containerStatuses[{index}].state", said))
    return found


def quality_of_service(spec: Body) -> str:
    """Guaranteed, Burstable or BestEffort, by the cpu and memory of all containers."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    equal, some = bool(containers), False
    for container in containers:
        resources = container.get("resources") or {}
        limits, requests = (
            {name: quantity.value(text) for name, text in (resources.get(kind) or {}).items()}
            for kind in ("limits", "requests")
        )
        given = {name for name in ("cpu", "memory") if limits.get(name, 0) or requests.get(name, 0)}
        some = some or bool(given)
        equal = equal and all(limits.get(name, 0) and limits[name] == requests.get(name) for name in ("cpu", "memory"))
    return "Guaranteed" if equal else "Burstable" if some else "BestEffort"

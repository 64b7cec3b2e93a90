"""What the API server adds to a pod before it looks at it: service account, tolerations, priority.

In: a pod with its defaults, and its service account as the API has it. Out: a new pod, or `RefusedError` with the words
of the answer 403. The plug-ins are ServiceAccount, DefaultTolerationSeconds and Priority; the two priority classes of
every cluster are known, there are no others. Source: kubernetes plugin/pkg/admission, v1.36.3.
"""

from __future__ import annotations

from hashlib import sha256

from svclab.apiserver.strategy.errors import quoted
from svclab.apiserver.strategy.kind import RefusedError
from svclab.apiserver.strategy.metadata import Body
from svclab.apiserver.strategy.normal_form import copied

ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SECONDS = 3607
TOLERATED = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
TOLERATED_SECONDS = 300
PRIORITIES = {"": 0, "system-cluster-critical": 2000000000, "system-node-critical": 2000001000}
# The characters of generated names, without those that make words.
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def admitted(pod: Body, account: Body | None) -> Body:
    """A pod to be created. Without an account, one that mounts its token is assumed."""
    kept = copied(pod)
    spec = kept["spec"]
    if not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = spec["serviceAccount"] = "default"
    owner = account or {}
    wanted = spec.get("automountServiceAccountToken", owner.get("automountServiceAccountToken", True))
    if wanted:
        _mount_token(kept)
    if not spec.get("imagePullSecrets") and owner.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [{"name": each.get("name", "")} for each in owner["imagePullSecrets"]]
    if (runtime := spec.get("runtimeClassName")) is not None:
        raise RefusedError(f"pod rejected: RuntimeClass {quoted(runtime)} not found")
    tolerate(spec)
    name = spec.get("priorityClassName", "")
    if name not in PRIORITIES:
        raise RefusedError(f"no PriorityClass with name {name} was found")
    priority, given = PRIORITIES[name], spec.get("priority")
    if given is not None and given != priority:
        raise RefusedError(
            f"the integer value of priority ({given}) must not be provided in pod spec; "
            f"priority admission controller computed {priority} from the given PriorityClass name"
        )
    policy = spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    if policy != "PreemptLowerPriority":
        raise RefusedError(
            f"the string value of PreemptionPolicy ({policy}) must not be provided in pod spec; "
            "priority admission controller computed PreemptLowerPriority from the given PriorityClass name"
        )
    spec["priority"] = priority
    return kept


def updated(pod: Body, old: Body) -> Body:
    """A pod in an update: what creation added stays."""
    kept = copied(pod)
    spec = kept["spec"]
    for field in ("priority", "preemptionPolicy"):
        if spec.get(field) is None and old["spec"].get(field) is not None:
            spec[field] = old["spec"][field]
    tolerate(spec)
    return kept


def tolerate(spec: Body) -> None:
    """A node that is away for five minutes loses its pods, unless they say otherwise."""
    given = spec.get("tolerations") or []
    for key in TOLERATED:
        known = any(each.get("key", "") in ("", key) and each.get("effect", "") in ("", "NoExecute") for each in given)
        if not known:
            added = {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATED_SECONDS}
            given = [*given, added]
    if given:
        spec["tolerations"] = given


def _mount_token(pod: Body) -> None:
    spec = pod["spec"]
    volumes = spec.get("volumes") or []
    there = next((each["name"] for each in volumes if each.get("name", "").startswith("kube-api-access-")), "")
    name = there or f"kube-api-access-{_suffix(pod)}"
    mounted = False
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        mounts = container.get("volumeMounts") or []
        if all(mount.get("mountPath") != ACCOUNT_FOLDER for mount in mounts):
            container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": ACCOUNT_FOLDER}]
            mounted = True
    if mounted and not there:
        spec["volumes"] = [*volumes, _token_volume(name)]


def _suffix(pod: Body) -> str:
    """Five characters that differ from pod to pod; random in the original, but nothing depends on that."""
    meta = pod["metadata"]
    text = "/".join(str(meta.get(field, "")) for field in ("namespace", "generateName", "name", "uid"))
    return "".join(ALPHABET[each % len(ALPHABET)] for each in sha256(text.encode()).digest()[:5])


def _token_volume(name: str) -> Body:
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}

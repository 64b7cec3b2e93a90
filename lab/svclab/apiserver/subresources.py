"""Subresources that are more than a part of an object: scale, binding, eviction, finalize; and reviews.

In: a target, the decoded body. Out: the verbs' answers. Tokens need keys and are `identity`'s. Source: kubernetes
pkg/registry/core/pod/storage, pkg/registry/apps/deployment/storage, v1.36.3.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import msgspec

from svclab.apiserver import failures
from svclab.apiserver.failures import StatusError, bad_request
from svclab.apiserver.options import Deleting, Writing, deleting
from svclab.apiserver.resources import Target
from svclab.apiserver.strategy.errors import invalid, required, unsupported, wrong
from svclab.apiserver.verbs import Answer, Moment, Verbs

Body: TypeAlias = dict[str, Any]

SUCCESS: Body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def scale_of(target: Target, body: Body) -> Body:
    """The Scale of a Deployment or ReplicaSet."""
    metadata = body["metadata"]
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Body = {"replicas": body.get("status", {}).get("replicas", 0)}
    if text := selector_text(body["spec"].get("selector") or {}):
        status["selector"] = text
    replicas = body["spec"].get("replicas", 0)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in shown if key in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def selector_text(selector: Body) -> str:
    """A label selector in one line, as Go prints it: sorted by key."""
    parts = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        key, operator, values = one["key"], one["operator"], ",".join(sorted(one.get("values") or ()))
        text = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append((key, text.get(operator, f"!{key}")))
    return ",".join(text for _, text in sorted(parts))


def put(verbs: Verbs, target: Target, sent: Body, options: Writing, moment: Moment) -> Answer:
    if target.resource.subresource == "finalize":
        return _finalized(verbs, target, sent, options, moment)
    return _scaled(verbs, target, sent, options, moment)


def _scaled(verbs: Verbs, target: Target, sent: Body, options: Writing, moment: Moment) -> Answer:
    old = verbs.stored(target)
    metadata = sent.get("metadata") or {}
    if (metadata.get("name") or "") != target.name:
        said = f"the name of the object ({metadata.get('name') or ''}) does not match the name on the URL"
        raise bad_request(f"{said} ({target.name})")
    version = metadata.get("resourceVersion") or ""
    if version and version != str(old.revision):
        raise failures.conflict(target.resource.plural, target.resource.group, target.name, failures.MODIFIED)
    replicas = (sent.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        error = wrong("spec.replicas", replicas, "must be greater than or equal to 0")
        raise StatusError(invalid("Scale", "autoscaling", target.name, [error]))
    whole = verbs.served.resource(target.resource.group, target.resource.plural)
    new = {**old.body, "spec": {**old.body["spec"], "replicas": replicas}}
    answer = verbs.replaced(msgspec.structs.replace(target, resource=whole), new, old, options, moment)
    return Answer(200, scale_of(target, answer.body), None, answer.warnings)


def _finalized(verbs: Verbs, target: Target, sent: Body, options: Writing, moment: Moment) -> Answer:
    """Takes finalizers from a namespace's spec; the last one that goes takes the namespace with it."""
    return verbs.update(target, sent, options, moment)


def posted(verbs: Verbs, target: Target, sent: Body, options: Writing, moment: Moment) -> Answer:
    subresource = target.resource.subresource
    if subresource == "eviction":
        return _evicted(verbs, target, sent, options, moment)
    if subresource == "binding" or target.resource.plural == "bindings":
        return _bound(verbs, target, sent, options, moment)
    raise failures.method_not_allowed()


def _bound(verbs: Verbs, target: Target, sent: Body, options: Writing, moment: Moment) -> Answer:
    metadata, node = sent.get("metadata") or {}, sent.get("target") or {}
    name = metadata.get("name") or ""
    if target.name and name != target.name:
        raise bad_request("name in URL does not match name in Binding object")
    errors = []
    if node.get("kind") not in (None, "", "Node"):
        errors.append(unsupported("target.kind", node["kind"], ["Node", "<empty>"]))
    if not node.get("name"):
        errors.append(required("target.name"))
    if errors:
        raise failures.internal(errors[0].message if len(errors) == 1 else f"[{', '.join(e.message for e in errors)}]")
    pods = msgspec.structs.replace(target, resource=verbs.served.resource("", "pods"), name=name)
    verbs.admit_update(pods)
    old = verbs.stored(pods)
    pod, why = old.body, ""
    if "deletionTimestamp" in pod["metadata"]:
        why = f"pod {name} is being deleted, cannot be assigned to a host"
    elif pod["spec"].get("nodeName"):
        why = f"pod {name} is already assigned to node {json.dumps(pod['spec']['nodeName'])}"
    elif pod["spec"].get("schedulingGates"):
        why = f"pod {name} has non-empty .spec.schedulingGates"
    for field, key in (("UID", "uid"), ("ResourceVersion", "resourceVersion")):
        said = metadata.get(key)
        if said and said != pod["metadata"][key]:
            found = pod["metadata"][key]
            why = f"Precondition failed: {field} in precondition: {said}, {field} in object meta: {found}"
    if why:
        what = "pods" if why.startswith("Precondition") else "pods/binding"
        raise failures.conflict(what, "", name, why)
    if not options.dry_run:
        verbs.rewrite(pods, _assigned(pod, node["name"], metadata, moment))
    return Answer(201, SUCCESS)


def _assigned(pod: Body, node: str, binding: Body, moment: Moment) -> Body:
    metadata = dict(pod["metadata"])
    for part in ("annotations", "labels"):
        if binding.get(part):
            metadata[part] = {**metadata.get(part, {}), **binding[part]}
    status = dict(pod.get("status", {}))
    status.pop("nominatedNodeName", None)
    known = [one for one in status.get("conditions", []) if one["type"] != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": moment.time}
    status["conditions"] = [*known, scheduled]
    return {**pod, "metadata": metadata, "spec": {**pod["spec"], "nodeName": node}, "status": status}


def _evicted(verbs: Verbs, target: Target, sent: Body, options: Writing, moment: Moment) -> Answer:
    """There are no disruption budgets here: an eviction is a deletion."""
    if ((sent.get("metadata") or {}).get("name") or "") != target.name:
        raise bad_request("name in URL does not match name in Eviction object")
    asked: Deleting = deleting({}, sent.get("deleteOptions") or {})
    if options.dry_run:
        asked = msgspec.structs.replace(asked, dry_run=True)
    pods = msgspec.structs.replace(target, resource=verbs.served.resource("", "pods"))
    verbs.delete(pods, asked, moment)
    return Answer(201, SUCCESS)


def review(plural: str, sent: Body, user: Body, token_user: Body | None, time: str) -> Body:
    """Answers of reviews. Everybody who is known may do everything; `token_user` is whose token a TokenReview shows."""
    body = {key: value for key, value in sent.items() if key != "status"}
    body.setdefault("metadata", {})
    if plural == "selfsubjectreviews":
        return {
            **body,
            "metadata": {**(body["metadata"] or {}), "creationTimestamp": time},
            "status": {"userInfo": user},
        }
    if plural == "tokenreviews":
        if token_user is None:
            return {**body, "status": {"user": {}, "error": "[invalid bearer token]"}}
        audiences = (sent.get("spec") or {}).get("audiences")
        told = {"authenticated": True, "user": token_user}
        return {**body, "status": told | ({"audiences": audiences} if audiences else {})}
    return {**body, "status": {"allowed": True, "reason": "everybody who is authenticated may do everything here"}}

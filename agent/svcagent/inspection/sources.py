"""Where the commands that look (`rules`, `trace`) have their objects from: a file, or lists from the API server.

Out: an `Inventory`. All of it is read once; nothing is watched. Raises SourceError or AccessError, which name the file
or the request. What is odd but no failure is told to `tell`, a sentence at a time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec

from svcagent import node, served
from svcagent.inspection import manifest
from svcagent.inspection.inventory import Inventory, LabelledPod, SelectingService, inventory
from svcagent.inspection.manifest import Manifest
from svcagent.options import Options
from svckube import reflector
from svckube.access import Access, AccessError, from_kubeconfig, in_cluster
from svckube.objects import KubeObject
from svckube.reflector import Resource
from svckube.stream import MalformedError, page, prepare

prepare(SelectingService, LabelledPod)

PAGE = 500
NEAR_ENOUGH = 20
"""How many pods of other namespaces are asked for that have a Service's labels: one would do for the hint."""

Tell = Callable[[str], None]


class SourceError(Exception):
    """The objects cannot be had; the message names the file or the answer."""


def from_file(path: str) -> Manifest:
    """The objects of a file, or of standard input for "-"."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot read {path}: {error}") from error
    return manifest.read(text, "standard input" if path == "-" else path)


def access_of(options: Options) -> Access:
    """The API server as `run` finds it: by --kubeconfig and --master, or by the pod's service account."""
    if options.kubeconfig or options.master:
        return from_kubeconfig(options.kubeconfig, server=options.master)
    return in_cluster()


def listed(access: Access, resource: Resource, tell: Tell) -> Iterator[KubeObject]:
    """All objects of a resource, page by page; one that does not decode is told and left out."""
    token = ""
    while True:
        query = resource.query(limit=str(PAGE), **{"continue": token})
        try:
            found = page(access.get(resource.path, query), resource.kind)
        except MalformedError as error:
            raise SourceError(f"{access.server}{resource.path}: {error}") from error
        for skipped in found.skipped:
            tell(f"{resource.kind.__name__} {skipped.name} does not decode and is left out: {skipped.reason}")
        yield from found.objects
        token = found.continue_token
        if not token:
            return


def from_api(access: Access, tell: Tell) -> Inventory:
    """Services with their selectors, EndpointSlices and Nodes: all that shapes rules, as `run` sees it."""
    services = msgspec.structs.replace(served.SERVICES, kind=SelectingService)
    resources = (services, served.SLICES, reflector.NODES)
    return inventory(each for resource in resources for each in listed(access, resource, tell))


def pods_from_api(access: Access, namespace: str, tell: Tell) -> dict[str, LabelledPod]:
    """The pods of a namespace by `namespace/name`; none where they may not be listed, which is told."""
    resource = Resource(LabelledPod, f"/api/v1/namespaces/{quote(namespace, safe='')}/pods")
    return _pods(access, resource, tell)


def pods_selected(access: Access, selector: dict[str, str], tell: Tell) -> dict[str, LabelledPod]:
    """Some pods of any namespace that have all labels of a selector."""
    labels = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    query = Resource(LabelledPod, "/api/v1/pods", label_selector=labels).query(limit=str(NEAR_ENOUGH))
    try:
        found = page(access.get("/api/v1/pods", query), LabelledPod).objects
    except (AccessError, MalformedError) as error:
        tell(f"pods of other namespaces are not known: {error}")
        return {}
    return {each.key: each for each in found}


def _pods(access: Access, resource: Resource, tell: Tell) -> dict[str, LabelledPod]:
    try:
        return {each.key: each for each in listed(access, resource, tell) if isinstance(each, LabelledPod)}
    except AccessError as error:
        tell(f"the pods are not known: {error}")
        return {}


def node_name(options: Options, objects: Inventory, tell: Tell, *, only_one_counts: bool) -> str:
    """Whose rules are meant: --hostname-override, else the only Node there is (if that counts), else this host."""
    if not options.hostname_override and only_one_counts and len(objects.nodes) == 1:
        return next(iter(objects.nodes))
    name = node.name(options.hostname_override)
    if name not in objects.nodes:
        known = ", ".join(sorted(objects.nodes)[:5]) or "none"
        tell(f"there is no Node {name!r}, so no endpoint is local; choose with --hostname-override (known: {known})")
    return name

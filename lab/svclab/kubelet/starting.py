"""What a container is to be started as: image, environment, command line, mounts, put together into a `Launch`.

In: a Pod, one of its containers, what the API server says about ConfigMaps and Secrets. Out: a `Launch`. It runs in a
thread for one start, since it asks the API server. Refused by `StartError`, whose reason and message go into the
container's waiting state as with the kubelet: CreateContainerConfigError, ErrImagePull, InvalidImageName.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from svckube.access import Access, AccessError
from svclab import images
from svclab.kubelet import environment, resolution, volumes
from svclab.kubelet.containers import PATH, Launch, Mount
from svclab.kubelet.environment import MissingError
from svclab.kubelet.pods import Pod
from svclab.kubelet.storage import Storage

Body: TypeAlias = dict[str, Any]

RENEW_AT = 0.8  # of a token's life
ROOT_CA = "kube-root-ca.crt"
HTTP_INVALID = http.client.UNPROCESSABLE_ENTITY


class StartError(Exception):
    """A container that cannot be started now."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Settings(msgspec.Struct, frozen=True):
    """What the flags say."""

    node: str
    addresses: tuple[str, ...]
    cluster_dns: tuple[str, ...]
    domain: str
    capacity: Mapping[str, str]
    images: Mapping[str, images.Image]
    frequency: float = 10.0


class Library:
    """ConfigMaps, Secrets and tokens from the API server; the root certificate, which all pods want, is remembered."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._roots: dict[str, Body] = {}
        self._lock = threading.Lock()

    def look(self, namespace: str, kind: str, name: str) -> Body | None:
        """None if there is none. Raises AccessError if the server does not answer."""
        remembered = kind == "configmap" and name == ROOT_CA
        with self._lock:
            if remembered and namespace in self._roots:
                return self._roots[namespace]
        try:
            body: Body = msgspec.json.decode(self._access.get(f"/api/v1/namespaces/{namespace}/{kind}s/{name}"))
        except AccessError as error:
            if error.status == http.client.NOT_FOUND:
                return None
            raise _told(error) from error
        if remembered:
            with self._lock:
                self._roots[namespace] = body
        return body

    def token(self, pod: Body, audience: str, seconds: int) -> tuple[str, float]:
        """A token bound to the pod, and when to ask for the next."""
        meta = pod["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}
        spec: Body = {"expirationSeconds": seconds, "boundObjectRef": bound}
        if audience:
            spec["audiences"] = [audience]
        account = pod["spec"].get("serviceAccountName") or "default"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{account}/token"
        try:
            answer = msgspec.json.decode(self._access.create(path, msgspec.json.encode(asked)))
        except AccessError as error:
            raise _told(error, "failed to fetch token: ") from error
        return answer["status"]["token"], time.time() + seconds * RENEW_AT


def _told(error: AccessError, before: str = "") -> Exception:
    """A refusal is the user's business, an outage is not."""
    if error.status in (http.client.FORBIDDEN, http.client.NOT_FOUND, http.client.BAD_REQUEST, HTTP_INVALID):
        return MissingError(before + error.message)
    return error


def sources_of(pod: Body, library: Library, settings: Settings, addresses: tuple[str, ...]) -> volumes.Sources:
    """Where the pod's volumes and variables come from."""
    namespace = pod["metadata"]["namespace"]
    facts = _facts(pod, settings, addresses)
    anyone = pod["spec"]["containers"][0]
    return volumes.Sources(
        look=lambda kind, name: library.look(namespace, kind, name),
        token=lambda audience, seconds: library.token(pod, audience, seconds),
        field=lambda reference: environment.field_value(pod, reference["fieldPath"], facts),
        resource=lambda reference: environment.resource_value(pod, anyone, reference, settings.capacity),
    )


def _facts(pod: Body, settings: Settings, addresses: tuple[str, ...]) -> dict[str, str]:
    host = settings.addresses
    return {
        "status.hostIP": host[0] if host else "",
        "status.hostIPs": ",".join(host),
        "status.podIP": addresses[0] if addresses else "",
        "status.podIPs": ",".join(addresses),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName") or "default",
    }


def image_of(reference: str, settings: Settings) -> images.Image:
    """StartError: ErrImagePull for what the table does not know, InvalidImageName for what can be no name."""
    try:
        return images.resolve(reference, settings.images)
    except images.InvalidImageError as error:
        raise StartError("InvalidImageName", f'Failed to apply default image tag "{reference}": {error}') from error
    except images.UnknownImageError as error:
        raise StartError("ErrImagePull", str(error)) from error


def launch_of(
    pod: Pod, name: str, links: Mapping[str, str], library: Library, settings: Settings, storage: Storage
) -> Launch:
    """StartError, or AccessError if the API server does not answer."""
    spec, body = pod.spec_of(name), pod.body
    if pod.sandbox is None:
        raise StartError("CreateContainerError", "the sandbox is gone")
    image = image_of(spec.get("image", ""), settings)
    addresses = settings.addresses if pod.host_network else pod.sandbox.addresses
    sources = sources_of(body, library, settings, addresses)
    folder, attempt = storage.folder(pod), _attempt(pod, name)
    paths = volumes.volume_paths(body, folder)
    try:
        own = environment.variables(
            spec,
            links,
            sources.look,
            pod.namespace,
            sources.field,
            lambda reference: environment.resource_value(body, spec, reference, settings.capacity),
        )
        mounts = tuple(volumes.mounts(spec, paths, own))
    except (MissingError, volumes.VolumeError) as error:
        raise StartError("CreateContainerConfigError", str(error)) from error
    host = settings.node if pod.host_network else resolution.host_name(body)
    env = {"PATH": PATH, "HOSTNAME": host, "HOME": "/root", **image.environment, **own}
    argv = environment.command_line(spec, image.entrypoint, image.command, env)
    if not argv:
        raise StartError("CreateContainerError", "no command specified")
    (folder / name).mkdir(exist_ok=True)
    security = {**(body["spec"].get("securityContext") or {}), **(spec.get("securityContext") or {})}
    user = security.get("runAsUser")
    return Launch(
        argv=tuple(argv),
        environment=env,
        directory=spec.get("workingDir") or image.working_directory or "/",
        pause=pod.sandbox.pause.pid,
        scratch=str(storage.scratch),
        hidden=str(storage.root),
        mounts=(*_files(pod, folder, spec, attempt), *mounts),
        log=str(storage.log(pod, name, attempt)),
        status=str(storage.exit_status(pod, name, attempt)),
        pid_of=pod.sandbox.init.pid if body["spec"].get("shareProcessNamespace") else 0,
        host_pid=bool(body["spec"].get("hostPID")),
        user=65534 if user is None and security.get("runAsNonRoot") else user,
        group=security.get("runAsGroup"),
        read_only_root=bool(security.get("readOnlyRootFilesystem")),
        privileged=bool(security.get("privileged")),
    )


def _attempt(pod: Pod, name: str) -> int:
    run = pod.containers[name].run
    return 0 if run is None else run.attempt + 1


def _files(pod: Pod, folder: Path, spec: Body, attempt: int) -> list[Mount]:
    """The files that a kubelet and a runtime put over the image's, and the one for the termination message."""
    said = termination_file(folder, spec["name"], attempt)
    said.touch(mode=0o666)
    said.chmod(0o666)
    own = {mount["mountPath"] for mount in spec.get("volumeMounts") or []}
    targets = {
        "/etc/hosts": folder / "etc-hosts",
        "/etc/hostname": folder / "hostname",
        "/etc/resolv.conf": folder / "resolv.conf",
        spec.get("terminationMessagePath") or "/dev/termination-log": said,
    }
    return [Mount(str(source), target) for target, source in targets.items() if target not in own]


def termination_file(folder: Path, name: str, attempt: int) -> Path:
    return folder / name / f"{attempt}.termination"


def write_files(pod: Pod, storage: Storage, settings: Settings, addresses: tuple[str, ...]) -> None:
    """hosts, hostname and resolv.conf of the pod."""
    folder = storage.folder(pod)
    folder.mkdir(exist_ok=True)
    if pod.host_network:
        hosts = resolution.hosts_file_of_node(pod.body, _text("/etc/hosts"))
        name = settings.node
    else:
        hosts = resolution.hosts_file(pod.body, addresses, settings.domain)
        name = resolution.host_name(pod.body)
    node = resolution.parse(_text("/etc/resolv.conf"))
    resolver = resolution.resolver_of(pod.body, node, settings.cluster_dns, settings.domain)
    files = {"etc-hosts": hosts, "hostname": f"{name}\n", "resolv.conf": resolution.resolv_conf(resolver)}
    for file, text in files.items():
        (folder / file).write_text(text)
        (folder / file).chmod(0o644)


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""

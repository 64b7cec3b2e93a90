"""A reflector on a real kube-apiserver: what it sees, and how it comes back from what really happens to servers."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import selectors
import shutil
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peers.control_plane import ControlPlane
from support.waiting import eventually
from svckube.access import AccessError, from_kubeconfig
from svckube.objects import EndpointSlice, KubeObject, Service
from svckube.reflector import ENDPOINT_SLICES, SERVICES, Reflector, Resource
from svckube.store import Change, Listed, Store
from svckube.stream import Applied, Bookmark, Deleted, Stream, page

pytestmark = pytest.mark.peers

STALL = 3.0  # seconds; far below the default, so that a test of silence is short


class Follower:
    """Reflectors that feed one store; every Change is kept."""

    def __init__(self, kubeconfig: Path, resources: tuple[Resource, ...], server: str = "") -> None:
        self.store = Store(resource.kind for resource in resources)
        self.changes: list[Change] = []
        self._lock = threading.Lock()
        access = from_kubeconfig(str(kubeconfig), server=server)
        self.reflectors = {
            resource.kind: Reflector(access, resource, self._take, stall_seconds=STALL) for resource in resources
        }

    def _take(self, batch: list[Listed | Applied | Deleted]) -> None:
        with self._lock:
            for message in batch:
                self.changes += self.store.apply(message)

    def wait_synced(self) -> None:
        eventually(lambda: self.store.synced(*self.reflectors), "the first lists")

    def rows(self, since: int = 0) -> list[str]:
        return [f"{_verb(change)} {change.key}" for change in self.changes[since:]]

    def holds(self, kind: type[KubeObject], key: str) -> bool:
        return self.store.get(kind, key) is not None


def _verb(change: Change) -> str:
    if change.old is None:
        return "+"
    return "-" if change.new is None else "~"


@pytest.fixture
def follow() -> Iterator[Callable[..., Follower]]:
    made: list[Follower] = []

    def begin(kubeconfig: Path, *resources: Resource, server: str = "") -> Follower:
        follower = Follower(kubeconfig, resources, server)
        made.append(follower)
        for reflector in follower.reflectors.values():
            reflector.start()
        return follower

    yield begin
    for follower in made:
        for reflector in follower.reflectors.values():
            reflector.stop()


def create_service(plane: ControlPlane, name: str, namespace: str = "default") -> None:
    spec = {"ports": [{"port": 80}], "selector": {"app": name}}
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
    plane.request("POST", f"/api/v1/namespaces/{namespace}/services", made)


def change_port(plane: ControlPlane, name: str, port: int, namespace: str = "default") -> None:
    path = f"/api/v1/namespaces/{namespace}/services/{name}"
    current = plane.get(path)
    current["spec"]["ports"] = [{"port": port}]
    plane.request("PUT", path, current)


def delete_service(plane: ControlPlane, name: str, namespace: str = "default") -> None:
    plane.request("DELETE", f"/api/v1/namespaces/{namespace}/services/{name}")


def test_creates_changes_and_deletes_are_seen(
    control_plane: ControlPlane, namespace: str, follow: Callable[..., Follower]
) -> None:
    follower = follow(control_plane.kubeconfig(), SERVICES, ENDPOINT_SLICES)
    follower.wait_synced()
    store, key = follower.store, f"{namespace}/web"
    assert store.get(Service, "default/kubernetes") is not None

    create_service(control_plane, "web", namespace)
    service = eventually(lambda: store.get(Service, key), "the service")
    assert service.spec.ports is not None
    assert (service.spec.ports[0].port, service.spec.type) == (80, "ClusterIP")
    eventually(lambda: len(store.slices(key)) == 1, "the slice that the controller makes, under its service")

    change_port(control_plane, "web", 81, namespace)
    eventually(lambda: [port.port for port in _service(store, key).spec.ports or ()] == [81], "the new port")

    delete_service(control_plane, "web", namespace)
    eventually(lambda: store.get(Service, key) is None, "the service to go")
    eventually(lambda: not store.slices(key), "its slice to go")
    assert {reflector.counts.lists for reflector in follower.reflectors.values()} == {1}


def _service(store: Store, key: str) -> Service:
    found = store.get(Service, key)
    assert found is not None
    return found


def test_bookmarks_arrive(control_plane: ControlPlane, namespace: str) -> None:
    access = from_kubeconfig(str(control_plane.kubeconfig()))
    version = page(access.get(SERVICES.path), Service).resource_version
    # A server sends one about two seconds before a watch times out, which keeps this test short; but only if it has
    # anything newer to say than where the watch began, hence the service.
    query = SERVICES.query(watch="true", allowWatchBookmarks="true", resourceVersion=version, timeoutSeconds="5")
    reader = Stream(Service)
    with access.watch(SERVICES.path, query, 30.0) as watch:
        create_service(control_plane, "web", namespace)
        messages = [message for data in watch for message in reader.feed(data)]
    bookmarks = [message for message in messages if isinstance(message, Bookmark)]
    created = [message.object for message in messages if isinstance(message, Applied)]
    assert [service.key for service in created] == [f"{namespace}/web"]
    assert bookmarks
    assert int(bookmarks[-1].resource_version) >= int(created[0].metadata.resource_version)


def test_a_killed_api_server_is_resumed(fresh_control_plane: ControlPlane, follow: Callable[..., Follower]) -> None:
    plane = fresh_control_plane
    create_service(plane, "before")
    follower = follow(plane.kubeconfig(), SERVICES)
    follower.wait_synced()
    seen = len(follower.changes)
    plane.kill("kube-apiserver")
    eventually(lambda: follower.reflectors[Service].counts.failures > 0, "the reflector to notice")
    plane.restart("kube-apiserver")
    create_service(plane, "after")
    eventually(lambda: follower.holds(Service, "default/after"), "the service made after the restart", seconds=40)
    assert follower.rows(seen) == ["+ default/after"]


def test_a_frozen_api_server_is_noticed_and_resumed(
    fresh_control_plane: ControlPlane, follow: Callable[..., Follower]
) -> None:
    plane = fresh_control_plane
    follower = follow(plane.kubeconfig(), SERVICES)
    follower.wait_synced()
    eventually(lambda: follower.reflectors[Service].counts.watches, "the watch")
    seen = len(follower.changes)
    before = follower.reflectors[Service].counts.stalls
    plane.pause("kube-apiserver")
    try:
        eventually(lambda: follower.reflectors[Service].counts.stalls > before, "the silence to be noticed", STALL + 10)
    finally:
        plane.resume("kube-apiserver")
    create_service(plane, "after")
    eventually(lambda: follower.holds(Service, "default/after"), "the service made afterwards", seconds=60)
    assert follower.rows(seen) == ["+ default/after"]


class Relay:
    """Forwards TCP to the API server until it is cut; then it refuses, until it is mended."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        with self._lock:
            self._cut = True
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        with self._lock:
            self._cut = False

    def close(self) -> None:
        self.cut()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._forward, args=(near,), daemon=True).start()

    def _forward(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError):
            if self._cut:
                return
            with socket.create_connection(self._target) as far, selectors.DefaultSelector() as ready:
                with self._lock:
                    self._open |= {near, far}
                for one, other in ((near, far), (far, near)):
                    ready.register(one, selectors.EVENT_READ, other)
                while not self._cut:
                    for key, _ in ready.select(1.0):
                        source = key.fileobj
                        assert isinstance(source, socket.socket)
                        data = source.recv(65536)
                        if not data:
                            return
                        key.data.sendall(data)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket: where etcd listens."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))


def compact(plane: ControlPlane) -> None:
    """Makes etcd forget every revision but the newest, through its JSON gateway."""

    def ask(path: str, body: dict[str, Any]) -> dict[str, Any]:
        with contextlib.closing(UnixConnection(plane.folder / "localhost:1")) as connection:
            connection.request("POST", path, json.dumps(body))
            answer = connection.getresponse()
            decoded: dict[str, Any] = json.loads(answer.read())
            assert answer.status == 200, decoded
            return decoded

    revision = ask("/v3/kv/range", {"key": b64encode(b"nothing").decode()})["header"]["revision"]
    ask("/v3/kv/compaction", {"revision": revision, "physical": True})


def test_a_compaction_leads_to_a_relist_that_tells_only_the_differences(
    fresh_control_plane: ControlPlane, follow: Callable[..., Follower]
) -> None:
    plane = fresh_control_plane
    for name in ("kept", "changed", "deleted"):
        create_service(plane, name)
    relay = Relay(plane.port)
    try:
        follower = follow(plane.kubeconfig(), SERVICES, server=f"https://127.0.0.1:{relay.port}")
        follower.wait_synced()
        reflector = follower.reflectors[Service]
        eventually(lambda: reflector.counts.watches, "the watch")
        seen = len(follower.changes)
        relay.cut()
        create_service(plane, "created")
        change_port(plane, "changed", 81)
        delete_service(plane, "deleted")
        compact(plane)
        plane.restart("kube-apiserver")  # its watch cache would still know what etcd forgot
        assert follower.rows(seen) == []
        relay.mend()
        eventually(lambda: reflector.counts.lists == 2, "the relist", seconds=60)
        eventually(lambda: follower.holds(Service, "default/created"), "what was made meanwhile")
        assert reflector.counts.expired == 1
        assert sorted(follower.rows(seen)) == ["+ default/created", "- default/deleted", "~ default/changed"]
        delete_service(plane, "kept")
        eventually(lambda: not follower.holds(Service, "default/kept"), "the watch after the relist")
    finally:
        relay.close()


def test_paging_gives_the_same_list(control_plane: ControlPlane, namespace: str) -> None:
    access = from_kubeconfig(str(control_plane.kubeconfig()))
    for number in range(5):
        create_service(control_plane, f"web-{number}", namespace)
    path = f"/api/v1/namespaces/{namespace}/services"
    names: list[str] = []
    token, pages = "", 0
    while token or not pages:
        answer = page(access.get(path, {"limit": "2", **({"continue": token} if token else {})}), Service)
        names += [one.metadata.name for one in answer.objects]
        token, pages = answer.continue_token, pages + 1
    assert (names, pages) == ([f"web-{number}" for number in range(5)], 3)


def test_a_service_account_waits_for_its_rights(
    control_plane: ControlPlane,
    namespace: str,
    follow: Callable[..., Follower],
    caplog: pytest.LogCaptureFixture,
) -> None:
    token = control_plane.token_for("default", namespace)
    kubeconfig = control_plane.kubeconfig("a-service-account", token=token)
    with caplog.at_level(logging.INFO, logger="svckube"):
        follower = follow(kubeconfig, ENDPOINT_SLICES)
        eventually(lambda: follower.reflectors[EndpointSlice].counts.failures, "the refusal")
        name = f"reader-{namespace}"
        rule = "--resource=endpointslices.discovery.k8s.io"
        control_plane.kubectl("create", "clusterrole", name, "--verb=get,list,watch", rule)
        account = f"--serviceaccount={namespace}:default"
        control_plane.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", account)
        eventually(lambda: follower.store.synced(EndpointSlice), "the list", seconds=40)
    said = [(record.getMessage(), getattr(record, "fields", {}).get("hint", "")) for record in caplog.records]
    assert [event for event, _ in said] == ["outage", "outage over"]
    assert "grant get, list and watch on endpointslices" in said[0][1]


def test_a_token_that_means_nothing_is_refused(control_plane: ControlPlane) -> None:
    access = from_kubeconfig(str(control_plane.kubeconfig("nobody", token="not-a-token")))  # noqa: S106  # it is none
    with pytest.raises(AccessError) as caught:
        access.get("/api/v1/services")
    assert (caught.value.status, caught.value.fault) == (401, "credentials")


def test_a_cluster_that_went_back_in_time_is_listed_anew(binaries: Path, follow: Callable[..., Follower]) -> None:
    # As after a restore from a backup. The server accepts a watch from a version in its future, and says nothing.
    with ControlPlane(binaries, controllers=()) as plane:
        create_service(plane, "lost")
        for port in range(1000, 1400):
            change_port(plane, "lost", port)
        follower = follow(plane.kubeconfig(), SERVICES)
        follower.wait_synced()
        assert follower.holds(Service, "default/lost")
        plane.kill("etcd")
        shutil.rmtree(plane.folder / "etcd")
        plane.restart("etcd")
        plane.restart("kube-apiserver")
        eventually(lambda: not follower.holds(Service, "default/lost"), "the service that is no more", seconds=60)
        create_service(plane, "new")
        eventually(lambda: follower.holds(Service, "default/new"), "the watch after the list")

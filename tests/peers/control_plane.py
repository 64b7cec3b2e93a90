"""A real Kubernetes control plane on one machine: etcd, kube-apiserver, and the controllers a test asks for.

In: the folder of binaries, addresses, service ranges. Out: a server URL, kubeconfig files, tokens, kubectl.
All data lives in memory without fsync and goes with the control plane. There are no nodes and no kubelets: a Node or
a Pod is an object that a test makes, and its status is what the test writes.

etcd listens on unix sockets in our folder, controllers listen nowhere: the API server's port is the only one, and it
stays reserved while the server is down, so `kill` and `restart` keep the address. Inside a namespace, `lo` must be up:
the API server talks to itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from peers.passage import passage
from peers.processes import Process, ProcessError
from peers.reach import HttpServer, port_of, reserved_port, unix_session
from peers.scratch import scratch_folder
from svclab.certificates import Authority, KeyPair, signing_key

# What a Service needs to get and lose its EndpointSlices, a namespace to come and go, a pod to be admitted, and a
# workload to have pods. Without node-lifecycle: a Node that no kubelet renews stays as the test wrote it.
CONTROLLERS = (
    "daemonset-controller",
    "deployment-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "service-cidr-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "statefulset-controller",
)
ADMIN, ADMIN_GROUPS = "admin", ("system:masters",)
ISSUER = "https://kubernetes.default.svc.cluster.local"
# TEST-NET-1 (RFC 5737), so nobody is there. The API refuses a loopback address as an endpoint.
NOT_ADVERTISED = "192.0.2.1"
ETCD_CLIENTS, ETCD_PEERS = "unix://localhost:1", "unix://localhost:2"


class ApiError(Exception):
    """The API server said no; `status` is the HTTP status, the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class KubectlError(Exception):
    """kubectl ended with a failure; the message holds its argv and what it wrote to standard error."""


class ControlPlane:
    """Starts when entered as a context, or by `start`; `close` ends every process and removes every file.

    address             where the API server listens; "0.0.0.0" and "::" are reached as loopback from here
    port                0: the kernel chooses
    netns               name of a network namespace to run in, "" for ours
    names               more addresses and host names for the API server's certificate
    advertise_address   endpoint of the Service `kubernetes`; the default leads nowhere
    controllers         names for kube-controller-manager, () for no controller manager at all
    """

    def __init__(
        self,
        binaries: Path,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        netns: str = "",
        names: Iterable[str] = (),
        advertise_address: str = NOT_ADVERTISED,
        service_cidrs: Sequence[str] = ("10.96.0.0/16", "fd00:10:96::/112"),
        controllers: Sequence[str] = CONTROLLERS,
        scheduler: bool = False,
        apiserver_flags: Sequence[str] = (),
    ) -> None:
        self._binaries = binaries
        self._listen = (address, port)
        self._netns = netns
        self._names = tuple(names)
        self._advertise_address = advertise_address
        self._service_cidrs = tuple(service_cidrs)
        self._controllers = tuple(controllers)
        self._scheduler = scheduler
        self._apiserver_flags = tuple(apiserver_flags)
        self._authority = Authority("svcplane-peers")
        self._processes: dict[str, Process] = {}
        self._stack = ExitStack()

    def start(self) -> Self:
        """Returns when the API server is ready and, with controllers, pods can be made in namespace `default`."""
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            self.folder = self._stack.enter_context(scratch_folder())
            address, port = self._listen
            reservation = self._stack.enter_context(reserved_port(address, port, self._netns))
            self._https = HttpServer(_reached(address), port_of(reservation), self._netns, self._trust())
            self._run("etcd", _etcd_flags())
            self._run("kube-apiserver", self._apiserver_argv())
            self._await_ready()
            client = ("--kubeconfig", self.kubeconfig(), "--leader-elect=false", "--secure-port=0")
            if self._controllers:
                self._run("kube-controller-manager", (*client, *self._controller_flags()))
                self._processes["kube-controller-manager"].wait_until(
                    lambda: self.has_service_account("default"), "pods may be created in namespace default"
                )
            if self._scheduler:
                self._run("kube-scheduler", client)
            on_failure.pop_all()
        return self

    def close(self) -> None:
        """SIGKILL, not SIGTERM: there is nothing to save, and an API server takes its time to say good-bye."""
        for process in reversed(self._processes.values()):
            process.kill()
        self._processes.clear()
        self._stack.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def server(self) -> str:
        """The URL under which the API server is reached from its own namespace."""
        return f"https://{_in_url(self._https.address)}:{self.port}"

    @property
    def port(self) -> int:
        return self._https.port

    @contextmanager
    def reached_from(self, netns: str) -> Iterator[str]:
        """The URL under which the API server is reached from inside another namespace, until the block ends."""
        with passage(netns, self._https.address, self.port) as port:
            yield f"https://127.0.0.1:{port}"

    @property
    def ca_certificate(self) -> str:
        """PEM: what a client that comes with a token must trust."""
        return self._authority.certificate

    @property
    def pids(self) -> Mapping[str, int]:
        return {name: process.pid for name, process in self._processes.items()}

    # Objects

    def get(self, path: str, *, seconds: float = 10.0) -> dict[str, Any]:
        """The object or list at `path`, such as `/api/v1/namespaces/default/services/web`. See `request`."""
        return self.request("GET", path, seconds=seconds)

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, seconds: float = 10.0
    ) -> dict[str, Any]:
        """One request as administrator: quicker than kubectl where a test makes thousands of objects.

        Raises ApiError when the API server says no, OSError when it says nothing within `seconds`.
        """
        with self.session(seconds=seconds) as request:
            return request(method, path, body)

    @contextmanager
    def session(self, *, seconds: float = 10.0) -> Iterator[Callable[..., dict[str, Any]]]:
        """`request` over one connection that is kept: for thousands of objects, or to be timed."""
        with self._https.session(seconds=seconds) as session:

            def request(method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
                answer = session.request(method, path, None if body is None else json.dumps(body).encode())
                if answer.status >= 400:
                    raise ApiError(answer.status, _message(answer.body))
                decoded: dict[str, Any] = json.loads(answer.body)
                return decoded

            yield request

    def store(self, objects: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Puts objects under their keys into etcd, as they are; the API server serves them as if it had made them.

        For very many Services: for each that it makes, the API server looks at all that there are.
        """
        with unix_session(self.folder / ETCD_CLIENTS.removeprefix("unix://")) as etcd:
            for puts in _batches(objects):
                answer = etcd.request("POST", "/v3/kv/txn", json.dumps({"success": puts}).encode())
                if answer.status >= 400:
                    raise ApiError(answer.status, _message(answer.body))

    def apply(self, manifest: str | Mapping[str, Any] | Sequence[Mapping[str, Any]], namespace: str = "") -> str:
        """`kubectl apply` of YAML or JSON text, one object, or several. Returns what kubectl printed."""
        if isinstance(manifest, str):
            text = manifest
        elif isinstance(manifest, Mapping):
            text = json.dumps(manifest)
        else:
            text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifest)})
        return self.kubectl("apply", "-f", "-", *(("-n", namespace) if namespace else ()), stdin=text)

    def kubectl(self, *argv: str, stdin: str | None = None, seconds: float = 60.0) -> str:
        """Standard output of kubectl, run as administrator beside the API server. Raises KubectlError."""
        enter = ("ip", "netns", "exec", self._netns) if self._netns else ()
        done = subprocess.run(
            (*enter, self._binaries / "kubectl", *argv),
            input=stdin or "",
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig()), "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def add_node(self, name: str, addresses: Sequence[str], pod_cidrs: Sequence[str] = (), zone: str = "") -> None:
        """A ready Node as its kubelet would have registered it; `addresses` are its internal ones."""
        conditions = [{"type": "Ready", "status": "True", "reason": "Test", "message": ""}]
        internal = [{"type": "InternalIP", "address": address} for address in addresses]
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone} if zone else {}},
            "spec": {"podCIDR": pod_cidrs[0], "podCIDRs": list(pod_cidrs)} if pod_cidrs else {},
            "status": {"addresses": [*internal, {"type": "Hostname", "address": name}], "conditions": conditions},
        }
        self.request("POST", "/api/v1/nodes", node)

    def has_service_account(self, namespace: str) -> bool:
        """Whether a pod may be created in the namespace: admission wants its service account `default`."""
        try:
            self.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    # Credentials

    def kubeconfig(self, user: str = ADMIN, *, groups: Sequence[str] = (), token: str = "", server: str = "") -> Path:
        """A kubeconfig file: with a client certificate for `user` in `groups`, or with `token` if there is one.

        `server` is the URL to write, where the reader reaches the API server under another address than we do.
        """
        groups = ADMIN_GROUPS if user == ADMIN else tuple(groups)
        identity = hashlib.sha256(json.dumps((user, groups, token, server)).encode()).hexdigest()[:12]
        file = self.folder / f"{user.replace(':', '-')}-{identity}.kubeconfig"
        if not file.exists():
            credentials = {"token": token} if token else _certificate_user(self._authority.client(user, groups))
            cluster = {"server": server or self.server, "certificate-authority-data": _base64(self.ca_certificate)}
            content = {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "peers", "cluster": cluster}],
                "users": [{"name": user, "user": credentials}],
                "contexts": [{"name": "peers", "context": {"cluster": "peers", "user": user}}],
                "current-context": "peers",
            }
            file.write_text(json.dumps(content, indent=1))
        return file

    def token_for(self, service_account: str, namespace: str = "default", seconds: int = 3600) -> str:
        """A token as a pod of that service account gets it (TokenRequest). The API wants at least 600 seconds."""
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        token: str = self.request("POST", path, asked)["status"]["token"]
        return token

    # Faults; `name` is the name of a program, such as "kube-apiserver"

    def kill(self, name: str) -> None:
        """SIGKILL. Connections to its port are refused until it is started again."""
        self._processes[name].kill()

    def pause(self, name: str) -> None:
        """SIGSTOP: to its clients a black hole, since the kernel goes on accepting connections and data."""
        self._processes[name].pause()

    def resume(self, name: str) -> None:
        self._processes[name].resume()

    def restart(self, name: str) -> None:
        """Start again with the same data and address, killing it first if it runs.

        Returns when the API server is ready again; of two that are down, start etcd first.
        """
        self._processes[name].kill()
        self._processes[name].start()
        if self._processes["kube-apiserver"].running:
            self._await_ready()

    # Starting

    def _run(self, name: str, flags: Iterable[str | Path]) -> None:
        argv = (self._binaries / name, *flags)
        process = Process(argv, self.folder / f"{name}.log", netns=self._netns, folder=self.folder)
        self._processes[name] = process
        process.start()

    def _await_ready(self) -> None:
        if not self._processes["etcd"].running:
            raise ProcessError(f"etcd does not run\n{self._processes['etcd'].log_tail()}")
        # Reading an object asks etcd itself, where /readyz believes for a while in one that has gone. This object is
        # the last that a new API server makes for itself, and not a condition of /readyz.
        paths = ("/readyz", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
        self._processes["kube-apiserver"].wait_until(
            lambda: all(self._https.request("GET", path).status == 200 for path in paths), "the API server is ready"
        )

    def _trust(self) -> ssl.SSLContext:
        admin = self._authority.client(ADMIN, ADMIN_GROUPS)
        certificate, key = self._write("admin", admin)
        context = ssl.create_default_context(cadata=self.ca_certificate)
        context.load_cert_chain(certificate, key)
        return context

    def _write(self, name: str, pair: KeyPair) -> tuple[Path, Path]:
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_text(pair.certificate)
        key.write_text(pair.key)
        return certificate, key

    def _apiserver_argv(self) -> tuple[str | Path, ...]:
        address = self._listen[0]
        first_services = [str(ip_network(cidr)[1]) for cidr in self._service_cidrs]
        cluster_names = ["kubernetes" + rest for rest in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
        names = ["127.0.0.1", "::1", "localhost", address, *first_services, *cluster_names, *self._names]
        certificate, key = self._write("apiserver", self._authority.server("kube-apiserver", dict.fromkeys(names)))
        (self.folder / "ca.crt").write_text(self.ca_certificate)
        (self.folder / "service-accounts.key").write_text(signing_key())
        return (
            f"--etcd-servers={ETCD_CLIENTS}",
            f"--bind-address={address}",
            f"--secure-port={self.port}",
            "--permit-port-sharing",
            f"--advertise-address={self._advertise_address}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            "--client-ca-file=ca.crt",
            f"--service-account-issuer={ISSUER}",
            "--service-account-key-file=service-accounts.key",
            "--service-account-signing-key-file=service-accounts.key",
            f"--service-cluster-ip-range={','.join(self._service_cidrs)}",
            "--authorization-mode=Node,RBAC",
            *self._apiserver_flags,
        )

    def _controller_flags(self) -> tuple[str, ...]:
        return (
            f"--controllers={','.join(self._controllers)}",
            "--service-account-private-key-file=service-accounts.key",
            "--root-ca-file=ca.crt",
            # The defaults (20 a second) are made for a shared API server; here they only make a test wait.
            "--kube-api-qps=1000",
            "--kube-api-burst=1000",
        )


def _batches(objects: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    """Puts of etcd's JSON, as many as it takes at once (--max-txn-ops, --max-request-bytes)."""
    puts: list[dict[str, Any]] = []
    size = 0
    for key, value in objects:
        text = json.dumps(value)
        if puts and (len(puts) == 100 or size + len(text) > 1_000_000):
            yield puts
            puts, size = [], 0
        puts.append({"requestPut": {"key": _base64(key), "value": _base64(text)}})
        size += len(text)
    if puts:
        yield puts


def _etcd_flags() -> tuple[str, ...]:
    return (
        "--data-dir=etcd",
        "--unsafe-no-fsync",
        f"--listen-client-urls={ETCD_CLIENTS}",
        f"--advertise-client-urls={ETCD_CLIENTS}",
        f"--listen-peer-urls={ETCD_PEERS}",
        f"--initial-advertise-peer-urls={ETCD_PEERS}",
        f"--initial-cluster=default={ETCD_PEERS}",
        # A lone member elects itself when this has passed.
        "--heartbeat-interval=20",
        "--election-timeout=200",
    )


def _reached(address: str) -> str:
    parsed = ip_address(address)
    if not parsed.is_unspecified:
        return address
    return "127.0.0.1" if parsed.version == 4 else "::1"


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _certificate_user(pair: KeyPair) -> dict[str, str]:
    return {"client-certificate-data": _base64(pair.certificate), "client-key-data": _base64(pair.key)}


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def _message(body: bytes) -> str:
    """The message of a Status object, or the body itself where something else than the API answered."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")

"""The lab's API server as a child process, with the files of a cluster around it; a twin of `ControlPlane`.

In: ranges, which controllers, and for the real ones the folder of binaries. Out: a kubeconfig.
Everything is in a scratch folder and goes with it. `kill` and `restart` keep address and data, as `ControlPlane` does.
"""

from __future__ import annotations

import json
import ssl
import sys
from base64 import b64encode
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from peers.control_plane import ADMIN, ADMIN_GROUPS, ISSUER, NOT_ADVERTISED
from peers.processes import Process
from peers.reach import Answer, HttpServer, port_of, reserved_port
from peers.scratch import scratch_folder
from svclab.certificates import Authority, signing_key

LAB = (sys.executable, "-c", "import sys; from svclab.cli import main; sys.exit(main())")


class LabServer:
    """Starts when entered as a context.

    binaries        the folder of real programs; only for `controllers` and `scheduler`
    controllers     names for the real kube-controller-manager, () for none
    scheduler       the real kube-scheduler too
    own_controllers our controllers instead: `svcplane-lab controllers`
    tokens          lines of the token file, as kube-apiserver reads them
    """

    def __init__(
        self,
        binaries: Path = Path(),
        *,
        service_cidr: str = "10.96.0.0/16",
        controllers: Sequence[str] = (),
        scheduler: bool = False,
        own_controllers: bool = False,
        tokens: str = "",
    ) -> None:
        self._binaries = binaries
        self._service_cidr = service_cidr
        self._controllers = tuple(controllers)
        self._scheduler = scheduler
        self._own_controllers = own_controllers
        self._tokens = tokens
        self._authority = Authority("svcplane-lab")
        self._stack = ExitStack()
        self._processes: dict[str, Process] = {}

    def start(self) -> Self:
        """Returns when the API server is ready and, with controllers, pods can be made in namespace `default`."""
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            self.folder = self._stack.enter_context(scratch_folder())
            with reserved_port("127.0.0.1") as reservation:
                self.port = port_of(reservation)
            self._write_files()
            self.https = HttpServer("127.0.0.1", self.port, tls=self.trust)
            self._run("apiserver", (*LAB, "apiserver", *self._apiserver_flags()))
            self._await_ready()
            client = ("--kubeconfig", self.kubeconfig())
            real = (*client, "--leader-elect=false", "--secure-port=0")
            if self._controllers:
                self._run(
                    "kube-controller-manager",
                    (self._binaries / "kube-controller-manager", *real, *self._controller_flags()),
                )
            if self._scheduler:
                self._run("kube-scheduler", (self._binaries / "kube-scheduler", *real))
            if self._own_controllers:
                own = (f"--service-cluster-ip-range={self._service_cidr}", "--cluster-cidr=10.244.0.0/16")
                self._run("controllers", (*LAB, "controllers", *client, *own, "--root-ca-file=ca.crt"))
            if self._controllers or self._own_controllers:
                self._processes["apiserver"].wait_until(
                    lambda: self.has("/api/v1/namespaces/default/serviceaccounts/default"),
                    "pods may be created in namespace default",
                )
            on_failure.pop_all()
        return self

    def close(self) -> None:
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
        return f"https://127.0.0.1:{self.port}"

    @property
    def trust(self) -> ssl.SSLContext:
        """For connections as administrator."""
        context = ssl.create_default_context(cadata=self._authority.certificate)
        context.load_cert_chain(self.folder / "admin.crt", self.folder / "admin.key")
        return context

    def kubeconfig(self) -> Path:
        """The administrator's, with a client certificate."""
        return self.folder / "admin.kubeconfig"

    def request(self, method: str, path: str, body: Any = None, *, seconds: float = 10.0) -> Answer:
        """One request as administrator; OSError when nothing is said within `seconds`."""
        return self.https.request(method, path, None if body is None else json.dumps(body).encode(), seconds=seconds)

    def has(self, path: str) -> bool:
        return self.request("GET", path).status == 200

    def running(self, name: str) -> bool:
        return self._processes[name].running

    def log_tail(self, name: str) -> str:
        return self._processes[name].log_tail()

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self._processes[name].kill()

    def restart(self, name: str) -> None:
        """Start again with the same data and address, killing it first if it runs."""
        self._processes[name].kill()
        self._processes[name].start()
        self._await_ready()

    def _run(self, name: str, argv: Sequence[str | Path]) -> None:
        self._processes[name] = Process(argv, self.folder / f"{name}.log", folder=self.folder)
        self._processes[name].start()

    def _await_ready(self) -> None:
        self._processes["apiserver"].wait_until(lambda: self.has("/readyz"), "the API server is ready")

    def _write_files(self) -> None:
        names = ("127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
        server = self._authority.server("apiserver", names)
        admin = self._authority.client(ADMIN, ADMIN_GROUPS)
        files = {
            "ca.crt": self._authority.certificate,
            "server.crt": server.certificate,
            "server.key": server.key,
            "admin.crt": admin.certificate,
            "admin.key": admin.key,
            "service-accounts.key": signing_key(),
            "tokens.csv": self._tokens,
        }
        for name, text in files.items():
            (self.folder / name).write_text(text)
        user = {"client-certificate-data": _base64(admin.certificate), "client-key-data": _base64(admin.key)}
        cluster = {"server": self.server, "certificate-authority-data": _base64(self._authority.certificate)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": ADMIN, "user": user}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": ADMIN}}],
            "current-context": "lab",
        }
        self.kubeconfig().write_text(json.dumps(content))

    def _apiserver_flags(self) -> tuple[str, ...]:
        tokens = ("--token-auth-file=tokens.csv",) if self._tokens else ()
        return (
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--advertise-address={NOT_ADVERTISED}",
            "--data=state.sqlite",
            "--tls-cert-file=server.crt",
            "--tls-private-key-file=server.key",
            "--client-ca-file=ca.crt",
            f"--service-cluster-ip-range={self._service_cidr}",
            "--service-node-port-range=30000-32767",
            "--service-account-key-file=service-accounts.key",
            f"--service-account-issuer={ISSUER}",
            *tokens,
        )

    def _controller_flags(self) -> tuple[str, ...]:
        return (
            f"--controllers={','.join(self._controllers)}",
            "--service-account-private-key-file=service-accounts.key",
            "--root-ca-file=ca.crt",
            "--kube-api-qps=1000",
            "--kube-api-burst=1000",
        )


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()

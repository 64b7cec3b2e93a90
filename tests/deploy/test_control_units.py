"""The Vagrant cluster's control plane without machines: its credentials, and its two units in their sandboxes."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import urllib.request
from base64 import b64decode
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from peers.processes import Process
from support.sandbox import argv_of, sandboxed

pytestmark = pytest.mark.netns

DEPLOY = Path(__file__).parents[2] / "deploy"
PROGRAMS = Path(sys.executable).parent
SECRET = "5f" * 32


def credentials(etc: Path, role: str, name: str) -> None:
    argv = (sys.executable, DEPLOY / "vagrant/credentials.py", role, "--name", name, "--control", "127.0.0.1")
    environment = {**os.environ, "SVCPLANE_SECRET": SECRET, "SVCPLANE_ETC": str(etc)}
    subprocess.run(argv, check=True, env=environment, timeout=60)


def unit(name: str, folder: Path, state: str, **variables: str) -> Process:
    file = DEPLOY / f"systemd/svcplane-{name}.service"
    argv = argv_of(file, PROGRAMS, **variables)
    return Process(sandboxed(file, argv, state), folder / f"{name}.log")


def test_control_plane_in_its_units_sandboxes(tmp_path: Path) -> None:
    control, node, state = (tmp_path / name for name in ("control", "node", "state"))
    state.mkdir()
    credentials(control, "control", "control")
    credentials(node, "node", "node1")
    pki = control / "pki"
    apiserver = (
        f"--bind-address=127.0.0.1 --secure-port=0 --advertise-address=192.0.2.1 --data={state}/apiserver.db "
        f"--client-ca-file={pki}/ca.crt --tls-cert-file={pki}/apiserver.crt "
        f"--tls-private-key-file={pki}/apiserver.key --service-account-key-file={pki}/service-accounts.key"
    )
    kubeconfig = (control / "controllers.kubeconfig").read_text()
    assert "https://127.0.0.1:6443" in kubeconfig
    controllers = f"--kubeconfig={control}/controllers.kubeconfig --root-ca-file={pki}/ca.crt"
    # A node trusts and is trusted by what it made of the secret itself.
    client = node_client(node)

    def asked(path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"https://127.0.0.1:{port}{path}", context=client, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    with ExitStack() as stack:
        server = stack.enter_context(unit("apiserver", tmp_path, str(state), SVCPLANE_APISERVER_FLAGS=apiserver))
        server.start()
        port = server.wait_until(lambda: re.findall(r" port=(\d+)", server.log.read_text()), "a port")[0]
        (control / "controllers.kubeconfig").write_text(kubeconfig.replace(":6443", f":{port}"))
        server.wait_until(lambda: asked("/version"), "the API server answers a node")
        others = stack.enter_context(unit("controllers", tmp_path, "", SVCPLANE_CONTROLLERS_FLAGS=controllers))
        others.start()
        others.wait_until(lambda: asked("/api/v1/namespaces/default/serviceaccounts/default"), "the controllers work")
        server.stop()
    assert (state / "apiserver.db").stat().st_size > 0


def node_client(etc: Path) -> ssl.SSLContext:
    """What the node's kubeconfig says, for Python's own TLS."""
    kubeconfig = json.loads((etc / "kubelet.kubeconfig").read_text())
    files = {
        "ca": kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"],
        "crt": kubeconfig["users"][0]["user"]["client-certificate-data"],
        "key": kubeconfig["users"][0]["user"]["client-key-data"],
    }
    for name, text in files.items():
        (etc / name).write_bytes(b64decode(text))
    context = ssl.create_default_context(cafile=str(etc / "ca"))
    context.load_cert_chain(etc / "crt", etc / "key")
    return context


def test_credentials_stay(tmp_path: Path) -> None:
    credentials(tmp_path, "node", "node1")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    credentials(tmp_path, "node", "node1")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert {path.stat().st_mode & 0o777 for path in before} == {0o600}

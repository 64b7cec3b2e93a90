"""Certificates and kubeconfigs of one machine of the Vagrant cluster; run by provision.sh, as root.

In: the secret that all machines share (SVCPLANE_SECRET), this machine's role and name, the control plane's address.
Out: files below /etc/svcplane (SVCPLANE_ETC); with --kubeadm on the control machine the authority for kubeadm too. What
is there and complete stays. Every machine can issue for every other: it is a cluster for trying things out.
"""

from __future__ import annotations

import argparse
import json
import os
from base64 import b64encode
from pathlib import Path

from svclab.certificates import Authority, KeyPair, signing_key
from svclab.cluster.state import write

ETC = Path(os.environ.get("SVCPLANE_ETC", "/etc/svcplane"))
NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
FIRST_SERVICE = "10.96.0.1"


def kubeconfig(authority: Authority, server: str, user: str, *groups: str) -> str:
    """With everything in it, as JSON, which is YAML."""
    pair = authority.client(user, groups)
    cluster = {"server": server, "certificate-authority-data": _base64(authority.certificate)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "svcplane", "cluster": cluster}],
        "users": [{"name": user, "user": _credentials(pair)}],
        "contexts": [{"name": "svcplane", "context": {"cluster": "svcplane", "user": user}}],
        "current-context": "svcplane",
    }
    return json.dumps(content, indent=1)


def _credentials(pair: KeyPair) -> dict[str, str]:
    return {"client-certificate-data": _base64(pair.certificate), "client-key-data": _base64(pair.key)}


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def control(authority: Authority, address: str) -> dict[str, str]:
    """Files of the embedded control plane, by their names below /etc/svcplane."""
    server = authority.server("kube-apiserver", [*NAMES, "localhost", "127.0.0.1", FIRST_SERVICE, address])
    admin = authority.client("admin", ["system:masters"])
    url = f"https://{address}:6443"
    return {
        "pki/ca.crt": authority.certificate,
        "pki/apiserver.crt": server.certificate,
        "pki/apiserver.key": server.key,
        "pki/service-accounts.key": signing_key(),
        "pki/admin.crt": admin.certificate,
        "pki/admin.key": admin.key,
        "admin.kubeconfig": kubeconfig(authority, url, "admin", "system:masters"),
        "controllers.kubeconfig": kubeconfig(authority, url, "system:kube-controller-manager"),
    }


def node(authority: Authority, address: str, name: str) -> dict[str, str]:
    """Files of a node."""
    url = f"https://{address}:6443"
    return {
        "agent.kubeconfig": kubeconfig(authority, url, "system:kube-proxy", "system:node-proxier"),
        "dns.kubeconfig": kubeconfig(authority, url, "svcplane-dns"),
        "kubelet.kubeconfig": kubeconfig(authority, url, f"system:node:{name}", "system:nodes"),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("control", "node"))
    parser.add_argument("--name", required=True)
    parser.add_argument("--control", required=True, metavar="ADDRESS")
    parser.add_argument("--kubeadm", action="store_true")
    asked = parser.parse_args()
    authority = Authority("svcplane-vagrant", os.environ["SVCPLANE_SECRET"])
    root = ETC
    if asked.role == "node":
        files = node(authority, asked.control, asked.name)
    elif asked.kubeadm:
        root, files = Path("/etc/kubernetes/pki"), {"ca.crt": authority.certificate, "ca.key": authority.key}
    else:
        files = control(authority, asked.control)
    if all((root / name).exists() for name in files):
        return
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write(root / name, content)


if __name__ == "__main__":
    main()

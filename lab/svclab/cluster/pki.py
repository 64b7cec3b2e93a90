"""The lab's credentials: certificates and keys in `pki/`, and the kubeconfigs that carry them.

In: a lab. Out: files, see `write_credentials`.
"""

from __future__ import annotations

import json
from base64 import b64encode

from svclab.certificates import Authority, KeyPair, signing_key
from svclab.cluster.plan import CLUSTER_DOMAIN, Plan
from svclab.cluster.state import Lab, write

COMPLETE = "complete"


def write_credentials(lab: Lab) -> None:
    """Once for a lab: pki/ and all kubeconfigs. What an interrupted attempt left is replaced, nothing ran by it."""
    if (lab.pki / COMPLETE).exists():
        return
    authority = Authority(f"svcplane-lab {lab.plan.name}")
    server = authority.server("kube-apiserver", api_server_names(lab.plan))
    files = {
        "ca.crt": authority.certificate,
        "apiserver.crt": server.certificate,
        "apiserver.key": server.key,
        "service-accounts.key": signing_key(),
    }
    admin = authority.client("admin", ["system:masters"])
    # Plain files too, for `api`: it needs a certificate's file, and no YAML.
    files |= {"admin.crt": admin.certificate, "admin.key": admin.key}
    for name, content in files.items():
        write(lab.pki / name, content)
    users = {
        "controllers": authority.client("system:kube-controller-manager"),
        "agent": authority.client("system:kube-proxy", ["system:node-proxier"]),
        **{node: authority.client(f"system:node:{node}", ["system:nodes"]) for node in lab.plan.node_names},
    }
    write(lab.admin_conf, kubeconfig(lab.plan, "admin", authority.certificate, admin))
    for user, pair in users.items():
        write(lab.kubeconfig(user), kubeconfig(lab.plan, user, authority.certificate, pair))
    write(lab.pki / COMPLETE, "")


def api_server_names(plan: Plan) -> list[str]:
    """What the API server is called by those who connect to it."""
    service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{CLUSTER_DOMAIN}")
    return [*service, "localhost", "127.0.0.1", plan.api_service, plan.hosts["control"]]


def kubeconfig(plan: Plan, user: str, authority: str, pair: KeyPair) -> str:
    """With everything in it, as JSON, which is YAML."""
    context = f"svcplane-{plan.name}"
    cluster = {"server": plan.api_server, "certificate-authority-data": _base64(authority)}
    credentials = {"client-certificate-data": _base64(pair.certificate), "client-key-data": _base64(pair.key)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": user}}],
        "current-context": context,
    }
    return json.dumps(content, indent=1)


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()

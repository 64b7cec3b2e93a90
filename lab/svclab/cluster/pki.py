"""The lab's certificates and keys, and the kubeconfigs that carry them.

In: a lab. Out: files, see `write_credentials`. The subject of a client certificate is who Kubernetes takes the client
for: common name = user, organization = group. Keys are elliptic (P-256): made in under a millisecond. Certificates
begin an hour ago, so that a clock that is set back does not hurt, and last for ten years: a lab has no rotation.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from svclab.cluster.plan import CLUSTER_DOMAIN, Plan
from svclab.cluster.state import Lab, write

YEARS = timedelta(days=3650)
COMPLETE = "complete"


class KeyPair(msgspec.Struct, frozen=True):
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str


class Authority:
    """Issues certificates that everything holding `self.certificate` trusts."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        usages = ("digital_signature", "key_cert_sign", "crl_sign")
        others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        only = ("encipher_only", "decipher_only")
        usage = x509.KeyUsage(**dict.fromkeys(usages, True), **dict.fromkeys((*others, *only), False))
        self._certificate = (
            _template(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = _pem(self._certificate)

    def server(self, name: str, addresses: Iterable[str]) -> KeyPair:
        """For a server reached under `addresses`: host names and IP addresses in any mix."""
        alternatives = x509.SubjectAlternativeName([_alternative(address) for address in addresses])
        return self._issue(_name(name), ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def client(self, user: str, groups: Iterable[str] = ()) -> KeyPair:
        """For a client that Kubernetes shall know as `user`, member of `groups`."""
        return self._issue(_name(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(self, subject: x509.Name, usage: x509.ObjectIdentifier, *extensions: x509.ExtensionType) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        template = (
            _template(subject, self._name, key)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(issuer, critical=False)
        )
        for extension in extensions:
            template = template.add_extension(extension, critical=False)
        return KeyPair(_pem(template.sign(self._key, hashes.SHA256())), _key_pem(key))


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
        "service-accounts.key": _key_pem(ec.generate_private_key(ec.SECP256R1())),
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


def _template(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(hours=1),
        not_valid_after=now + YEARS,
    )


def _name(common: str, organizations: Iterable[str] = ()) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    # SEC 1 ("EC PRIVATE KEY"): the form that Go's TLS and Kubernetes' token signer both read.
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()

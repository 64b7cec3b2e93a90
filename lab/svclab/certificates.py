"""A certificate authority: for a lab, or for a control plane that a test starts.

In: names and addresses. Out: PEM text. The subject of a client certificate is who Kubernetes takes the client for:
common name = user, organization = group. Keys are elliptic (P-256): made in under a millisecond, where RSA takes a
tenth of a second. Certificates begin an hour ago, so that a clock that is set back does not hurt, and last for ten
years: there is no rotation.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha512
from ipaddress import ip_address

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # FIPS 186-4, D.1.2.3
YEARS = timedelta(days=3650)


class KeyPair(msgspec.Struct, frozen=True):
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str


class Authority:
    """Issues certificates that everything holding `self.certificate` trusts.

    With a `secret`, machines that share it and nothing else have one authority: the key follows from it, and who trusts
    one of their certificates of the same name trusts what any of them issues.
    """

    def __init__(self, name: str, secret: str = "") -> None:
        self._key = _key_of(secret) if secret else ec.generate_private_key(ec.SECP256R1())
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
        self.key = _key_pem(self._key)

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


def _key_of(secret: str) -> ec.EllipticCurvePrivateKey:
    digest = int.from_bytes(sha512(secret.encode()).digest())  # twice as long as the order: no number is likelier
    return ec.derive_private_key(digest % (P256_ORDER - 1) + 1, ec.SECP256R1())


def signing_key() -> str:
    """A private key alone, PEM: what service account tokens are signed with."""
    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


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

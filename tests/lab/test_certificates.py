"""Machines that share a secret have one certificate authority."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from svclab.certificates import Authority


def test_one_secret_is_one_authority() -> None:
    here, there = Authority("lab", "a secret"), Authority("lab", "a secret")
    assert here.key == there.key
    issued = x509.load_pem_x509_certificate(there.client("system:node:node1", ["system:nodes"]).certificate.encode())
    issued.verify_directly_issued_by(x509.load_pem_x509_certificate(here.certificate.encode()))


@pytest.mark.parametrize("secrets", [("a secret", "another"), ("", "")], ids=["two-secrets", "none"])
def test_others_are_not_trusted(secrets: tuple[str, str]) -> None:
    here, there = (Authority("lab", secret) for secret in secrets)
    issued = x509.load_pem_x509_certificate(there.client("admin").certificate.encode())
    with pytest.raises(InvalidSignature):
        issued.verify_directly_issued_by(x509.load_pem_x509_certificate(here.certificate.encode()))

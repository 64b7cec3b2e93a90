"""Fixtures of the svckube tests: a scripted API server, plain and with TLS, and a certificate authority."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kube.scripted import Authority, ScriptedServer


@pytest.fixture
def api() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def https(authority: Authority, tmp_path: Path) -> Iterator[Callable[..., ScriptedServer]]:
    """Makes TLS servers: `https("127.0.0.1")` has a certificate for that name and asks clients for theirs."""
    made: list[ScriptedServer] = []

    def make(*names: str) -> ScriptedServer:
        issued = authority.issue("kube-apiserver", *names)
        chain = tmp_path / f"server-{len(made)}.pem"
        chain.write_bytes(issued.key + issued.certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        context.load_verify_locations(cadata=authority.pem.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        made.append(ScriptedServer(tls=context))
        return made[-1]

    yield make
    for server in made:
        server.close()

"""A scripted API server: real sockets on loopback that say, in order, what a test told them to.

In: `script`, one `Reply` a request, taken in the order requests arrive; once it is empty, a request is held open in
silence. Out: bytes, and `requests`, which records what was asked. With a TLS context it speaks HTTPS; an `Authority`
issues the certificates.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import ipaddress
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    client: str  # the common name of the client certificate, "" without
    at: float  # monotonic seconds

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))


class Connection:
    """One accepted connection, for the replies to write to."""

    def __init__(self, sock: socket.socket, closing: threading.Event) -> None:
        self.sock = sock
        self.closing = closing

    def head(self, status: int, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
        self.sock.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())

    def chunk(self, data: bytes) -> None:
        self.sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def silence(self) -> None:
        self.closing.wait(30)


Reply = Callable[[Connection], None]


def answer(status: int, body: bytes | dict[str, object] = b"", **headers: str) -> Reply:
    """A whole answer. `Retry_After` in `headers` is written with a dash."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def reply(connection: Connection) -> None:
        connection.head(status, {"Content-Length": str(len(data)), **named})
        connection.sock.sendall(data)

    return reply


def refusal(status: int, message: str, **headers: str) -> Reply:
    return answer(status, {"kind": "Status", "status": "Failure", "code": status, "message": message}, **headers)


def watching(*chunks: bytes, end: str = "clean") -> Reply:
    """A watch of these chunks that ends "clean", is "cut" without the last chunk, "reset", or falls into "silence"."""

    def reply(connection: Connection) -> None:
        connection.head(200, {"Transfer-Encoding": "chunked", "Content-Type": "application/json"})
        for one in chunks:
            connection.chunk(one)
        match end:
            case "clean":
                connection.sock.sendall(b"0\r\n\r\n")
            case "reset":
                connection.reset()
            case "silence":
                connection.silence()

    return reply


def silence(connection: Connection) -> None:
    """No answer at all, not even a status."""
    connection.silence()


def promised(length: int, body: bytes) -> Reply:
    """An answer that says it is longer than it is."""

    def reply(connection: Connection) -> None:
        connection.head(200, {"Content-Length": str(length)})
        connection.sock.sendall(body)

    return reply


@dataclass
class ScriptedServer:
    tls: ssl.SSLContext | None = None
    script: list[Reply] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self.port: int = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listening.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            sock.settimeout(10)
            stream = self.tls.wrap_socket(sock, server_side=True) if self.tls else sock
            with stream:
                request = _read_request(stream)
                if request is None:
                    return
                with self._lock:
                    self.requests.append(request)
                    reply = self.script.pop(0) if self.script else silence
                reply(Connection(stream, self._closing))


def _read_request(sock: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        if not part:
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    while len(body) < int(headers.get("content-length", "0")):
        body += sock.recv(65536)
    method, target, _ = first.split(" ")
    certificate = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
    subject: dict[str, str] = dict(pair[0] for pair in certificate["subject"]) if certificate else {}  # type: ignore[misc]  # typeshed allows other shapes
    return Request(method, target, headers, body, subject.get("commonName", ""), time.monotonic())


@dataclass(frozen=True)
class Issued:
    certificate: bytes  # PEM
    key: bytes


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        self._certificate = self._sign(self._name, self._key.public_key(), ca=True)
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, common_name: str, *names: str) -> Issued:
        """A certificate for these DNS names and IP addresses, good for servers and clients."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = self._sign(subject, key.public_key(), names=names)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Issued(certificate.public_bytes(serialization.Encoding.PEM), private)

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, names: tuple[str, ...] = (), ca: bool = False
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if ca:
            usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        else:
            builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        if names:
            general = [_general_name(name) for name in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()

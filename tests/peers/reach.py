"""HTTP and ports, inside or outside a network namespace.

In: an address, and the name of a namespace ("" is the one we run in). Out: answers as values, sockets.
A socket belongs for life to the namespace it was made in, so a thread that enters the namespace for that one call is
enough: no process per request, and the caller never leaves its own namespace. Entering one needs root.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pyroute2.netns import setns


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Session:
    """A connection to an HTTP server."""

    _connection: http.client.HTTPConnection

    def request(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """OSError when there is no answer, or the connection has ended."""
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            self._connection.request(method, path, body=body, headers=headers)
            response = self._connection.getresponse()
            return Answer(response.status, response.read(), dict(response.getheaders()))
        except http.client.HTTPException as error:
            server = f"{self._connection.host}:{self._connection.port}"
            raise ConnectionError(f"{server} broke off {method} {path}: {error!r}") from error


@dataclass(frozen=True, slots=True)
class HttpServer:
    """Where an HTTP server listens; with `tls`, HTTPS by the certificates in it."""

    address: str
    port: int
    netns: str = ""
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def request(self, method: str, path: str, body: bytes | None = None, *, seconds: float = 10.0) -> Answer:
        """One request on a connection of its own. OSError when the server cannot be reached within `seconds`."""
        with self.session(seconds=seconds) as session:
            return session.request(method, path, body)

    @contextmanager
    def session(self, *, seconds: float = 10.0) -> Iterator[Session]:
        """A connection that is kept for many requests, one after the other: of one thread at a time."""
        connection = http.client.HTTPConnection(self.address, self.port)
        connection.auto_open = 0  # it would open another one without TLS, in our own namespace
        connection.sock = self._connected(seconds)
        try:
            yield Session(connection)
        finally:
            connection.close()

    def _connected(self, seconds: float) -> socket.socket:
        connection = socket_in(self.netns, self.address, socket.SOCK_STREAM)
        try:
            connection.settimeout(seconds)
            connection.connect((self.address, self.port))
            # Head and body are two writes: the second would wait 40 ms for the first one's delayed acknowledgement.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is None:
                return connection
            return self.tls.wrap_socket(connection, server_hostname=self.address)
        except BaseException:
            connection.close()
            raise


@contextmanager
def unix_session(path: Path, *, seconds: float = 10.0) -> Iterator[Session]:
    """A kept connection to an HTTP server that listens on a unix socket."""
    connection = http.client.HTTPConnection("localhost")
    connection.auto_open = 0
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(seconds)
        connection.sock.connect(str(path))
        yield Session(connection)
    finally:
        connection.close()


def socket_in(netns: str, address: str, kind: socket.SocketKind) -> socket.socket:
    """A new socket of the family of `address`, in the namespace. OSError when there is no such namespace."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if not netns:
        return socket.socket(family, kind)

    def entered() -> socket.socket:
        setns(netns, flags=0)  # not O_CREAT: a misspelt name is an error, not a new namespace
        return socket.socket(family, kind)

    with ThreadPoolExecutor(max_workers=1) as visitor:
        return visitor.submit(entered).result()


def reserved_port(address: str, port: int = 0, netns: str = "") -> socket.socket:
    """A TCP port of the kernel's choice, kept from everybody who does not also ask for SO_REUSEPORT.

    The returned socket never listens, so connections go to the program that does, and are refused while there is none:
    a server can be killed and started again on its port, and nobody takes the port in between. Close it when done.
    """
    reservation = socket_in(netns, address, socket.SOCK_STREAM)
    try:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reservation.bind((address, port))
    except BaseException:
        reservation.close()
        raise
    return reservation


def port_of(reservation: socket.socket) -> int:
    port: int = reservation.getsockname()[1]
    return port

"""The door to the API server: TLS, connections, credentials kept fresh; bytes in, bytes out.

In: a kubeconfig or a pod's service account. Out: an `Access` with `get`, `watch` and the writing verbs, which many
threads may use at once. `credentials` finds out what to send; nothing here knows what the bytes mean. Every foreign
exception is translated into `AccessError`, which says whose fault it is. Refused: a missing or broken kubeconfig
(named), redirects (credentials are for one server), TLS that does not verify.

A token file is read anew once a minute. Credentials that expire are had anew RENEWAL_SECONDS before; if that fails, the
old ones may still do. A 401 makes us have everything anew, once, and ask again: that covers a client certificate, a
changed kubeconfig and a plugin whose token was withdrawn. Certificates are read at each new connection.
"""

from __future__ import annotations

import http.client
import logging
import os
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3

from svckube import credentials
from svckube.credentials import SERVICE_ACCOUNT, CredentialsError, Fault
from svckube.kubeconfig import Credentials, Pem
from svckube.observe import fields

KEPT_CONNECTIONS = 100

CONNECT_SECONDS = 10.0  # TCP and TLS handshake
READ_SECONDS = 30.0  # between two reads of an answer
ANSWER_SECONDS = 120.0  # a whole answer, however it trickles
RENEWAL_SECONDS = 300.0  # before credentials expire
TOKEN_SECONDS = 60.0  # between two looks at a token file

USER_AGENT = f"svcplane/{version('svcplane')}"

# A peer that vanishes without a reset is given up after 45 s, idle (keepalive) or with data unacknowledged (RFC 5482).
SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 45_000),
]

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"  # RFC 7396
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"

Query: TypeAlias = Mapping[str, str]


_log = logging.getLogger(__name__)


Told: TypeAlias = Callable[[str, str, str, float], None]


class AccessError(Exception):
    """A request that failed. `status` is the HTTP status, 0 without an answer; `retry_after` is in seconds."""

    def __init__(self, message: str, fault: Fault, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fault: Fault = fault
        self.status = status
        self.retry_after = retry_after


class StalledError(AccessError):
    """A connection that fell silent. The peer may be gone without a word, or stopped."""


class _Status(msgspec.Struct):
    message: str = ""


_status = msgspec.json.Decoder(_Status)  # made here and not in some thread: see `stream`


class _Session:
    """Credentials as they were had, and the connection pool made from them."""

    def __init__(self, held: Credentials) -> None:
        self.base = held.server.rstrip("/")
        self._held = held
        self._token = credentials.token_in(held.token_file) if held.token_file else held.authorization
        self._read = time.monotonic()
        if not held.verify:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            _log.warning("TLS is not verified", extra=fields(server=self.base))
        settings = {
            "maxsize": KEPT_CONNECTIONS,
            "socket_options": SOCKET_OPTIONS,
            "cert_reqs": ssl.CERT_REQUIRED if held.verify else ssl.CERT_NONE,
            "ca_certs": self._file(held.authority),
            "cert_file": self._file(held.certificate),
            "key_file": self._file(held.key),
            **({"server_hostname": held.server_name} if held.server_name else {}),
        }
        self.pool = _pool(held.proxy, settings)

    def _file(self, pem: Pem | None) -> str | None:
        """OpenSSL reads a client's certificate from files only: what is none is one in memory."""
        if pem is None or pem.path:
            return pem.path if pem is not None else None
        descriptor = os.memfd_create("pem")
        weakref.finalize(self, os.close, descriptor)
        os.write(descriptor, pem.data)
        return f"/proc/self/fd/{descriptor}"

    @property
    def is_expiring(self) -> bool:
        return 0 < self._held.expires <= time.time() + RENEWAL_SECONDS

    def headers(self) -> dict[str, str]:
        """Of the next request. A token file that is away or empty leaves the token that was in it."""
        sent = {"Accept": "application/json", "User-Agent": USER_AGENT}
        if self._held.token_file and self._read + TOKEN_SECONDS <= time.monotonic():
            self._read = time.monotonic()
            self._token = credentials.token_in(self._held.token_file) or self._token
        if self._token:
            sent["authorization"] = self._token.strip()  # a plugin's may end with a newline
        return sent


def _pool(proxy: str, settings: dict[str, Any]) -> urllib3.PoolManager:
    if not proxy:
        return urllib3.PoolManager(**settings)
    if proxy.lower().startswith("socks"):
        from urllib3.contrib.socks import SOCKSProxyManager  # wants PySocks, which few need

        return SOCKSProxyManager(proxy, **settings)
    return urllib3.ProxyManager(proxy, **settings)


class Watch:
    """An open watch: iterate for bytes as they arrive, leave to close. `close` may be called from any thread."""

    def __init__(self, open_: Callable[[], urllib3.BaseHTTPResponse], what: str) -> None:
        self._open = open_
        self._what = what
        self._response: urllib3.BaseHTTPResponse | None = None
        self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Watch:
        response = self._open()
        with self._lock:
            self._response = response
            closed = self._closed
        if closed:
            response.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        if self._response is not None:
            self._response.close()  # not back to the pool: the rest of the stream would have to be read first

    def __iter__(self) -> Iterator[bytes]:
        """Ends when the server ends the watch or `close` is called. Raises AccessError, StalledError after silence."""
        while not self._closed and self._response is not None:
            try:
                data = self._response.read1(1 << 16)
            except Exception as error:
                if self._closed:  # whatever a read makes of a socket that was shut under it
                    return
                raise _translated(error, self._what) from error
            # After close() the socket may still hand out what the kernel had, in TLS even undecrypted.
            if not data or self._closed:
                return
            yield data

    def close(self) -> None:
        """Ends the iteration at once, also one that blocks in a read; while still connecting, right after that."""
        with self._lock:
            self._closed = True
            if self._response is not None:
                with suppress(OSError, ValueError, RuntimeError):  # it ended by itself in the meantime
                    self._response.shutdown()


class Access:
    """Requests to one API server. `load` finds out the credentials; `origin` names their source in messages.

    `told` hears of every answer, from the thread that asked: method, host, HTTP status or `<error>`, seconds.
    """

    def __init__(self, load: Callable[[], Credentials], origin: str) -> None:
        self._load = load
        self._origin = origin
        self._lock = threading.Lock()
        self._session = self._fresh()
        self._stale = False
        self.told: Told = lambda method, host, code, seconds: None

    @property
    def server(self) -> str:
        """The URL requests go to."""
        return self._session.base

    def get(self, path: str, query: Query | None = None) -> bytes:
        """The body of the answer. Raises AccessError for every status but 2xx."""
        return self._body("GET", path, query or {}, None)

    def create(self, path: str, body: bytes) -> bytes:
        """POSTs a JSON object; returns the object as the server stored it. Raises AccessError."""
        return self._body("POST", path, {}, body)

    def update(self, path: str, body: bytes) -> bytes:
        """PUTs a JSON object with its resourceVersion; returns it as stored. AccessError, 409 if it has moved on."""
        return self._body("PUT", path, {}, body)

    def patch(self, path: str, body: bytes, content_type: str = MERGE_PATCH) -> bytes:
        """PATCHes; returns the object as stored. Raises AccessError."""
        return self._body("PATCH", path, {}, body, content_type)

    def delete(self, path: str, options: bytes | None = None) -> bytes:
        """DELETEs, with a JSON `DeleteOptions` if given; returns the object or a Status. Raises AccessError."""
        return self._body("DELETE", path, {}, options)

    def watch(self, path: str, query: Query, stall_seconds: float) -> Watch:
        """To be used in a `with`, which sends the request. Raises AccessError; silence of stall_seconds is one, too."""
        what = f"watch {path}"
        return Watch(lambda: self._answer("GET", path, query, None, stall_seconds, what), what)

    def close(self) -> None:
        """Closes idle connections. Open watches are closed by who opened them."""
        self._session.pool.clear()

    def _body(self, method: str, path: str, query: Query, body: bytes | None, content_type: str = JSON) -> bytes:
        what = f"{method} {path}"
        response = self._answer(method, path, query, body, READ_SECONDS, what, content_type)
        try:
            return _read_all(response, what)
        except Exception as error:
            response.close()
            raise _translated(error, what) from error

    def _answer(
        self,
        method: str,
        path: str,
        query: Query,
        body: bytes | None,
        read_seconds: float,
        what: str,
        content_type: str = JSON,
    ) -> urllib3.BaseHTTPResponse:
        session = self._current()
        response = self._send(session, method, path, query, body, read_seconds, what, content_type)
        if response.status == http.client.UNAUTHORIZED:
            response.close()
            session = self._renewed(session)
            response = self._send(session, method, path, query, body, read_seconds, what, content_type)
        if 200 <= response.status < 300:
            return response
        raise self._refusal(response, what)

    def _send(
        self,
        session: _Session,
        method: str,
        path: str,
        query: Query,
        body: bytes | None,
        read_seconds: float,
        what: str,
        content_type: str,
    ) -> urllib3.BaseHTTPResponse:
        url = session.base + path + (f"?{urlencode(query)}" if query else "")
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds)
        began, code = time.monotonic(), "<error>"
        try:
            headers = session.headers()
            if body is not None:
                headers["Content-Type"] = content_type
            response: urllib3.BaseHTTPResponse = session.pool.request(
                method, url, headers=headers, body=body, timeout=timeout, preload_content=False, retries=False
            )
            code = str(response.status)
            return response
        except Exception as error:
            failure = _translated(error, f"{what} at {session.base} ({self._origin})")
            self._stale = failure.fault == "config"  # a CA or key file that changed or went: read them anew next time
            raise failure from error
        finally:
            self.told(method, urlsplit(session.base).netloc, code, time.monotonic() - began)

    def _refusal(self, response: urllib3.BaseHTTPResponse, what: str) -> AccessError:
        status = response.status
        try:
            body = response.read(1 << 16)
            said = _status.decode(body).message
        except Exception:  # the status alone must do: a proxy's HTML, or a connection cut in the middle
            said = ""
        response.close()
        said = said or response.reason or "no message"
        after = response.headers.get("Retry-After", "")
        fault: Fault = "credentials" if status in (401, 403) else "server"
        if 300 <= status < 400:
            said = f"redirects to {response.headers.get('Location')}; if that is right, give it in {self._origin}"
            fault = "config"
        elif status == http.client.UNAUTHORIZED:
            said = f"{said}; the credentials of {self._origin} were read anew and refused again"
        return AccessError(f"{what}: {status} {said}", fault, status, float(after) if after.isdecimal() else None)

    def _current(self) -> _Session:
        session = self._session
        if self._stale:
            return self._renewed(session)
        if session.is_expiring:
            with suppress(AccessError):  # the old ones may still do, and after a 401 all is said
                return self._renewed(session)
        return session

    def _renewed(self, used: _Session) -> _Session:
        """A session other than `used`; of many threads that ask at once, the first loads it for all."""
        with self._lock:
            if self._session is used:
                self._session = self._fresh()
                self._stale = False
                used.pool.clear()
            return self._session

    def _fresh(self) -> _Session:
        try:
            return _Session(self._load())
        except CredentialsError as error:
            raise AccessError(f"{self._origin}: {error}", error.fault) from error


def from_kubeconfig(path: str = "", *, server: str = "", context: str = "") -> Access:
    """Access as a kubeconfig says. `path` may be a list like $KUBECONFIG, and is that by default, or ~/.kube/config.

    `server` overrides the URL, `context` the current context. Raises AccessError, which names the file.
    """
    path = path or os.environ.get("KUBECONFIG", "") or "~/.kube/config"
    return Access(lambda: credentials.of_kubeconfig(path, context, server), f"kubeconfig {path}")


def at_server(server: str, *, certificate: str = "", key: str = "", authority: str = "") -> Access:
    """Access to the server at this URL, by a client certificate or by none; paths of PEM files, "" where not given."""
    return Access(lambda: credentials.at_server(server, certificate, key, authority), f"endpoint {server}")


def in_cluster(directory: str = SERVICE_ACCOUNT, environment: Mapping[str, str] = os.environ) -> Access:
    """Access of a pod, by its service account. Raises AccessError."""
    return Access(lambda: credentials.in_cluster(directory, environment), f"service account {directory}")


def _read_all(response: urllib3.BaseHTTPResponse, what: str) -> bytes:
    deadline = time.monotonic() + ANSWER_SECONDS
    parts = []
    while part := response.read1(1 << 20):
        parts.append(part)
        if time.monotonic() > deadline:
            raise StalledError(f"{what}: the answer is not complete after {ANSWER_SECONDS:.0f} s", "network")
    response.release_conn()
    return b"".join(parts)


def _translated(error: Exception, what: str) -> AccessError:
    """Whose fault a foreign exception is. A certificate or a file that does not fit is the configuration's."""
    chain: list[BaseException] = [error]
    while (deeper := chain[-1].__cause__ or chain[-1].__context__) is not None and deeper not in chain:
        chain.append(deeper)
    message = f"{what}: {error}"
    if isinstance(error, AccessError):
        return error
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in chain):
        return AccessError(f"{message}; check certificate-authority and tls-server-name", "config")
    if any(isinstance(one, FileNotFoundError | PermissionError) for one in chain):
        return AccessError(message, "config")
    refused = isinstance(error, urllib3.exceptions.ConnectTimeoutError)
    if not refused and any(isinstance(one, urllib3.exceptions.ReadTimeoutError | TimeoutError) for one in chain):
        return StalledError(message, "network")
    if isinstance(error, urllib3.exceptions.HTTPError | OSError | http.client.HTTPException):
        return AccessError(message, "network")
    if isinstance(error, ValueError):  # a URL or a token that cannot be sent
        return AccessError(message, "config")
    raise error

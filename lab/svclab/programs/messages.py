"""HTTP/1.1 as values: octets to requests, responses to octets.

In: what a connection received, piece by piece. Out: `Request`s in order, each once its body is complete; and the
octets of a `Response`. Refuses, with `BadRequestError` and the status to answer with: a head that is none (400), one
longer than HEAD_LIMIT (431), a body longer than BODY_LIMIT (413), a body in chunks (411), another protocol (505).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

HEAD_LIMIT = 16 << 10
BODY_LIMIT = 1 << 20

PHRASES = {
    200: "OK",
    301: "Moved Permanently",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    411: "Length Required",
    413: "Content Too Large",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Request(NamedTuple):
    """`path` and `query` as they came, without decoding; header names in lower case; `line` is the request's first."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    keep: bool
    line: str

    @property
    def host(self) -> str:
        """The Host header in lower case, without a port."""
        host = self.headers.get("host", "").lower()
        return host if host.endswith("]") else host.rpartition(":")[0] or host

    def asked(self, name: str) -> str:
        """The value of the first `name=` in the query string, decoded; empty if there is none."""
        for pair in self.query.split("&"):
            key, _, value = pair.partition("=")
            if decoded(key) == name:
                return decoded(value)
        return ""


class Response(NamedTuple):
    status: int
    body: bytes
    kind: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


class BadRequestError(Exception):
    """The peer's fault; `status` is what to answer before closing."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Reader:
    """One connection's receiving side."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._head: Request | None = None
        self._wanted = 0
        self.expecting = False  # the client waits for `100 Continue`; whoever sends that sets it back

    @property
    def is_empty(self) -> bool:
        return not self._received and self._head is None

    def feed(self, octets: bytes) -> None:
        self._received += octets

    def next(self) -> Request | None:
        """The next complete request, or None until more is fed."""
        if self._head is None and not self._take_head():
            return None
        if len(self._received) < self._wanted or self._head is None:
            return None
        request = self._head._replace(body=bytes(self._received[: self._wanted]))
        del self._received[: self._wanted]
        self._head, self.expecting = None, False
        return request

    def _take_head(self) -> bool:
        while self._received[:2] == b"\r\n":  # a stray line end after a body (RFC 9112 section 2.2)
            del self._received[:2]
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            if len(self._received) > HEAD_LIMIT:
                raise BadRequestError(431, "the head is too long")
            return False
        head = self._received[:end].decode("latin-1")
        del self._received[: end + 4]
        self._head = _head(head)
        headers = self._head.headers
        if "transfer-encoding" in headers:
            raise BadRequestError(411, "a body in chunks is not read here; send Content-Length")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise BadRequestError(400, "Content-Length is no number")
        self._wanted = int(length)
        if self._wanted > BODY_LIMIT:
            raise BadRequestError(413, "the body is too long")
        self.expecting = headers.get("expect", "").lower() == "100-continue" and len(self._received) < self._wanted
        return True


def _head(text: str) -> Request:
    first, *lines = text.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        raise BadRequestError(400, "the request line is no HTTP/1.1")
    method, target, version = words
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise BadRequestError(505, f"{version} is not spoken here")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequestError(400, "a header line has no name")
        headers[name.lower()] = value.strip()
    if version == "HTTP/1.1" and "host" not in headers:
        raise BadRequestError(400, "HTTP/1.1 wants a Host header")
    if "://" in target and not target.startswith("/"):  # absolute form, as through a proxy: its host is the Host
        authority, slash, path = target.partition("://")[2].partition("/")
        headers["host"], target = authority, slash + path or "/"
    path, _, query = target.partition("?")
    connection = headers.get("connection", "").lower()
    keep = "close" not in connection if version == "HTTP/1.1" else "keep-alive" in connection
    return Request(method, path, query, headers, b"", keep, first)


def written(response: Response, server: str, *, keep: bool, body: bool = True) -> bytes:
    """The octets of a response; without its body as the answer to HEAD. `server` names the program."""
    status, content, kind, more = response
    lines = [
        f"HTTP/1.1 {status} {PHRASES.get(status, 'Status')}",
        f"Server: {server}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(content)}",
        f"Connection: {'keep-alive' if keep else 'close'}",
        *(f"{name}: {value}" for name, value in more),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + (content if body else b"")


def decoded(text: str) -> str:
    """`%41` and `+` of a query string as the characters they stand for; what is no escape stays."""
    octets = text.replace("+", " ").encode("latin-1", "replace")
    first, *parts = octets.split(b"%")
    out = [first]
    for part in parts:
        try:
            out.append(bytes.fromhex(part[:2].decode("ascii")) + part[2:] if len(part) >= 2 else b"%" + part)
        except ValueError:
            out.append(b"%" + part)
    return b"".join(out).decode("utf-8", "replace")

"""A small HTTP client: what the programs ask of others. `http.client` would cost as much to load as the rest together.

In: an `http://` URL. Out: status and body. Raises OSError (no such name, refused, timed out), ValueError for what is no
URL or no HTTP answer.
"""

from __future__ import annotations

import socket


def fetched(url: str, *, host: str = "", seconds: float = 5.0) -> tuple[int, bytes]:
    """GET; `host` replaces the Host header."""
    scheme, _, rest = url.partition("://")
    if scheme != "http" or not rest:
        raise ValueError(f"{url!r} is no http:// URL")
    authority, slash, path = rest.partition("/")
    name, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        name, port = authority, "80"
    if not port.isdigit():
        raise ValueError(f"{url!r}: {port!r} is no port")
    request = f"GET {slash + path or '/'} HTTP/1.0\r\nHost: {host or authority}\r\nUser-Agent: svcplane-lab\r\n\r\n"
    with socket.create_connection((name.strip("[]"), int(port)), timeout=seconds) as connection:
        connection.sendall(request.encode())
        parts = []
        while part := connection.recv(64 << 10):
            parts.append(part)
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        raise ValueError(f"{url}: the answer is no HTTP")
    return int(words[1]), body

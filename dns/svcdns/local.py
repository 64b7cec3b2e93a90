"""What a running server tells those on its machine: HTTP on a Unix socket of its network namespace.

In: functions by path. Out: their JSON, to processes of the same user and to root, for names and clients are not
everybody's business. The socket's name is abstract (unix(7)): `svcplane-dns-PID-...` needs no folder that could be
written to, leaves nothing behind, and two servers never have the same.

    curl --abstract-unix-socket svcplane-dns-17-9f3a61c2 http://localhost/top
"""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

PREFIX = "svcplane-dns-"
SECONDS = 5.0
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_ROOT = 0


class Connected(Protocol):
    """A Unix socket, or what asyncio shows of one."""

    def getsockopt(self, level: int, name: int, size: int, /) -> bytes: ...


def user_of(connection: Connected) -> int:
    """Whose process is at the other end of a Unix socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])


def is_trusted(user: int) -> bool:
    """Whether it is root or our own user."""
    return user in (_ROOT, os.geteuid())


async def tell(routes: Mapping[str, Callable[[], bytes]]) -> asyncio.Server:
    """Serves GET until the server that is returned is closed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(request, user_of(writer.get_extra_info("socket")), routes))
                await writer.drain()
        writer.close()

    name = f"{PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
    return await asyncio.start_unix_server(answer, "\0" + name, limit=8192)


def _response(request: bytes, user: int, routes: Mapping[str, Callable[[], bytes]]) -> bytes:
    words = request.split(b" ", 2)
    found = routes.get(words[1].decode("latin-1")) if len(words) == 3 and words[0] == b"GET" else None
    if not is_trusted(user):
        status, body = "403 Forbidden", b""
    elif found is None:
        status, body = "404 Not Found", b""
    else:
        status, body = "200 OK", found()
    head = f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def names() -> list[str]:
    """The sockets of the servers in this network namespace."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return sorted({line.rpartition("@")[2] for line in lines if f" @{PREFIX}" in line})


def ask(name: str, path: str) -> bytes:
    """What a server tells. Raises OSError with what to do where it tells nothing."""
    connection = http.client.HTTPConnection("localhost", timeout=SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(SECONDS)
    try:
        connection.sock.connect("\0" + name)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except OSError as error:
        raise OSError(error.errno, f"socket {name}: {error.strerror or error}") from error
    finally:
        connection.close()
    if response.status == http.client.FORBIDDEN:
        raise PermissionError(1, f"socket {name}: only root and the server's own user are told; try sudo")
    if response.status != http.client.OK:
        raise OSError(5, f"socket {name}: the server does not know {path}")
    return body

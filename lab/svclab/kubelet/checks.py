"""Asks a container how it is, or tells it something: probes and lifecycle hooks, by HTTP, TCP or a command inside.

In: a probe's or hook's action, the pod's address, a container. Out: whether it succeeded and the kubelet's words if
not. Each call ends within its timeout. HTTPS is not verified and redirects are followed on the same host only, as the
kubelet does it. Refused: gRPC, with a sentence.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import time
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from svclab.kubelet.enter import inside
from svclab.kubelet.pods import Run

Body: TypeAlias = dict[str, Any]

READ_LIMIT = 10 << 10
REDIRECTS = 10


def checked(action: Body, container: Body, run: Run, address: str, seconds: float, purpose: str) -> tuple[bool, str]:
    """Success, and what the other side (or the failure) said. `purpose` is "probe" or "lifecycle"."""
    try:
        if "exec" in action:
            return _command(action["exec"].get("command") or [], run, seconds)
        if "httpGet" in action:
            return _http(action["httpGet"], container, address, seconds, purpose)
        if "tcpSocket" in action:
            wanted = action["tcpSocket"]
            return _tcp(wanted.get("host") or address, port_of(wanted["port"], container), seconds)
        if "sleep" in action:
            time.sleep(min(float(action["sleep"]["seconds"]), seconds))
            return True, ""
    except ValueError as error:
        return False, str(error)
    return (
        False,
        f"this kubelet has no {', '.join(set(action) & {'grpc'}) or 'such'} probes, only exec, httpGet and tcpSocket",
    )


def port_of(port: int | str, container: Body) -> int:
    """A port by number or by the container's name for it. Raises ValueError."""
    if isinstance(port, int):
        return port
    for one in container.get("ports") or []:
        if one.get("name") == port:
            return int(one["containerPort"])
    if port.isdecimal():
        return int(port)
    raise ValueError(f"couldn't find port: {port}")


def _command(argv: list[str], run: Run, seconds: float) -> tuple[bool, str]:
    try:
        done = subprocess.run(
            inside(run, argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return False, f'command timed out: "{" ".join(argv)}" timed out after {round(seconds)}s'
    except OSError as error:
        return False, str(error)
    return done.returncode == 0, done.stdout[:READ_LIMIT].decode(errors="replace")


def _tcp(host: str, port: int, seconds: float) -> tuple[bool, str]:
    try:
        socket.create_connection((host, port), seconds).close()
    except OSError as error:
        return False, f"dial tcp {_joined(host, port)}: {_said(error)}"
    return True, ""


def _http(action: Body, container: Body, address: str, seconds: float, purpose: str) -> tuple[bool, str]:
    scheme = str(action.get("scheme") or "HTTP").lower()
    host, port = action.get("host") or address, port_of(action["port"], container)
    path = action.get("path") or "/"
    headers = {"User-Agent": f"kube-{purpose}/1.36", "Accept": "*/*", "Connection": "close"}
    for header in action.get("httpHeaders") or []:
        headers = {name: value for name, value in headers.items() if name.lower() != header["name"].lower()}
        headers[header["name"]] = header.get("value", "")
    deadline = time.monotonic() + seconds
    for _ in range(REDIRECTS):
        url = f"{scheme}://{_joined(host, port)}{path}"
        try:
            status, location = _asked(scheme, host, port, path, headers, deadline)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, TimeoutError):
                return False, f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
            connecting = isinstance(error, OSError) and not isinstance(error, http.client.HTTPException)
            said = f"dial tcp {_joined(host, port)}: {_said(error)}" if connecting else str(error) or "EOF"
            return False, f'Get "{url}": {said}'
        there = urlsplit(location)
        if not (300 <= status < 400 and location) or (there.hostname or host) != host:
            break
        scheme, port = there.scheme or scheme, there.port or port
        path = (there.path or "/") + (f"?{there.query}" if there.query else "")
    return 200 <= status < 400, "" if 200 <= status < 400 else f"HTTP probe failed with statuscode: {status}"


def _asked(scheme: str, host: str, port: int, path: str, headers: dict[str, str], deadline: float) -> tuple[int, str]:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    if scheme == "https":
        unverified = ssl._create_unverified_context()  # noqa: S323  # a probe asks whether it answers, not who
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=seconds, context=unverified
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", path if path.startswith("/") else f"/{path}", headers=headers)
        answer = connection.getresponse()
        answer.read(READ_LIMIT)
        return answer.status, answer.getheader("Location") or ""
    finally:
        connection.close()


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _said(error: BaseException) -> str:
    """A failed connect in Go's words."""
    if isinstance(error, TimeoutError):
        return "i/o timeout"
    if isinstance(error, ConnectionResetError):
        return "connection reset by peer"
    text = (getattr(error, "strerror", None) or str(error)).lower()
    return f"connect: {text}"

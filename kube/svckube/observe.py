"""How a program shows how it is: HTTP answers for probes and scrapes, notices to systemd, log lines, a registry.

In: routes (path → callable), an address, an environment. Out: an HTTP server in daemon threads, datagrams to systemd,
lines on a stream. Nothing here knows what is healthy: the routes do, and are called at each request.

The server is made for probes: GET and HEAD, one request a connection. Refused: a request that is not complete within
REQUEST_SECONDS or HEAD_LIMIT bytes, and more than WORKERS connections at a time (closed at once, so that a probe sees
a failure and not a hang). A route that raises answers 500 and leaves a log line.

A log line is an event with fields: `log.info("synced", extra=fields(services=3))`.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TextIO, TypeAlias

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, generate_latest

WORKERS = 8
REQUEST_SECONDS = 5.0
HEAD_LIMIT = 16 << 10  # bytes

Answer: TypeAlias = tuple[int, str, bytes] | tuple[int, str, bytes, Mapping[str, str]]
Registry: TypeAlias = CollectorRegistry
Route: TypeAlias = Callable[[], Answer]

TEXT = "text/plain; charset=utf-8"
ANY = "*"
"""The route for every path that has none of its own; it takes every method too."""

_log = logging.getLogger(__name__)


def serve(address: str, routes: Mapping[str, Route]) -> Server:
    """Listens on `host:port`, `[host]:port` or `:port` (every address, both families) and answers in daemon threads.

    A route gives (status, content type, body) or (status, content type, body, headers). Port 0 lets the kernel choose;
    the handle's `address` says which. The socket is made in the calling thread: its network namespace counts.
    Raises ValueError for what is no address, OSError naming the address if it cannot be had.
    """
    return Server(listen(address), routes)


def listen(address: str) -> socket.socket:
    """A listening TCP socket; `[::]` and no host at all accept IPv4 too, as Go does. Raises as `serve`."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{address!r} is no address to listen on: write host:port, [host]:port or :port")
    try:
        everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
        found = socket.getaddrinfo(host or everywhere, int(port), type=socket.SOCK_STREAM)
        family = found[0][0]
        dual = family == socket.AF_INET6 and host in ("", "::") and socket.has_dualstack_ipv6()
        return socket.create_server(found[0][4][:2], family=family, backlog=64, dualstack_ipv6=dual)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from error


class Server:
    """A running server. `address` is where it listens, as `host:port` or `[host]:port`."""

    def __init__(self, listening: socket.socket, routes: Mapping[str, Route]) -> None:
        host, port = listening.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._listening = listening
        self._routes = dict(routes)
        self._free = threading.BoundedSemaphore(WORKERS)
        self._closing = False
        self._thread = threading.Thread(target=self._accept, name=f"http {self.address}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops listening; requests that are being answered are finished."""
        self._closing = True
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the accept; closing alone does not
        self._thread.join(REQUEST_SECONDS)
        self._listening.close()

    def _accept(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # closing; or a peer that went already, or no file descriptors left for a moment
                if not self._closing:
                    time.sleep(0.1)
                continue
            if self._free.acquire(blocking=False):
                threading.Thread(target=self._answer, args=(connection,), name="http request", daemon=True).start()
            else:
                connection.close()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection, suppress(OSError):
                method, path = _request(connection)
                if method:
                    connection.settimeout(REQUEST_SECONDS)
                    connection.sendall(_response(method, self._result(method, path)))
        finally:
            self._free.release()

    def _result(self, method: str, path: str) -> Answer:
        route = self._routes.get(path)
        if route is None and ANY in self._routes:
            return self._answered(self._routes[ANY], path)
        if route is None:
            known = "\n".join(sorted(self._routes))
            return HTTPStatus.NOT_FOUND, TEXT, f"404 nothing at {path}; there is\n{known}\n".encode()
        if method not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"405 only GET and HEAD\n", {"Allow": "GET, HEAD"}
        return self._answered(route, path)

    @staticmethod
    def _answered(route: Route, path: str) -> Answer:
        try:
            return route()
        except Exception:
            _log.exception("route failed", extra=fields(path=path))
            return HTTPStatus.INTERNAL_SERVER_ERROR, TEXT, b"500 see the log\n"


def _request(connection: socket.socket) -> tuple[str, str]:
    """Method and path of the request; two empty strings if it does not come in time or is none."""
    deadline = time.monotonic() + REQUEST_SECONDS
    head = b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        left = deadline - time.monotonic()
        if left <= 0 or len(head) > HEAD_LIMIT:
            return "", ""
        connection.settimeout(left)
        part = connection.recv(HEAD_LIMIT)
        if not part:
            return "", ""
        head += part
    words = head.split(b"\n", 1)[0].decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return "", ""
    return words[0], words[1].partition("?")[0]


def _response(method: str, answer: Answer) -> bytes:
    status, content_type, body = answer[:3]
    more = answer[3] if len(answer) == 4 else {}
    head = {"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close", **more}
    lines = [
        f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}",
        *(f"{name}: {value}" for name, value in head.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if method == "HEAD" else body)


def registry() -> CollectorRegistry:
    """A program's own registry, with the process's CPU, memory and files in it, and without `_created` series."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the package leaves this one without types
    own = CollectorRegistry()
    ProcessCollector(registry=own)
    return own


def exposition(metrics: CollectorRegistry) -> Route:
    """The route for /metrics: Prometheus text format 0.0.4."""
    return lambda: (HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", generate_latest(metrics))


def sd_notify(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Tells systemd `READY=1`, `STOPPING=1`, `WATCHDOG=1`, `STATUS=…` (sd_notify(3)); False if nobody listens."""
    path = environment.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    name = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notice:
        try:
            notice.connect(name)
            notice.sendall(state.encode())
        except OSError:
            return False
    return True


def fields(**values: object) -> dict[str, object]:
    """The fields of a log line, for `extra`."""
    return {"fields": values}


def log_to(stream: TextIO, *, level: str = "INFO", as_json: bool = False) -> None:
    """Sends the whole process's log lines to a stream, one line an event, as `key=value` text or as JSON."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(as_json=as_json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns about retries, which are our business to report


class LineFormatter(logging.Formatter):
    """One line a record: time (UTC), level, logger, event, then the fields in the order they were given."""

    def __init__(self, *, as_json: bool = False) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = {"time": moment, "level": record.levelname.lower(), "logger": record.name, "event": record.getMessage()}
        values: dict[str, object] = dict(getattr(record, "fields", {}))
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        if self._as_json:
            return json.dumps({**head, **values, **head}, default=str, ensure_ascii=False)
        event = " ".join(head["event"].split())
        words = [f"{name}={_quoted(value)}" for name, value in values.items() if value != ""]
        return " ".join([head["time"], head["level"], head["logger"], event, *words])


def _quoted(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and not any(mark in text for mark in ' "=')
    return text if plain and text else json.dumps(text, ensure_ascii=False)

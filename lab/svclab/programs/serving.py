"""One loop over the sockets of a small server: HTTP, raw TCP and UDP; and how it ends.

In: ports, and for each the function that answers. Out: exit status 0 after SIGTERM or SIGINT, or OSError naming the
port that cannot be had. A function that has to wait for somebody else returns a `Later`, which runs in a thread; all
other functions run in the loop. Ending is described in the package.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from svclab.programs.messages import CONTINUE, BadRequestError, Reader, Request, Response, written

IDLE_SECONDS = 75.0  # what nginx gives a connection between two requests
SWEEP_SECONDS = 15.0
FINISH_SECONDS = 5.0  # for requests under way once nothing more is accepted
LINGER_SECONDS = 2.0  # a node's agent may take one second until it writes rules, and a moment to hear of the change
LONGEST_LINGER = 10  # times the above, however much still comes
PROBES = "kube-probe/"  # how the kubelet's user agent begins: it goes on probing a pod that ends
CHUNK = 64 << 10
LARGEST_DATAGRAM = 64 << 10


class Peer(NamedTuple):
    """The client: an IPv4 address is written as one also where it came through an IPv6 socket."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Later(NamedTuple):
    """An answer that takes its time."""

    answer: Callable[[], Response]


Answer = Callable[[Request, Peer], "Response | Later"]
Greet = Callable[[Peer], bytes]
Echo = Callable[[bytes, Peer], "bytes | None"]


class _Listener(NamedTuple):
    """Exactly one of `answer` and `greet` is there."""

    sock: socket.socket
    answer: Answer | None = None
    greet: Greet | None = None


class _Connection:
    __slots__ = ("answer", "busy", "closing", "mask", "out", "peer", "reader", "seen", "sock")

    def __init__(self, sock: socket.socket, peer: Peer, answer: Answer, now: float) -> None:
        self.sock, self.peer, self.answer, self.seen = sock, peer, answer, now
        self.reader = Reader()
        self.out = b""
        self.busy = False  # a Later is at work on its request
        self.closing = False  # once `out` is sent
        self.mask = select.EPOLLIN


class Serving:
    """A server named `name` (its Server header). Add sockets, then `run`."""

    def __init__(self, name: str, *, linger: float | None = None, log: bool = True) -> None:
        self._name = name
        self._log = log
        self._linger = _linger() if linger is None else linger
        self._listening: dict[int, _Listener] = {}
        self._datagrams: dict[int, tuple[socket.socket, Echo]] = {}
        self._connections: dict[int, _Connection] = {}
        self._finished: deque[tuple[_Connection, Request, Response]] = deque()
        self._poll = select.epoll()
        self._stopping = False
        self._asked = 0.0  # when the last request came that was no probe's
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll.register(self._woken, select.EPOLLIN)

    def add_http(self, port: int, answer: Answer) -> int:
        """Listens on every address; returns the port, which the kernel chooses for 0."""
        return self._listen(_Listener(_bound(socket.SOCK_STREAM, port), answer=answer))

    def add_greeting(self, port: int, greet: Greet) -> int:
        """Raw TCP: says something to whoever connects, and closes."""
        return self._listen(_Listener(_bound(socket.SOCK_STREAM, port), greet=greet))

    def add_udp(self, port: int, echo: Echo) -> int:
        sock = _bound(socket.SOCK_DGRAM, port)
        self._datagrams[sock.fileno()] = (sock, echo)
        self._poll.register(sock, select.EPOLLIN)
        return int(sock.getsockname()[1])

    def _listen(self, listener: _Listener) -> int:
        listener.sock.listen(1024)
        self._listening[listener.sock.fileno()] = listener
        self._poll.register(listener.sock, select.EPOLLIN)
        return int(listener.sock.getsockname()[1])

    def stop(self) -> None:
        """Begins the end, as SIGTERM does; from any thread."""
        self._stopping = True
        os.write(self._waker, b"s")

    def run(self, *, signals: bool = True) -> int:
        """Serves until stopped. `signals` only in the main thread."""
        if signals:
            signal.signal(signal.SIGTERM, lambda *_: self.stop())
            signal.signal(signal.SIGINT, lambda *_: self.stop())
            signal.signal(signal.SIGQUIT, lambda *_: self.stop())  # what the nginx image is stopped with
            signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        swept = time.monotonic()
        while not self._stopping:
            self._turn(SWEEP_SECONDS if self._connections else -1.0)
            now = time.monotonic()
            if now - swept >= SWEEP_SECONDS:
                self._sweep(now - IDLE_SECONDS)
                swept = now
        self._end()
        if signals:
            signal.set_wakeup_fd(-1)
        return 0

    def _end(self) -> None:
        begun = self._asked = time.monotonic()
        while (
            left := min(self._asked, begun + (LONGEST_LINGER - 1) * self._linger) + self._linger - time.monotonic()
        ) > 0:
            self._turn(left)
        for listener in self._listening.values():
            self._accept(listener)  # those that the kernel has already shaken hands with
            listener.sock.close()
        self._listening.clear()
        deadline = time.monotonic() + FINISH_SECONDS
        while self._connections and (now := time.monotonic()) < deadline:
            for connection in list(self._connections.values()):
                # A fresh connection gets a moment for its request; an idle one of long standing does not.
                waits = connection.reader.is_empty and not connection.busy and not connection.out
                if waits and now - connection.seen > 0.2:
                    self._drop(connection)
            self._turn(0.1)
        for connection in list(self._connections.values()):
            self._drop(connection)
        for sock, _ in self._datagrams.values():
            sock.close()
        self._poll.close()
        os.close(self._woken)
        os.close(self._waker)

    def _turn(self, seconds: float) -> None:
        for number, events in self._poll.poll(max(seconds, 0.0) if seconds >= 0 else -1):
            if number in self._connections:
                self._serve(self._connections[number], events)
            elif number in self._listening:
                self._accept(self._listening[number])
            elif number in self._datagrams:
                self._reply(*self._datagrams[number])
            elif number == self._woken:
                os.read(self._woken, 4096)
        while self._finished:
            connection, request, response = self._finished.popleft()
            connection.busy = False
            if connection.sock.fileno() in self._connections:
                self._send(connection, request, response)
                self._proceed(connection)

    def _accept(self, listener: _Listener) -> None:
        for _ in range(64):
            try:
                accepted, address = listener.sock.accept()
            except OSError:  # none is left; or the peer went already, or no file descriptors for a moment
                return
            accepted.setblocking(False)
            if listener.greet is not None:
                with accepted, suppress(OSError):
                    accepted.send(listener.greet(_peer(address)))
            elif listener.answer is not None:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = _Connection(accepted, _peer(address), listener.answer, time.monotonic())
                self._connections[accepted.fileno()] = connection
                self._poll.register(accepted, connection.mask)

    def _reply(self, sock: socket.socket, echo: Echo) -> None:
        for _ in range(64):
            try:
                datagram, address = sock.recvfrom(LARGEST_DATAGRAM)
                said = echo(datagram, _peer(address))
                if said is not None:
                    sock.sendto(said, address)
            except OSError:  # nothing more to read, or the client is gone
                return

    def _serve(self, connection: _Connection, events: int) -> None:
        if events & (select.EPOLLHUP | select.EPOLLERR):
            self._drop(connection)
            return
        if events & select.EPOLLIN:
            try:
                received = connection.sock.recv(CHUNK)
            except BlockingIOError:
                return
            except OSError:
                self._drop(connection)
                return
            connection.seen = time.monotonic()
            connection.closing |= not received  # it may still wait for an answer
            connection.reader.feed(received)
        if events & select.EPOLLOUT:
            self._flush(connection)
        self._proceed(connection)

    def _proceed(self, connection: _Connection) -> None:
        """Answers what has arrived, one request after the other, as long as the answers go out at once."""
        while not connection.busy and not connection.out:
            try:
                request = connection.reader.next()
            except BadRequestError as error:
                response = Response(error.status, f"{error.status} {error}\n".encode())
                connection.closing = True
                self._write(connection, written(response, self._name, keep=False))
                break
            if request is None:
                break
            self._begin(connection, request)
        if connection.reader.expecting and not connection.busy and not connection.out:
            connection.reader.expecting = False
            self._write(connection, CONTINUE)
        if connection.closing and not connection.busy and not connection.out:
            self._drop(connection)
        else:
            self._watch(connection)

    def _begin(self, connection: _Connection, request: Request) -> None:
        if not request.headers.get("user-agent", "").startswith(PROBES):
            self._asked = time.monotonic()
        try:
            answer = connection.answer(request, connection.peer)
        except Exception as error:  # a program's own fault costs this request only
            answer = _failed(error)
        if isinstance(answer, Response):
            self._send(connection, request, answer)
        else:
            connection.busy = True
            threading.Thread(target=self._work, args=(connection, request, answer), daemon=True).start()

    def _work(self, connection: _Connection, request: Request, later: Later) -> None:
        try:
            response = later.answer()
        except Exception as error:
            response = _failed(error)
        self._finished.append((connection, request, response))
        with suppress(OSError):  # too late: the server has ended
            os.write(self._waker, b"d")

    def _send(self, connection: _Connection, request: Request, response: Response) -> None:
        keep = request.keep and not self._stopping and not connection.closing
        connection.closing |= not keep
        self._write(connection, written(response, self._name, keep=keep, body=request.method != "HEAD"))
        if self._log:
            moment = time.strftime("%d/%b/%Y:%H:%M:%S %z")
            agent = request.headers.get("user-agent", "-")
            size = len(response.body)
            line = f'{connection.peer.address} [{moment}] "{request.line}" {response.status} {size} "{agent}"'
            with suppress(OSError):  # nobody reads the log any more
                os.write(1, line.encode("utf-8", "replace") + b"\n")

    def _write(self, connection: _Connection, octets: bytes) -> None:
        connection.out += octets
        self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        try:
            sent = connection.sock.send(connection.out)
        except BlockingIOError:
            return
        except OSError:  # the client is gone
            connection.out, connection.closing = b"", True
            return
        connection.out = connection.out[sent:]

    def _watch(self, connection: _Connection) -> None:
        mask = select.EPOLLOUT if connection.out else 0
        if not connection.out and not connection.busy and not connection.closing:
            mask |= select.EPOLLIN
        if mask != connection.mask:
            connection.mask = mask
            self._poll.modify(connection.sock, mask)

    def _drop(self, connection: _Connection) -> None:
        self._connections.pop(connection.sock.fileno(), None)
        connection.sock.close()  # also leaves the epoll set

    def _sweep(self, before: float) -> None:
        for connection in list(self._connections.values()):
            if connection.seen < before and not connection.busy:
                self._drop(connection)


def _failed(error: Exception) -> Response:
    print(f"request failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return Response(500, b"500 this program failed; its log says why\n")


def _peer(address: tuple[str, int]) -> Peer:
    return Peer(address[0].removeprefix("::ffff:"), address[1])


def _bound(kind: socket.SocketKind, port: int) -> socket.socket:
    """A socket on every address, of both families where the host has both."""
    name = "UDP" if kind == socket.SOCK_DGRAM else "TCP"
    try:
        sock = _both_families(kind)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind(("" if sock.family == socket.AF_INET else "::", port))
    except OSError as error:
        raise OSError(error.errno, f"bind() to {name} port {port} failed ({error.errno}: {error.strerror})") from error
    return sock


def _both_families(kind: socket.SocketKind) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_INET6, kind)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    except OSError:
        return socket.socket(socket.AF_INET, kind)
    return sock


def _linger() -> float:
    try:
        return max(0.0, float(os.environ.get("LINGER_SECONDS", LINGER_SECONDS)))
    except ValueError:
        return LINGER_SECONDS

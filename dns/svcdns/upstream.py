"""One other resolver: a question to it over UDP, TCP or TLS, its connections, and whether it is alive.

In: a request. Out: the reply with the same ID and question, from the address that was asked; anything else that comes
is waited past. A UDP question has a socket of its own, so the kernel draws a new source port each time (RFC 5452). A
TCP or TLS connection carries one question after another (RFC 7766) and is closed after `expire` idle seconds; where the
other end closed it meanwhile, the question goes out again on the next one, and nobody counts that as a failure.

Liveness is CoreDNS's: after a failure the upstream is probed every half second until it answers anything at all. It is
`doubtful` meanwhile, and `down` once more than `max_fails` probes have failed. Failures are OSError, TimeoutError too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from svcdns import wire
from svcdns.settings import Certificates, Forward, Upstream
from svckube.observe import fields

CONNECT_SECONDS = 2.0
PROBE_SECONDS = 1.0
SHORTEST_INTERVAL = 0.05  # seconds between two probes, whatever a Corefile says
MOST_IDLE = 64  # connections kept to one upstream
_NS = 2

_log = logging.getLogger(__name__)


class Meter(Protocol):
    def upstream(self, address: str, rcode: int, seconds: float) -> None: ...
    def connection(self, address: str, proto: str, reused: bool) -> None: ...
    def probe_failed(self, address: str) -> None: ...


class HungUpError(OSError):
    """The upstream closed the connection instead of answering."""


class _Connection:
    """A stream to the upstream; `idle_since` by the loop's clock."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.idle_since = 0.0

    async def exchange(self, request: bytes) -> bytes:
        try:
            self.writer.write(len(request).to_bytes(2) + request)
            while True:
                size = int.from_bytes(await self.reader.readexactly(2))
                reply = await self.reader.readexactly(size)
                if wire.answers(reply, request):
                    return reply
        except asyncio.IncompleteReadError:
            raise HungUpError("the upstream closed the connection") from None

    def close(self) -> None:
        self.writer.transport.abort()


class Resolver:
    """Belongs to the event loop it is used in, from the first question to `close`."""

    def __init__(self, upstream: Upstream, options: Forward, meter: Meter, clock: Callable[[], float]) -> None:
        self.upstream = upstream
        self.name = str(upstream.endpoint)
        self.doubtful = False
        self._options = options
        self._meter = meter
        self._clock = clock
        self._idle: deque[_Connection] = deque()
        self._tls = tls_context(options.certificates) if upstream.tls else None
        self._failed_probes = 0
        self._probing: asyncio.Task[None] | None = None

    @property
    def down(self) -> bool:
        return bool(self._options.max_fails) and self._failed_probes > self._options.max_fails

    async def exchange(self, request: bytes, *, tcp: bool) -> bytes:
        """The reply to `request`, whose ID has to be fresh. Raises OSError after `read_timeout` seconds at most."""
        began = self._clock()
        async with asyncio.timeout(self._options.read_timeout):
            if tcp or self._tls is not None:
                reply = await self._over_stream(request)
            else:
                self._meter.connection(self.name, "udp", False)
                reply = await _over_udp(self.upstream, request)
        self._meter.upstream(self.name, reply[3] & 0xF, self._clock() - began)
        return reply

    def failed(self, reason: str) -> None:
        """Told of each failure: begins to probe, unless told never to."""
        if not self._options.max_fails or self._probing is not None:
            return
        self.doubtful = True
        self._probing = asyncio.create_task(self._probe(reason))

    def close(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
        while self._idle:
            self._idle.pop().close()

    async def _over_stream(self, request: bytes) -> bytes:
        proto = "tcp-tls" if self._tls is not None else "tcp"
        while (kept := self._kept()) is not None:
            self._meter.connection(self.name, proto, True)
            with suppress(HungUpError, ConnectionError):
                return await self._use(kept, request)
        self._meter.connection(self.name, proto, False)
        return await self._use(await self._connect(), request)

    async def _use(self, connection: _Connection, request: bytes) -> bytes:
        try:
            reply = await connection.exchange(request)
        except BaseException:
            connection.close()  # what comes late must not be the reply to the next question
            raise
        connection.idle_since = self._clock()
        self._idle.append(connection)
        if len(self._idle) > MOST_IDLE:
            self._idle.popleft().close()
        return reply

    def _kept(self) -> _Connection | None:
        """The connection used last, so that those that are not needed grow old and go."""
        oldest = self._clock() - self._options.expire
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().close()
        while self._idle:
            kept = self._idle.pop()
            if not kept.reader.at_eof() and not kept.writer.is_closing():
                return kept
            kept.close()
        return None

    async def _connect(self) -> _Connection:
        endpoint = self.upstream.endpoint
        name = (self.upstream.server_name or endpoint.address) if self._tls is not None else None
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                endpoint.address, endpoint.port, ssl=self._tls, server_hostname=name
            )
        return _Connection(reader, writer)

    async def _probe(self, reason: str) -> None:
        """Until anything answers. What is told is an outage and its end, not each lost datagram."""
        check = self._options.check
        told = False
        while True:
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._ask_probe()
                break
            except OSError as error:
                reason = str(error) or reason
            self._failed_probes += 1
            self._meter.probe_failed(self.name)
            if self.down and not told:
                told = True
                _log.warning("upstream does not answer", extra=fields(upstream=self.upstream, reason=reason))
            await asyncio.sleep(max(check.seconds, SHORTEST_INTERVAL))
        if told:
            _log.info("upstream answers again", extra=fields(upstream=self.upstream))
        self._failed_probes, self.doubtful, self._probing = 0, False, None

    async def _ask_probe(self) -> None:
        check = self._options.check
        flags = b"\1\0" if check.recursion else b"\0\0"
        request = os.urandom(2) + flags + b"\0\1" + bytes(6) + check.name + _NS.to_bytes(2) + b"\0\1"
        if self._options.force_tcp or self._tls is not None:
            connection = await self._connect()
            try:
                await connection.exchange(request)
            finally:
                connection.close()
        else:
            await _over_udp(self.upstream, request)


async def _over_udp(upstream: Upstream, request: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    endpoint = upstream.endpoint
    family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect((endpoint.address, endpoint.port))
        sock.send(request)
        while True:
            reply = await loop.sock_recv(sock, 65535)
            if wire.answers(reply, request):
                return reply


def tls_context(certificates: Certificates) -> ssl.SSLContext:
    """TLS that verifies the other end, by the machine's authorities or the one given. OSError names a bad file."""
    try:
        context = ssl.create_default_context(cafile=certificates.authority or None)
        if certificates.certificate:
            context.load_cert_chain(certificates.certificate, certificates.key or None)
    except (OSError, ssl.SSLError) as error:
        named = " ".join(filter(None, (certificates.certificate, certificates.key, certificates.authority)))
        raise OSError(f"cannot use the certificates {named}: {error}") from error
    return context

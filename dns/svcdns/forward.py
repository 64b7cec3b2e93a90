"""Asks other resolvers: UDP for what came over UDP, TCP for what came over TCP, one socket a question.

In: a request as it goes to the upstream, but for its ID. Out: the upstream's reply with the caller's ID, as it was
sent: AA, RA, TC and the order of records stay. A reply counts only with the ID that was drawn, the same question, and
from the address that was asked; the kernel chooses the source port anew each time (RFC 5452). Anything else is waited
past.

An upstream has two seconds, the whole question five. A refused connection moves on to the next upstream at once. One
that failed lately is asked last. When nobody answers: NoAnswerError. More than `max_concurrent` at a time: BusyError.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from svcdns import wire
from svcdns.options import Endpoint
from svckube.observe import fields

READ_SECONDS = 2.0
OVERALL_SECONDS = 5.0
ROUNDS = 2  # times that one question goes to the same upstream at most
REST_SECONDS = 5.0  # how long a failed upstream is asked last
WORTH_A_LINE = 3  # misses in a row: a lost datagram is no event

_log = logging.getLogger(__name__)


class NoAnswerError(Exception):
    """The upstreams' fault; the message names them."""


class BusyError(Exception):
    """Too many questions are under way."""


class Meter(Protocol):
    def upstream(self, address: str, rcode: int, seconds: float) -> None: ...


class Forwarder:
    """Belongs to the event loop it is used in."""

    def __init__(
        self,
        upstreams: Sequence[Endpoint],
        meter: Meter,
        *,
        max_concurrent: int = 1000,
        read_seconds: float = READ_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upstreams = list(upstreams)
        self._meter = meter
        self._free = max_concurrent
        self._read_seconds = read_seconds
        self._clock = clock
        self._failed: dict[Endpoint, float] = {}
        self._misses: dict[Endpoint, int] = {}

    async def exchange(self, request: bytes, *, tcp: bool) -> bytes:
        """The reply to `request`. Raises NoAnswerError after five seconds at most, and BusyError at once."""
        if not self._free:
            raise BusyError
        self._free -= 1
        try:
            async with asyncio.timeout(OVERALL_SECONDS):
                return await self._first(request, tcp)
        except TimeoutError:
            raise NoAnswerError(f"no answer from {self._names()} in {OVERALL_SECONDS:g} s") from None
        finally:
            self._free += 1

    async def _first(self, request: bytes, tcp: bool) -> bytes:
        fresh = wire.with_identity(request, int.from_bytes(os.urandom(2)))
        errors = {}
        for upstream in self.order() * ROUNDS:
            began = self._clock()
            try:
                async with asyncio.timeout(self._read_seconds):
                    reply = await (_over_tcp if tcp else _over_udp)(upstream, fresh)
            except (OSError, asyncio.IncompleteReadError) as error:  # TimeoutError is an OSError
                errors[upstream] = f"{upstream}: {str(error) or 'no answer in time'}"
                self._missed(upstream, errors[upstream])
                continue
            self._answered(upstream)
            self._meter.upstream(str(upstream), reply[3] & 0xF, self._clock() - began)
            return wire.with_identity(reply, int.from_bytes(request[:2]))
        raise NoAnswerError("; ".join(errors.values()) or "there is no upstream")

    def _missed(self, upstream: Endpoint, reason: str) -> None:
        self._failed[upstream] = self._clock()
        self._misses[upstream] = self._misses.get(upstream, 0) + 1
        if self._misses[upstream] == WORTH_A_LINE:
            _log.warning("upstream does not answer", extra=fields(upstream=upstream, reason=reason))

    def _answered(self, upstream: Endpoint) -> None:
        self._failed.pop(upstream, None)
        if self._misses.pop(upstream, 0) >= WORTH_A_LINE:
            _log.info("upstream answers again", extra=fields(upstream=upstream))

    def order(self) -> list[Endpoint]:
        """In which order the next question would go to the upstreams: at random, but for those that failed lately."""
        now = self._clock()
        shuffled = random.sample(self._upstreams, len(self._upstreams))
        return sorted(shuffled, key=lambda one: now - self._failed.get(one, now - REST_SECONDS) < REST_SECONDS)

    def _names(self) -> str:
        return ", ".join(map(str, self._upstreams))


async def _over_udp(upstream: Endpoint, request: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(_family(upstream), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect((upstream.address, upstream.port))
        sock.send(request)
        while True:
            reply = await loop.sock_recv(sock, 65535)
            if wire.answers(reply, request):
                return reply


async def _over_tcp(upstream: Endpoint, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(upstream.address, upstream.port)
    try:
        writer.write(len(request).to_bytes(2) + request)
        while True:
            size = int.from_bytes(await reader.readexactly(2))
            reply = await reader.readexactly(size)
            if wire.answers(reply, request):
                return reply
    finally:
        writer.close()


def _family(upstream: Endpoint) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in upstream.address else socket.AF_INET

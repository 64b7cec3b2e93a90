"""Asks other resolvers: which one, in what order, how often, how many questions at a time.

In: a request as it goes to the upstream, but for its ID. Out: the upstream's reply with the caller's ID, as it was
sent: AA, RA, TC and the order of records stay.

A question goes to the upstreams in the order of the policy, those in doubt last and those that are down not at all,
unless all are: then to any, for the probes may be what is broken. It is tried twice as often as there are upstreams,
for five seconds at most. When nobody answers: NoAnswerError. More than `max_concurrent` at a time, or more of them for
one client than leaves room for others: BusyError. Over UDP came, over UDP goes, but for `force_tcp` (always TCP) and
`prefer_udp` (UDP, and TCP for what was cut short).
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from svcdns import upstream, wire
from svcdns.names import labels_above
from svcdns.records import Name
from svcdns.settings import Forward, Upstream
from svcdns.upstream import Resolver

OVERALL_SECONDS = 5.0
ATTEMPTS = 2  # times that one question goes to the same upstream at most
ROUND_SECONDS = 0.02  # before the next round, so that refused connections do not make a busy loop
SHARES = 8  # the part of all room, one in so many, that is kept for those who have little
MOST_CONCURRENT = 4096  # where no limit was set: sockets are files, and those are limited


class NoAnswerError(Exception):
    """The upstreams' fault; the message names them."""


class BusyError(Exception):
    """Too many questions are under way."""


class Meter(upstream.Meter, Protocol):
    def rejected(self) -> None: ...
    def broken(self) -> None: ...


class Places:
    """Room for `limit` questions at a time. The last eighth is for clients that have less than an eighth of it."""

    def __init__(self, limit: int) -> None:
        self._limit = self._free = limit
        self._reserve = limit // SHARES
        self._of_client: dict[bytes, int] = {}

    @contextmanager
    def taken(self, client: bytes) -> Iterator[None]:
        """A place, while the block runs. Raises BusyError if there is none."""
        mine = self._of_client.get(client, 0)
        if not self._free:
            raise BusyError(f"concurrent queries exceeded maximum {self._limit}")
        if self._free <= self._reserve <= mine:
            raise BusyError(f"{mine} queries of this client are under way, and {self._free} places are left for others")
        self._free -= 1
        self._of_client[client] = mine + 1
        try:
            yield
        finally:
            self._free += 1
            self._of_client[client] -= 1
            if not self._of_client[client]:
                del self._of_client[client]


class Forwarder:
    """Belongs to the event loop it is used in, until `close`. `upstreams` are those of `options.to`, files read."""

    def __init__(
        self,
        options: Forward,
        upstreams: Sequence[Upstream],
        meter: Meter,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options
        self.resolvers = [Resolver(one, options, meter, clock) for one in upstreams]
        self._meter = meter
        self._places = Places(min(options.max_concurrent or MOST_CONCURRENT, MOST_CONCURRENT))
        self._turn = 0

    def takes(self, name: Name) -> bool:
        """Whether questions about this name (in lower case) go here."""
        if labels_above(name, self.options.origin) is None:
            return False
        return name == self.options.origin or all(labels_above(name, zone) is None for zone in self.options.excepted)

    async def exchange(self, request: bytes, *, tcp: bool, client: bytes = b"") -> bytes:
        """The reply to `request`. Raises NoAnswerError after five seconds at most, and BusyError at once."""
        try:
            with self._places.taken(client):
                async with asyncio.timeout(OVERALL_SECONDS):
                    return await self._first(request, tcp)
        except BusyError:
            self._meter.rejected()
            raise
        except TimeoutError:
            names = ", ".join(str(one.upstream) for one in self.resolvers)
            raise NoAnswerError(f"no answer from {names} in {OVERALL_SECONDS:g} s") from None

    def close(self) -> None:
        for resolver in self.resolvers:
            resolver.close()

    async def _first(self, request: bytes, tcp: bool) -> bytes:
        options = self.options
        attempts = options.max_attempts
        if attempts is None:
            attempts = ATTEMPTS * len(self.resolvers)
        errors: dict[str, str] = {}
        tried = 0
        while not attempts or tried < attempts:
            order = self.order()
            if not order:
                errors[""] = "no healthy upstream"
                break
            for resolver in order[: attempts - tried] if attempts else order:
                tried += 1
                try:
                    return await self._ask(resolver, request, tcp)
                except OSError as error:  # TimeoutError is one
                    reason = f"{resolver.upstream}: {str(error) or 'no answer in time'}"
                    errors[resolver.name] = reason
                    resolver.failed(reason)
            await asyncio.sleep(ROUND_SECONDS)
        raise NoAnswerError("; ".join(errors.values()) or "there is no upstream")

    async def _ask(self, resolver: Resolver, request: bytes, tcp: bool) -> bytes:
        options = self.options
        over_tcp = options.force_tcp or (tcp and not options.prefer_udp)
        fresh = wire.with_identity(request, int.from_bytes(os.urandom(2)))
        reply = await resolver.exchange(fresh, tcp=over_tcp)
        if options.prefer_udp and not over_tcp and wire.is_truncated(reply):
            reply = await resolver.exchange(fresh, tcp=True)
        return wire.with_identity(reply, int.from_bytes(request[:2]))

    def order(self) -> list[Resolver]:
        """In which order the next question goes to the upstreams. Empty if all are down and we are to fail fast."""
        ordered = self._by_policy()
        alive = [one for one in ordered if not one.down]
        if not alive:
            self._meter.broken()
            return [] if self.options.fail_fast else random.sample(ordered, len(ordered))
        return sorted(alive, key=lambda one: one.doubtful)

    def _by_policy(self) -> list[Resolver]:
        if self.options.policy == "sequential":
            return list(self.resolvers)
        if self.options.policy == "random":
            return random.sample(self.resolvers, len(self.resolvers))
        self._turn = (self._turn + 1) % len(self.resolvers)
        first = self.resolvers[self._turn]
        return [first, *(one for one in self.resolvers if one is not first)]

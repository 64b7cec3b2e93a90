"""The way out of a server under test: forwarders and the cache, made from a few words.

In: upstreams' addresses and a `Forward`'s fields. Out: a `Forwarder` or a `Beyond`, which belong to the running loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from svcdns.beyond import Beyond
from svcdns.cache import Replies
from svcdns.forward import Forwarder, Meter
from svcdns.settings import Cache, Endpoint, Forward, Upstream


class Noted:
    """A meter that remembers."""

    def __init__(self) -> None:
        self.rcodes: list[int] = []
        self.reused: list[bool] = []
        self.probes = 0
        self.rejections = 0
        self.outages = 0
        self.counts: list[str] = []

    def upstream(self, address: str, rcode: int, seconds: float) -> None:
        self.rcodes.append(rcode)

    def connection(self, address: str, proto: str, reused: bool) -> None:
        self.reused.append(reused)

    def probe_failed(self, address: str) -> None:
        self.probes += 1

    def rejected(self) -> None:
        self.rejections += 1

    def broken(self) -> None:
        self.outages += 1

    def count(self, family: str, *labels: str) -> None:
        self.counts.append(family)

    def set(self, family: str, value: float, *labels: str) -> None:
        pass


def forwarder(
    upstreams: Iterable[Endpoint | Upstream],
    meter: Meter | None = None,
    clock: Callable[[], float] = time.monotonic,
    **options: Any,
) -> Forwarder:
    to = tuple(one if isinstance(one, Upstream) else Upstream(one) for one in upstreams)
    return Forwarder(Forward(to, **options), to, meter or Noted(), clock=clock)


def beyond(
    upstreams: Iterable[Endpoint],
    meter: Any,
    cache: Cache | None = None,
    clock: Callable[[], float] = time.monotonic,
    **options: Any,
) -> Beyond:
    replies = Replies(cache) if cache is not None else None
    return Beyond(replies, [forwarder(upstreams, meter, **options)], meter, clock=clock)

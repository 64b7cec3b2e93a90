"""What comes together is answered together: the questions of one burst, out of the cache or by a function.

In: a bound UDP socket, the cache, who is at home, and the function for what is not in the cache. Out: replies from the
address that was asked. What is in the cache is answered between two system calls and without a call in between, because
that is most questions; counting is one addition for each.

It knows no event loop and no metrics, so that a worker can answer as the server does.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import TypeAlias

from svcdns.batch import Batch
from svcdns.clients import Clients
from svcdns.wirecache import Shape, WireCache

BURSTS = 4  # batches before other work gets its turn
LOOK_SECONDS = 0.001  # for the questions of so long one stands in the list of the busiest

Otherwise: TypeAlias = Callable[[int, bytes, bool], bytes]
"""(slot, packed source address, whether that is a stranger's) to the reply that goes out with the burst, or nothing."""


class Front:
    """`cache` may be replaced between two bursts."""

    def __init__(self, sock: socket.socket, cache: WireCache, clients: Clients, otherwise: Otherwise) -> None:
        self.batch = Batch(sock, ip_address(sock.getsockname()[0].partition("%")[0]).is_unspecified)
        self.cache, self._clients, self._otherwise = cache, clients, otherwise

    def answer(self, count: int, sources: Sequence[bytes], counts: dict[Shape, int]) -> int:
        """Answers what is in the first slots of the batch; how many of them out of the cache, as `counts` counts."""
        batch = self.batch
        octets, received, lengths = batch.octets, batch.received, batch.lengths
        hits, first = 0, 0
        strangers = self._clients.strangers(sources)
        kept_for = self.cache.fresh.get
        for slot, (start, size_at, length_at) in enumerate(batch.places[:count]):
            end = start + received[size_at]
            kept = kept_for(octets[start + 2 : end])
            if kept is not None and (not strangers or sources[slot] not in strangers):
                reply, shape, _ = kept
                if not isinstance(reply, bytes):
                    reply = reply.octets()
                size = len(reply)
                octets[start + 2 : start + 2 + size] = reply
                lengths[length_at] = size + 2
                counts[shape] += 1
                hits += 1
                continue
            source = sources[slot]
            said = self._otherwise(slot, source, source in strangers)
            kept_for = self.cache.fresh.get  # which may be another one by now
            if said:
                octets[start : start + len(said)] = said
                lengths[length_at] = len(said)
            else:
                batch.send(first, slot)
                first = slot + 1
        batch.send(first, count)
        return hits

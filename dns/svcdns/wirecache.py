"""Replies kept by the octets of their question: the next such question is answered without being read.

In: a question's octets after its ID, the reply, and the service it depends on. Out: the reply's octets after the ID,
as long as they are true. A reply depends on one service or on none, and on which namespaces there are. `Index.apply`
says which services changed, and the replies about these are forgotten, and no others. The serial in an SOA is put in
when the reply is given, so that it is never an old one and costs no reply its place.

A reply is kept when its question comes a second time, so a flood of random names costs nothing but their hashes.
What is kept is bounded in octets, in two generations: when the fresh one is full it becomes the aged one, and what was
aged goes. A reply that is asked for again moves back.

The addresses of a kept reply are turned by one each time, and shuffled when each has been first once: no address is
first more often than another, and none always follows the same one. CoreDNS's `loadbalance` shuffles each reply.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import accumulate
from typing import TypeAlias

LIMIT = 32 << 20  # octets of both generations
OVERHEAD = 450  # octets that CPython takes for an entry, beside those of question and reply
MOST_SEEN = 1 << 15  # questions whose coming again is noticed
_MARKS = 1 << 19  # octets; one question in thirty meets another's mark, and is kept a coming too early

Shape: TypeAlias = tuple[int, int, int, int]
"""What is counted of a reply: type asked, rcode, octets asked, octets said."""
Shuffle: TypeAlias = Callable[[list[bytes]], None]
Follower: TypeAlias = Callable[[Collection[str] | None, bytes], None]
"""Hears which services' replies are forgotten, None for all, and the serial."""
Pieces: TypeAlias = tuple[bytes, list[bytes] | None, bytes]
"""What a reply has in front, the records that take turns, None for the serial, and what follows."""
Parts: TypeAlias = tuple[bytes | Pieces, Shape, str]


class Turning:
    """A reply whose `records` come in changing order, between `head` and `tail`. `cost`: octets it takes here."""

    __slots__ = ("_at", "_doubled", "_head", "_records", "_shuffle", "_starts", "_tail", "_width", "cost")

    def __init__(self, head: bytes, records: Sequence[bytes], tail: bytes, shuffle: Shuffle) -> None:
        self._head, self._records, self._tail, self._shuffle = head, list(records), tail, shuffle
        self._width = sum(map(len, records))
        self.cost = len(head) + 3 * self._width + len(tail) + 80 * len(records)
        self._arrange()

    def _arrange(self) -> None:
        self._shuffle(self._records)
        self._doubled = b"".join(self._records) * 2
        self._starts = [0, *accumulate(map(len, self._records[:-1]))]
        self._at = 0

    @property
    def parts(self) -> Pieces:
        return self._head, self._records, self._tail

    def octets(self) -> bytes:
        """The reply, the record that was first the last time now being the last."""
        if self._at == len(self._starts):
            self._arrange()
        start = self._starts[self._at]
        self._at += 1
        return self._head + self._doubled[start : start + self._width] + self._tail


class Dated:
    """A reply with the zone's serial between `head` and `tail`. `cost`: octets it takes here."""

    __slots__ = ("_cache", "_head", "_tail", "cost")

    def __init__(self, head: bytes, tail: bytes, cache: WireCache) -> None:
        self._head, self._tail, self._cache = head, tail, cache
        self.cost = len(head) + len(tail) + 100

    def share(self, tails: dict[bytes, bytes]) -> None:
        """What follows the serial is the same in all replies of a zone, and is held once."""
        self._tail = tails.setdefault(self._tail, self._tail)

    @property
    def parts(self) -> Pieces:
        return self._head, None, self._tail

    def octets(self) -> bytes:
        """The reply, with the serial as it is now."""
        return self._head + self._cache.serial + self._tail


Kept: TypeAlias = tuple[bytes | Turning | Dated, Shape, str]
"""A reply without its ID, what is counted of it, and the key of the service it depends on, "" for none."""


class _Generation:
    def __init__(self) -> None:
        self.replies: dict[bytes, Kept] = {}
        self.of_service: dict[str, bytes | list[bytes]] = {}
        self.shapes: dict[Shape, Shape] = {}
        self.tails: dict[bytes, bytes] = {}
        self.octets = 0


class WireCache:
    """Belongs to the thread that answers. `serial` as four octets."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit // 2
        self._seen, self._count_seen = bytearray(_MARKS), 0
        self.serial = bytes(4)
        self._followers: list[Follower] = []
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self._fresh, self._aged = _Generation(), _Generation()
        for follower in self._followers:
            follower(None, self.serial)

    def follow(self, follower: Follower) -> None:
        """Tells of all that is forgotten from now on, and of each serial."""
        self._followers.append(follower)

    def unfollow(self, follower: Follower) -> None:
        self._followers.remove(follower)

    @property
    def fresh(self) -> dict[bytes, Kept]:
        """What a question is looked up in first; to be read only, and until the cache is next called."""
        return self._fresh.replies

    def find(self, question: bytes) -> Kept | None:
        """What is kept for a question, given without its ID."""
        found = self._fresh.replies.get(question)
        if found is None and (found := self._aged.replies.pop(question, None)) is not None:
            self.keep(question, found)
        return found

    def is_wanted(self, question: bytes) -> bool:
        """Whether a question for which nothing is kept has come before, of late."""
        mark = hash(question) % _MARKS
        if self._seen[mark]:
            return True
        if self._count_seen >= MOST_SEEN:
            self._seen, self._count_seen = bytearray(_MARKS), 0
        self._seen[mark] = 1
        self._count_seen += 1
        return False

    def keep(self, question: bytes, kept: Kept) -> None:
        """Keeps a reply to a question for which none is kept."""
        reply, shape, service = kept
        cost = OVERHEAD + len(question) + (len(reply) if isinstance(reply, bytes) else reply.cost)
        if self._fresh.octets + cost > self._limit:
            self._fresh, self._aged = _Generation(), self._fresh
        fresh = self._fresh
        fresh.octets += cost
        if isinstance(reply, Dated):
            reply.share(fresh.tails)
        fresh.replies[question] = (reply, fresh.shapes.setdefault(shape, shape), service)
        if not service:
            return
        others = fresh.of_service.get(service)
        if others is None:
            fresh.of_service[service] = question  # most services have one, and a list takes more than it
        elif isinstance(others, bytes):
            fresh.of_service[service] = [others, question]
        else:
            others.append(question)

    def forget(self, services: Collection[str], serial: int | bytes) -> None:
        """Forgets what depends on these services; `serial` is the zone's from now on."""
        before, self.serial = self.serial, serial if isinstance(serial, bytes) else (serial & 0xFFFFFFFF).to_bytes(4)
        for service in services:
            for generation in (self._fresh, self._aged):
                found = generation.of_service.pop(service, [])
                for question in [found] if isinstance(found, bytes) else found:
                    generation.replies.pop(question, None)
        if services or before != self.serial:
            for follower in self._followers:
                follower(services, self.serial)


def parts_of(kept: Kept) -> Parts:
    """What a reply is made of, so that another process can keep it too (`kept_from`)."""
    reply, shape, service = kept
    return (reply if isinstance(reply, bytes) else reply.parts), shape, service


def kept_from(parts: Parts, cache: WireCache, shuffle: Shuffle) -> Kept:
    """The reply of these parts, for this cache."""
    found, shape, service = parts
    if isinstance(found, bytes):
        return found, shape, service
    head, records, tail = found
    return (Dated(head, tail, cache) if records is None else Turning(head, records, tail, shuffle)), shape, service

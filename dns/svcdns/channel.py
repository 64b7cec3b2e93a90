"""What a server and its workers tell each other.

In and out: values, and the octets of a message, which crosses a socket that keeps messages whole and in order
(SOCK_SEQPACKET). Both ends are of one program and one interpreter, so the octets are Python's own (`marshal`), which
takes a worker no library. A port is what `Open` numbers: the sockets of one address or of all, which have one cache.
Numbers count up and come never again, so that nothing is taken for what another one was about.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from svcdns.wirecache import Parts, Shape

LARGEST = 1 << 17  # octets of a message
ENOUGH = 1 << 15  # octets of datagrams, of names, of replies in one message


class Home(NamedTuple):
    """To a worker, first of all: networks at home, beside those that always are."""

    networks: list[str]


class Open(NamedTuple):
    """To a worker: take questions from the sockets that come along, which are counted from 0."""

    port: int
    serial: bytes


class Close(NamedTuple):
    """To a worker: take no more of them."""

    port: int


class Keep(NamedTuple):
    """To a worker: replies by their questions, both without ID."""

    port: int
    replies: list[tuple[bytes, Parts]]


class Forget(NamedTuple):
    """To a worker: what depends on these services is no longer true; None: nothing is."""

    port: int
    services: list[str] | None
    serial: bytes


class Taken(NamedTuple):
    """From a worker, to `Open`."""

    port: int


class Asked(NamedTuple):
    """From a worker: questions that it has no replies to, as `Batch.packed` has them, at most SLOTS."""

    port: int
    socket: int
    packed: bytes


class Answered(NamedTuple):
    """From a worker: what it has answered since it last said so.

    How many replies of each shape; a histogram of times by `counts` and `sum`; and some of the questions, who asked
    them, and how many each stands for.
    """

    port: int
    socket: int
    shapes: dict[Shape, int]
    durations: list[int]
    seconds: float
    looks: list[tuple[bytes, bytes, int]]


class Closed(NamedTuple):
    """From a worker, to `Close`: nothing follows of this port."""

    port: int


Message: TypeAlias = Home | Open | Close | Keep | Forget | Taken | Asked | Answered | Closed
_KINDS: tuple[type[Message], ...] = (Home, Open, Close, Keep, Forget, Taken, Asked, Answered, Closed)
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}


def octets_of(message: Message) -> bytes:
    return marshal.dumps((_NUMBERS[type(message)], *message))


def message_of(octets: bytes) -> Message:
    number, *values = marshal.loads(octets)  # noqa: S302 - of our own making
    kind: Callable[..., Message] = _KINDS[number]
    return kind(*values)


def forgotten(port: int, services: list[str] | None, serial: bytes) -> Forget:
    """The message that these are to be forgotten; all, where they are too many for one."""
    if services is not None and sum(map(len, services)) + 8 * len(services) > ENOUGH:
        services = None
    return Forget(port, services, serial)

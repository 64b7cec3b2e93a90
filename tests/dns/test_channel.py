"""What a server and a worker tell each other arrives as it was sent, and a kept reply says the same on both sides."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest

from svcdns.batch import SLOTS, Batch, tell_destination
from svcdns.channel import (
    ENOUGH,
    LARGEST,
    Answered,
    Asked,
    Close,
    Closed,
    Forget,
    Home,
    Keep,
    Message,
    Open,
    Taken,
    forgotten,
    message_of,
    octets_of,
)
from svcdns.histogram import DURATIONS, Histogram
from svcdns.wirecache import Dated, Kept, Turning, WireCache, kept_from, parts_of

SHAPE = (1, 0, 40, 60)
MESSAGES: list[Message] = [
    Home(["10.0.0.0/8", "fd00::/8"]),
    Open(3, b"\0\0\0\7"),
    Close(3),
    Keep(3, [(b"asked", (b"said", SHAPE, "prod/web")), (b"two", ((b"head", [b"one", b"two"], b""), SHAPE, ""))]),
    Forget(3, ["prod/web"], b"\0\0\0\7"),
    Forget(3, None, b"\0\0\0\7"),
    Taken(3),
    Asked(3, 1, b"packed"),
    Answered(3, 1, {SHAPE: 7}, [0] * 17, 0.25, [(b"packet", b"\x7f\0\0\1", 5)]),
    Closed(3),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives(message: Message) -> None:
    assert message_of(octets_of(message)) == message


@pytest.mark.parametrize(("count", "all_of_them"), [(10, False), (100_000, True)])
def test_what_is_forgotten_fits_in_a_message(count: int, all_of_them: bool) -> None:
    said = forgotten(0, [f"prod/service-{number}" for number in range(count)], bytes(4))
    assert (said.services is None) == all_of_them
    assert len(octets_of(said)) < LARGEST


def replies(kept: Kept) -> set[bytes]:
    reply = kept[0]
    return {reply if isinstance(reply, bytes) else reply.octets() for _ in range(20)}


@pytest.mark.parametrize("kind", ["plain", "turning", "dated"])
def test_a_reply_is_the_same_elsewhere(kind: str) -> None:
    ours, theirs = WireCache(), WireCache()
    shuffle = random.Random(1).shuffle  # noqa: S311
    made = {
        "plain": b"said",
        "turning": Turning(b"head", [b"one", b"two", b"six"], b"tail", shuffle),
        "dated": Dated(b"head", b"tail", ours),
    }
    kept: Kept = made[kind], SHAPE, "prod/web"
    other = kept_from(parts_of(kept), theirs, shuffle)
    assert replies(other) == replies(kept)
    assert other[1:] == kept[1:]
    ours.forget((), 7)
    theirs.forget((), ours.serial)
    assert replies(other) == replies(kept)


def test_a_follower_hears_what_is_forgotten() -> None:
    cache, heard = WireCache(), list[tuple[list[str] | None, bytes]]()

    def hear(services: object, serial: bytes) -> None:
        heard.append((services if services is None else list(services), serial))  # type: ignore[call-overload]

    cache.follow(hear)
    cache.forget((), 0)  # nothing is new
    cache.forget((), 1)
    cache.forget(["prod/web"], 1)
    cache.clear()
    cache.unfollow(hear)
    cache.forget(["prod/web"], 2)
    one = b"\0\0\0\1"
    assert heard == [([], one), (["prod/web"], one), (None, one)]


def test_histograms_add_up() -> None:
    both, one, two = (Histogram(DURATIONS) for _ in range(3))
    for histogram in (both, one):
        histogram.note(0.001, 3)
    for histogram in (both, two):
        histogram.note(100.0)
    one.add(two.counts, two.sum)
    assert (one.counts, one.sum) == (both.counts, both.sum)


@pytest.fixture(params=["127.0.0.1", "::1", "0.0.0.0", "::"])
def listening(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    address = str(request.param)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.bind((address, 0))
        if address in ("0.0.0.0", "::"):
            tell_destination(one)
        yield one


def test_a_burst_is_answered_by_another_batch(listening: socket.socket) -> None:
    """What one process has received is answered by the other, from the address that was asked."""
    where, port = listening.getsockname()[:2]
    first, second = (Batch(listening, where in ("0.0.0.0", "::")) for _ in range(2))
    packets = [bytes([number]) * (number + 1) for number in range(SLOTS)]
    with socket.socket(listening.family, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(({"0.0.0.0": "127.8.7.6", "::": "::1"}.get(where, where), port))
        for packet in packets:
            client.send(packet)
        assert first.receive() == SLOTS
        assert second.load(b"".join(map(first.packed, range(SLOTS)))) == SLOTS
        assert second.sources(SLOTS) == first.sources(SLOTS)
        assert [second.sender(slot) for slot in range(SLOTS)] == [first.sender(slot) for slot in range(SLOTS)]
        for start, size_at, length_at in second.places:
            second.octets[start : start + 1] = b"!"
            second.lengths[length_at] = second.received[size_at]
        second.send(0, SLOTS)
        assert [client.recv(4096) for _ in packets] == [b"!" + packet[1:] for packet in packets]


def test_the_largest_burst_fits_in_messages() -> None:
    assert len(octets_of(Asked(1 << 30, 255, bytes(ENOUGH + 5000)))) < LARGEST

"""Bursts of datagrams: each gets its own reply, whatever its neighbours in the burst get."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable

import pytest
from prometheus_client import CollectorRegistry

from svcdns.batch import ROOM
from svcdns.server import Server
from svcdns.settings import Endpoint
from svcdns.tally import Tally, Via
from svcdns.wirecache import WireCache

KEPT = b"kept-question"


async def late(packet: bytes) -> bytes:
    await asyncio.sleep(0)
    return packet + b" came late"


def respond(packet: bytes, via: Via) -> bytes | Awaitable[bytes] | None:
    match packet[2:]:
        case b"silent":
            return None
        case b"fails":
            raise RuntimeError("a fault of ours")
        case b"late":
            return late(packet)
        case b"large":
            return packet + bytes(ROOM)
        case other:
            assert other != KEPT
            return packet + b" answered"


async def exchanged(listen: str, asked: str, packets: list[bytes], replies: int) -> tuple[list[bytes], Tally]:
    """Sends all at once from one socket; as many replies as are expected, from the address that was asked."""
    cache, tally = WireCache(), Tally(CollectorRegistry())
    cache.keep(KEPT, (b"kept-reply", (1, 0, 0, 0), ""))
    server = Server(respond, tally, cache)
    await server.start([Endpoint(listen, 0)])
    family = socket.AF_INET6 if ":" in asked else socket.AF_INET
    found = []
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
        client.connect((asked, server.addresses[0].port))
        for packet in packets:
            client.send(packet)
        async with asyncio.timeout(10):
            while len(found) < replies:
                found.append(await asyncio.get_running_loop().sock_recv(client, 65535))
    await server.close()
    return found, tally


@pytest.mark.parametrize(
    ("listen", "asked"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("0.0.0.0", "127.8.7.6"), ("::", "::1")],
    ids=["IPv4", "IPv6", "any IPv4", "any IPv6"],
)
def test_a_mixed_burst(listen: str, asked: str) -> None:
    words = [b"plain", b"silent", KEPT, b"late", b"large", b"fails", KEPT, b"", b"another"]
    packets = [number.to_bytes(2) + words[number % len(words)] for number in range(8 * len(words))]
    wanted = {b"silent": None, b"fails": None, KEPT: b"kept-reply", b"late": b"late came late"}
    wanted |= {word: word + b" answered" for word in (b"plain", b"", b"another")}
    wanted[b"large"] = b"large" + bytes(ROOM)
    said = [packet[:2] + reply for packet in packets if (reply := wanted[packet[2:]]) is not None]
    found, tally = asyncio.run(exchanged(listen, asked, packets, len(said)))
    assert Counter(found) == Counter(said)
    assert tally.failures == 8


def test_a_question_that_is_too_long_is_cut() -> None:
    found, _ = asyncio.run(exchanged("127.0.0.1", "127.0.0.1", [bytes(ROOM + 1), b"\0\1short"], 2))
    assert [len(reply) for reply in found] == [ROOM + len(b" answered"), len(b"\0\1short answered")]

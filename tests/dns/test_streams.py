"""Connections: whom a limit meets, how long the silent may stay, what a client gets that asks much and reads little."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial

import pytest
from prometheus_client import CollectorRegistry

from svcdns import streams
from svcdns.clients import Clients
from svcdns.datagrams import Respond
from svcdns.streams import Streams
from svcdns.tally import Tally, Via

VIA = Via("dns://:53", "tcp", "1")
LARGE = bytes(60_000)


def framed(*messages: bytes) -> bytes:
    return b"".join(len(message).to_bytes(2) + message for message in messages)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def read(self) -> bytes:
        """One message, or nothing at the end."""
        try:
            return await self.reader.readexactly(int.from_bytes(await self.reader.readexactly(2)))
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def ask(self, message: bytes) -> bytes:
        self.writer.write(framed(message))
        return await self.read()


Connect = Callable[[], Awaitable[Client]]


def play(
    scene: Callable[[Connect, Streams], Coroutine[None, None, None]],
    respond: Respond,
    most: int = 100,
    most_of_client: int = 100,
) -> None:
    """Runs a scene with a server; `scene` is given how to connect."""

    async def run() -> None:
        served = Streams(respond, Tally(CollectorRegistry()), Clients(), most, most_of_client)
        async with AsyncExitStack() as stack, asyncio.timeout(20):
            loop = asyncio.get_running_loop()
            server = await loop.create_server(partial(served.protocol, VIA), "127.0.0.1", 0)
            stack.callback(server.close)
            stack.callback(served.close)
            where = server.sockets[0].getsockname()

            async def connect() -> Client:
                client = Client(*await asyncio.open_connection(*where))
                stack.callback(client.writer.transport.abort)
                return client

            await scene(connect, served)

    asyncio.run(run())


def echo(packet: bytes, via: Via) -> bytes:
    return packet


def test_the_quietest_goes_when_there_are_too_many() -> None:
    async def scene(connect: Connect, served: Streams) -> None:
        first, second = await connect(), await connect()
        assert [await one.ask(b"a") for one in (second, first)] == [b"a", b"a"]
        third = await connect()
        assert await third.ask(b"b") == b"b"
        assert await first.ask(b"c") == b"c"
        assert await second.read() == b""

    play(scene, echo, most=2)


@pytest.mark.parametrize("sent", [b"", b"\0", framed(b"whole") + b"\0\x05half"], ids=["nothing", "an octet", "a half"])
def test_who_does_not_finish_a_question_is_left(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(streams, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr(streams, "IDLE_SECONDS", 0.05)

    async def scene(connect: Connect, served: Streams) -> None:
        client = await connect()
        client.writer.write(sent)
        assert await client.reader.read() == (framed(b"whole") if b"whole" in sent else b"")

    play(scene, echo)


def test_replies_wait_for_those_before_and_come_after_the_clients_end() -> None:
    gate = asyncio.Event()

    async def late(packet: bytes) -> bytes:
        await gate.wait()
        return packet

    def respond(packet: bytes, via: Via) -> bytes | Awaitable[bytes] | None:
        return late(packet) if packet.startswith(b"late") else None if packet == b"none" else packet

    async def scene(connect: Connect, served: Streams) -> None:
        client = await connect()
        client.writer.write(framed(b"1", b"late 2", b"none", b"3", b"late 4", b"5"))
        client.writer.write_eof()
        assert await client.read() == b"1"
        gate.set()
        assert [await client.read() for _ in range(5)] == [b"late 2", b"3", b"late 4", b"5", b""]

    play(scene, respond)


def test_who_does_not_read_is_not_answered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "WRITE_SECONDS", 0.2)
    answered = 0

    def respond(packet: bytes, via: Via) -> bytes:
        nonlocal answered
        answered += packet == b"?"
        return LARGE

    async def scene(connect: Connect, served: Streams) -> None:
        client = await connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is one that reads, too
        client.writer.write(framed(b"?") * 5000)
        other = await connect()
        while len(served) == 2:
            assert await other.ask(b"!") == LARGE

    play(scene, respond)
    assert answered < 5000


def test_the_quietest_of_a_client_goes_when_it_has_too_many() -> None:
    async def scene(connect: Connect, served: Streams) -> None:
        first, second = await connect(), await connect()
        assert [await one.ask(b"a") for one in (second, first)] == [b"a", b"a"]
        third = await connect()
        assert await third.ask(b"b") == b"b"
        assert await second.read() == b""
        first.writer.close()
        third.writer.close()
        while len(served):
            await asyncio.sleep(0)
        assert served._of_client == {}

    play(scene, echo, most_of_client=2)

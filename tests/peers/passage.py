"""A way from inside a network namespace to a server on our own loopback, with no link between the two.

In: a namespace whose `lo` is up, and the address of a server out here. Out: an address in there that leads to it.
A listening socket made in the namespace is served from this process, byte for byte, so a server on 127.0.0.1 need not
listen for the world, and its certificate for 127.0.0.1 holds on both sides. When the server is down a connection is
accepted and then closed, where a direct one is refused.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from peers.reach import port_of, socket_in

LOOPBACK = "127.0.0.1"
CHUNK = 1 << 16


@contextmanager
def passage(netns: str, address: str, port: int) -> Iterator[int]:
    """A port on 127.0.0.1 inside `netns` whose connections end at `address`:`port` out here, until the block ends."""
    with closing(socket_in(netns, LOOPBACK, socket.SOCK_STREAM)) as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen()
        loop = asyncio.new_event_loop()
        closed = asyncio.Event()
        keeper = threading.Thread(target=_keep, args=(loop, listener, (address, port), closed), name=f"passage {netns}")
        keeper.start()
        try:
            yield port_of(listener)
        finally:
            loop.call_soon_threadsafe(closed.set)
            keeper.join()


def _keep(
    loop: asyncio.AbstractEventLoop, listener: socket.socket, target: tuple[str, int], closed: asyncio.Event
) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:  # on leaving, it cancels the connections still open
        runner.run(_serve(listener, target, closed))


async def _serve(listener: socket.socket, target: tuple[str, int], closed: asyncio.Event) -> None:
    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Cancelled means closing; this task ends here in any case, and asyncio's streams report it as an error.
            with suppress(OSError, asyncio.CancelledError):
                far_reader, far_writer = await asyncio.open_connection(*target)
                try:
                    await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
                finally:
                    far_writer.transport.abort()
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(carry, sock=listener)
    await closed.wait()
    server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()

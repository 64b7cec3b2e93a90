"""The sockets: UDP read straight from the event loop in bounded bursts, TCP with many queries a connection.

In: addresses to listen on, and the function that answers a message. Out: replies from the address that was asked, in
the order of the questions on a TCP connection. One bad packet, one client gone, one full buffer costs that one reply.

UDP does not go through asyncio's transports: reading up to BURST datagrams a wake-up from a non-blocking socket
answers three times as many (dnsperf -c 8 on loopback, two cores: 45 against 14 thousand a second). On a wildcard
address every datagram says which of our addresses it came to (IP_PKTINFO), or replies would leave from whatever
address the route prefers. Times on TCP are CoreDNS's: 3 s for the first query, 10 s for each further one, 5 s to
write.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from typing import Any, TypeAlias

from svcdns.options import Endpoint
from svcdns.tally import Tally, Via
from svckube.observe import fields

BURST = 64  # datagrams read before other work gets its turn
LARGEST_QUERY = 4096  # octets of a UDP query; a longer one is cut and then malformed
BUFFER = 1 << 20  # octets the kernel may hold for us: some thousand queries that came at once
FIRST_SECONDS, IDLE_SECONDS, WRITE_SECONDS = 3.0, 10.0, 5.0
MOST_CONNECTIONS = 1000  # a process has 1024 files where nobody raised the limit
GRACE_SECONDS = 5.0  # for queries under way when the server stops

IP_PKTINFO = 8  # linux/in.h; Python 3.11 does not name it
_CONTROL = 64  # octets of control data a datagram may come with

Respond: TypeAlias = Callable[[bytes, Via], bytes | Awaitable[bytes] | None]
Peer: TypeAlias = Any  # what recvfrom says, for sendto: a tuple whose shape depends on the family

_log = logging.getLogger(__name__)


class Server:
    """Listens from `start` to `close`; belongs to the running loop. `addresses` says where, port 0 resolved."""

    def __init__(self, respond: Respond, tally: Tally) -> None:
        self._respond = respond
        self._tally = tally
        self._datagrams: list[_Datagrams] = []
        self._streams: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.addresses: tuple[Endpoint, ...] = ()

    async def start(self, listen: Sequence[Endpoint]) -> None:
        """Binds every address for UDP and TCP, or raises OSError naming the one that cannot be had."""
        for endpoint in listen:
            try:
                udp, tcp = _bound(endpoint)
            except OSError as error:
                await self.close()
                raise OSError(error.errno, f"cannot listen on {endpoint}: {error.strerror}") from error
            where = Endpoint(endpoint.address, udp.getsockname()[1])
            self.addresses += (where,)
            family = "2" if udp.family == socket.AF_INET6 else "1"
            server = f"dns://{where}"
            self._datagrams.append(_Datagrams(udp, self._respond, self._tally, Via(server, "udp", family)))
            via = Via(server, "tcp", family)
            self._streams.append(await asyncio.start_server(partial(self._accept, via), sock=tcp, backlog=512))

    async def close(self) -> None:
        """Takes no more questions, and gives those under way GRACE_SECONDS."""
        self._stopping = True
        for stream in self._streams:
            stream.close()
        for datagrams in self._datagrams:
            datagrams.stop()
        under_way = [task for datagrams in self._datagrams for task in datagrams.tasks]
        if under_way:
            await asyncio.wait(under_way, timeout=GRACE_SECONDS)
        for task in (*under_way, *self._connections):
            task.cancel()
        await asyncio.gather(*under_way, *self._connections, return_exceptions=True)
        for datagrams in self._datagrams:
            datagrams.close()

    def _accept(self, via: Via, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._stopping or len(self._connections) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._converse(reader, writer, via))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, via: Via) -> None:
        patience = FIRST_SECONDS
        try:
            while True:
                async with asyncio.timeout(patience):
                    size = int.from_bytes(await reader.readexactly(2))
                    packet = await reader.readexactly(size)
                reply = self._respond(packet, via)
                if reply is None:
                    continue
                said = reply if isinstance(reply, bytes) else await reply
                writer.write(len(said).to_bytes(2) + said)
                async with asyncio.timeout(WRITE_SECONDS):
                    await writer.drain()
                patience = IDLE_SECONDS
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went, or said nothing for too long
        except Exception:
            self._tally.failures += 1
            _log.exception("query failed", extra=fields(server=via.server, proto=via.proto))
        finally:
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()


class _Datagrams:
    """One UDP socket in the loop, and the replies that wait for an upstream."""

    def __init__(self, sock: socket.socket, respond: Respond, tally: Tally, via: Via) -> None:
        self._socket = sock
        self._respond = respond
        self._tally = tally
        self._via = via
        self._loop = asyncio.get_running_loop()
        self.tasks: set[asyncio.Task[None]] = set()
        wildcard = ip_address(sock.getsockname()[0].partition("%")[0]).is_unspecified
        self._loop.add_reader(sock, self._drain_wildcard if wildcard else self._drain)

    def stop(self) -> None:
        self._loop.remove_reader(self._socket)

    def close(self) -> None:
        self._socket.close()

    def _drain(self) -> None:
        receive, send, respond, via = self._socket.recvfrom, self._socket.sendto, self._respond, self._via
        for _ in range(BURST):
            try:
                packet, peer = receive(LARGEST_QUERY)
            except OSError:  # nothing more to read, or a soft error of an earlier reply
                return
            try:
                reply = respond(packet, via)
            except Exception:
                self._failed()
                continue
            if isinstance(reply, bytes):
                try:
                    send(reply, peer)
                except OSError:
                    continue  # the client cannot be reached, or the kernel's buffer is full: it will ask again
            elif reply is not None:
                self._later(reply, (), peer)

    def _drain_wildcard(self) -> None:
        for _ in range(BURST):
            try:
                packet, control, _, peer = self._socket.recvmsg(LARGEST_QUERY, _CONTROL)
            except OSError:
                return
            try:
                reply = self._respond(packet, self._via)
            except Exception:
                self._failed()
                continue
            sender = [_as_source(*one) for one in control]
            if isinstance(reply, bytes):
                self._send(reply, sender, peer)
            elif reply is not None:
                self._later(reply, sender, peer)

    def _send(self, reply: bytes, control: Sequence[tuple[int, int, bytes]], peer: Peer) -> None:
        with suppress(OSError):
            self._socket.sendmsg([reply], control, 0, peer)

    def _later(self, reply: Awaitable[bytes], control: Sequence[tuple[int, int, bytes]], peer: Peer) -> None:
        task = self._loop.create_task(self._finish(reply, control, peer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _finish(self, reply: Awaitable[bytes], control: Sequence[tuple[int, int, bytes]], peer: Peer) -> None:
        try:
            self._send(await reply, control, peer)
        except Exception:
            self._failed()

    def _failed(self) -> None:
        self._tally.failures += 1
        _log.exception("query failed", extra=fields(server=self._via.server, proto=self._via.proto))


def _as_source(level: int, kind: int, data: bytes) -> tuple[int, int, bytes]:
    """Control data that says where a datagram came to, turned into one that says where the reply leaves from.

    Without the interface, so that the reply takes the route to the client; a link-local address needs it.
    """
    if level == socket.IPPROTO_IP:  # struct in_pktinfo: interface, local address, header's destination
        _, local, destination = struct.unpack("=i4s4s", data[:12])
        return level, kind, struct.pack("=i4s4s", 0, local, destination)
    address = data[:16]  # struct in6_pktinfo: address, interface
    return level, kind, data if address[:2] == b"\xfe\x80" else address + bytes(4)


def _bound(endpoint: Endpoint) -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on one port; with port 0 one that is free for both."""
    family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
    for _ in range(20):
        tcp = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            _prepare(family, endpoint.address, tcp, udp)
            tcp.bind((endpoint.address, endpoint.port))
            udp.bind((endpoint.address, tcp.getsockname()[1]))
        except OSError:
            tcp.close()
            udp.close()
            if endpoint.port:
                raise
            continue
        return udp, tcp
    raise OSError(98, "no port is free for both UDP and TCP")


def _prepare(family: int, address: str, tcp: socket.socket, udp: socket.socket) -> None:
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    if family == socket.AF_INET6:
        for sock in (tcp, udp):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # 0.0.0.0 is listened on by its own socket
    if ip_address(address).is_unspecified:
        if family == socket.AF_INET6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            udp.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)

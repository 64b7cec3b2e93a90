"""The sockets: bound for UDP and TCP on each address, and closed with a grace for what is under way.

In: addresses to listen on, the function that answers a message, the cache in front of it, and the workers that answer
beside us. `datagrams` and `streams` do the talking.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from functools import partial
from ipaddress import ip_address

from svcdns.batch import tell_destination
from svcdns.clients import Guard
from svcdns.datagrams import Datagrams, Respond
from svcdns.settings import Endpoint
from svcdns.streams import Streams
from svcdns.tally import Tally, Via
from svcdns.transfer import Whole
from svcdns.wirecache import WireCache
from svcdns.workers import Port, Workers

BUFFER = 1 << 20  # octets the kernel may hold for us: some thousand queries that came at once
GRACE_SECONDS = 5.0  # for queries under way when the server stops


class Server:
    """Listens from `start` to `close`; belongs to the running loop. `addresses` says where, port 0 resolved."""

    def __init__(
        self,
        respond: Respond,
        tally: Tally,
        cache: WireCache | None = None,
        transfer: Whole | None = None,
        guard: Guard | None = None,
        workers: Workers | None = None,
    ) -> None:
        self._respond, self._tally, self._cache = respond, tally, WireCache() if cache is None else cache
        self._workers = workers or Workers(0)
        self._port: Port | None = None
        self._guard = Guard() if guard is None else guard
        self._datagrams: list[Datagrams] = []
        self._streams = Streams(respond, tally, self._guard.clients, transfer=transfer)
        self._listeners: list[asyncio.Server] = []
        self.addresses: tuple[Endpoint, ...] = ()
        self.vias: tuple[Via, ...] = ()

    async def start(self, listen: Sequence[Endpoint], everywhere: bool = False) -> None:
        """Binds every address for UDP and TCP, or raises OSError naming the one that cannot be had.

        `everywhere`: metrics call these addresses `dns://:PORT`, as CoreDNS does where it was told of none.
        """
        loop = asyncio.get_running_loop()
        lent: list[list[Datagrams]] = [[] for _ in range(self._workers.count)]
        for endpoint in listen:
            try:
                (udp, *more), tcp = _bound(endpoint, 1 + len(lent))
            except OSError as error:
                await self.close()
                raise OSError(error.errno, f"cannot listen on {endpoint}: {error.strerror}") from error
            where = Endpoint(endpoint.address, udp.getsockname()[1])
            self.addresses += (where,)
            family = "2" if udp.family == socket.AF_INET6 else "1"
            label = f"dns://:{where.port}" if everywhere else f"dns://{where}"
            over_udp, over_tcp = (Via(label, proto, family) for proto in ("udp", "tcp"))
            self.vias += (over_udp, over_tcp)
            made = [
                Datagrams(one, self._respond, self._cache, self._tally, over_udp, self._guard) for one in (udp, *more)
            ]
            self._datagrams += made
            for one in made:
                one.listen()
            for of_worker, one in zip(lent, made[1:], strict=True):
                of_worker.append(one)
            accept = partial(self._streams.protocol, over_tcp)
            self._listeners.append(await loop.create_server(accept, sock=tcp, backlog=512))
        self._port = Port(lent)

    @property
    def udp(self) -> list[socket.socket]:
        """The sockets for datagrams."""
        return [one.socket for one in self._datagrams]

    def use(self, cache: WireCache | None) -> None:
        """Looks questions up in this cache from now on; None: each question is answered by the function."""
        self._cache = WireCache() if cache is None else cache
        for datagrams in self._datagrams:
            datagrams.use(self._cache)
        if self._port is not None:
            self._workers.share(self._port, cache)

    async def close(self) -> None:
        """Takes no more questions, and gives those under way GRACE_SECONDS."""
        for listener in self._listeners:
            listener.close()
        if self._port is not None:
            self._workers.withdraw(self._port)
        for datagrams in self._datagrams:
            datagrams.stop()
        under_way = [*self._streams.tasks, *(task for datagrams in self._datagrams for task in datagrams.tasks)]
        if under_way:
            await asyncio.wait(under_way, timeout=GRACE_SECONDS)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        self._streams.close()
        for datagrams in self._datagrams:
            datagrams.close()


def _bound(endpoint: Endpoint, count: int) -> tuple[list[socket.socket], socket.socket]:
    """So many UDP sockets and a TCP socket on one port; with port 0 one that is free for both.

    Nobody else is let in by what several UDP sockets need: the TCP socket is alone.
    """
    family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
    for _ in range(20):
        tcp = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        udp = [socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) for _ in range(count)]
        try:
            _prepare(family, endpoint.address, udp, tcp)
            tcp.bind((endpoint.address, endpoint.port))
            for one in udp:
                one.bind((endpoint.address, tcp.getsockname()[1]))
        except OSError:
            for one in (tcp, *udp):
                one.close()
            if endpoint.port:
                raise
            continue
        return udp, tcp
    raise OSError(98, "no port is free for both UDP and TCP")


def _prepare(family: int, address: str, udp: Sequence[socket.socket], tcp: socket.socket) -> None:
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        for sock in (tcp, *udp):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # 0.0.0.0 is listened on by its own socket
    for one in udp:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        if len(udp) > 1:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if ip_address(address).is_unspecified:
            tell_destination(one)

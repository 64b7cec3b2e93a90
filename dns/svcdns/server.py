"""The sockets: bound for UDP and TCP on each address, and closed with a grace for what is under way.

In: addresses to listen on, the function that answers a message, and the cache in front of it. `datagrams` and
`streams` do the talking.
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
    ) -> None:
        self._respond, self._tally, self._cache = respond, tally, WireCache() if cache is None else cache
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
        for endpoint in listen:
            try:
                udp, tcp = _bound(endpoint)
            except OSError as error:
                await self.close()
                raise OSError(error.errno, f"cannot listen on {endpoint}: {error.strerror}") from error
            where = Endpoint(endpoint.address, udp.getsockname()[1])
            self.addresses += (where,)
            family = "2" if udp.family == socket.AF_INET6 else "1"
            label = f"dns://:{where.port}" if everywhere else f"dns://{where}"
            over_udp, over_tcp = (Via(label, proto, family) for proto in ("udp", "tcp"))
            self.vias += (over_udp, over_tcp)
            self._datagrams.append(Datagrams(udp, self._respond, self._cache, self._tally, over_udp, self._guard))
            accept = partial(self._streams.protocol, over_tcp)
            self._listeners.append(await loop.create_server(accept, sock=tcp, backlog=512))

    @property
    def udp(self) -> list[socket.socket]:
        """The sockets for datagrams."""
        return [one.socket for one in self._datagrams]

    def use(self, cache: WireCache) -> None:
        """Looks questions up in this cache from now on."""
        self._cache = cache
        for datagrams in self._datagrams:
            datagrams.use(cache)

    async def close(self) -> None:
        """Takes no more questions, and gives those under way GRACE_SECONDS."""
        for listener in self._listeners:
            listener.close()
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
        tell_destination(udp)

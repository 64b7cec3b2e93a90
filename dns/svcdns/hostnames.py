"""Upstreams given by host name: their addresses, found when the settings are taken, as in CoreDNS, and not again.

In: settings, in which a `forward` may name hosts. Out: the same settings with addresses in their place. Who is asked is
the system's resolver, or the resolvers that the `forward` names. OSError for a name that has no address.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import msgspec

from svcdns import wire
from svcdns.forward import BusyError, Forwarder, Meter, NoAnswerError
from svcdns.plugin_forward import MOST_UPSTREAMS
from svcdns.records import AAAA, A, Name, name_of
from svcdns.settings import Endpoint, Forward, HostName, ServerBlock, Settings, Upstream


async def with_addresses(settings: Settings, meter: Meter) -> Settings:
    """The settings without host names."""
    blocks: list[ServerBlock] = []
    for block in settings.blocks:
        forwards = [await _with_addresses(one, meter) for one in block.forwards]
        blocks.append(msgspec.structs.replace(block, forwards=tuple(forwards)))
    return msgspec.structs.replace(settings, blocks=tuple(blocks))


async def _with_addresses(forward: Forward, meter: Meter) -> Forward:
    if not any(isinstance(one, HostName) for one in forward.to):
        return forward
    to: list[Upstream | HostName | str] = []
    for one in forward.to:
        if not isinstance(one, HostName):
            to.append(one)
            continue
        try:
            found = await (_told(one.host, forward.resolvers, meter) if forward.resolvers else _known(one.host))
        except OSError as error:
            raise OSError(f"forward: failed to resolve {one.host!r}: {error.strerror or error}") from error
        to += [Upstream(Endpoint(address, one.port), one.tls, one.server_name) for address in found]
    to = list(dict.fromkeys(to))
    if len(to) > MOST_UPSTREAMS:
        raise OSError(f"forward: more than {MOST_UPSTREAMS} upstreams: {len(to)}")
    return msgspec.structs.replace(forward, to=tuple(to))


async def _known(host: str) -> list[str]:
    """The addresses by the system's resolver: /etc/hosts, /etc/resolv.conf."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def _told(host: str, resolvers: tuple[Endpoint, ...], meter: Meter) -> list[str]:
    """The addresses by the first of the resolvers that knows any."""
    reason = "no addresses"
    for endpoint in resolvers:
        asked = Upstream(endpoint)
        forwarder = Forwarder(Forward((asked,), max_fails=0, max_attempts=1), [asked], meter)
        try:
            found = [address for kind in (A, AAAA) for address in await _records(forwarder, name_of(host), kind)]
        except (NoAnswerError, BusyError, wire.BadMessageError) as error:
            reason = str(error)
            continue
        finally:
            forwarder.close()
        if found:
            return found
    raise OSError(reason)


async def _records(forwarder: Forwarder, name: Name, kind: int) -> Iterator[str]:
    request = b"\0\0\1\0\0\1" + bytes(6) + name + kind.to_bytes(2) + b"\0\1"
    said = wire.answer_records(await forwarder.exchange(request, tcp=False))
    family = socket.AF_INET if kind == A else socket.AF_INET6
    return (socket.inet_ntop(family, record.data) for record in said if record.type == kind)

"""`svcplane-lab upstream`: DNS over UDP and TCP, and HTTP, on every address of this host; one process, one loop.

In: the network whose addresses the names get. Out: answers until SIGTERM; `READY=1` to systemd's socket, if there is
one, once the sockets are open. With --claim the whole network becomes this host's own by one local route on loopback,
so no address has to be configured; without it the addresses must be there already.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from svcdns.server import Server
from svcdns.settings import Endpoint
from svcdns.tally import Tally, Via
from svcdns.wire import TCP_LIMIT, read, write
from svckube.observe import fields, log_to, registry, sd_notify
from svclab.errors import LabError
from svclab.programs.messages import BadRequestError, Reader, Response, written
from svclab.upstream.internet import Internet, laid_out, reply_to, response_to

IDLE_SECONDS = 30.0
RECURSION_AVAILABLE = 0x80  # in the fourth octet of a message (RFC 1035 section 4.1.1)
NETWORK = "203.0.113.0/24"  # set aside for documentation (RFC 5737): nobody's real addresses
OWN_SERVER = "192.168.123.234"

_log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--network",
        type=_network,
        default=NETWORK,
        metavar="CIDR",
        help=f"where its servers live; by default {NETWORK}",
    )
    add(
        "--own-server",
        type=_address,
        action="append",
        metavar="ADDRESS",
        help=f"a web server that answers to any name; by default {OWN_SERVER}",
    )
    add("--claim", action="store_true", help="make these addresses this host's own, by local routes on lo")
    add("--listen", default="0.0.0.0", metavar="ADDRESS", help="by default every address")
    add("--dns-port", type=int, default=53, metavar="PORT", help="by default 53; 0 lets the kernel choose")
    add("--http-port", type=int, default=80, metavar="PORT", help="by default 80; 0 lets the kernel choose")


def run(parsed: argparse.Namespace) -> int:
    log_to(sys.stderr)
    own = tuple(parsed.own_server or [IPv4Address(OWN_SERVER)])
    try:
        internet = laid_out(parsed.network, own)
    except ValueError as error:
        raise LabError(f"--network: {error}") from error
    if parsed.claim:
        claim([str(parsed.network), *(f"{address}/32" for address in own)])
    asyncio.run(_serve(internet, parsed.listen, parsed.dns_port, parsed.http_port))
    return 0


def claim(networks: Sequence[str]) -> None:
    """Makes every address of these networks this host's own. They go with the namespace."""
    for network in networks:
        argv = ["ip", "route", "replace", "local", network, "dev", "lo"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
        if done.returncode:
            raise LabError(f"cannot claim {network}: {done.stderr.strip()}; this wants root and a host of its own")


def answered(packet: bytes, via: Via, internet: Internet) -> bytes | None:
    """The octets of a DNS reply; None for silence."""
    query = read(packet)
    if query is None or isinstance(query, bytes):
        return query
    said = write(query, reply_to(query.question, internet), query.udp_limit if via.proto == "udp" else TCP_LIMIT)
    return said[:3] + bytes([said[3] | RECURSION_AVAILABLE]) + said[4:]


async def _serve(internet: Internet, listen: str, dns_port: int, http_port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    names = Server(partial(answered, internet=internet), Tally(registry()))
    await names.start([Endpoint(listen, dns_port)])
    try:
        web = await asyncio.start_server(partial(_converse, internet), listen, http_port, backlog=1024)
    except OSError as error:
        raise LabError(f"cannot listen on {listen}:{http_port}: {error.strerror}") from error
    http = web.sockets[0].getsockname()
    _log.info("serving", extra=fields(dns=str(names.addresses[0]), http=f"{http[0]}:{http[1]}", at=internet.resolver))
    sd_notify("READY=1")
    await stop.wait()
    sd_notify("STOPPING=1")
    web.close()
    await names.close()


async def _converse(internet: Internet, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One HTTP connection, until the client has enough or says nothing for IDLE_SECONDS."""
    address, requests = writer.get_extra_info("sockname")[0], Reader()
    try:
        keep = True
        while keep:
            request = requests.next()
            if request is None:
                async with asyncio.timeout(IDLE_SECONDS):
                    received = await reader.read(64 << 10)
                if not received:
                    return
                requests.feed(received)
                continue
            keep = request.keep
            response = response_to(request, address, internet)
            writer.write(written(response, "svcplane-lab", keep=keep, body=request.method != "HEAD"))
            async with asyncio.timeout(IDLE_SECONDS):
                await writer.drain()
    except BadRequestError as error:
        writer.write(written(Response(error.status, f"{error.status} {error}\n".encode()), "svcplane-lab", keep=False))
    except OSError:  # the client went, or took too long
        return
    finally:
        writer.close()


def _network(text: str) -> IPv4Network:
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no IPv4 network: {error}") from None


def _address(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except AddressValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no IPv4 address: {error}") from None

"""`svcplane-lab apiserver`: the API server alone, with kube-apiserver's names for flags.

In: flags. Out: an HTTPS server until SIGTERM or SIGINT. systemd (or who plays it) hears READY=1 when it answers.
Refused, each with one line: certificates that do not load, a range that is none, a port that is taken.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import ssl
import sys
from contextlib import suppress
from importlib.resources import files
from ipaddress import ip_address, ip_network

from aiohttp import web

from svckube.observe import fields, listen, log_to, sd_notify
from svclab.apiserver.core import Core
from svclab.apiserver.database import Database
from svclab.apiserver.identity import Identity
from svclab.apiserver.schema import Schema
from svclab.apiserver.server import Server
from svclab.apiserver.strategy import allocation
from svclab.errors import LabError

ISSUER = "https://kubernetes.default.svc.cluster.local"
IDLE_SECONDS = 3600.0  # of a kept connection; Go's clients keep theirs for long
LINE_LIMIT = 64 << 10  # bytes; selectors may be long
CLOSE_SECONDS = 2.0

_log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--bind-address", default="0.0.0.0", help="where to listen (default: everywhere)")
    add("--secure-port", type=int, default=6443, help="0 lets the kernel choose; the log says which")
    add("--advertise-address", default="", help="where the Service kubernetes leads (default: the bind address)")
    add("--data", default=":memory:", metavar="FILE", help="SQLite file; without it nothing is kept")
    add("--tls-cert-file", required=True, help="the server's certificate, PEM")
    add("--tls-private-key-file", required=True, help="its key, PEM")
    add("--client-ca-file", default="", help="who may vouch for client certificates")
    add("--token-auth-file", default="", help='lines of token,user,uid,"group1,group2"')
    add("--service-cluster-ip-range", default="10.96.0.0/12", help="ClusterIPs; default: 10.96.0.0/12")
    add("--service-node-port-range", default="30000-32767", help="default: 30000-32767")
    add("--service-account-key-file", default="", help="private key, PEM: signs and verifies tokens")
    add("--service-account-issuer", default=ISSUER, help=f"of those tokens; default: {ISSUER}")


def run(parsed: argparse.Namespace) -> int:
    log_to(sys.stderr)
    ranges = _ranges(parsed.service_cluster_ip_range, parsed.service_node_port_range)
    context = _tls(parsed.tls_cert_file, parsed.tls_private_key_file, parsed.client_ca_file)
    schema = Schema((files("svclab.apiserver") / "schema.json").read_bytes())
    database = Database(parsed.data)
    address = f"[{parsed.bind_address}]" if ":" in parsed.bind_address else parsed.bind_address
    listening = listen(f"{address}:{parsed.secure_port}")
    core = Core(schema, database, ranges)
    port = listening.getsockname()[1]
    advertised = parsed.advertise_address or _own_address(parsed.bind_address)
    identity = Identity(
        parsed.token_auth_file, parsed.service_account_key_file, parsed.service_account_issuer, core.find
    )
    core.seed(advertised, port)
    server = Server(core, identity, f"{advertised}:{port}")
    try:
        return asyncio.run(_serve(core, server, listening, context))
    finally:
        core.close()


async def _serve(core: Core, server: Server, listening: socket.socket, context: ssl.SSLContext) -> int:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    failures: list[Exception] = []

    def failed(error: Exception) -> None:
        failures.append(error)
        ended.set()

    core.failed = failed
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    http = web.Server(
        server.handle,
        access_log=None,
        keepalive_timeout=IDLE_SECONDS,
        handler_cancellation=True,
        max_line_size=LINE_LIMIT,
        max_field_size=LINE_LIMIT,
    )
    runner = web.ServerRunner(http, shutdown_timeout=CLOSE_SECONDS)
    await runner.setup()
    site = web.SockSite(runner, listening, ssl_context=context, backlog=256)
    await site.start()
    _log.info("serving", extra=fields(address=listening.getsockname()[0], port=listening.getsockname()[1]))
    sd_notify("READY=1")
    await ended.wait()
    sd_notify("STOPPING=1")
    server.watches.close()
    await runner.cleanup()
    if failures:
        raise LabError(str(failures[0]))
    return 0


def _ranges(cidr: str, ports: str) -> allocation.Ranges:
    try:
        network = ip_network(cidr)
    except ValueError as error:
        raise LabError(f"--service-cluster-ip-range: {error}; write one range such as 10.96.0.0/12") from error
    first, _, last = ports.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) < 65536):
        raise LabError(f"--service-node-port-range: {ports!r} is no range; write one such as 30000-32767")
    return allocation.Ranges(network, (int(first), int(last)))


def _tls(certificate: str, key: str, clients: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
        if clients:
            context.load_verify_locations(clients)
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as error:
        raise LabError(f"{certificate}, {key}, {clients}: {error}") from error
    return context


def _own_address(bound: str) -> str:
    """Where others reach us: the bound address, or the one that a packet to the outside would have.

    Endpoints of the Service `kubernetes` may be no loopback address, so that is looked for then, too.
    """
    if not (ip_address(bound).is_unspecified or ip_address(bound).is_loopback):
        return bound
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    raise LabError(f"bound to {bound}, and there is no route to the outside: say --advertise-address")

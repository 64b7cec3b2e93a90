"""Workers leave strangers to the server, which limits what they are told, whichever process their questions came to."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from ipaddress import ip_network
from time import monotonic

import pytest

from support.askers import MANY, Askers
from support.dns_server import running
from support.resolvers import question
from support.site import lone_host
from svcdns.clients import Guard
from svcdns.settings import Endpoint

pytestmark = pytest.mark.netns

SERVER, NEIGHBOUR, STRANGER = "203.0.113.1", "203.0.113.2", "198.51.100.7"
LIMIT = 5
WEB = question("web.prod.svc.cluster.local.")


def askers_at(stack: ExitStack, source: str, server: tuple[str, int]) -> Askers:
    made = []
    for _ in range(MANY):
        one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        one.bind((source, 0))
        one.connect(server)
        one.setblocking(False)
        made.append(one)
    return Askers(made)


def test_strangers_are_limited_by_all_processes_together() -> None:
    guard = Guard([ip_network("203.0.113.0/24")], LIMIT)
    with lone_host("dns-strangers") as host, host.entered():
        for address in (SERVER, NEIGHBOUR, STRANGER):
            host.add_address("lo", f"{address}/32")
        with running(listen=[Endpoint(SERVER, 0)], guard=guard, workers=1) as server, ExitStack() as stack:
            server.fill()
            neighbours = askers_at(stack, NEIGHBOUR, server.address)
            for _ in range(20):
                assert None not in neighbours.ask(WEB)
            strangers = askers_at(stack, STRANGER, server.address)
            whole, began = 0, monotonic()
            for _ in range(6):
                replies = strangers.ask(WEB, seconds=0.2)
                whole += sum(reply is not None and not reply[2] & 0x02 for reply in replies)
            assert 0 < whole <= LIMIT * (int(monotonic() - began) + 2)
            assert None not in neighbours.ask(WEB)

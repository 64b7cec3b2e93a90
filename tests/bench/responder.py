"""All endpoints of the agent's benchmark: one program, in the node's namespace, where all pods' addresses are local.

    python tests/bench/responder.py

A connection to port 8080 of any address is told that address, and closed; so is a datagram to port 8053. One to port
8081 gets back what it sends, one connection at a time. Runs until it is killed, on one processor: a sender that goes
there, too, is not kept waiting for another processor to wake up. What tells addresses runs as batch work does
(sched(7)), which never takes the processor from who woke it: else some connects of the sender would last until it has
answered, and by chance they were half of them.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from contextlib import suppress

_IP_PKTINFO = 8


def tell() -> None:
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # of this thread
    with socket.create_server(("0.0.0.0", 8080), backlog=1024) as listening:
        while True:
            with listening.accept()[0] as one, suppress(OSError):
                one.sendall(one.getsockname()[0].encode())


def tell_datagrams() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving:
        receiving.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        receiving.bind(("0.0.0.0", 8053))
        while True:
            _, found, _, sender = receiving.recvmsg(1024, 64)
            # struct in_pktinfo: interface, our own address, the packet's destination
            destination = next(data[8:12] for level, kind, data in found if (level, kind) == (0, _IP_PKTINFO))
            answer = [socket.inet_ntoa(destination).encode()]
            ours = struct.pack("=I4s4s", 0, destination, destination)
            with suppress(OSError):
                receiving.sendmsg(answer, [(socket.IPPROTO_IP, _IP_PKTINFO, ours)], 0, sender)


def echo() -> None:
    with socket.create_server(("0.0.0.0", 8081)) as listening:
        while True:
            with listening.accept()[0] as one, suppress(OSError):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while data := one.recv(1024):
                    one.sendall(data)


def to_its_processor() -> None:
    """Binds the calling thread, and those that it will start."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


if __name__ == "__main__":
    to_its_processor()
    for each in (echo, tell_datagrams):
        threading.Thread(target=each, daemon=True).start()
    tell()

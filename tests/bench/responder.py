"""All endpoints of the agent's benchmark: one program, in the node's namespace, where all pods' addresses are local.

    python tests/bench/responder.py

A connection to port 8080 of any address is told that address, and closed. One to port 8081 gets back what it sends, one
connection at a time. Runs until it is killed, on one processor: a sender that goes there, too, is not kept waiting for
another processor to wake up. What tells addresses runs as batch work does (sched(7)), which never takes the processor
from who woke it: else some connects of the sender would last until it has answered, and by chance they were half of
them.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress


def tell() -> None:
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # of this thread
    with socket.create_server(("0.0.0.0", 8080), backlog=1024) as listening:
        while True:
            with listening.accept()[0] as one, suppress(OSError):
                one.sendall(one.getsockname()[0].encode())


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
    threading.Thread(target=echo, daemon=True).start()
    tell()

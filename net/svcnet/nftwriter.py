"""The door through which transactions of nf_tables reach the kernel: one datagram each, over nfnetlink.

In: changes of tables. Out: the netlink port they came from, by which the kernel's notices name the writer; ports
are drawn from the half that no process ID reaches, so that no other program's are taken for ours. The kernel works
while we send: when `send` returns, a batch is either in force, or the complaints are waiting. Everything happens in the
network namespace of the calling thread.

Raises `IptablesError`, with the rule that the kernel complains of in `line`: what is written before stays, each batch
whole. Somebody else's transaction in the way (EAGAIN, EBUSY, EINTR, ERESTART) is waited for, `TRIES` times. A batch
that the socket or the kernel's memory does not take (EMSGSIZE, ENOBUFS, ENOMEM) goes in halves.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from svcnet import nfnetlink
from svcnet.rules import Family
from svcnet.transactions import Batch, Change, batches
from svcnet.writers import IptablesError

TRIES = 5
PAUSE = 0.01
"""Seconds before the second try; each further one waits twice as long."""

_NETFILTER = 12  # NETLINK_NETFILTER
_OUR_PORTS = 1 << 31
_CLONE_NEWNET = 0x40000000
_SOL_NETLINK, _CAP_ACK = 270, 10
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_RECEIVE = 4 << 20  # bytes of complaints that may wait
_ERESTART = 85
_IN_THE_WAY = {errno.EAGAIN, errno.EBUSY, errno.EINTR, _ERESTART}
_TOO_LARGE = {errno.EMSGSIZE, errno.ENOBUFS, errno.ENOMEM}
_SLACK = 1 << 16  # the kernel's own bytes beside a datagram

T = TypeVar("T")


class _RefusedError(Exception):
    """The kernel took nothing of a batch. `sequence` is the message it complains of, 0 if it names none."""

    def __init__(self, number: int, sequence: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number
        self.sequence = sequence


def new_port() -> int:
    """A netlink port that no process ID reaches."""
    return _OUR_PORTS | random.getrandbits(30)  # no secret


def write(family: Family, changes: Iterable[Change], pause: Callable[[float], None] = time.sleep, port: int = 0) -> int:
    """Applies the changes, as `send` does."""
    return send(batches(family, changes), pause, port)


def send(made: Iterable[Batch], pause: Callable[[float], None] = time.sleep, port: int = 0) -> int:
    """Applies batches in their order, from this port if nobody has it. While the kernel works the next one is made.

    Returns the port, 0 if there was nothing to do. `WireError` if a rule has no encoding: as long as no hook is
    inserted and no chain deleted before, the same changes can then be applied in another way.
    """
    sending: Future[None] | None = None
    with _socket(port) as kernel, ThreadPoolExecutor(1, "sender") as sender:
        for batch in made:
            if sending:
                sending.result()
            sending = sender.submit(_send, kernel, batch, pause)
        if sending:
            sending.result()
        return int(kernel.getsockname()[0]) if sending else 0


def accepts(family: Family, changes: Sequence[Change]) -> bool:
    """Whether an empty host takes these changes: tried in a network namespace that ends with the try."""
    try:
        apart(lambda: write(family, changes))
    except (IptablesError, OSError):
        return False
    return True


def apart(work: Callable[[], T]) -> T:
    """What `work` returns, in a thread and an empty network namespace of its own. OSError without the right to one."""
    with ThreadPoolExecutor(1, "scratch") as thread:
        thread.submit(_leave).result()
        return thread.submit(work).result()


def _leave() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no network namespace of our own: {os.strerror(number)}")


def _socket(port: int) -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
    try:
        for each in (port or new_port(), *(new_port() for _ in range(TRIES))):
            with suppress(OSError):  # taken
                made.bind((each, 0))
                break
        made.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        with suppress(PermissionError):
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE)
    except BaseException:
        made.close()
        raise
    return made


def _send(kernel: socket.socket, batch: Batch, pause: Callable[[float], None]) -> None:
    """One batch, in one transaction unless it is too large for that."""
    try:
        _persist(kernel, batch, pause)
    except _RefusedError as refused:
        halves = batch.halves() if refused.number in _TOO_LARGE else None
        if halves is None:
            line = batch.line(refused.sequence)
            raise IptablesError(f"the kernel refuses rules: {refused}: {line}", 0, line) from refused
        for half in halves:
            _send(kernel, half, pause)


def _persist(kernel: socket.socket, batch: Batch, pause: Callable[[float], None]) -> None:
    data = batch.data()
    for waited in range(TRIES):
        try:
            _try(kernel, data)
        except _RefusedError as refused:
            if refused.number not in _IN_THE_WAY or waited == TRIES - 1:
                raise
        else:
            return
        pause(PAUSE * 2**waited)


def _try(kernel: socket.socket, data: bytes) -> None:
    room = len(data) + _SLACK
    try:
        kernel.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, room)
    except PermissionError:  # in a user namespace; this gives no more than net.core.wmem_max
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
    try:
        kernel.send(data)
    except OSError as error:
        raise _RefusedError(error.errno or 0, 0) from error
    complaints = list(_complaints(kernel))
    if complaints:
        raise _RefusedError(*next((each for each in complaints if each[1]), complaints[0]))


def _complaints(kernel: socket.socket) -> Iterator[tuple[int, int]]:
    """(errno, sequence number) of each message that waits."""
    while True:
        try:
            received = kernel.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            yield errno.EIO, 0  # there were more than fit: those that fit follow
            continue
        for message in nfnetlink.messages(received):
            if message.kind == nfnetlink.ERROR and message.error:
                yield message.error, message.sequence

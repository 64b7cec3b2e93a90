"""Undoes a diversion whose process has died, however it died: SIGKILL runs no handler, and a node whose questions are
led to nobody has no DNS.

The process that serves holds a socket, whose name is a lock: one diversion on an interface. Abstract names belong to
the network namespace, as the rules do, whatever is mounted. Whoever guards it holds a connection to it, over which it
gets the UDP sockets that are served; the connection's end without GOODBYE is the death. Then the guardian

- removes the rules that lead questions here: from now on they go to the cluster IP's endpoints;
- asks cluster DNS what still waits in the sockets, and answers it from there;
- removes the rest, and gives the lock back. A successor that knocks meanwhile is let in at once.

A guardian is a fork of the process (`start`), in a session of its own; or a process beside it (`attend`), such as a
second container of the pod: when the first process of a PID namespace dies, the kernel kills all others in it.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import msgspec

from svcdns.diversion import Diversion, DiversionError, routable
from svckube.observe import fields
from svcnet.links import LinkError
from svcnet.writers import IptablesError

SOCKETS, GOODBYE = b"sockets", b"goodbye"
MOST_SOCKETS = 64
RELAY_SECONDS = 3.0  # how long questions to link-local addresses, which have no other way, are asked on
KNOCKED_SECONDS = 0.5  # for those under way when a successor knocks, and where there are no such addresses
LOCK_SECONDS = 10.0  # for another one to end
PAUSE = 0.05
_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75  # linux/in.h, linux/in6.h

_log = logging.getLogger(__name__)


class Guarded(msgspec.Struct, frozen=True):
    """`relay` is where questions go on to that nobody here answers any more: an address of cluster DNS, or ""."""

    diversion: Diversion
    relay: str = ""

    @property
    def name(self) -> bytes:
        return b"\0svcplane-nodelocal-" + (self.diversion.interface or "none").encode()


def locked(guarded: Guarded, seconds: float = LOCK_SECONDS) -> socket.socket:
    """The lock, listening. Knocks where somebody holds it, and waits so long. OSError if he stays."""
    deadline = time.monotonic() + seconds
    while True:
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            lock.bind(guarded.name)
            lock.listen()
            return lock
        except OSError:
            lock.close()
        left = deadline - time.monotonic()
        if left <= 0:
            raise OSError(
                f"another svcplane-dns nodelocal is at work on this node, with interface {guarded.diversion.interface}"
            )
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as knocking:
            knocking.settimeout(left)
            knocking.connect(guarded.name)
            while knocking.recv(64):
                pass
        time.sleep(PAUSE)


def start(guarded: Guarded, lock: socket.socket) -> socket.socket:
    """Forks the guardian; the connection to it. The caller has one thread and no event loop yet."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        return ours
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # whoever ends a group means the other one
            signal.signal(number, signal.SIG_IGN)
        with suppress(OSError):
            Path("/proc/self/comm").write_text("svcplane-guard")
        ours.close()
        died, held = _watched(theirs)
        if died:
            recover(guarded, held, lock)
        status = 0
    except BaseException:
        _log.exception("the guardian failed")
    finally:
        os._exit(status)


def attend(guarded: Guarded) -> None:
    """Guards whoever holds the lock, one after the other, until SIGTERM or SIGINT: then until that one has ended."""
    leaving: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signalled, _: leaving.append(signalled))
    while not leaving:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            try:
                connection.connect(guarded.name)
            except OSError:
                time.sleep(PAUSE * 4)
                continue
            died, held = _watched(connection)
        if not died:
            continue
        # Where somebody holds the lock, he sees to it: its own guardian, or a successor.
        with suppress(OSError), locked(guarded, 1.0) as lock:
            recover(guarded, held, lock)
        _close(held)


def hand_over(connection: socket.socket, sockets: Sequence[socket.socket]) -> None:
    """Tells a guardian which sockets are served. OSError if it is gone."""
    socket.send_fds(connection, [SOCKETS], [one.fileno() for one in sockets[:MOST_SOCKETS]])


def recover(guarded: Guarded, held: Sequence[socket.socket], lock: socket.socket) -> None:
    """What a guardian is for. Steps that fail are told, and do not keep the others from being done."""
    diversion = guarded.diversion
    _log.warning("the process that served has died", extra=fields(interface=diversion.interface))
    _try(diversion.turn_away)
    for one in held:
        with suppress(OSError):  # then it answers as long as the address is there
            _let_send_from_anywhere(one)
    _try(lambda: diversion.lift(routable(diversion.addresses)))
    if guarded.relay:
        has_other_ways = set(routable(diversion.addresses)) == set(diversion.addresses)
        relay(held, (guarded.relay, diversion.port), lock, KNOCKED_SECONDS if has_other_ways else RELAY_SECONDS)
    _close(held)
    _try(diversion.undo)
    _log.info("undone", extra=fields(addresses=" ".join(diversion.addresses)))


def relay(held: Sequence[socket.socket], to: tuple[str, int], knock: socket.socket, seconds: float) -> None:
    """Passes on what comes into the sockets, and the replies back, for so long or until somebody knocks."""
    waiting: dict[socket.socket, tuple[socket.socket, tuple[str, int]]] = {}
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for each in (*held, knock):
            each.setblocking(False)
            selector.register(each, selectors.EVENT_READ)
        while (left := end - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                one = key.fileobj
                assert isinstance(one, socket.socket)  # noqa: S101 - nothing else was registered
                if one is knock:
                    end = min(end, time.monotonic() + KNOCKED_SECONDS)
                    selector.unregister(knock)
                    for each in held:  # no more of them
                        selector.unregister(each)
                elif one in waiting:
                    selector.unregister(one)
                    back, peer = waiting.pop(one)
                    with one, suppress(OSError):
                        back.sendto(one.recv(65535), peer)
                else:
                    with suppress(OSError):
                        packet, peer = one.recvfrom(65535)
                        asking = _asking(packet, to)
                        waiting[asking] = one, peer
                        selector.register(asking, selectors.EVENT_READ)
            if knock not in selector.get_map() and not waiting:
                break
    _close(list(waiting))


def _asking(packet: bytes, to: tuple[str, int]) -> socket.socket:
    """A socket of its own for each question, by whose port the reply finds back."""
    family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
    asking = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        asking.connect(to)
        asking.send(packet)
    except OSError:
        asking.close()
        raise
    return asking


def _watched(connection: socket.socket) -> tuple[bool, list[socket.socket]]:
    """Waits for the end; whether it was a death, and the sockets that were served then."""
    held: list[socket.socket] = []
    while True:
        try:
            said, descriptors, _, _ = socket.recv_fds(connection, 64, MOST_SOCKETS)
        except ConnectionError:
            return True, held
        if said in (b"", GOODBYE):
            if said:
                _close(held)
            return not said, held
        before, held = held, [socket.socket(fileno=one) for one in descriptors]
        _close(before)


def _let_send_from_anywhere(one: socket.socket) -> None:
    """The socket's address will be nobody's on this node, and replies still come from it (CAP_NET_ADMIN)."""
    if ip_address(one.getsockname()[0].partition("%")[0]).version == 6:
        one.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
    else:
        one.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)


def _close(sockets: Sequence[socket.socket]) -> None:
    for one in sockets:
        one.close()


def _try(step: Callable[[], None]) -> None:
    try:
        step()
    except (DiversionError, IptablesError, LinkError) as error:
        _log.error("not undone", extra=fields(reason=error))

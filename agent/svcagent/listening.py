"""Ports that may be taken when the agent starts: it works all the same, and takes them as soon as they are free.

In: an address, routes, whether a taken port is the end (--bind-address-hard-fail). Out: a running server, now or later.
A port is taken for seconds when one proxy replaces another on a node; services must not wait for that.
Sockets belong to the network namespace of the thread that calls `listen`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from svckube import observe
from svckube.observe import Route, Server, fields

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0


class Listener:
    """A server, or a thread that tries to become one. `close` ends either."""

    def __init__(self, address: str, routes: Mapping[str, Route], retry: float) -> None:
        self._address = address
        self._routes = routes
        self._retry = retry
        self._server: Server | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._try, name=f"listen {address}", daemon=True)

    def listen(self, *, hard_fail: bool) -> None:
        """Listens, or goes on trying in a thread; with `hard_fail` OSError instead."""
        try:
            self._server = observe.serve(self._address, self._routes)
        except OSError as error:
            if hard_fail:
                raise
            log.error("not listening yet", extra=fields(address=self._address, error=error, retry_in=self._retry))
            self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._server is not None:
            self._server.close()

    def _try(self) -> None:
        while not self._closing.wait(self._retry):
            try:
                self._server = observe.serve(self._address, self._routes)
            except OSError:
                continue
            log.info("listening", extra=fields(address=self._address))
            return


def listen(
    address: str, routes: Mapping[str, Route], *, hard_fail: bool = False, retry: float = RETRY_SECONDS
) -> Listener:
    """Answers `routes` at `address` from now on, or from when that is possible. OSError only with `hard_fail`."""
    listener = Listener(address, routes, retry)
    listener.listen(hard_fail=hard_fail)
    return listener

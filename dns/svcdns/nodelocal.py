"""`svcplane-dns nodelocal`: a cache on every node, in node-cache's place.

In: `NodeLocal`. Out: a process that answers on addresses of its own and, where it is told to, on the cluster IP of DNS;
exit status. The server is the same as everywhere (`life`); here is what stands around it: the Corefile's variables, the
diversion, which is made once the ports are open and looked at every minute, and the guardians.

At SIGTERM questions are turned away first, those under way are answered, then all is undone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from svcdns import guardian
from svcdns.addresses import served
from svcdns.diversion import Diversion, DiversionError, diversion_of
from svcdns.guardian import GOODBYE, Guarded
from svcdns.local import is_trusted, user_of
from svcdns.names import is_reverse
from svcdns.nodeflags import NodeLocal
from svcdns.pillars import Pillars, filled, variable_of
from svcdns.records import name_of
from svcdns.settings import ROOT, Autopath, Cache, Reload, ServerBlock, Settings, Source
from svcdns.tally import Tally
from svckube.observe import fields

RETRY_SECONDS = 5.0  # after a step that failed
VERIFY_SECONDS = 1.0  # an upstream's, before the cache says what is stale
POLL_SECONDS = 10.0  # node-cache's, where it reloads without the plugin
_ERRORS = ("iptables", "iptables_lock", "interface_add", "interface_check", "configmap")
_DEFAULT_MAP = "/etc/kube-dns"
CLUSTER_DOMAIN = "cluster.local"
PODS_SECONDS = 1.0  # the API server may be away when a node starts

_log = logging.getLogger(__name__)

Read = Callable[[str, Callable[[str], str]], tuple[Settings, str]]
"""A template's file, and what makes a Corefile of its text, to settings and the hash of the blocks."""


def run(options: NodeLocal, serve: Callable[[Node], None], read: Read) -> int:
    """`serve` makes a server of a `Node` and returns when it has ended. Raises OSError for what cannot be begun."""
    diversion = diversion_of(options)
    addresses = cluster_dns(options)
    guarded = Guarded(diversion, addresses[0] if addresses else "")
    if options.role == "guard":
        guardian.attend(guarded)
        return 0
    node = Node(options, diversion, read)
    if options.role == "serve":
        node.load()  # what is wrong with it is said before anything is made
    with guardian.locked(guarded) as node.lock:
        if options.role == "cleanup":
            _checked(diversion.undo)
            return 0
        if not options.keep:
            _checked(diversion.undo)
        _checked(diversion.lay)
        if options.pidfile:
            Path(options.pidfile).write_text(f"{os.getpid()}\n")
        try:
            if not options.keep:
                node.guards.append(guardian.start(guarded, node.lock))
            serve(node)
        finally:
            node.end()
    return 0


def cluster_dns(options: NodeLocal) -> tuple[str, ...]:
    """The addresses of cluster DNS that the flags name, or the environment."""
    said = os.environ.get(variable_of(options.upstream_service), "")
    return options.cluster_dns or ((said,) if said and said not in options.addresses else ())


class Node:
    """What stands around a server on a node. `lock` is held, `guards` are connections to guardians."""

    lock: socket.socket

    def __init__(self, options: NodeLocal, diversion: Diversion, read: Read) -> None:
        self.options, self.guards = options, list[socket.socket]()
        self._diversion, self._read = diversion, read
        self._sockets: list[socket.socket] = []
        self._keeping: asyncio.Task[None] | None = None
        self._leaving = False
        self._tally: Tally | None = None

    def count(self, tally: Tally) -> None:
        """Where failures are counted from now on."""
        self._tally = tally
        for kind in _ERRORS:
            tally.set("nodecache_setup_errors", 0, kind)

    def load(self) -> tuple[Settings, str]:
        """The settings, and a hash of what they come from. ValueError and OSError as for any Corefile."""
        options = self.options
        path = options.template if Path(options.template).is_file() else options.conf
        if not path:
            raise ValueError(f"--conf is required: there is no {options.template}")
        settings, digest = self._read(path, self._filled)
        node_name = options.node_name or os.environ.get("NODE_NAME", "")
        return adapted(settings, msgspec.structs.replace(options, node_name=node_name)), digest

    def _filled(self, template: str) -> str:
        options = self.options
        upstream, stubs = self._kube_dns_map()
        unknown = f"neither --cluster-dns nor {variable_of(options.upstream_service)} says where cluster DNS is"
        cluster = cluster_dns(options)
        return filled(template, Pillars(options.addresses, cluster, options.port, upstream, stubs, unknown))

    async def serving(self, sockets: Sequence[socket.socket]) -> None:
        """The ports are open: these are their UDP sockets. Called again when they have changed."""
        self._sockets = list(sockets)
        for guard in list(self.guards):
            self._hand_over(guard)
        if self._keeping is None and not self._leaving:
            self.lock.setblocking(False)
            loop = asyncio.get_running_loop()
            loop.add_reader(self.lock, self._accept)
            for guard in self.guards:
                loop.add_reader(guard, self._lost, guard)
            self._keeping = asyncio.create_task(self._keep_on(await self._keep()))

    async def leaving(self) -> None:
        """The end has begun: whoever asks from now on is answered elsewhere."""
        self._leaving = True
        if self._keeping is not None:
            self._keeping.cancel()
            asyncio.get_running_loop().remove_reader(self.lock)
            await asyncio.gather(self._keeping, return_exceptions=True)
        if not self.options.keep:
            await self._tried(self._diversion.turn_away)

    def end(self) -> None:
        """Everything is undone, and nobody is needed who would do it."""
        if not self.options.keep:
            try:
                self._diversion.undo()
            except DiversionError as error:
                _log.error("not undone", extra=fields(reason=error))
                return  # the guardians try again
        for guard in self.guards:
            with suppress(OSError):
                guard.send(GOODBYE)
            guard.close()

    async def _keep_on(self, well: bool) -> None:
        while True:
            await asyncio.sleep(self.options.sync_seconds if well else min(RETRY_SECONDS, self.options.sync_seconds))
            well = await self._keep()

    async def _keep(self) -> bool:
        """Addresses and rules are there, or put back; whether nothing failed."""
        added = await self._tried(self._diversion.lay)
        written = await self._tried(self._diversion.divert)
        if added or written:
            _log.info("questions are led here", extra=fields(addresses=added or 0, rules=written or 0))
        return added is not None and written is not None

    async def _tried(self, step: Callable[[], int | None]) -> int | None:
        """The step in a thread; None if it failed, which is told and counted."""
        try:
            return await asyncio.to_thread(step) or 0
        except DiversionError as error:
            _log.error("network setup failed", extra=fields(errortype=error.kind, reason=error))
            self._failed(error.kind)
            return None

    def _failed(self, kind: str) -> None:
        if self._tally is not None:
            self._tally.count("nodecache_setup_errors", kind)

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self.lock.accept()
            if is_trusted(user_of(connection)):  # it gets our sockets
                self.guards.append(connection)
                asyncio.get_running_loop().add_reader(connection, self._lost, connection)
                self._hand_over(connection)
            else:
                connection.close()

    def _hand_over(self, guard: socket.socket) -> None:
        try:
            guardian.hand_over(guard, self._sockets)
        except OSError:
            self._lost(guard)

    def _lost(self, guard: socket.socket) -> None:
        """A guardian is gone. Without any, what a SIGKILL leaves stays until the next start."""
        if guard in self.guards:
            self.guards.remove(guard)
            asyncio.get_running_loop().remove_reader(guard)
            guard.close()
            if not self.guards:
                _log.warning("nobody guards the rules any more")

    def _kube_dns_map(self) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
        """`upstreamNameservers` and `stubDomains` of ConfigMap kube-dns, mounted as files. ValueError for bad JSON."""
        folder = Path(self.options.kube_dns_map or _DEFAULT_MAP)
        found: list[bytes] = []
        for name, empty in (("upstreamNameservers", b"[]"), ("stubDomains", b"{}")):
            try:
                found.append((folder / name).read_bytes().strip() or empty)
            except OSError:
                found.append(empty)
        try:
            upstream = msgspec.json.decode(found[0], type=tuple[str, ...])
            return upstream, msgspec.json.decode(found[1], type=dict[str, tuple[str, ...]])
        except msgspec.MsgspecError as error:
            self._failed("configmap")
            raise ValueError(f"ConfigMap kube-dns in {folder}: {error}") from error


def adapted(settings: Settings, options: NodeLocal) -> Settings:
    """What this mode does unless the Corefile says otherwise: expired answers while upstreams are away, and listening
    on its own addresses alone, since others on a node have DNS servers of theirs. Search paths are those of the Pods on
    this node; ValueError where nobody says which node it is.
    """

    def stale(cache: Cache | None) -> Cache | None:
        if cache is None or cache.stale or not options.stale:
            return cache
        return msgspec.structs.replace(cache, stale=options.stale, verify=True, verify_seconds=VERIFY_SECONDS)

    own = options.addresses
    blocks = tuple(
        msgspec.structs.replace(
            block, cache=stale(block.cache), bind=block.bind or own, autopath=_of_node(block, options)
        )
        for block in settings.blocks
    )
    reload = settings.reload or (Reload(POLL_SECONDS, 0.0) if options.reload else None)
    return Settings(blocks, reload)


def _of_node(block: ServerBlock, options: NodeLocal) -> Autopath | None:
    """What the block says of search paths; where it knows no Pods itself, those of this node."""
    wanted = block.autopath
    if wanted is None or wanted.path or block.kubernetes is not None:
        return wanted
    if not options.node_name:
        raise ValueError("autopath @kubernetes: say which node this is, by --node-name or the variable NODE_NAME")
    names = [zone for zone in wanted.zones if zone != ROOT and not is_reverse(zone)]
    zones = served(names or [name_of(CLUSTER_DOMAIN)], 5, "disabled", ())
    source = Source(options.kubeconfig, "", zones, startup_timeout=PODS_SECONDS, node=options.node_name)
    return msgspec.structs.replace(wanted, pods=source)


def _checked(step: Callable[[], int | None]) -> None:
    """What must work for a start. OSError with its reason."""
    try:
        step()
    except DiversionError as error:
        raise OSError(str(error)) from error

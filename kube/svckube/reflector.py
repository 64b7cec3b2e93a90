"""Keeps up with the API server: one thread that lists and watches one kind, through whatever happens.

In: an `Access`, a `Resource`, and `deliver`, which is called from the thread with batches of `Listed`, `Applied` and
`Deleted` in order. Out: those calls, `counts`, and log lines. What to do next is decided in `steps`, what bytes mean in
`stream`; here a step is performed and its end is named. Bookmarks move the point to resume from and are not delivered.

A watch can die without a word: the host is gone, a firewall forgot the connection, the server is stopped. TCP notices
a vanished host (see `access`), nothing in TCP notices a stopped process. The server sends a bookmark about once a
minute, so silence of STALL_SECONDS means that nobody is there, and the watch is resumed. Measured on an idle
kube-apiserver 1.36.3: every 59 to 61 s, but the first one only 121 s after the server's start. A watch that was
silent from its very beginning is not resumed: `steps` tells why.

Logged is what an operator can act on: each reason of an outage once, with what to try, and its end; a relist after
410; an object that does not decode, once for each reason. An error raised by `deliver` ends the thread: it is logged,
and `counts.alive` is False from then on.
"""

from __future__ import annotations

import http.client
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from svckube import steps, stream
from svckube.access import Access, AccessError, StalledError, Watch
from svckube.objects import EndpointSlice, KubeObject, Namespace, Node, Pod, Service
from svckube.observe import fields
from svckube.store import Listed
from svckube.stream import Applied, Deleted

STALL_SECONDS = 150.0

Batch: TypeAlias = list[Listed | Applied | Deleted]

_log = logging.getLogger(__name__)


class Resource(msgspec.Struct, frozen=True):
    """What to list and watch. Selectors as in the API's query; `msgspec.structs.replace` sets them."""

    kind: type[KubeObject]
    path: str
    label_selector: str = ""
    field_selector: str = ""

    def query(self, **more: str) -> dict[str, str]:
        """The URL query: the selectors, and `more` where it is not empty."""
        selectors = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return {name: value for name, value in {**selectors, **more}.items() if value}


SERVICES = Resource(Service, "/api/v1/services")
ENDPOINT_SLICES = Resource(EndpointSlice, "/apis/discovery.k8s.io/v1/endpointslices")
NODES = Resource(Node, "/api/v1/nodes")
NAMESPACES = Resource(Namespace, "/api/v1/namespaces")
PODS = Resource(Pod, "/api/v1/pods")


class Counts(msgspec.Struct, frozen=True):
    """What a reflector has been through. `contact` is the Unix time of the last bytes from the server, 0.0 if none."""

    lists: int = 0
    watches: int = 0
    expired: int = 0
    stalls: int = 0
    failures: int = 0
    skipped: int = 0
    contact: float = 0.0
    alive: bool = True


class Reflector:
    """Lists and watches one resource from `start` to `stop`. Not to be started twice.

    `stall_seconds`: silence after which a watch is given up. `dice`: a random number in [0, 1) for each step. `lighter`
    is put to each object of a list as it is read (`stream.page`).
    """

    def __init__(
        self,
        access: Access,
        resource: Resource,
        deliver: Callable[[Batch], None],
        *,
        stall_seconds: float = STALL_SECONDS,
        dice: Callable[[], float] = random.random,
        lighter: Callable[[KubeObject], KubeObject] = lambda thing: thing,
    ) -> None:
        self._access = access
        self._resource = resource
        self._deliver = deliver
        self._stall_seconds = stall_seconds
        self._dice = dice
        self._lighter = lighter
        self._stopping = threading.Event()
        self._watch: Watch | None = None
        self._state = steps.State()
        self._counts = Counts()
        self._outage_began = 0.0
        self._complaints: set[tuple[str, int]] = set()
        self._skipped: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name=f"reflector {resource.kind.__name__}", daemon=True)

    @property
    def counts(self) -> Counts:
        """A snapshot; may be read from any thread."""
        return self._counts

    def start(self) -> None:
        """Starts the thread; returns at once."""
        self._thread.start()

    def stop(self, seconds: float = 1.0) -> None:
        """Ends the thread and waits so long for it. Nothing is delivered afterwards, even if it hangs in a connect."""
        self._stopping.set()
        if (watch := self._watch) is not None:
            watch.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _run(self) -> None:
        outcome: steps.Outcome = steps.Began()
        try:
            while not self._stopping.is_set():
                self._state, step = steps.advance(self._state, outcome, time.monotonic(), self._dice())
                outcome = self._perform(step)
        except Exception:
            self._note(alive=False)
            _log.exception("reflector died", extra=self._fields())

    def _perform(self, step: steps.Step) -> steps.Outcome:
        try:
            match step:
                case steps.Wait(seconds):
                    self._stopping.wait(seconds)
                    return steps.Waited()
                case steps.List():
                    return self._list(step)
                case steps.Watch():
                    return self._follow(step)
        except AccessError as error:
            return self._failed(error)
        except stream.MalformedError as error:
            return self._failed(AccessError(f"list {self._resource.path}: {error}", "server"))

    def _list(self, step: steps.List) -> steps.Outcome:
        objects: list[KubeObject] = []
        skipped: list[stream.Skipped] = []
        version, token = step.resource_version, ""
        limit = str(step.limit) if step.limit else ""
        while True:
            query = self._resource.query(limit=limit, **{"resourceVersion": version, "continue": token})
            page = stream.page(self._access.get(self._resource.path, query), self._resource.kind, self._lighter)
            self._note(contact=time.time())
            objects += page.objects
            skipped += page.skipped
            version, token = "", page.continue_token  # a token carries its version, and refuses another one beside it
            if not token:
                break
            if self._stopping.is_set():
                return steps.Trouble()
        self._count("lists")
        self._recovered()
        self._skipped = {one.name: self._skipped.get(one.name, "") for one in skipped}
        for one in skipped:
            self._skip(one)
        names = frozenset(one.name for one in skipped if one.name)
        self._hand_over([Listed(self._resource.kind, tuple(objects), names)])
        return steps.ListDone(page.resource_version)

    def _follow(self, step: steps.Watch) -> steps.Outcome:
        query = self._resource.query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=step.resource_version,
            timeoutSeconds=str(step.timeout_seconds),
        )
        reader = stream.Stream(self._resource.kind)
        self._watch = watch = self._access.watch(self._resource.path, query, self._stall_seconds)
        with watch:
            self._count("watches")
            self._recovered()
            if self._stopping.is_set():
                return steps.WatchDone()
            heard = False
            try:
                for data in watch:
                    heard = True
                    self._note(contact=time.time())
                    end = self._take(reader.feed(data))
                    if end is not None:
                        return end
            except StalledError as error:
                trouble = self._failed(error)
                return trouble if heard else steps.Mute()
        return steps.WatchDone()

    def _take(self, messages: list[stream.Message]) -> steps.Outcome | None:
        """Delivers what changed; returns an outcome if the server ended the watch by an event."""
        batch: Batch = []
        end: steps.Outcome | None = None
        state = self._state
        for message in messages:
            match message:
                case Applied(thing) | Deleted(thing):
                    batch.append(message)
                    state = state.seen(thing.metadata.resource_version)
                    if self._skipped:
                        self._skipped.pop(thing.key, None)
                case stream.Bookmark(version, _):
                    state = state.seen(version)
                case stream.Skipped():
                    self._skip(message)
                    state = state.seen(message.resource_version)
                case stream.Gone(text):
                    end = self._failed(AccessError(text, "server", stream.GONE))
                    break
                case stream.Failed(code, reason, text):
                    end = self._failed(AccessError(f"watch {self._resource.path}: {reason} {text}", "server", code))
                    break
        self._hand_over(batch)
        self._state = state
        return end

    def _failed(self, error: AccessError) -> steps.Outcome:
        if self._stopping.is_set():
            return steps.Trouble()
        if error.status == stream.GONE:
            self._count("expired")
            _log.info("relisting", extra=self._fields(reason=error.message))
            return steps.Expired()
        self._count("stalls" if isinstance(error, StalledError) else "failures")
        if not self._complaints:
            self._outage_began = time.monotonic()
        complaint = (error.fault, error.status)
        if complaint not in self._complaints:
            self._complaints.add(complaint)
            _log.warning("outage", extra=self._fields(fault=error.fault, reason=error.message, hint=self._hint(error)))
        return steps.Trouble(error.retry_after)

    def _hint(self, error: AccessError) -> str:
        """What an operator can do about it; "" if it is nothing but waiting."""
        plural = self._resource.path.rpartition("/")[2]
        if error.status == http.client.FORBIDDEN:
            return f"grant get, list and watch on {plural} to this account (ClusterRole and ClusterRoleBinding)"
        if error.status == http.client.NOT_FOUND:
            return f"this API server does not serve {self._resource.path}; is the server address right?"
        return ""

    def _recovered(self) -> None:
        if self._complaints:
            self._complaints.clear()
            _log.info("outage over", extra=self._fields(seconds=round(time.monotonic() - self._outage_began, 1)))

    def _skip(self, skipped: stream.Skipped) -> None:
        self._count("skipped")
        if self._skipped.get(skipped.name) != skipped.reason:
            self._skipped[skipped.name] = skipped.reason
            _log.warning("object skipped", extra=self._fields(object=skipped.name, reason=skipped.reason))

    def _hand_over(self, batch: Batch) -> None:
        if batch and not self._stopping.is_set():
            self._deliver(batch)

    def _count(self, name: str) -> None:
        self._note(**{name: getattr(self._counts, name) + 1})

    def _note(self, **values: float) -> None:
        self._counts = msgspec.structs.replace(self._counts, **values)

    def _fields(self, **values: object) -> dict[str, object]:
        return fields(kind=self._resource.kind.__name__, **values)

"""The agent's only loop: messages in, passes over the rules out.

    reflectors ─ batches → inbox → store.apply → touched services → Pipeline.partial | full → iptables-restore
                                                                              after it, and only then: conntrack, health

`Agent.step` does all that is due at one moment and `Agent.run` calls it for ever; time is a parameter of the first. A
pass begins only when Services, EndpointSlices and the Node have been listed. The two families fail, retry and heal
each on its own.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from svcagent import names
from svcagent import node as host
from svcagent.dialect import Dialect, dialect
from svcagent.flows import stale
from svcagent.health import Health
from svcagent.metrics import Metrics
from svcagent.options import Options
from svcagent.pace import Pace
from svcagent.patch import Patch, restore_input
from svcagent.pipeline import Pipeline
from svcagent.resolve import NodeView
from svckube.objects import EndpointSlice, Node, Service
from svckube.observe import fields
from svckube.reflector import Batch
from svckube.store import Change, Store
from svcnet import accounting, conntrack, links
from svcnet.conntrack import ConntrackError
from svcnet.writers import Iptables, IptablesError

log = logging.getLogger(__name__)

KINDS = (Service, EndpointSlice, Node)
IDLE_SECONDS = 10.0


class Stop(msgspec.Struct, frozen=True):
    """Ends the loop."""


Inbox = queue.SimpleQueue[Batch | Stop]


class Family:
    """One address family at work: its commands, its pipeline, its pace."""

    def __init__(self, iptables: Iptables, options: Options) -> None:
        self.name = iptables.family
        self.iptables = iptables
        self.random_fully = iptables.random_fully()
        self.drop_invalid = not host.conntrack_is_liberal()
        self.pace = Pace(options.min_sync_period, options.sync_period, max_retry=options.sync_period)
        self.touched: set[str] = set()
        self.pipeline: Pipeline | None = None
        self.misread: frozenset[str] = frozenset()


class Agent:
    """What runs on a node. `wall` gives Unix seconds for what people read; `now` is always monotonic."""

    def __init__(
        self,
        options: Options,
        node_name: str,
        families: Sequence[Iptables],
        metrics: Metrics,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.health = Health(patience=2 * options.sync_period)
        self._options = options
        self._node_name = node_name
        self._families = [Family(each, options) for each in families]
        self._metrics = metrics
        self._wall = wall
        self._store = Store(KINDS)
        self._problems: dict[tuple[str, str], tuple[str, ...]] = {}
        for family in self._families:
            self.health.queued(family.name, wall())

    def healthz(self) -> tuple[int, bytes]:
        """(HTTP status, JSON body); may be called from any thread."""
        return self.health.healthz(self._wall())

    def livez(self) -> tuple[int, bytes]:
        """As `healthz`, whatever the Node object says."""
        return self.health.livez(self._wall())

    # -- what comes in

    def run(self, inbox: Inbox) -> None:
        """Works until a `Stop` comes. The rules stay as they are."""
        now = time.monotonic()
        for family in self._families:
            family.pace.request(now)
        while True:
            try:
                message = inbox.get(timeout=max(0.001, self.wait(time.monotonic())))
                while message is not None:
                    if isinstance(message, Stop):
                        return
                    self.receive(message, time.monotonic())
                    message = inbox.get_nowait()
            except queue.Empty:
                pass
            self.step(time.monotonic())

    def wait(self, now: float) -> float:
        """Seconds until `step` has something to do."""
        if not self._ready:
            return IDLE_SECONDS
        return min(family.pace.wait(now, IDLE_SECONDS) for family in self._families)

    @property
    def _ready(self) -> bool:
        return self._store.synced(*KINDS)

    def receive(self, batch: Batch, now: float) -> None:
        """Takes a reflector's batch into the store and asks for the passes that it makes necessary."""
        changes = [change for message in batch for change in self._store.apply(message)]
        touched = {key for change in changes for key in change.service_keys}
        self._count(changes)
        if touched:
            for family in self._families:
                family.touched |= touched
                self._request(family, now)
        if any(change.kind is Node for change in changes):
            self._node_changed(now)

    def _count(self, changes: Sequence[Change]) -> None:
        self._metrics.service_changes.inc(sum(change.kind is Service for change in changes))
        self._metrics.endpoint_changes.inc(sum(change.kind is EndpointSlice for change in changes))

    def _request(self, family: Family, now: float) -> None:
        family.pace.request(now)
        self.health.queued(family.name, self._wall())
        self._metrics.last_queued.labels(family.name).set(self._wall())

    def _node_changed(self, now: float) -> None:
        self.health.node(self._node)
        for family in self._families:
            if family.pipeline is not None and self._reshape(family, family.pipeline):
                self._request(family, now)

    @property
    def _node(self) -> Node | None:
        return self._store.get(Node, self._node_name)

    # -- what goes out

    def step(self, now: float) -> None:
        """Does every pass and audit that is due."""
        if not self._ready:
            return
        for family in self._families:
            if family.pace.pass_due(now):
                self._pass(family, now)
            elif family.pace.audit_due(now):
                self._audit(family, now)

    def _pass(self, family: Family, now: float) -> None:
        pipeline = self._pipeline(family)
        full = pipeline.needs_full
        try:
            patch = self._plan(family, pipeline)
            if not patch.empty:
                family.iptables.restore(restore_input(patch))
            pipeline.applied(patch)
            family.touched.clear()
            self._end_stale_flows(pipeline)
        except (IptablesError, ConntrackError) as error:
            self._failed(family, pipeline, error, full=full)
            return
        ended = time.monotonic()
        family.pace.succeeded(ended)
        self.health.updated(family.name, self._wall())
        self._metrics.chains_written.labels(family.name).inc(len(patch.rewrite) + len(patch.delete))
        self._metrics.last_sync.labels(family.name).set(self._wall())
        for histogram in (self._metrics.sync, self._metrics.full_sync if full else self._metrics.partial_sync):
            histogram.labels(family.name).observe(ended - now)
        self._report_problems(family, pipeline)

    def _plan(self, family: Family, pipeline: Pipeline) -> Patch:
        if pipeline.needs_full:
            return pipeline.full(self._services(self._all_services()), family.iptables.dump())
        return pipeline.partial(self._services(sorted(family.touched)))

    def _all_services(self) -> list[str]:
        return sorted(self._store.objects(Service))

    def _services(self, keys: Sequence[str]) -> Iterator[tuple[str, Service | None, tuple[EndpointSlice, ...]]]:
        for key in keys:
            yield key, self._store.get(Service, key), self._store.slices(key)

    def _failed(self, family: Family, pipeline: Pipeline, error: Exception, *, full: bool) -> None:
        if isinstance(error, IptablesError):
            pipeline.failed()
            self._metrics.restore_failures.labels(family.name).inc()
            if not full:
                self._metrics.partial_restore_failures.labels(family.name).inc()
        now = time.monotonic()
        family.pace.failed(now)
        log.error(
            "pass failed", extra=fields(family=family.name, error=error, retry_in=f"{family.pace.wait(now, 3600):.1f}s")
        )

    def _end_stale_flows(self, pipeline: Pipeline) -> None:
        suspects = pipeline.frontends.suspects()
        if suspects:
            name = pipeline.dialect.family
            flows = stale(conntrack.udp_flows(name), suspects, links.local_addresses())
            self._metrics.flows_deleted.labels(name).inc(conntrack.delete(name, flows))
        pipeline.frontends.settled()

    def _audit(self, family: Family, now: float) -> None:
        """Does the kernel still hold what was written, on the addresses that the node has now?"""
        pipeline = self._pipeline(family)
        try:
            reshaped = self._reshape(family, pipeline)
            differences = pipeline.differences(family.iptables.dump())
        except IptablesError as error:
            log.error("audit failed", extra=fields(family=family.name, error=error))
            differences, reshaped = [], False
        family.pace.audited(time.monotonic(), time.monotonic() - now)
        if set(differences) - family.misread:
            self._heal(family, pipeline, differences, now)
        elif reshaped:
            self._request(family, now)

    def _heal(self, family: Family, pipeline: Pipeline, differences: list[str], now: float) -> None:
        shown = ", ".join(differences[:5]) + (", ..." if len(differences) > 5 else "")
        log.warning(
            "somebody else changed our rules: restoring them",
            extra=fields(family=family.name, chains=len(differences), changed=shown),
        )
        self._metrics.healed.labels(family.name).inc()
        pipeline.failed()
        self._request(family, now)
        self._pass(family, now)
        if pipeline.needs_full:
            return
        # What still differs is spelled otherwise by this iptables; comparing it for ever would rewrite it for ever.
        family.misread = frozenset(pipeline.differences(family.iptables.dump()))
        if family.misread:
            log.error(
                "this iptables shows rules otherwise than they were written: they are not audited",
                extra=fields(family=family.name, chains=len(family.misread), first=min(family.misread)),
            )

    # -- the node

    def _pipeline(self, family: Family) -> Pipeline:
        if family.pipeline is None:
            family.pipeline = Pipeline(*self._facts(family))
        return family.pipeline

    def _reshape(self, family: Family, pipeline: Pipeline) -> bool:
        return pipeline.reshape(*self._facts(family))

    def _facts(self, family: Family) -> tuple[Dialect, NodeView]:
        node = self._node
        labels = node.metadata.labels if node else None
        shape = dialect(
            self._options,
            family.name,
            node,
            links.local_addresses(),
            random_fully=family.random_fully,
            drop_invalid=family.drop_invalid,
            accounting=accounting.ensure(names.COUNTERS),
        )
        return shape, NodeView(self._node_name, labels.zone if labels else "")

    def _report_problems(self, family: Family, pipeline: Pipeline) -> None:
        """Each problem of an object is logged once, and again only when it is another."""
        for key, problems in pipeline.problems.items():
            if self._problems.get((family.name, key)) != problems:
                self._problems[family.name, key] = problems
                log.warning("object partly ignored", extra=fields(service=key, problems="; ".join(problems)))
        for owner, key in [each for each in self._problems if each[0] == family.name]:
            if key not in pipeline.problems:
                del self._problems[owner, key]

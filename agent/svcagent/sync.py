"""The agent's only loop: messages in, passes over the rules out.

    reflectors ─ batches → inbox → store.apply → touched services → Pipeline.partial | full → Writer.write
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
from contextlib import suppress
from importlib.metadata import version

from svcagent import picture
from svcagent.audit import Look, Looked, look
from svcagent.culprits import culprits, suspects
from svcagent.doubts import Differences, shown
from svcagent.events import Happening, service_warning
from svcagent.family import Family
from svcagent.flows import stale
from svcagent.health import Health
from svcagent.healthcheck import HealthChecks
from svcagent.messages import AddressesChanged, Inbox, Message, RulesChanged, Stop
from svcagent.metrics import Metrics
from svcagent.options import Options
from svcagent.patch import Extent, Installed, Patch
from svcagent.pipeline import Pipeline
from svcagent.problems import Problems
from svcagent.status import Status
from svcagent.writing import Writer
from svckube import memory
from svckube.objects import EndpointSlice, KubeObject, Node, Service
from svckube.observe import fields
from svckube.reflector import Batch
from svckube.store import Change, Store
from svckube.systemd import Unit
from svcnet import conntrack, links
from svcnet.conntrack import ConntrackError
from svcnet.links import LinkError
from svcnet.writers import IptablesError

log = logging.getLogger(__name__)

KINDS = (Service, EndpointSlice, Node)
IDLE_SECONDS = 10.0
STEP_SECONDS = 1200.0
"""So long systemd's watchdog lets one step take: two of iptables' commands at their limit."""
GLANCE_SECONDS = 2.0
"""How often a legacy table is looked at, which announces nothing."""
MOST_TRIED = 2000
"""With more services than that, one that spoils a write is only found if iptables names its line."""
MOST_MENDED = 500
"""Services whose chains are written for themselves; where more are hurt, a full pass does that in portions."""
BATCHES = 1000
"""How many messages are taken in before a pass gets its turn."""


class Agent:
    """What runs on a node. `clock` is monotonic, as `now` always is; `wall` gives Unix seconds for what people read.

    `rival` says who else programs Services here now, and what to do about it; "" if nobody does. `beside` does a look
    at the rules, and puts what it finds into the inbox; without it the loop does it itself.
    """

    def __init__(
        self,
        options: Options,
        node_name: str,
        families: Sequence[Writer],
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        announce: Callable[[Happening], None] = lambda _: None,
        rival: Callable[[], str] = lambda: "",
        beside: Callable[[Look], None] | None = None,
    ) -> None:
        self.health = Health(patience=2 * options.sync_period)
        self._options = options
        self._node_name = node_name
        self._families = [
            Family(each, options, HealthChecks(each.iptables.family, self._is_live), wall()) for each in families
        ]
        self._metrics = metrics
        self._announce = announce
        self._rival = rival
        self._beside = beside or (lambda task: self.receive(task()))
        self._conflict = ""
        self._look_at = 0.0
        self._clock = clock
        self._wall = wall
        self._store = Store(KINDS)
        self._problems = Problems(family.name for family in self._families)
        self._started = wall()
        self._endpoints = 0

    def healthz(self) -> tuple[int, bytes]:
        """(HTTP status, JSON body); may be called from any thread."""
        return self.health.healthz(self._wall())

    def livez(self) -> tuple[int, bytes]:
        """As `healthz`, whatever the Node object says."""
        return self.health.livez(self._wall())

    def status(self) -> Status:
        """The body of /status; may be called from any thread: it reads lengths and frozen values only."""
        return Status(
            node=self._node_name,
            version=version("svcplane"),
            iptables=self._families[0].iptables.flavour,
            now=self._wall(),
            started=self._started,
            listed=tuple(sorted(kind.__name__ for kind in KINDS if self._store.synced(kind))),
            services=len(self._store.objects(Service)),
            endpoint_slices=len(self._store.objects(EndpointSlice)),
            endpoints=self._endpoints,
            families={family.name: family.state for family in self._families},
            problems=self._problems.every,
        )

    def _is_live(self) -> bool:
        return self.livez()[0] == 200

    def close(self) -> None:
        """Gives up the health check node ports."""
        for family in self._families:
            family.checks.close()

    # -- what comes in

    def run(self, inbox: Inbox, unit: Unit) -> None:
        """Works until a `Stop` comes. The rules stay as they are. `unit` hears of the first sync, and of every turn."""
        while True:
            unit.alive()
            with suppress(queue.Empty):
                patience = min(unit.period, self.wait(self._clock()))
                for _ in range(BATCHES):
                    message = inbox.get(timeout=patience)
                    if isinstance(message, Stop):
                        return
                    self.receive(message)
                    patience = 0.0
            with unit.patient(STEP_SECONDS):
                self.step(self._clock())
            if all(family.state.synced_since for family in self._families):
                unit.ready("the rules are up to date")

    def wait(self, now: float) -> float:
        """Seconds until `step` has something to do."""
        if not self._ready:
            return IDLE_SECONDS
        if self._conflict:
            return max(0.0, self._look_at - now)
        return min(family.wait(now, IDLE_SECONDS if family.announced else GLANCE_SECONDS) for family in self._families)

    @property
    def _ready(self) -> bool:
        return self._store.synced(*KINDS)

    def receive(self, message: Message) -> None:
        """Takes a message in and asks for the passes and audits that it makes necessary."""
        match message:
            case RulesChanged(writer, chains):
                if not any(family.writer.wrote(writer) for family in self._families):
                    for family in self._families:
                        family.disturbed(self._clock(), chains)
            case AddressesChanged():
                self._node_changed()
            case Looked():
                next(family for family in self._families if family.name == message.family).looked = message
            case list():
                self._take(message)

    def _take(self, batch: Batch) -> None:
        waiting = not self._ready
        changes = [change for message in batch for change in self._store.apply(message)]
        touched = {key for change in changes for key in change.service_keys}
        self._count(changes)
        for family in self._families:
            for change in changes:
                family.triggers.see(change)
            family.touched |= touched
            if touched or (waiting and self._ready):
                self._request(family)
        if any(change.kind is Node for change in changes):
            self._node_changed()

    def _count(self, changes: Sequence[Change]) -> None:
        services = sum(change.kind is Service for change in changes)
        slices = sum(change.kind is EndpointSlice for change in changes)
        self._metrics.service_changes.inc(services)
        self._metrics.services_pending.inc(services)
        self._metrics.endpoint_changes.inc(slices)
        self._metrics.endpoints_pending.inc(slices)
        self._endpoints += sum(_endpoints_of(change.new) - _endpoints_of(change.old) for change in changes)

    def _request(self, family: Family) -> None:
        family.pace.request()
        family.state = family.state.asked(self._wall())
        self.health.queued(family.name, self._wall())
        self._metrics.last_queued.labels(family.name).set(self._wall())

    def _node_changed(self) -> None:
        self.health.node(self._node)
        for family in self._families:
            if family.pipeline is not None and self._reshape(family, family.pipeline):
                self._request(family)

    @property
    def _node(self) -> Node | None:
        return self._store.get(Node, self._node_name)

    # -- what goes out

    def step(self, now: float) -> None:
        """Does every pass and audit that is due."""
        if not self._ready or (self._conflict and (now < self._look_at or self._gives_way(now))):
            return
        for family in self._families:
            if not family.announced and now >= family.glance_at:
                self._glance(family, now)
            if not self._conflict and family.close_look_due(now):
                self._look_closely(family, now)
            if self._conflict:  # seen by the family before
                return
            if family.pace.pass_due(now):
                self._pass(family, now)
            elif family.pace.audit_due(now):
                self._audit(family, now)
            while family.looked:  # again, if it had to be looked once more and the loop did it itself
                self._judge(family, family.looked, now)

    def _pass(self, family: Family, now: float) -> None:
        full = family.pipeline is None or family.pipeline.needs_full
        try:
            pipeline = self._pipeline(family)
            changed = self._write(family, pipeline)
            self._end_stale_flows(pipeline)
        except (IptablesError, ConntrackError, LinkError) as error:
            self._failed(family, error, now, full=full)
            return
        ended = self._clock()
        family.failures = 0
        family.pace.succeeded(ended)
        chains, rules = pipeline.totals
        family.state = family.state.passed(self._wall(), changed=changed, chains=chains, rules=rules)
        self.health.updated(family.name, self._wall())
        self._measure(family, pipeline, ended - now, full=full)
        self._report_problems(family, pipeline)
        self._update_checks(family, pipeline)
        if full:
            memory.give_back()

    def _measure(self, family: Family, pipeline: Pipeline, took: float, *, full: bool) -> None:
        wall = self._wall()
        self._metrics.passed(family.name, took, wall, pipeline.totals[1], full=full)
        self._metrics.problems.labels(family.name).set(len(pipeline.problems))
        for policy, ports in zip(("internal", "external"), pipeline.without_local, strict=True):
            self._metrics.no_local_endpoints.labels(policy, family.name).set(ports)
        for latency in family.triggers.served(wall):
            self._metrics.programming.labels(family.name).observe(latency)

    def _write(self, family: Family, pipeline: Pipeline) -> bool:
        """Writes what differs; whether there was anything."""
        extent = Extent()
        planned = self._partial(family, pipeline)
        if planned is not None:
            way = None if planned.empty else family.write(lambda: extent.of([planned]))
            pipeline.applied(planned)
        else:
            there = family.there()
            way = family.write(lambda: extent.of(pipeline.portions(self._services(self._all_services()), there)))
        if way:
            self._metrics.writes.labels(family.name, way).inc()
        family.touched.clear()
        self._metrics.written(family.name, extent)
        return way is not None

    def _partial(self, family: Family, pipeline: Pipeline) -> Patch | None:
        """The patch for what changed, None if a full pass is needed."""
        if pipeline.needs_full:
            return None
        if family.mending:
            keys, found = family.mending
            family.touched.update(pipeline.owners(keys))
            planned = pipeline.mended(self._services(sorted(family.touched)), keys, found)
        else:
            planned = pipeline.partial(self._services(sorted(family.touched)))
        return None if pipeline.outgrown else planned

    def _all_services(self) -> list[str]:
        return sorted(self._store.objects(Service))

    def _services(self, keys: Sequence[str]) -> Iterator[tuple[str, Service | None, tuple[EndpointSlice, ...]]]:
        for key in keys:
            yield key, self._store.get(Service, key), self._store.slices(key)

    def _failed(self, family: Family, error: Exception, began: float, *, full: bool) -> None:
        family.failures += 1
        if isinstance(error, IptablesError):
            if family.pipeline is not None:
                if family.failures > 1:  # the first may be a lock or somebody else's transaction
                    self._refuse(family, family.pipeline, error, full=full)
                family.pipeline.failed()
            self._metrics.failed(family.name, self._clock() - began, full=full)
        now = self._clock()
        family.pace.failed(now)
        family.state = family.state.failed(self._wall(), str(error))
        log.error(
            "pass failed", extra=fields(family=family.name, error=error, retry_in=f"{family.pace.wait(now, 3600):.1f}s")
        )

    def _refuse(self, family: Family, pipeline: Pipeline, error: IptablesError, *, full: bool) -> None:
        """Leaves out the services whose rules are not taken even on a host of their own, so that the rest goes on."""
        keys = self._all_services() if full else sorted(family.touched)
        keys = [key for key in keys if key not in pipeline.refused]

        def works(some: Sequence[str]) -> bool:
            return family.writer.accepts(pipeline.alone(self._services(some)))

        if not works(()):
            return  # no service's fault, or no right to make a namespace
        bad = culprits(suspects(error.line, keys), works)
        if not bad and len(keys) <= MOST_TRIED:
            bad = culprits(keys, works)
        pipeline.refuse(bad)
        self._metrics.refused.labels(family.name).set(len(pipeline.refused))
        for key in bad:
            log.error("service left out", extra=fields(service=key, family=family.name, refused=error))
            note = f"{family.name} rules of this Service are refused on this node: {error}"
            self._announce(service_warning(key, "FailedToProgram", "Sync", note))

    def _update_checks(self, family: Family, pipeline: Pipeline) -> None:
        failures = family.checks.update(pipeline.health_checks, pipeline.dialect.node_port_addresses)
        for key, failure in failures.items():
            if family.check_failures.get(key) != failure:
                log.error("no health check", extra=fields(service=key, family=family.name, error=failure))
                self._announce(service_warning(key, "FailedToStartServiceHealthcheck", "Listen", failure))
        family.check_failures = failures

    def _end_stale_flows(self, pipeline: Pipeline) -> None:
        suspects = pipeline.frontends.suspects()
        if suspects:
            name = pipeline.dialect.family
            with self._metrics.flows.labels(name).time():
                flows = stale(conntrack.udp_flows(name), suspects, links.local_addresses())
                self._metrics.flows_deleted.labels(name).inc(conntrack.delete(name, flows))
        pipeline.frontends.settled()

    def _glance(self, family: Family, now: float) -> None:
        """Do legacy tables have as many rules as after our last write?"""
        family.glance_at = now + GLANCE_SECONDS
        if family.looks_different():
            family.disturbed(now)

    def _audit(self, family: Family, now: float) -> None:
        """Does the kernel still hold what was written, on the addresses that the node has now?"""
        pipeline = self._pipeline(family)
        self._reshape(family, pipeline)
        if pipeline.needs_full:
            family.pace.audited(now, took=0.0)
            self._request(family)
        elif family.audited_generation and family.audited_generation == family.generation():
            family.pace.audited(now, took=0.0)  # nobody has written anything since
        else:
            self._look(family, pipeline)

    def _look(self, family: Family, pipeline: Pipeline) -> None:
        family.pace.audit_begins()
        wanted = pipeline.picture()
        self._beside(lambda: look(family.iptables, wanted, family.generation, self._clock))

    def _judge(self, family: Family, looked: Looked, now: float) -> None:
        """What a look found leads to healing, to another look, or to nothing."""
        family.looked = None
        pipeline = self._pipeline(family)
        family.pace.audited(self._clock(), looked.seconds)
        if looked.error:
            log.error("audit failed", extra=fields(family=family.name, error=looked.error))
        found = pipeline.unwritten(looked.differences)
        if found is None or looked.error:
            family.suspected, family.healing = frozenset(), False
            return
        if looked.disturbed and found - family.doubts.misread and not family.suspected:
            family.suspected = found
            self._look(family, pipeline)
            return
        if looked.disturbed:
            found &= family.suspected
        healing, family.healing, family.suspected = family.healing, False, frozenset()
        new = found - family.doubts.misread
        family.audited_generation = 0 if looked.disturbed or new else looked.generation
        if healing:
            self._healed(family, found)
        elif new and not self._gives_way(now):
            self._heal(family, pipeline, found, now, looked)

    def _gives_way(self, now: float) -> bool:
        """Whether another program serves Services here: its rules are as good as ours, but not both in turns."""
        found, before = self._rival(), self._conflict
        self._conflict, self._look_at = found, now + GLANCE_SECONDS
        self.health.gives_way = bool(found)
        if bool(found) == bool(before):
            return bool(found)
        if found:
            log.error("nothing is written any more", extra=fields(conflict=found))
        else:
            log.warning("the other program is gone: writing again", extra=fields(conflict=before))
        for family in self._families:
            if found:
                family.state = family.state.failed(self._wall(), found)
            elif family.pipeline is not None:
                family.pipeline.failed()
                self._request(family)
        return bool(found)

    def _look_closely(self, family: Family, now: float) -> None:
        """Do the chains that somebody wrote to still hold what they should, or those that all services need?"""
        differences, found, blind = family.look_closely(self._clock)
        if not differences or self._gives_way(now):
            return
        pipeline = self._pipeline(family)
        if blind:
            self._heal(family, pipeline, differences, now)
        else:
            self._mend(family, pipeline, differences, found, now)
            if family.still(differences, self._clock):
                family.pace.disturbed(self._clock())

    def _heal(
        self, family: Family, pipeline: Pipeline, differences: Differences, now: float, looked: Looked | None = None
    ) -> None:
        """Undoes somebody else's changes, and looks whether that has helped. Without `looked`, there may be more."""
        if looked and len(pipeline.owners([picture.key(name) for name, _ in differences])) <= MOST_MENDED:
            self._mend(family, pipeline, differences, looked.found, now)
        else:
            family.looked_last = looked
            self._healing(family, differences)
            pipeline.failed()
            self._pass(family, now)
        if family.pace.auditing:
            family.pace.disturbed(now)
        elif not pipeline.needs_full:
            family.healing = True
            self._look(family, pipeline)

    def _mend(self, family: Family, pipeline: Pipeline, differences: Differences, found: Installed, now: float) -> None:
        """Writes just these chains, of which that was found."""
        self._healing(family, differences)
        family.mending = [picture.key(name) for name, _ in differences], found
        self._pass(family, now)
        family.mending = None

    def _healing(self, family: Family, differences: Differences) -> None:
        log.warning(
            "somebody else changed our rules: restoring them",
            extra=fields(family=family.name, chains=len(differences), changed=shown(differences)),
        )
        self._metrics.healed.labels(family.name).inc()
        family.state = family.state.healing()
        self._request(family)

    def _healed(self, family: Family, after: Differences) -> None:
        """Takes what still differs after a healing."""
        if not family.doubts.healed(after):
            family.pace.disturbed(self._clock())
        elif after:
            log.error(
                "this iptables shows rules otherwise than they were written: they are not audited",
                extra=fields(family=family.name, chains=len(after), first=min(after)[0]),
            )

    # -- the node

    def _pipeline(self, family: Family) -> Pipeline:
        if family.pipeline is None:
            family.pipeline = Pipeline(*family.facts(self._node_name, self._node))
        return family.pipeline

    def _reshape(self, family: Family, pipeline: Pipeline) -> bool:
        try:
            return pipeline.reshape(*family.facts(self._node_name, self._node))
        except LinkError as error:  # the next audit asks again
            log.error("node not looked at", extra=fields(family=family.name, error=error))
            return False

    def _report_problems(self, family: Family, pipeline: Pipeline) -> None:
        for key, problems in self._problems.take(family.name, pipeline.problems):
            log.warning("object partly ignored", extra=fields(service=key, problems="; ".join(problems)))


def _endpoints_of(slice_: KubeObject | None) -> int:
    return len(slice_.endpoints or ()) if isinstance(slice_, EndpointSlice) else 0

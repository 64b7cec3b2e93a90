"""One address family at work: its writer, its pipeline, its pace, and what is remembered between passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from svcagent import names, skeleton
from svcagent import node as host
from svcagent.audit import Looked
from svcagent.compile import ChainKey
from svcagent.dialect import Dialect, dialect
from svcagent.doubts import Differences, Doubts
from svcagent.healthcheck import HealthChecks
from svcagent.options import Options
from svcagent.pace import Pace
from svcagent.patch import Installed, Patch, installed
from svcagent.picture import key
from svcagent.pipeline import Pipeline
from svcagent.resolve import NodeView
from svcagent.status import FamilyState
from svcagent.triggers import Triggers
from svcagent.writing import Way, Writer
from svckube.objects import Node
from svcnet import accounting, links, notices
from svcnet.notices import Named
from svcnet.writers import IptablesError

MOST_SUSPECTS = 16
"""Chains that are read one by one; that takes a hundredth of a second each, whatever else is there."""


class Family:
    """The state of the loop that each family has of its own. `announced` is whether the kernel tells of changes.

    looked              what an audit found that nobody has dealt with yet
    suspected           what differed in the last look, if that was disturbed
    healing             whether the look under way is to tell if healing has helped
    audited_generation  of nf_tables when all was found as it should be; 0 if it is not known, or not now
    suspects            chains that somebody else may have changed; `blind` if those are not all of them
    mending             chains that the next pass shall write as well, and what was found of them
    looked_last         a look whose findings the next full pass may start from
    """

    def __init__(self, writer: Writer, options: Options, checks: HealthChecks, started: float) -> None:
        self._options = options
        self.checks = checks
        self.writer = writer
        self.iptables = writer.iptables
        self.name = self.iptables.family
        self.random_fully = self.iptables.random_fully()
        self.drop_invalid = not host.conntrack_is_liberal()
        self.pace = Pace(options.min_sync_period, options.sync_period, max_retry=options.sync_period)
        self.touched: set[str] = set()
        self.triggers = Triggers(started)
        self.pipeline: Pipeline | None = None
        self.doubts = Doubts()
        self.state = FamilyState(writer=writer.way)
        self.failures = 0
        self.check_failures: dict[str, str] = {}
        self.announced = self.iptables.on_nft()
        self.glance_at = 0.0
        self.looked: Looked | None = None
        self.suspected: Differences = frozenset()
        self.healing = False
        self.audited_generation = 0
        self.suspects: frozenset[ChainKey] = frozenset()
        self.blind = False
        self.mending: tuple[list[ChainKey], Installed] | None = None
        self.looked_last: Looked | None = None
        self._look_closely_at = 0.0
        self._fingerprint = b""

    def wait(self, now: float, at_most: float) -> float:
        """Seconds until something is due, never negative."""
        return self.pace.wait(now, min(at_most, max(0.0, self._look_closely_at - now)) if self.suspects else at_most)

    def disturbed(self, now: float, chains: Named | None = None) -> None:
        """Somebody else changed these chains, or it is not known which."""
        ours: frozenset[ChainKey] | None = None
        if chains is not None and self.pipeline is not None:
            ours = self.pipeline.concerned((table, chain) for family, table, chain in chains if family == self.name)
        if ours is not None and not self.blind and len(self.suspects | ours) <= MOST_SUSPECTS:
            self.suspects |= ours
            return
        if self.announced:
            self.suspects, self.blind = frozenset(skeleton.VITAL), True
        self.pace.disturbed(now)

    def close_look_due(self, now: float) -> bool:
        return bool(self.suspects) and now >= self._look_closely_at

    def look_closely(self, clock: Callable[[], float]) -> tuple[Differences, Installed, bool]:
        """What of the suspects does not hold what it should, what was found of them, and whether there may be more.

        Where the kernel cannot be asked, a full look is asked for.
        """
        keys, blind, self.suspects, self.blind = self.suspects, self.blind, frozenset(), False
        if self.pipeline is not None and not self.pipeline.needs_full:
            try:
                found = self._closely(keys, clock)
                return self.pipeline.astray(keys, found) - self.doubts.misread, found, blind
            except (IptablesError, ValueError):
                self.pace.disturbed(clock())
        return frozenset(), Installed({}), blind

    def still(self, differences: Differences, clock: Callable[[], float]) -> bool:
        """Whether mending has changed nothing of these, or it cannot be told."""
        if self.pipeline is None or self.pipeline.needs_full:
            return False
        keys = [key(name) for name, _ in differences]
        with suppress(IptablesError, ValueError):
            return not differences.isdisjoint(self.pipeline.astray(keys, self._closely(keys, clock)))
        return True

    def _closely(self, keys: Iterable[ChainKey], clock: Callable[[], float]) -> Installed:
        """What the kernel holds of a few chains. Looks of this kind take half of the time at most."""
        began = clock()
        found = installed(self.iptables.chains(sorted(keys)))
        self._look_closely_at = 2 * clock() - began
        return found

    def there(self) -> Installed:
        """What the kernel holds: as the last look found it, if nobody has written since."""
        looked, self.looked_last = self.looked_last, None
        if looked and not looked.disturbed and looked.generation and looked.generation == self.generation():
            return looked.found
        return installed(self.iptables.dump())

    def write(self, patches: Callable[[], Iterable[Patch]]) -> Way | None:
        """As `Writer.write`."""
        way = self.writer.write(patches)
        if way and not self.announced:
            self._fingerprint = self._seen()
        return way

    def looks_different(self) -> bool:
        """Whether the legacy tables are not as large as after our last write, or as at the last look.

        Where most is gone, close looks are cheap; else reading one chain takes as long as reading all of them.
        """
        seen, before = self._seen(), self._fingerprint
        self._fingerprint = seen
        if 2 * notices.entries(seen) < notices.entries(before):
            self.suspects, self.blind = frozenset(skeleton.VITAL), True
        return seen != before

    def generation(self) -> int:
        """The generation of nf_tables, another one after each transaction; 0 where there is none."""
        try:
            return notices.generation() if self.announced else 0
        except OSError:
            return 0

    def _seen(self) -> bytes:
        try:
            return notices.fingerprint(self.name, "filter", "nat")
        except OSError:
            return b""  # no such table any more: that differs from every other answer

    def facts(self, node_name: str, node: Node | None) -> tuple[Dialect, NodeView]:
        """What shapes the rules now. LinkError if the node's addresses cannot be read."""
        labels = node.metadata.labels if node else None
        shape = dialect(
            self._options,
            self.name,
            node,
            links.local_addresses(),
            random_fully=self.random_fully,
            drop_invalid=self.drop_invalid,
            accounting=accounting.ensure(names.COUNTERS),
        )
        zone = labels.zone if labels else ""
        return shape, NodeView(node_name, zone, self._options.external_ip_ranges)

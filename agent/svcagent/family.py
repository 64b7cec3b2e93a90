"""One address family at work: its writer, its pipeline, its pace, and what is remembered between passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from svcagent import names
from svcagent import node as host
from svcagent.audit import Looked
from svcagent.dialect import Dialect, dialect
from svcagent.doubts import Differences, Doubts
from svcagent.healthcheck import HealthChecks
from svcagent.options import Options
from svcagent.pace import Pace
from svcagent.patch import Patch
from svcagent.pipeline import Pipeline
from svcagent.resolve import NodeView
from svcagent.status import FamilyState
from svcagent.triggers import Triggers
from svcagent.writing import Way, Writer
from svckube.objects import Node
from svcnet import accounting, links, notices


class Family:
    """The state of the loop that each family has of its own. `announced` is whether the kernel tells of changes.

    looked              what an audit found that nobody has dealt with yet
    suspected           what differed in the last look, if that was disturbed
    healing             whether the look under way is to tell if healing has helped
    audited_generation  of nf_tables when all was found as it should be; 0 if it is not known, or not now
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
        self._fingerprint = b""

    def write(self, patches: Callable[[], Iterable[Patch]]) -> Way | None:
        """As `Writer.write`."""
        way = self.writer.write(patches)
        if way and not self.announced:
            self._fingerprint = self._seen()
        return way

    def looks_different(self) -> bool:
        """Whether the legacy tables are not as large as after our last write, or as at the last look."""
        seen, before = self._seen(), self._fingerprint
        self._fingerprint = seen
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

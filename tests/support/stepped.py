"""The agent's own loop, driven by hand: real code, real kernel, and a clock that only the test moves.

An hour of audits and retries takes as long as the work in it. Call everything inside the namespace to be programmed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry

from support.worlds import NODE
from svcagent.events import Happening
from svcagent.metrics import Metrics
from svcagent.node import set_sysctls
from svcagent.options import parse as parse_options
from svcagent.sync import Agent
from svcagent.writing import Way, Writer
from svckube.objects import EndpointSlice, KubeObject, Node, Service
from svckube.store import Listed
from svckube.stream import Applied, Deleted
from svcnet.rules import FAMILIES, Family
from svcnet.writers import Flavour, Iptables

LEAVE_CONNTRACK = ("--conntrack-max-per-core", "0")  # read-only in a namespace


def writer_of(iptables: Iptables, way: Way | None = None) -> Writer:
    """The usual writer of a flavour, untried."""
    return Writer(iptables, way or ("restore" if iptables.flavour == "legacy" else "netlink"))


class Stepped:
    """An agent that has heard nothing yet. It writes as one does that starts on such a host, unless `way` is given."""

    def __init__(
        self,
        flavour: Flavour,
        *flags: str,
        families: Sequence[Family] = FAMILIES,
        node: str = NODE,
        announce: Callable[[Happening], None] = lambda _: None,
        way: Way | None = None,
    ) -> None:
        self.now = 1000.0
        self.registry = CollectorRegistry()
        options = parse_options([*LEAVE_CONNTRACK, *flags])
        set_sysctls(options)
        writers = [writer_of(Iptables(family, flavour), way) for family in families]
        self.agent = Agent(options, node, writers, Metrics(self.registry), self._clock, self._clock, announce)

    def _clock(self) -> float:
        return self.now

    def start(self, *found: KubeObject) -> None:
        """The three lists arrive, and what is due then is done."""
        kinds = (Service, EndpointSlice, Node)
        self.agent.receive([Listed(kind, tuple(each for each in found if isinstance(each, kind))) for kind in kinds])
        self.run(0)

    def say(self, *messages: KubeObject | Applied | Deleted, seconds: float = 2.0) -> None:
        """Watch events arrive (an object alone was applied); then time goes on for so long."""
        events = [Applied(each) if isinstance(each, KubeObject) else each for each in messages]
        self.agent.receive(events)
        self.run(seconds)

    def run(self, seconds: float) -> None:
        """Time goes on: everything that becomes due is done, at its moment."""
        end = self.now + seconds
        self.agent.step(self.now)
        while (wait := self.agent.wait(self.now)) <= end - self.now and self.now < end:
            self.now += max(wait, 0.001)
            self.agent.step(self.now)
        self.now = end

    def metric(self, name: str, family: Family = "IPv4") -> float:
        """The value of a series of one family."""
        found = self.registry.get_sample_value(name, {"ip_family": family})
        return found or 0.0

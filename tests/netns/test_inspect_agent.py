"""What the agent's loop tells of itself, beside what the kernel really holds."""

from __future__ import annotations

import time
from collections import Counter
from http import HTTPStatus

import pytest
from prometheus_client import CollectorRegistry

from support import commands
from support.flows import CLUSTER_CIDR, NODE_NAME, OBJECTS
from support.judge import objects
from support.site import lone_host
from support.stepped import writer_of
from support.waiting import eventually
from svcagent import status
from svcagent.metrics import Metrics
from svcagent.options import parse as parse_options
from svcagent.sync import Agent
from svckube import observe
from svckube.objects import EndpointSlice, Node, Service
from svckube.store import Listed
from svcnet.rules import FAMILIES, dump_lines
from svcnet.writers import Iptables

pytestmark = pytest.mark.netns


def held(dump: str) -> tuple[Counter[str], Counter[str]]:
    """(chains, rules) of ours by table, as the kernel shows them."""
    lines = [each for each in dump_lines(dump) if each[1].startswith("KUBE-")]
    return Counter(table for table, _, text in lines if not text), Counter(table for table, _, text in lines if text)


def programmed() -> Agent:
    """An agent that has done its first pass in the namespace of the calling thread."""
    chosen = parse_options(["--cluster-cidr", CLUSTER_CIDR, "--conntrack-max-per-core", "0"])
    writers = [writer_of(Iptables(family, "nft")) for family in FAMILIES]
    agent = Agent(chosen, NODE_NAME, writers, Metrics(CollectorRegistry()))
    for kind in (Service, EndpointSlice, Node):
        agent.receive([Listed(kind, tuple(each for each in objects() if isinstance(each, kind)))])
    agent.step(time.monotonic())
    return agent


def test_status_counts_what_the_kernel_holds(capsys: pytest.CaptureFixture[str]) -> None:
    with lone_host("status") as host, host.entered():
        agent = programmed()
        found = agent.status()
        for family, state in found.families.items():
            assert (Counter(state.chains), Counter(state.rules)) == held(Iptables(family, "nft").dump())
            assert state.synced_since
        slices = [each for each in OBJECTS if each["kind"] == "EndpointSlice"]
        assert found.endpoint_slices == len(slices)
        assert found.endpoints == sum(len(each["endpoints"]) for each in slices)
        assert found.services == sum(each["kind"] == "Service" for each in OBJECTS)

        Iptables("IPv4", "nft").run("-t", "nat", "-F", "KUBE-MARK-MASQ")

        def healed() -> bool:
            agent.step(time.monotonic() + 3600)  # an hour later an audit is due
            return agent.status().families["IPv4"].healed == 1

        eventually(healed, "the audit finds the flushed chain")
        state = agent.status().families["IPv4"]
        assert (Counter(state.chains), Counter(state.rules)) == held(Iptables("IPv4", "nft").dump())

        server = observe.serve(
            "127.0.0.1:0", {status.PATH: lambda: (HTTPStatus.OK, "application/json", status.body(agent.status()))}
        )
        try:
            assert commands.status("--metrics-bind-address", server.address) == 0
        finally:
            server.close()
    assert "IPv6: synced since" in capsys.readouterr().out

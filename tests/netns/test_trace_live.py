"""`trace --live`: what the kernel says of a packet's way, beside what `trace` computes from the same rules.

For every row of the flow table one packet is sent and followed; the rules it met must be those of one of the computed
outcomes, and so must its end.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.flows import CLIENT, CLUSTER_CIDR, FLOWS, NODE_NAME, Flow
from support.judge import NODE_ADDRESSES, objects, packet
from support.site import Site, lone_host, site
from support.stepped import Stepped
from svcagent.inspection import live
from svcagent.inspection.sources import SourceError
from svcnet.nftrace import TABLE, LiveTrace, LiveTraceError
from svcnet.rules import FAMILIES, Family, Tables, parse
from svcnet.trace import Host, Outcome, Packet, trace
from svcnet.writers import Iptables

pytestmark = pytest.mark.netns

HOST = Host(NODE_ADDRESSES)


@pytest.fixture(scope="module")
def programmed() -> Iterator[tuple[Site, dict[Family, Tables]]]:
    with site("live") as found:
        with found.node.entered():
            Stepped("nft", "--cluster-cidr", CLUSTER_CIDR, node=NODE_NAME).start(*objects())
            tables = {family: parse(Iptables(family, "nft").dump()) for family in FAMILIES}
        yield found, tables


def followed(found: Site, flow: Flow, tables: Tables) -> tuple[Packet, Outcome]:
    """Sends one packet of a row, and what the kernel tells of it."""
    meant = packet(flow)
    sending = threading.Thread(target=found.send, args=(flow, 1))
    with found.node.entered():
        tracing = LiveTrace("IPv6" if ":" in flow.address else "IPv4", flow.address, flow.port, flow.protocol)
        with tracing:
            sending.start()
            told = tracing.first(10.0)
    sending.join()
    assert told is not None
    return meant, live.outcome(told, tables, HOST)


# A sticky Service remembers its client in the kernel; what is computed knows of no earlier packet.
ROWS = [flow for flow in FLOWS if not flow.sticky]


@pytest.mark.parametrize("flow", ROWS, ids=[flow.id for flow in ROWS])
def test_the_kernel_meets_the_rules_that_trace_computes(
    programmed: tuple[Site, dict[Family, Tables]], flow: Flow
) -> None:
    found, all_tables = programmed
    tables = all_tables["IPv6" if ":" in flow.address else "IPv4"]
    meant, told = followed(found, flow, tables)
    computed = trace(tables, HOST, meant)

    def story(one: Outcome) -> tuple[object, ...]:
        steps = [str(step) for step in one.steps]
        return one.verdict, one.destination, one.port, one.masqueraded, one.delivered, steps

    assert story(told) in [story(one) for one in computed]


def test_nothing_is_left_behind_even_after_a_kill() -> None:
    """The table belongs to a socket: it goes with the process."""
    program = (
        "import sys, time\nfrom svcnet.nftrace import LiveTrace\n"
        "with LiveTrace('IPv4', '10.96.0.20', 80, 'tcp') as tracing:\n"
        "    print('on', flush=True); tracing.first(60.0)\n"
    )
    with lone_host("live-kill") as host:
        argv = host.argv(sys.executable, "-c", program)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "on\n"
            with host.entered(), pytest.raises(LiveTraceError, match=f"no other trace beside it .table {TABLE}"):
                LiveTrace("IPv4", "10.96.0.20", 80, "tcp").__enter__()
            process.kill()
            process.wait()
        with host.entered(), LiveTrace("IPv4", "10.96.0.20", 80, "tcp"):
            pass  # there is room for another one


def test_nobody_comes_by() -> None:
    with lone_host("live-none") as host, host.entered():
        tables = parse(Iptables("IPv4", "nft").dump())
        waited = Packet(CLIENT, "10.96.0.20", 80, "tcp", "eth0")
        said: list[str] = []
        with pytest.raises(
            SourceError, match=r"no new connection to 10\.96\.0\.20:80 met this node's rules within 0 s"
        ):
            live.seen(waited, False, tables, HOST, 0.1, said.append)
    assert said == [f"waiting 0 s for the first tcp packet from {CLIENT} to 10.96.0.20:80 to come by this node"]


def test_the_command_sends_what_it_follows(programmed: tuple[Site, dict[Family, Tables]]) -> None:
    found, _ = programmed
    program = Path(sys.executable).with_name("svcplane-agent")

    def traced(*flags: str) -> subprocess.CompletedProcess[str]:
        argv = (program, "trace", "--live", "--netns", found.node.name, *flags, "web")
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    done = traced("--iptables-flavour", "nft")
    assert done.returncode == 0, done.stderr
    assert "(iptables-nft), as the kernel met them" in done.stdout
    assert "-j DNAT --to-destination 10.244." in done.stdout
    assert "=> sent to 10.244." in done.stdout
    for flags, refusal in (
        (("--iptables-flavour", "legacy"), "--live needs iptables-nft"),
        (("--rules", "computed"), "--live follows a packet through installed rules"),
    ):
        refused = traced(*flags)
        assert (refused.returncode, refusal in refused.stderr) == (1, True), refused.stderr

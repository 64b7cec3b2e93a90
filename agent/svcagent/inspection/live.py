"""What a real packet met: the kernel's own trace, told like a computed one.

In: the packet that is meant, the installed rules, how long to wait. Out: the packet as it came and its one outcome.
If the node itself is the sender, the packet is sent here: the first of a TCP connection that is given up at once, or an
empty UDP datagram. Otherwise somebody else must send it while we wait. Refused with `SourceError`: none came in time.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from fractions import Fraction

import msgspec

from svcagent.inspection.sources import SourceError
from svcagent.names import host_port
from svcnet.nftrace import Followed, LiveTrace
from svcnet.rules import Masquerade, Reject, Tables, family_of
from svcnet.trace import Host, Outcome, Packet, Step


def seen(
    packet: Packet, anybody: bool, tables: Tables, host: Host, seconds: float, tell: Callable[[str], None]
) -> tuple[Packet, Outcome]:
    """Waits for a packet like this one; `anybody` may have sent it. Raises SourceError, LiveTraceError."""
    family = family_of(packet.destination)
    goal = host_port(packet.destination, packet.port)
    source = "" if anybody or not packet.in_interface else packet.source
    with LiveTrace(family, packet.destination, packet.port, packet.protocol, source) as tracing:
        if packet.in_interface:
            whom = f" from {source}" if source else ""
            tell(f"waiting {seconds:.0f} s for the first {packet.protocol} packet{whom} to {goal} to come by this node")
        else:
            _send(packet)
        followed = tracing.first(seconds)
    if followed is None:
        raise SourceError(f"no new connection to {goal} met this node's rules within {seconds:.0f} s")
    came = msgspec.structs.replace(packet, source=followed.source)
    return came, outcome(followed, tables, host)


def outcome(followed: Followed, tables: Tables, host: Host) -> Outcome:
    """The outcome of a packet that was followed through these rules; a rule that changed meanwhile is left out."""
    steps = tuple(
        Step(met.table, met.chain, met.number, tables[met.table][met.chain].rules[met.number - 1])
        for met in followed.met
        if 0 < met.number <= len(_rules(tables, met.table, met.chain))
    )
    targets = [step.rule.target for step in steps]
    refused = any(isinstance(target, Reject) for target in targets)
    verdict = "REJECT" if refused else "DROP" if followed.dropped else "ACCEPT"
    local = "filter INPUT" in followed.chains or host.is_local(followed.destination)
    return Outcome(
        share=Fraction(1),
        verdict=verdict,
        destination=followed.destination,
        port=followed.port,
        masqueraded=any(isinstance(target, Masquerade) for target in targets),
        delivered="" if verdict != "ACCEPT" else "local" if local else "forwarded",
        steps=steps,
        rules_met=len(followed.met),
    )


def _rules(tables: Tables, table: str, chain: str) -> tuple[object, ...]:
    found = tables.get(table, {}).get(chain)
    return tuple(found.rules) if found else ()


def _send(packet: Packet) -> None:
    """Sends the packet from this thread's namespace and does not wait for an answer."""
    kind = socket.SOCK_DGRAM if packet.protocol == "udp" else socket.SOCK_STREAM
    family = socket.AF_INET6 if ":" in packet.destination else socket.AF_INET
    if packet.protocol == "sctp":
        raise SourceError("an SCTP packet is not sent from here; give --from outside and send it yourself")
    with socket.socket(family, kind | socket.SOCK_NONBLOCK) as sending, contextlib.suppress(OSError):
        sending.connect((packet.destination, packet.port))
        sending.send(b"")

"""A trace for people and for programs: the rules in the order a packet meets them, each told once.

In: a `Report`, which is a traced packet with its outcomes and reasons. Out: text, or JSON. Outcomes of one Service
mostly share their way to the choice of an endpoint and from there on; only what lies between is told for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from svcagent.inspection.explain import Reason
from svcagent.names import host_port
from svcnet.rules import render
from svcnet.trace import Outcome, Packet, Step


class Report(msgspec.Struct, frozen=True):
    """`source` and `destination` say who that is, `rules` where the rules are from, `holders` who has an address."""

    packet: Packet
    source: str
    destination: str
    rules: str
    outcomes: tuple[Outcome, ...]
    reasons: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()
    holders: Mapping[str, str] = {}


class Way(msgspec.Struct, frozen=True):
    """Outcomes that end alike. `heads` are the steps of each that no other has in common, `tail` those of all."""

    outcomes: tuple[Outcome, ...]
    heads: tuple[tuple[Step, ...], ...]
    tail: tuple[Step, ...]


def common(sequences: Sequence[Sequence[Step]]) -> int:
    """How many steps all of them begin with."""
    shortest = min(sequences, key=len)
    return next(
        (index for index, step in enumerate(shortest) if any(other[index] != step for other in sequences)),
        len(shortest),
    )


def ways(outcomes: Sequence[Outcome]) -> tuple[tuple[Step, ...], list[Way]]:
    """(the steps that every outcome begins with, the outcomes from there on, those together that end alike)."""
    start = common([each.steps for each in outcomes])
    alike: dict[tuple[str, str, bool, tuple[str, ...]], list[Outcome]] = {}
    for each in outcomes:
        alike.setdefault((each.verdict, each.delivered, each.masqueraded, each.unknown), []).append(each)
    found = []
    for group in alike.values():
        rests = [each.steps[start:] for each in group]
        end = common([rest[::-1] for rest in rests]) if len(group) > 1 else 0
        heads = tuple(rest[: len(rest) - end] for rest in rests)
        found.append(Way(tuple(group), heads, rests[0][len(rests[0]) - end :]))
    return outcomes[0].steps[:start], found


def text(report: Report) -> str:
    """Lines for people."""
    packet = report.packet
    inward = f" by {packet.in_interface}" if packet.in_interface else ""
    to = host_port(packet.destination, packet.port)
    lines = [
        f"{packet.protocol} {packet.source} ({report.source}){inward} -> {to}{_bracketed(report.destination)}",
        f"rules: {report.rules}",
    ]
    start, found = ways(report.outcomes)
    lines += ["", *(f"  {step}" for step in start)] if start else []
    several = len(report.outcomes) > 1
    for number, way in enumerate(found):
        lines += [""] if number else []
        for outcome, head in zip(way.outcomes, way.heads, strict=True):
            if several:
                lines.append(f"{float(outcome.share):6.1%} {_landing(outcome, report)}")
            lines += [f"       {step}" for step in head]
        if several and way.tail:
            lines.append("  then, for each of these" if len(way.outcomes) > 1 else "  then")
        lines += [f"  {step}" for step in way.tail]
        lines += ["", f"=> {_ending(way, report)}"]
    lines += [f"   not interpreted: {words}" for words in sorted({w for each in report.outcomes for w in each.unknown})]
    lines += [f"why: {reason.message}" for reason in report.reasons]
    lines += [f"note: {note}" for note in report.notes]
    return "\n".join(lines) + "\n"


def _bracketed(words: str) -> str:
    return f" ({words})" if words else ""


def _landing(outcome: Outcome, report: Report) -> str:
    where = host_port(outcome.destination, outcome.port)
    return f"{where}{_bracketed(report.holders.get(outcome.destination, ''))}"


_STOPPED = {"REJECT": "refused at once (REJECT)", "DROP": "dropped without an answer (DROP)"}


def _ending(way: Way, report: Report) -> str:
    first = way.outcomes[0]
    met = sorted({each.rules_met for each in way.outcomes})
    after = f"after {met[0]}{f' to {met[-1]}' if len(met) > 1 else ''} rules"
    if first.verdict in _STOPPED:
        return f"{_STOPPED[first.verdict]} {after}"
    sender = "masqueraded: it sees this node's address" if first.masqueraded else "it sees the sender's address"
    where = _landing(first, report) if len(way.outcomes) == 1 else f"one of {len(way.outcomes)} endpoints"
    what = "delivered on this node at" if first.delivered == "local" else "sent to"
    return f"{what} {where}, {sender}, {after}"


class _PacketJson(msgspec.Struct, rename="camel"):
    source: str
    destination: str
    port: int
    protocol: str
    in_interface: str


class _StepJson(msgspec.Struct, rename="camel"):
    table: str
    chain: str
    number: int
    rule: str


class _OutcomeJson(msgspec.Struct, rename="camel"):
    probability: float
    verdict: str
    address: str
    port: int
    holder: str
    masqueraded: bool
    delivered: str
    rules_met: int
    steps: list[_StepJson]
    not_interpreted: list[str]


class _ReportJson(msgspec.Struct, rename="camel"):
    packet: _PacketJson
    source: str
    destination: str
    rules: str
    outcomes: list[_OutcomeJson]
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...]


def json(report: Report) -> bytes:
    """One JSON object: packet, outcomes with all their steps, reasons. `probability` is 0 to 1."""
    outcomes = [
        _OutcomeJson(
            probability=float(each.share),
            verdict=each.verdict,
            address=each.destination,
            port=each.port,
            holder=report.holders.get(each.destination, ""),
            masqueraded=each.masqueraded,
            delivered=each.delivered,
            rules_met=each.rules_met,
            steps=[_StepJson(step.table, step.chain, step.number, render(step.rule)) for step in each.steps],
            not_interpreted=list(each.unknown),
        )
        for each in report.outcomes
    ]
    sent = report.packet
    packet = _PacketJson(sent.source, sent.destination, sent.port, sent.protocol, sent.in_interface)
    whole = _ReportJson(packet, report.source, report.destination, report.rules, outcomes, report.reasons, report.notes)
    return msgspec.json.encode(whole)

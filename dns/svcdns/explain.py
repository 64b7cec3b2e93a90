"""Why a question is answered as it is, in lines for people: `svcplane-dns lookup`.

In: a question, its outcome, the index and the zones. Out: comment lines that say which zone decided, what the name
speaks of and what is known of it, and the records as in a zone file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from svcdns.answer import Chase, Elsewhere, Outcome, Question, Reply, Zones
from svcdns.index import Index
from svcdns.names import NamespaceName, PodName, ServiceName, is_reverse, labels_above, meaning
from svcdns.records import NOERROR, RCODE_NAMES, Name, line_of, text_of

MOST_NAMED = 5


def explained(question: Question, outcome: Outcome, index: Index, zones: Zones) -> Iterator[str]:
    """What would be answered, and why, in lines."""
    if isinstance(outcome, Elsewhere):
        yield f"; an upstream is asked: {outcome.because}"
        return
    reply = outcome if isinstance(outcome, Reply) else outcome.reply
    yield f"; {RCODE_NAMES[reply.rcode]}{_without_records(reply)}: {reply.because}"
    yield from (f"; {line}" for line in _known(question, index, zones))
    for section, records in (
        ("answer", reply.answer),
        ("authority", reply.authority),
        ("additional", reply.additional),
    ):
        if records:
            yield f"; {section}"
            yield from map(line_of, records)
    if isinstance(outcome, Chase):
        yield f"; an upstream is asked for {text_of(outcome.target)}, and its answer appended"


def is_nodata(outcome: Outcome) -> bool:
    """Whether the name exists, without a record of the type."""
    return isinstance(outcome, Reply) and outcome.rcode == NOERROR and not outcome.answer


def _without_records(reply: Reply) -> str:
    return "" if reply.answer or reply.rcode != NOERROR else " without records"


def _known(question: Question, index: Index, zones: Zones) -> Iterator[str]:
    zone, labels = _place(question.lower, zones)
    if zone is None:
        return
    yield f"decided by kubernetes, zone {text_of(zone)}"
    name = meaning(labels) if not is_reverse(zone) else None
    match name:
        case ServiceName():
            yield from _of_service(name, index)
        case NamespaceName() | PodName():
            yield f"{'no ' if name.namespace not in index.namespaces else ''}namespace {name.namespace}"
        case None if labels:
            yield "PTR records are those of ClusterIPs and of endpoints that are ready"


def _place(name: Name, zones: Zones) -> tuple[Name | None, list[str]]:
    for zone in zones.all:
        labels = labels_above(name, zone)
        if labels is not None:
            return zone, labels
    return None, []


def _of_service(name: ServiceName, index: Index) -> Iterator[str]:
    service = index.service(name.key)
    if service is None:
        own = name.key.partition("/")[2]
        places = sorted(one for one in index.namespaces if index.service(f"{one}/{own}") is not None)
        if places:
            more = "" if len(places) <= MOST_NAMED else f" and {len(places) - MOST_NAMED} more"
            yield f"a Service {own} is in: {' '.join(places[:MOST_NAMED])}{more}"
        return
    endpoints = index.endpoints(name.key)
    ready = sum(map(len, endpoints.values()))
    if service.external is not None:
        yield f"{name.key} is an ExternalName: an alias of {text_of(service.external)}"
    elif service.headless:
        yield f"{name.key} is headless: its name stands for its endpoints; addresses that are ready: {ready}"
    elif not service.targets:
        yield f"{name.key} has no address: none is given yet, or it is an ExternalName that is none in DNS"
    else:
        without = "; without one, the address refuses connections" if not ready else ""
        yield f"{name.key} has a ClusterIP; endpoint addresses that are ready: {ready}{without}"
    if name.endpoint and name.endpoint not in endpoints:
        yield f"endpoints: {_some(endpoints)}"
    if name.port:
        yield f"ports: {_some({f'_{port.name}._{port.protocol}' for one in service.targets for port in one.ports})}"


def _some(names: Iterable[str]) -> str:
    found = sorted(names)
    return " ".join(found[:MOST_NAMED]) + (" ..." if len(found) > MOST_NAMED else "") if found else "none"


def is_found(outcome: Outcome) -> bool:
    """Whether a resolver has what it wants, and asks for no other name."""
    reply = outcome.reply if isinstance(outcome, Chase) else outcome
    return isinstance(reply, Reply) and reply.rcode == NOERROR and bool(reply.answer)


def next_step(outcome: Outcome) -> str:
    """What a resolver makes of an outcome that is not what it wants."""
    if isinstance(outcome, Elsewhere):
        return "at NXDOMAIN from there the resolver goes on"
    if is_nodata(outcome):
        return "glibc and Go go on; musl ends here"
    return "the resolver goes on"

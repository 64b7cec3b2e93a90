"""A zone whole, for those who may have it (AXFR, RFC 5936), as CoreDNS's plugin `transfer` gives it.

In: one message of a TCP connection, and who sent it. Out: the messages to send back, made one by one from the index as
it was at the beginning; or None if the message asks for no transfer, or for one that is refused like any other.

A zone holds what names below it answer: its SOA and nameservers, and of each service in a namespace that is there the
addresses, the CNAME, the SRV records, and the endpoints if it is headless. Pods have no place in it, nor have zones of
addresses. IXFR is answered by the zone's SOA alone if the client's serial is ours, else like AXFR (RFC 1995 section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from typing import TypeAlias

from svcdns import wire
from svcdns.answer import Question, Reply, Zones, answer
from svcdns.index import Index, ServiceRecords
from svcdns.names import is_reverse, labels_above, relative
from svcdns.records import AAAA, AXFR, CNAME, IXFR, NOERROR, NS, SERVFAIL, SOA, SRV, A, Name, Record
from svcdns.settings import Transfer

Whole: TypeAlias = Callable[[bytes, str], Iterator[bytes] | None]
"""`messages` for what is served: a message and who sent it."""

CHUNK = 200  # records of a message, at most some 60 octets each


def messages(
    packet: bytes, peer: str, transfers: Sequence[Transfer], index: Index, zones: Zones, synced: bool
) -> Iterator[bytes] | None:
    """The messages of a transfer to `peer`. None: it is for `respond` to say something."""
    query = wire.read(packet)
    if not isinstance(query, wire.Query) or query.question.type not in (AXFR, IXFR) or query.klass != wire.IN:
        return None
    zone = query.question.lower
    if zone not in zones.all or is_reverse(zone) or not _may(peer, zone, transfers):
        return None
    if not synced:
        because = "not listed yet, and half a zone is none"
        return iter([wire.write(query, Reply(SERVFAIL, because, authoritative=False), wire.TCP_LIMIT)])
    if query.question.type == IXFR and wire.serial_held(query) == index.serial:
        soa = _said(index, zones, zone, SOA)
        return iter([wire.write(query, Reply(NOERROR, "nothing new", soa), wire.TCP_LIMIT)])
    return _written(query, _zone(index.snapshot(), zones, zone))


def _may(peer: str, zone: Name, transfers: Sequence[Transfer]) -> bool:
    address = ip_address(peer.partition("%")[0])
    sender = getattr(address, "ipv4_mapped", None) or address
    below = (one for one in transfers if any(labels_above(zone, each) is not None for each in one.zones))
    return any(sender in network for one in below for network in one.to)


def _written(query: wire.Query, records: Iterator[Record]) -> Iterator[bytes]:
    chunk: list[Record] = []
    for record in records:
        chunk.append(record)
        if len(chunk) == CHUNK:
            yield wire.write(query, Reply(NOERROR, "the zone", tuple(chunk)), wire.TCP_LIMIT)
            chunk = []
    if chunk:
        yield wire.write(query, Reply(NOERROR, "the zone", tuple(chunk)), wire.TCP_LIMIT)


def _zone(index: Index, zones: Zones, zone: Name) -> Iterator[Record]:
    soa = _said(index, zones, zone, SOA)
    yield from soa
    reply = answer(Question(zone, zone, NS), index, zones)
    if isinstance(reply, Reply):
        yield from reply.answer
    for key, records in index.services():
        namespace, _, name = key.partition("/")
        if namespace in index.namespaces:
            yield from _service(index, zones, relative(name, namespace, "svc") + zone, records)
    yield from soa


def _service(index: Index, zones: Zones, own: Name, records: ServiceRecords) -> Iterator[Record]:
    if records.external is not None:
        yield from _said(index, zones, own, CNAME)
        return
    names = [own] + ([relative(label) + own for label in records.endpoints] if records.headless else [])
    for name in names:
        for kind in (A, AAAA):
            yield from _said(index, zones, name, kind)
    if not records.headless:
        yield from _said(index, zones, own, SRV)
    ports = {(port.name, port.protocol): None for target in records.targets for port in target.ports if port.name}
    for port, protocol in ports:
        yield from _said(index, zones, relative("_" + port, "_" + protocol) + own, SRV)


def _said(index: Index, zones: Zones, name: Name, kind: int) -> tuple[Record, ...]:
    """What a question for it is answered."""
    reply = answer(Question(name, name, kind), index, zones)
    return reply.answer if isinstance(reply, Reply) else ()

"""What the server says to a question: CoreDNS's kubernetes plugin as one function of the question and the index.

In: a `Question`, an `Index`, the `Zones` served. Out: a `Reply`, or one of the two things that need a network and are
therefore left to the caller: `Elsewhere` (not ours, ask an upstream) and `Chase` (a CNAME leads out of our zones:
resolve its target as if a client had asked, and append what comes). Nothing here waits, and nothing here fails.

Negative answers carry the zone's SOA (RFC 2308). NODATA says "the name exists", NXDOMAIN "there is nothing of this
name". A resolver may apply NXDOMAIN to all types and to everything below the name (RFC 8020), so a name that exists
is never NXDOMAIN here. CoreDNS says it to some types other than A; dns/README.md lists them.
Until the cluster's objects are listed an NXDOMAIN could be a lie and is SERVFAIL instead; what is known is answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

from svcdns.index import NO_PORT, Index, Port, ServiceRecords, Target
from svcdns.names import (
    Empty,
    Meaning,
    Meaningless,
    Nameserver,
    NamespaceName,
    PodName,
    SchemaVersion,
    ServiceName,
    is_reverse,
    labels_above,
    meaning,
    relative,
    reverse_address,
    undashed,
)
from svcdns.records import (
    AAAA,
    AXFR,
    CNAME,
    IXFR,
    NOERROR,
    NS,
    NXDOMAIN,
    PTR,
    REFUSED,
    SERVFAIL,
    SOA,
    SRV,
    TXT,
    A,
    Name,
    Record,
    soa_data,
    srv_data,
    txt_data,
)

SCHEMA = "1.1.0"
SCHEMA_TTL = 28800
LONGEST_SOA_TTL = 300
LONGEST_CHAIN = 11  # CNAMEs that may follow one another

PodMode: TypeAlias = Literal["disabled", "insecure", "verified"]


class Zones(msgspec.Struct, frozen=True):
    """What is served, and how. Names in lower case.

    `all` longest first; `primary` is the zone that PTR records lead into; `ttl` in seconds; `fallthrough`: below these
    names NXDOMAIN becomes `Elsewhere`; `local`: this server's own addresses, 4 or 16 octets, for NS records.
    """

    all: tuple[Name, ...]
    primary: Name
    ttl: int = 5
    pods: PodMode = "disabled"
    fallthrough: tuple[Name, ...] = ()
    local: tuple[bytes, ...] = ()


class Question(msgspec.Struct, frozen=True, gc=False):
    """`name` as the client spelt it, `lower` in lower case, `type` as a number. The class is IN."""

    name: Name
    lower: Name
    type: int


class Reply(msgspec.Struct, frozen=True):
    """`authoritative` is false where the server, not the zone, speaks. `because` is for people.

    `service`: the key of the one service that the reply depends on, beside the namespaces there are; "" for none, None
    where it depends on more than that.
    """

    rcode: int
    because: str
    answer: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    authoritative: bool = True
    truncated: bool = False
    service: str | None = None


class Chase(msgspec.Struct, frozen=True):
    """`reply` is right as it stands; better is its answer followed by the records of `target`, type as asked."""

    reply: Reply
    target: Name


class Elsewhere(msgspec.Struct, frozen=True):
    because: str


Outcome: TypeAlias = Reply | Chase | Elsewhere


class _Found(msgspec.Struct, frozen=True):
    """The name exists. No records of the type asked for make it NODATA."""

    because: str
    answer: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    chase: Name | None = None


class _Missing(msgspec.Struct, frozen=True):
    because: str


class _Asked(msgspec.Struct, frozen=True):
    """One question under one zone. `zone` is spelt as the client spelt it, as all names we answer with are."""

    question: Question
    zone: Name
    labels: list[str]
    index: Index
    zones: Zones

    def records(self, kind: int, data: Iterable[bytes]) -> tuple[Record, ...]:
        return tuple(Record(self.question.name, kind, self.zones.ttl, octets) for octets in data)


def answer(question: Question, index: Index, zones: Zones, synced: bool = True) -> Outcome:
    """The outcome for a question of class IN. `synced`: whether the cluster's objects were all listed once."""
    for zone in zones.all:
        labels = labels_above(question.lower, zone)
        if labels is not None:
            break
    else:
        return Elsewhere("outside the zones served")
    asked = _Asked(question, question.name[len(question.name) - len(zone) :], labels, index, zones)
    kind = question.type
    if kind in (AXFR, IXFR):
        return Reply(REFUSED, "zone transfers are not served", authoritative=False)
    if kind == SOA:
        answers = (_soa(asked),) if not labels else ()
        return Reply(NOERROR, "the zone's SOA", answers, () if answers else (_soa(asked),), service="")
    name = None if is_reverse(zone) else meaning(labels)
    found = _reverse(asked) if name is None else _forward(asked, name)
    service = _depends_on(asked, name)
    if isinstance(found, _Missing):
        if any(labels_above(question.lower, top) is not None for top in zones.fallthrough):
            return Elsewhere(found.because)
        if not synced:
            return Reply(SERVFAIL, f"not listed yet: {found.because}", (), (_soa(asked),))
        return Reply(NXDOMAIN, found.because, (), (_soa(asked),), service=service)
    if not found.answer:
        return Reply(NOERROR, found.because, (), (_soa(asked),), service=service)
    reply = Reply(NOERROR, found.because, found.answer, (), found.additional, service=service)
    return reply if found.chase is None else Chase(reply, found.chase)


def _depends_on(asked: _Asked, name: Meaning | None) -> str | None:
    match name:
        case ServiceName():
            service = asked.index.service(name.key)
            follows = service is not None and service.external is not None and asked.question.type in (A, AAAA)
            return None if follows else name.key
        case None | Nameserver():
            return None
        case PodName() if asked.zones.pods == "verified":
            return None
        case Empty() if asked.question.type == NS:
            return None
    return ""


def _soa(asked: _Asked) -> Record:
    zone, ttl = asked.zone, asked.zones.ttl
    data = soa_data(b"\2ns\3dns" + zone, b"\x0ahostmaster" + zone, asked.index.serial, ttl)
    return Record(zone, SOA, min(ttl, LONGEST_SOA_TTL), data)


def _forward(asked: _Asked, name: Meaning) -> _Found | _Missing:
    match name:
        case ServiceName():
            return _service(asked, name)
        case PodName():
            return _pod(asked, name)
        case NamespaceName():
            if name.pods and asked.zones.pods == "disabled":
                return _Missing("pod names are disabled")
            return (
                _Found("the namespace") if name.namespace in asked.index.namespaces else _Missing("no such namespace")
            )
        case Empty():
            if asked.question.type == NS and not asked.labels:
                return _nameservers(asked)
            return _Found("a name that holds nothing itself")
        case SchemaVersion():
            if asked.question.type != TXT:
                return _Found("the schema version is TXT")
            return _Found("the schema version", (Record(asked.question.name, TXT, SCHEMA_TTL, txt_data(SCHEMA)),))
        case Nameserver():
            addresses = [address for _, address in _nameserver_addresses(asked)]
            return _Found("this server", _of_family(asked, addresses))
        case Meaningless():
            return _Missing("no name of a cluster")


def _service(asked: _Asked, name: ServiceName) -> _Found | _Missing:
    index, kind = asked.index, asked.question.type
    if name.namespace not in index.namespaces:
        return _Missing("no such namespace")
    service = index.service(name.key)
    if service is None:
        return _Missing("no such service")
    if service.external is not None:
        if name.endpoint or name.port:
            return _Missing("an ExternalName service has nothing below it")
        return _external(asked, service.external)
    if kind in (A, AAAA) and not (name.endpoint or name.port):
        # The common question, without the detour over targets and their ports.
        if not service.targets:
            return _Missing("the service has no ready endpoint or no address")
        found = service.v4 if kind == A else service.v6
        return _Found("the service", asked.records(kind, found))
    matches = _matches(asked.index, service, name)
    if not matches:
        if name.endpoint and _is_protocol_in_use(service, name.endpoint):
            return _Found("a protocol, with ports below it")
        return _Missing("the service has no such endpoint or port")
    if kind in (A, AAAA):
        return _Found("the service", _of_family(asked, [target.address for target, _ in matches]))
    if kind == SRV:
        return _srv(asked, matches)
    return _Found("the service")


def _matches(index: Index, service: ServiceRecords, name: ServiceName) -> list[tuple[Target, int]]:
    """The targets that the name stands for, once for each port that it stands for."""
    targets = index.endpoints(name.key).get(name.endpoint, ()) if name.endpoint else service.targets
    if not name.port:
        return [(target, port.number) for target in targets for port in target.ports]
    return [
        (target, port.number)
        for target in targets
        for port in target.ports
        if port.name == name.port and port.protocol == name.protocol
    ]


def _is_protocol_in_use(service: ServiceRecords, label: str) -> bool:
    def named(port: Port) -> bool:
        return bool(port.name) and label == "_" + port.protocol

    return any(named(port) for target in service.targets for port in target.ports)


def _of_family(asked: _Asked, addresses: Iterable[bytes]) -> tuple[Record, ...]:
    size = {A: 4, AAAA: 16}.get(asked.question.type)
    return asked.records(asked.question.type, dict.fromkeys(one for one in addresses if len(one) == size))


def _srv(asked: _Asked, matches: list[tuple[Target, int]]) -> _Found:
    # Weights are split before duplicates go, as CoreDNS splits them: a dual-stack service has one SRV of weight 50.
    weight = max(100 // len(matches), 1)
    records: dict[bytes, None] = {}
    glue: dict[Record, None] = {}
    for target, port in matches:
        if port == NO_PORT:
            continue
        host = target.name + asked.zone
        records[srv_data(0, weight, port, host)] = None
        glue[_address(host, target.address, asked.zones.ttl)] = None
    return _Found("the service's ports", asked.records(SRV, records), tuple(glue))


def _address(owner: Name, address: bytes, ttl: int) -> Record:
    return Record(owner, A if len(address) == 4 else AAAA, ttl, address)


def _pod(asked: _Asked, name: PodName) -> _Found | _Missing:
    zones, kind = asked.zones, asked.question.type
    if zones.pods == "disabled":
        return _Missing("pod names are disabled")
    if name.namespace not in asked.index.namespaces:
        return _Missing("no such namespace")
    address = undashed(name.dashed)
    if address is None:
        return _Missing("the name spells no address")
    if zones.pods == "verified" and not asked.index.has_pod(name.namespace, address):
        return _Missing("no pod of the namespace has this address")
    if kind in (A, AAAA):
        return _Found("the pod", _of_family(asked, [address]))
    if kind == SRV:
        own = relative(name.dashed, name.namespace, "pod")
        return _srv(asked, [(Target(own, address, ()), 0)])
    return _Found("the pod")


def _external(asked: _Asked, target: Name) -> _Found:
    """An ExternalName: followed through our own zones here, and handed to the caller where it leaves them.

    CoreDNS shows the CNAME of A and AAAA questions only if what it leads to within our zones has records.
    """
    kind, ttl = asked.question.type, asked.zones.ttl
    if kind == CNAME:
        return _Found("an ExternalName service", asked.records(CNAME, (target,)))
    if kind not in (A, AAAA):
        return _Found("an ExternalName service has CNAME, A and AAAA records only")
    chain = [Record(asked.question.name, CNAME, ttl, target)]
    while True:
        record = chain[-1]
        target, lower = record.data, record.data.lower()
        if labels_above(lower, record.owner.lower()) is not None or lower in {one.owner.lower() for one in chain}:
            return _Found("an ExternalName that leads back to itself")
        if len(chain) > LONGEST_CHAIN:
            return _Found("a chain of ExternalNames that is too long")
        step = _step(asked, Question(target, lower, kind))
        if step is None:
            return _Found("an ExternalName service", tuple(chain), chase=target)
        if isinstance(step, bytes):
            chain.append(Record(target, CNAME, ttl, step))
            continue
        return _Found("an ExternalName service", (*chain, *step) if step else ())


def _step(asked: _Asked, question: Question) -> Name | tuple[Record, ...] | None:
    """One name of a chain: another ExternalName, the addresses it ends in, or None where it leaves our zones."""
    for zone in asked.zones.all:
        labels = labels_above(question.lower, zone)
        if labels is not None:
            break
    else:
        return None
    name = meaning(labels)
    if isinstance(name, ServiceName) and not (name.endpoint or name.port) and not is_reverse(zone):
        service = asked.index.service(name.key)
        if service is not None and service.external is not None and name.namespace in asked.index.namespaces:
            return service.external
    inner = _Asked(question, question.name[len(question.name) - len(zone) :], labels, asked.index, asked.zones)
    found = _reverse(inner) if is_reverse(zone) else _forward(inner, name)
    return found.answer if isinstance(found, _Found) else ()


def _reverse(asked: _Asked) -> _Found | _Missing:
    if not asked.labels:
        return _nameservers(asked) if asked.question.type == NS else _Found("a name that holds nothing itself")
    address = reverse_address(asked.question.lower)
    if address is None:
        return _Missing("no whole address")
    names = asked.index.names_at(address)
    if not names:
        return _Missing("nothing has this address")
    if asked.question.type != PTR:
        return _Found("the address has PTR records only")
    return _Found("the address", asked.records(PTR, [name + asked.zones.primary for name in names]))


def _nameservers(asked: _Asked) -> _Found:
    """NS records of the zone, with addresses; for a reverse zone too they lie in the primary zone, where they exist."""
    pairs = _nameserver_addresses(asked)
    answers = asked.records(NS, dict.fromkeys(name for name, _ in pairs))
    glue = dict.fromkeys(_address(name, address, asked.zones.ttl) for name, address in pairs)
    return _Found("the nameservers", answers, tuple(glue))


def _nameserver_addresses(asked: _Asked) -> list[tuple[Name, bytes]]:
    """This server's services, found by its own addresses among the endpoints; else `ns.dns` with those addresses."""
    zone = asked.zones.primary if is_reverse(asked.zone.lower()) else asked.zone
    services = [service for address in asked.zones.local for service in asked.index.services_at(address)]
    pairs = [(target.name + zone, target.address) for service in services for target in service.targets]
    return list(dict.fromkeys(pairs)) or [(relative("ns", "dns") + zone, address) for address in asked.zones.local]

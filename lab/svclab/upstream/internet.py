"""The names, addresses and web servers of the lab's internet, as values.

In: the network whose addresses they get; a DNS question; an HTTP request and the address it came to. Out: the reply
and the response. A name outside the table is NXDOMAIN; a name that has others below it, or no records of the type
asked for, is NODATA.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network

import msgspec

from svcdns.answer import Question, Reply
from svcdns.names import reverse_name
from svcdns.records import CNAME, NXDOMAIN, PTR, SOA, A, Name, Record, labels_of, name_of, soa_data
from svclab.programs.messages import Request, Response

TTL = 60
NEGATIVE_TTL = 30
RNG_PATH = "/sixeyed/kiamol/master/ch03/numbers/rng"


class Site(msgspec.Struct, frozen=True):
    """One web server. `names` are what it answers to; `numbers` are its addresses, as places in the network.

    `alias_of`: the first name is an alias of this one, which has the addresses. `refusal` is the status for a request
    that asks for another name. `pages`: path → text; every other path is 404.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    pages: Mapping[str, str]
    alias_of: str = ""
    refusal: int = 404


DNS_NUMBER = 53
DNS_NAME = "resolver.example.net"
SITES = (
    Site(("www.google.com",), (10,), {"/": "This stands in for www.google.com in svcplane-lab.\n"}),
    Site(("example.com", "www.example.com"), (11,), {"/": "Example Domain, as seen in svcplane-lab.\n"}),
    Site(
        ("raw.githubusercontent.com",),
        (20, 21),
        {"/": "This stands in for raw.githubusercontent.com in svcplane-lab.\n", RNG_PATH: "42\n"},
        alias_of="github.map.fastly.net",
    ),
    Site(("app.database.io",), (30,), {"/": "This stands in for app.database.io in svcplane-lab.\n"}, refusal=421),
)
# A machine of one's own outside the cluster, as Endpoints written by hand point at: it answers to any name.
OWN_SERVER = Site((), (), {"/": "A server outside the cluster.\n", RNG_PATH: "42\n", "/rng": "42\n"})


class Internet(msgspec.Struct, frozen=True):
    """`records` by lower-case owner; `empty` names have records below them only; `sites` by address."""

    records: Mapping[Name, tuple[Record, ...]]
    empty: frozenset[Name]
    sites: Mapping[str, Site]
    resolver: str


def laid_out(network: IPv4Network, own_servers: tuple[IPv4Address, ...] = ()) -> Internet:
    """The table with the addresses of a network. ValueError if it has not room for them."""
    last = max(DNS_NUMBER, *(number for site in SITES for number in site.numbers))
    if network.num_addresses <= last + 1:
        raise ValueError(f"network {network} is too small: {last} addresses are wanted; a /24 has room")
    records: dict[Name, tuple[Record, ...]] = {}
    sites: dict[str, Site] = {str(address): OWN_SERVER for address in own_servers}

    def add(owner: Name, kind: int, data: bytes) -> None:
        records[owner] = (*records.get(owner, ()), Record(owner, kind, TTL, data))

    def add_host(text: str, number: int) -> str:
        address = network[number]
        add(name_of(text), A, address.packed)
        if (reverse := reverse_name(address.packed)) not in records:
            add(reverse, PTR, name_of(text))
        return str(address)

    for site in SITES:
        if site.alias_of:
            add(name_of(site.names[0]), CNAME, name_of(site.alias_of))
        for number in site.numbers:
            for text in (site.alias_of,) if site.alias_of else site.names:
                sites[add_host(text, number)] = site
    resolver = add_host(DNS_NAME, DNS_NUMBER)
    return Internet(records, _ancestors(records) - records.keys(), sites, resolver)


def _ancestors(names: Mapping[Name, object]) -> frozenset[Name]:
    """Every name above one of these, the root included."""
    found = {b"\0"}
    for name in names:
        at = name[0] + 1
        while name[at]:
            found.add(name[at:])
            at += name[at] + 1
    return frozenset(found)


def reply_to(question: Question, internet: Internet) -> Reply:
    """As a resolver speaks: not authoritative, aliases followed to their end."""
    chain: list[Record] = []
    name = question.lower
    while True:
        here = internet.records.get(name, ())
        wanted = [record for record in here if record.type == question.type]
        alias = next((record for record in here if record.type == CNAME), None)
        if wanted or alias is None or len(chain) > len(internet.records):
            break
        chain.append(alias)
        name = alias.data
    if wanted:
        return Reply(0, "a name of the lab's internet", (*chain, *wanted), authoritative=False)
    zone = b"".join(bytes([len(label)]) + label for label in labels_of(name)[-1:]) + b"\0"
    soa = soa_data(name_of(f"ns.{DNS_NAME}"), name_of(f"hostmaster.{DNS_NAME}"), 1, NEGATIVE_TTL)
    known = name in internet.records or name in internet.empty
    return Reply(
        0 if known else NXDOMAIN,
        "no records of this type" if known else "no such name in the lab's internet",
        tuple(chain),
        (Record(zone, SOA, NEGATIVE_TTL, soa),),
        authoritative=False,
    )


def response_to(request: Request, address: str, internet: Internet) -> Response:
    """What the web server at `address` says; one that is asked for a name it does not have refuses with a sentence."""
    site = internet.sites.get(address)
    if site is None:
        return Response(404, f"404 There is no web server at {address} in the lab's internet.\n".encode())
    if request.method not in ("GET", "HEAD"):
        return Response(405, b"405 Only GET and HEAD.\n", headers=(("Allow", "GET, HEAD"),))
    if site.names and request.host not in site.names:
        asked = request.host or "nothing"
        sentence = f"{site.refusal} This server is {site.names[0]}; the request was for Host {asked!r}.\n"
        return Response(site.refusal, sentence.encode())
    text = site.pages.get(request.path)
    if text is None:
        return Response(404, f"404 {site.names[0] if site.names else address} has nothing at this path.\n".encode())
    return Response(200, text.encode())

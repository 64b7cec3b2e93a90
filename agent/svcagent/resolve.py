"""A Service and its EndpointSlices, as one node of one address family sees them.

In: API objects and what is known of this node. Out: one `ResolvedPort` a service port: addresses, ports, policies,
affinity and the endpoints chosen for this node. It is all that a back-end gets to see; it knows nothing of netfilter.
Refuses: nothing; an address or range that does not parse is left out and named in `Resolved.problems`.
Source: core/v1 and discovery.k8s.io/v1 field documentation, as kube-proxy 1.36 reads them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping

import msgspec

from svcagent.names import host_port, service_port_name
from svcagent.topology import Choice, Endpoint, choose
from svckube.objects import Endpoint as SliceEndpoint
from svckube.objects import EndpointSlice, Service, ServicePort
from svcnet.rules import Family, family_of

DEFAULT_AFFINITY_SECONDS = 10800
LONGEST_AFFINITY_SECONDS = 86400  # as the API has it


class NodeView(msgspec.Struct, frozen=True):
    """What resolving needs to know of the node: its name, its zone label ("" if it has none), and whom it trusts.

    external_ip_ranges: CIDRs that externalIPs may come from; None for anywhere, () for nowhere (CVE-2020-8554).
    """

    name: str
    zone: str = ""
    external_ip_ranges: tuple[str, ...] | None = None


class ResolvedPort(msgspec.Struct, frozen=True, gc=False):
    """One port of a Service. Addresses are canonical text of one family, `protocol` is tcp, udp or sctp.

    affinity_seconds is 0 without session affinity; source_ranges is empty where everybody may come. `known_endpoints`
    counts the endpoints of the port in whatever state, chosen or not.
    """

    name: str
    protocol: str
    cluster_ip: str
    port: int
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    affinity_seconds: int = 0
    internal_local: bool = False
    external_local: bool = False
    health_check_node_port: int = 0
    endpoints: Choice = Choice()
    known_endpoints: int = 0

    @property
    def externally_accessible(self) -> bool:
        return bool(self.node_port or self.external_ips or self.load_balancer_ips)


class Resolved(msgspec.Struct, frozen=True):
    ports: tuple[ResolvedPort, ...] = ()
    problems: tuple[str, ...] = ()


NOTHING = Resolved()


_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_CANONICAL_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}\Z")


def canonical_address(text: str) -> str:
    """An IP address as Go prints it; ValueError if it is none. Decimal parts may begin with zeros (KEP-4858)."""
    if _CANONICAL_IPV4.match(text):  # nearly all are: ipaddress takes ten times as long to say the same
        return text
    return str(_address(text))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if "%" in text:
        raise ValueError(f"{text!r} has a zone, which means nothing on another host")
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        parsed = ipaddress.ip_address(_without_zeros(text))
    mapped = parsed.ipv4_mapped if parsed.version == 6 else None
    return mapped or parsed


def _without_zeros(text: str) -> str:
    return ".".join(part.lstrip("0") or "0" if part.isdecimal() else part for part in text.split("."))


def canonical_cidr(text: str) -> str:
    """A CIDR with its host bits cleared. ValueError if it is none."""
    address, slash, length = text.partition("/")
    if not slash or not length.isdecimal():
        raise ValueError(f"{text!r} is not a CIDR")
    return str(ipaddress.ip_network((_address(address), int(length)), strict=False))


def within(address: str, cidrs: Iterable[str]) -> bool:
    """Whether an address lies in one of the CIDRs; those of the other family hold none of its addresses."""
    parsed = ipaddress.ip_address(address)
    return any(parsed in ipaddress.ip_network(cidr) for cidr in cidrs)


def _of_family(texts: Iterable[str], family: Family, what: str, problems: list[str]) -> tuple[str, ...]:
    found = []
    for text in texts:
        if not text:
            continue
        try:
            address = canonical_address(text)
        except ValueError:
            problems.append(f"{what} {text!r} is not an IP address")
            continue
        if family_of(address) == family:
            found.append(address)
    return tuple(found)


def _cluster_ip(service: Service, family: Family, problems: list[str]) -> str:
    spec = service.spec
    if spec.type == "ExternalName" or spec.cluster_ip in ("", "None"):
        return ""
    addresses: Iterable[str] = (spec.cluster_ip,)
    if spec.ip_families:
        pairs = zip(spec.ip_families, spec.cluster_ips or (), strict=False)
        addresses = [address for name, address in pairs if name == family]
    found = _of_family(addresses, family, "clusterIP", problems)
    return found[0] if found else ""


def _external_ips(
    service: Service, family: Family, ranges: tuple[str, ...] | None, problems: list[str]
) -> tuple[str, ...]:
    found = _of_family(service.spec.external_ips or (), family, "externalIP", problems)
    if ranges is None:
        return found
    allowed = tuple(each for each in found if within(each, ranges))
    problems += [f"externalIP {each} is not allowed on this node" for each in found if each not in allowed]
    return allowed


def _source_ranges(service: Service, family: Family, problems: list[str]) -> tuple[str, ...]:
    ranges = []
    for text in service.spec.load_balancer_source_ranges or ():
        if not text.strip():
            continue
        try:
            cidr = canonical_cidr(text.strip())
        except ValueError:
            problems.append(f"loadBalancerSourceRanges entry {text!r} is not a CIDR")
            continue
        if family_of(cidr) == family:
            ranges.append(cidr)
    return () if any(cidr.endswith("/0") for cidr in ranges) else tuple(ranges)


# What a name in a rule may consist of. The API allows less; whatever answers in its place must not write our rules.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}\Z")


def _is_port(number: int) -> bool:
    return 0 < number < 65536


def _is_well_formed(service: Service, problems: list[str]) -> bool:
    """Whether the names and numbers of a Service may become text of a rule; one that may not takes only itself out."""
    meta, ports = service.metadata, service.spec.ports or ()
    names = [meta.namespace, meta.name, *(port.name for port in ports if port.name)]
    problems += [f"name {name!r} has characters that no name has" for name in names if not _NAME.match(name)]
    numbers = [number for port in ports for number in (port.port, port.node_port or port.port)]
    numbers.append(service.spec.health_check_node_port or 1)
    problems += [f"port {number} is not in 1-65535" for number in numbers if not _is_port(number)]
    return all(_NAME.match(name) for name in names) and all(_is_port(number) for number in numbers)


def _affinity_seconds(service: Service) -> int:
    if service.spec.session_affinity != "ClientIP":
        return 0
    config = service.spec.session_affinity_config
    seconds = config.client_ip.timeout_seconds if config and config.client_ip else None
    return seconds if seconds and 0 < seconds <= LONGEST_AFFINITY_SECONDS else DEFAULT_AFFINITY_SECONDS


def _external_local(service: Service) -> bool:
    spec = service.spec
    may = spec.type in ("LoadBalancer", "NodePort") or (spec.type == "ClusterIP" and bool(spec.external_ips))
    return may and spec.external_traffic_policy == "Local"


def _endpoint(source: SliceEndpoint, address: str, port: int, node: str) -> Endpoint:
    conditions = source.conditions
    hints = source.hints
    return Endpoint(
        address,
        port,
        host_port(address, port),
        ready=conditions.ready is not False,
        serving=conditions.serving is not False,
        terminating=conditions.terminating is True,
        local=source.node_name == node,
        zone_hints=frozenset(each.name for each in hints.for_zones or ()) if hints else frozenset(),
        node_hints=frozenset(each.name for each in hints.for_nodes or ()) if hints else frozenset(),
    )


_PortKey = tuple[str, str]


def _endpoints(
    slices: Iterable[EndpointSlice], family: Family, node: str, problems: list[str]
) -> Mapping[_PortKey, tuple[Endpoint, ...]]:
    """Endpoints by (port name, protocol), sorted by text. Of two with one text the one not terminating stays."""
    found: dict[_PortKey, dict[str, Endpoint]] = {}
    for each in slices:
        if each.address_type != family:
            continue
        addresses = [
            (source, address)
            for source in each.endpoints or ()
            for address in _of_family((source.addresses or ())[:1], family, f"{each.key}: endpoint address", problems)
        ]
        for port in each.ports or ():
            if port.name is None or not port.port:
                problems.append(f"EndpointSlice {each.key}: a port without name or number is not supported")
                continue
            if not _is_port(port.port):
                problems.append(f"EndpointSlice {each.key}: port {port.port} is not in 1-65535")
                continue
            known = found.setdefault((port.name, port.protocol or "TCP"), {})
            for source, address in addresses:
                candidate = _endpoint(source, address, port.port, node)
                if candidate.text not in known or not candidate.terminating:
                    known[candidate.text] = candidate
    return {key: tuple(known[text] for text in sorted(known)) for key, known in found.items()}


def resolve(service: Service | None, slices: Iterable[EndpointSlice], family: Family, node: NodeView) -> Resolved:
    """The ports of a Service for one family on this node, in the order of the Service; none if it has no cluster IP."""
    if service is None:
        return NOTHING
    problems: list[str] = []
    cluster_ip = _cluster_ip(service, family, problems)
    if not cluster_ip or not _is_well_formed(service, problems):
        return Resolved((), tuple(problems))
    endpoints = _endpoints(slices, family, node.name, problems)
    spec = service.spec
    ingress = service.status.load_balancer.ingress or ()
    virtual = (each.ip for each in ingress if each.ip_mode in (None, "VIP"))
    common = ResolvedPort(
        name="",
        protocol="",
        cluster_ip=cluster_ip,
        port=0,
        external_ips=_external_ips(service, family, node.external_ip_ranges, problems),
        load_balancer_ips=_of_family(virtual, family, "load balancer ingress", problems),
        source_ranges=_source_ranges(service, family, problems),
        affinity_seconds=_affinity_seconds(service),
        internal_local=spec.internal_traffic_policy == "Local",
        external_local=_external_local(service),
        health_check_node_port=(
            spec.health_check_node_port if spec.type == "LoadBalancer" and _external_local(service) else 0
        ),
    )
    ports = tuple(_port(service, port, common, endpoints, node) for port in spec.ports or ())
    return Resolved(ports, tuple(problems))


def _port(
    service: Service,
    port: ServicePort,
    common: ResolvedPort,
    endpoints: Mapping[_PortKey, tuple[Endpoint, ...]],
    node: NodeView,
) -> ResolvedPort:
    resolved = msgspec.structs.replace(
        common,
        name=service_port_name(service.metadata.namespace, service.metadata.name, port.name),
        protocol=port.protocol.lower(),
        port=port.port,
        node_port=port.node_port,
    )
    external = resolved.externally_accessible
    known = endpoints.get((port.name, port.protocol), ())
    choice = choose(
        known,
        uses_cluster=not common.internal_local or external,
        uses_local=common.internal_local or (common.external_local and external),
        node=node.name,
        zone=node.zone,
    )
    return msgspec.structs.replace(resolved, endpoints=choice, known_endpoints=len(known))


class Check(msgspec.Struct, frozen=True, gc=False):
    """What a Service's health check node port tells: how many addresses of ready endpoints are on this node."""

    port: int
    endpoints: int


def check(ports: Iterable[ResolvedPort]) -> Check | None:
    """The health check of a Service, None if it has none."""
    ports = tuple(ports)
    number = next((port.health_check_node_port for port in ports if port.health_check_node_port), 0)
    if not number:
        return None
    here = {each.address for port in ports for each in port.endpoints.serving if each.local and each.ready}
    return Check(number, len(here))

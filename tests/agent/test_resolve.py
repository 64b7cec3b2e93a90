"""A Service and its slices as one node of one family sees them, row by row; bad input costs only itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.worlds import NODE, OTHER_NODE, endpoint, service, slice_of
from svcagent.resolve import (
    NodeView,
    Resolved,
    ResolvedPort,
    canonical_address,
    canonical_cidr,
    resolve,
)
from svckube.objects import EndpointSlice, Service
from svcnet.rules import Family

VIEW = NodeView(NODE)
POD, POD6 = "10.244.1.1", "fd00:10:244:1::1"


def resolved(found: Service | None, *slices: EndpointSlice, family: Family = "IPv4") -> Resolved:
    return resolve(found, slices, family, VIEW)


def only(found: Service, *slices: EndpointSlice, family: Family = "IPv4") -> ResolvedPort:
    """The one port, when nothing is wrong."""
    result = resolved(found, *slices, family=family)
    assert result.problems == ()
    (port,) = result.ports
    return port


# -- spellings

CANONICAL = [
    ("10.0.0.1", "10.0.0.1"),
    ("172.30.0.041", "172.30.0.41"),
    ("010.000.000.001", "10.0.0.1"),
    ("0.0.0.0", "0.0.0.0"),
    ("FD00:0:0::1", "fd00::1"),
    ("::ffff:10.0.0.1", "10.0.0.1"),
]


@pytest.mark.parametrize(("text", "canonical"), CANONICAL, ids=[row[0] for row in CANONICAL])
def test_an_address_is_printed_as_go_prints_it(text: str, canonical: str) -> None:
    assert canonical_address(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0",
        "10.0.0.256",
        "10.0.0.1/32",
        "host",
        "10.0.0.0x1",
        "fe80::1%eth0",
        "1.2.3.4%x",
        " 10.0.0.1",
        "10.0.0.1\n",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical_address(text)


CIDRS = [
    ("203.0.113.000/025", "203.0.113.0/25"),
    ("1.2.3.4/28", "1.2.3.0/28"),
    ("10.0.0.1/32", "10.0.0.1/32"),
    ("0.0.0.0/0", "0.0.0.0/0"),
    ("fd00::1/64", "fd00::/64"),
]


@pytest.mark.parametrize(("text", "canonical"), CIDRS, ids=[row[0] for row in CIDRS])
def test_a_cidr_has_no_host_bits(text: str, canonical: str) -> None:
    assert canonical_cidr(text) == canonical


@pytest.mark.parametrize("text", ["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "fd00::/129", "/8", "x/8"])
def test_what_is_no_cidr(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical_cidr(text)


@given(st.ip_addresses())
def test_every_canonical_address_stays(address: Any) -> None:
    assert canonical_address(canonical_address(str(address))) == canonical_address(str(address))


# -- fields of the Service

LB = {"type": "LoadBalancer"}
NODE_PORT = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}
FIELDS: list[tuple[str, Mapping[str, Any], Family, Mapping[str, Any]]] = [
    ("cluster IP", {}, "IPv4", {"cluster_ip": "10.96.0.10", "port": 80, "protocol": "tcp", "name": "ns/web"}),
    ("cluster IP, IPv6", {}, "IPv6", {"cluster_ip": "fd00:10:96::a"}),
    (
        "cluster IP, sloppy",
        {"clusterIPs": ["10.96.000.010"], "ipFamilies": ["IPv4"]},
        "IPv4",
        {"cluster_ip": "10.96.0.10"},
    ),
    ("families unset", {"ipFamilies": None, "clusterIPs": None}, "IPv4", {"cluster_ip": "10.96.0.10"}),
    (
        "IPv6 first",
        {"clusterIP": "fd00::a", "clusterIPs": ["fd00::a", "10.96.0.9"], "ipFamilies": ["IPv6", "IPv4"]},
        "IPv4",
        {"cluster_ip": "10.96.0.9"},
    ),
    (
        "named port",
        {"ports": [{"port": 53, "name": "dns", "protocol": "UDP"}]},
        "IPv4",
        {"name": "ns/web:dns", "protocol": "udp"},
    ),
    ("node port", NODE_PORT, "IPv4", {"node_port": 30080, "externally_accessible": True}),
    ("nobody outside", {}, "IPv4", {"externally_accessible": False}),
    (
        "external IPs of the family",
        {"externalIPs": ["203.0.113.001", "fd00:203::1", ""]},
        "IPv4",
        {"external_ips": ("203.0.113.1",), "externally_accessible": True},
    ),
    ("external IPs, IPv6", {"externalIPs": ["203.0.113.1", "fd00:203::1"]}, "IPv6", {"external_ips": ("fd00:203::1",)}),
    (
        "load balancer",
        {**LB, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example"}]}}},
        "IPv4",
        {"load_balancer_ips": ("192.0.2.1",)},
    ),
    (
        "load balancer, mode VIP",
        {**LB, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}}},
        "IPv4",
        {"load_balancer_ips": ("192.0.2.1",)},
    ),
    (
        "load balancer, mode Proxy",
        {**LB, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "Proxy"}]}}},
        "IPv4",
        {"load_balancer_ips": ()},
    ),
    (
        "addresses count whatever the type",
        {"type": "ClusterIP", "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}},
        "IPv4",
        {"load_balancer_ips": ("192.0.2.1",)},
    ),
    # loadBalancerSourceRanges
    (
        "source ranges",
        {"loadBalancerSourceRanges": [" 192.0.2.0/24 ", "198.51.100.7/32", ""]},
        "IPv4",
        {"source_ranges": ("192.0.2.0/24", "198.51.100.7/32")},
    ),
    (
        "source ranges of the other family",
        {"loadBalancerSourceRanges": ["192.0.2.0/24"]},
        "IPv6",
        {"source_ranges": ()},
    ),
    (
        "a range of everything",
        {"loadBalancerSourceRanges": ["192.0.2.0/24", "0.0.0.0/0"]},
        "IPv4",
        {"source_ranges": ()},
    ),
    (
        "everything, of the other family",
        {"loadBalancerSourceRanges": ["192.0.2.0/24", "::/0"]},
        "IPv4",
        {"source_ranges": ("192.0.2.0/24",)},
    ),
    # affinity
    ("no affinity", {"sessionAffinity": "None"}, "IPv4", {"affinity_seconds": 0}),
    (
        "affinity",
        {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}}},
        "IPv4",
        {"affinity_seconds": 7},
    ),
    ("affinity without its settings", {"sessionAffinity": "ClientIP"}, "IPv4", {"affinity_seconds": 10800}),
    (
        "affinity with empty settings",
        {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {}}},
        "IPv4",
        {"affinity_seconds": 10800},
    ),
    # traffic policies: external Local counts by type
    ("external Local, NodePort", {**NODE_PORT, "externalTrafficPolicy": "Local"}, "IPv4", {"external_local": True}),
    ("external Local, LoadBalancer", {**LB, "externalTrafficPolicy": "Local"}, "IPv4", {"external_local": True}),
    ("external Local, ClusterIP", {"externalTrafficPolicy": "Local"}, "IPv4", {"external_local": False}),
    (
        "external Local, ClusterIP with an external IP",
        {"externalTrafficPolicy": "Local", "externalIPs": ["203.0.113.1"]},
        "IPv4",
        {"external_local": True},
    ),
    ("internal Local", {"internalTrafficPolicy": "Local"}, "IPv4", {"internal_local": True}),
    (
        "health check port",
        {**LB, "externalTrafficPolicy": "Local", "healthCheckNodePort": 32100},
        "IPv4",
        {"health_check_node_port": 32100},
    ),
    ("health check port, Cluster", {**LB, "healthCheckNodePort": 32100}, "IPv4", {"health_check_node_port": 0}),
    (
        "health check port, NodePort",
        {**NODE_PORT, "externalTrafficPolicy": "Local", "healthCheckNodePort": 32100},
        "IPv4",
        {"health_check_node_port": 0},
    ),
]


@pytest.mark.parametrize(("spec", "family", "fields"), [row[1:] for row in FIELDS], ids=[row[0] for row in FIELDS])
def test_fields_of_a_service(spec: Mapping[str, Any], family: Family, fields: Mapping[str, Any]) -> None:
    found = only(service(**spec), family=family)
    assert {name: getattr(found, name) for name in fields} == fields


NOT_SERVED: list[tuple[str, Service | None, Family]] = [
    ("no Service", None, "IPv4"),
    ("headless", service(clusterIP="None", clusterIPs=["None"]), "IPv4"),
    ("no cluster IP yet", service(clusterIP="", clusterIPs=None), "IPv4"),
    ("ExternalName", service(type="ExternalName", externalName="x"), "IPv4"),
    ("the other family only", service(clusterIPs=["10.96.0.10"], ipFamilies=["IPv4"]), "IPv6"),
    ("the other family only, unset", service(clusterIPs=None, ipFamilies=None), "IPv6"),
    ("no ports", service(ports=None), "IPv4"),
]


@pytest.mark.parametrize(("found", "family"), [row[1:] for row in NOT_SERVED], ids=[row[0] for row in NOT_SERVED])
def test_what_has_no_ports_of_a_family(found: Service | None, family: Family) -> None:
    assert resolved(found, family=family) == Resolved()


# -- endpoints

Told = list[tuple[str, str]]


def told(port: ResolvedPort) -> Told:
    """The chosen endpoints, and whether each is on this node."""
    return [(each.text, "here" if each.local else "there") for each in port.endpoints.cluster]


NAMED_PORTS = [
    {"name": "http", "port": 8080, "protocol": "TCP"},
    {"name": "http", "port": 8081, "protocol": "UDP"},
    {"name": "other", "port": 9090, "protocol": "TCP"},
]
ENDPOINTS: list[tuple[str, Mapping[str, Any], list[EndpointSlice], Family, Told]] = [
    ("none", {}, [], "IPv4", []),
    (
        "local and not",
        {},
        [slice_of("web", endpoint(POD), endpoint("10.244.2.1", node=OTHER_NODE))],
        "IPv4",
        [(f"{POD}:8080", "here"), ("10.244.2.1:8080", "there")],
    ),
    ("no node name", {}, [slice_of("web", {"addresses": [POD]})], "IPv4", [(f"{POD}:8080", "there")]),
    ("only the first address", {}, [slice_of("web", endpoint(POD, "10.244.1.2"))], "IPv4", [(f"{POD}:8080", "here")]),
    ("no address", {}, [slice_of("web", endpoint())], "IPv4", []),
    (
        "ready unset is ready",
        {},
        [slice_of("web", {"addresses": [POD], "conditions": {}, "nodeName": NODE})],
        "IPv4",
        [(f"{POD}:8080", "here")],
    ),
    ("ready false", {}, [slice_of("web", endpoint(POD, ready=False))], "IPv4", []),
    (
        "serving unset serves",
        {},
        [slice_of("web", endpoint(POD, ready=False, terminating=True))],
        "IPv4",
        [(f"{POD}:8080", "here")],
    ),
    ("terminating unset does not end", {}, [slice_of("web", endpoint(POD, ready=False, serving=True))], "IPv4", []),
    (
        "order is by text, as kube-proxy's",
        {},
        [slice_of("web", endpoint("10.180.0.1"), endpoint("10.180.0.10"))],
        "IPv4",
        [("10.180.0.10:8080", "here"), ("10.180.0.1:8080", "here")],
    ),
    ("sloppy address", {}, [slice_of("web", endpoint("10.244.001.001"))], "IPv4", [(f"{POD}:8080", "here")]),
    ("slices of the other family", {}, [slice_of("web", endpoint(POD6), family="IPv6")], "IPv4", []),
    ("IPv6", {}, [slice_of("web", endpoint(POD6), family="IPv6")], "IPv6", [(f"[{POD6}]:8080", "here")]),
    (
        "an address that belies its slice",
        {},
        [slice_of("web", endpoint(POD6), endpoint(POD))],
        "IPv4",
        [(f"{POD}:8080", "here")],
    ),
    (
        "port by name and protocol",
        {"ports": [{"port": 80, "name": "http"}]},
        [slice_of("web", endpoint(POD), ports=NAMED_PORTS)],
        "IPv4",
        [(f"{POD}:8080", "here")],
    ),
    (
        "port name is not there",
        {"ports": [{"port": 80, "name": "https"}]},
        [slice_of("web", endpoint(POD), ports=NAMED_PORTS)],
        "IPv4",
        [],
    ),
    (
        "protocol unset is TCP",
        {},
        [slice_of("web", endpoint(POD), ports=[{"name": "", "port": 8080}])],
        "IPv4",
        [(f"{POD}:8080", "here")],
    ),
    (
        "slices are joined",
        {},
        [slice_of("web", endpoint(POD)), slice_of("web", endpoint("10.244.1.2"), name="web-2")],
        "IPv4",
        [(f"{POD}:8080", "here"), ("10.244.1.2:8080", "here")],
    ),
]


@pytest.mark.parametrize(
    ("spec", "slices", "family", "wanted"), [row[1:] for row in ENDPOINTS], ids=[row[0] for row in ENDPOINTS]
)
def test_endpoints(spec: Mapping[str, Any], slices: list[EndpointSlice], family: Family, wanted: Told) -> None:
    assert told(only(service(**spec), *slices, family=family)) == wanted


ENDING = {"ready": False, "serving": True, "terminating": True}
DUPLICATES = [
    ("the ready one after the ending one", [endpoint(POD, **ENDING), endpoint(POD)], True),
    ("the ready one before the ending one", [endpoint(POD), endpoint(POD, **ENDING)], True),
    ("two that end", [endpoint(POD, **ENDING), endpoint(POD, **ENDING)], False),
]


@pytest.mark.parametrize(("entries", "ready"), [row[1:] for row in DUPLICATES], ids=[row[0] for row in DUPLICATES])
@pytest.mark.parametrize("apart", [False, True], ids=["in one slice", "in two slices"])
def test_of_one_endpoint_twice_the_one_that_stays_wins(entries: list[Any], ready: bool, apart: bool) -> None:
    slices = [slice_of("web", each, name=f"web-{index}") for index, each in enumerate(entries)]
    (found,) = only(service(), *(slices if apart else [slice_of("web", *entries)])).endpoints.cluster
    assert found.ready is ready


# -- what is wrong is named, and nothing else is lost

WRONG: list[tuple[str, Mapping[str, Any], list[EndpointSlice], str]] = [
    ("external IP", {"externalIPs": ["junk", "203.0.113.1"]}, [], "externalIP 'junk' is not an IP address"),
    (
        "ingress",
        {"status": {"loadBalancer": {"ingress": [{"ip": "x"}, {"ip": "203.0.113.1"}]}}},
        [],
        "load balancer ingress 'x' is not an IP address",
    ),
    (
        "source range",
        {"loadBalancerSourceRanges": ["10.0.0.0", "192.0.2.0/24"], "externalIPs": ["203.0.113.1"]},
        [],
        "loadBalancerSourceRanges entry '10.0.0.0' is not a CIDR",
    ),
    (
        "endpoint",
        {"externalIPs": ["203.0.113.1"]},
        [slice_of("web", endpoint("fe80::1%eth0"))],
        "ns/web-1: endpoint address 'fe80::1%eth0' is not an IP address",
    ),
    (
        "port without number",
        {"externalIPs": ["203.0.113.1"]},
        [slice_of("web", ports=[{"name": ""}])],
        "EndpointSlice ns/web-1: a port without name or number is not supported",
    ),
    (
        "port without name",
        {"externalIPs": ["203.0.113.1"]},
        [slice_of("web", ports=[{"port": 80}])],
        "EndpointSlice ns/web-1: a port without name or number is not supported",
    ),
]


@pytest.mark.parametrize(("spec", "slices", "problem"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_named_and_the_rest_is_kept(
    spec: Mapping[str, Any], slices: list[EndpointSlice], problem: str
) -> None:
    good = slice_of("web", endpoint(POD), name="web-good")
    found = resolved(service(**spec), *slices, good)
    assert found.problems == (problem,)
    (port,) = found.ports
    assert (*port.external_ips, *port.load_balancer_ips) == ("203.0.113.1",)
    assert told(port) == [(f"{POD}:8080", "here")]


def test_a_cluster_ip_that_is_none() -> None:
    assert resolved(service(clusterIPs=["junk"], ipFamilies=["IPv4"])) == Resolved(
        (), ("clusterIP 'junk' is not an IP address",)
    )


def test_ports_keep_the_order_of_the_service() -> None:
    ports = [{"port": 443, "name": "b"}, {"port": 80, "name": "a"}]
    assert [port.name for port in resolved(service(ports=ports)).ports] == ["ns/web:b", "ns/web:a"]

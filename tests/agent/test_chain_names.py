"""kube-proxy's spelling, against vectors seen in its dumps (1.36). Pure."""

from __future__ import annotations

import pytest

from svcagent import names

PORTS = [
    ("ns1", "svc1", "p80", "XPGD46QRK7WJZT7O"),
    ("ns2", "svc2", "p80", "GNZBNJ2PO5MGZ6GT"),
    ("ns5", "svc5", "p80", "NUKIZ6OKUXPJNT4C"),
    ("ns7", "svc7", "", "R7DNFVAW7G32R2X7"),
]


@pytest.mark.parametrize(("namespace", "name", "port", "digest"), PORTS, ids=[row[1] for row in PORTS])
def test_hash_of_a_service_port(namespace: str, name: str, port: str, digest: str) -> None:
    assert names.port_hash(names.service_port_name(namespace, name, port), "tcp") == digest


ENDPOINTS = [
    ("ns1/svc1:p80", "10.180.0.1", 80, "KUBE-SEP-SXIVWICOYRO3J4NJ"),
    ("ns7/svc7", "fd00:10:180::7", 8080, "KUBE-SEP-YKLGFX5FBVF47ZTY"),
]


@pytest.mark.parametrize(("port", "address", "number", "chain"), ENDPOINTS, ids=[row[1] for row in ENDPOINTS])
def test_chain_of_an_endpoint(port: str, address: str, number: int, chain: str) -> None:
    assert names.endpoint_chain(port, "tcp", names.host_port(address, number)) == chain


def test_the_protocol_is_part_of_the_hash() -> None:
    assert names.port_hash("ns/dns", "udp") != names.port_hash("ns/dns", "tcp")


SPELLINGS = [
    (names.service_port_name("ns", "web", "http"), "ns/web:http"),
    (names.service_port_name("ns", "web", ""), "ns/web"),
    (names.host_port("10.0.0.1", 80), "10.0.0.1:80"),
    (names.host_port("fd00::1", 80), "[fd00::1]:80"),
]


@pytest.mark.parametrize(("found", "wanted"), SPELLINGS, ids=[row[1] for row in SPELLINGS])
def test_spellings(found: str, wanted: str) -> None:
    assert found == wanted

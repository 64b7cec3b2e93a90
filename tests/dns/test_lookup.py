"""`lookup`: what a pod's resolver asks one after the other, and why it is answered so."""

from __future__ import annotations

import msgspec
import pytest

from support.filled import Filled
from support.questions import TTL, ZONES
from svcdns.addresses import zones_of
from svcdns.lookup import walked
from svcdns.records import TYPE_NUMBERS
from svcdns.stub import Client, names_asked, resolv_conf

CLUSTER = ("prod.svc.cluster.local", "svc.cluster.local", "cluster.local")


def pod(**spec: object) -> Client:
    return msgspec.convert({"metadata": {"name": "client", "namespace": "prod"}, "spec": spec}, Client)


@pytest.mark.parametrize(
    ("spec", "of_cluster", "search", "ndots"),
    [
        ({}, True, CLUSTER, 5),
        ({"dnsPolicy": "ClusterFirst"}, True, CLUSTER, 5),
        ({"dnsPolicy": "ClusterFirst", "hostNetwork": True}, False, (), 1),
        ({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True}, True, CLUSTER, 5),
        ({"dnsPolicy": "Default"}, False, (), 1),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"]}}, False, (), 1),
        ({"dnsPolicy": "None", "dnsConfig": {"searches": ["a.", "b"]}}, False, ("a", "b"), 1),
        ({"dnsConfig": {"searches": ["example.org", "svc.cluster.local"]}}, True, (*CLUSTER, "example.org"), 5),
        ({"dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}, True, CLUSTER, 2),
    ],
    ids=str,
)
def test_resolv_conf(spec: dict[str, object], of_cluster: bool, search: tuple[str, ...], ndots: int) -> None:
    conf = resolv_conf(pod(**spec), "cluster.local.")
    assert (conf.of_cluster, conf.search, conf.ndots) == (of_cluster, search, ndots)


SEARCHED = ("web.prod.svc.cluster.local.", "web.svc.cluster.local.", "web.cluster.local.", "web.")


@pytest.mark.parametrize(
    ("name", "spec", "asked"),
    [
        ("web", {}, SEARCHED),
        ("web.", {}, ("web.",)),
        ("a.b.c.d.e", {}, (*(f"a.b.c.d.e.{one}." for one in CLUSTER), "a.b.c.d.e.")),
        ("a.b.c.d.e.f", {}, ("a.b.c.d.e.f.", *(f"a.b.c.d.e.f.{one}." for one in CLUSTER))),
        ("web", {"dnsPolicy": "Default"}, ("web.",)),
        ("web.prod", {"dnsPolicy": "None", "dnsConfig": {"searches": ["x"]}}, ("web.prod.", "web.prod.x.")),
        ("web", {"dnsPolicy": "None", "dnsConfig": {"searches": ["."]}}, ("web.",)),
    ],
    ids=str,
)
def test_names_asked(name: str, spec: dict[str, object], asked: tuple[str, ...]) -> None:
    assert names_asked(name, resolv_conf(pod(**spec), "cluster.local.")) == asked


WALKS = [
    ("a service of its own namespace", "web", "A", {}, ["1. web.prod.svc.cluster.local. A", "NOERROR: the service"]),
    ("found by the third question", "web.prod.svc", "A", {}, ["1. ", "NXDOMAIN", "3. ", "the service"]),
    ("where the service is", "web.staging", "A", {}, ["no such namespace", "a Service web is in: dev prod"]),
    ("headless", "db", "A", {}, ["prod/db is headless", "that are ready: 4"]),
    ("an alias", "outside", "A", {}, ["an ExternalName: an alias of www.example.org.", "an upstream is asked for www"]),
    ("no such type", "web", "AAAA", {}, ["NOERROR without records", "musl ends here", "2. "]),
    ("no name of ours", "www.example.org", "A", {}, ["4. www.example.org. A", "an upstream is asked"]),
    ("the node's file", "web", "A", {"dnsPolicy": "Default"}, ["nameservers: the node's", "is not asked by this pod"]),
    ("which ports", "_no._tcp.web", "SRV", {}, ["no such endpoint or port", "ports: _http._tcp"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind", "spec", "expected"), [row[1:] for row in WALKS], ids=[row[0] for row in WALKS]
)
def test_walked(name: str, kind: str, spec: dict[str, object], expected: list[str]) -> None:
    lines = list(walked(pod(**spec), name, TYPE_NUMBERS[kind], Filled().index, zones_of(ZONES, TTL)))
    rest = "\n".join(lines)
    for words in expected:
        _, found, rest = rest.partition(words)
        assert found, f"{words!r} in\n" + "\n".join(lines)


def test_nothing_is_asked_after_an_answer() -> None:
    lines = list(walked(pod(), "web", 1, Filled().index, zones_of(ZONES, TTL)))
    assert not any(line.startswith("; 2.") for line in lines)

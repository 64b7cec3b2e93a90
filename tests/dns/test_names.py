"""Names: their text, what they mean, addresses in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns import names
from svcdns.names import Empty, Meaning, Meaningless, Nameserver, NamespaceName, PodName, SchemaVersion, ServiceName
from svcdns.records import labels_of, name_of, packed, text_of


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        (".", b"\0"),
        ("a\\.", b"\2a.\0"),
        ("a.bc", b"\1a\2bc\0"),
        ("a.bc.", b"\1a\2bc\0"),
        (r"a\.b.c", b"\3a.b\1c\0"),
        (r"\000\255.c", b"\2\0\xff\1c\0"),
    ],
)
def test_text_to_octets(text: str, octets: bytes) -> None:
    assert name_of(text) == octets


@pytest.mark.parametrize(
    "text", ["", "..", "a..b", ".a", "x" * 64, ".".join(["x" * 63] * 4), r"a\256", "a\\"], ids=lambda text: text[:8]
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="is no domain name"):
        name_of(text)


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=8))
def test_any_name_survives_its_text(labels: list[bytes]) -> None:
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    assert name_of(text_of(name)) == name
    assert labels_of(name) == labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Empty()),
        ("svc", Empty()),
        ("pod", Empty()),
        ("dns", Empty()),
        ("dns-version", SchemaVersion()),
        ("x.dns-version", Meaningless()),
        ("ns.dns", Nameserver()),
        ("x.dns", Meaningless()),
        ("prod", Meaningless()),
        ("prod.svc", NamespaceName("prod", pods=False)),
        ("prod.pod", NamespaceName("prod", pods=True)),
        ("web.prod.svc", ServiceName("prod/web", "prod")),
        ("ep.web.prod.svc", ServiceName("prod/web", "prod", endpoint="ep")),
        ("_http._tcp.web.prod.svc", ServiceName("prod/web", "prod", port="http", protocol="tcp")),
        ("http.tcp.web.prod.svc", ServiceName("prod/web", "prod", port="http", protocol="tcp")),
        ("__a._tcp.web.prod.svc", ServiceName("prod/web", "prod", port="_a", protocol="tcp")),
        ("_._tcp.web.prod.svc", Meaningless()),
        ("x.y.z.web.prod.svc", Meaningless()),
        ("1-2-3-4.prod.pod", PodName("prod", "1-2-3-4")),
        ("x.1-2-3-4.prod.pod", PodName("prod", "1-2-3-4")),
        ("y.x.1-2-3-4.prod.pod", PodName("prod", "1-2-3-4")),
        ("z.y.x.1-2-3-4.prod.pod", Meaningless()),
    ],
)
def test_meaning(text: str, expected: Meaning) -> None:
    assert names.meaning(text.split(".") if text else []) == expected


@pytest.mark.parametrize(
    ("address", "label"),
    [
        ("10.244.1.5", "10-244-1-5"),
        ("fd00:10::1", "fd00-10--1"),
        ("2001:db8:0:6666::", "2001-db8-0-6666--0"),
        ("::1", "--1"),
    ],
)
def test_dashed_and_back(address: str, label: str) -> None:
    octets = packed(address)
    assert octets is not None
    assert names.dashed(octets) == label
    assert names.undashed(label) == octets


@pytest.mark.parametrize("label", ["1-2-3", "1-2-3-4-5", "1-2-3-256", "01-2-3-4", "a-b-c-d", "", "--", "1--2-3"])
def test_labels_that_spell_no_ipv4_address(label: str) -> None:
    found = names.undashed(label)
    assert found is None or len(found) == 16


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("4.3.2.1.in-addr.arpa", "1.2.3.4"),
        ("3.2.1.in-addr.arpa", None),
        ("5.4.3.2.1.in-addr.arpa", None),
        ("256.3.2.1.in-addr.arpa", None),
        ("04.3.2.1.in-addr.arpa", None),
        ("x.3.2.1.in-addr.arpa", None),
        (".".join("1000000000000000000000008bd01002") + ".ip6.arpa", "2001:db8::1"),
        (".".join("100000000000000000000008bd01002") + ".ip6.arpa", None),
        (".".join("g000000000000000000000008bd01002") + ".ip6.arpa", None),
        ("10" + ".0" * 31 + ".ip6.arpa", None),
        ("4.3.2.1.example.org", None),
    ],
)
def test_reverse(text: str, address: str | None) -> None:
    assert names.reverse_address(name_of(text)) == (packed(address) if address else None)


@given(st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)))
def test_reverse_and_back(address: bytes) -> None:
    assert names.reverse_address(names.reverse_name(address)) == address

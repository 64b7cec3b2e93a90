"""Upstreams by host name become addresses, or the settings are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from support.resolvers import SILENT
from support.scripted_upstream import ScriptedUpstream
from svcdns.corefile import blocks_of
from svcdns.hostnames import with_addresses
from svcdns.plugins import settings_of
from svcdns.tally import Tally


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as one:
        yield one


def addresses(words: str, *options: str) -> list[str]:
    text = f". {{\n forward . {words} {{\n" + "".join(f"  {one}\n" for one in options) + " }\n}\n"
    settings = asyncio.run(with_addresses(settings_of(blocks_of(text)), Tally(CollectorRegistry())))
    return [str(one) for one in settings.blocks[0].forwards[0].to]


def resolver(upstream: ScriptedUpstream) -> str:
    return f"{upstream.address[0]}:{upstream.address[1]}"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("two.example.org", ["192.0.2.1:53", "192.0.2.2:53"]),
        ("192.0.2.9 two.example.org:5353", ["192.0.2.9:53", "192.0.2.1:5353", "192.0.2.2:5353"]),
        ("192.0.2.2 two.example.org", ["192.0.2.2:53", "192.0.2.1:53"]),
        ("tls://plain.example.org", ["tls://192.0.2.80:853"]),
        ("alias.example.org /etc/resolv.conf", ["192.0.2.84:53", "/etc/resolv.conf"]),
    ],
    ids=["two", "beside an address", "the same", "TLS", "through an alias, beside a file"],
)
def test_by_a_resolver(upstream: ScriptedUpstream, words: str, found: list[str]) -> None:
    assert addresses(words, f"resolver {resolver(upstream)}") == found


def test_the_next_resolver_is_asked_where_one_does_not_answer(upstream: ScriptedUpstream) -> None:
    assert addresses("plain.example.org", f"resolver 127.0.0.1:1 {resolver(upstream)}") == ["192.0.2.80:53"]


def test_by_the_system() -> None:
    assert "127.0.0.1:5355" in addresses("localhost:5355")


def test_the_certificates_name_goes_with_the_address(upstream: ScriptedUpstream) -> None:
    text = f". {{\n forward . tls://two.example.org%dns.example {{\n resolver {resolver(upstream)}\n }}\n}}\n"
    settings = asyncio.run(with_addresses(settings_of(blocks_of(text)), Tally(CollectorRegistry())))
    assert {getattr(one, "server_name", "") for one in settings.blocks[0].forwards[0].to} == {"dns.example"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nothing.example.org", "failed to resolve 'nothing.example.org': no addresses"),
        ("nodata.example.org", "failed to resolve 'nodata.example.org': no addresses"),
        ("many.example.org", "more than 15 upstreams: "),
        (SILENT.rstrip("."), f"failed to resolve '{SILENT.rstrip('.')}'"),
    ],
)
def test_refused(upstream: ScriptedUpstream, name: str, says: str) -> None:
    with pytest.raises(OSError, match=says):
        addresses(name, f"resolver {resolver(upstream)}")

"""`acl`: the first rule that fits decides, by name, type and network."""

from __future__ import annotations

import pytest

from svcdns.acl import AccessList
from svcdns.corefile import blocks_of
from svcdns.plugins import settings_of
from svcdns.records import TYPE_NUMBERS, name_of, packed, text_of

COREFILE = """
example.org cluster.local {
    acl a.example.org b.a.example.org {
        allow type A net 10.0.0.0/24 fd00::1
        block type A AAAA net 10.0.0.0/16 fd00::/8
        drop type TXT
    }
    acl {
        filter type MX
        drop net 192.0.2.1
    }
    acl cluster.local {
        block
    }
}
"""


@pytest.mark.parametrize(
    ("name", "kind", "client", "access", "zone"),
    [
        ("a.example.org", "A", "10.0.0.7", "allow", ""),
        ("a.example.org", "A", "10.0.1.7", "block", "a.example.org."),
        ("x.a.example.org", "AAAA", "10.0.0.7", "block", "a.example.org."),
        ("x.b.a.example.org", "AAAA", "10.0.0.7", "block", "b.a.example.org."),
        ("a.example.org", "A", "10.1.0.7", "allow", ""),
        ("a.example.org", "A", "fd00::1", "allow", ""),
        ("a.example.org", "A", "fd00::2", "block", "a.example.org."),
        ("a.example.org", "TXT", "2001:db8::1", "drop", "a.example.org."),
        ("a.example.org", "MX", "10.0.0.7", "filter", "example.org."),
        ("c.example.org", "A", "192.0.2.1", "drop", "example.org."),
        ("c.example.org", "A", "192.0.2.2", "allow", ""),
        ("web.cluster.local", "A", "192.0.2.2", "block", "cluster.local."),
        ("web.cluster.local", "A", "192.0.2.1", "drop", "cluster.local."),
    ],
)
def test_verdict(name: str, kind: str, client: str, access: str, zone: str) -> None:
    (block,) = settings_of(blocks_of(COREFILE)).blocks
    found, by = AccessList(block.access).verdict(name_of(name), TYPE_NUMBERS[kind], packed(client) or b"")
    assert found == access
    if access != "allow":
        assert text_of(by) == zone

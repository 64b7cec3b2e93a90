"""The bytes of a rule beside those that iptables-nft itself would send, which it shows when it is asked thrice."""

from __future__ import annotations

import re
import shlex
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest

from support.rule_shapes import every_shape
from support.site import lone_host
from svclab.netns import Host
from svcnet import nfnetlink
from svcnet.nftwire import encoded
from svcnet.rules import DROP, FAMILIES, L4, Comment, Family, Mark, Nfacct, Rule, Statistic, render
from svcnet.writers import Iptables

pytestmark = pytest.mark.netns

NEWRULE = "02566"  # NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE
EXPRESSIONS, COMPAT = 4, 5  # NFTA_RULE_EXPRESSIONS, NFTA_RULE_COMPAT
NO_PROTOCOL = nfnetlink.number(1, 0) + nfnetlink.number(2, 0)  # what the kernel assumes where nothing is said
_HEADER = re.compile(r"\|(\d{5})\|([N-])([B-])\|(\d{5})\|")
_DATA = re.compile(r"\| ((?:[0-9a-f]{2} ){4}) \|\s+\|      data ")


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with lone_host("wire") as found, found.entered():
        yield found


def sent(family: Family, table: str, words: str) -> dict[int, bytes]:
    """The attributes of the rule that iptables-nft makes of these words."""
    command = {"IPv4": "iptables-nft", "IPv6": "ip6tables-nft"}[family]
    subprocess.run([command, "-t", table, "-N", "SVCPLANE-SHAPES-2"], capture_output=True)
    argv = [command, "-vvv", "-t", table, "-A", "SVCPLANE-SHAPES-2", *shlex.split(words.replace(r"\'", "'"))]
    shown = subprocess.run(argv, capture_output=True, text=True, errors="replace").stdout
    (message,) = [each for each in shown.split("message length") if f"| {NEWRULE} |" in each]
    raw = b""
    for line in re.sub(r"\x1b\[[0-9;]*m", "", message).splitlines():
        if header := _HEADER.match(line):
            kind = int(header[4]) | (0x8000 if header[2] == "N" else 0) | (0x4000 if header[3] == "B" else 0)
            raw += struct.pack("=HH", int(header[1]), kind)
        elif data := _DATA.match(line):
            raw += bytes.fromhex(data[1])
    return nfnetlink.attributes(raw)


COMPARED = (1, 8, 9)
"""What ours are byte for byte. Later versions look at addresses before interfaces, and for IPv4's protocol into the
header: only there may ours differ from theirs."""


def _loading(name: str, *values: tuple[int, int]) -> bytes:
    data = nfnetlink.attribute(2 | nfnetlink.NESTED, *(nfnetlink.number(*each) for each in values))
    return nfnetlink.attribute(1 | nfnetlink.NESTED, nfnetlink.text(1, name), data)


IN_THE_HEADER = _loading("payload", (1, 1), (2, 1), (3, 9), (4, 1))  # register, network header, offset, length
AS_META = _loading("meta", (2, 16), (1, 1))  # NFT_META_L4PROTO


def matches(expressions: bytes) -> list[bytes]:
    """The expressions, those that load and work out a value with the one that looks at it."""
    found, begun, at = [], b"", 0
    while at < len(expressions):
        size = -(-int.from_bytes(expressions[at : at + 2], sys.byteorder) // 4) * 4
        element = expressions[at : at + size]
        begun, at = begun + element, at + size
        if nfnetlink.attributes(element[4:])[1].rstrip(b"\0") not in (b"meta", b"payload", b"bitwise"):
            found.append(begun)
            begun = b""
    return [*found, begun]


def comparable(rule: Rule) -> bool:
    """Not ports and marks, which 1.8.9 compares itself, nor shares, of which it leaves a field as it finds it.

    And words that mean the same to a shell-like reader as to iptables-restore.
    """
    comments = [each.text for each in rule.matches if isinstance(each, Comment)]
    plain = not any(re.search(r"[^\w /:,]", text) for text in comments)
    return plain and not any(isinstance(each, L4 | Mark | Statistic) for each in rule.matches)


COUNTED = Rule(matches=(Nfacct("ct_state_invalid_dropped_pkts"),), target=DROP)
"""No kernel that lacks the counter takes it; what is sent can be compared all the same."""
ROWS = [
    (family, table, rule)
    for family in FAMILIES
    for (table, _), rules in every_shape(family).items()
    for rule in (*rules, *([COUNTED] if table == "filter" else []))
    if comparable(rule)
]


@pytest.mark.parametrize(("family", "table", "rule"), ROWS, ids=[f"{row[0]} {render(row[2])[:60]}" for row in ROWS])
def test_the_same_bytes(host: Host, family: Family, table: str, rule: Rule) -> None:
    ours = nfnetlink.attributes(encoded(family, rule, aside=False))
    theirs = sent(family, table, render(rule))
    if Iptables(family, "nft").version() > COMPARED:
        as_ours = theirs[EXPRESSIONS].replace(IN_THE_HEADER, AS_META) if family == "IPv4" else theirs[EXPRESSIONS]
        assert sorted(matches(ours[EXPRESSIONS])) == sorted(matches(as_ours))
    else:
        assert ours[EXPRESSIONS] == theirs[EXPRESSIONS]
    assert ours.get(COMPAT, NO_PROTOCOL) == theirs[COMPAT]

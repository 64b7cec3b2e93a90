"""What netfilter would do, row by row: rules as a dump shows them, a packet, every outcome with its share. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcnet.rules import parse
from svcnet.trace import Host, Outcome, Packet, sentence, trace

HOST = Host(frozenset({"192.0.2.1", "fd00::1"}))
INCOMING = Packet("198.51.100.9", "192.0.2.1", 80, in_interface="eth0")
OUTGOING = Packet("192.0.2.1", "10.96.0.1", 80)
PASSING = Packet("10.244.1.2", "10.96.0.1", 80, in_interface="veth1")


def ruleset(rules: str, policies: str = "") -> str:
    """A dump from lines `table -A CHAIN ...`; user chains are declared by being named."""
    chains = {
        "raw": dict.fromkeys(("PREROUTING", "OUTPUT"), "ACCEPT"),
        "filter": dict.fromkeys(("INPUT", "FORWARD", "OUTPUT"), "ACCEPT"),
        "nat": dict.fromkeys(("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"), "ACCEPT"),
    }
    for each in policies.split():
        table, chain, policy = each.split(":")
        chains[table][chain] = policy
    lines = [line.strip().split(" ", 1) for line in rules.splitlines() if line.strip()]
    for table, line in lines:
        chains[table].setdefault(line.split()[1], "-")
    dump = []
    for table, known in chains.items():
        dump += [f"*{table}", *(f":{name} {policy} [0:0]" for name, policy in known.items())]
        dump += [line for owner, line in lines if owner == table] + ["COMMIT"]
    return "\n".join(dump) + "\n"


def outcomes(rules: str, packet: Packet = INCOMING, host: Host = HOST, policies: str = "") -> list[Outcome]:
    return trace(parse(ruleset(rules, policies)), host, packet)


def shares(found: list[Outcome]) -> dict[str, Fraction]:
    """Verdict, or where it lands: with which share."""
    summed: dict[str, Fraction] = {}
    for each in found:
        where = f"{each.destination}:{each.port}" if each.verdict == "ACCEPT" else each.verdict
        summed[where] = summed.get(where, Fraction()) + each.share
    return summed


class Row(msgspec.Struct):
    """`verdict` of a single outcome, and any other of its fields."""

    id: str
    rules: str
    verdict: str
    packet: Packet = INCOMING
    fields: Mapping[str, Any] = {}
    policies: str = ""
    host: Host = HOST


HALF = Fraction(1, 2)
DNAT = "nat -A PREROUTING -j DNAT --to-destination 10.244.1.3:8080"
SET = "nat -A PREROUTING -j MARK --set-xmark 0x4000/0x4000"
CLEAR = "nat -A PREROUTING -j MARK --set-xmark 0x4000/0x0"
DROP_MARKED = "filter -A INPUT -m mark --mark 0x4000/0x4000 -j DROP"
ROWS = [
    Row("no rules, to this host", "", "ACCEPT", fields={"delivered": "local", "rules_met": 0}),
    Row("no rules, through this host", "", "ACCEPT", PASSING, {"delivered": "forwarded"}),
    Row("no rules, from this host", "", "ACCEPT", OUTGOING, {"delivered": "forwarded"}),
    Row("loopback is local", "", "ACCEPT", Packet("127.0.0.1", "127.0.0.53", 53), {"delivered": "local"}),
    Row("policy DROP", "", "DROP", policies="filter:INPUT:DROP"),
    Row("policy of another hook", "", "ACCEPT", policies="filter:FORWARD:DROP"),
    Row("RETURN in a hook meets its policy", "filter -A INPUT -j RETURN", "DROP", policies="filter:INPUT:DROP"),
    Row("ACCEPT before the policy", "filter -A INPUT -j ACCEPT", "ACCEPT", policies="filter:INPUT:DROP"),
    Row("REJECT", "filter -A INPUT -j REJECT --reject-with icmp-port-unreachable", "REJECT"),
    Row(
        "a chain's end returns to its caller",
        """filter -A INPUT -j A
           filter -A A -s 10.0.0.0/8 -j ACCEPT
           filter -A INPUT -j DROP""",
        "DROP",
        fields={"rules_met": 3},
    ),
    Row(
        "RETURN leaves one chain",
        """filter -A INPUT -j A
           filter -A A -j RETURN
           filter -A A -j ACCEPT
           filter -A INPUT -j DROP""",
        "DROP",
    ),
    Row(
        "goto returns to the caller's caller",
        """filter -A INPUT -j A
           filter -A A -g B
           filter -A A -j ACCEPT
           filter -A B -s 10.0.0.0/8 -j ACCEPT
           filter -A INPUT -j DROP""",
        "DROP",
    ),
    Row("goto from a hook meets the policy", "filter -A INPUT -g B", "DROP", policies="filter:INPUT:DROP"),
    Row("a rule without target only counts", "filter -A INPUT -p tcp", "ACCEPT", fields={"rules_met": 1}),
    Row("a jump to nowhere, such as LOG", "filter -A INPUT -j LOG\n filter -A INPUT -j DROP", "DROP"),
    # matches
    Row("source", "filter -A INPUT -s 198.51.100.0/24 -j DROP", "DROP"),
    Row("not the source", "filter -A INPUT ! -s 198.51.100.0/24 -j DROP", "ACCEPT"),
    Row("destination", "filter -A INPUT -d 192.0.2.1/32 -j DROP", "DROP"),
    Row("not the destination", "filter -A INPUT ! -d 192.0.2.1/32 -j DROP", "ACCEPT"),
    Row("interface", "filter -A INPUT -i eth0 -j DROP", "DROP"),
    Row("interface prefix", "filter -A INPUT -i eth+ -j DROP", "DROP"),
    Row("other interface prefix", "filter -A INPUT -i cni+ -j DROP", "ACCEPT"),
    Row("not the interface", "filter -A INPUT ! -i eth0 -j DROP", "ACCEPT"),
    Row("what we send has no interface", "nat -A OUTPUT ! -i cni0 -j DROP", "DROP", OUTGOING),
    Row("protocol", "filter -A INPUT -p udp -j DROP", "ACCEPT"),
    Row("port", "filter -A INPUT -p tcp -m tcp --dport 80 -j DROP", "DROP"),
    Row("other port", "filter -A INPUT -p tcp -m tcp --dport 81 -j DROP", "ACCEPT"),
    Row("any port", "filter -A INPUT -p tcp -m tcp -j DROP", "DROP"),
    Row("state", "filter -A INPUT -m conntrack --ctstate NEW -j DROP", "DROP"),
    Row("other state", "filter -A INPUT -m conntrack --ctstate INVALID,ESTABLISHED -j DROP", "ACCEPT"),
    Row("not that state", "filter -A INPUT -m conntrack ! --ctstate NEW -j DROP", "ACCEPT"),
    Row(
        "state DNAT after DNAT",
        f"{DNAT}\n filter -A FORWARD -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
        "ACCEPT",
    ),
    Row("local source", "filter -A OUTPUT -m addrtype --src-type LOCAL -j DROP", "DROP", OUTGOING),
    Row("foreign source", "filter -A INPUT -m addrtype --src-type LOCAL -j DROP", "ACCEPT"),
    Row("local destination", "filter -A INPUT -m addrtype --dst-type LOCAL -j DROP", "DROP"),
    Row("addrtype of another kind", "filter -A INPUT -m addrtype --dst-type BROADCAST -j DROP", "ACCEPT"),
    Row(
        "no fresh entry",
        "filter -A INPUT -m recent --rcheck --seconds 9 --reap --name L --mask 255.255.255.255 --rsource -j DROP",
        "ACCEPT",
    ),
    Row(
        "a fresh entry",
        "filter -A INPUT -m recent --rcheck --seconds 9 --reap --name L --mask 255.255.255.255 --rsource -j DROP",
        "DROP",
        host=Host(HOST.addresses, frozenset({"L"})),
    ),
    Row(
        "setting an entry",
        "filter -A INPUT -m recent --set --name L --mask 255.255.255.255 --rsource -j ACCEPT",
        "ACCEPT",
        fields={"remembers": frozenset({"L"})},
    ),
    Row(
        "a counter and a comment match",
        'filter -A INPUT -m comment --comment "x y" -m nfacct --nfacct-name n -j DROP',
        "DROP",
    ),
    # marks
    Row(
        "a mark that was set",
        f"{SET}\n {DROP_MARKED}",
        "DROP",
    ),
    Row(
        "a mark that was cleared",
        f"{SET}\n {CLEAR}\n {DROP_MARKED}",
        "ACCEPT",
    ),
    Row(
        "other bits stay",
        f"nat -A PREROUTING -j MARK --set-xmark 0x1/0x1\n {SET}\n filter -A INPUT -m mark --mark 0x4001 -j DROP",
        "DROP",
    ),
    Row("not that mark", "filter -A INPUT -m mark ! --mark 0x4000/0x4000 -j DROP", "DROP"),
    # targets and the order of hooks
    Row(
        "DNAT ends the table and is routed",
        f"{DNAT}\n nat -A PREROUTING -j DROP\n filter -A INPUT -j DROP",
        "ACCEPT",
        fields={"destination": "10.244.1.3", "port": 8080, "delivered": "forwarded"},
    ),
    Row(
        "DNAT to this host",
        "nat -A OUTPUT -j DNAT --to-destination 127.0.0.1:53",
        "ACCEPT",
        OUTGOING,
        {"delivered": "local", "port": 53},
    ),
    Row(
        "DNAT to an IPv6 endpoint",
        "nat -A PREROUTING -j DNAT --to-destination [fd00::7]:8080",
        "ACCEPT",
        Packet("fd00::9", "fd00:10::1", 80, in_interface="eth0"),
        {"destination": "fd00::7", "port": 8080},
    ),
    Row(
        "filter sees the address after DNAT",
        f"{DNAT}\n filter -A FORWARD -d 10.244.1.3/32 -p tcp -m tcp --dport 8080 -j DROP",
        "DROP",
    ),
    Row("masquerade", "nat -A POSTROUTING -j MASQUERADE --random-fully", "ACCEPT", PASSING, {"masqueraded": True}),
    Row(
        "what is for us is not masqueraded", "nat -A POSTROUTING -j MASQUERADE", "ACCEPT", fields={"masqueraded": False}
    ),
    Row(
        "FORWARD drops before POSTROUTING",
        "filter -A FORWARD -j DROP\n nat -A POSTROUTING -j MASQUERADE",
        "DROP",
        PASSING,
        {"masqueraded": False},
    ),
    Row("OUTPUT drops what we send", "filter -A OUTPUT -j DROP", "DROP", OUTGOING),
    Row("OUTPUT drops not what passes", "filter -A OUTPUT -j DROP", "ACCEPT", PASSING),
    Row(
        "to ourselves, by loopback, through INPUT",
        "filter -A INPUT -i lo -j DROP",
        "DROP",
        Packet("192.0.2.1", "192.0.2.1", 80),
    ),
    # what we do not interpret
    Row(
        "an unknown match may have decided",
        "filter -A INPUT -m geoip --cc XX -j DROP",
        "ACCEPT",
        fields={"unknown": ("-m geoip --cc XX",)},
    ),
    Row(
        "an unknown match could not have",
        "filter -A INPUT -s 10.0.0.0/8 -m geoip --cc XX -j DROP",
        "ACCEPT",
        fields={"unknown": ()},
    ),
    Row(
        "an unknown target",
        "nat -A POSTROUTING -j SNAT --to-source 192.0.2.9",
        "ACCEPT",
        PASSING,
        {"unknown": ("-j SNAT --to-source 192.0.2.9",), "masqueraded": False},
    ),
    Row(
        "an unknown target of a rule that does not match",
        "nat -A POSTROUTING -s 10.0.0.0/24 -j SNAT --to-source 192.0.2.9",
        "ACCEPT",
        PASSING,
        {"unknown": ()},
    ),
    *(
        Row(
            f"what is not tracked meets no nat rule ({target})",
            f"""raw -A PREROUTING -d 192.0.2.1/32 -p tcp -m tcp --dport 80 -j {target}
                {DNAT}
                filter -A INPUT -m conntrack --ctstate UNTRACKED -j REJECT --reject-with icmp-port-unreachable""",
            "REJECT",
            fields={"destination": "192.0.2.1", "port": 80, "unknown": ()},
        )
        for target in ("NOTRACK", "CT --notrack")
    ),
    Row(
        "raw of another packet",
        f"raw -A PREROUTING -d 192.0.2.2/32 -j NOTRACK\n{DNAT}",
        "ACCEPT",
        fields={"destination": "10.244.1.3"},
    ),
    Row(
        "not tracked on its way out",
        """raw -A OUTPUT -j NOTRACK
                                         nat -A POSTROUTING -j MASQUERADE""",
        "ACCEPT",
        OUTGOING,
        {"masqueraded": False},
    ),
    Row("raw drops", "raw -A PREROUTING -j DROP", "DROP"),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_one_outcome(row: Row) -> None:
    (found,) = outcomes(row.rules, row.packet, row.host, row.policies)
    assert (found.verdict, found.share) == (row.verdict, 1)
    assert {name: getattr(found, name) for name in row.fields} == row.fields


SPLIT = """nat -A PREROUTING -m statistic --mode random --probability 0.33333333349 -j DNAT --to-destination 10.0.0.1:80
           nat -A PREROUTING -m statistic --mode random --probability 0.50000000000 -j DNAT --to-destination 10.0.0.2:80
           nat -A PREROUTING -j DNAT --to-destination 10.0.0.3:80"""


def test_shares_of_three() -> None:
    found = shares(outcomes(SPLIT))
    first = Fraction(715827883, 1 << 31)
    assert found == {"10.0.0.1:80": first, "10.0.0.2:80": (1 - first) / 2, "10.0.0.3:80": (1 - first) / 2}


PROBABILITIES = [
    ("never", "0.00000000000", {"192.0.2.1:80": Fraction(1)}),
    ("always", "1.00000000000", {"DROP": Fraction(1)}),
    ("half", "0.50000000000", {"DROP": HALF, "192.0.2.1:80": HALF}),
]


@pytest.mark.parametrize(
    ("probability", "wanted"), [row[1:] for row in PROBABILITIES], ids=[row[0] for row in PROBABILITIES]
)
def test_a_probability_splits_only_where_both_ways_are_open(probability: str, wanted: dict[str, Fraction]) -> None:
    found = outcomes(f"filter -A INPUT -m statistic --mode random --probability {probability} -j DROP")
    assert shares(found) == wanted
    assert len(found) == len(wanted)


def test_the_most_likely_comes_first() -> None:
    rules = "filter -A INPUT -m statistic --mode random --probability 0.90000000037 -j DROP"
    assert [each.verdict for each in outcomes(rules)] == ["DROP", "ACCEPT"]


@given(
    st.lists(st.tuples(st.integers(0, 1 << 31), st.sampled_from(["DROP", "ACCEPT", "RETURN", "A", "B"])), max_size=6)
)
def test_every_rulesets_shares_add_up_to_one(rows: list[tuple[int, str]]) -> None:
    lines = ["filter -A A -m statistic --mode random --probability 0.25000000000 -j DROP", "filter -A B -j A"]
    for threshold, target in rows:
        chance = f"-m statistic --mode random --probability {threshold / (1 << 31):.11f}"
        lines.append(f"filter -A INPUT {chance} -j {target}")
    assert sum(each.share for each in outcomes("\n".join(lines))) == 1


def test_steps_name_the_rules_that_matched() -> None:
    rules = """nat -A PREROUTING -m comment --comment "kubernetes service portals" -j A
               nat -A A -s 10.0.0.0/8 -j ACCEPT
               nat -A A -j DNAT --to-destination 10.244.1.3:8080"""
    (found,) = outcomes(rules)
    assert [str(step) for step in found.steps] == [
        'nat PREROUTING 1: -m comment --comment "kubernetes service portals" -j A',
        "nat A 2: -j DNAT --to-destination 10.244.1.3:8080",
    ]


SENTENCES = [
    ("refused", "filter -A INPUT -j REJECT --reject-with x", INCOMING, "refused after 1 rules"),
    ("dropped", "filter -A INPUT -j DROP", INCOMING, "dropped after 1 rules"),
    ("delivered", "", INCOMING, "delivered here at 192.0.2.1:80 after 0 rules"),
    (
        "sent on, IPv6",
        "nat -A PREROUTING -j DNAT --to-destination [fd00::7]:8080\n nat -A POSTROUTING -j MASQUERADE",
        Packet("fd00::9", "fd00:10::1", 80, in_interface="eth0"),
        "sent to [fd00::7]:8080, masqueraded after 2 rules",
    ),
    (
        "uncertain",
        "filter -A INPUT -m geoip --cc XX -j DROP",
        INCOMING,
        "delivered here at 192.0.2.1:80 after 1 rules, not interpreted: -m geoip --cc XX",
    ),
]


@pytest.mark.parametrize(("rules", "packet", "text"), [row[1:] for row in SENTENCES], ids=[row[0] for row in SENTENCES])
def test_a_sentence_for_people(rules: str, packet: Packet, text: str) -> None:
    (found,) = outcomes(rules, packet)
    assert sentence(found) == text


def test_a_share_in_a_sentence() -> None:
    found = outcomes("filter -A INPUT -m statistic --mode random --probability 0.25000000000 -j DROP")
    assert [sentence(each) for each in found] == [
        "75.0% delivered here at 192.0.2.1:80 after 1 rules",
        "25.0% dropped after 1 rules",
    ]

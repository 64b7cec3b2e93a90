"""Rules as text: what iptables-save prints, and back. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.rule_shapes import every_shape, names, rules
from svcnet.rules import (
    ACCEPT,
    DROP,
    FAMILIES,
    L4,
    RETURN,
    Addrtype,
    Chain,
    Comment,
    Ctstate,
    Dnat,
    Goto,
    Jump,
    Mark,
    Masquerade,
    Nfacct,
    Not,
    Other,
    Recent,
    Reject,
    Rule,
    SetXmark,
    Statistic,
    Tables,
    comments_last,
    comparable,
    dump_lines,
    host_cidr,
    parse,
    parse_rule,
    render,
    render_tables,
    statistic_for,
)

V4, V6 = "255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

# Lines of real dumps (iptables 1.8.9, kube-proxy 1.36 and Docker), and what they say.
LINES = [
    ("-m mark ! --mark 0x4000/0x4000 -j RETURN", Rule(matches=(Mark(0x4000, 0x4000, negated=True),), target=RETURN)),
    ("-j MARK --set-xmark 0x4000/0x0", Rule(target=SetXmark(0x4000, 0))),
    ("-m mark --mark 0x1 -j ACCEPT", Rule(matches=(Mark(1, 0xFFFFFFFF),), target=ACCEPT)),
    ("-j MASQUERADE --random-fully", Rule(target=Masquerade(random_fully=True))),
    (
        '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE',
        Rule(matches=(Comment("kubernetes service traffic requiring SNAT"),), target=Masquerade()),
    ),
    (
        '-d 172.30.0.41/32 -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-SVC-X',
        Rule(
            destination="172.30.0.41/32",
            protocol="tcp",
            matches=(Comment("ns1/svc1:p80 cluster IP"), L4("tcp", 80)),
            target=Jump("KUBE-SVC-X"),
        ),
    ),
    (
        '! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" '
        "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
        Rule(
            source=Not("127.0.0.0/8"),
            destination="127.0.0.0/8",
            matches=(Comment("block incoming localnet connections"), Ctstate("RELATED,ESTABLISHED,DNAT", negated=True)),
            target=DROP,
        ),
    ),
    (
        "-m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-Y",
        Rule(matches=(Statistic(715827883),), target=Jump("KUBE-SEP-Y")),
    ),
    (
        f"-m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-Z --mask {V4} --rsource -j KUBE-SEP-Z",
        Rule(matches=(Recent("rcheck", "KUBE-SEP-Z", V4, 10800),), target=Jump("KUBE-SEP-Z")),
    ),
    (
        f"-p tcp -m recent --set --name KUBE-SEP-Z --mask {V6} --rsource -m tcp "
        "-j DNAT --to-destination [fd00:10:180::7]:8080",
        Rule(
            protocol="tcp",
            matches=(Recent("set", "KUBE-SEP-Z", V6), L4("tcp")),
            target=Dnat("[fd00:10:180::7]:8080"),
        ),
    ),
    ("-m addrtype --src-type LOCAL -j X", Rule(matches=(Addrtype("src"),), target=Jump("X"))),
    ("-m addrtype --dst-type BROADCAST -j X", Rule(matches=(Addrtype("dst", "BROADCAST"),), target=Jump("X"))),
    ("-m nfacct --nfacct-name n -j DROP", Rule(matches=(Nfacct("n"),), target=DROP)),
    ("-j REJECT --reject-with icmp6-port-unreachable", Rule(target=Reject("icmp6-port-unreachable"))),
    ("! -i cni+ -p udp -j X", Rule(in_interface=Not("cni+"), protocol="udp", target=Jump("X"))),
    (
        '-m comment --comment "other traffic to ns/lb will be dropped by KUBE-PROXY-FIREWALL"',
        Rule(matches=(Comment("other traffic to ns/lb will be dropped by KUBE-PROXY-FIREWALL"),)),
    ),
    ("-p tcp -g cali-from-host", Rule(protocol="tcp", target=Goto("cali-from-host"))),
    (
        "-p tcp -m tcp --dport 30000:32767 -j X",
        Rule(protocol="tcp", matches=(L4("tcp", 30000, 32767),), target=Jump("X")),
    ),
    # what other programs write, and we keep word for word
    (
        "-p tcp -m multiport --dports 80,443 -j X",
        Rule(protocol="tcp", matches=(Other("-m multiport --dports 80,443"),), target=Jump("X")),
    ),
    ('-j LOG --log-prefix "[UFW BLOCK] "', Rule(target=Other('-j LOG --log-prefix "[UFW BLOCK] "'))),
    ("-j SNAT --to-source 10.0.0.1", Rule(target=Other("-j SNAT --to-source 10.0.0.1"))),
    (
        '-m string --string "a \\"b\\" \\\\c" --algo bm',
        Rule(matches=(Other('-m string --string "a \\"b\\" \\\\c" --algo bm'),)),
    ),
    # comments that look like options, and the characters that iptables-save escapes
    ("-m comment --comment -m -j X", Rule(matches=(Comment("-m"),), target=Jump("X"))),
    ('-m comment --comment "-j DROP" -j X', Rule(matches=(Comment("-j DROP"),), target=Jump("X"))),
    ('-m comment --comment "it\\\'s \\"so\\" \\\\" -j X', Rule(matches=(Comment('it\'s "so" \\'),), target=Jump("X"))),
    ('-m comment --comment "" -j X', Rule(matches=(Comment(""),), target=Jump("X"))),
]


@pytest.mark.parametrize(("line", "rule"), LINES, ids=[line for line, _ in LINES])
def test_a_line_of_a_dump_reads_and_writes(line: str, rule: Rule) -> None:
    assert parse_rule(line) == rule
    assert render(rule) == line


FOREIGN_ORDER = [
    # The interface of the way out comes before -p in a dump; we keep it as a foreign match, and lose the place.
    (
        "-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
        Rule("172.17.0.0/16", matches=(Other("! -o docker0"),), target=Masquerade()),
    ),
    ("-o eth0 -p tcp -j X", Rule(protocol="tcp", matches=(Other("-o eth0"),), target=Jump("X"))),
    ("! -p tcp -j X", Rule(matches=(Other("! -p tcp"),), target=Jump("X"))),
    ("-f -j DROP", Rule(matches=(Other("-f"),), target=DROP)),
]


@pytest.mark.parametrize(("line", "rule"), FOREIGN_ORDER, ids=[line for line, _ in FOREIGN_ORDER])
def test_what_we_do_not_know_is_never_taken_for_nothing(line: str, rule: Rule) -> None:
    assert parse_rule(line) == rule


@given(rules)
def test_every_rule_reads_back(rule: Rule) -> None:
    assert parse_rule(render(rule)) == rule


@pytest.mark.parametrize("family", FAMILIES)
def test_one_rule_of_each_shape_reads_back(family: str) -> None:
    shapes = [rule for found in every_shape(family).values() for rule in found]  # type: ignore[arg-type]  # a Family
    assert [parse_rule(render(rule)) for rule in shapes] == shapes


chains = st.dictionaries(
    names,
    st.tuples(st.lists(rules, max_size=3).map(tuple), st.sampled_from(["-", "ACCEPT", "DROP"])),
    min_size=1,
    max_size=3,
)


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(["mangle", "filter", "nat"]), chains, min_size=1, max_size=2))
def test_every_dump_reads_back(shape: dict[str, dict[str, tuple[tuple[Rule, ...], str]]]) -> None:
    tables: Tables = {
        table: {name: Chain(name, found, policy) for name, (found, policy) in known.items()}
        for table, known in shape.items()
    }
    assert parse(render_tables(tables)) == tables


DOCKER = r"""# Generated by iptables-save v1.8.9 (nf_tables) on Sat Nov 21 06:00:00 2026
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [12:720]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
[5:300] -A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-USER -j RETURN
-A DOCKER-USER
COMMIT
# Completed on Sat Nov 21 06:00:00 2026
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SEP-A - [0:0]
-A KUBE-SEP-A -p tcp -m nfacct --nfacct-name  foo -m tcp -j DNAT --to-destination 10.0.0.1:80
COMMIT
# Warning: iptables-legacy tables present, use iptables-legacy-save to see them
"""


def test_a_docker_hosts_dump() -> None:
    tables = parse(DOCKER)
    assert {table: list(known) for table, known in tables.items()} == {
        "filter": ["INPUT", "FORWARD", "DOCKER", "DOCKER-USER"],
        "nat": ["PREROUTING", "KUBE-SEP-A"],
    }
    assert tables["filter"]["FORWARD"] == Chain(
        "FORWARD",
        (
            Rule(target=Jump("DOCKER-USER")),
            Rule(matches=(Other("-o docker0"), Ctstate("RELATED,ESTABLISHED")), target=ACCEPT),
        ),
        "DROP",
    )
    assert tables["filter"]["DOCKER-USER"].rules == (Rule(target=RETURN), Rule())
    assert tables["nat"]["KUBE-SEP-A"].rules[0].matches == (Nfacct("foo"), L4("tcp"))


def test_lines_come_as_the_dump_orders_them() -> None:
    assert list(dump_lines(DOCKER))[:6] == [
        ("filter", "INPUT", ""),
        ("filter", "FORWARD", ""),
        ("filter", "DOCKER", ""),
        ("filter", "DOCKER-USER", ""),
        ("filter", "FORWARD", "-j DOCKER-USER"),
        ("filter", "FORWARD", "-o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
    ]


@pytest.mark.parametrize("line", ["iptables: Permission denied.", "-P INPUT ACCEPT", "-A"])
def test_what_is_no_dump_is_refused_by_its_line(line: str) -> None:
    with pytest.raises(ValueError, match="not a line of iptables-save") as refused:
        list(dump_lines(f"*nat\n{line}\nCOMMIT\n"))
    assert repr(line) in str(refused.value)


SHARES = [
    (2, "0.50000000000"),
    (3, "0.33333333349"),
    (6, "0.16666666651"),
    (10, "0.10000000009"),
    (100, "0.00999999978"),
]


@pytest.mark.parametrize(("share", "printed"), SHARES, ids=[str(share) for share, _ in SHARES])
def test_a_share_is_printed_as_the_kernel_keeps_it(share: int, printed: str) -> None:
    assert render(Rule(matches=(statistic_for(share),))) == f"-m statistic --mode random --probability {printed}"


@pytest.mark.parametrize(("address", "cidr"), [("10.0.0.1", "10.0.0.1/32"), ("fd00::1", "fd00::1/128")])
def test_a_host_is_a_cidr_of_one(address: str, cidr: str) -> None:
    assert host_cidr(address) == cidr


@given(rules)
def test_every_rule_is_compared_with_its_comments_last(rule: Rule) -> None:
    assert comparable(rule) == comments_last(render(rule))

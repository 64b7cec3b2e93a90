"""Rules of every shape that svcplane writes, as hypothesis strategies.

A shape is what the kernel's own tools would print: canonical CIDRs, comments of at most 255 bytes, thresholds that come
from a share. `every_shape` gives one rule of each, for tests that pay for a kernel.
"""

from __future__ import annotations

from hypothesis import strategies as st

from svcnet.rules import (
    ACCEPT,
    DROP,
    L4,
    RETURN,
    Addrtype,
    Comment,
    Ctstate,
    Dnat,
    Family,
    Goto,
    Jump,
    Mark,
    Masquerade,
    Match,
    Nfacct,
    Not,
    Recent,
    Reject,
    Rule,
    SetXmark,
    Statistic,
    Target,
    statistic_for,
)

WHOLE = 0xFFFFFFFF

names = st.from_regex(r"[A-Z][A-Z0-9-]{0,27}", fullmatch=True)
ports = st.integers(1, 65535)
protocols = st.sampled_from(["tcp", "udp", "sctp"])
marks = st.integers(0, WHOLE)
comments = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x2FF, exclude_categories=["Cc", "Cs"]), max_size=60
).map(Comment)
addresses4 = st.ip_addresses(v=4).map(str)
addresses6 = st.ip_addresses(v=6).map(str)
networks = st.one_of(
    st.builds("{}/32".format, addresses4), st.builds("{}/128".format, addresses6), st.just("10.244.0.0/16")
)
interfaces = st.sampled_from(["eth0", "cni+", "veth1234"])


def negatable(values: st.SearchStrategy[str]) -> st.SearchStrategy[str | Not]:
    return st.one_of(st.just(""), values, values.map(Not))


matches: st.SearchStrategy[Match] = st.one_of(
    comments,
    st.builds(L4, protocols, st.none() | ports),
    st.builds(L4, protocols, st.integers(1, 30000), st.integers(30001, 65535)),
    st.builds(Mark, marks, marks, st.booleans()),
    st.builds(Ctstate, st.sampled_from(["NEW", "INVALID", "RELATED,ESTABLISHED,DNAT"]), st.booleans()),
    st.builds(Addrtype, st.sampled_from(["src", "dst"])),
    st.integers(2, 10_000).map(statistic_for),
    st.integers(0, 1 << 31).map(Statistic),
    st.builds(Recent, st.just("set"), names, st.just("255.255.255.255")),
    st.builds(Recent, st.just("rcheck"), names, st.just("255.255.255.255"), st.integers(1, 86400)),
    st.builds(Nfacct, st.just("ct_state_invalid_dropped_pkts")),
)
targets: st.SearchStrategy[Target | None] = st.one_of(
    st.none(),
    st.builds(Jump, names),
    st.builds(Goto, names),
    st.builds(Reject, st.sampled_from(["icmp-port-unreachable", "icmp6-port-unreachable"])),
    st.builds(SetXmark, marks, marks),
    st.builds(Masquerade, st.booleans()),
    st.builds("{}:{}".format, addresses4, ports).map(Dnat),
    st.builds("[{}]:{}".format, addresses6, ports).map(Dnat),
)
rules = st.builds(
    Rule,
    source=negatable(networks),
    destination=negatable(networks),
    in_interface=negatable(interfaces),
    protocol=st.just("") | protocols,
    matches=st.lists(matches, max_size=4).map(tuple),
    target=targets,
)


def every_shape(family: Family) -> dict[tuple[str, str], list[Rule]]:
    """(table, hook from which the kernel lets it be reached) to rules: one of each shape, of one family."""
    four = family == "IPv4"
    host, net = ("10.96.0.10/32", "10.244.0.0/16") if four else ("fd00:10:96::a/128", "fd00:10:244::/56")
    mask = "255.255.255.255" if four else "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    text = Comment("ns1/svc1:p80 cluster IP")
    endpoint = "10.180.0.1:80" if four else "[fd00:10:180::7]:8080"
    return {
        ("nat", "PREROUTING"): [
            Rule(),
            Rule(source=host, destination=net, in_interface="eth0", protocol="tcp"),
            Rule(source=Not(host), destination=Not(net), in_interface=Not("cni+"), protocol="udp"),
            *(Rule(protocol=each, matches=(text, L4(each, 80)), target=RETURN) for each in ("tcp", "udp", "sctp")),
            Rule(protocol="tcp", matches=(L4("tcp"), text)),
            *(Rule(protocol=each, matches=(text, L4(each, 0, 16383))) for each in ("tcp", "udp", "sctp")),
            *(Rule(protocol=each, matches=(text, L4(each, 30000, 65535))) for each in ("tcp", "udp", "sctp")),
            *(Rule(destination=f"10.96.0.0/{bits}", target=RETURN) for bits in (11, 14, 22) if four),
            *(Rule(destination=f"fd00:10:96::/{bits}", target=RETURN) for bits in (50, 106) if not four),
            Rule(matches=(Comment("plain-word_1"),), target=RETURN),
            Rule(matches=(Comment("quotes \" ' and \\ backslash; semicolon * star $HOME"),), target=ACCEPT),
            Rule(matches=(Comment("-m"), Comment("!")), target=ACCEPT),
            Rule(matches=(Comment("x" * 255),), target=ACCEPT),
            *(Rule(matches=(statistic_for(share),), target=RETURN) for share in range(2, 40)),
            *(Rule(matches=(statistic_for(share),), target=RETURN) for share in (100, 1000, 100_001)),
            Rule(matches=(Recent("rcheck", "KUBE-SEP-A", mask, 10800),), target=RETURN),
            Rule(protocol="tcp", matches=(Recent("set", "KUBE-SEP-A", mask), L4("tcp")), target=Dnat(endpoint)),
            Rule(matches=(Mark(0x4000, 0x4000),), target=SetXmark(0x4000, 0x4000)),
            Rule(matches=(Mark(0x4000, 0x4000, negated=True),), target=SetXmark(0x4000, 0)),
            Rule(matches=(Mark(1, WHOLE), Mark(0, WHOLE, negated=True)), target=SetXmark(1, WHOLE)),
            Rule(matches=(Addrtype("dst"),), target=ACCEPT),
            Rule(matches=(Addrtype("src"),), target=ACCEPT),
        ],
        ("nat", "POSTROUTING"): [Rule(target=Masquerade()), Rule(matches=(text,), target=Masquerade(True))],
        ("filter", "FORWARD"): [
            Rule(matches=(Ctstate("INVALID"),), target=DROP),
            Rule(matches=(Ctstate("NEW"), text), target=RETURN),
            Rule(matches=(Ctstate("RELATED,ESTABLISHED,DNAT", negated=True),), target=DROP),
            Rule(target=Reject("icmp-port-unreachable" if four else "icmp6-port-unreachable")),
            Rule(matches=(text,), target=Goto("SVCPLANE-SHAPES-2")),
            Rule(matches=(text,), target=Jump("SVCPLANE-SHAPES-2")),
        ],
    }

"""The node's cache without a node: flags, the Corefile's variables, rules as values."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from support.corefiles import KUBEADM, NODE_LOCAL
from svcdns import notrack
from svcdns.corefile import blocks_of
from svcdns.nodeflags import NodeLocal
from svcdns.nodelocal import adapted
from svcdns.options import parse
from svcdns.pillars import Pillars, filled, variable_of
from svcdns.plugins import settings_of
from svcdns.records import text_of
from svcdns.settings import Endpoint, Reload, Upstream

LOCAL = ("169.254.20.10", "10.96.0.10")
USUAL = NodeLocal(LOCAL)


def told(*words: str) -> NodeLocal:
    found = parse(words)
    assert isinstance(found, NodeLocal)
    return found


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        pytest.param("-localip 169.254.20.10,10.96.0.10", {}, id="node-cache"),
        pytest.param("-localip=169.254.20.10,10.96.0.10 -conf /etc/Corefile -upstreamsvc kube-dns-upstream",
                     {"conf": "/etc/Corefile", "upstream_service": "kube-dns-upstream"}, id="its manifest's args"),
        pytest.param("-conf /c --localip 169.254.20.10,10.96.0.10 -skipteardown=true -setupinterface=false",
                     {"conf": "/c", "keep": True, "links": False}, id="keepalived's"),
        pytest.param("nodelocal --local-ip 169.254.20.10,10.96.0.10", {}, id="ours"),
        pytest.param("nodelocal -localip 169.254.20.10,10.96.0.10 -skipteardown", {"keep": True}, id="a word is true"),
        pytest.param("-localip 169.254.20.10,10.96.0.10 -setupiptables=f", {"rules": False}, id="as Go spells it"),
        pytest.param("-localip 169.254.20.10,10.96.0.10 -setupebtables=false", {}, id="of older versions"),
        pytest.param("-localip 169.254.20.10,10.96.0.10 -syncinterval 90", {"sync_seconds": 90.0}, id="seconds"),
        pytest.param("-localip 169.254.20.10,10.96.0.10 -syncinterval 1m30s", {"sync_seconds": 90.0}, id="a duration"),
        pytest.param("-localip 169.254.20.10,10.96.0.10 -interfacename nld0 -health-port 8081 -dns.port=1053",
                     {"interface": "nld0", "health_port": 8081, "port": 1053}, id="names and ports"),
        pytest.param("-localip 169.254.20.10,10.96.0.10 -metrics-listen-address= -kubednscm /k -reloadwithsignal",
                     {"http": "", "kube_dns_map": "/k", "reload": True}, id="the rest"),
        pytest.param("-localip 169.254.20.10,10.96.0.10 -basecorefile /b -corefile /c -pidfile /p",
                     {"template": "/b", "conf": "/c", "pidfile": "/p"}, id="files"),
        pytest.param("nodelocal --local-ip 169.254.20.10,10.96.0.10 --cluster-dns 10.96.0.11,10.244.1.2 --cleanup",
                     {"cluster_dns": ("10.96.0.11", "10.244.1.2"), "role": "cleanup"}, id="of our own"),
        pytest.param("nodelocal --local-ip 169.254.20.10,10.96.0.10 --node-name here --kubeconfig /k",
                     {"node_name": "here", "kubeconfig": "/k"}, id="whose pods"),
        pytest.param("nodelocal --local-ip 169.254.20.10,10.96.0.10 --guard --serve-stale=0",
                     {"role": "guard", "stale": 0.0}, id="a guard"),
        pytest.param("-localip fd00:0:0::000A", {"addresses": ("fd00::a",)}, id="canonical"),
    ],
)  # fmt: skip
def test_flags(words: str, changes: dict[str, Any]) -> None:
    assert told(*words.split()) == msgspec.structs.replace(USUAL, **changes)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param("nodelocal", "--local-ip is required", id="no address"),
        pytest.param("-localip 169.254.20.300", "--local-ip: '169.254.20.300'", id="no such address"),
        pytest.param("nodelocal --local-ip 10.96.0.10 --cluster-dns 10.96.0.10", "come back here", id="a loop"),
        pytest.param("-localip 169.254.20.10 -setupiptables=maybe", "neither true nor false", id="no boolean"),
        pytest.param("-localip 169.254.20.10 -setupebtables", "ebtables", id="ebtables"),
        pytest.param("-localip 169.254.20.10 -syncinterval soon", "'soon' is no duration", id="no interval"),
        pytest.param("-localip 169.254.20.10 -health-port 0", "'0' is no port", id="no port"),
        pytest.param("-localip 169.254.20.10 -interfacename a-name-too-long-", "no name of an interface", id="a name"),
    ],
)
def test_flags_refused(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words.split())
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_variable_of_a_service() -> None:
    assert variable_of("kube-dns-upstream") == "KUBE_DNS_UPSTREAM_SERVICE_HOST"


def test_node_local_dns_file() -> None:
    """As its manifest has it, nothing filled in by an installer."""
    text = filled(NODE_LOCAL, Pillars(LOCAL, ("10.96.0.11",)))
    assert "__PILLAR__" not in text
    blocks = settings_of(blocks_of(text)).blocks
    assert [block.serving[0].text for block in blocks] == ["cluster.local.", "in-addr.arpa.", "ip6.arpa.", "."]
    assert {block.bind for block in blocks} == {LOCAL}
    assert blocks[0].health == "169.254.20.10:8080"
    assert [block.forwards[0].to for block in blocks] == [
        *[(Upstream(Endpoint("10.96.0.11", 53)),)] * 3,
        ("/etc/resolv.conf",),
    ]


def test_what_an_installer_filled_in_stays() -> None:
    text = NODE_LOCAL.replace("__PILLAR__LOCAL__DNS__", LOCAL[0]).replace("__PILLAR__DNS__SERVER__", LOCAL[1])
    assert filled(text, Pillars(("10.0.0.1",), ("10.96.0.11",))).count("bind 169.254.20.10 10.96.0.10") == 4


def test_ipv6_addresses_and_ports() -> None:
    text = filled(NODE_LOCAL, Pillars(("fd00::a", "fd00:96::a"), ("fd00:96::b",)))
    assert "health [fd00::a]:8080" in text
    assert {block.bind for block in settings_of(blocks_of(text)).blocks} == {("fd00::a", "fd00:96::a")}


def test_several_ways_to_cluster_dns() -> None:
    text = filled(NODE_LOCAL, Pillars(LOCAL, ("10.96.0.11", "10.244.1.2")))
    assert "forward . 10.96.0.11 10.244.1.2 {" in text


def test_no_way_to_cluster_dns() -> None:
    with pytest.raises(ValueError, match="has __PILLAR__CLUSTER__DNS__, and nobody says where"):
        filled(NODE_LOCAL, Pillars(LOCAL, unknown="nobody says where"))
    assert "forward . 192.0.2.1" in filled(". {\n forward . 192.0.2.1\n}\n", Pillars(LOCAL))


TCP = "forward . __PILLAR__UPSTREAM__SERVERS__ {\n        force_tcp\n    }\n"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param(TCP, "forward . 192.0.2.1 192.0.2.2\n", id="over UDP"),
        pytest.param(TCP.replace("force_tcp", "force_tcp\n prefer_udp"), "forward . 192.0.2.1 192.0.2.2 {", id="more"),
        pytest.param("forward . __PILLAR__UPSTREAM__SERVERS__\n", "forward . 192.0.2.1 192.0.2.2\n", id="plain"),
    ],
)
def test_own_upstreams(template: str, expected: str) -> None:
    pillars = Pillars(LOCAL, upstream=("192.0.2.1", "192.0.2.2"))
    assert filled(template, pillars).startswith(expected)
    assert filled(TCP, Pillars(LOCAL)) == TCP.replace("__PILLAR__UPSTREAM__SERVERS__", "/etc/resolv.conf")


def test_stub_domains() -> None:
    stubs = {"corp.example": ("192.0.2.53",), "acme.local": ("192.0.2.54", "192.0.2.55")}
    text = filled(NODE_LOCAL, Pillars(LOCAL, ("10.96.0.11",), stubs=stubs))
    *_, first, second = settings_of(blocks_of(text)).blocks
    assert [(block.serving[0].text, len(block.forwards[0].to)) for block in (first, second)] == [
        ("acme.local.", 2),
        ("corp.example.", 1),
    ]
    assert (first.bind, first.cache is not None and first.cache.success.longest) == (LOCAL, 30)


def test_what_a_node_adds() -> None:
    """Expired answers, and no address but its own; unless the file says otherwise."""
    settings = settings_of(blocks_of(KUBEADM))
    (block,) = adapted(settings, USUAL).blocks
    assert block.bind == LOCAL
    assert block.cache is not None
    assert (block.cache.stale, block.cache.verify, block.cache.verify_seconds) == (3600.0, True, 1.0)
    (same,) = adapted(settings, msgspec.structs.replace(USUAL, stale=0.0)).blocks
    assert same == msgspec.structs.replace(settings.blocks[0], bind=LOCAL)
    own = settings_of(blocks_of(". {\n bind 192.0.2.1\n cache {\n serve_stale 5s\n }\n}\n"))
    assert adapted(own, USUAL) == own
    assert adapted(own, msgspec.structs.replace(USUAL, reload=True)).reload == Reload(10.0, 0.0)


def dump(*lines: notrack.Line) -> str:
    """What iptables-save shows of rules that were put on top one after the other."""
    text = notrack.insertion(lines).replace("-I ", "-A ")
    return f"# Generated by somebody\n{text}".replace("*raw\n", "*raw\n:PREROUTING ACCEPT [0:0]\n")


WANTED = notrack.lines(LOCAL, 53, 8080)


def test_twelve_rules_an_address() -> None:
    assert len(WANTED) == len(set(WANTED)) == 24
    assert {line.table for line in WANTED} == {"raw", "filter"}


def test_nothing_is_missing_twice() -> None:
    assert notrack.missing(WANTED, "") == WANTED
    assert notrack.missing(WANTED, dump(*WANTED)) == ()
    assert notrack.missing(WANTED, dump(*WANTED[:3], *WANTED[4:])) == WANTED[3:4]
    assert notrack.missing(WANTED, dump(*WANTED).replace("-j NOTRACK", "-j CT --notrack")) == (), "iptables 1.8.10"


def test_removal_knows_ours() -> None:
    other = notrack.lines(["10.0.0.1"], 53, 8080)
    foreign = "*raw\n-A OUTPUT -d 10.96.0.10/32 -p udp -m udp --dport 53 -j NOTRACK\nCOMMIT\n"
    shown = dump(*WANTED, *other) + foreign
    assert notrack.removal(shown, LOCAL).replace("-D ", "-I ") == notrack.insertion(WANTED)
    assert notrack.removal(dump(*WANTED, *WANTED), LOCAL).count("-D ") == 48, "however often"
    assert notrack.removal(foreign, LOCAL) == ""
    assert notrack.removal(shown, ["10.0.0.9"]) == ""


def test_turning_away_leaves_the_way_back() -> None:
    lines = notrack.removal(dump(*WANTED), LOCAL, inward=True).splitlines()
    rules = [line for line in lines if line.startswith("-D")]
    assert lines[0] == "*raw"
    assert len(rules) == 10
    assert all(" -d " in line and " -s " not in line for line in rules)


@pytest.mark.parametrize(
    ("keys", "line", "zones"),
    [
        ("cluster.local:53", "autopath @kubernetes", ("cluster.local.",)),
        (".:53", "autopath @kubernetes", ("cluster.local.",)),
        (".:53", "autopath in-addr.arpa k8s.example @kubernetes", ("k8s.example.",)),
    ],
)
def test_search_paths_are_those_of_the_pods_on_this_node(keys: str, line: str, zones: tuple[str, ...]) -> None:
    settings = settings_of(blocks_of(f"{keys} {{\n{line}\n}}", "Corefile", {}, lambda *_: []))
    options = msgspec.structs.replace(USUAL, node_name="here", kubeconfig="/k")
    found = adapted(settings, options).blocks[0].autopath
    assert found is not None
    assert found.pods is not None
    assert (found.pods.node, found.pods.kubeconfig, tuple(map(text_of, found.pods.zones.all))) == ("here", "/k", zones)
    with pytest.raises(ValueError, match="NODE_NAME"):
        adapted(settings, USUAL)


@pytest.mark.parametrize("line", ["autopath /etc/resolv.conf", "autopath @kubernetes\nkubernetes cluster.local"])
def test_where_pods_are_known_or_not_wanted_no_others_are_watched(line: str) -> None:
    settings = settings_of(blocks_of(f".:53 {{\n{line}\n}}", "Corefile", {}, lambda *_: []))
    found = adapted(settings, USUAL).blocks[0].autopath
    assert found is not None
    assert found.pods is None

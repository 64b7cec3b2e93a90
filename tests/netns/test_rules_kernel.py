"""Rules and commands against the real kernel, in both flavours and families: what goes in comes out, word for word."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings

from support.dumps import normal
from support.nodes import pipeline_of
from support.restored import BUILT_IN, Restored
from support.rule_shapes import every_shape
from support.site import lone_host
from support.worlds import World, worlds
from svcagent.patch import RestoreInput, removal
from svclab.netns import Host
from svcnet.rules import FAMILIES, HINT_CHAINS, Chain, Family, Nfacct, Rule, dump_lines, parse, render
from svcnet.writers import Flavour, Iptables, IptablesError, detect

pytestmark = pytest.mark.netns

FLAVOURS: tuple[Flavour, Flavour] = ("nft", "legacy")
CHAIN, EMPTY = "SVCPLANE-SHAPES", "SVCPLANE-SHAPES-2"


@pytest.fixture
def host() -> Iterator[Host]:
    with lone_host("kernel") as found, found.entered():
        yield found


def install(iptables: Iptables, table: str, hook: str, rules: list[Rule]) -> None:
    lines = [f"*{table}", f":{CHAIN} - [0:0]", f":{EMPTY} - [0:0]"]
    lines += [f"-A {CHAIN} {render(rule)}" for rule in rules]
    iptables.restore("\n".join([*lines, f"-I {hook} -j {CHAIN}", "COMMIT", ""]))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_shape_is_shown_as_it_was_written(host: Host, flavour: Flavour, family: Family) -> None:
    iptables = Iptables(family, flavour)
    for (table, hook), rules in every_shape(family).items():
        iptables.run("-t", table, "-F")  # a chain must not hang on two hooks: the kernel checks what may be done there
        install(iptables, table, hook, rules)
        shown = [text.strip() for owner, chain, text in dump_lines(iptables.dump(table)) if chain == CHAIN and text]
        assert shown == [render(rule) for rule in rules]
        assert parse(iptables.dump(table))[table][CHAIN] == Chain(CHAIN, tuple(rules))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_counter_the_kernel_lacks_is_refused_by_its_line(host: Host, flavour: Flavour) -> None:
    iptables = Iptables("IPv4", flavour)
    with pytest.raises(IptablesError) as raised:
        install(iptables, "filter", "INPUT", [Rule(), Rule(matches=(Nfacct("no-such-counter"),))])
    assert f"-A {CHAIN} -m nfacct --nfacct-name no-such-counter" in str(raised.value) or "COMMIT" in str(raised.value)
    assert CHAIN not in iptables.dump("filter")


BROKEN = [
    ("a jump to nowhere", "-A {chain} -j SVCPLANE-NOWHERE"),
    ("no such option", "-A {chain} --no-such-option"),
    ("no such match", "-A {chain} -m svcplane-no-such-match"),
]


@pytest.mark.parametrize("line", [row[1] for row in BROKEN], ids=[row[0] for row in BROKEN])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_refused_line_is_named_and_nothing_of_its_table_is_written(host: Host, flavour: Flavour, line: str) -> None:
    iptables = Iptables("IPv4", flavour)
    bad = line.format(chain=CHAIN)
    with pytest.raises(IptablesError) as raised:
        iptables.restore(f"*nat\n:{CHAIN} - [0:0]\n-A {CHAIN} -j RETURN\n{bad}\nCOMMIT\n")
    assert str(raised.value).endswith(f"| input line 4: {bad}") or "input line 5: COMMIT" in str(raised.value)
    assert CHAIN not in iptables.dump()


FOREIGN = r"""*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-USER -p tcp -m multiport --dports 80,443 -m comment --comment "it\'s \"ours\" \\ -j DROP" -j RETURN
-A DOCKER-USER -m limit --limit 3/min -j LOG --log-prefix "[UFW BLOCK] "
-A DOCKER-USER -g DOCKER
COMMIT
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
"""


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_somebody_elses_rules_are_read_whole(host: Host, flavour: Flavour) -> None:
    iptables = Iptables("IPv4", flavour)
    iptables.restore(FOREIGN)
    tables = parse(iptables.dump())
    for table, chain, text in dump_lines(FOREIGN):
        if text:
            words = sorted(text.split())
            assert any(sorted(render(rule).split()) == words for rule in tables[table][chain].rules), text
    assert tables["filter"]["FORWARD"].policy == "DROP"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_world_is_taken_by_the_kernel_as_by_the_model(host: Host, flavour: Flavour) -> None:
    """The model of iptables-restore that the pure tests stand on is held against the real one."""
    iptables = Iptables("IPv4", flavour)

    @settings(max_examples=12, deadline=None, database=None, phases=[Phase.generate])
    @given(worlds(), worlds())
    def passes(before: World, after: World) -> None:
        model, pipeline = Restored(), pipeline_of()

        def write(text: str) -> None:
            iptables.restore(text)
            model.restore(text)
            assert rules_of(iptables.dump()) == rules_of(model.dump())

        for planned in (
            lambda: pipeline.full(before.touched(before.services), iptables.dump()),
            lambda: pipeline.partial(after.touched()),
        ):
            patch = planned()
            write("".join(RestoreInput([patch])))
            pipeline.applied(patch)
        write(removal(iptables.dump()))

    passes()


def rules_of(dump: str) -> dict[tuple[str, str], list[str]]:
    """Chain to rules; an empty built-in chain is as good as none, because a table that nobody used is not shown."""
    found = normal(dump)
    return {key: rules for key, rules in found.items() if rules or key[1] not in BUILT_IN[key[0]]}


HINT = f":{HINT_CHAINS[0]} - [0:0]"
SIGNS: list[tuple[str, list[tuple[Family, Flavour, str]], Flavour]] = [
    ("nothing at all", [], "nft"),
    ("kubelet in nft", [("IPv4", "nft", f"*mangle\n{HINT}\nCOMMIT\n")], "nft"),
    ("kubelet in legacy", [("IPv4", "legacy", f"*mangle\n{HINT}\nCOMMIT\n")], "legacy"),
    ("kubelet in legacy, IPv6", [("IPv6", "legacy", f"*mangle\n{HINT}\nCOMMIT\n")], "legacy"),
    (
        "kubelet in nft, more rules in legacy",
        [
            ("IPv4", "nft", f"*mangle\n{HINT}\nCOMMIT\n"),
            ("IPv4", "legacy", "*filter\n-A INPUT -j ACCEPT\n-A INPUT -j ACCEPT\nCOMMIT\n"),
        ],
        "nft",
    ),
    (
        "the older kubelet's canary",
        [("IPv4", "legacy", f"*mangle\n:{HINT_CHAINS[1]} - [0:0]\nCOMMIT\n")],
        "legacy",
    ),
    ("rules in legacy", [("IPv4", "legacy", "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n")], "legacy"),
    (
        "as many in both",
        [("IPv4", flavour, "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n") for flavour in FLAVOURS],
        "nft",
    ),
]


@pytest.mark.parametrize(("there", "flavour"), [row[1:] for row in SIGNS], ids=[row[0] for row in SIGNS])
def test_which_flavour_a_host_uses(host: Host, there: list[tuple[Family, Flavour, str]], flavour: Flavour) -> None:
    for family, tool, text in there:
        Iptables(family, tool).restore(text)
    assert detect() == flavour


def test_looking_makes_no_legacy_tables(host: Host) -> None:
    detect()
    assert Path("/proc/self/net/ip_tables_names").read_text() == ""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_both_families_work_and_tell_their_version(host: Host, flavour: Flavour, family: Family) -> None:
    assert shutil.which(Iptables(family, flavour).command()) is not None
    assert Iptables(family, flavour).works()
    assert Iptables(family, flavour).random_fully()

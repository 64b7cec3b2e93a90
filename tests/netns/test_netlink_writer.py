"""What is written by netlink, as iptables-nft shows it, beside what iptables-nft-restore leaves."""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Iterator

import pytest

from support.dumps import difference, normal
from support.flows import CLUSTER_CIDR, FLOWS, Flow
from support.judge import judge_sent, objects, services_of, store_of
from support.nodes import pipeline_of
from support.rule_shapes import every_shape
from support.site import lone_host, site
from svcagent.node import set_sysctls
from svcagent.options import parse as parse_options
from svcagent.patch import Patch, RestoreInput, changes
from svclab.netns import Host
from svcnet import nftwriter, notices
from svcnet.nftwire import WireError
from svcnet.rules import FAMILIES, RETURN, Comment, Family, Jump, Nfacct, Other, Rule, comments_last, render
from svcnet.transactions import Change
from svcnet.writers import Iptables, IptablesError

pytestmark = pytest.mark.netns

CHAIN, EMPTY = "SVCPLANE-SHAPES", "SVCPLANE-SHAPES-2"


@pytest.fixture
def host() -> Iterator[Host]:
    with lone_host("netlink") as found, found.entered():
        yield found


def restored(iptables: Iptables, text: str) -> tuple[str, str]:
    """What iptables-save and -S show of an empty host that has taken restore input."""

    def shown() -> tuple[str, str]:
        iptables.restore(text)
        return iptables.dump(), iptables.run("-t", "nat", "-S")

    return nftwriter.apart(shown)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_shape_is_shown_as_if_restored(host: Host, family: Family) -> None:
    iptables = Iptables(family, "nft")
    for (table, hook), rules in every_shape(family).items():
        iptables.run("-t", table, "-F")  # a chain must not hang on two hooks: the kernel checks what may be done there
        text = [f"*{table}", f":{CHAIN} - [0:0]", f":{EMPTY} - [0:0]"]
        text += [f"-A {CHAIN} {render(rule)}" for rule in rules]
        dump, _ = restored(iptables, "\n".join([*text, f"-I {hook} -j {CHAIN}", "COMMIT", ""]))
        nftwriter.write(family, [Change(table, {CHAIN: rules, EMPTY: ()}, (), [(hook, Rule(target=Jump(CHAIN)))])])
        key = (table, CHAIN)
        assert normal(iptables.dump())[key] == normal(dump)[key]
        assert [text.strip() for text in normal(dump)[key]] == [comments_last(render(rule)) for rule in rules]
        listed = iptables.run("-t", table, "-S", CHAIN).splitlines()[1:]
        shown = [comments_last(line.removeprefix(f"-A {CHAIN}").strip()) for line in listed]
        assert shown == [text.strip() for text in normal(dump)[key]]


@pytest.mark.parametrize("dispatch", ["flat", "tree"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_flow_tables_state_is_shown_as_if_restored(host: Host, family: Family, dispatch: str) -> None:
    iptables = Iptables(family, "nft")
    patch = pipeline_of(f"--dispatch={dispatch}", family=family).full(services_of(store_of(objects())), "")
    dump, listed = restored(iptables, "".join(RestoreInput([patch])))
    for _ in range(2):  # the second time every chain is there already; only hooks are inserted once more
        nftwriter.write(family, changes(patch))
        assert difference(normal(iptables.dump()), normal(dump)) == ""
        shown = iptables.run("-t", "nat", "-S").splitlines()
        assert {comments_last(line) for line in shown} == {comments_last(line) for line in listed.splitlines()}
        patch = Patch(patch.rewrite, patch.digests)


def test_one_small_batch_at_a_time_leaves_the_same(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    iptables = Iptables("IPv4", "nft")
    patch = pipeline_of().full(services_of(store_of(objects())), "")
    dump, _ = restored(iptables, "".join(RestoreInput([patch])))
    monkeypatch.setattr(nftwriter.batches, "__defaults__", (2000,))
    nftwriter.write("IPv4", changes(patch))
    assert difference(normal(iptables.dump()), normal(dump)) == ""


def test_chains_are_deleted_and_policies_stay(host: Host) -> None:
    iptables = Iptables("IPv4", "nft")
    iptables.run("-P", "FORWARD", "DROP")
    first = {"A": (Rule(target=Jump("B")),), "B": (Rule(target=RETURN),)}
    nftwriter.write("IPv4", [Change("filter", first, (), [("FORWARD", Rule(target=Jump("A")))])])
    iptables.run("-F", "FORWARD")
    nftwriter.write("IPv4", [Change("filter", {}, ["B", "A"])])
    assert ":FORWARD DROP" in iptables.dump("filter")
    assert "A" not in {chain for _, chain in normal(iptables.dump())}


def test_hooks_can_be_found_and_removed_word_for_word(host: Host) -> None:
    iptables = Iptables("IPv4", "nft")
    hook = Rule(matches=(Comment("kubernetes service portals"),), target=Jump("A"))
    nftwriter.write("IPv4", [Change("nat", {"A": ()}, (), [("OUTPUT", hook)])])
    words = ["-m", "comment", "--comment", "kubernetes service portals", "-j", "A"]
    iptables.run("-t", "nat", "-C", "OUTPUT", *words)
    iptables.run("-t", "nat", "-D", "OUTPUT", *words)


REFUSED = [
    ("a jump to nowhere", Rule(target=Jump("SVCPLANE-NOWHERE")), "-j SVCPLANE-NOWHERE"),
    ("a counter the kernel lacks", Rule(matches=(Nfacct("no-such-counter"),)), "--nfacct-name no-such-counter"),
]


@pytest.mark.parametrize(("rule", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_refused_rule_is_named_and_nothing_is_written(host: Host, rule: Rule, words: str) -> None:
    change = Change("nat", {CHAIN: (Rule(target=RETURN), rule)})
    with pytest.raises(IptablesError) as raised:
        nftwriter.write("IPv4", [change])
    assert raised.value.line.startswith(f"-A {CHAIN} ")
    assert raised.value.line.endswith(words)
    assert str(raised.value).endswith(raised.value.line)
    assert CHAIN not in Iptables("IPv4", "nft").dump()
    assert not nftwriter.accepts("IPv4", [change])
    assert nftwriter.accepts("IPv4", [Change("nat", {CHAIN: (Rule(target=RETURN),)})])


def test_no_hook_is_in_when_a_rule_has_no_encoding(host: Host) -> None:
    change = Change("nat", {CHAIN: (Rule(target=Other("-j LOG")),)}, (), [("OUTPUT", Rule(target=RETURN))])
    with pytest.raises(WireError, match="-j LOG"):
        nftwriter.write("IPv4", [change])
    assert "OUTPUT" not in Iptables("IPv4", "nft").dump()


def test_a_chain_in_use_is_tried_again_and_then_refused(host: Host) -> None:
    pauses: list[float] = []
    nftwriter.write("IPv4", [Change("nat", {"A": (), "B": (Rule(target=Jump("A")),)})])
    with pytest.raises(IptablesError, match="busy"):
        nftwriter.write("IPv4", [Change("nat", {}, ["A"])], pauses.append)
    assert len(pauses) == nftwriter.TRIES - 1


def test_the_kernel_names_our_port(host: Host) -> None:
    told: queue.SimpleQueue[int] = queue.SimpleQueue()
    following = notices.rule_changes(lambda writer, _: told.put(writer))
    try:
        port = nftwriter.write("IPv4", [Change("nat", {"A": ()})])
        assert told.get(timeout=5) == port
        assert port >= 1 << 31  # no process has such an ID
    finally:
        following.close()


@pytest.fixture(scope="module", params=["flat", "tree"])
def sent(request: pytest.FixtureRequest) -> Iterator[dict[str, Counter[tuple[str, str]]]]:
    with site("netlink") as found:
        with found.node.entered():
            set_sysctls(parse_options(["--conntrack-max-per-core", "0", "--cluster-cidr", CLUSTER_CIDR]))
            for family in FAMILIES:
                pipeline = pipeline_of(f"--dispatch={request.param}", family=family)
                nftwriter.write(family, changes(pipeline.full(services_of(store_of(objects())), "")))
        yield found.send_all(FLOWS)


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.id for flow in FLOWS])
def test_flow_lands_where_the_table_says(sent: dict[str, Counter[tuple[str, str]]], flow: Flow) -> None:
    judge_sent(flow, sent[flow.id])

"""From touched services to patches, against a model of iptables-restore: every order of events ends alike. Pure."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.nodes import dialect_of, pipeline_of
from support.restored import RefusedError, Restored
from support.worlds import NAMES, World, endpoint, service, slice_of, worlds
from svcagent.compile import ChainKey
from svcagent.flows import Frontend
from svcagent.patch import Patch, RestoreInput, installed, removal
from svcagent.picture import key
from svcagent.pipeline import Pipeline
from svcagent.resolve import NodeView
from svcnet.rules import Family, dump_lines

families = st.sampled_from(["IPv4", "IPv6"])

WEB = World({"web": service()}, {"web-1": slice_of("web", endpoint("10.244.1.1"), endpoint("10.244.1.2"))})
EMPTY = World({}, {})


def started(world: World, family: Family = "IPv4", *flags: str) -> tuple[Pipeline, Restored]:
    """A pipeline after its first pass, and the kernel it has written to."""
    pipeline, kernel = pipeline_of(*flags, family=family), Restored()
    full(pipeline, kernel, world)
    return pipeline, kernel


def write(pipeline: Pipeline, kernel: Restored, patch: Patch) -> Patch:
    kernel.restore("".join(RestoreInput([patch])))
    pipeline.applied(patch)
    return patch


def full(pipeline: Pipeline, kernel: Restored, world: World) -> Patch:
    return write(pipeline, kernel, pipeline.full(world.touched(world.services), kernel.dump()))


def partial(pipeline: Pipeline, kernel: Restored, world: World, *names: str) -> Patch:
    return write(pipeline, kernel, pipeline.partial(world.touched(names or NAMES)))


def chains(kernel: Restored) -> dict[ChainKey, list[str]]:
    return {(table, name): rules for table, known in kernel.tables.items() for name, rules in known.items()}


@settings(max_examples=60, deadline=None)
@given(worlds(), families)
def test_every_first_pass_is_taken_and_found_right_by_the_next(world: World, family: Family) -> None:
    """The model refuses a jump to a chain that does not exist, so each jump has its target."""
    pipeline, kernel = started(world, family)
    assert pipeline.differences(kernel.dump()) == {}
    again = pipeline_of(family=family)
    assert again.full(world.touched(world.services), kernel.dump()).empty


@settings(max_examples=60, deadline=None)
@given(st.data(), families)
def test_every_order_of_events_in_every_batching_ends_alike(data: st.DataObject, family: Family) -> None:
    before, after = data.draw(worlds()), data.draw(worlds())
    pipeline, kernel = started(before, family)
    changes = [("services", name) for name in sorted({*before.services, *after.services})]
    changes += [("slices", name) for name in sorted({*before.slices, *after.slices})]
    now, touched = before, set()
    for kind, name in data.draw(st.permutations(changes)):
        known, wanted = dict(getattr(now, kind)), getattr(after, kind)
        known.pop(name, None)
        now = msgspec.structs.replace(now, **{kind: {**known, **({name: wanted[name]} if name in wanted else {})}})
        touched.add(name.partition("-")[0])
        if data.draw(st.booleans()):
            partial(pipeline, kernel, now, *touched)
            touched.clear()
    partial(pipeline, kernel, now, *NAMES)
    _, direct = started(after, family)
    assert kernel.dump() == direct.dump()
    assert pipeline.differences(kernel.dump()) == {}


@settings(max_examples=60, deadline=None)
@given(worlds(), worlds(), families)
def test_every_partial_pass_writes_just_the_chains_that_differ(before: World, after: World, family: Family) -> None:
    pipeline, kernel = started(before, family)
    old = {key: list(rules) for key, rules in chains(kernel).items()}
    patch = partial(pipeline, kernel, after)
    new = chains(kernel)
    assert set(patch.rewrite) == {key for key in new if new[key] != old.get(key)}
    assert set(patch.delete) == old.keys() - new.keys()
    assert not patch.insert


@settings(max_examples=60, deadline=None)
@given(worlds(), worlds(), families)
def test_every_patch_leads_from_any_state_to_the_wanted_one(before: World, after: World, family: Family) -> None:
    """A start on a node that another agent (or kube-proxy) has programmed, as after a crash with changes in between."""
    _, kernel = started(before, family)
    restarted = pipeline_of(family=family)
    full(restarted, kernel, after)
    _, direct = started(after, family)
    assert kernel.dump() == direct.dump()


@settings(max_examples=40, deadline=None)
@given(worlds(), families)
def test_every_removal_leaves_what_was_there_before(world: World, family: Family) -> None:
    _, kernel = hosted(world, family)
    kernel.restore(removal(kernel.dump()))
    untouched = Restored()
    untouched.restore(FOREIGN)
    assert kernel.dump() == untouched.dump()
    assert removal(kernel.dump()) == ""


FOREIGN = """*nat
:DOCKER - [0:0]
:KUBE-POD-PORTS - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -i docker0 -j RETURN
COMMIT
*filter
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -j RETURN
COMMIT
"""


def hosted(world: World, family: Family = "IPv4", foreign: str = FOREIGN) -> tuple[Pipeline, Restored]:
    """As `started`, on a host where other programs have rules."""
    pipeline, kernel = pipeline_of(family=family), Restored()
    kernel.restore(foreign)
    full(pipeline, kernel, world)
    return pipeline, kernel


KUBELET = """*mangle
:KUBE-IPTABLES-HINT - [0:0]
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
-A INPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL -j DROP
COMMIT
"""


def test_removal_leaves_the_kubelets_firewall() -> None:
    _, kernel = hosted(WEB, foreign=KUBELET)
    kernel.restore(removal(kernel.dump()))
    assert kernel.tables["filter"]["KUBE-FIREWALL"] != []
    assert kernel.tables["filter"]["INPUT"] == ["-j KUBE-FIREWALL"]
    assert "KUBE-SERVICES" not in kernel.tables["nat"]


def test_the_kubelets_chain_is_left_alone_where_local_node_ports_are_off() -> None:
    pipeline, kernel = pipeline_of("--iptables-localhost-nodeports=false"), Restored()
    kernel.restore(KUBELET)
    full(pipeline, kernel, WEB)
    assert kernel.tables["filter"]["KUBE-FIREWALL"] == ["-j DROP"]
    kernel.restore("*filter\n-A KUBE-FIREWALL -j RETURN\nCOMMIT\n")
    assert pipeline.differences(kernel.dump()) == {}


FW, SEP = "KUBE-FIREWALL", "KUBE-SEP-"
TAMPERINGS = [
    ("a rule gone", "*nat\n-D KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\nCOMMIT\n", ["nat KUBE-MARK-MASQ"]),
    ("a rule more", "*nat\n-A KUBE-SERVICES -j RETURN\nCOMMIT\n", ["nat KUBE-SERVICES"]),
    ("a chain emptied", "*filter\n:KUBE-FORWARD - [0:0]\nCOMMIT\n", ["filter KUBE-FORWARD"]),
    ("the canary gone", "*mangle\n-X KUBE-PROXY-CANARY\nCOMMIT\n", ["mangle KUBE-PROXY-CANARY"]),
    ("hooks gone", "*nat\n:OUTPUT - [0:0]\nCOMMIT\n", ["nat OUTPUT"]),
    ("a chain of our names", "*nat\n:KUBE-SVC-X - [0:0]\nCOMMIT\n", ["nat KUBE-SVC-X"]),
    ("the guard of loopback emptied", f"*filter\n:{FW} - [0:0]\nCOMMIT\n", [f"filter {FW}"]),
    ("somebody else's chain", "*nat\n:DOCKER - [0:0]\n-A DOCKER -j RETURN\nCOMMIT\n", []),
    ("somebody else's rule in a hook", "*nat\n-I OUTPUT -j ACCEPT\nCOMMIT\n", []),
    ("a name like ours in filter", "*filter\n:KUBE-SVC-X - [0:0]\nCOMMIT\n", []),
]


@pytest.mark.parametrize(("change", "found"), [row[1:] for row in TAMPERINGS], ids=[row[0] for row in TAMPERINGS])
def test_an_audit_finds_what_changed_of_ours_and_a_full_pass_mends_it(change: str, found: list[str]) -> None:
    pipeline, kernel = hosted(WEB)
    before = kernel.dump()
    kernel.restore(change)
    tampered = kernel.dump()
    assert list(pipeline.differences(tampered)) == found
    pipeline.failed()
    full(pipeline, kernel, WEB)
    assert kernel.dump() == (before if found else tampered)
    assert pipeline.differences(kernel.dump()) == {}


def mended(pipeline: Pipeline, kernel: Restored, world: World) -> Patch:
    found = installed(kernel.dump())
    keys = [key(name) for name in pipeline.differences(kernel.dump())]
    owners = [each.partition("/")[2] for each in pipeline.owners(keys)]
    return write(pipeline, kernel, pipeline.mended(world.touched(owners), keys, found))


@pytest.mark.parametrize(("change", "found"), [row[1:] for row in TAMPERINGS], ids=[row[0] for row in TAMPERINGS])
def test_what_an_audit_found_can_be_mended_by_writing_only_that(change: str, found: list[str]) -> None:
    pipeline, kernel = hosted(WEB)
    before = kernel.dump()
    kernel.restore(change)
    tampered = kernel.dump()
    patch = mended(pipeline, kernel, WEB)
    written = {" ".join(each) for each in (*patch.rewrite, *patch.delete)}
    assert written | {f"{hook.table} {hook.chain}" for hook in patch.insert} == set(found)
    assert kernel.dump() == (before if found else tampered)
    assert pipeline.differences(kernel.dump()) == {}


@settings(max_examples=60, deadline=None)
@given(worlds(), families, st.sets(st.integers(0, 200), max_size=8), st.sampled_from(["flat", "tree"]))
def test_any_chains_that_somebody_emptied_are_mended(
    world: World, family: Family, emptied: set[int], dispatch: str
) -> None:
    pipeline, kernel = started(world, family, f"--dispatch={dispatch}")
    before, totals = kernel.dump(), pipeline.totals
    held = [each for each, rules in chains(kernel).items() if rules]
    hurt = {held[each % len(held)] for each in emptied}
    kernel.restore("".join(f"*{table}\n:{name} - [0:0]\nCOMMIT\n" for table, name in sorted(hurt)))
    patch = mended(pipeline, kernel, world)
    assert patch.rewrite.keys() | {(hook.table, hook.chain) for hook in patch.insert} == hurt
    assert kernel.dump() == before
    assert pipeline.totals == totals


def test_a_service_that_changed_since_is_mended_as_it_is_now() -> None:
    pipeline, kernel = started(WEB)
    kernel.restore(f"*nat\n:{service_chain(kernel)} - [0:0]\nCOMMIT\n")
    mended(pipeline, kernel, MORE)
    assert pipeline.differences(kernel.dump()) == {}
    fresh = started(MORE)[1]
    assert kernel.dump() == fresh.dump()


MORE = World(WEB.services, {"web-1": slice_of("web", endpoint("10.244.1.1"), endpoint("10.244.1.3"))})


def test_what_is_written_after_a_picture_was_taken_is_not_foreign() -> None:
    pipeline, kernel = hosted(WEB)
    picture = pipeline.picture()
    old = kernel.dump()
    partial(pipeline, kernel, MORE, "web")
    for dump in (old, kernel.dump()):
        found = frozenset(picture.differences(dump).items())
        assert {name.partition("-")[0] for name, _ in found} <= {"nat KUBE"}
        assert pipeline.unwritten(found) == frozenset()
    assert picture.differences(kernel.dump()), "the chains of that service"
    kernel.restore("*nat\n-A KUBE-MARK-MASQ -j RETURN\nCOMMIT\n")
    still = pipeline.unwritten(frozenset(picture.differences(kernel.dump()).items()))
    assert still is not None
    assert [name for name, _ in still] == ["nat KUBE-MARK-MASQ"]


def test_nothing_can_be_told_by_a_picture_that_is_older_than_a_full_pass() -> None:
    pipeline, kernel = hosted(WEB)
    pipeline.picture()
    pipeline.failed()
    assert pipeline.unwritten(frozenset()) is None
    full(pipeline, kernel, WEB)
    assert pipeline.unwritten(frozenset()) is None
    pipeline.picture()
    assert pipeline.unwritten(frozenset()) == frozenset()


def hold(kernel: Restored, chain: str) -> None:
    kernel.restore(f"*nat\n:DEBUG - [0:0]\n-A DEBUG -j {chain}\nCOMMIT\n")


def service_chain(kernel: Restored) -> str:
    (found,) = (name for name in kernel.tables["nat"] if name.startswith("KUBE-SVC-"))
    return found


def test_a_stale_chain_that_somebody_jumps_to_is_emptied_and_stays() -> None:
    """Deleting it would be refused, and every other change of the transaction with it, for ever."""
    pipeline, kernel = started(WEB)
    held = service_chain(kernel)
    hold(kernel, held)
    with pytest.raises(RefusedError):
        partial(pipeline, kernel, EMPTY, "web")
    pipeline.failed()
    full(pipeline, kernel, EMPTY)
    assert kernel.tables["nat"][held] == []
    assert not any(name.startswith(SEP) for name in kernel.tables["nat"])
    assert pipeline.differences(kernel.dump()) == {}


def test_a_chain_known_to_be_held_is_only_emptied_when_its_service_goes() -> None:
    pipeline, kernel = started(WEB)
    held = service_chain(kernel)
    hold(kernel, held)
    pipeline.failed()
    full(pipeline, kernel, WEB)
    partial(pipeline, kernel, EMPTY, "web")
    assert kernel.tables["nat"][held] == []


def test_removal_empties_what_somebody_jumps_to() -> None:
    _, kernel = started(WEB)
    hold(kernel, "KUBE-MARK-MASQ")
    kernel.restore(removal(kernel.dump()))
    assert {name for name in kernel.tables["nat"] if name.startswith("KUBE-")} == {"KUBE-MARK-MASQ"}
    assert kernel.tables["nat"]["KUBE-MARK-MASQ"] == []


def test_an_unchanged_service_costs_nothing() -> None:
    pipeline, kernel = started(WEB)
    assert partial(pipeline, kernel, WEB, "web").empty


def test_one_endpoint_more_touches_one_services_chains_and_no_shared_one() -> None:
    pipeline, kernel = started(WEB)
    more = slice_of("web", *(endpoint(f"10.244.1.{host}") for host in (1, 2, 3)))
    patch = partial(pipeline, kernel, World(WEB.services, {"web-1": more}), "web")
    assert {(table, name[:9]) for table, name in patch.rewrite} == {("nat", "KUBE-SVC-"), ("nat", "KUBE-SEP-")}
    assert (len(patch.rewrite), patch.delete) == (2, ())


def test_a_partial_pass_without_a_known_state_is_refused() -> None:
    with pytest.raises(RuntimeError, match="call full first"):
        pipeline_of().partial(WEB.touched(["web"]))


def test_after_a_failure_the_next_pass_is_full() -> None:
    pipeline, kernel = started(WEB)
    assert not pipeline.needs_full
    pipeline.failed()
    assert pipeline.needs_full
    assert full(pipeline, kernel, WEB).empty


@pytest.mark.parametrize("what", ["dialect", "node"])
def test_new_facts_about_the_node_make_the_next_pass_full(what: str) -> None:
    pipeline, _ = started(WEB)
    shape, view = pipeline.dialect, pipeline.node
    assert not pipeline.reshape(shape, view)
    assert not pipeline.needs_full
    assert pipeline.reshape(dialect_of() if what == "dialect" else shape, NodeView("other") if what == "node" else view)
    assert pipeline.needs_full


UDP_PORT = {"port": 53, "protocol": "UDP"}
DNS = World(
    {"alpha": service("alpha", ports=[UDP_PORT])},
    {"alpha-1": slice_of("alpha", endpoint("10.244.1.1"), ports=[{"name": "", "port": 5353, "protocol": "UDP"}])},
)
AT = Frontend("10.96.0.10", 53)


@pytest.mark.parametrize("kind", ["partial", "full"])
def test_flows_are_looked_at_where_endpoints_changed_and_nowhere_else(kind: str) -> None:
    """Also when the pass that saw the change was a full one, after a failure: kube-proxy forgets it then."""
    pipeline, kernel = started(DNS)
    assert pipeline.frontends.suspects() == {AT: frozenset({("10.244.1.1", 5353)})}
    pipeline.frontends.settled()

    def passes(world: World) -> None:
        if kind == "full":
            pipeline.failed()
            full(pipeline, kernel, world)
        else:
            partial(pipeline, kernel, world, "alpha")

    passes(DNS)
    assert pipeline.frontends.suspects() == {}
    passes(EMPTY)
    assert pipeline.frontends.suspects() == {AT: frozenset()}


def test_a_failed_write_forgets_no_flow() -> None:
    pipeline, kernel = started(DNS)
    pipeline.frontends.settled()
    pipeline.partial(EMPTY.touched(["alpha"]))
    pipeline.failed()
    full(pipeline, kernel, EMPTY)
    assert pipeline.frontends.suspects() == {AT: frozenset()}


def test_problems_are_kept_while_they_last() -> None:
    bad = World({"web": service(externalIPs=["junk"])}, {})
    pipeline, kernel = started(bad)
    assert pipeline.problems == {"ns/web": ("externalIP 'junk' is not an IP address",)}
    partial(pipeline, kernel, WEB, "web")
    assert pipeline.problems == {}


def test_the_shared_chains_are_sorted_by_service() -> None:
    found = {name: service(name, clusterIP=f"10.96.0.{number}", clusterIPs=[f"10.96.0.{number}"], ipFamilies=["IPv4"])
             for number, name in enumerate(("gamma", "alpha", "beta"), 1)}  # fmt: skip
    _, kernel = started(World(found, {}))
    texts = [text for _, chain, text in dump_lines(kernel.dump()) if chain == "KUBE-SERVICES" and "endpoints" in text]
    assert [text.split('"')[1].split()[0] for text in texts] == ["ns/alpha", "ns/beta", "ns/gamma"]

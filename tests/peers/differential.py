"""Random histories played on a real API server, before kube-proxy and before our agent; after each step, one look.

In: a `Session` (the switches of both programs), a seed, a number of steps. Out: how many steps went well, or a
`DisagreementError`: the smallest history found that still shows it, what differs, both logs. What the API server
refuses is no failure, but it is counted: a generator that is mostly refused tests nothing.

How it is known that both programs are done: each step ends with a change of the `sentinel` Service and its slices
(whichever kinds the step touched). A watch keeps its order, so who shows the sentinel's new ports has seen all that
came before. The sentinel's endpoints are hinted to one zone each, so which of them is served tells the Node's zone.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from peers.control_plane import ApiError, ControlPlane
from peers.pair import Pair, create, delete, names_in, pair, replace
from peers.processes import Process, ProcessError
from peers.sessions import NODE_ADDRESSES, ON_BRIDGE, POD_CIDRS, Session
from support import mutations
from support.drafts import (
    NAMESPACE,
    OWN_NODE,
    SERVICE_NAMES,
    ZONE_LABEL,
    ZONES,
    Draft,
    EndpointDraft,
    Key,
    NodeDraft,
    PortDraft,
    ServiceDraft,
    SliceDraft,
    Step,
    TargetDraft,
    World,
    address,
    after,
    is_another,
    key_of,
    manifest,
)
from support.dumps import Normal, difference
from support.mutations import Mutations
from svclab import netns
from svclab.netns import Host
from svcnet.rules import FAMILIES, Family

SETTLES_SECONDS = 10.0
EQUAL_SECONDS = 3.0
EQUAL_SECONDS_AGAIN = 0.3  # while a difference that was there before is made small
SMALLER_SECONDS = 60.0

# 992 endpoints of each family, and the sentinel has 3: a handful more, and the cluster is a large one.
_MANY = tuple(EndpointDraft(number) for number in range(2, 250))
_BULK_PORTS = tuple(PortDraft(name, port) for name, port in (("a", 1), ("b", 2), ("c", 3), ("d", 4)))
_BULK_TARGETS = tuple(TargetDraft(each.name, each.port) for each in _BULK_PORTS)
BULK: tuple[Draft, ...] = (
    ServiceDraft("bulk", 8, families=("IPv4", "IPv6"), ports=_BULK_PORTS),
    *(SliceDraft(f"bulk-{family.lower()}", "bulk", family, _BULK_TARGETS, _MANY) for family in FAMILIES),
)


class DisagreementError(AssertionError):
    """The two programs do not agree; the message is the report."""


DESTINATION = re.compile(r" -j DNAT --to-destination (\S+)")


class Sentinel(msgspec.Struct, frozen=True):
    """What stands in the last rules of a step: a service port, an endpoint port, and the Node's zone."""

    service: int = 0
    slices: int = 0
    zone: str = ""

    def drafts(self) -> tuple[ServiceDraft, SliceDraft, SliceDraft]:
        endpoints = tuple(EndpointDraft(201 + number, zones=(zone,)) for number, zone in enumerate(ZONES))
        four, six = (
            SliceDraft(f"sentinel-{family.lower()}", "sentinel", family, (TargetDraft(port=self.target),), endpoints)
            for family in FAMILIES
        )
        ports = (PortDraft(port=self.port),)
        return ServiceDraft("sentinel", 9, families=("IPv4", "IPv6"), ports=ports), four, six

    @property
    def port(self) -> int:
        return 10000 + self.service % 10000

    @property
    def target(self) -> int:
        return 20000 + self.slices % 10000

    def served(self, family: Family) -> set[str]:
        numbers = [number for number, zone in enumerate(ZONES) if self.zone in ("", zone)]
        texts = (address(201 + number, family) for number in numbers)
        return {f"[{text}]:{self.target}" if family == "IPv6" else f"{text}:{self.target}" for text in texts}

    def chains(self, rules: Normal) -> tuple[list[str], list[str]]:
        """The chain that chooses among the sentinel's endpoints, if it is served as it is, and the endpoints' own."""
        wanted = f"--dport {self.port} -j KUBE-SVC-", f'"{NAMESPACE}/sentinel cluster IP"'
        dispatched = rules.get(("nat", "KUBE-SERVICES"), ())
        found = names_in([text for text in dispatched if all(each in text for each in wanted)])
        inside = [chain for name in found for chain in names_in(rules.get(("nat", name), ()))]
        return found, [chain for chain in inside if chain.startswith("KUBE-SEP-")]

    def shown(self, rules: Normal, family: Family) -> bool:
        """Whether these rules serve the sentinel as it is."""
        _, endpoints = self.chains(rules)
        rules_of = (text for chain in endpoints for text in rules.get(("nat", chain), ()))
        return self.served(family) == {each for text in rules_of for each in DESTINATION.findall(text)}


@contextmanager
def suppress_missing() -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        if error.status != 404:
            raise


class Players:
    """Both programs of a session, and what the API server holds for them."""

    def __init__(self, found: Pair, *, large: bool) -> None:
        self.pair = found
        self.world: World = {key_of(NodeDraft()): NodeDraft()}
        self.refused: list[str] = []
        self.late: list[str] = []
        self.patience = EQUAL_SECONDS
        self._large = large
        self._sentinel = Sentinel()
        for draft in (*self._sentinel.drafts(), *(BULK if large else ())):
            create(found.control_plane, manifest(draft))

    def play(self, step: Step) -> str:
        """Applies a step; returns how the two nodes differ once both have seen it, "" if they do not."""
        kinds = {kind for kind, _ in (*step.deletes, *map(key_of, step.puts))}
        for key in step.deletes:
            self._delete(key)
        for draft in step.puts:
            self._put(draft)
        node = self.world[key_of(NodeDraft())]
        assert isinstance(node, NodeDraft)
        before = self._sentinel
        self._sentinel = Sentinel(
            before.service + ("Service" in kinds), before.slices + ("EndpointSlice" in kinds), node.zone
        )
        for sentinel in self._sentinel.drafts():
            if key_of(sentinel)[0] in kinds:
                replace(self.pair.control_plane, manifest(sentinel))
        return self._compared()

    def clear(self) -> str:
        """Deletes everything but the sentinel. As `play`."""
        keys = tuple(sorted(key for key in self.world if key[0] != "Node"))
        return self.play(Step((NodeDraft(),), keys))

    def _delete(self, key: Key) -> None:
        draft = self.world.pop(key, None)
        if draft is not None:
            delete(self.pair.control_plane, manifest(draft))

    def _put(self, draft: Draft) -> None:
        key = key_of(draft)
        known = self.world.get(key)
        if known is not None and is_another(known, draft):
            self._delete(key)
        try:
            if isinstance(draft, NodeDraft):
                self._put_node(draft)
            else:
                write = replace if key in self.world else create
                write(self.pair.control_plane, manifest(draft))
        except ApiError as error:
            if error.status not in (409, 422):
                raise
            self.refused.append(f"{draft}: {error}")
            self._forget(key)
        else:
            self.world[key] = draft

    def _forget(self, key: Key) -> None:
        """After a refusal. The object may be there without the status that was refused, so it goes altogether."""
        self.world.pop(key, None)
        kind, name = key
        if kind == "Node":
            raise AssertionError(f"the API server refuses a Node: {self.refused[-1]}")
        with suppress_missing():
            delete(self.pair.control_plane, manifest(ServiceDraft(name, 0) if kind == "Service" else SliceDraft(name)))

    def _put_node(self, draft: NodeDraft) -> None:
        path = f"/api/v1/nodes/{draft.name}"
        found = self.pair.control_plane.get(path)
        wanted = manifest(draft)
        labels = {name: value for name, value in found["metadata"].get("labels", {}).items() if name != ZONE_LABEL}
        found["metadata"]["labels"] = {**labels, **wanted["metadata"]["labels"]}
        found["spec"] = {**found["spec"], **wanted["spec"]}
        self.pair.control_plane.request("PUT", path, found)

    def _compared(self) -> str:
        programs = ((self.pair.proxy, self.pair.their_rules), (self.pair.agent, self.pair.our_rules))
        try:
            theirs, ours = ([self._settled(process, read, each) for each in FAMILIES] for process, read in programs)
        except ProcessError as error:
            return str(error)
        if not self._shown(ours, theirs):
            return ""
        # A dump that is read while tables are written, one after the other, may hold an old filter and a new nat.
        first = self._look()
        return first and self._still_different(first)

    def _look(self) -> str:
        pair = self.pair
        return self._shown([pair.our_rules(each) for each in FAMILIES], [pair.their_rules(each) for each in FAMILIES])

    def _shown(self, ours: list[Normal], theirs: list[Normal]) -> str:
        return "\n".join(self._different(*each) for each in zip(ours, theirs, FAMILIES, strict=True)).strip()

    def _settled(self, process: Process, read: Callable[[Family], Normal], family: Family) -> Normal:
        def settled() -> Normal | None:
            rules = read(family)
            return rules if self._sentinel.shown(rules, family) else None

        return process.wait_until(settled, f"{process.name} shows {self._sentinel} in {family}", SETTLES_SECONDS)

    def _still_different(self, first: str) -> str:
        """What still differs after a while. It should have been equal at once, so it is kept if it is equal now."""
        last = first

        def equal() -> bool:
            nonlocal last
            last = self._look()
            return not last

        try:
            self.pair.agent.wait_until(equal, "both nodes hold the same rules", self.patience)
        except ProcessError as error:
            return last or str(error)
        self.late.append(first)
        return ""

    def _different(self, ours: Normal, theirs: Normal, family: Family) -> str:
        if self._large:
            exact = [chain for chains in self._sentinel.chains(theirs) for chain in chains]
            ours, theirs = (
                without_endpoint_comments(rules, exact) for rules in (ours, without_leftovers(theirs, ours.keys()))
            )
        shown = difference(ours, theirs)
        return f"{family}\n{shown}" if shown else ""


ENDPOINT_COMMENT = re.compile(r' ?-m comment --comment "[^"]*"')


def without_endpoint_comments(rules: Normal, exact: Container[str]) -> Normal:
    """Without the comments that a large cluster goes without: of rules to an endpoint's chain, and in that chain.

    kube-proxy changes over service by service, as each is next rewritten; ours all at once. In the chains `exact`,
    which both have just written, comments stay: they tell whether both take the cluster for a large one.
    """
    return {
        (table, chain): lines
        if chain in exact
        else [
            ENDPOINT_COMMENT.sub("", text) if chain.startswith("KUBE-SEP-") or "-j KUBE-SEP-" in text else text
            for text in lines
        ]
        for (table, chain), lines in rules.items()
    }


def without_leftovers(rules: Normal, wanted: Container[tuple[str, str]]) -> Normal:
    """Without chains of services that nothing jumps to and nobody wants.

    In a large cluster kube-proxy sweeps them out rarely; ours goes on removing each with what it was of.
    """
    reached, todo = set(), ["KUBE-SERVICES", "KUBE-NODEPORTS"]
    while todo:
        chain = todo.pop()
        if chain not in reached:
            reached.add(chain)
            todo += names_in(rules.get(("nat", chain), ()))
    owned = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-")
    return {
        key: lines
        for key, lines in rules.items()
        if key in wanted or key[0] != "nat" or not key[1].startswith(owned) or key[1] in reached
    }


@contextmanager
def players(binaries: Path, folder: Path, control_plane: ControlPlane, session: Session) -> Iterator[Players]:
    """Both programs at work with the switches of the session; everything made goes when the block ends."""
    with ExitStack() as stack:
        nodes = tuple(Host(f"{netns.PREFIX}t{os.getpid()}-{session.id[:8]}-{who}") for who in ("ours", "them"))
        for node in nodes:
            stack.callback(node.remove)
            node.create()
            netns.add_bridge(node, "br0", ())
            node.add_address("br0", *ON_BRIDGE)
        stack.enter_context(cluster(control_plane))
        ours, theirs = nodes
        folder = folder / session.id
        folder.mkdir()
        found = stack.enter_context(
            pair(
                binaries,
                folder,
                control_plane,
                (ours, theirs),
                flavour=session.flavour,
                node_name=OWN_NODE,
                switches=session.switches,
                min_sync="1ms",
            )
        )
        yield Players(found, large=session.large)


@contextmanager
def cluster(control_plane: ControlPlane) -> Iterator[None]:
    """A Node and an empty namespace, until the block ends. Without controllers nothing else would empty it."""
    control_plane.add_node(OWN_NODE, NODE_ADDRESSES, POD_CIDRS)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    try:
        control_plane.request("POST", "/api/v1/namespaces", namespace)
    except ApiError as error:
        if error.status != 409:
            raise
    try:
        yield
    finally:
        control_plane.request("DELETE", f"/api/v1/nodes/{OWN_NODE}")
        for draft in (ServiceDraft("", 9), SliceDraft("")):
            path = "/api/v1" if isinstance(draft, ServiceDraft) else "/apis/discovery.k8s.io/v1"
            plural = "services" if isinstance(draft, ServiceDraft) else "endpointslices"
            listed = control_plane.get(f"{path}/namespaces/{NAMESPACE}/{plural}")
            for each in listed["items"]:
                control_plane.request("DELETE", f"{path}/namespaces/{NAMESPACE}/{plural}/{each['metadata']['name']}")


class Tally(msgspec.Struct):
    """What a run did. `late` steps were equal only at a second look."""

    steps: int = 0
    seconds: float = 0.0
    changes: int = 0
    refused: int = 0
    late: int = 0

    @property
    def pace(self) -> float:
        return self.steps / self.seconds if self.seconds else 0.0


def run(found: Players, seed: int, steps: int, say: Callable[[str], None] = lambda line: None) -> Tally:
    """Plays so many steps. Raises DisagreementError with the smallest history that still shows it."""
    source = Mutations(seed)
    history: list[Step] = []
    tally = Tally()
    began = time.monotonic()
    for number in range(1, steps + 1):
        step = source.step(found.world)
        before = dict(found.world)
        shown = found.play(step)
        history.append(step)
        tally = Tally(
            number,
            time.monotonic() - began,
            tally.changes + len(step.puts) + len(step.deletes),
            len(found.refused),
            len(found.late),
        )
        if shown:
            raise DisagreementError(report(found, seed, number, smallest(found, before, step, shown)))
        if number % 100 == 0:
            say(f"{number} steps, {tally.pace:.1f} a second, {tally.refused} refused, {tally.late} late")
    return tally


class Finding(msgspec.Struct, frozen=True):
    """A history that ends in a difference: a state to begin with, and perhaps a step after it."""

    steps: tuple[Step, ...]
    shown: str
    how: str


def smallest(found: Players, before: Mapping[Key, Draft], step: Step, shown: str) -> Finding:
    """The shortest history found in a minute: the last state from nothing, else the last two, made simpler."""
    found.patience = EQUAL_SECONDS_AGAIN
    last = Step(tuple(after(before, step).values()))
    for steps, how in (((last,), "this state alone"), ((Step(tuple(before.values())), step), "this step alone")):
        again = _replayed(found, steps)
        if again:
            return _simplified(found, Finding(steps, again, f"{how} shows it, played on an empty cluster"))
    return Finding((Step(tuple(before.values())), step), shown, "it does not show again: it takes the whole history")


def _replayed(found: Players, steps: tuple[Step, ...]) -> str:
    if found.clear():
        return ""  # the difference outlives its cause, so nothing can be told apart from here on
    return next((shown for shown in map(found.play, steps) if shown), "")


def _simplified(found: Players, finding: Finding) -> Finding:
    deadline = time.monotonic() + SMALLER_SECONDS
    for name in SERVICE_NAMES:  # mostly one service is enough
        steps = tuple(mutations.only(name, step) for step in finding.steps)
        if any(step.puts for step in steps) and (shown := _replayed(found, steps)):
            finding = Finding(steps, shown, finding.how)
            break
    position, since = 0, 0  # how many have been tried in vain since the last success
    while time.monotonic() < deadline:
        candidates = list(_candidates(finding.steps))
        if since >= len(candidates):
            break
        # Going on where the last one was, since what was needed a moment ago is mostly needed still.
        steps = candidates[position % len(candidates)]
        if shown := _replayed(found, steps):
            finding, since = Finding(steps, shown, finding.how), 0
        else:
            position, since = position + 1, since + 1
    return finding


def _candidates(steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    for index, step in enumerate(steps):
        for smaller in mutations.simpler(step):
            yield (*steps[:index], smaller, *steps[index + 1 :])


def report(found: Players, seed: int, number: int, finding: Finding) -> str:
    parts: list[Any] = [f"seed {seed}, step {number}: {finding.how}"]
    for index, step in enumerate(finding.steps, 1):
        parts += [f"--- step {index}", step]
    parts += ["--- the difference", finding.shown, found.pair.agent.log_tail(), found.pair.proxy.log_tail()]
    return "\n".join(str(part) for part in parts)

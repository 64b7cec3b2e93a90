"""One address family, from touched services to a patch: the agent's state, without its I/O.

    Services, slices -> resolve -> compile -> dispatch -> patch -> (the caller writes it) -> applied | failed

Work is proportional to the change: a pass recompiles the touched services only, and a chain whose digest is installed
already is not written. What is remembered of a service is which chains it owns and which UDP frontends it has, not its
rules. After a failed write nothing is known of the kernel any more, so the next pass is a full one, against a dump.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import TypeVar

import msgspec

from svcagent import compile, flows, patch, picture, skeleton
from svcagent.compile import ChainKey
from svcagent.dialect import Dialect
from svcagent.dispatch import Dispatch, merge
from svcagent.doubts import Differences
from svcagent.patch import Installed, Patch
from svcagent.picture import Picture
from svcagent.resolve import Check, NodeView, Resolved, ResolvedPort, check, resolve
from svckube.objects import EndpointSlice, Service
from svcnet.rules import Rule

LARGE_CLUSTER_ENDPOINTS = 1000
"""With more endpoints than this, the rules for single endpoints carry no comments; kube-proxy's number."""

PORTION_RULES = 5000
"""So many rules of services are made before they are handed over: about what fills a transaction."""

T = TypeVar("T")
Touched = Iterable[tuple[str, Service | None, tuple[EndpointSlice, ...]]]
"""(namespace/name, the Service or None if it is gone, its slices)."""


class Pipeline:
    """The wanted and the installed state of one family on one node.

    `without_local` counts the service ports that have a Local policy and no endpoint here: (internal, external).
    """

    def __init__(self, dialect: Dialect, node: NodeView) -> None:
        self.dialect = dialect
        self.node = node
        self.frontends = flows.Frontends()
        self.refused: set[str] = set()
        self._reset()

    def _reset(self) -> None:
        self.problems: dict[str, tuple[str, ...]] = {}
        self.health_checks: dict[str, Check] = {}
        self._without_local: dict[str, tuple[int, int]] = {}
        self.without_local = (0, 0)
        self._dispatch = Dispatch(self.dialect.family, self.dialect.most_services)
        self._owned: dict[str, tuple[ChainKey, ...]] = {}
        self._endpoints: dict[str, int] = {}
        self._known_endpoints = 0
        self._large = False
        self._installed: Installed | None = None
        self._written: set[ChainKey] | None = None

    @property
    def outgrown(self) -> bool:
        """Whether the cluster has become large, or is no longer: then a `full` pass has to follow.

        Unlike kube-proxy's, which change service by service as each is next rewritten, our rules never mix. It costs
        little: the border is crossed with a thousand endpoints, never with more.
        """
        return self._large != (self._known_endpoints > LARGE_CLUSTER_ENDPOINTS)

    @property
    def needs_full(self) -> bool:
        """Whether the next pass must be `full`: nothing is known of what is installed."""
        return self._installed is None

    def reshape(self, dialect: Dialect, node: NodeView) -> bool:
        """Takes over new facts about the node; True if they change rules, which makes the next pass a full one."""
        if (dialect, node) == (self.dialect, self.node):
            return False
        self.dialect, self.node = dialect, node
        self._installed = None
        return True

    def full(self, services: Touched, dump: str) -> Patch:
        """`portions` in one patch, from what a dump shows."""
        return patch.merged(self.portions(services, patch.installed(dump)))

    def portions(self, services: Touched, there: Installed) -> Iterator[Patch]:
        """The patches from what is there to what all `services` want. What is right already is not rewritten.

        Each is made when it is asked for, so that not all rules are in memory at once; what is jumped to comes first,
        and what needs all services last. With the last one all count as written: call `failed` if they are not.
        """
        found = there.copy()
        self._reset()
        chains: dict[ChainKey, tuple[Rule, ...]] = dict(skeleton.base(self.dialect))
        chains.update({key: () for key in skeleton.ENSURED if key not in chains and key not in found.chains})
        wanted = set(chains)
        vanished = set(self.frontends.services)
        rules = 0
        for each in self._sized(services):
            own = self._update(*each)[0]
            vanished.discard(each[0])
            chains.update(own)
            wanted.update(own)
            rules += sum(map(len, own.values()))
            if rules >= PORTION_RULES:
                yield from _taken(patch.plan(chains, found), found)
                chains, rules = {}, 0
        for key in vanished:
            self.frontends.put(key, {})
        chains.update(self._shared(skeleton.SHARED)[0])
        wanted.update(chains)
        stale = frozenset(patch.stale_chains(found, wanted))
        chains.update(dict.fromkeys(stale & found.held, ()))
        last = patch.plan(chains, found, delete=stale - found.held, hooks=skeleton.HOOKS)
        yield from _taken(last, found)
        found.keep(wanted | stale)
        self._installed = found

    def _sized(self, services: Touched) -> Touched:
        """The same services, when it is known whether they are a large cluster's."""
        early, rest = [], iter(services)
        known = 0
        for each in rest:
            early.append(each)
            known += sum(port.known_endpoints for port in self._resolved(*each).ports)
            if known > LARGE_CLUSTER_ENDPOINTS:
                self._large = True
                break
        return chain(early, rest)

    def alone(self, services: Touched) -> Patch:
        """The patch that puts just these services onto a host without rules, and without packet counters."""
        plain = msgspec.structs.replace(self.dialect, accounting=False)
        return Pipeline(plain, self.node).full(services, "")

    def refuse(self, services: Iterable[str]) -> None:
        """Leaves these services out until they change: the kernel does not take their rules."""
        self.refused.update(services)

    def partial(self, touched: Touched) -> Patch:
        """The patch for a few services that may have changed, against what is known to be installed."""
        return self._planned(touched, frozenset(), ())

    def mended(self, touched: Touched, keys: Collection[ChainKey], found: Installed) -> Patch:
        """As `partial`, and what else gives these chains back what they should hold, of which `found` is there now.

        Their `owners` must be among the touched.
        """
        astray = frozenset(keys)
        hooks = () if skeleton.HOOKED.isdisjoint(astray) else skeleton.HOOKS
        if hooks:
            astray |= skeleton.ENSURED
        self._known.correct(astray, found)
        return self._planned(touched, astray, hooks)

    def owners(self, keys: Collection[ChainKey]) -> list[str]:
        """The services that own one of these chains, sorted."""
        wanted = frozenset(keys)
        return sorted(service for service, owned in self._owned.items() if not wanted.isdisjoint(owned))

    def concerned(self, keys: Iterable[ChainKey]) -> frozenset[ChainKey]:
        """Those of these chains that are ours, or look like it, or hold jumps of ours."""
        ours = self._installed.chains if self._installed else {}
        found = frozenset(key for key in keys if key in ours or key in skeleton.HOOKED or patch.owned(key))
        return found if skeleton.HOOKED.isdisjoint(found) else found | skeleton.ENSURED

    @property
    def _known(self) -> Installed:
        if self._installed is None:
            raise RuntimeError("nothing is known to be installed: call full first")
        return self._installed

    def _planned(self, touched: Touched, astray: frozenset[ChainKey], hooks: Iterable[skeleton.Hook]) -> Patch:
        known = self._known
        chains: dict[ChainKey, tuple[Rule, ...]] = {}
        gone: set[ChainKey] = set()
        shared = self._dispatch.below({key[1] for key in astray}) if astray else set()
        for key, service, slices in touched:
            self.refused.discard(key)
            owned = self._owned.get(key, ())
            own, changed = self._update(key, service, slices)
            chains.update(own)
            shared |= changed
            gone.update(each for each in owned if each not in own)
        rules, branches = self._shared(shared | (astray & set(skeleton.SHARED)))
        chains.update(rules)
        if astray:
            chains |= {key: rules for key, rules in skeleton.base(self.dialect).items() if key in astray}
            chains |= {key: () for key in skeleton.ENSURED if key in astray and key not in chains | known.chains}
            gone.update(key for key in astray if patch.owned(key))
        gone = (gone | branches) - chains.keys()
        chains.update(dict.fromkeys(gone & known.held, ()))
        return patch.plan(chains, known, delete=gone - chains.keys(), hooks=hooks)

    def applied(self, written: Patch) -> None:
        """The patch is in the kernel."""
        if self._installed is not None:
            patch.applied(written, self._installed)
        if self._written is not None:
            self._written.update(written.rewrite, written.delete)

    @property
    def totals(self) -> tuple[dict[str, int], dict[str, int]]:
        """(chains, rules) of ours in the kernel by table, without the jumps in built-in chains; nothing if unknown."""
        known = self._installed
        return (dict(known.chain_totals), dict(known.rule_totals)) if known else ({}, {})

    def failed(self) -> None:
        """The write failed, perhaps half way: nothing is known any more."""
        self._installed = None

    def picture(self) -> Picture:
        """What the kernel should hold now. What is written from now on is remembered for `unwritten`."""
        shown = Picture(dict(self._known.chains), self._not_ours)
        self._written = set()
        return shown

    def unwritten(self, differences: Differences) -> Differences | None:
        """Those from the last picture that no write of ours explains; None if all was written anew, or is to be."""
        if self._installed is None or self._written is None:
            return None
        written = set(map(picture.name, self._written))
        return frozenset(each for each in differences if each[0] not in written)

    def differences(self, dump: str) -> dict[str, bytes]:
        """What a dump shows otherwise than it was written."""
        return self.picture().differences(dump)

    def astray(self, keys: Collection[ChainKey], found: Installed) -> Differences:
        """What was found of these chains otherwise than it was written."""
        return frozenset(Picture(self._known.chains, self._not_ours).compared(found, keys).items())

    @property
    def _not_ours(self) -> frozenset[ChainKey]:
        return frozenset(set(skeleton.ENSURED) - skeleton.base(self.dialect).keys())

    def _shared(self, keys: Iterable[ChainKey]) -> tuple[dict[ChainKey, tuple[Rule, ...]], set[ChainKey]]:
        """Shared chains with what changed below them, and the chains below them that are gone."""
        chains: dict[ChainKey, tuple[Rule, ...]] = {}
        gone: set[ChainKey] = set()
        for key in keys:
            rules, fewer = self._dispatch.settle(key)
            chains.update(rules)
            gone |= fewer
        if compile.NAT_SERVICES in chains:
            chains[compile.NAT_SERVICES] += skeleton.node_port_tail(self.dialect)
        return chains, gone

    def _resolved(self, key: str, service: Service | None, slices: tuple[EndpointSlice, ...]) -> Resolved:
        return resolve(None if key in self.refused else service, slices, self.dialect.family, self.node)

    def _update(
        self, key: str, service: Service | None, slices: tuple[EndpointSlice, ...]
    ) -> tuple[Mapping[ChainKey, tuple[Rule, ...]], set[ChainKey]]:
        """Takes a service in; returns the chains it owns now, and which shared chains are different."""
        resolved = self._resolved(key, service, slices)
        comments = not self._large
        fragments = [compile.fragment(port, self.dialect, endpoint_comments=comments) for port in resolved.ports]
        own = {("nat", name): rules for each in fragments for name, rules in each.chains.items()}
        changed = self._dispatch.put(key, merge(each.lines for each in fragments))
        _keep(self._owned, key, tuple(own))
        known = sum(port.known_endpoints for port in resolved.ports)
        self._known_endpoints += known - self._endpoints.get(key, 0)
        _keep(self._endpoints, key, known)
        _keep(self.problems, key, resolved.problems)
        self._count_without_local(key, _without_local(resolved.ports))
        _keep(self.health_checks, key, check(resolved.ports))
        self.frontends.put(key, flows.frontends(resolved.ports))
        return own, changed

    def _count_without_local(self, key: str, now: tuple[int, int]) -> None:
        before = self._without_local.get(key, (0, 0))
        internal, external = self.without_local
        self.without_local = internal + now[0] - before[0], external + now[1] - before[1]
        _keep(self._without_local, key, now if any(now) else None)


def _taken(portion: Patch, found: Installed) -> Iterator[Patch]:
    """The portion; once it is taken, what was found is what it makes of it."""
    yield portion
    patch.applied(portion, found)


def _keep(table: dict[str, T], key: str, value: T | None) -> None:
    """An entry that says nothing takes no memory."""
    if value:
        table[key] = value
    else:
        table.pop(key, None)


def _without_local(ports: Iterable[ResolvedPort]) -> tuple[int, int]:
    known = [port for port in ports if port.endpoints.known and not port.endpoints.local]
    internal = sum(port.internal_local for port in known)
    external = sum(port.external_local and port.externally_accessible for port in known)
    return internal, external

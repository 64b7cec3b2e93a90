"""Many fragments in, the shared chains out: which rule sends a packet to which service.

The layout is kube-proxy's: one flat list per shared chain, sorted by service so that the same objects always give the
same bytes. A service that changes marks only those shared chains in which its own lines changed.

Where very many services are, a list is slow: a first packet meets every line before its own, and each new service
rewrites all of them. There nat KUBE-SERVICES becomes a tree of chains by address prefix (`KUBE-SVC-10.96.4.0/24`), and
nat KUBE-NODEPORTS one by port. The lines of one address or port stay together and in order, so nothing lands elsewhere.
The chains are called KUBE-SVC so that kube-proxy removes them like its own, should it take over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address

from svcagent import names
from svcagent.compile import NAT_NODEPORTS, NAT_SERVICES, ChainKey
from svcagent.prefixes import ROOT, Node, Prefixes
from svcnet.rules import L4, Comment, Family, Jump, Rule

LONGEST_CHAIN = 28
"""Characters of a chain's name (XT_EXTENSION_MAXNAMELEN less its NUL)."""


class Dispatch:
    """The lines of every service in every shared chain. A chain of more than `border` lines is a tree if it can be."""

    def __init__(self, family: Family, border: int) -> None:
        self._border = border
        self._lines: dict[ChainKey, dict[str, tuple[Rule, ...]]] = {}
        self._trees: dict[ChainKey, _Tree] = {NAT_SERVICES: _Tree(_Addresses(family)), NAT_NODEPORTS: _Tree(_Ports())}

    def put(self, service: str, lines: Mapping[ChainKey, tuple[Rule, ...]]) -> set[ChainKey]:
        """Replaces all lines of `service` ("namespace/name"); returns the shared chains that are different now."""
        changed = set()
        for chain in lines.keys() | {chain for chain, known in self._lines.items() if service in known}:
            known = self._lines.setdefault(chain, {})
            wanted = lines.get(chain, ())
            before = known.get(service, ())
            if before == wanted:
                continue
            changed.add(chain)
            if chain in self._trees:
                self._trees[chain].put(service, before, wanted)
            if wanted:
                known[service] = wanted
            else:
                del known[service]
        return changed

    def below(self, names: Collection[str]) -> set[ChainKey]:
        """The shared chains that have one of these chains of nat below them; `settle` will give those again."""
        return {chain for chain, tree in self._trees.items() if tree.touch(names)}

    def settle(self, chain: ChainKey) -> tuple[dict[ChainKey, tuple[Rule, ...]], set[ChainKey]]:
        """The rules of a shared chain, and of those below it that are different since the last call; and those gone."""
        known = self._lines.get(chain, {})
        if chain not in self._trees:
            return {chain: _sorted(known)}, set()
        below, rules, gone = self._trees[chain].settle(known, self._border)
        return {**{("nat", name): found for name, found in below.items()}, chain: rules}, {
            ("nat", each) for each in gone
        }


def _sorted(known: Mapping[str, tuple[Rule, ...]]) -> tuple[Rule, ...]:
    """All lines of one shared chain, sorted by service."""
    return tuple(rule for service in sorted(known) for rule in known[service])


class _Addresses:
    """Places by the destination address of a line."""

    def __init__(self, family: Family) -> None:
        self.width = 32 if family == "IPv4" else 128
        self._address = IPv4Address if family == "IPv4" else IPv6Address

    def place(self, rule: Rule) -> int:
        address = str(rule.destination).partition("/")[0]
        if self.width == 32:  # as ipaddress has it, at a tenth of the price
            return int.from_bytes(bytes(map(int, address.split("."))), "big")
        return int(self._address(address))

    def _cidr(self, node: Node) -> str:
        return f"{self._address(node[0])}/{node[1]}"

    def name(self, node: Node) -> str:
        cidr = self._cidr(node)
        name = f"KUBE-SVC-{cidr}"
        return name if len(name) <= LONGEST_CHAIN else names.prefix_chain(cidr)

    def jump(self, node: Node) -> Rule:
        cidr = self._cidr(node)
        return Rule(destination=cidr, matches=(Comment(f"services at {cidr}"),), target=Jump(self.name(node)))


class _Ports:
    """Places by the protocol and the destination port of a line."""

    width = 18
    """Two bits of protocol, sixteen of port; no node below the root has ports of two protocols."""

    _protocols = ("tcp", "udp", "sctp")

    def place(self, rule: Rule) -> int:
        port = next(each.dport for each in rule.matches if isinstance(each, L4))
        return self._protocols.index(rule.protocol) << 16 | (port or 0)

    def _ports(self, node: Node) -> tuple[str, int, int]:
        """Protocol, first and last port."""
        number, first = divmod(node[0], 1 << 16)
        return self._protocols[number], first, first + (1 << self.width - node[1]) - 1

    def name(self, node: Node) -> str:
        protocol, first, last = self._ports(node)
        return f"KUBE-SVC-{protocol}-{first}-{last}"

    def jump(self, node: Node) -> Rule:
        protocol, first, last = self._ports(node)
        # iptables does not show a range that is everything.
        ports = L4(protocol) if (first, last) == (0, 0xFFFF) else L4(protocol, first, last if last > first else None)
        matches = (Comment(f"node ports {first}-{last}"), ports)
        return Rule(protocol=protocol, matches=matches, target=Jump(self.name(node)))


class _Tree:
    """Which services have lines at which places, and what is to be written of that."""

    def __init__(self, kind: _Addresses | _Ports) -> None:
        self._kind = kind
        self._prefixes = Prefixes(kind.width)
        self._services: dict[int, tuple[str, ...]] = {}

    def put(self, service: str, before: tuple[Rule, ...], now: tuple[Rule, ...]) -> None:
        """The lines of a service are others."""
        old, new = self._by_place(before), self._by_place(now)
        for place in old.keys() | new.keys():
            was, becomes = old.get(place, []), new.get(place, [])
            if was == becomes:
                continue
            self._prefixes.touch(place)
            for _ in range(len(becomes) - len(was)):
                self._prefixes.add(place)
            for _ in range(len(was) - len(becomes)):
                self._prefixes.remove(place)
            services = {*self._services.pop(place, ()), service} - (set() if becomes else {service})
            if services:
                self._services[place] = tuple(sorted(services))

    def touch(self, names: Collection[str]) -> bool:
        """Counts the chains of these names as different; whether there are any."""
        found = [node for node in self._prefixes.nodes if node != ROOT and self._kind.name(node) in names]
        for node in found:
            self._prefixes.touch(node[0])
        return bool(found)

    def settle(
        self, known: Mapping[str, tuple[Rule, ...]], border: int
    ) -> tuple[dict[str, tuple[Rule, ...]], tuple[Rule, ...], set[str]]:
        """What is different since the last call: (chains below the root, the root's rules, chains that are gone)."""
        changed, gone = self._prefixes.settle(border)
        chains = {self._kind.name(node): self._rules(node, known) for node in changed if node != ROOT}
        return chains, self._rules(ROOT, known), {self._kind.name(node) for node in gone}

    def _rules(self, node: Node, known: Mapping[str, tuple[Rule, ...]]) -> tuple[Rule, ...]:
        if children := self._prefixes.nodes[node]:
            return tuple(map(self._kind.jump, children))
        if node == ROOT:
            return _sorted(known)
        return tuple(
            rule
            for place in self._prefixes.under(node)
            for service in self._services[place]
            for rule in self._by_place(known[service])[place]
        )

    def _by_place(self, rules: Iterable[Rule]) -> dict[int, list[Rule]]:
        found: dict[int, list[Rule]] = {}
        for rule in rules:
            found.setdefault(self._kind.place(rule), []).append(rule)
        return found


def merge(fragments: Iterable[Mapping[ChainKey, tuple[Rule, ...]]]) -> dict[ChainKey, tuple[Rule, ...]]:
    """The lines of several ports of one service, one port after the other."""
    merged: dict[ChainKey, tuple[Rule, ...]] = {}
    for lines in fragments:
        for chain, rules in lines.items():
            merged[chain] = merged.get(chain, ()) + rules
    return merged

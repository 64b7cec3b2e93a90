"""One resolved service port in, its netfilter rules out: kube-proxy's iptables mode, rule by rule.

`fragment` gives the chains that belong to the port alone and its lines in the shared chains, as plain values that are
rendered or encoded elsewhere. Source: kube-proxy 1.36, iptables mode; the peers tests compare every rule with its own.

A packet to a service meets, in this order:
    KUBE-SERVICES (cluster, external, load balancer IPs) or KUBE-NODEPORTS (node ports)
    KUBE-EXT      traffic from outside: marked for masquerade unless the policy keeps the client's address
    KUBE-FW       load balancer IPs with source ranges
    KUBE-SVC/SVL  the choice among all / this node's endpoints
    KUBE-SEP      one endpoint: hairpin mark, affinity, DNAT
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from svcagent import names
from svcagent.dialect import Dialect
from svcagent.resolve import ResolvedPort, within
from svcagent.topology import Endpoint
from svcnet.rules import (
    ACCEPT,
    DROP,
    L4,
    Addrtype,
    Comment,
    Dnat,
    Jump,
    Match,
    Nfacct,
    Recent,
    Rule,
    Target,
    host_cidr,
    statistic_for,
)

ChainKey: TypeAlias = tuple[str, str]
"""(table, chain)."""


class Fragment(msgspec.Struct, frozen=True):
    """What one service port contributes: `chains` of its own in nat, and `lines` in shared chains."""

    chains: dict[str, tuple[Rule, ...]] = {}
    lines: dict[ChainKey, tuple[Rule, ...]] = {}


NAT_SERVICES: ChainKey = ("nat", names.SERVICES)
NAT_NODEPORTS: ChainKey = ("nat", names.NODEPORTS)
FILTER_SERVICES: ChainKey = ("filter", names.SERVICES)
FILTER_EXTERNAL: ChainKey = ("filter", names.EXTERNAL_SERVICES)
FILTER_NODEPORTS: ChainKey = ("filter", names.NODEPORTS)
FILTER_FIREWALL: ChainKey = ("filter", names.PROXY_FIREWALL)


class _Port:
    """The names and the decisions that the rules of one service port share."""

    def __init__(self, port: ResolvedPort, dialect: Dialect, endpoint_comments: bool) -> None:
        chosen = port.endpoints
        digest = names.port_hash(port.name, port.protocol)
        self.port = port
        self.dialect = dialect
        self.endpoint_comments = endpoint_comments
        self.svc, self.svl, self.ext, self.fw = (f"KUBE-{kind}-{digest}" for kind in ("SVC", "SVL", "EXT", "FW"))
        external = port.externally_accessible
        self.internal_chain = self.svl if port.internal_local else self.svc
        self.has_internal = chosen.known and not (port.internal_local and not chosen.local)
        self.external_chain = self.svl if port.external_local else self.svc
        self.has_external = chosen.known and not (port.external_local and not chosen.local)
        self.uses_svc = bool(chosen.cluster) and (not port.internal_local or external)
        self.uses_svl = bool(chosen.local) and (port.internal_local or (port.external_local and external))
        self.uses_ext = chosen.known and external
        self.uses_fw = chosen.known and bool(port.load_balancer_ips) and bool(port.source_ranges)
        self.load_balancer_chain = self.fw if self.uses_fw else self.ext
        self.refusal: Target = DROP if chosen.known else dialect.reject
        reachable = (*chosen.cluster, *chosen.local, *chosen.reachable)
        self.sep = {each: _sep(port, each) for each in dict.fromkeys(reachable)}
        self.why_refused = f"{port.name} has no {'local ' if chosen.known else ''}endpoints"

    def endpoint_comment(self, text: str) -> tuple[Match, ...]:
        """The comment of a rule for one endpoint, where there is one."""
        return (Comment(text),) if self.endpoint_comments else ()

    def to(self, address: str, number: int, comment: str, target: Target | None, *before: Match) -> Rule:
        """A rule for packets to `address` ("" for any) and this port's protocol and port number."""
        protocol = self.port.protocol
        destination = host_cidr(address) if address else ""
        matches = (Comment(comment), *before, L4(protocol, number))
        return Rule(destination=destination, protocol=protocol, matches=matches, target=target)


def fragment(port: ResolvedPort, dialect: Dialect, *, endpoint_comments: bool = True) -> Fragment:
    """All rules of one service port. A large cluster does without the comments of the rules for single endpoints."""
    names_of = _Port(port, dialect, endpoint_comments)
    return Fragment(_chains(names_of), _lines(names_of))


def _lines(p: _Port) -> dict[ChainKey, tuple[Rule, ...]]:
    port = p.port
    lines: dict[ChainKey, list[Rule]] = {}

    def add(chain: ChainKey, rule: Rule) -> None:
        lines.setdefault(chain, []).append(rule)

    if p.has_internal:
        add(NAT_SERVICES, p.to(port.cluster_ip, port.port, f"{port.name} cluster IP", Jump(p.internal_chain)))
    else:
        add(FILTER_SERVICES, p.to(port.cluster_ip, port.port, p.why_refused, p.refusal))
    outside = [(ip, "external IP", p.ext) for ip in port.external_ips]
    outside += [(ip, "loadbalancer IP", p.load_balancer_chain) for ip in port.load_balancer_ips]
    for address, what, chain in outside:
        if p.uses_ext:
            add(NAT_SERVICES, p.to(address, port.port, f"{port.name} {what}", Jump(chain)))
        if chain == p.fw:
            comment = f"{port.name} traffic not accepted by {p.fw}"
            add(FILTER_FIREWALL, p.to(address, port.port, comment, DROP))
        if not p.has_external:
            add(FILTER_EXTERNAL, p.to(address, port.port, p.why_refused, p.refusal))
    if port.node_port:
        if p.uses_ext:
            rule = p.to("", port.node_port, port.name, Jump(p.ext))
            if p.dialect.localhost_nodeports and p.dialect.accounting:
                counted = (*rule.matches, Nfacct(names.LOCALHOST_COUNTER))
                add(NAT_NODEPORTS, msgspec.structs.replace(rule, destination="127.0.0.0/8", matches=counted))
            add(NAT_NODEPORTS, rule)
        if not p.has_external:
            add(FILTER_EXTERNAL, p.to("", port.node_port, p.why_refused, p.refusal, Addrtype("dst")))
    if port.health_check_node_port:
        matches = (Comment(f"{port.name} health check node port"), L4("tcp", port.health_check_node_port))
        add(FILTER_NODEPORTS, Rule(protocol="tcp", matches=matches, target=ACCEPT))
    return {chain: tuple(rules) for chain, rules in lines.items()}


def _chains(p: _Port) -> dict[str, tuple[Rule, ...]]:
    port = p.port
    chains: dict[str, list[Rule]] = {}
    if p.uses_svc:
        chains |= _balanced(p.svc, port.endpoints.cluster, p)
    if p.uses_svl:
        chains |= _balanced(p.svl, port.endpoints.local, p)
    if p.has_internal:
        chains[p.internal_chain][:0] = _cluster_ip_masquerade(p)
    if p.uses_ext:
        chains[p.ext] = _external(p)
    if p.uses_fw:
        chains[p.fw] = _firewall(p)
    for each in port.endpoints.reachable:
        chains[p.sep[each]] = _endpoint(each, p)
    return {name: tuple(rules) for name, rules in chains.items()}


def _sep(port: ResolvedPort, endpoint: Endpoint) -> str:
    return names.endpoint_chain(port.name, port.protocol, endpoint.text)


def _cluster_ip_masquerade(p: _Port) -> list[Rule]:
    """Traffic to the cluster IP that does not come from a pod is masqueraded, or its answer might not come back."""
    port = p.port
    local = p.dialect.local_traffic
    rule = p.to(port.cluster_ip, port.port, f"{port.name} cluster IP", Jump(names.MARK_MASQ))
    if p.dialect.masquerade_all:
        return [rule]
    if local.by == "nothing":
        return []
    foreign = local.foreign_rule()
    return [msgspec.structs.replace(rule, source=foreign.source, in_interface=foreign.in_interface)]


def _external(p: _Port) -> list[Rule]:
    port, masquerade = p.port, Jump(names.MARK_MASQ)
    rules = []
    if not port.external_local:
        rules.append(
            Rule(matches=(Comment(f"masquerade traffic for {port.name} external destinations"),), target=masquerade)
        )
    else:
        to_cluster = Jump(p.svc)
        if p.dialect.local_traffic.by != "nothing":
            comment = Comment(f"pod traffic for {port.name} external destinations")
            rules.append(p.dialect.local_traffic.rule(matches=(comment,), target=to_cluster))
        from_node = Addrtype("src")
        comment = Comment(f"masquerade LOCAL traffic for {port.name} external destinations")
        rules.append(Rule(matches=(comment, from_node), target=masquerade))
        comment = Comment(f"route LOCAL traffic for {port.name} external destinations")
        rules.append(Rule(matches=(comment, from_node), target=to_cluster))
    if p.has_external:
        rules.append(Rule(target=Jump(p.external_chain)))
    return rules


def _firewall(p: _Port) -> list[Rule]:
    port, ext = p.port, Jump(p.ext)
    comment = Comment(f"{port.name} loadbalancer IP")
    sources = list(port.source_ranges)
    if p.dialect.node_ip and within(p.dialect.node_ip, port.source_ranges):
        # What the node sends to the load balancer's address may carry that address as its source.
        sources += [host_cidr(address) for address in port.load_balancer_ips]
    rules = [Rule(source=cidr, matches=(comment,), target=ext) for cidr in sources]
    rest = Comment(f"other traffic to {port.name} will be dropped by {names.PROXY_FIREWALL}")
    return [*rules, Rule(matches=(rest,))]


def _balanced(chain: str, endpoints: tuple[Endpoint, ...], p: _Port) -> dict[str, list[Rule]]:
    """Affinity first, then an even choice. Of very many endpoints, first a group is chosen, then one of the group.

    With affinity it is one list all the same: every endpoint has to be asked whether it knows the client.
    """
    if len(endpoints) <= p.dialect.most_endpoints or p.port.affinity_seconds:
        return {chain: _choice(endpoints, p)}
    groups = _groups(endpoints, p)
    left = len(endpoints)
    rules, chains = [], {}
    for number, group in groups.items():
        name = f"{chain}-{number}"
        comment = Comment(f"{p.port.name} group {number}")
        matches: tuple[Match, ...] = (comment, statistic_for(left, len(group))) if left > len(group) else (comment,)
        rules.append(Rule(matches=matches, target=Jump(name)))
        chains[name] = _choice(tuple(group), p)
        left -= len(group)
    return {chain: rules, **chains}


MOST_GROUPS = 64  # two digits are what a chain's name has room for


def _groups(endpoints: tuple[Endpoint, ...], p: _Port) -> dict[int, list[Endpoint]]:
    """About as many groups as each has endpoints. An endpoint's name decides, so that one more moves no other."""
    count = min(1 << (len(endpoints).bit_length() // 2), MOST_GROUPS)
    groups: dict[int, list[Endpoint]] = {}
    for each in endpoints:
        groups.setdefault(names.number_of(p.sep[each]) % count, []).append(each)
    return dict(sorted(groups.items()))


def _choice(endpoints: tuple[Endpoint, ...], p: _Port) -> list[Rule]:
    """The i-th of n endpoints takes one in n-i of what is left; before that, who has been here before."""
    port = p.port
    rules = []
    targets = [(p.endpoint_comment(f"{port.name} -> {each.text}"), p.sep[each]) for each in endpoints]
    if port.affinity_seconds:
        for comment, sep in targets:
            fresh = Recent("rcheck", sep, p.dialect.recent_mask, port.affinity_seconds)
            rules.append(Rule(matches=(*comment, fresh), target=Jump(sep)))
    for left, (comment, sep) in zip(range(len(targets), 0, -1), targets, strict=True):
        matches = (*comment, statistic_for(left)) if left > 1 else comment
        rules.append(Rule(matches=matches, target=Jump(sep)))
    return rules


def _endpoint(endpoint: Endpoint, p: _Port) -> list[Rule]:
    port = p.port
    comment = p.endpoint_comment(port.name)
    hairpin = Rule(source=host_cidr(endpoint.address), matches=comment, target=Jump(names.MARK_MASQ))
    matches: tuple[Match, ...] = (*comment, L4(port.protocol))
    if port.affinity_seconds:
        matches = (*comment, Recent("set", p.sep[endpoint], p.dialect.recent_mask), L4(port.protocol))
    return [hairpin, Rule(protocol=port.protocol, matches=matches, target=Dnat(endpoint.text))]

"""The rules that are there without any Service: base chains, the jumps into them, and what must come last.

In: a `Dialect`. Out: plain values. Source: kube-proxy 1.36, iptables mode; the peers tests compare every rule.
"""

from __future__ import annotations

import msgspec

from svcagent import names
from svcagent.compile import (
    FILTER_EXTERNAL,
    FILTER_FIREWALL,
    FILTER_NODEPORTS,
    FILTER_SERVICES,
    NAT_NODEPORTS,
    NAT_SERVICES,
    ChainKey,
)
from svcagent.dialect import Dialect
from svcnet.rules import (
    ACCEPT,
    DROP,
    RETURN,
    Addrtype,
    Comment,
    Ctstate,
    Jump,
    Mark,
    Masquerade,
    Match,
    Nfacct,
    Not,
    Rule,
    SetXmark,
    host_cidr,
)

# The canary holds no rule and nobody jumps to it: its absence tells that somebody flushed the table.
CANARIES: tuple[ChainKey, ...] = tuple((table, names.CANARY) for table in ("mangle", "nat", "filter"))

SHARED = (FILTER_SERVICES, FILTER_EXTERNAL, FILTER_NODEPORTS, FILTER_FIREWALL, NAT_SERVICES, NAT_NODEPORTS)
"""The chains that hold lines of many services."""

ENSURED: frozenset[ChainKey] = frozenset({("filter", names.LOCALNET_FIREWALL)})
"""Chains that must exist because a hook jumps there, but whose rules may be somebody else's (the kubelet's)."""


def base(dialect: Dialect) -> dict[ChainKey, tuple[Rule, ...]]:
    """The chains whose rules do not depend on Services, beside `SHARED`."""
    mark = dialect.mark
    chains: dict[ChainKey, tuple[Rule, ...]] = {
        **dict.fromkeys(CANARIES, ()),
        ("filter", names.FORWARD): _forward(dialect),
        ("nat", names.POSTROUTING): (
            Rule(matches=(Mark(mark, mark, negated=True),), target=RETURN),
            # Cleared, so that a packet which comes through twice is not masqueraded twice.
            Rule(target=SetXmark(mark, 0)),
            Rule(
                matches=(Comment("kubernetes service traffic requiring SNAT"),),
                target=Masquerade(dialect.random_fully),
            ),
        ),
        ("nat", names.MARK_MASQ): (Rule(target=SetXmark(mark, mark)),),
    }
    if dialect.family == "IPv4" and dialect.localhost_nodeports:
        chains["filter", names.LOCALNET_FIREWALL] = (_LOCALNET_DROP,)
    return chains


# route_localnet lets 127.0.0.0/8 be routed; this keeps neighbours on the link from reaching loopback through it.
# The kubelet writes the very same rule.
_LOCALNET_DROP = Rule(
    source=Not("127.0.0.0/8"),
    destination="127.0.0.0/8",
    matches=(Comment("block incoming localnet connections"), Ctstate("RELATED,ESTABLISHED,DNAT", negated=True)),
    target=DROP,
)


def _forward(dialect: Dialect) -> tuple[Rule, ...]:
    mark = dialect.mark
    counted = (Nfacct(names.INVALID_COUNTER),) if dialect.accounting else ()
    invalid = Rule(matches=(Ctstate("INVALID"), *counted), target=DROP)
    rules = (
        Rule(matches=(Comment("kubernetes forwarding rules"), Mark(mark, mark)), target=ACCEPT),
        Rule(
            matches=(Comment("kubernetes forwarding conntrack rule"), Ctstate("RELATED,ESTABLISHED")),
            target=ACCEPT,
        ),
    )
    return (invalid, *rules) if dialect.drop_invalid else rules


def node_port_tail(dialect: Dialect) -> tuple[Rule, ...]:
    """The last rules of nat KUBE-SERVICES: which local addresses node ports are served on."""
    comment = Comment("kubernetes service nodeports; NOTE: this must be the last rule in this chain")
    jump = Jump(names.NODEPORTS)
    if dialect.node_port_addresses is not None:
        return tuple(
            Rule(destination=host_cidr(address), matches=(comment,), target=jump)
            for address in dialect.node_port_addresses
        )
    loopback = "127.0.0.0/8" if dialect.family == "IPv4" else "::1/128"
    served = dialect.family == "IPv4" and dialect.localhost_nodeports
    return (Rule(destination="" if served else Not(loopback), matches=(comment, Addrtype("dst")), target=jump),)


class Hook(msgspec.Struct, frozen=True):
    """A jump that must stand at the head of a built-in chain."""

    table: str
    chain: str
    rule: Rule


def _hook(table: str, chain: str, target: str, comment: str, *, new_only: bool = False) -> Hook:
    matches: tuple[Match, ...] = (Ctstate("NEW"),) if new_only else ()
    if comment:
        matches = (*matches, Comment(comment))
    return Hook(table, chain, Rule(matches=matches, target=Jump(target)))


_PORTALS, _VISIBLE = "kubernetes service portals", "kubernetes externally-visible service portals"
_FIREWALL = "kubernetes load balancer firewall"
HOOKS = (
    _hook("filter", "INPUT", names.EXTERNAL_SERVICES, _VISIBLE, new_only=True),
    _hook("filter", "FORWARD", names.EXTERNAL_SERVICES, _VISIBLE, new_only=True),
    _hook("filter", "INPUT", names.NODEPORTS, "kubernetes health check service ports"),
    _hook("filter", "FORWARD", names.SERVICES, _PORTALS, new_only=True),
    _hook("filter", "OUTPUT", names.SERVICES, _PORTALS, new_only=True),
    _hook("filter", "FORWARD", names.FORWARD, "kubernetes forwarding rules"),
    _hook("filter", "INPUT", names.PROXY_FIREWALL, _FIREWALL, new_only=True),
    _hook("filter", "OUTPUT", names.PROXY_FIREWALL, _FIREWALL, new_only=True),
    _hook("filter", "FORWARD", names.PROXY_FIREWALL, _FIREWALL, new_only=True),
    _hook("nat", "OUTPUT", names.SERVICES, _PORTALS),
    _hook("nat", "PREROUTING", names.SERVICES, _PORTALS),
    _hook("nat", "POSTROUTING", names.POSTROUTING, "kubernetes postrouting rules"),
    _hook("filter", "INPUT", names.LOCALNET_FIREWALL, ""),
    _hook("filter", "OUTPUT", names.LOCALNET_FIREWALL, ""),
)
"""In the order they are inserted, each at the head: the last of a chain ends up first."""

HOOKED = frozenset((hook.table, hook.chain) for hook in HOOKS)
"""The built-in chains with a jump of ours."""

VITAL: tuple[ChainKey, ...] = (
    ("nat", "OUTPUT"),
    ("nat", "PREROUTING"),
    ("nat", "POSTROUTING"),
    NAT_SERVICES,
    ("nat", names.MARK_MASQ),
    ("nat", names.POSTROUTING),
)
"""Without any of these many services are not reached."""

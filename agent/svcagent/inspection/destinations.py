"""What can be connected to: the addresses and ports of Services, told from objects or from the rules themselves.

In: an `Inventory`, or the tables of any kube-proxy-like program, whose comments name the Services. Out: `Destination`
values, and answers to "which Service is meant by this word" and "which does this packet go to".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec

from svcagent import names
from svcagent.inspection.inventory import Inventory
from svcagent.resolve import NodeView, resolve
from svcnet.rules import FAMILIES, L4, Addrtype, Comment, Rule, Tables

Kind: TypeAlias = Literal["cluster IP", "external IP", "loadbalancer IP", "node port"]


class Destination(msgspec.Struct, frozen=True, order=True):
    """One address (any of the node's own, "" for a node port), port and protocol (tcp, udp, sctp) of a Service.

    `service` is `namespace/name`, `port_name` "" for an unnamed port.
    """

    service: str
    port_name: str
    kind: Kind
    address: str
    port: int
    protocol: str

    @property
    def port_text(self) -> str:
        """`80/TCP`, or `http 80/TCP`."""
        return f"{self.port_name} {self.port}/{self.protocol.upper()}".strip()


def of_inventory(objects: Inventory, node: NodeView) -> list[Destination]:
    """Every destination of every Service, of both families."""
    found: list[Destination] = []
    for key, service, slices in objects.touched():
        for family in FAMILIES:
            for port in resolve(service, slices, family, node).ports:
                port_name = port.name.partition(":")[2]
                addresses: list[tuple[Kind, str, int]] = [("cluster IP", port.cluster_ip, port.port)]
                addresses += [("external IP", each, port.port) for each in port.external_ips]
                addresses += [("loadbalancer IP", each, port.port) for each in port.load_balancer_ips]
                addresses += [("node port", "", port.node_port)] if port.node_port else []
                found += [Destination(key, port_name, *each, port.protocol) for each in addresses]
    return sorted(set(found))


_COMMENT = re.compile(r"(?P<service>[\w.-]+/[\w.-]+)(?::(?P<port>[\w.-]+))?(?: (?P<rest>.*))?\Z")
_KINDS: dict[str, Kind] = {
    "cluster IP": "cluster IP",
    "external IP": "external IP",
    "loadbalancer IP": "loadbalancer IP",
}


def of_rules(tables: Tables) -> list[Destination]:
    """What the rules of a kube-proxy-like program serve or refuse, by their comments."""
    chains = (chain for table in ("nat", "filter") for chain in tables.get(table, {}).values())
    return sorted({found for chain in chains for rule in chain.rules if (found := _destination(chain.name, rule))})


def _destination(chain: str, rule: Rule) -> Destination | None:
    comment = next((each.text for each in rule.matches if isinstance(each, Comment)), "")
    port = next((each for each in rule.matches if isinstance(each, L4) and each.dport), None)
    said = _COMMENT.match(comment)
    if said is None or port is None or port.dport is None or not isinstance(rule.destination, str):
        return None
    rest = said["rest"] or ""
    address = rule.destination.partition("/")[0]
    kind: Kind | None = _KINDS.get(rest)
    if not rest and not address:
        kind = "node port"
    elif rest in ("has no endpoints", "has no local endpoints"):
        local = any(isinstance(each, Addrtype) for each in rule.matches)
        kind = "node port" if local else "cluster IP" if chain == names.SERVICES else "external IP"
    if kind is None or bool(address) != (kind != "node port"):
        return None
    return Destination(said["service"], said["port"] or "", kind, address, port.dport, port.protocol)


class UnknownServiceError(ValueError):
    """No Service of this name; the message has the nearest."""


def service_key(word: str, known: Collection[str]) -> str:
    """The `namespace/name` that a person means: `namespace/name`, `name.namespace[.svc...]` or a bare `name`.

    A bare name is looked for in `default` first, then everywhere. UnknownServiceError names the nearest.
    """
    if "/" in word:
        candidates = [word]
    elif "." in word:
        name, namespace, *_ = word.split(".")
        candidates = [f"{namespace}/{name}"]
    else:
        everywhere = sorted(key for key in known if key.partition("/")[2] == word)
        candidates = [f"default/{word}"] if f"default/{word}" in known else everywhere
        if len(candidates) > 1:
            raise UnknownServiceError(f"there are several Services {word!r}: {', '.join(candidates)}")
        candidates = candidates or [f"default/{word}"]
    if candidates[0] in known:
        return candidates[0]
    close = nearest(candidates[0], known)
    hint = f"; nearest: {', '.join(close)}" if close else f" among the {len(known)} that are known here"
    raise UnknownServiceError(f"there is no Service {candidates[0]!r}{hint}")


def nearest(key: str, known: Iterable[str]) -> list[str]:
    """Up to three of the known `namespace/name`: the same name elsewhere, then names alike, in its namespace first."""
    keys = sorted(known)
    namespace, _, name = key.partition("/")
    names_alike = difflib.get_close_matches(name, {each.partition("/")[2] for each in keys}, n=3, cutoff=0.6)
    alike = [each for close in (name, *names_alike) for each in keys if each.partition("/")[2] == close]
    alike.sort(key=lambda each: (each.partition("/")[2] != name, each.partition("/")[0] != namespace))
    return list(dict.fromkeys(alike))[:3]


def meant(destinations: Iterable[Destination], address: str, port: int, protocol: str) -> Iterator[Destination]:
    """The destinations that a packet may be for, node ports included, whoever's the address is."""
    for each in destinations:
        if (each.port, each.protocol) == (port, protocol) and each.address in ("", address):
            yield each

"""Random histories of Services, EndpointSlices and a Node, as values that can be made smaller.

In: a seed, and the world so far. Out: `Step`s: which drafts are put and which deleted. Since a draft's default fields
are the dullest, a failing history is made smaller by putting fields back to their defaults (`simpler`).
Refuses: worlds in which kube-proxy itself would choose at random (`ambiguous`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

import msgspec

from support.drafts import (
    OTHER_NODE,
    OWN_NODE,
    SERVICE_NAMES,
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
    after,
    key_of,
)


def ambiguous(world: Mapping[Key, Draft]) -> bool:
    """Whether two slices describe one endpoint differently, with nothing to tell which is right.

    kube-proxy reads the slices of a service in the random order of a Go map. Only "terminating" has a rule: the other
    one wins. Within one slice the last one that does not terminate wins, else the first.
    """
    seen: dict[tuple[object, ...], set[tuple[object, ...]]] = {}
    for draft in world.values():
        if isinstance(draft, SliceDraft) and draft.service and not draft.headless:
            for target in draft.targets:
                for number in {each.address for each in draft.endpoints}:
                    where = (draft.service, draft.family, target.name, target.protocol, target.port, number)
                    seen.setdefault(where, set()).add(_winner(draft, number).attributes)
    terminating = 2  # its place in `attributes`
    for found in seen.values():
        alive = {each for each in found if each[terminating] is not True}
        if len(alive or found) > 1:
            return True
    return False


def _winner(draft: SliceDraft, number: int) -> EndpointDraft:
    same = [each for each in draft.endpoints if each.address == number]
    alive = [each for each in same if each.terminating is not True]
    return alive[-1] if alive else same[0]


def _some(rng: Random, pool: tuple[Any, ...], at_most: int) -> tuple[Any, ...]:
    return tuple(rng.choices(pool, k=rng.randint(0, at_most)))


MOST_ENDPOINTS = 5
PORT_NAMES = ("", "http", "https", "dns", "dns-tcp")
EXTERNAL_IPS = ("203.0.113.7", "203.0.113.8", "fd00:203::7", "fd00:203::8")
INGRESS = (
    *(("192.168.56.200", mode) for mode in ("", "VIP", "Proxy")),
    *(("fd00:56::200", mode) for mode in ("", "VIP", "Proxy")),
    *(("192.168.56.201", ""), ("fd00:56::201", ""), ("lb.example", "hostname")),
)
SOURCE_RANGES = (
    *("192.168.56.0/24", "198.51.100.7/32", " 203.0.113.0/25 ", "10.0.0.0/8", "0.0.0.0/0", "0.0.0.0/1"),
    *("fd00:56::/64", "fd00:99::/32 ", "::/0"),
)


def _port_draft(rng: Random, name: str) -> PortDraft:
    node_port = rng.choice((0, rng.randint(30000, 32767), rng.randint(30000, 32767)))
    return PortDraft(name, rng.choice((53, 80, 443, 8080)), rng.choice(("TCP", "TCP", "UDP", "SCTP")), node_port)


def _ports(rng: Random) -> tuple[PortDraft, ...]:
    if rng.random() < 0.4:
        return (_port_draft(rng, rng.choice(PORT_NAMES)),)
    drafts = [_port_draft(rng, name) for name in rng.sample(PORT_NAMES[1:], rng.randint(1, 4))]
    return tuple({(each.port, each.protocol): each for each in drafts}.values())


SERVICE_FIELDS: dict[str, Callable[[Random], Any]] = {
    "type": lambda rng: rng.choice(
        ("ClusterIP", "NodePort", "NodePort", "LoadBalancer", "LoadBalancer", "LoadBalancer", "ExternalName")
    ),
    "families": lambda rng: rng.choice((("IPv4",), ("IPv6",), ("IPv4", "IPv6"), ("IPv6", "IPv4"))),
    "ports": _ports,
    "external_policy": lambda rng: rng.choice(("Cluster", "Local")),
    "internal_policy": lambda rng: rng.choice(("Cluster", "Cluster", "Local")),
    "affinity_seconds": lambda rng: rng.choice((0, 0, 1, 10800, 86400)),
    "external_ips": lambda rng: _some(rng, EXTERNAL_IPS, 3),
    "ingress": lambda rng: _some(rng, INGRESS, 3),
    "source_ranges": lambda rng: _some(rng, SOURCE_RANGES, 3),
    "health_port": lambda rng: rng.randint(30000, 32767),
    "proxy_name": lambda rng: rng.choice(("", "", "", "other-proxy")),
    "distribution": lambda rng: rng.choice(("", "PreferClose")),
    "note": lambda rng: str(rng.randint(0, 9)),
}


def _condition(rng: Random) -> bool | None:
    return rng.choice((None, True, False))


def _endpoint_draft(rng: Random, hinted: int) -> EndpointDraft:
    """`hinted`: 0 no hints, 1 zones, 2 nodes, 3 both, 4 anything; mixed ones would nearly always switch hints off."""
    kind = rng.randint(0, 3) if hinted == 4 else hinted
    calm = rng.random() < 0.6
    return EndpointDraft(
        rng.randint(2, 12),
        True if calm else _condition(rng),
        None if calm else _condition(rng),
        None if calm else _condition(rng),
        rng.choice((OWN_NODE, OWN_NODE, OTHER_NODE, "")),
        tuple(rng.sample(ZONES, rng.randint(1, 2))) if kind in (1, 3) else (),
        tuple(rng.sample((OWN_NODE, OTHER_NODE), rng.randint(1, 2))) if kind in (2, 3) else (),
    )


def _targets(rng: Random, service: Draft | None) -> tuple[TargetDraft, ...]:
    """Mostly what the Service asks for, sometimes something else."""
    if isinstance(service, ServiceDraft) and rng.random() < 0.85:
        return tuple(TargetDraft(each.name, rng.choice((8080, 9090)), each.protocol) for each in service.ports)
    names = rng.sample(PORT_NAMES, rng.randint(0, 3))
    return tuple(TargetDraft(name, rng.choice((8080, 9090, 0)), rng.choice(("TCP", "UDP", "SCTP"))) for name in names)


class Mutations:
    """An endless source of steps. The same seed, asked about the same worlds, gives the same steps."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)  # noqa: S311  # it has to be repeated, not to be kept secret

    def step(self, world: Mapping[Key, Draft]) -> Step:
        """One to three changes of one sort or several. Never leads to an ambiguous world."""
        while True:
            found = Step()
            for _ in range(self._rng.choice((1, 1, 1, 2, 3))):
                change = self._change(after(world, found))
                puts = {key_of(draft): draft for draft in (*found.puts, *change.puts)}
                deletes = {*found.deletes, *change.deletes}
                left = tuple(draft for key, draft in puts.items() if key not in change.deletes)
                found = Step(left, tuple(sorted(deletes)))
            if (found.puts or found.deletes) and not ambiguous(after(world, found)):
                return found

    def _change(self, world: Mapping[Key, Draft]) -> Step:
        kinds: dict[Callable[[Mapping[Key, Draft]], Step], int] = {
            self._new_service: 3,
            self._other_service: 8,
            self._slice: 10,
            self._node: 1,
            self._deletion: 2,
            self._recreation: 1,
        }
        (chosen,) = self._rng.choices(tuple(kinds), tuple(kinds.values()))
        return chosen(world)

    def _of(self, world: Mapping[Key, Draft], kind: type[Draft]) -> list[Any]:
        return [draft for _, draft in sorted(world.items()) if isinstance(draft, kind)]

    def _new_service(self, world: Mapping[Key, Draft]) -> Step:
        """A new Service, and slices with what it wants."""
        missing = [name for name in SERVICE_NAMES if ("Service", name) not in world]
        if not missing:
            return self._other_service(world)
        draft = ServiceDraft(
            self._rng.choice(missing),
            self._rng.randint(10, 250),
            **{field: draw(self._rng) for field, draw in SERVICE_FIELDS.items()},
        )
        if self._rng.random() < 0.1:
            draft = msgspec.structs.replace(draft, type="Headless")
        slices = [self._slice_draft(draft.name, draft, family, 0) for family in draft.families]
        return Step((draft, *slices[: self._rng.randint(0, 2)]))

    def _other_service(self, world: Mapping[Key, Draft]) -> Step:
        services = self._of(world, ServiceDraft)
        if not services:
            return self._new_service(world)
        fields = self._rng.sample(tuple(SERVICE_FIELDS), self._rng.randint(1, 3))
        fresh = {field: SERVICE_FIELDS[field](self._rng) for field in fields}
        return Step((msgspec.structs.replace(self._rng.choice(services), **fresh),))

    def _slice(self, world: Mapping[Key, Draft]) -> Step:
        service = self._rng.choice(SERVICE_NAMES)
        family = self._rng.choice(("IPv4",) * 5 + ("IPv6",) * 5 + ("FQDN",))
        draft = self._slice_draft(service, world.get(("Service", service)), family, self._rng.randint(0, 2))
        known = world.get(key_of(draft))
        if isinstance(known, SliceDraft) and self._rng.random() < 0.5:
            field = self._rng.choice(("endpoints", "targets", "headless", "note", "service"))
            draft = msgspec.structs.replace(known, **{field: getattr(draft, field)})
        return Step((draft,))

    def _slice_draft(self, service: str, found: Draft | None, family: str, number: int) -> SliceDraft:
        rng = self._rng
        hinted = rng.choice((0, 0, 1, 2, 3, 4))
        return SliceDraft(
            f"{service}-{family.lower()}-{number}",
            rng.choice((service,) * 18 + (rng.choice(SERVICE_NAMES), "")),
            family,
            _targets(rng, found),
            tuple(_endpoint_draft(rng, hinted) for _ in range(rng.randint(0, MOST_ENDPOINTS))),
            rng.random() < 0.05,
            str(rng.randint(0, 9)),
        )

    def _node(self, world: Mapping[Key, Draft]) -> Step:
        return Step((NodeDraft(zone=self._rng.choice(("", *ZONES)), taint=self._rng.choice(("", "busy"))),))

    def _deletion(self, world: Mapping[Key, Draft]) -> Step:
        keys = sorted(key for key in world if key[0] != "Node")
        return Step((), (self._rng.choice(keys),)) if keys else Step()

    def _recreation(self, world: Mapping[Key, Draft]) -> Step:
        services = self._of(world, ServiceDraft)
        if not services:
            return Step()
        number = self._rng.randint(10, 250)
        return Step((msgspec.structs.replace(self._rng.choice(services), number=number),))


# Smaller


def only(name: str, step: Step) -> Step:
    """What a step does to one Service, to slices of its or of that name, and to the Node."""

    def concerned(key: Key, service: str) -> bool:
        return key[0] == "Node" or name in (key[1].partition("-")[0], service)

    puts = tuple(each for each in step.puts if concerned(key_of(each), getattr(each, "service", "")))
    return Step(puts, tuple(key for key in step.deletes if concerned(key, "")))


def simpler(step: Step) -> Iterator[Step]:
    """Steps that say less than this one: without an object, an entry of a list, or a field; each by one thing less."""
    for index in range(len(step.deletes)):
        yield Step(step.puts, step.deletes[:index] + step.deletes[index + 1 :])
    for index in range(len(step.puts)):
        yield Step(step.puts[:index] + step.puts[index + 1 :], step.deletes)
    for index, draft in enumerate(step.puts):
        for smaller in _simpler(draft):
            yield Step((*step.puts[:index], smaller, *step.puts[index + 1 :]), step.deletes)


def _simpler(value: Any) -> Iterator[Any]:
    for field in msgspec.structs.fields(value):
        now = getattr(value, field.name)
        if field.default is not msgspec.NODEFAULT and now != field.default:
            yield msgspec.structs.replace(value, **{field.name: field.default})
        if not isinstance(now, tuple) or (field.name == "families" and len(now) == 1):
            continue
        for index, each in enumerate(now):
            yield msgspec.structs.replace(value, **{field.name: now[:index] + now[index + 1 :]})
            if isinstance(each, msgspec.Struct):
                for smaller in _simpler(each):
                    yield msgspec.structs.replace(value, **{field.name: (*now[:index], smaller, *now[index + 1 :])})

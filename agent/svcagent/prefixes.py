"""Places, cut into prefixes so that few stand under each: the shape of a dispatch tree. Pure.

A place is a number of `width` bits: an address, or a protocol with a port. The root holds all; a node with more than
`LEAF` of them has children by the next `STEP` bits, of which those count that its places do not have in common. They
stand in an order in which the longest way below a node is as short as it can be: who has the longest comes first. So
the shape is a matter of the places alone, not of the order in which they came; and where places come or go, only the
nodes above them differ.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TypeAlias

Node: TypeAlias = tuple[int, int]
"""(the lowest place under it, how many leading bits its places share)."""

ROOT: Node = (0, 0)
LEAF, STEP = 24, 3
"""With 30,000 services that is four steps, each of at most eight jumps, and a leaf of some eight lines: 22 rules on the
average and 40 at most. With 10,000 it is three, and a leaf of some twenty.

What a first packet costs is memory that no cache holds. One more chain is two waits for it, one after the other; one
more rule of a chain is read ahead. So few chains count for more than few rules (`tests/bench/first_packet.py`).
"""
_MANY = 64  # from here on one sort is cheaper than an insertion each


class Prefixes:
    """A tree over a multiset of places. `nodes` are those of the last `settle`, each with its children."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.nodes: dict[Node, tuple[Node, ...]] = {}
        self._places: list[int] = []
        self._waiting: list[int] = []
        self._touched: set[int] = set()
        self._longest: dict[Node, int] = {}

    def __len__(self) -> int:
        return len(self._places) + len(self._waiting)

    def touch(self, place: int) -> None:
        """What stands at a place is different now."""
        self._touched.add(place)

    def add(self, place: int) -> None:
        """One more at a place."""
        self._waiting.append(place)
        self._touched.add(place)

    def remove(self, place: int) -> None:
        """One less; the place must have one."""
        self._merge()
        del self._places[bisect_left(self._places, place)]
        self._touched.add(place)

    def under(self, node: Node) -> list[int]:
        """The places under a node, each once, in order."""
        low, high = self._range(node)
        return list(dict.fromkeys(self._places[low:high]))

    def settle(self, most: int) -> tuple[set[Node], set[Node]]:
        """(nodes whose lines or children may be different now, nodes that are gone) since the last call.

        Up to `most` places in all, the root has no children; a node below it has none up to `LEAF` or `most` places,
        whichever is less.
        """
        self._merge()
        touched = sorted(self._touched)
        self._touched.clear()
        before = {ROOT: self.nodes.get(ROOT, ())}
        kept: set[Node] = set()
        waiting = [ROOT]
        while waiting:
            node = waiting.pop()
            children = self._children(node, min(most, LEAF)) if len(self._places) > most else ()
            before[node] = self.nodes.get(node, ())
            self.nodes[node] = children
            kept.update(children)
            waiting += (each for each in children if each not in self.nodes or self._any(touched, each))
        gone: set[Node] = set()
        leaving = [each for children in before.values() for each in children if each not in kept]
        while leaving:
            node = leaving.pop()
            if node not in gone:
                gone.add(node)
                leaving += (each for each in self.nodes.pop(node) if each not in kept)
                self._longest.pop(node, None)
        for node in reversed(before):  # children come after their parents there
            if node not in gone:
                self._arrange(node)
        return before.keys() - gone, gone

    def _arrange(self, node: Node) -> None:
        """Puts the children in order, whose own are already, and counts the rules of the longest way below."""
        if children := self.nodes[node]:
            found = tuple(sorted(children, key=lambda each: (-self._longest[each], each)))
            self.nodes[node] = found
            self._longest[node] = max(index + self._longest[child] for index, child in enumerate(found, 1))
        else:
            low, high = self._range(node)
            self._longest[node] = high - low

    def _merge(self) -> None:
        if len(self._waiting) > _MANY:
            self._places += self._waiting
            self._places.sort()
        else:
            for place in self._waiting:
                insort(self._places, place)
        self._waiting.clear()

    def _end(self, node: Node) -> int:
        return node[0] + (1 << self.width - node[1])

    def _range(self, node: Node) -> tuple[int, int]:
        return bisect_left(self._places, node[0]), bisect_left(self._places, self._end(node))

    def _any(self, places: list[int], node: Node) -> bool:
        return bisect_left(places, node[0]) != bisect_left(places, self._end(node))

    def _children(self, node: Node, leaf: int) -> tuple[Node, ...]:
        low, high = self._range(node)
        if high - low <= leaf or self._places[low] == self._places[high - 1]:
            return ()
        first, last = self._places[low], self._places[high - 1]
        common = self.width - (first ^ last).bit_length()
        above = common - common % STEP
        length = min(above + STEP, self.width)
        start = first >> self.width - above << self.width - above
        found = ((place, length) for place in range(start, self._end((start, above)), 1 << self.width - length))
        return tuple(child for child in found if self._any(self._places, child))

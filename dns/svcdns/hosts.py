"""Names from a hosts file: A, AAAA and PTR, as CoreDNS's `hosts` answers them.

In: lines like those of /etc/hosts, and questions. Out: a `Reply`, or None where somebody else is to answer: what is
outside the zones, an address nobody named, a name that is not known and falls through. A name that is not known and
does not fall through is SERVFAIL: there is no SOA that would make it NXDOMAIN. `*.example.org` stands for all names
below.
"""

from __future__ import annotations

from collections.abc import Iterable

from svcdns.answer import Question, Reply
from svcdns.names import labels_above, reverse_address
from svcdns.records import AAAA, NOERROR, PTR, SERVFAIL, A, Name, Record, name_of, packed
from svcdns.settings import Hosts

_STAR = b"\1*"


class Table:
    """What the file and the inline entries say, the inline ones first."""

    def __init__(self, options: Hosts, text: str = "") -> None:
        self.options = options
        self.entries = 0
        self._addresses: dict[Name, list[bytes]] = {}
        self._names: dict[bytes, list[Name]] = {}
        for line in (*options.inline, *text.splitlines()):
            self._add(line.partition("#")[0].split())

    def answer(self, question: Question) -> Reply | None:
        """What there is to say; None: the next one is to answer."""
        options = self.options
        if question.type == PTR:
            address = reverse_address(question.lower)
            names = self._names.get(address, ()) if address is not None else ()
            return self._reply(question, names) if names else None
        if not self._is_ours(question.lower):
            return None
        found = self._at(question.lower)
        size = {A: 4, AAAA: 16}.get(question.type, 0)
        if (not found or (options.unsupported and not size)) and self._falls_through(question.lower):
            return None
        if not found:
            return Reply(SERVFAIL, "not in the hosts file", authoritative=False)
        return self._reply(question, [address for address in found if len(address) == size])

    def _falls_through(self, name: Name) -> bool:
        return self.options.fallthrough is not None and _is_below(name, self.options.fallthrough)

    def _reply(self, question: Question, data: Iterable[bytes]) -> Reply:
        ttl = self.options.ttl
        records = tuple(Record(question.lower, question.type, ttl, octets) for octets in dict.fromkeys(data))
        return Reply(NOERROR, "the hosts file", records)

    def _at(self, name: Name) -> list[bytes]:
        found = self._addresses.get(name)
        while found is None and name != b"\0":
            name = name[name[0] + 1 :]
            found = self._addresses.get(_STAR + name)
        return found or []

    def _is_ours(self, name: Name) -> bool:
        return _is_below(name, self.options.zones)

    def _add(self, words: list[str]) -> None:
        address = packed(words[0]) if len(words) > 1 else None
        if address is None:
            return
        for word in words[1:]:
            try:
                name = name_of(word).lower()
            except ValueError:
                continue
            if self._is_ours(name):
                self.entries += 1
                self._addresses.setdefault(name, []).append(address)
                if self.options.reverse and not name.startswith(_STAR):
                    self._names.setdefault(address, []).append(name)


def _is_below(name: Name, zones: Iterable[Name]) -> bool:
    return any(labels_above(name, zone) is not None for zone in zones)

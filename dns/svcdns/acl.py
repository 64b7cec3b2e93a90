"""Who may ask what: the Corefile's `acl`.

In: a question's name and type, and the client's address. Out: what becomes of it, by the first rule that says so; and
the client's reply where that is no answer, with an Extended DNS Error (RFC 8914) for clients that have EDNS.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from svcdns import wire
from svcdns.answer import Reply
from svcdns.names import labels_above
from svcdns.records import NOERROR, REFUSED, Name, labels_of
from svcdns.settings import Access, AccessRule, Network

_BLOCKED, _FILTERED = 15, 17  # RFC 8914
_EDE = 15  # the EDNS option


class AccessList:
    def __init__(self, rules: Sequence[AccessRule]) -> None:
        self._rules = [(rule.zones, [(one, _Networks(one.networks)) for one in rule.policies]) for rule in rules]

    def verdict(self, name: Name, kind: int, client: bytes) -> tuple[Access, Name]:
        """What becomes of a question about `name`, in lower case, of an address in 4 or 16 octets; by which zone."""
        for zones, policies in self._rules:
            above = [zone for zone in zones if labels_above(name, zone) is not None]
            if not above:
                continue
            for policy, networks in policies:
                if (not policy.types or kind in policy.types) and client in networks:
                    return policy.access, max(above, key=lambda zone: len(labels_of(zone)))
        return "allow", b""


def turned_away(query: wire.Query, access: Access, limit: int) -> bytes | None:
    """The reply to a question that is not allowed; None for silence."""
    if access == "drop":
        return None
    rcode, reason = (REFUSED, _BLOCKED) if access == "block" else (NOERROR, _FILTERED)
    if query.edns is not None:
        error = b"".join(number.to_bytes(2) for number in (_EDE, 2, reason))
        edns = msgspec.structs.replace(query.edns, options=query.edns.options + error)
        query = msgspec.structs.replace(query, edns=edns)
    return wire.write(query, Reply(rcode, f"acl: {access}", authoritative=False), limit)


class _Networks:
    """A look-up for each length of prefix that there is."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._of_size: dict[tuple[int, int], set[int]] = {}
        for network in networks:
            bits = network.max_prefixlen - network.prefixlen
            key = network.max_prefixlen // 8, bits
            self._of_size.setdefault(key, set()).add(int(network.network_address) >> bits)

    def __contains__(self, client: object) -> bool:
        assert isinstance(client, bytes)  # noqa: S101 - nothing else is looked for
        number = int.from_bytes(client)
        return any(number >> bits in known for (octets, bits), known in self._of_size.items() if octets == len(client))

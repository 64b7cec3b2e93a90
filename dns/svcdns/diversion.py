"""What leads a node's DNS questions to this process: addresses on an interface, and rules; made, healed and undone.

In: what `nodeflags` says. Out: changes of the network namespace of the calling thread. Each step may be repeated: what
is there is not made twice, and what is not there is gone already. Order of making: addresses, then sockets, then rules,
so that no question is led to nobody; of undoing: the rules that lead questions here, then the rest.

A step that fails raises DiversionError with node-cache's word for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

import msgspec

from svcdns import notrack
from svcdns.nodeflags import NodeLocal
from svcnet import carriers, links
from svcnet.carriers import LOOPBACK
from svcnet.links import LinkError
from svcnet.rules import FAMILIES, family_of
from svcnet.writers import Iptables, IptablesError, detect


class DiversionError(Exception):
    """`kind` is the label of coredns_nodecache_setup_errors_total."""

    def __init__(self, kind: str, error: Exception) -> None:
        super().__init__(str(error))
        self.kind = kind


class Diversion(msgspec.Struct, frozen=True):
    """`tables` are the iptables commands of each family that has addresses; none if rules are somebody else's matter.

    `interface` is "" if addresses are.
    """

    addresses: tuple[str, ...]
    interface: str
    tables: tuple[Iptables, ...]
    port: int = 53
    health_port: int = 8080

    def lay(self) -> int:
        """The interface with its addresses; how many were not there."""
        if not self.interface:
            return 0
        try:
            return carriers.ensure_addresses(carriers.ensure_link(self.interface), self.addresses)
        except LinkError as error:
            raise DiversionError("interface_add", error) from error

    def divert(self) -> int:
        """Leads questions here; how many rules were not there."""
        written = 0
        try:
            for tables in self.tables:
                wanted = notrack.lines(self._of(tables), self.port, self.health_port)
                lacking = notrack.missing(wanted, tables.dump(*notrack.TABLES))
                if lacking:
                    tables.restore(notrack.insertion(lacking))
                written += len(lacking)
        except IptablesError as error:
            raise _failed(error) from error
        return written

    def turn_away(self) -> None:
        """Questions are led here no more, and go the way that they would without us. Replies leave as before."""
        self._remove(self.addresses, inward=True)

    def lift(self, addresses: Iterable[str]) -> None:
        """Takes addresses from the interface."""
        if not self.interface:
            return
        try:
            for interface in (self.interface, LOOPBACK):
                carriers.remove_addresses(interface, addresses)
        except LinkError as error:
            raise DiversionError("interface_check", error) from error

    def undo(self) -> None:
        """Rules, addresses and interface: also what an earlier one with other addresses has left there."""
        try:
            is_ours = bool(self.interface) and carriers.is_carrier(self.interface)
            left = links.addresses_of(self.interface) if is_ours else ()
        except LinkError as error:
            raise DiversionError("interface_check", error) from error
        self._remove({*self.addresses, *left}, inward=False)
        self.lift(self.addresses)
        if is_ours:
            try:
                carriers.remove_link(self.interface)
            except LinkError as error:
                raise DiversionError("interface_check", error) from error

    def _remove(self, addresses: Iterable[str], *, inward: bool) -> None:
        whose = frozenset(addresses)
        first: IptablesError | None = None
        for tables in self.tables:
            try:
                text = notrack.removal(tables.dump(*notrack.TABLES[: 1 if inward else 2]), whose, inward=inward)
                if text:
                    tables.restore(text)
            except IptablesError as error:  # the other family's rules go all the same
                first = first or error
        if first is not None:
            raise _failed(first) from first

    def _of(self, tables: Iptables) -> list[str]:
        return [one for one in self.addresses if family_of(one) == tables.family]


def diversion_of(options: NodeLocal) -> Diversion:
    """Looks for the flavour of iptables that this node uses."""
    families = [family for family in FAMILIES if family in map(family_of, options.addresses)]
    flavour = detect() if options.rules else "plain"
    tables = tuple(Iptables(family, flavour) for family in families) if options.rules else ()
    interface = options.interface if options.links else ""
    return Diversion(options.addresses, interface, tables, options.port, options.health_port)


def routable(addresses: Iterable[str]) -> list[str]:
    """Those to which there may be another way than over this node: not the link-local ones."""
    return [one for one in addresses if not ip_address(one).is_link_local]


def _failed(error: IptablesError) -> DiversionError:
    return DiversionError("iptables_lock" if "xtables lock" in str(error) else "iptables", error)

"""The door to the kernel's connection tracking table (nfnetlink, struct nf_conntrack_tuple), by pyroute2.

It works on the network namespace of the calling thread. In: an address family. Out: `Flow` values. Foreign errors
leave as `ConntrackError`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

import msgspec
import pyroute2
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

from svcnet.flow import Flow
from svcnet.rules import Family

_AF = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}
_ATTEMPTS = 5


class ConntrackError(Exception):
    """The table could not be read or an entry could not be deleted."""


def udp_flows(family: Family) -> list[Flow]:
    """All UDP entries of a family. A dump that another change interrupted is repeated a few times."""
    last: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            return _dump(family)
        except NetlinkDumpInterrupted as error:
            last = error
        except (NetlinkError, OSError) as error:
            raise ConntrackError(f"cannot read the {family} conntrack table: {error}") from error
    raise ConntrackError(f"the {family} conntrack table changed during {_ATTEMPTS} dumps: {last}")


def _dump(family: Family) -> list[Flow]:
    # The kernel filters by protocol since 5.8; older ones send everything, so it is checked again here.
    udp = NFCTAttrTuple(family=_AF[family], proto=socket.IPPROTO_UDP)
    flows = []
    with pyroute2.NFCTSocket(nfgen_family=_AF[family]) as table:
        for message in table.dump(tuple_orig=udp):
            original, reply = message.get_attr("CTA_TUPLE_ORIG"), message.get_attr("CTA_TUPLE_REPLY")
            if original is None or reply is None:
                continue
            protocol = original.get_attr("CTA_TUPLE_PROTO")
            if protocol.get_attr("CTA_PROTO_NUM") != socket.IPPROTO_UDP:
                continue
            source, destination = _addresses(original)
            flows.append(
                Flow(
                    source,
                    protocol.get_attr("CTA_PROTO_SRC_PORT"),
                    destination,
                    protocol.get_attr("CTA_PROTO_DST_PORT"),
                    _addresses(reply)[0],
                    reply.get_attr("CTA_TUPLE_PROTO").get_attr("CTA_PROTO_SRC_PORT"),
                )
            )
    return flows


def _addresses(direction: pyroute2.netlink.nla) -> tuple[str, str]:
    addresses = direction.get_attr("CTA_TUPLE_IP")
    version = "V4" if addresses.get_attr("CTA_IP_V4_SRC") is not None else "V6"
    return addresses.get_attr(f"CTA_IP_{version}_SRC"), addresses.get_attr(f"CTA_IP_{version}_DST")


class Totals(msgspec.Struct, frozen=True):
    """The table of this namespace as a whole. Failed inserts, drops (table full) and early drops count since boot."""

    entries: int
    max_entries: int
    insert_failed: int
    dropped: int
    early_dropped: int


def totals() -> Totals:
    """How full the table is, and what it could not take in; ConntrackError if it cannot be read."""
    try:
        with pyroute2.NFCTSocket() as table:
            size = next(iter(table.count()))
            processors = list(table.stat())
    except (NetlinkError, OSError, StopIteration) as error:
        raise ConntrackError(f"cannot read the totals of conntrack: {error}") from error

    def summed(name: str) -> int:
        return sum(each.get_attr(f"CTA_STATS_{name}") or 0 for each in processors)

    return Totals(
        size.get_attr("CTA_STATS_GLOBAL_ENTRIES") or 0,
        size.get_attr("CTA_STATS_GLOBAL_MAX_ENTRIES") or 0,
        summed("INSERT_FAILED"),
        summed("DROP"),
        summed("EARLY_DROP"),
    )


def delete(family: Family, flows: Iterable[Flow]) -> int:
    """Deletes UDP entries by their original direction; returns how many were still there."""
    try:
        with pyroute2.NFCTSocket(nfgen_family=_AF[family]) as table:
            return sum(_delete(table, family, flow) for flow in flows)
    except OSError as error:
        raise ConntrackError(f"cannot open the {family} conntrack table: {error}") from error


def _delete(table: pyroute2.NFCTSocket, family: Family, flow: Flow) -> bool:
    original = NFCTAttrTuple(
        family=_AF[family],
        saddr=flow.source,
        daddr=flow.destination,
        proto=socket.IPPROTO_UDP,
        sport=flow.source_port,
        dport=flow.destination_port,
    )
    try:
        table.entry("del", tuple_orig=original)
    except NetlinkError as error:
        if error.code != errno.ENOENT:  # gone by itself meanwhile
            raise ConntrackError(f"cannot delete conntrack entry {flow}: {error}") from error
        return False
    return True

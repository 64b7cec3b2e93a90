"""The door to the kernel's connection tracking table (nfnetlink, struct nf_conntrack_tuple).

It works on the network namespace of the calling thread. In: an address family. Out: `Flow` values. Foreign errors
leave as `ConntrackError`. Entries are read without pyroute2, which takes ten times as long for each: a node that serves
DNS has tens of thousands.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Mapping

import msgspec
import pyroute2
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

from svcnet import nfnetlink
from svcnet.flow import Flow
from svcnet.nfnetlink import NESTED, attribute, attributes
from svcnet.rules import Family

_AF = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}
_ATTEMPTS = 5


class ConntrackError(Exception):
    """The table could not be read or an entry could not be deleted."""


def udp_flows(family: Family) -> list[Flow]:
    """All UDP entries of a family. A dump that another change interrupted is repeated a few times."""
    for _ in range(_ATTEMPTS):
        try:
            flows, whole = _dump(family)
        except (OSError, struct.error) as error:
            raise ConntrackError(f"cannot read the {family} conntrack table: {error}") from error
        if whole:
            return flows
    raise ConntrackError(f"the {family} conntrack table changed during each of {_ATTEMPTS} dumps")


_NETFILTER = 12  # NETLINK_NETFILTER
_GET = 1 << 8 | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
_ORIGINAL, _REPLY, _FILTER = 1, 2, 25  # CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_FILTER
_IP, _PROTOCOL = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3  # CTA_PROTO_...
_ADDRESSES = {"IPv4": (1, 2), "IPv6": (3, 4)}  # CTA_IP_V4_SRC, CTA_IP_V4_DST; CTA_IP_V6_SRC, CTA_IP_V6_DST
_UDP = bytes([socket.IPPROTO_UDP])
_BY_PROTOCOL = 1 << 3  # CTA_FILTER_F_CTA_PROTO_NUM
_SECONDS = 10.0


def _request(family: Family) -> bytes:
    """A dump of what is UDP. Kernels before 5.8 do not filter and send everything, so it is looked at again."""
    protocol = attribute(_PROTOCOL | NESTED, attribute(_NUMBER, _UDP))
    chosen = attribute(_FILTER | NESTED, attribute(1, struct.pack("=I", _BY_PROTOCOL)))  # CTA_FILTER_ORIG_FLAGS
    return nfnetlink.message(_GET, nfnetlink.DUMP, 1, _AF[family], attribute(_ORIGINAL | NESTED, protocol), chosen)


def _dump(family: Family) -> tuple[list[Flow], bool]:
    """The entries, and whether the table stayed as it was meanwhile."""
    flows: list[Flow] = []
    whole = True
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER) as kernel:
        kernel.settimeout(_SECONDS)
        kernel.send(_request(family))
        while True:
            for message in nfnetlink.messages(kernel.recv(1 << 16)):
                whole &= not message.interrupted
                if message.kind == nfnetlink.DONE:
                    return flows, whole
                if message.error:
                    raise OSError(message.error, os.strerror(message.error))
                if flow := _flow(family, message.attributes):
                    flows.append(flow)


def _flow(family: Family, entry: Mapping[int, bytes]) -> Flow | None:
    """The entry as a value; None if it is not UDP."""
    original, reply = attributes(entry[_ORIGINAL]), attributes(entry[_REPLY])
    protocol, answers = attributes(original[_PROTOCOL]), attributes(reply[_PROTOCOL])
    if protocol[_NUMBER] != _UDP:
        return None
    source, destination = _ADDRESSES[family]
    addresses = attributes(original[_IP])
    return Flow(
        socket.inet_ntop(_AF[family], addresses[source]),
        int.from_bytes(protocol[_SOURCE_PORT], "big"),
        socket.inet_ntop(_AF[family], addresses[destination]),
        int.from_bytes(protocol[_DESTINATION_PORT], "big"),
        socket.inet_ntop(_AF[family], attributes(reply[_IP])[source]),
        int.from_bytes(answers[_SOURCE_PORT], "big"),
    )


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

"""The door to the kernel's connection tracking table (nfnetlink, struct nf_conntrack_tuple).

It works on the network namespace of the calling thread. In: an address family. Out: `Flow` values. Foreign errors
leave as `ConntrackError`. Spoken to without pyroute2, which takes ten times as long for each entry: a node that serves
DNS has tens of thousands.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping

import msgspec

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
    with _socket() as kernel:
        for message in _answers(kernel, _request(family)):
            whole &= not message.interrupted
            if message.attributes and (flow := _flow(family, message.attributes)):
                flows.append(flow)
    return flows, whole


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
    made.settimeout(_SECONDS)
    return made


def _answers(kernel: socket.socket, request: bytes) -> Iterator[nfnetlink.Message]:
    """What the kernel answers to a dump, its last message included, which has no attributes."""
    kernel.send(request)
    while True:
        for message in nfnetlink.messages(kernel.recv(1 << 16)):
            if message.error:
                raise OSError(message.error, os.strerror(message.error))
            yield message
            if message.kind in (nfnetlink.DONE, nfnetlink.ERROR):
                return


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


_STATISTICS, _TOTAL = 1 << 8 | 4, 1 << 8 | 5  # IPCTNL_MSG_CT_GET_STATS_CPU, IPCTNL_MSG_CT_GET_STATS
_ENTRIES, _MAX_ENTRIES = 1, 2  # CTA_STATS_GLOBAL_...
_INSERT_FAILED, _DROP, _EARLY_DROP = 9, 10, 11  # CTA_STATS_...


def totals() -> Totals:
    """How full the table is, and what it could not take in; ConntrackError if it cannot be read."""
    try:
        with _socket() as kernel:
            answers = _answers(kernel, nfnetlink.message(_TOTAL, nfnetlink.ACK, 1, socket.AF_UNSPEC))
            size = {kind: value for each in answers for kind, value in each.attributes.items()}
            processors = list(_answers(kernel, nfnetlink.message(_STATISTICS, nfnetlink.DUMP, 2, socket.AF_UNSPEC)))
    except (OSError, struct.error) as error:
        raise ConntrackError(f"cannot read the totals of conntrack: {error}") from error

    def summed(kind: int) -> int:
        return sum(int.from_bytes(each.attributes.get(kind, b""), "big") for each in processors)

    return Totals(
        int.from_bytes(size.get(_ENTRIES, b""), "big"),
        int.from_bytes(size.get(_MAX_ENTRIES, b""), "big"),
        summed(_INSERT_FAILED),
        summed(_DROP),
        summed(_EARLY_DROP),
    )


_DELETE = 1 << 8 | 2  # IPCTNL_MSG_CT_DELETE


def delete(family: Family, flows: Iterable[Flow]) -> int:
    """Deletes UDP entries by their original direction; returns how many were still there."""
    try:
        with _socket() as kernel:
            return sum(_deleted(kernel, family, flow) for flow in flows)
    except OSError as error:
        raise ConntrackError(f"cannot open the {family} conntrack table: {error}") from error


def _deleted(kernel: socket.socket, family: Family, flow: Flow) -> bool:
    source, destination = _ADDRESSES[family]
    addresses = attribute(
        _IP | NESTED,
        attribute(source, socket.inet_pton(_AF[family], flow.source)),
        attribute(destination, socket.inet_pton(_AF[family], flow.destination)),
    )
    protocol = attribute(
        _PROTOCOL | NESTED,
        attribute(_NUMBER, _UDP),
        attribute(_SOURCE_PORT, struct.pack("!H", flow.source_port)),
        attribute(_DESTINATION_PORT, struct.pack("!H", flow.destination_port)),
    )
    original = attribute(_ORIGINAL | NESTED, addresses, protocol)
    try:
        list(_answers(kernel, nfnetlink.message(_DELETE, nfnetlink.ACK, 1, _AF[family], original)))
    except (OSError, struct.error) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOENT:  # gone by itself meanwhile
            return False
        raise ConntrackError(f"cannot delete conntrack entry {flow}: {error}") from error
    return True

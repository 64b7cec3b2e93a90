"""Whole nf_tables tables, by name: what programs leave behind that write rules of their own and not iptables'.

Spoken to over netlink in the network namespace of the calling thread; the command nft is not needed.
"""

from __future__ import annotations

import errno
import socket

from svcnet.rules import Family

_FAMILIES = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}


class TableError(Exception):
    """The kernel refused; the message has its own words."""


def delete(family: Family, name: str) -> bool:
    """Deletes a table of this family (`table ip NAME`, `table ip6 NAME`) with all in it; False if there is none."""
    # Not before it is needed: importing it takes a tenth of a second and 10 MiB, and most programs never come here.
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.nftables.main import NFTables

    try:
        with NFTables(nfgen_family=_FAMILIES[family]) as tables:
            tables.table("del", name=name)
    except NetlinkError as error:
        if error.code in (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL):  # the last two: a kernel without nf_tables
            return False
        raise TableError(f"{family} table {name} was not deleted: {error}") from error
    return True

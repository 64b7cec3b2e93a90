"""A connection-tracking entry as a value."""

from __future__ import annotations

import msgspec


class Flow(msgspec.Struct, frozen=True):
    """One conntrack entry of a UDP flow: its original direction, and where its answers come from.

    Addresses are canonical text. Original and reply source differ from each other's destination where NAT is at work.
    """

    source: str
    source_port: int
    destination: str
    destination_port: int
    reply_source: str
    reply_source_port: int

"""What the loop is told, by whatever thread."""

from __future__ import annotations

import queue
from typing import TypeAlias

import msgspec

from svcagent.audit import Looked
from svckube.reflector import Batch
from svcnet.notices import Named


class Stop(msgspec.Struct, frozen=True):
    """Ends the loop."""


class RulesChanged(msgspec.Struct, frozen=True):
    """Somebody committed a transaction of nf_tables; `writer` is a process ID, another netlink port, or 0: unknown.

    `chains` are those in it, None if that is not known.
    """

    writer: int
    chains: Named | None = None


class AddressesChanged(msgspec.Struct, frozen=True):
    """An interface of the node gained or lost an address."""


Message: TypeAlias = Batch | RulesChanged | AddressesChanged | Looked | Stop
Inbox: TypeAlias = queue.SimpleQueue[Message]

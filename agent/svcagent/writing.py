"""How the rules of one family reach the kernel: by netlink, or through iptables-restore.

In: `Patch`es. Out: which way it went, and whether a notice of the kernel is about one of these writes. By netlink a
pass of thousands of services takes a second where iptables-nft-restore takes minutes, so that is the way wherever the
host's own iptables shows rules written so as it shows its own: `chosen` tries that in a network namespace that ends
with the try. A patch in which a rule has no encoding goes through iptables-restore, whole.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Literal, TypeAlias

from svcagent import specimens
from svcagent.dialect import Dialect
from svcagent.patch import Afresh, Patch, RestoreInput, changes
from svcagent.pipeline import Pipeline
from svcagent.resolve import NodeView
from svckube.observe import fields
from svcnet import nftwriter
from svcnet.nftwire import WireError
from svcnet.transactions import batches
from svcnet.writers import Iptables, IptablesError

log = logging.getLogger(__name__)

Way: TypeAlias = Literal["netlink", "restore"]


KNOWN = frozenset({(1, 8, 9)})
"""Versions of iptables that our tests compare with: in a sandbox, which cannot try for itself, they are trusted."""


class WritingError(Exception):
    """The way that was asked for is not open here; the message says what to ask for instead."""


class Writer:
    """Writes one family's patches. `way` is how, unless a patch allows only the other one."""

    def __init__(self, iptables: Iptables, way: Way) -> None:
        self.iptables = iptables
        self.way = way
        self._port = nftwriter.new_port()
        self._writers: deque[int] = deque(maxlen=64)

    def write(self, patches: Callable[[], Iterable[Patch]]) -> Way | None:
        """Puts patches into the kernel, as they are made; None if there is nothing to write.

        IptablesError if that fails, perhaps half way. What netlink cannot say is asked for once more and goes through
        iptables-restore, whole.
        """
        if self.way == "netlink":
            self._writers.append(self._port)  # before: what fails half way is announced as well
            try:
                family = self.iptables.family
                made = chain.from_iterable(batches(family, changes(each)) for each in patches())
                port = nftwriter.send(made, port=self._port)
                self._writers.append(port or self._port)
                return "netlink" if port else None
            except WireError as error:
                log.warning(
                    "rules that netlink cannot say: written by iptables-restore",
                    extra=fields(family=self.iptables.family, problem=error),
                )
        text = RestoreInput(Afresh(patches))
        if text.empty:
            return None
        self._writers.append(self.iptables.restore(text))
        return "restore"

    def accepts(self, patch: Patch) -> bool:
        """Whether an empty host takes a patch."""
        if self.way == "netlink":
            try:
                return nftwriter.accepts(self.iptables.family, changes(patch))
            except WireError:
                pass
        return self.iptables.accepts(RestoreInput([patch]))

    def wrote(self, writer: int) -> bool:
        """Whether the writer that a notice names was this one."""
        return writer in self._writers


def chosen(wanted: str, iptables: Iptables, shape: Dialect) -> Writer:
    """The writer of --iptables-writer; `auto` is netlink where it can be used.

    WritingError for netlink on a host whose iptables is not iptables-nft.
    """
    if not iptables.on_nft():
        if wanted == "netlink":
            raise WritingError("--iptables-writer=netlink needs iptables-nft: leave it out, or say restore")
        return Writer(iptables, "restore")
    if wanted == "auto" and (problem := misread(iptables, shape)):
        log.warning("rules are written by iptables-restore", extra=fields(family=iptables.family, problem=problem))
        return Writer(iptables, "restore")
    return Writer(iptables, "restore" if wanted == "restore" else "netlink")


def misread(iptables: Iptables, shape: Dialect) -> str:
    """Why netlink cannot be used: how this iptables shows rules of every shape on an empty host; "" if as it should."""
    pipeline = Pipeline(shape, NodeView(specimens.NODE))
    patch = pipeline.full(specimens.touched(), "")

    def shown() -> str:
        nftwriter.write(iptables.family, changes(patch))
        return iptables.dump()

    try:
        dump = nftwriter.apart(shown)
    except (IptablesError, WireError) as error:
        return f"netlink was tried on an empty host: {error}"
    except OSError as error:
        if iptables.version() in KNOWN:
            return ""
        return f"netlink could not be tried ({error}); --iptables-writer=netlink takes it untried"
    pipeline.applied(patch)
    wrong = sorted(pipeline.differences(dump))
    return f"iptables shows otherwise what netlink wrote: {', '.join(wrong[:3])}" if wrong else ""

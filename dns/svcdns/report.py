"""What is told of queries: the line of CoreDNS's `log`, and of its `errors`.

In: queries, replies and failures. Out: a line for each on standard output as CoreDNS writes them, so that what reads
CoreDNS's log reads ours; failures through the program's own log. A flood of failures is told as a number.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import NamedTuple

from svcdns.answer import Question
from svcdns.names import labels_above
from svcdns.records import NOERROR, NXDOMAIN, RCODE_NAMES, TYPE_NAMES, text_of
from svcdns.settings import Consolidated, Errors, LogRule
from svcdns.tally import Via
from svcdns.wire import Query
from svckube.observe import fields

MOST_A_SECOND = 20  # failures told one by one

_FLAGS = {0x8000: "qr", 0x400: "aa", 0x200: "tc", 0x100: "rd", 0x80: "ra", 0x40: "z", 0x20: "ad", 0x10: "cd"}
_CLASSES = {1: "IN", 3: "CH", 4: "HS", 255: "ANY"}

_log = logging.getLogger(__name__)


def class_of(said: bytes) -> str:
    """`success`, `denial` or `error`, by the reply code and whether there is an answer."""
    rcode, answers = said[3] & 0xF, said[6:8]
    if rcode == NOERROR:
        return "success" if answers != b"\0\0" else "denial"
    return "denial" if rcode == NXDOMAIN else "error"


def rule_for(rules: Iterable[LogRule], question: Question, said: bytes) -> LogRule | None:
    """The rule that tells of this reply. The first whose zone it is decides, also that nothing is told."""
    for rule in rules:
        if labels_above(question.lower, rule.zone) is not None:
            return rule if "all" in rule.classes or class_of(said) in rule.classes else None
    return None


class Exchange(NamedTuple):
    """A query and the reply to it. `peer` is the client's address and port, `seconds` what it took."""

    query: Query
    via: Via
    peer: tuple[str, int]
    said: bytes
    seconds: float


def line(form: str, exchange: Exchange) -> str:
    """A line of CoreDNS's `log` in this format. A label of the metadata plugin, `{/...}`, is `-`."""
    return "[INFO] " + "".join(one if isinstance(one, str) else one(exchange) for one in _pieces(form))


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _local(via: Via) -> str:
    return via.server.removeprefix("dns://").rpartition(":")[0] or "[::]"


def _rcode(said: bytes) -> str:
    return RCODE_NAMES.get(said[3] & 0xF, str(said[3] & 0xF))


def _flags(said: bytes) -> str:
    flags = int.from_bytes(said[2:4])
    return ",".join(name for bit, name in _FLAGS.items() if flags & bit)


def _true(value: bool) -> str:
    return "true" if value else "false"


_LABELS: Mapping[str, Callable[[Exchange], str]] = {
    "{remote}": lambda it: _host(it.peer[0]),
    "{port}": lambda it: str(it.peer[1]),
    "{local}": lambda it: _local(it.via),
    "{proto}": lambda it: it.via.proto,
    "{type}": lambda it: TYPE_NAMES.get(it.query.question.type, f"TYPE{it.query.question.type}"),
    "{class}": lambda it: _CLASSES.get(it.query.klass, f"CLASS{it.query.klass}"),
    "{name}": lambda it: text_of(it.query.question.lower),
    "{size}": lambda it: str(len(it.query.packet)),
    "{>id}": lambda it: str(it.query.id),
    "{>opcode}": lambda it: str(it.query.flags >> 11 & 0xF),
    "{>do}": lambda it: _true(it.query.edns is not None and it.query.edns.dnssec_ok),
    "{>bufsize}": lambda it: str(it.query.limit(it.via.proto)),
    "{>rflags}": lambda it: _flags(it.said),
    "{rcode}": lambda it: _rcode(it.said),
    "{rsize}": lambda it: str(len(it.said)),
    "{duration}": lambda it: f"{it.seconds:.9f}s",
}
_LABEL = re.compile("(" + "|".join(map(re.escape, _LABELS)) + r"|\{/[^{}]*\})")


@cache
def _pieces(form: str) -> tuple[str | Callable[[Exchange], str], ...]:
    return tuple(_LABELS.get(one, "-" if one.startswith("{/") else one) for one in _LABEL.split(form))


class Troubles:
    """Tells of failed queries; `close` tells what is still only counted."""

    def __init__(self, options: Errors, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._patterns = [(re.compile(one.pattern), one) for one in options.consolidated]
        self._counts: dict[Consolidated, tuple[float, int]] = {}
        self._second, self._told, self._untold = 0, 0, 0

    def __call__(self, question: Question, rcode: int, error: Exception) -> None:
        reason = str(error)
        text = f"{rcode} {text_of(question.lower)} {TYPE_NAMES.get(question.type, str(question.type))}: {reason}"
        now = self._clock()
        for pattern, one in self._patterns:
            if pattern.search(reason):
                since, count = self._counts.get(one, (now, 0))
                if now - since >= one.seconds:
                    self._tell(one, count)
                    since, count = now, 0
                self._counts[one] = since, count + 1
                if count or not one.show_first:
                    return
                break
        if int(now) != self._second:
            if self._untold:
                _log.error("more queries failed", extra=fields(count=self._untold))
            self._second, self._told, self._untold = int(now), 0, 0
        self._told += 1
        if self._told > MOST_A_SECOND:
            self._untold += 1
        else:
            _log.error("query failed", extra=fields(query=text))

    def close(self) -> None:
        for one, (_, count) in self._counts.items():
            self._tell(one, count)
        self._counts.clear()

    def _tell(self, one: Consolidated, count: int) -> None:
        if count:
            level = logging.getLevelNamesMapping()[one.level.upper()]
            _log.log(level, "queries failed", extra=fields(count=count, pattern=one.pattern, seconds=one.seconds))

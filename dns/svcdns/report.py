"""What is told of queries: the line of CoreDNS's `log`, and of its `errors`.

In: queries, replies and failures. Out: a line for each on standard output as CoreDNS writes them, so that what reads
CoreDNS's log reads ours; failures through the program's own log. A flood of failures is told as a number.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable

from svcdns.answer import Question
from svcdns.names import labels_above
from svcdns.records import NOERROR, NXDOMAIN, RCODE_NAMES, TYPE_NAMES, text_of
from svcdns.settings import Consolidated, Errors, LogRule
from svcdns.tally import Via
from svcdns.wire import Query
from svckube.observe import fields

MOST_A_SECOND = 20  # failures told one by one

_FLAGS = {0x8000: "qr", 0x400: "aa", 0x200: "tc", 0x100: "rd", 0x80: "ra", 0x40: "z", 0x20: "ad", 0x10: "cd"}
CLASSES = ("success", "denial", "error", "all")
_CLASSES = {1: "IN", 3: "CH", 4: "HS", 255: "ANY"}

_log = logging.getLogger(__name__)


def class_of(said: bytes) -> str:
    """`success`, `denial` or `error`, by the reply code and whether there is an answer."""
    rcode, answers = said[3] & 0xF, said[6:8]
    if rcode == NOERROR:
        return "success" if answers != b"\0\0" else "denial"
    return "denial" if rcode == NXDOMAIN else "error"


def is_told(rules: Iterable[LogRule], question: Question, said: bytes) -> bool:
    """Whether a rule wants a line about this reply."""
    kind = class_of(said)
    return any(
        labels_above(question.lower, rule.zone) is not None and ("all" in rule.classes or kind in rule.classes)
        for rule in rules
    )


def line(query: Query, via: Via, peer: tuple[str, int], said: bytes, seconds: float) -> str:
    """CoreDNS's common log format."""
    host, port = peer
    flags = int.from_bytes(said[2:4])
    question, edns = query.question, query.edns
    size = "65535" if via.proto == "tcp" else str(query.udp_limit)
    asked = " ".join(
        (
            TYPE_NAMES.get(question.type, f"TYPE{question.type}"),
            _CLASSES.get(query.klass, f"CLASS{query.klass}"),
            text_of(question.lower),
            via.proto,
            str(len(query.packet)),
            "true" if edns is not None and edns.dnssec_ok else "false",
            size,
        )
    )
    rcode = RCODE_NAMES.get(flags & 0xF, str(flags & 0xF))
    names = ",".join(name for bit, name in _FLAGS.items() if flags & bit)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f'[INFO] {where} - {query.id} "{asked}" {rcode} {names} {len(said)} {seconds:.9f}s'


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

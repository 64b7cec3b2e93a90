"""The Corefile's `cache`.

In: the directive and the zones of its server block. Out: a `Cache`. Refuses as CoreDNS does; `serve_stale_policy` and
`serve_stale`'s recheck time are not there.
"""

from __future__ import annotations

from svcdns.corefile import Directive, Line
from svcdns.directives import Found, any_number, counted, duration, flag, names, number, options
from svcdns.records import Name
from svcdns.settings import ROOT, Cache, Capacity

LEAST_ENTRIES = 1024  # CoreDNS has no smaller cache, whatever it is told
MOST_SERVFAIL = 300.0
STALE_SECONDS = 3600.0


def cache(directive: Directive, zones: tuple[Name, ...]) -> Cache:
    """`cache [TTL] [ZONES...]`: the TTL is the longest of both tables. Raises CorefileError."""
    words = directive.args
    longest = {}
    if words and words[0].removeprefix("-").isdecimal():
        limit = number(directive, words[0], 1)
        longest = {"success": limit, "denial": limit}
        words = words[1:]
    defaults = Cache()
    found = {
        table: Capacity(default.entries, longest.get(table, default.longest))
        for table, default in (("success", defaults.success), ("denial", defaults.denial))
    }
    said = options(directive, _OPTIONS)
    for table in ("success", "denial"):
        if (words_of := said.pop(table, None)) is not None:
            entries, limit, shortest = words_of
            found[table] = Capacity(entries, limit or found[table].longest, shortest)
    said |= found
    return Cache(zones=names(directive, words) or zones or (ROOT,), **said)


def _capacity(line: Line, found: Found) -> None:
    words = counted(line, 1, 3)
    entries = max(number(line, words[0]), LEAST_ENTRIES)
    longest = number(line, words[1], 1) if len(words) > 1 else None
    found[line.name] = entries, longest, number(line, words[2]) if len(words) > 2 else Capacity(0, 0).shortest


def _prefetch(line: Line, found: Found) -> None:
    words = counted(line, 1, 3)
    found["prefetch"] = number(line, words[0])
    if len(words) > 1:
        found["prefetch_seconds"] = duration(line, words[1])
    if len(words) > 2:
        if not words[2].endswith("%"):
            raise line.error(f"prefetch: {words[2]!r} is no percentage; write for example 10%")
        found["prefetch_percent"] = number(line, words[2][:-1], 10, 90)


def _serve_stale(line: Line, found: Found) -> None:
    words = list(counted(line, 0, 4))
    found["stale"] = duration(line, words.pop(0)) if words else STALE_SECONDS
    mode = words.pop(0).lower() if words else "immediate"
    if mode not in ("immediate", "verify"):
        raise line.error(f"invalid value for serve_stale refresh mode: {mode}; there is: immediate, verify")
    found["verify"] = mode == "verify"
    if words and found["verify"]:
        found["verify_seconds"] = duration(line, words.pop(0))
    if words:
        found["stale_ttl"] = int(duration(line, words.pop(0)))
    if words:
        raise line.error("serve_stale: a failure recheck time is not known here")


def _servfail(line: Line, found: Found) -> None:
    found["servfail"] = duration(line, counted(line, 1)[0])
    if found["servfail"] > MOST_SERVFAIL:
        raise line.error("caching SERVFAIL responses over 5 minutes is not permitted")


def _disable(line: Line, found: Found) -> None:
    kind, *zones = any_number(line)
    if kind not in ("success", "denial"):
        raise line.error(f"cache type for disable must be 'success' or 'denial', not '{kind}'")
    found[f"not_{kind}"] = names(line, zones) or (ROOT,)


_OPTIONS = {
    "denial": _capacity,
    "disable": _disable,
    "keepttl": flag("keep_ttl"),
    "prefetch": _prefetch,
    "serve_stale": _serve_stale,
    "servfail": _servfail,
    "success": _capacity,
}

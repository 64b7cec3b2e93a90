"""The Corefile's `forward`.

In: the directive. Out: a `Forward`. Upstreams are addresses or host names, with `tls://` in front for DNS over TLS, or
files like resolv.conf; names are resolved and files read when the server starts. Refused by name: what CoreDNS has and
we do not, among it DNS over HTTPS.
"""

from __future__ import annotations

import re

import msgspec

from svcdns.addresses import endpoint_of
from svcdns.corefile import Directive, Line
from svcdns.directives import Found, amount, any_number, checked, counted, duration, flag, names, options, seconds
from svcdns.records import name_of
from svcdns.settings import DNS_PORT, TLS_PORT, Certificates, Forward, HealthCheck, HostName, Upstream

MOST_UPSTREAMS = 15
_ADDRESS_LIKE = re.compile(r"[0-9.]*")  # an address that is none, and no host of anybody's


def forward(directive: Directive) -> Forward:
    """`forward FROM TO...`. Raises CorefileError."""
    origin, *to = any_number(directive, 2)
    found = options(directive, _OPTIONS)
    server_name = found.pop("server_name", "")
    upstreams = tuple(dict.fromkeys(_upstream(directive, word, server_name) for word in to))
    if len(upstreams) > MOST_UPSTREAMS:
        raise directive.error(f"forward: more than {MOST_UPSTREAMS} upstreams: {len(upstreams)}")
    return Forward(upstreams, names(directive, [origin])[0], **found)


def _upstream(line: Line, text: str, server_name: str) -> Upstream | HostName | str:
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "dns", text
    if scheme not in ("dns", "tls"):
        raise line.error(f"forward: '{scheme}' is not supported as a destination protocol; there is: dns, tls")
    if scheme == "dns" and "/" in rest:
        return rest
    own_name = ""
    if "%" in rest:
        address, _, tail = rest.partition("%")
        own_name, colon, port = tail.partition(":")
        rest = address + colon + port
        if scheme != "tls":
            raise line.error(f"forward: {text!r}: only a tls:// upstream has a server name after '%'")
        if server_name:
            raise line.error(f"forward: both tls_servername and '%{own_name}' name the server of {text}")
    tls = scheme == "tls"
    default = TLS_PORT if tls else DNS_PORT
    found_name = (own_name or server_name) if tls else ""
    try:
        return Upstream(endpoint_of(rest, default), tls, found_name)
    except ValueError:
        host = _host_name(line, text, rest, default)
        return msgspec.structs.replace(host, tls=tls, server_name=found_name)


def _host_name(line: Line, text: str, rest: str, port: int) -> HostName:
    """`NAME` or `NAME:PORT`."""
    host, colon, digits = rest.partition(":")
    try:
        name_of(host or "..")
        number = int(digits) if colon else port
    except ValueError:
        number = -1
    if not 0 <= number <= 65535 or _ADDRESS_LIKE.fullmatch(host):
        raise line.error(f"forward: {text!r} is not an IP address, a file or a host name")
    return HostName(host, number)


def _resolver(line: Line, found: Found) -> None:
    found["resolvers"] = tuple(
        checked(line, lambda word: endpoint_of(word, DNS_PORT), word) for word in any_number(line)
    )


def _policy(line: Line, found: Found) -> None:
    (policy,) = counted(line, 1)
    if policy not in ("random", "round_robin", "sequential"):
        raise line.error(f"unknown policy '{policy}'; there is: random, round_robin, sequential")
    found["policy"] = policy


def _health_check(line: Line, found: Found) -> None:
    words = list(any_number(line))
    check = HealthCheck(duration(line, words.pop(0)))
    while words:
        word = words.pop(0)
        if word == "no_rec":
            check = HealthCheck(check.seconds, False, check.name)
        elif word == "domain" and words:
            check = HealthCheck(check.seconds, check.recursion, checked(line, name_of, words.pop(0)).lower())
        else:
            raise line.error(f"health_check: unknown option {word}; there is: no_rec, domain NAME")
    found["check"] = check


def _except(line: Line, found: Found) -> None:
    found["excepted"] = found.get("excepted", ()) + names(line, any_number(line))


def _tls(line: Line, found: Found) -> None:
    match counted(line, 0, 3):
        case [authority]:
            found["certificates"] = Certificates(authority=authority)
        case words:
            found["certificates"] = Certificates(*words)


def _server_name(line: Line, found: Found) -> None:
    (found["server_name"],) = counted(line, 1)


_OPTIONS = {
    "except": _except,
    "expire": seconds("expire"),
    "failfast_all_unhealthy_upstreams": flag("fail_fast"),
    "force_tcp": flag("force_tcp"),
    "health_check": _health_check,
    "max_concurrent": amount("max_concurrent"),
    "max_connect_attempts": amount("max_attempts"),
    "max_fails": amount("max_fails"),
    "policy": _policy,
    "prefer_udp": flag("prefer_udp"),
    "read_timeout": seconds("read_timeout", 0.001),
    "resolver": _resolver,
    "tls": _tls,
    "tls_servername": _server_name,
}

"""What a Corefile's directives mean: server blocks to settings.

In: `Block` values. Out: `Settings`. Every plugin that kubeadm's and node-local-dns's Corefiles name is known, and the
options that make sense here; anything else is refused by its name and line, as CoreDNS refuses what it does not know: a
server that leaves out a part of what it was told is worse than one that does not start. What CoreDNS has and we do not
is told apart from a slip of the pen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

import msgspec

from svcdns.addresses import zone_names
from svcdns.corefile import Block, CorefileError, Directive, Line
from svcdns.directives import (
    Found,
    any_number,
    checked,
    counted,
    duration,
    flag,
    listening,
    names,
    number,
    options,
    seconds,
)
from svcdns.names import labels_above
from svcdns.plugin_acl import acl
from svcdns.plugin_cache import cache
from svcdns.plugin_forward import forward
from svcdns.plugin_kubernetes import kubernetes
from svcdns.records import Name, name_of, text_of
from svcdns.settings import (
    CLASSES,
    COMBINED,
    COMMON,
    DNS_PORT,
    ROOT,
    Autopath,
    Cache,
    Consolidated,
    Errors,
    Hosts,
    LogRule,
    Reload,
    Rewrite,
    ServerBlock,
    Serving,
    Settings,
    Transfer,
)

HEALTH, READY, PROMETHEUS = ":8080", ":8181", "localhost:9153"
SHORTEST_RELOAD, SHORTEST_JITTER = 2.0, 1.0

OF_COREDNS = frozenset(
    (
        *("any", "auto", "azure", "bufsize", "cancel", "chaos", "clouddns", "debug", "dns64"),
        *("dnssec", "dnstap", "erratic", "etcd", "file", "geoip", "grpc", "grpc_server", "header", "https", "https3"),
        *("k8s_external", "local", "metadata", "minimal", "multisocket", "nomad", "nsid", "on", "pprof", "proxyproto"),
        *("quic", "root", "route53", "secondary", "shed", "sign", "template", "timeouts", "tls", "trace"),
        *("tsig", "view", "whoami"),
    )
)
"""Plugins of CoreDNS 1.14 that there are none of here."""
OFTEN = frozenset(("acl", "bind", "forward", "log", "rewrite", "transfer"))
"""Those that may stand in a server block more than once."""


def settings_of(blocks: Iterable[Block], port: int = DNS_PORT) -> Settings:
    """The settings that the server blocks spell; `port` where a block names none. Raises CorefileError."""
    found, reload = [], None
    taken: dict[tuple[Name, int, str], Block] = {}
    for block in blocks:
        one = _block(block, port)
        for serving in one.serving:
            for address in one.bind or ("",):
                _check_free(taken, block, serving, address)
        found.append(one)
        for directive in block.directives:
            if directive.name == "reload":
                reload = _reload(directive)
    if not found:
        raise CorefileError("no server block; write for example `. { forward . /etc/resolv.conf }`, on three lines")
    return Settings(tuple(found), reload)


def _check_free(taken: dict[tuple[Name, int, str], Block], block: Block, serving: Serving, address: str) -> None:
    mine = serving.zone, serving.port, address
    where = f"cannot serve dns://{serving.text}:{serving.port}{f' on {address}' if address else ''}"
    if mine in taken:
        raise block.error(f"{where} - it is already defined, in line {taken[mine].line}")
    for (zone, port, other), owner in taken.items():
        if (zone, port) == mine[:2] and "" in (other, address):
            raise block.error(f"{where} - the block of line {owner.line} overlaps: one of the two listens everywhere")
    taken[mine] = block


def _block(block: Block, port: int) -> ServerBlock:
    serving = tuple(one for key in block.keys for one in _serving(block, key, port))
    zones = tuple(dict.fromkeys(one.zone for one in serving))
    found: Found = {}
    seen: dict[str, Directive] = {}
    for directive in block.directives:
        name = directive.name
        read = _PLUGINS.get(name)
        if read is None:
            raise directive.error(_unknown(name))
        if name in seen and name not in OFTEN:
            raise directive.error(f"{name}: a server block has it only once; see line {seen[name].line}")
        seen[name] = directive
        read(directive, zones, found)
    if {"cache", "hosts"} <= found.keys():
        found["hosts"] = _as_cached(found["cache"], found["hosts"])
    found["forwards"] = tuple(found.get("forwards", ()))
    found["transfers"] = tuple(found.get("transfers", ()))
    return ServerBlock(serving, tuple(seen), **found)


def _unknown(name: str) -> str:
    if name in OF_COREDNS:
        return f"plugin '{name}' of CoreDNS is not there in svcplane-dns; there is: {', '.join(sorted(_PLUGINS))}"
    return f"unknown directive '{name}'; there is: {', '.join(sorted(_PLUGINS))}"


def _serving(block: Block, key: str, port: int) -> list[Serving]:
    """`ZONE`, `ZONE:PORT`, `dns://ZONE:PORT`; a CIDR is its reverse zones."""
    scheme, separator, rest = key.partition("://")
    if separator and scheme != "dns":
        raise block.error(f"'{key}': {scheme} is not served here; there is: dns")
    text = rest if separator else key
    zone, colon, digits = text.rpartition(":")
    if not colon:
        zone = text
    elif not digits.isdecimal() or int(digits) > 65535:
        raise block.error(f"'{key}': expecting a port after the last colon")
    else:
        port = int(digits)
    try:
        found = zone_names(zone or ".")
    except ValueError as error:
        raise block.error(f"'{key}': {error}") from None
    return [Serving(name, text_of(name), port) for name in found]


def _bind(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    found["bind"] = found.get("bind", ()) + any_number(directive)

    def excepted(line: Line, _: Found) -> None:
        found["not_bind"] = found.get("not_bind", ()) + any_number(line)

    options(directive, {"except": excepted})


def _acl(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    found["access"] = (*found.get("access", ()), acl(directive, zones))


def _autopath(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    *own, source = any_number(directive)
    options(directive, {})
    if source.startswith("@") and source != "@kubernetes":
        raise directive.error(f"autopath: {source[1:]} knows no search paths; there is: @kubernetes, or a resolv.conf")
    found["autopath"] = Autopath(names(directive, own) or zones, "" if source.startswith("@") else source)


def _cache(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    found["cache"] = cache(directive, zones)


def _kubernetes(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    found["kubernetes"] = kubernetes(directive, zones)


def _forward(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    found.setdefault("forwards", []).append(forward(directive))


def _errors(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    if counted(directive, 0, 1) not in ((), ("stdout",)):
        raise directive.error(f"invalid log file: {directive.args[0]}; errors go to the log of the process")
    said = options(directive, {"stacktrace": flag("stacktrace"), "consolidate": _consolidate})
    found["errors"] = Errors(tuple(said.get("consolidated", ())))


def _consolidate(line: Line, found: Found) -> None:
    period, pattern, *more = counted(line, 2, 4)
    show_first = more[-1:] == ["show_first"]
    level = "".join(more[: len(more) - show_first]) or "error"
    if level not in ("warning", "error", "info", "debug"):
        raise line.error(f"unknown option in consolidate: {level}")

    def compiled(text: str) -> str:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"{text!r}: {error}") from None
        return text

    one = Consolidated(duration(line, period), checked(line, compiled, pattern), level, show_first)
    found.setdefault("consolidated", []).append(one)


def _log(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    words = directive.args
    form = COMMON
    if words and "{" in words[-1]:
        form = words[-1].replace("{common}", COMMON).replace("{combined}", COMBINED)
        words = words[:-1]
    classes = options(directive, {"class": _classes}).get("classes", frozenset({"all"}))
    rules = tuple(LogRule(zone, classes, form) for zone in names(directive, words) or (ROOT,))
    found["log"] = found.get("log", ()) + rules


def _classes(line: Line, found: Found) -> None:
    for word in any_number(line):
        if word not in CLASSES:
            raise line.error(f"'{word}' is no class of replies; there is: {', '.join(CLASSES)}")
    found["classes"] = found.get("classes", frozenset()) | frozenset(line.args)


def _health(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    found["health"] = listening(directive, HEALTH)
    found |= options(directive, {"lameduck": seconds("lameduck")})


def _ready(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    found["ready"] = listening(directive, READY)

    def monitor(line: Line, _: Found) -> None:
        if counted(line, 1)[0] not in ("until-ready", "continuously"):
            raise line.error(f"monitor type '{line.args[0]}' not supported; there is: until-ready, continuously")

    options(directive, {"monitor": monitor})  # what we watch is ready for ever once it is


def _prometheus(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    found["prometheus"] = listening(directive, PROMETHEUS)
    options(directive, {})


def _loop(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    counted(directive, 0)
    options(directive, {})
    found["loop"] = True


def _loadbalance(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    policy = counted(directive, 0, 1)
    if policy not in ((), ("round_robin",)):
        raise directive.error(f"unknown policy: {policy[0]}; there is: round_robin")
    options(directive, {})
    found["loadbalance"] = True


def _hosts(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    path, own = directive.args[0] if directive.args else "/etc/hosts", names(directive, directive.args[1:])
    said: Found = {}
    inline = []
    for line in directive.body:
        if line.name in _HOSTS_OPTIONS:
            _HOSTS_OPTIONS[line.name](line, said)
        elif "fallthrough" in said:
            raise line.error(f"unknown property '{line.name}' of hosts: entries stand above fallthrough")
        else:
            inline.append(" ".join((line.name, *line.args)))
    if said.get("unsupported") and "fallthrough" not in said:
        raise directive.error("fallthrough_unsupported requires fallthrough")
    found["hosts"] = Hosts(path, own or zones, tuple(inline), **said)


def _as_cached(cache: Cache, hosts: Hosts) -> Hosts:
    """A cache in front needs not keep what is in memory anyway; its bounds are what clients see of it."""
    if all(any(labels_above(zone, kept) is not None for kept in cache.zones) for zone in hosts.zones):
        return msgspec.structs.replace(hosts, ttl=cache.success.bounded(hosts.ttl))
    return hosts


def _hosts_ttl(line: Line, found: Found) -> None:
    found["ttl"] = number(line, counted(line, 1)[0], 1, 65535)


def _hosts_fallthrough(line: Line, found: Found) -> None:
    found["fallthrough"] = names(line, line.args) or (ROOT,)


_HOSTS_OPTIONS = {
    "fallthrough": _hosts_fallthrough,
    "fallthrough_unsupported": flag("unsupported", True),
    "no_reverse": flag("reverse", False),
    "reload": seconds("reload"),
    "ttl": _hosts_ttl,
}


def _rewrite(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    words = list(directive.args)
    if len(words) < 2:
        for line in directive.body:
            words += [line.name, *line.args]
    elif directive.body:
        raise directive.error("rewrite: a rule stands on its line or in braces, not both")
    found["rewrites"] = (*found.get("rewrites", ()), _rule(directive, words))


def _rule(line: Line, words: list[str]) -> Rewrite:
    """`[continue|stop] name [exact|suffix] OLD NEW [answer auto]`."""
    mode = words.pop(0).lower() if words and words[0].lower() in ("continue", "stop") else "stop"
    if not words or words[0].lower() != "name":
        raise line.error(f"rewrite: only names are rewritten here, not '{' '.join(words[:1])}'")
    kind, *rest = words[1:] if len(words) > 3 else ["exact", *words[1:]]
    kind = kind.lower()
    if kind not in ("exact", "suffix"):
        raise line.error(f"rewrite: '{kind}' names are not matched here; there is: exact, suffix")
    if len(rest) < 2 or rest[2:] not in ([], ["answer", "auto"]):
        raise line.error(f"rewrite: write name {kind} OLD NEW, and perhaps answer auto")
    dotted = [kind == "suffix" and text.startswith(".") for text in rest[:2]]
    if dotted[0] != dotted[1]:
        raise line.error("rewrite: either both suffixes begin with a dot or none: whole labels are rewritten here")
    old, new = (checked(line, name_of, text[dotted[0] :] or ".").lower() for text in rest[:2])
    answers = kind == "exact" or len(rest) > 2
    return Rewrite("exact" if kind == "exact" else "suffix", old, new, answers, mode == "stop", not dotted[0])


def _reload_checked(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    _reload(directive)


def _reload(directive: Directive) -> Reload:
    words = counted(directive, 0, 2)
    options(directive, {})
    interval = duration(directive, words[0]) if words else Reload().seconds
    jitter = duration(directive, words[1]) if len(words) > 1 else Reload().jitter
    if interval < SHORTEST_RELOAD:
        raise directive.error(f"reload: interval value must be greater or equal to {SHORTEST_RELOAD:g}s")
    if 0 < jitter < SHORTEST_JITTER:
        raise directive.error(f"reload: jitter value must be 0 or greater or equal to {SHORTEST_JITTER:g}s")
    return Reload(interval, min(jitter, interval / 2))


def _transfer(directive: Directive, zones: tuple[Name, ...], found: Found) -> None:
    whom: list[IPv4Network | IPv6Network] = []

    def to(line: Line, _: Found) -> None:
        whom.extend(network for word in any_number(line) for network in checked(line, _networks, word))

    options(directive, {"to": to})
    if not whom:
        raise directive.error("transfer: 'to' is required: an address, a CIDR, or * for everybody")
    asked = names(directive, directive.args) or zones
    found.setdefault("transfers", []).append(Transfer(asked, tuple(whom)))


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(map(ip_network, ("0.0.0.0/0", "::/0") if text == "*" else (text,)))
    except ValueError:
        raise ValueError(f"{text!r} is no address, no CIDR and not *") from None


_PLUGINS: dict[str, Callable[[Directive, tuple[Name, ...], Found], None]] = {
    "acl": _acl,
    "autopath": _autopath,
    "bind": _bind,
    "cache": _cache,
    "errors": _errors,
    "forward": _forward,
    "health": _health,
    "hosts": _hosts,
    "kubernetes": _kubernetes,
    "loadbalance": _loadbalance,
    "log": _log,
    "loop": _loop,
    "prometheus": _prometheus,
    "ready": _ready,
    "reload": _reload_checked,
    "rewrite": _rewrite,
    "transfer": _transfer,
}

"""The options of a Corefile as flags, for one server block that serves everything.

In: a parser to add them to, and what it found. Out: a `Source` or `Settings`. What a flag says is read by the same
functions as the Corefile's directive, so both mean the same and refuse the same. Raises ValueError.
"""

from __future__ import annotations

import argparse

import msgspec

from svcdns.addresses import endpoint_of, zones_of
from svcdns.corefile import Block, Directive, Line
from svcdns.plugins import settings_of as settings_of_blocks
from svcdns.settings import Certificates, Endpoint, Settings, Source

DEFAULT_ZONES = ("cluster.local", "in-addr.arpa", "ip6.arpa")


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """What the plugin `kubernetes` says."""
    add = parser.add_argument
    add("--kubeconfig", default="", metavar="FILE", help="how to reach the API server")
    add("--context", default="", metavar="NAME", help="another one than the kubeconfig's current context")
    add("--in-cluster", action="store_true", help="use the service account of the pod we are in")
    add("--server", default="", metavar="URL", help="an API server other than the kubeconfig's, or without one")
    files = ("CERT", "KEY", "CA")
    add("--tls", nargs=3, default=[], metavar=files, help="a client certificate for --server without a kubeconfig")
    zones = " ".join(DEFAULT_ZONES)
    add("--zone", action="append", default=[], metavar="ZONE", help=f"a zone or CIDR served; by default {zones}")
    add("--ttl", type=_ttl, default=5, metavar="SECONDS", help="TTL of the records, 0 to 3600; by default 5")
    pods = ("disabled", "insecure", "verified")
    add("--pods", choices=pods, default="disabled", help="names like 10-0-0-1.ns.pod; by default disabled")
    add("--endpoint-pod-names", action="store_true", help="endpoints without a hostname get their pod's name")
    through = "ask an upstream where we would say NXDOMAIN"
    add("--fallthrough", action="append", default=[], metavar="ZONE", help=through)
    add("--namespaces", nargs="+", default=[], metavar="NAMESPACE", help="names of these namespaces only")
    add("--namespace-labels", default="", metavar="SELECTOR", help="names of namespaces with these labels only")
    add("--labels", default="", metavar="SELECTOR", help="names of Services with these labels only")
    add("--noendpoints", action="store_true", help="do not watch EndpointSlices; headless Services have no names then")
    add("--ignore-empty-service", action="store_true", help="NXDOMAIN for a Service with no endpoint that is ready")


def add_run(parser: argparse.ArgumentParser) -> None:
    """What the other plugins say."""
    add = parser.add_argument
    add("--listen", action="append", type=_listen, metavar="ADDRESS:PORT", help="UDP and TCP; by default 0.0.0.0:53")
    upstream = "[tls://]ADDRESS[:PORT]|NAME[:PORT]|FILE"
    add("--forward", action="append", default=[], metavar=upstream, help="upstream resolver")
    most = "forwarded queries at a time, by default 1000; more are REFUSED"
    add("--max-concurrent", default="1000", metavar="N", help=most)
    add("--policy", metavar="POLICY", help="which upstream first: random (the default), round_robin, sequential")
    add("--max-fails", metavar="N", help="probes that may fail before an upstream is down, by default 2; 0: no probes")
    add("--health-check", metavar="DURATION", help="between two probes of an upstream, by default 0.5s")
    add("--expire", metavar="DURATION", help="idle connections to upstreams are closed after it, by default 10s")
    add("--force-tcp", action="store_true", help="ask upstreams over TCP always")
    add("--prefer-udp", action="store_true", help="ask upstreams over UDP first, over TCP what is cut short")
    add("--tls-servername", metavar="NAME", help="in the certificate of tls:// upstreams")
    add("--cache", nargs="?", const="", metavar="SECONDS", help="keep what upstreams say, at most so long")
    capacity = "ENTRIES [LONGEST [SHORTEST]]"
    add("--cache-success", metavar=capacity, help="how many answers, and their TTLs in seconds")
    add("--cache-denial", metavar=capacity, help="the same for names and types that do not exist")
    add("--prefetch", metavar="COUNT [DURATION [N%]]", help="fetch anew what is asked so often before it expires")
    add("--serve-stale", nargs="?", const="", metavar="DURATION [MODE]", help="what expired, while upstreams are away")
    whose = "go along search paths for clients: @kubernetes (with --pods verified), or a resolv.conf that has one"
    add("--autopath", metavar="@kubernetes|FILE", help=whose)
    add("--hosts", metavar="FILE", help="names from a hosts file first; others fall through")
    add("--rewrite", action="append", default=[], metavar="RULE", help="'name exact OLD NEW', 'name suffix OLD NEW'")
    add("--log", action="store_true", help="a line for each query on standard output, as CoreDNS writes it")
    add("--loop", action="store_true", help="end if what is forwarded comes back")
    shuffled = "shuffle the addresses of a reply, which is the default"
    add("--loadbalance", action=argparse.BooleanOptionalAction, default=True, help=shuffled)
    patience = "wait so long for the API server before answering, by default 5"
    add("--startup-timeout", type=_seconds, default=5.0, metavar="SECONDS", help=patience)
    add("--lameduck", type=_seconds, default=0.0, metavar="SECONDS", help="go on answering this long after SIGTERM")
    whom = "whom to give the zone whole (AXFR): an address, a CIDR, or * for everybody; repeatable, by default nobody"
    add("--transfer-to", action="append", default=[], metavar="ADDRESS|CIDR|*", help=whom)
    add("--http", action="append", default=[], metavar="ADDRESS:PORT", help="serves /health /ready /metrics")


def source_of(found: argparse.Namespace) -> Source:
    """The cluster that the flags of `add_cluster` speak of."""
    ways = [name for name in ("kubeconfig", "in_cluster") if getattr(found, name)]
    if len(ways) > 1:
        raise ValueError("--in-cluster is not allowed with --kubeconfig")
    if not ways and not found.server:
        raise ValueError("say where the cluster is: one of --kubeconfig, --in-cluster, --server is required")
    if found.tls and (ways or not found.server):
        raise ValueError("--tls goes with --server, without --kubeconfig")
    if found.namespaces and found.namespace_labels:
        raise ValueError("--namespaces and --namespace-labels cannot both be set")
    try:
        zones = zones_of(found.zone or DEFAULT_ZONES, found.ttl, found.pods, found.fallthrough)
    except ValueError as error:
        raise ValueError(f"--zone: {error}") from None
    return Source(
        found.kubeconfig,
        found.server,
        zones,
        found.endpoint_pod_names,
        context=found.context,
        certificates=Certificates(*found.tls),
        labels=found.labels,
        namespace_labels=found.namespace_labels,
        namespaces=frozenset(found.namespaces),
        endpoints=not found.noendpoints,
        ignore_empty=found.ignore_empty_service,
        startup_timeout=getattr(found, "startup_timeout", 5.0),
    )


def settings_of(found: argparse.Namespace) -> Settings:
    """One server block for the root zone, as the flags of both functions say."""
    source = source_of(found)
    if source.zones.fallthrough and not found.forward:
        raise ValueError("--fallthrough sends names to an upstream: name one with --forward")
    directives = [directive for directive in _directives(found) if directive is not None]
    settings = settings_of_blocks([Block((".",), tuple(directives), "command line", 0)])
    block = msgspec.structs.replace(
        settings.blocks[0],
        kubernetes=source,
        plugins=(*settings.blocks[0].plugins, "kubernetes"),
        listen=tuple(found.listen or [Endpoint("0.0.0.0", 53)]),
        lameduck=found.lameduck,
    )
    return Settings((block,))


def _directives(found: argparse.Namespace) -> list[Directive | None]:
    forward = None
    if found.forward:
        names = ("max_concurrent", "policy", "max_fails", "health_check", "expire", "tls_servername")
        body = [_line(name, getattr(found, name)) for name in names if getattr(found, name) is not None]
        body += [_line(name, "") for name in ("force_tcp", "prefer_udp") if getattr(found, name)]
        forward = Directive("forward", (".", *found.forward), "--forward", 0, tuple(body))
    cache = None
    kept = {
        "success": found.cache_success,
        "denial": found.cache_denial,
        "prefetch": found.prefetch,
        "serve_stale": found.serve_stale,
    }
    body = [_line(name, text, f"cache-{name}") for name, text in kept.items() if text is not None]
    if found.cache is not None or body:
        cache = Directive("cache", tuple((found.cache or "").split()), "--cache", 0, tuple(body))
    return [
        Directive("errors", (), "--errors", 0),
        forward,
        cache,
        Directive("autopath", (found.autopath,), "--autopath", 0) if found.autopath else None,
        Directive("hosts", (found.hosts,), "--hosts", 0, (_line("fallthrough", ""),)) if found.hosts else None,
        *(Directive("rewrite", tuple(rule.split()), "--rewrite", 0) for rule in found.rewrite),
        Directive("log", (), "--log", 0) if found.log else None,
        Directive("loop", (), "--loop", 0) if found.loop else None,
        Directive("transfer", (), "--transfer-to", 0, (Line("to", tuple(found.transfer_to), "--transfer-to", 0),))
        if found.transfer_to
        else None,
        Directive("loadbalance", (), "--loadbalance", 0) if found.loadbalance else None,
    ]


def _line(name: str, text: str, flag: str = "") -> Line:
    return Line(name, tuple(text.split()), "--" + (flag or name).replace("_", "-"), 0)


def _listen(text: str) -> Endpoint:
    try:
        return endpoint_of(text, None)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _ttl(text: str) -> int:
    if not text.isdecimal() or int(text) > 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 3600")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to below 3600")
    return value

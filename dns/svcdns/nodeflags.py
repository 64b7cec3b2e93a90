"""The flags of `svcplane-dns nodelocal`: node-cache's, and a few of our own.

In: a parser to add them to, words, and what was found. Out: a `NodeLocal`, whole and checked; ValueError with a
sentence for what cannot be. node-cache's spellings (`-localip`, `-setupiptables=false`) are taken as they are, so its
DaemonSet's args need no change.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from ipaddress import ip_address

import msgspec

from svcdns.addresses import seconds_of
from svcdns.settings import DNS_PORT

COMMAND = "nodelocal"
_BOOLEANS = ("setupinterface", "setupiptables", "setupebtables", "skipteardown", "reloadwithsignal")
_NAMES = (
    *("localip", "conf", "corefile", "basecorefile", "interfacename", "upstreamsvc", "health-port", "syncinterval"),
    *("metrics-listen-address", "kubednscm", "dns.port", "pidfile"),
)


class NodeLocal(msgspec.Struct, frozen=True):
    """`addresses` as canonical text. `stale` are seconds for which expired answers may be given out; 0 is never.

    `role`: "serve"; "guard", which undoes what a process that died has made; "cleanup", which does so at once.
    """

    addresses: tuple[str, ...]
    role: str = "serve"
    conf: str = ""
    template: str = "/etc/coredns/Corefile.base"
    interface: str = "nodelocaldns"
    links: bool = True
    rules: bool = True
    keep: bool = False
    port: int = DNS_PORT
    health_port: int = 8080
    http: str = "0.0.0.0:9353"
    sync_seconds: float = 60.0
    upstream_service: str = "kube-dns"
    cluster_dns: tuple[str, ...] = ()
    kube_dns_map: str = ""
    reload: bool = False
    pidfile: str = ""
    stale: float = 3600.0
    node_name: str = ""
    kubeconfig: str = ""


def add(parser: argparse.ArgumentParser) -> None:
    """All of them."""
    usual, add = NodeLocal(()), parser.add_argument
    many = "ADDRESS[,ADDRESS...]"
    add("--local-ip", "--localip", default="", metavar=many, help="listened on; they are put on an interface")
    add("--conf", "--corefile", default="", metavar="FILE", help="the Corefile, with or without node-cache's variables")
    base = "the same, and goes before --conf if it is there; by default /etc/coredns/Corefile.base"
    add("--base-corefile", "--basecorefile", default=usual.template, metavar="FILE", help=base)
    dns = "of cluster DNS, not among --local-ip; by default what the environment says of --upstream-svc"
    add("--cluster-dns", default="", metavar=many, help=dns)
    service = "whose cluster IP is cluster DNS; by default kube-dns"
    add("--upstream-svc", "--upstreamsvc", default=usual.upstream_service, metavar="NAME", help=service)
    name = "by default nodelocaldns: a dummy link, else a bridge or an ifb, else lo"
    add("--interface-name", "--interfacename", default=usual.interface, metavar="NAME", help=name)

    def switch(names: tuple[str, ...], default: bool, text: str) -> None:
        add(*names, type=_bool, default=default, metavar="true|false", help=text)

    switch(("--setup-interface", "--setupinterface"), True, "make it; by default true")
    switch(("--setup-iptables", "--setupiptables"), True, "write the rules; by default true")
    switch(("--setupebtables",), False, argparse.SUPPRESS)
    switch(("--skip-teardown", "--skipteardown"), False, "leave both at the end; by default false")
    again = "between two looks whether rules and addresses are there; by default 60"
    add("--sync-interval", "--syncinterval", type=_seconds, default=60.0, metavar="SECONDS", help=again)
    add("--health-port", type=_port, default=8080, metavar="PORT", help="of /health, not tracked either")
    where = "serves /metrics; by default 0.0.0.0:9353; empty: nowhere"
    add("--metrics-listen-address", default=usual.http, metavar="ADDRESS:PORT", help=where)
    add("--kube-dns-config", "--kubednscm", default="", metavar="DIR", help="ConfigMap kube-dns: stub domains")
    add("--dns.port", dest="dns_port", type=_port, default=DNS_PORT, metavar="PORT", help="by default 53")
    switch(("--reload-with-signal", "--reloadwithsignal"), False, "reload without the plugin")
    add("--pidfile", default="", metavar="FILE", help="gets the process's number")
    stale = "expired answers may be given out so long while upstreams are away, where the Corefile does not say; 1h"
    add("--serve-stale", type=_seconds, default=3600.0, metavar="DURATION", help=stale)
    node = "for autopath @kubernetes: whose Pods to watch; by default the environment's NODE_NAME"
    add("--node-name", default="", metavar="NAME", help=node)
    account = "for the same: how to reach the API server; by default the service account of our pod"
    add("--kubeconfig", default="", metavar="FILE", help=account)
    roles = parser.add_mutually_exclusive_group()
    roles.add_argument("--guard", action="store_true", help="undo what the process here made, should it die; no more")
    roles.add_argument("--cleanup", action="store_true", help="undo what one made that has died")


def spelled(words: Sequence[str]) -> list[str]:
    """Words with the command's name in front and two dashes before node-cache's flags."""
    if COMMAND not in words[:1]:
        if not any(word.lstrip("-").partition("=")[0] == "localip" and word.startswith("-") for word in words):
            return list(words)
        words = [COMMAND, *words]
    return [_spelled(word) for word in words]


def _spelled(word: str) -> str:
    name, equals, _ = word.lstrip("-").partition("=")
    if not word.startswith("-") or name not in (*_BOOLEANS, *_NAMES):
        return word
    return f"--{word.lstrip('-')}" + ("=true" if name in _BOOLEANS and not equals else "")


def nodelocal_of(found: argparse.Namespace) -> NodeLocal:
    """What the flags of `add` say."""
    role = "guard" if found.guard else "cleanup" if found.cleanup else "serve"
    addresses = _addresses("--local-ip", found.local_ip)
    if not addresses:
        raise ValueError("--local-ip is required, for example --local-ip 169.254.20.10")
    cluster = _addresses("--cluster-dns", found.cluster_dns)
    if both := set(addresses) & set(cluster):
        raise ValueError(f"--cluster-dns {both.pop()} is one of --local-ip: questions would come back here")
    if found.setupebtables:
        raise ValueError("--setupebtables: there are no rules for ebtables here")
    if not 0 < len(found.interface_name) < 16 or "/" in found.interface_name:
        raise ValueError(f"--interface-name {found.interface_name!r} is no name of an interface")
    return NodeLocal(
        addresses,
        role,
        conf=found.conf,
        template=found.base_corefile,
        interface=found.interface_name,
        links=found.setup_interface,
        rules=found.setup_iptables,
        keep=found.skip_teardown,
        port=found.dns_port,
        health_port=found.health_port,
        http=found.metrics_listen_address,
        sync_seconds=found.sync_interval,
        upstream_service=found.upstream_svc,
        cluster_dns=cluster,
        kube_dns_map=found.kube_dns_config,
        reload=found.reload_with_signal,
        pidfile=found.pidfile,
        stale=found.serve_stale,
        node_name=found.node_name,
        kubeconfig=found.kubeconfig,
    )


def _addresses(flag: str, text: str) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(str(ip_address(word.strip())) for word in text.split(",") if word.strip()))
    except ValueError as error:
        raise ValueError(f"{flag}: {error}") from None


def _bool(text: str) -> bool:
    """As Go's flag package has it."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _seconds(text: str) -> float:
    """A duration as Go writes it, or a number of seconds."""
    try:
        return float(text) if text.replace(".", "", 1).isdecimal() else seconds_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)

"""What the operator asked for: flags in, one frozen `Options` out.

Names, defaults and ranges are kube-proxy's where it has the same switch (1.36). A value that makes no sense ends the
program with a message that names the flag. Durations are Go's: `30s`, `1m30s`, `500ms`; here they become seconds.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from svcagent.names import host_port
from svcagent.resolve import canonical_address, canonical_cidr
from svcnet.rules import Family, family_of

DetectLocalMode = Literal["ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"]
DETECT_LOCAL_MODES: tuple[DetectLocalMode, ...] = ("ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix")
FLAVOURS = ("auto", "nft", "legacy")
WRITERS = ("auto", "netlink", "restore")
Dispatch = Literal["auto", "flat", "tree"]
DISPATCHES: tuple[Dispatch, ...] = ("auto", "flat", "tree")
MODES = ("", "iptables")
ONLY_IPTABLES = "this agent programs iptables rules and nothing else: set the mode to iptables, or leave it out"


class Conntrack(msgspec.Struct, frozen=True):
    """Settings of nf_conntrack; 0 leaves a value alone. Time-outs in seconds."""

    max_per_core: int = 32768
    min: int = 131072
    tcp_timeout_established: float = 86400.0
    tcp_timeout_close_wait: float = 3600.0
    tcp_be_liberal: bool = False
    udp_timeout: float = 0.0
    udp_timeout_stream: float = 0.0


class Options(msgspec.Struct, frozen=True):
    """All switches of `svcplane-agent run`. Addresses and CIDRs are canonical text."""

    kubeconfig: str = ""
    master: str = ""
    hostname_override: str = ""
    netns: str = ""
    detect_local_mode: DetectLocalMode = "ClusterCIDR"
    cluster_cidr: tuple[str, ...] = ()
    pod_bridge_interface: str = ""
    pod_interface_name_prefix: str = ""
    masquerade_all: bool = False
    masquerade_bit: int = 14
    localhost_nodeports: bool = True
    nodeport_addresses: tuple[str, ...] = ()
    sync_period: float = 30.0
    min_sync_period: float = 1.0
    flavour: str = "auto"
    writer: str = "auto"
    dispatch: Dispatch = "auto"
    beside_kube_proxy: bool = False
    healthz_bind_address: str = "0.0.0.0:10256"
    metrics_bind_address: str = "127.0.0.1:10249"
    conntrack: Conntrack = Conntrack()
    log_format: Literal["text", "json"] = "text"
    verbosity: int = 0
    bind_address: str = "0.0.0.0"
    bind_address_hard_fail: bool = False
    oom_score_adj: int = -999
    feature_gates: tuple[tuple[str, bool], ...] = ()
    inert: tuple[tuple[str, str], ...] = ()
    """What was asked that has no effect here and is not the default: (path in KubeProxyConfiguration, JSON)."""

    external_ips_allowed: tuple[str, ...] = ()
    """CIDRs that a Service's externalIPs may come from; none given: any."""

    @property
    def external_ip_ranges(self) -> tuple[str, ...] | None:
        """Where externalIPs may come from: None for anywhere, () for nowhere."""
        if not self.allows_external_ips:
            return ()
        return self.external_ips_allowed or None

    @property
    def allows_external_ips(self) -> bool:
        """Whether spec.externalIPs of Services are served (feature gate AllowServiceExternalIPs, CVE-2020-8554)."""
        return dict(self.feature_gates).get("AllowServiceExternalIPs", True)

    def cluster_cidr_of(self, family: Family) -> str:
        """The first cluster CIDR of a family, "" if there is none."""
        return next((cidr for cidr in self.cluster_cidr if family_of(cidr) == family), "")


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|h|m|s)")


def duration(text: str) -> float:
    """Seconds of a Go duration; ValueError if it is none."""
    parts = _PART.findall(text)
    if text != "0" and (not parts or "".join(number + unit for number, unit in parts) != text):
        raise ValueError(f"{text!r} is not a duration such as 30s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _boolean(text: str) -> bool:
    values = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
    if text.lower() not in values:
        raise ValueError(f"{text!r} is neither true nor false")
    return values[text.lower()]


def _cidrs(text: str) -> tuple[str, ...]:
    return tuple(canonical_cidr(part.strip()) for part in text.split(",") if part.strip())


def _cluster_cidrs(text: str) -> tuple[str, ...]:
    cidrs = _cidrs(text)
    if len(cidrs) > 2 or len({family_of(cidr) for cidr in cidrs}) != len(cidrs):
        raise ValueError(f"{text!r} is neither one CIDR nor an IPv4 and an IPv6 one")
    return cidrs


def _nodeport_addresses(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if "primary" in parts:
        if parts != ("primary",):
            raise ValueError('"primary" stands alone')
        return parts
    return _cidrs(text)


# What becomes a word of a rule. The kernel allows a little more; nobody uses it (dev_valid_name, IFNAMSIZ).
_INTERFACE = re.compile(r"[A-Za-z0-9._:@-]{0,15}\Z")


def interface(text: str) -> str:
    """The name of an interface, or its beginning; "" for none. ValueError if it can be none."""
    if not _INTERFACE.match(text):
        raise ValueError("is not the name of an interface")
    return text


def _gates(text: str) -> tuple[tuple[str, bool], ...]:
    parts = (part.partition("=") for part in text.split(",") if part.strip())
    return tuple(sorted({name.strip(): _boolean(value.strip()) for name, _, value in parts}.items()))


def _bit(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 31:
        raise ValueError(f"{number} is not in 0-31")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError(f"{number} is no port")
    return number


def _oom_score(text: str) -> int:
    number = int(text)
    if not -1000 <= number <= 1000:
        raise ValueError(f"{number} is not in -1000-1000")
    return number


def _address(text: str) -> str:
    return canonical_address(text or "0.0.0.0")


def _listen(text: str, port: int) -> str:
    """`ip:port` or `[ip]:port` of such text, or of a bare IP and `port`; "" stays, it means: nowhere."""
    if not text:
        return text
    try:
        return host_port(canonical_address(text.strip("[]")), port)
    except ValueError:
        address, _, number = text.rpartition(":")
    if not number.isdecimal() or int(number) > 65535 or (":" in address) != address.startswith("["):
        raise ValueError(f"{text!r} is not an IP address with a port, such as 0.0.0.0:{port} or [::]:{port}")
    return host_port(canonical_address(address.strip("[]")), int(number))


HEALTHZ_PORT, METRICS_PORT = 10256, 10249


def _healthz(text: str) -> str:
    _listen(text, HEALTHZ_PORT)
    return text


def _metrics(text: str) -> str:
    _listen(text, METRICS_PORT)
    return text


T = TypeVar("T")


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """argparse shows the message of an ArgumentTypeError only, not of a ValueError."""

    def convert(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


def add_flags(parser: argparse.ArgumentParser) -> dict[str, str]:
    """The flags of `run`; returns how each destination is spelled.

    Destinations are the fields of `Options` and, with a prefix, of `Conntrack`; a flag that is not given leaves none.
    """
    spelled: dict[str, str] = {}

    def add(names: str, field: str, **rest: Any) -> None:
        spelled[field] = names.split()[0]
        parser.add_argument(*names.split(), dest=field, default=argparse.SUPPRESS, **rest)

    def flag(names: str, field: str, parse: Callable[[str], object], help: str) -> None:
        add(names, field, type=_checked(parse), help=help, metavar=_METAVARS.get(parse, "TEXT"))

    def switch(name: str, field: str, help: str) -> None:
        add(name, field, nargs="?", const=True, type=_checked(_boolean), help=help, metavar="true|false")

    api = "how to reach the API server"
    flag("--kubeconfig", "kubeconfig", str, f"{api}; without it the pod's service account is used")
    flag("--master", "master", str, "URL of the API server, over the kubeconfig's")
    flag("--hostname-override", "hostname_override", str, "name of this node's Node object (default: the hostname)")
    flag("--netns", "netns", str, "network namespace to program, a name or a path (default: where it runs)")
    flag("--proxy-mode", "proxy_mode", str, "iptables, and no other")
    add("--detect-local-mode", "detect_local_mode", choices=DETECT_LOCAL_MODES, help="(ClusterCIDR)")
    flag("--cluster-cidr", "cluster_cidr", _cluster_cidrs, "addresses of the pods; dual stack: two, with a comma")
    flag("--pod-bridge-interface", "pod_bridge_interface", interface, "the pods' bridge, for mode BridgeInterface")
    flag("--pod-interface-name-prefix", "pod_interface_name_prefix", interface, "for mode InterfaceNamePrefix")
    switch("--masquerade-all", "masquerade_all", "masquerade all traffic to cluster IPs")
    flag("--iptables-masquerade-bit", "masquerade_bit", _bit, "packet mark bit for masquerading, 0-31 (14)")
    switch("--iptables-localhost-nodeports", "localhost_nodeports", "serve node ports on 127.0.0.1 too (IPv4)")
    # As pflag's lists: given twice, it is one longer list.
    add(
        "--nodeport-addresses",
        "nodeport_addresses",
        action="extend",
        type=_checked(_nodeport_addresses),
        help="CIDRs of node addresses, or: primary",
        metavar="CIDR[,CIDR...]",
    )
    flag("--iptables-sync-period", "sync_period", duration, "how often the kernel's rules are checked (30s)")
    flag("--iptables-min-sync-period", "min_sync_period", duration, "least time between two passes (1s)")
    switch("--beside-kube-proxy", "beside_kube_proxy", "go on where another kube-proxy or agent is at work")
    add("--iptables-flavour", "flavour", choices=FLAVOURS, help="(default: what this host uses)")
    add("--iptables-writer", "writer", choices=WRITERS, help="(default: netlink where iptables-nft reads that)")
    add("--dispatch", "dispatch", choices=DISPATCHES, help="lists as kube-proxy's, or trees (default: trees if large)")
    flag("--bind-address", "bind_address", _address, "the node's IP address of its family, over the Node object's")
    flag("--healthz-bind-address", "healthz_bind_address", _healthz, "empty for none (0.0.0.0:10256)")
    flag("--metrics-bind-address", "metrics_bind_address", _metrics, "empty for none (127.0.0.1:10249)")
    flag("--healthz-port", "healthz_port", _port, "for a --healthz-bind-address without one; 0: none; deprecated")
    flag("--metrics-port", "metrics_port", _port, "for a --metrics-bind-address without one; 0: none; deprecated")
    switch("--bind-address-hard-fail", "bind_address_hard_fail", "end if one of these cannot be listened on")
    flag("--conntrack-max-per-core", "conntrack_max_per_core", _count, "conntrack entries per core, 0: leave (32768)")
    flag("--conntrack-min", "conntrack_min", _count, "least number of conntrack entries (131072)")
    flag("--conntrack-tcp-timeout-established", "conntrack_tcp_timeout_established", duration, "0: leave (24h)")
    flag("--conntrack-tcp-timeout-close-wait", "conntrack_tcp_timeout_close_wait", duration, "0: leave (1h)")
    switch("--conntrack-tcp-be-liberal", "conntrack_tcp_be_liberal", "accept packets out of the window")
    flag("--conntrack-udp-timeout", "conntrack_udp_timeout", duration, "0: leave (0)")
    flag("--conntrack-udp-timeout-stream", "conntrack_udp_timeout_stream", duration, "0: leave (0)")
    flag("--oom-score-adj", "oom_score_adj", _oom_score, "of this process, -1000 to 1000 (-999)")
    flag(
        "--external-ips-allowed",
        "external_ips_allowed",
        _cidrs,
        "ranges that externalIPs of Services may come from (any; CVE-2020-8554 is what they are misused for)",
    )
    flag("--feature-gates", "feature_gates", _gates, "AllowServiceExternalIPs=false ignores externalIPs")
    add("--logging-format --log-format", "log_format", choices=("text", "json"), help="(text)")
    flag("-v --v", "verbosity", _count, "4 and more: tell all (0)")
    return spelled


_METAVARS: dict[Callable[[str], object], str] = {
    duration: "DURATION",
    _bit: "BIT",
    _count: "NUMBER",
    _healthz: "ADDRESS:PORT",
    _metrics: "ADDRESS:PORT",
    _cluster_cidrs: "CIDR[,CIDR]",
    _cidrs: "CIDR[,CIDR...]",
    _port: "PORT",
    _address: "ADDRESS",
    _oom_score: "NUMBER",
    _gates: "NAME=true|false[,...]",
}


class OptionsError(Exception):
    """Switches that do not fit together."""


def options(parsed: argparse.Namespace) -> Options:
    """The options of a parsed command line. OptionsError if switches contradict each other."""
    given = vars(parsed)
    if given.get("proxy_mode", "") not in MODES:
        raise OptionsError(f"--proxy-mode={given['proxy_mode']}: {ONLY_IPTABLES}")
    conntrack = {name: given[name] for name in given if name.startswith("conntrack_")}
    fields = {name: given[name] for name in given if name in Options.__struct_fields__}
    for name, port in (("healthz", HEALTHZ_PORT), ("metrics", METRICS_PORT)):
        port = given.get(f"{name}_port", port)
        if not port:
            fields[f"{name}_bind_address"] = ""
        elif f"{name}_bind_address" in fields:
            fields[f"{name}_bind_address"] = _listen(fields[f"{name}_bind_address"], port)
    if "nodeport_addresses" in fields:
        fields["nodeport_addresses"] = tuple(fields["nodeport_addresses"])
    found = Options(
        **fields,
        conntrack=Conntrack(**{name.removeprefix("conntrack_"): value for name, value in conntrack.items()}),
    )
    if not found.sync_period > 0:
        raise OptionsError("--iptables-sync-period must be greater than 0")
    if found.min_sync_period > found.sync_period:
        raise OptionsError("--iptables-min-sync-period must not exceed --iptables-sync-period")
    if found.detect_local_mode == "BridgeInterface" and not found.pod_bridge_interface:
        raise OptionsError("--detect-local-mode=BridgeInterface needs --pod-bridge-interface")
    if found.detect_local_mode == "InterfaceNamePrefix" and not found.pod_interface_name_prefix:
        raise OptionsError("--detect-local-mode=InterfaceNamePrefix needs --pod-interface-name-prefix")
    if "primary" in found.nodeport_addresses and len(found.nodeport_addresses) > 1:
        raise OptionsError('--nodeport-addresses: "primary" stands alone')
    if found.healthz_bind_address and found.healthz_bind_address == found.metrics_bind_address:
        raise OptionsError("--healthz-bind-address and --metrics-bind-address must differ: both answer /healthz")
    return found


def parse(argv: Sequence[str]) -> Options:
    """Options of a list of flags, as the command line would give them."""
    parser = argparse.ArgumentParser(prog="svcplane-agent run", allow_abbrev=False)
    add_flags(parser)
    return options(parser.parse_args(argv))

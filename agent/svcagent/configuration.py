"""KubeProxyConfiguration v1alpha1: the file that kubeadm gives kube-proxy, and what kube-proxy shows at /configz.

In: the text of a file (YAML or JSON), or a command line with kube-proxy's flags, or both. Out: `Configuration`, which
is `Options` and warnings; and from `Options` the same document again, for /configz and --write-config-to. One table,
`FIELDS`, says of each field what it is, its default, what it becomes, and what it is called in kube-proxy's messages.

Refuses, with all that is wrong in one sentence: another apiVersion or kind, a field that does not exist, a key that is
there twice, a value of the wrong type or out of its range, and any mode but iptables. What kube-proxy knows and means
nothing here (other modes' settings, client rates, Windows) is named in one warning if it is set to anything but its
default. Zero, null and "" mean the default, as kubeadm writes them, unless zero has a meaning of its own.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any

import msgspec
import yaml  # type: ignore[import-untyped]  # comes without types

from svcagent import kinds, options
from svcagent.kinds import InvalidError, Kind, MistypedError
from svcagent.options import DETECT_LOCAL_MODES, MODES, ONLY_IPTABLES, Options, OptionsError, interface

API_VERSION = "kubeproxy.config.k8s.io/v1alpha1"
KIND = "KubeProxyConfiguration"
GROUP = "kubeproxy.config.k8s.io"


class ConfigurationError(Exception):
    """A file that cannot be used; the message names the fields."""


class Configuration(msgspec.Struct, frozen=True):
    """What is to be done, and sentences about what was asked and will not be."""

    options: Options
    warnings: tuple[str, ...] = ()


class Field(msgspec.Struct, frozen=True):
    """One leaf of the document.

    path       dotted
    kind       how its values are read and shown
    default    as it is shown
    option     the field of Options that it becomes, dotted; without one it has no effect here
    flag       kube-proxy's flag for a field without effect
    says       its name in kube-proxy's messages, where that is not its path
    zero       zero is a value of its own, not a way to ask for the default
    shown      what kube-proxy shows whatever was asked (it forgets the periods of other modes)
    hidden     not shown unless set
    """

    path: str
    kind: Kind
    default: Any
    option: str = ""
    flag: str = ""
    says: str = ""
    zero: bool = False
    shown: Any = None
    hidden: bool = False


_IPTABLES = "KubeProxyIPTablesConfiguration"
_LINUX = "KubeProxyLinuxConfiguration"
_CONNTRACK = f"{_LINUX}.KubeProxyConntrackConfiguration"
_PROTOBUF = "application/vnd.kubernetes.protobuf"


def _conntrack_fields() -> Iterator[Field]:
    for name, kind, default, option in (
        ("maxPerCore", kinds.COUNT, 32768, "max_per_core"),
        ("min", kinds.COUNT, 131072, "min"),
        ("tcpEstablishedTimeout", kinds.DURATION, "24h0m0s", "tcp_timeout_established"),
        ("tcpCloseWaitTimeout", kinds.DURATION, "1h0m0s", "tcp_timeout_close_wait"),
        ("tcpBeLiberal", kinds.SWITCH, False, "tcp_be_liberal"),
        ("udpTimeout", kinds.DURATION, "0s", "udp_timeout"),
        ("udpStreamTimeout", kinds.DURATION, "0s", "udp_timeout_stream"),
    ):
        says = re.sub("^(tcp|udp|.)", lambda found: found[0].upper(), name)
        yield Field(f"conntrack.{name}", kind, default, f"conntrack.{option}", says=f"{_CONNTRACK}.{says}", zero=True)


FIELDS = {
    field.path: field
    for field in (
        Field("featureGates", kinds.GATES, {}, "feature_gates", hidden=True),
        Field("clientConnection.kubeconfig", kinds.TEXT, "", "kubeconfig"),
        Field("clientConnection.acceptContentTypes", kinds.TEXT, ""),
        Field("clientConnection.contentType", kinds.TEXT, _PROTOBUF, flag="--kube-api-content-type"),
        Field("clientConnection.qps", kinds.NUMBER, 5, flag="--kube-api-qps"),
        Field("clientConnection.burst", kinds.COUNT, 10, flag="--kube-api-burst", says="ClientConnection.Burst"),
        Field("logging.format", kinds.LOG_FORMAT, "text", "log_format", says="logging.format"),
        Field("logging.flushFrequency", kinds.FLUSH, "5s", flag="--log-flush-frequency"),
        Field("logging.verbosity", kinds.COUNT, 0, "verbosity", says="logging.verbosity"),
        Field("logging.vmodule", kinds.VMODULE, [], flag="--vmodule", hidden=True),
        Field("logging.options.text.splitStream", kinds.SWITCH, False, flag="--log-text-split-stream", hidden=True),
        Field("logging.options.text.infoBufferSize", kinds.SIZE, "0", flag="--log-text-info-buffer-size"),
        Field("logging.options.json.splitStream", kinds.SWITCH, False, flag="--log-json-split-stream", hidden=True),
        Field("logging.options.json.infoBufferSize", kinds.SIZE, "0", flag="--log-json-info-buffer-size"),
        Field("hostnameOverride", kinds.TEXT, "", "hostname_override"),
        Field("bindAddress", kinds.ADDRESS, "0.0.0.0", "bind_address"),
        Field("healthzBindAddress", kinds.listening(options.HEALTHZ_PORT), "0.0.0.0:10256", "healthz_bind_address"),
        Field("metricsBindAddress", kinds.listening(options.METRICS_PORT), "127.0.0.1:10249", "metrics_bind_address"),
        Field("bindAddressHardFail", kinds.SWITCH, False, "bind_address_hard_fail"),
        Field("enableProfiling", kinds.SWITCH, False, flag="--profiling"),
        Field("showHiddenMetricsForVersion", kinds.TEXT, "", flag="--show-hidden-metrics-for-version"),
        Field("mode", kinds.one_of(MODES, "iptables", ONLY_IPTABLES), "iptables", says="Mode.ProxyMode"),
        Field("iptables.masqueradeBit", kinds.BIT, 14, "masquerade_bit", says=f"{_IPTABLES}.MasqueradeBit", zero=True),
        Field("iptables.masqueradeAll", kinds.SWITCH, False, "masquerade_all"),
        Field("iptables.localhostNodePorts", kinds.SWITCH, True, "localhost_nodeports", zero=True),
        Field("iptables.syncPeriod", kinds.PERIOD, "30s", "sync_period", says="SyncPeriod"),
        Field("iptables.minSyncPeriod", kinds.DURATION, "1s", "min_sync_period", says="MinSyncPeriod"),
        Field("ipvs.syncPeriod", kinds.ANY_DURATION, "30s", flag="--ipvs-sync-period", shown="0s"),
        Field("ipvs.minSyncPeriod", kinds.ANY_DURATION, "0s", flag="--ipvs-min-sync-period", shown="0s"),
        Field("ipvs.scheduler", kinds.TEXT, "", flag="--ipvs-scheduler"),
        Field("ipvs.excludeCIDRs", kinds.TEXTS, None, flag="--ipvs-exclude-cidrs"),
        Field("ipvs.strictARP", kinds.SWITCH, False, flag="--ipvs-strict-arp"),
        Field("ipvs.tcpTimeout", kinds.ANY_DURATION, "0s", flag="--ipvs-tcp-timeout"),
        Field("ipvs.tcpFinTimeout", kinds.ANY_DURATION, "0s", flag="--ipvs-tcpfin-timeout"),
        Field("ipvs.udpTimeout", kinds.ANY_DURATION, "0s", flag="--ipvs-udp-timeout"),
        Field("nftables.masqueradeBit", kinds.INTEGER, 14, zero=True),
        Field("nftables.masqueradeAll", kinds.SWITCH, False, shown=False),
        Field("nftables.syncPeriod", kinds.ANY_DURATION, "30s", shown="0s"),
        Field("nftables.minSyncPeriod", kinds.ANY_DURATION, "1s", shown="0s"),
        Field("winkernel.networkName", kinds.TEXT, ""),
        Field("winkernel.sourceVip", kinds.TEXT, ""),
        Field("winkernel.enableDSR", kinds.SWITCH, False),
        Field("winkernel.rootHnsEndpointName", kinds.TEXT, ""),
        Field("winkernel.forwardHealthCheckVip", kinds.SWITCH, False),
        Field("detectLocalMode", kinds.supported(DETECT_LOCAL_MODES), "ClusterCIDR", "detect_local_mode"),
        Field("detectLocal.bridgeInterface", kinds.TEXT, "", "pod_bridge_interface"),
        Field("detectLocal.interfaceNamePrefix", kinds.TEXT, "", "pod_interface_name_prefix"),
        Field("clusterCIDR", kinds.CLUSTER_CIDR, "", "cluster_cidr", says="DetectLocalConfiguration.ClusterCIDRs"),
        Field("nodePortAddresses", kinds.NODE_PORT_ADDRESSES, None, "nodeport_addresses"),
        Field("oomScoreAdj", kinds.SCORE, -999, "oom_score_adj", says=f"{_LINUX}.OOMScoreAdj", zero=True),
        *_conntrack_fields(),
        Field("configSyncPeriod", kinds.PERIOD, "15m0s", flag="--config-sync-period"),
        Field("portRange", kinds.TEXT, "", shown=""),
        Field("windowsRunAsService", kinds.SWITCH, False, hidden=True),
    )
}  # fmt: skip
SECTIONS = {path.rpartition(".")[0] for path in FIELDS if "." in path} | {"logging.options"}
RETIRED = {"resourceContainer", "udpIdleTimeout", "conntrack.max"}
"""Fields of older releases that upgraded clusters still carry."""

_IPV6_DEFAULTS = {"healthzBindAddress": "[::]:10256", "metricsBindAddress": "[::1]:10249"}
_INERT = tuple(field for field in FIELDS.values() if not field.option and field.path != "mode")
_EFFECTIVE_GATES = {"AllowServiceExternalIPs"}
# These win over the file, as kube-proxy has it; and so does every flag that the file has no field for.
_OVER_THE_FILE = {"hostname_override", "log_format", "verbosity"}


# -- files


def read(text: str) -> Configuration:
    """What a file asks for. ConfigurationError if it cannot be had."""
    document = _document(text)
    version, kind = document.pop("apiVersion", None), document.pop("kind", None)
    if (version, kind) != (API_VERSION, KIND):
        hint = ""
        if kind == "ConfigMap":
            hint = ": the value of its key config.conf is what belongs in the file"
        raise ConfigurationError(f"apiVersion {version!r}, kind {kind!r} is not {API_VERSION}, {KIND}{hint}")
    problems: list[str] = []
    given = dict(_leaves(document, "", problems))
    values = {field.path: _value(field, given.get(field.path), problems) for field in FIELDS.values()}
    if ":" in (values["bindAddress"] or ""):
        values |= {path: address for path, address in _IPV6_DEFAULTS.items() if not given.get(path)}
    if not problems:
        problems += _contradictions(values)
    if problems:
        raise ConfigurationError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    inert = [path for path in RETIRED if given.get(path) not in (None, "", 0, "0s")]
    inert += [field.path for field in _INERT if values[field.path] != field.kind.read(field.default)]
    return Configuration(_options(values), _warnings(inert, _gates_without_effect(values["featureGates"])))


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # Any: no types
    """YAML as Kubernetes reads it: a date is text; and no key twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise ConfigurationError(f'key "{name}" is there twice, again in line {key.start_mark.line + 1}')
            seen.append(name)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


# What PyYAML raises: of its own, and from the conversions that a tag such as !!int or !!bool asks for.
_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigurationError(f'key "{twice}" is there twice')
    return found


def _document(text: str) -> dict[Any, Any]:
    found: Any = None
    try:
        found = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        try:
            found = yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader
        except _UNREADABLE as error:
            raise ConfigurationError(f"this is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"this is no {KIND}: it should begin with apiVersion: {API_VERSION}")
    return found


def _leaves(document: Mapping[Any, Any], prefix: str, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """(path, value) of each field; what is no field, or no section, is a problem."""
    for key, value in document.items():
        path = f"{prefix}{key}"
        if (path in FIELDS or path in RETIRED) and "." not in str(key):
            yield path, value
        elif path not in SECTIONS or "." in str(key):
            problems.append(f'unknown field "{path}"')
        elif isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.", problems)
        elif value is not None:
            problems.append(f"{path}: {json.dumps(value, default=str)} is not a mapping of fields")


def _value(field: Field, given: Any, problems: list[str]) -> Any:
    """What `Options` gets of a field; None if there is a problem."""
    try:
        found = None if given is None else field.kind.read(given)
        return field.kind.read(field.default) if found is None or not (found or field.zero) else found
    except MistypedError as error:
        problems.append(f"{field.path}: {error}")
    except InvalidError as error:
        name = field.says or field.path[:1].upper() + field.path[1:]
        problems.append(f"{KIND}.{name}{error.sentence}")
    return None


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    shortest = values["iptables.minSyncPeriod"]
    if shortest > values["iptables.syncPeriod"]:
        shown = json.dumps(kinds.DURATION.show(shortest))
        yield f"{KIND}.SyncPeriod: Invalid value: {shown}: must be greater than or equal to {KIND}.MinSyncPeriod"
    for mode, field, name in (
        ("BridgeInterface", "bridgeInterface", "InterfaceName"),
        ("InterfaceNamePrefix", "interfaceNamePrefix", "InterfacePrefix"),
    ):
        if values["detectLocalMode"] == mode and not values[f"detectLocal.{field}"]:
            yield f'{KIND}.DetectLocalConfiguration.{name}: Invalid value: "": must not be empty'
        try:
            interface(values[f"detectLocal.{field}"])
        except ValueError as error:
            shown = json.dumps(values[f"detectLocal.{field}"])
            yield f"{KIND}.DetectLocalConfiguration.{name}: Invalid value: {shown}: {error}"
    healthz = values["healthzBindAddress"]
    if healthz == values["metricsBindAddress"]:
        why = "must not be HealthzBindAddress: both answer /healthz"
        yield f"{KIND}.MetricsBindAddress: Invalid value: {json.dumps(healthz)}: {why}"


def _options(values: Mapping[str, Any]) -> Options:
    chosen: dict[str, Any] = {"conntrack": {}}
    for field in FIELDS.values():
        section, _, name = field.option.rpartition(".")
        if name:
            (chosen[section] if section else chosen)[name] = values[field.path]
    return msgspec.convert(chosen | {"inert": _inert(values)}, Options)


def _inert(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Of values by path, those that have no effect, are not the default, and are shown as they were asked for."""
    kept = [field for field in _INERT if field.path in values and field.shown is None]
    shown = {field.path: field.kind.show(values[field.path]) for field in kept}
    return tuple((path, json.dumps(value)) for path, value in shown.items() if value != FIELDS[path].default)


def _gates_without_effect(gates: tuple[tuple[str, bool], ...]) -> list[str]:
    return [f"featureGates.{name}" for name, _ in gates if name not in _EFFECTIVE_GATES]


def _warnings(*without_effect: list[str]) -> tuple[str, ...]:
    names = sorted(name for group in without_effect for name in group)
    return (f"without effect here: {', '.join(names)}",) if names else ()


# -- flags


def add_flags(parser: argparse.ArgumentParser) -> None:
    """All flags of kube-proxy and this agent's own: what to do at all, those of `options`, those without effect."""
    parser.add_argument("--config", default="", help="a KubeProxyConfiguration file; its changes are followed")
    parser.add_argument("--write-config-to", default="", metavar="FILE", help="write such a file and end")
    parser.add_argument(
        "--init-only", nargs="?", const=True, default=False, type=kinds.boolean, help="set sysctls, end"
    )
    parser.add_argument("--cleanup", nargs="?", const=True, default=False, type=kinds.boolean, help="as the command")
    parser.add_argument("--version", nargs="?", const="true", default="", metavar="true|raw", help="print it and end")
    options.add_flags(parser)
    for flag in ("--boot-id-file", "--machine-id-file"):
        parser.add_argument(flag, default="", help=argparse.SUPPRESS)
    for field in _INERT:
        if field.flag:
            bare: dict[str, Any] = {"nargs": "?", "const": True} if field.kind is kinds.SWITCH else {}
            parser.add_argument(
                field.flag,
                dest=field.path,
                default=argparse.SUPPRESS,
                type=field.kind.parse,
                help="without effect, for kube-proxy's command lines",
                **bare,
            )


def configuration(parsed: argparse.Namespace, text: str | None) -> Configuration:
    """What a command line asks for, given the text of its --config file if it has one.

    OptionsError for the flags' fault, ConfigurationError for the file's.
    """
    given = vars(parsed)
    override = given.get("hostname_override", "")
    if override and not override.strip():
        raise OptionsError("--hostname-override is blank")
    given = {**given, "hostname_override": override.strip().lower()} if override else given
    inert = [field for field in _INERT if given.get(field.path, field.default) != field.default]
    if text is None:
        return _without_file(given, inert)
    found = read(text)
    spelled = options.add_flags(argparse.ArgumentParser())
    has_field = {field.option.replace(".", "_") for field in FIELDS.values()} - _OVER_THE_FILE
    own = {name: given[name] for name in spelled if name in given and given[name] != ""}
    own = {name: value for name, value in own.items() if name in Options.__struct_fields__ and name not in has_field}
    ignored = [flag for name, flag in spelled.items() if name in given and name not in own and given[name] != ""]
    ignored += [field.flag for field in inert]
    beside = (f"ignored beside --config: {', '.join(sorted(ignored))}",) if ignored else ()
    return Configuration(msgspec.structs.replace(found.options, **own), found.warnings + beside)


def _without_file(given: Mapping[str, Any], inert: list[Field]) -> Configuration:
    chosen = options.options(argparse.Namespace(**given))
    values: dict[str, Any] = {}
    for field in inert:
        try:
            values[field.path] = field.kind.read(given[field.path])
        except (InvalidError, MistypedError) as error:
            raise OptionsError(f"{field.flag}: {error}") from error
    chosen = msgspec.structs.replace(chosen, inert=_inert(values))
    warnings = _warnings([field.flag for field in inert], _gates_without_effect(chosen.feature_gates))
    return Configuration(chosen, warnings)


# -- the same document again


def document(chosen: Options) -> dict[str, Any]:
    """Options as kube-proxy would show them, in its order; CIDRs and addresses are in canonical form."""
    shown: dict[str, Any] = {"kind": KIND, "apiVersion": API_VERSION}
    inert = {path: json.loads(text) for path, text in chosen.inert}
    for field in FIELDS.values():
        value = inert.get(field.path, field.default)
        if field.option:
            value = field.kind.show(attrgetter(field.option)(chosen))
        if field.shown is not None:
            value = field.shown
        if field.hidden and value == field.default:
            continue
        *sections, name = field.path.split(".")
        place = shown
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return shown


def configz(chosen: Options) -> bytes:
    """The body of /configz, JSON."""
    return json.dumps({GROUP: document(chosen)}, separators=(",", ":"), ensure_ascii=False).encode()


def written(chosen: Options) -> str:
    """The file that --write-config-to writes, YAML; `read` takes it."""
    text: str = yaml.safe_dump(document(chosen), sort_keys=True)
    return text

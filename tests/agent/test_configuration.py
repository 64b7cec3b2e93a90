"""KubeProxyConfiguration: files as kubeadm writes them, what is refused and how, flags and a file, /configz. Pure."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from svcagent.configuration import (
    API_VERSION,
    FIELDS,
    KIND,
    Configuration,
    ConfigurationError,
    add_flags,
    configuration,
    configz,
    document,
    read,
    written,
)
from svcagent.kinds import shown_duration
from svcagent.options import Conntrack, Options, OptionsError, duration

HEAD = f"apiVersion: {API_VERSION}\nkind: {KIND}\n"

# What `kubeadm init phase addon kube-proxy --pod-network-cidr 10.244.0.0/16` of 1.36.3 puts into config.conf.
KUBEADM = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
"""

FILES: list[tuple[str, str, dict[str, Any], str]] = [
    (
        "kubeadm",
        KUBEADM.removeprefix(f"apiVersion: {API_VERSION}\n").replace(f"kind: {KIND}\n", ""),
        {"kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf", "cluster_cidr": ("10.244.0.0/16",)},
        "",
    ),
    ("empty sections", "iptables:\nipvs: {}\nconntrack: null\nlogging: {options: null}", {}, ""),
    ("zero that means zero", "conntrack: {maxPerCore: 0, min: 0}\noomScoreAdj: 0", {"oom_score_adj": 0}, ""),
    ("zero that means the default", "iptables: {syncPeriod: 0s, minSyncPeriod: 0s}", {}, ""),
    ("masquerade bit 0", "iptables: {masqueradeBit: 0}", {"masquerade_bit": 0}, ""),
    ("localhost node ports off", "iptables: {localhostNodePorts: false}", {"localhost_nodeports": False}, ""),
    ("sync periods", "iptables: {syncPeriod: 1m30s, minSyncPeriod: 250ms}",
     {"sync_period": 90.0, "min_sync_period": 0.25}, ""),
    ("dual stack", "clusterCIDR: 10.1.2.3/8,fd00::/64", {"cluster_cidr": ("10.0.0.0/8", "fd00::/64")}, ""),
    ("primary", "nodePortAddresses: [primary]", {"nodeport_addresses": ("primary",)}, ""),
    ("node port CIDRs", "nodePortAddresses: [10.0.0.0/8, 'fd00::/64']",
     {"nodeport_addresses": ("10.0.0.0/8", "fd00::/64")}, ""),
    ("an IPv6 node", "bindAddress: '::'",
     {"bind_address": "::", "healthz_bind_address": "[::]:10256", "metrics_bind_address": "[::1]:10249"}, ""),
    ("an IPv6 node with addresses", "bindAddress: 'fd00::1'\nhealthzBindAddress: 1.2.3.4\nmetricsBindAddress: '::'",
     {"bind_address": "fd00::1", "healthz_bind_address": "1.2.3.4:10256", "metrics_bind_address": "[::]:10249"}, ""),
    ("leading zeros", "metricsBindAddress: 010.2.3.4:080", {"metrics_bind_address": "10.2.3.4:80"}, ""),
    ("a bridge", "detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: br0}",
     {"detect_local_mode": "BridgeInterface", "pod_bridge_interface": "br0"}, ""),
    ("logging", "logging: {format: json, verbosity: 4}", {"log_format": "json", "verbosity": 4}, ""),
    ("YAML's older truths", "bindAddressHardFail: yes\niptables: {masqueradeAll: on, masqueradeBit: 0x1f}",
     {"bind_address_hard_fail": True, "masquerade_all": True, "masquerade_bit": 31}, ""),
    ("a name like a date", "hostnameOverride: 2026-11-21", {"hostname_override": "2026-11-21"}, ""),
    ("a gate that counts", "featureGates: {AllowServiceExternalIPs: false}",
     {"feature_gates": (("AllowServiceExternalIPs", False),)}, ""),
    ("gates that do not", "featureGates: {WatchList: false, Nope: true}",
     {"feature_gates": (("Nope", True), ("WatchList", False))}, "featureGates.Nope, featureGates.WatchList"),
    ("what has no effect",
     "enableProfiling: true\nportRange: 1-2\nipvs: {scheduler: rr, syncPeriod: 1s, excludeCIDRs: [10.0.0.0/8]}\n"
     "nftables: {masqueradeAll: true}\nwinkernel: {enableDSR: true}\nclientConnection: {qps: 1.5, burst: 7}\n"
     "configSyncPeriod: 1m\nlogging: {flushFrequency: 7s, vmodule: [{filePattern: a, verbosity: 3}]}",
     {},
     "clientConnection.burst, clientConnection.qps, configSyncPeriod, enableProfiling, ipvs.excludeCIDRs, "
     "ipvs.scheduler, ipvs.syncPeriod, logging.flushFrequency, logging.vmodule, nftables.masqueradeAll, portRange, "
     "winkernel.enableDSR"),
    ("the defaults of what has no effect", "ipvs: {syncPeriod: 30s}\nnftables: {minSyncPeriod: 1s}\n"
     "clientConnection: {qps: 5, burst: 10, contentType: application/vnd.kubernetes.protobuf}", {}, ""),
    ("left from older releases", "resourceContainer: /kube-proxy\nudpIdleTimeout: 0s", {}, "resourceContainer"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "changed", "without_effect"), [row[1:] for row in FILES], ids=[row[0] for row in FILES]
)
def test_a_file_becomes_options_and_at_most_one_warning(
    text: str, changed: dict[str, Any], without_effect: str
) -> None:
    found = read(HEAD + text)
    different = {
        name: value
        for name in Options.__struct_fields__
        if (value := getattr(found.options, name)) != getattr(Options(), name) and name not in ("inert", "conntrack")
    }
    assert different == changed
    assert found.warnings == ((f"without effect here: {without_effect}",) if without_effect else ())


def test_conntrack_is_read() -> None:
    text = "conntrack: {maxPerCore: 0, min: 5, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 1m, tcpBeLiberal: true, "
    found = read(f"{HEAD}{text}udpTimeout: 10s, udpStreamTimeout: 1us}}").options
    assert found == Options(conntrack=Conntrack(0, 5, 0.0, 60.0, True, 10.0, 1e-6))


def test_json_is_read_too_even_with_tabs() -> None:
    text = json.dumps({"apiVersion": API_VERSION, "kind": KIND, "mode": "iptables", "oomScoreAdj": 3}, indent="\t")
    assert read(text) == Configuration(Options(oom_score_adj=3))


REFUSED = [
    (
        "apiVersion",
        "apiVersion: kubeproxy.config.k8s.io/v1\nkind: KubeProxyConfiguration",
        "apiVersion 'kubeproxy.config.k8s.io/v1', kind 'KubeProxyConfiguration' is not",
    ),
    (
        "no kind",
        f"apiVersion: {API_VERSION}",
        "kind None is not kubeproxy.config.k8s.io/v1alpha1, KubeProxyConfiguration",
    ),
    (
        "the whole ConfigMap",
        "apiVersion: v1\nkind: ConfigMap\ndata: {}",
        "the value of its key config.conf is what belongs in the file",
    ),
    ("no mapping", "- 1", "this is no KubeProxyConfiguration"),
    ("two documents", f"{HEAD}---\n{HEAD}", "this is not YAML: expected a single document"),
    ("no YAML", f"{HEAD}mode: [", "this is not YAML: while parsing"),
    ("a tag", f"{HEAD}mode: !!python/name:os.system", "this is not YAML: could not determine a constructor"),
    ("an unknown field", f"{HEAD}iptables: {{foo: null}}", 'unknown field "iptables.foo"'),
    (
        "two unknown fields",
        f"{HEAD}Mode: iptables\nlogging: {{options: {{xml: 1}}}}",
        '[unknown field "Mode", unknown field "logging.options.xml"]',
    ),
    ("a key twice", f"{HEAD}mode: iptables\nmode: ipvs", 'key "mode" is there twice, again in line 4'),
    (
        "a key twice, deep",
        f"{HEAD}iptables: {{masqueradeBit: 1, masqueradeBit: 2}}",
        'key "masqueradeBit" is there twice',
    ),
    ("a key twice, JSON", '{"kind": "a", "kind": "b"}', 'key "kind" is there twice'),
    ("a list for a section", f"{HEAD}iptables: []", "iptables: [] is not a mapping of fields"),
    (
        "text for a number",
        f"{HEAD}iptables: {{masqueradeBit: '14'}}",
        'iptables.masqueradeBit: "14" is not a whole number',
    ),
    ("half a number", f"{HEAD}iptables: {{masqueradeBit: 1.5}}", "iptables.masqueradeBit: 1.5 is not a whole number"),
    (
        "an endless number",
        f"{HEAD}clientConnection: {{burst: .inf}}",
        "clientConnection.burst: Infinity is not a whole number",
    ),
    ("an endless rate", f"{HEAD}clientConnection: {{qps: .inf}}", "clientConnection.qps: a number must be finite"),
    ("33 bits", f"{HEAD}conntrack: {{min: 3000000000}}", "conntrack.min: 3000000000 does not fit into 32 bits"),
    ("true for a number", f"{HEAD}oomScoreAdj: true", "oomScoreAdj: true is not a whole number"),
    ("a number for text", f"{HEAD}hostnameOverride: 5", "hostnameOverride: 5 is not text: put it in quotes"),
    (
        "text for a switch",
        f"{HEAD}iptables: {{masqueradeAll: 'true'}}",
        'iptables.masqueradeAll: "true" is neither true nor false',
    ),
    ("a bare number of seconds", f"{HEAD}iptables: {{syncPeriod: 30}}", "iptables.syncPeriod: 30 is not text"),
    (
        "no unit",
        f"{HEAD}iptables: {{syncPeriod: '30'}}",
        "iptables.syncPeriod: '30' is not a duration such as 30s or 1m30s",
    ),
    ("text for a list", f"{HEAD}nodePortAddresses: primary", 'nodePortAddresses: "primary" is not a list of text'),
    ("gates", f"{HEAD}featureGates: {{A: 'true'}}", "is not a mapping of names to true or false"),
    (
        "ipvs",
        f"{HEAD}mode: ipvs",
        'KubeProxyConfiguration.Mode.ProxyMode: Invalid value: "ipvs": this agent programs iptables rules and nothing '
        "else: set the mode to iptables, or leave it out",
    ),
    (
        "nftables",
        f"{HEAD}mode: nftables",
        'KubeProxyConfiguration.Mode.ProxyMode: Invalid value: "nftables": this agent programs iptables rules',
    ),
    (
        "kernelspace",
        f"{HEAD}mode: kernelspace",
        'KubeProxyConfiguration.Mode.ProxyMode: Invalid value: "kernelspace": this agent',
    ),
    (
        "one port for two",
        f"{HEAD}healthzBindAddress: 127.0.0.1:10249",
        'KubeProxyConfiguration.MetricsBindAddress: Invalid value: "127.0.0.1:10249": must not be HealthzBindAddress',
    ),
    ("a field in one word", f"{HEAD}iptables.masqueradeBit: 3", 'unknown field "iptables.masqueradeBit"'),
    ("a section in one word", f"{HEAD}logging.options: {{text: null}}", 'unknown field "logging.options"'),
    ("a tag that does not fit", f"{HEAD}oomScoreAdj: !!int x", "this is not YAML: invalid literal"),
    ("another", f"{HEAD}hostnameOverride: !!timestamp x", "this is not YAML"),
    ("too deep", "[" * 100_000, "this is not YAML"),
    ("vmodule", f"{HEAD}logging: {{vmodule: {{a: 1}}}}", "is not a list of filePattern and verbosity"),
    (
        "several",
        f"{HEAD}oomScoreAdj: 1001\nmode: x",
        "OOMScoreAdj: Invalid value: 1001: must be within the range [-1000, 1000]]",
    ),
]


@pytest.mark.parametrize(("text", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_bad_file_is_refused_by_the_name_of_the_field(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(text)
    assert message in str(refused.value)


SAID = {"detectLocal.bridgeInterface": "Interface", "detectLocal.interfaceNamePrefix": "Interface"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
    st.sampled_from(sorted(FIELDS)),
)
@example("0", "portRange")
@example("0123456789abcdef", "detectLocal.bridgeInterface")
@example("0123456789abcdef", "detectLocal.interfaceNamePrefix")
@example("1s", "ipvs.syncPeriod")
def test_no_value_of_any_field_breaks_the_reader(value: Any, path: str) -> None:
    """It is taken, or refused with a sentence; never an exception of another kind."""
    asked: Any = value
    for name in reversed(path.split(".")):
        asked = {name: asked}
    refused = ""
    try:
        found = read(json.dumps({"apiVersion": API_VERSION, "kind": KIND, **asked}))
    except ConfigurationError as error:
        refused = str(error)
    if refused:
        # kube-proxy calls two fields by other names than the file does.
        name = SAID.get(path, path.rpartition(".")[2])
        assert name.lower() in refused.lower()
    else:
        assert read(written(found.options)).options == found.options


@given(st.text(alphabet=st.sampled_from(list("ab:,-[]{}!&*#|>'\"%@`?<=\\0189.~ \n\t")), max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    with pytest.raises(ConfigurationError):
        read(text)


COMMANDS: list[tuple[str, list[str], str | None, dict[str, Any], tuple[str, ...]]] = [
    ("nothing", [], None, {}, ()),
    ("kubeadm's DaemonSet", ["--config=/var/lib/kube-proxy/config.conf", "--hostname-override=Node-1 "], KUBEADM,
     {"kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf", "cluster_cidr": ("10.244.0.0/16",),
      "hostname_override": "node-1"}, ()),
    ("the flag's name wins", ["--config=f", "--hostname-override=b"], f"{HEAD}hostnameOverride: a",
     {"hostname_override": "b"}, ()),
    ("an empty name does not", ["--config=f", "--hostname-override="], f"{HEAD}hostnameOverride: a",
     {"hostname_override": "a"}, ()),
    ("logging wins", ["--config=f", "-v", "5", "--logging-format=json"], f"{HEAD}logging: {{verbosity: 1}}",
     {"verbosity": 5, "log_format": "json"}, ()),
    ("what the file has no field for", ["--config=f", "--master=http://x", "--netns=n", "--iptables-flavour=nft"], HEAD,
     {"master": "http://x", "netns": "n", "flavour": "nft"}, ()),
    ("ignored beside a file", ["--config=f", "--masquerade-all", "--proxy-mode=ipvs", "--kubeconfig=k",
                               "--conntrack-min=3", "--healthz-port=0", "--ipvs-scheduler=rr"], HEAD, {},
     ("ignored beside --config: --conntrack-min, --healthz-port, --ipvs-scheduler, --kubeconfig, --masquerade-all, "
      "--proxy-mode",)),
    ("without effect", ["--profiling", "--kube-api-qps=9", "--config-sync-period=1m", "--ipvs-exclude-cidrs=10.0.0.0/8",
                        "--feature-gates=WatchList=false"], None, {"feature_gates": (("WatchList", False),)},
     ("without effect here: --config-sync-period, --ipvs-exclude-cidrs, --kube-api-qps, --profiling, "
      "featureGates.WatchList",)),
    ("without effect, the defaults", ["--profiling=false", "--kube-api-qps=5.0", "--config-sync-period=15m0s"], None,
     {}, ()),
    ("a bind address", ["--bind-address=192.0.2.1"], None, {"bind_address": "192.0.2.1"}, ()),
    ("no bind address", ["--bind-address="], None, {}, ()),
    ("an IPv6 bind address moves nothing else", ["--bind-address=::"], None, {"bind_address": "::"}, ()),
    ("healthz port of a bare address", ["--healthz-bind-address=192.0.2.1", "--healthz-port=80"], None,
     {"healthz_bind_address": "192.0.2.1:80"}, ()),
    ("healthz port of an address with one", ["--healthz-port=80"], None, {}, ()),
    ("healthz port 0", ["--healthz-port=0"], None, {"healthz_bind_address": ""}, ()),
    ("metrics port 0", ["--metrics-port=0"], None, {"metrics_bind_address": ""}, ()),
    ("iptables", ["--proxy-mode=iptables"], None, {}, ()),
    ("node port addresses, twice", ["--nodeport-addresses=10.0.0.0/8", "--nodeport-addresses=11.0.0.0/8"], None,
     {"nodeport_addresses": ("10.0.0.0/8", "11.0.0.0/8")}, ()),
    ("no external IPs", ["--feature-gates=AllowServiceExternalIPs=false"], None,
     {"feature_gates": (("AllowServiceExternalIPs", False),)}, ()),
    ("what else kube-proxy takes", ["--bind-address-hard-fail", "--oom-score-adj=-5", "--machine-id-file=x"], None,
     {"bind_address_hard_fail": True, "oom_score_adj": -5}, ()),
]  # fmt: skip


def parsed(flags: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser)
    return parser.parse_args(flags)


@pytest.mark.parametrize(
    ("flags", "text", "changed", "warnings"), [row[1:] for row in COMMANDS], ids=[row[0] for row in COMMANDS]
)
def test_a_command_line(flags: list[str], text: str | None, changed: dict[str, Any], warnings: tuple[str, ...]) -> None:
    found = configuration(parsed(flags), text)
    different = {
        name: value
        for name in Options.__struct_fields__
        if (value := getattr(found.options, name)) != getattr(Options(), name) and name != "inert"
    }
    assert (different, found.warnings) == (changed, warnings)


GATES = [
    ([], True),
    (["--feature-gates=AllowServiceExternalIPs=false"], False),
    (["--feature-gates=Other=false"], True),
]


@pytest.mark.parametrize(("flags", "allowed"), GATES, ids=["default", "off", "another gate"])
def test_a_gate_forbids_external_ips(flags: list[str], allowed: bool) -> None:
    assert configuration(parsed(flags), None).options.allows_external_ips is allowed


WRONG_FLAGS = [
    (["--proxy-mode=ipvs"], "--proxy-mode=ipvs: this agent programs iptables rules and nothing else: set the mode"),
    (["--hostname-override=  "], "--hostname-override is blank"),
    (["--kube-api-burst=-1"], "--kube-api-burst: Invalid value: -1: must be greater than or equal to 0"),
    (["--ipvs-tcp-timeout=3"], "--ipvs-tcp-timeout: '3' is not a duration"),
    (
        ["--nodeport-addresses=10.0.0.0/8", "--nodeport-addresses=primary"],
        '--nodeport-addresses: "primary" stands alone',
    ),
]


@pytest.mark.parametrize(("flags", "message"), WRONG_FLAGS, ids=[row[0][-1] for row in WRONG_FLAGS])
def test_flags_that_cannot_be_had(flags: list[str], message: str) -> None:
    with pytest.raises(OptionsError) as refused:
        configuration(parsed(flags), None)
    assert message in str(refused.value)


def test_every_field_is_shown_in_configz() -> None:
    """A value that is no default anywhere comes back out, under its own path."""
    text = KUBEADM.replace('mode: ""', "mode: iptables")
    shown = json.loads(configz(read(text).options))["kubeproxy.config.k8s.io"]
    assert (shown["kind"], shown["apiVersion"]) == (KIND, API_VERSION)
    for path, field in FIELDS.items():
        place: Any = shown
        for name in path.split("."):
            place = place.get(name, {} if field.path != path else field.default)
        if path not in ("clientConnection.kubeconfig", "clusterCIDR"):
            assert place == (field.default if field.shown is None else field.shown), path
    assert shown["clusterCIDR"] == "10.244.0.0/16"


def test_what_has_no_effect_is_still_shown() -> None:
    shown = document(configuration(parsed(["--ipvs-scheduler=rr", "--kube-api-qps=7", "--vmodule=a=3"]), None).options)
    assert (shown["ipvs"]["scheduler"], shown["clientConnection"]["qps"]) == ("rr", 7)
    assert shown["logging"]["vmodule"] == [{"filePattern": "a", "verbosity": 3}]


@given(st.integers(0, 10**15))
def test_a_duration_reads_back(microseconds: int) -> None:
    assert duration(shown_duration(microseconds / 1e6)) == pytest.approx(microseconds / 1e6)


SHOWN = [(0, "0s"), (1e-9, "1ns"), (1.5e-6, "1.5µs"), (0.25, "250ms"), (1, "1s"), (90, "1m30s"), (86400, "24h0m0s"),
         (5400.5, "1h30m0.5s"), (-1.5, "-1.5s"), (60, "1m0s")]  # fmt: skip


@pytest.mark.parametrize(("seconds", "text"), SHOWN, ids=[row[1] for row in SHOWN])
def test_a_duration_is_shown_as_go_does(seconds: float, text: str) -> None:
    assert shown_duration(seconds) == text

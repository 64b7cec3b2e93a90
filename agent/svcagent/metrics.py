"""The agent's metrics, with kube-proxy's names, labels and buckets, so that dashboards made for it go on working.

What kube-proxy does not have is called `svcplane_...`. In: what the loop did. Out: series in one registry. Counters of
packets are read from the kernel when somebody asks, in the network namespace that the asking thread was started in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from svcagent import names
from svcagent.patch import Extent
from svckube.reflector import Reflector
from svcnet import accounting, conntrack
from svcnet.conntrack import ConntrackError
from svcnet.rules import Family

_SYNC = tuple(0.001 * 2**exponent for exponent in range(15))
_PROGRAMMING = (0.25, 0.5, *range(1, 60), *range(60, 120, 5), *range(120, 301, 30))


class Metrics:
    """Every series of the agent, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str, buckets: Sequence[float] = _SYNC) -> Histogram:
            return Histogram(f"kubeproxy_{name}", text, ["ip_family"], buckets=buckets, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"kubeproxy_{name}", text, labels, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"kubeproxy_{name}", text, labels, registry=registry)

        def own_counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"svcplane_{name}", text, ["ip_family", *labels], registry=registry)

        def own_gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"svcplane_{name}", text, labels, registry=registry)

        self.sync = histogram("sync_proxy_rules_duration_seconds", "Duration of a pass over the rules")
        self.full_sync = histogram("sync_full_proxy_rules_duration_seconds", "Duration of a full pass")
        self.partial_sync = histogram("sync_partial_proxy_rules_duration_seconds", "Duration of a partial pass")
        self.programming = histogram(
            "network_programming_duration_seconds", "From a change's cause to the kernel", _PROGRAMMING
        )
        self.last_sync = gauge("sync_proxy_rules_last_timestamp_seconds", "When a pass last succeeded", "ip_family")
        self.last_queued = gauge(
            "sync_proxy_rules_last_queued_timestamp_seconds", "When a pass was last asked for", "ip_family"
        )
        self.restore_failures = counter(
            "sync_proxy_rules_iptables_restore_failures_total", "Failed writes of rules", "ip_family"
        )
        self.partial_restore_failures = counter(
            "sync_proxy_rules_iptables_partial_restore_failures_total", "Failed writes of a partial pass", "ip_family"
        )
        self.rules = gauge("sync_proxy_rules_iptables_total", "Rules that are installed", "table", "ip_family")
        self.rules_written = gauge(
            "sync_proxy_rules_iptables_last", "Rules that the last pass wrote", "table", "ip_family"
        )
        self.no_local_endpoints = gauge(
            "sync_proxy_rules_no_local_endpoints_total",
            "Service ports with a Local policy and no endpoint on this node",
            "traffic_policy",
            "ip_family",
        )
        self.service_changes = counter("sync_proxy_rules_service_changes_total", "Changes of Services")
        self.services_pending = gauge("sync_proxy_rules_service_changes_pending", "Changed Services not written yet")
        self.endpoint_changes = counter("sync_proxy_rules_endpoint_changes_total", "Changes of EndpointSlices")
        self.endpoints_pending = gauge(
            "sync_proxy_rules_endpoint_changes_pending", "Changed EndpointSlices not written yet"
        )
        self.flows_deleted = counter(
            "conntrack_reconciler_deleted_entries_total", "Stale conntrack entries deleted", "ip_family"
        )
        self.flows = histogram("conntrack_reconciler_sync_duration_seconds", "Duration of a look at conntrack")
        self.probes = {
            path: counter(f"proxy_{path}_total", f"Answers of /{path}", "code") for path in ("healthz", "livez")
        }
        self.chains_written = own_counter("chains_written_total", "Chains rewritten or deleted")
        self.writes = own_counter("writes_total", "Writes of rules, by netlink or by iptables-restore", "writer")
        self.healed = own_counter("healed_total", "Audits that found foreign changes")
        self.refused = own_gauge("services_refused", "Services whose rules are not taken", "ip_family")
        self.problems = own_gauge("services_with_problems", "Services of which a part is ignored", "ip_family")
        self.unset = own_gauge("settings_refused", "Settings of the kernel that could not be made")

    def written(self, family: Family, extent: Extent) -> None:
        """What a pass wrote, perhaps nothing, is in the kernel."""
        self.chains_written.labels(family).inc(extent.chains)
        for table in ("filter", "nat"):
            self.rules_written.labels(table, family).set(extent.rules[table])

    def passed(self, family: Family, took: float, now: float, rules: Mapping[str, int], *, full: bool) -> None:
        """A pass succeeded after `took` seconds, at Unix time `now`; `rules` are installed by table."""
        for series in (self.sync, self.full_sync if full else self.partial_sync):
            series.labels(family).observe(took)
        self.last_sync.labels(family).set(now)
        for table in ("filter", "nat"):
            self.rules.labels(table, family).set(rules.get(table, 0))
        self.services_pending.set(0)
        self.endpoints_pending.set(0)

    def failed(self, family: Family, took: float, *, full: bool) -> None:
        """A write of rules failed."""
        for series in (self.sync, self.full_sync if full else self.partial_sync):
            series.labels(family).observe(took)
        self.restore_failures.labels(family).inc()
        if not full:
            self.partial_restore_failures.labels(family).inc()


class PacketCounters(Collector):
    """The packets that the kernel counted by name (nfacct); nothing where it has no such counters."""

    _SERIES = (
        (names.INVALID_COUNTER, "ct_state_invalid_dropped_packets", "Packets dropped as INVALID"),
        (names.LOCALHOST_COUNTER, "localhost_nodeports_accepted_packets", "Packets to node ports on localhost"),
    )

    def collect(self) -> Iterator[Metric]:
        for name, series, text in self._SERIES:
            try:
                packets = accounting.packets(name)
            except OSError:
                continue
            yield CounterMetricFamily(f"kubeproxy_iptables_{series}", text, value=packets)


class ConntrackTotals(Collector):
    """How full connection tracking is, and what it could not take in: packets lost for no visible reason."""

    def collect(self) -> Iterator[Metric]:
        try:
            found = conntrack.totals()
        except ConntrackError:
            return
        yield GaugeMetricFamily("svcplane_conntrack_entries", "Entries of the table", found.entries)
        yield GaugeMetricFamily("svcplane_conntrack_max_entries", "Room in the table", found.max_entries)
        for name, text, value in (
            ("insert_failed", "Entries that lost a race and their packet", found.insert_failed),
            ("dropped", "Packets dropped because the table was full", found.dropped),
            ("early_dropped", "Entries dropped to make room", found.early_dropped),
        ):
            yield CounterMetricFamily(f"svcplane_conntrack_{name}", text, value)


class RestClient:
    """Requests to the API server, with client-go's names, as dashboards for kube-proxy show them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "rest_client_requests_total", "Answers of the API server", ["code", "method", "host"], registry=registry
        )
        self._duration = Histogram(
            "rest_client_request_duration_seconds",
            "Until the API server's answer begins",
            ["verb", "host"],
            buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60),
            registry=registry,
        )

    def answered(self, method: str, host: str, code: str, seconds: float) -> None:
        """`code` is the HTTP status, or `<error>` where no answer came."""
        self._requests.labels(code, method, host).inc()
        self._duration.labels(method, host).observe(seconds)


class Pings:
    """What /metrics/slis tells of the one check behind the metrics server's /healthz (KEP-3466)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._last = Gauge(
            "kubernetes_healthcheck", "Result of the last check", ["name", "type"], registry=self.registry
        )
        self._total = Counter(
            "kubernetes_healthchecks_total", "Results of checks", ["name", "status", "type"], registry=self.registry
        )

    def answered(self) -> None:
        """The check was made, and passed: it has no way to fail."""
        self._last.labels("ping", "healthz").set(1)
        self._total.labels("ping", "success", "healthz").inc()


class ReflectorCounters(Collector):
    """How the connection to the API server has been, by resource."""

    def __init__(self, reflectors: Iterable[tuple[str, Reflector]]) -> None:
        self._reflectors = tuple(reflectors)

    def collect(self) -> Iterator[Metric]:
        for field in ("lists", "watches", "expired", "stalls", "failures", "skipped"):
            family = CounterMetricFamily(f"svcplane_reflector_{field}", f"Of a reflector: {field}", labels=["resource"])
            for resource, each in self._reflectors:
                family.add_metric([resource], getattr(each.counts, field))
            yield family
        contact = GaugeMetricFamily(
            "svcplane_reflector_contact_timestamp_seconds", "When the server last said something", labels=["resource"]
        )
        for resource, each in self._reflectors:
            contact.add_metric([resource], each.counts.contact)
        yield contact

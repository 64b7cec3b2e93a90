"""The agent's metrics, with kube-proxy's names, labels and buckets, so that dashboards made for it go on working."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SYNC_BUCKETS = tuple(0.001 * 2**exponent for exponent in range(15))


class Metrics:
    """Every series of the agent, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"kubeproxy_{name}", text, ["ip_family"], buckets=_SYNC_BUCKETS, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"kubeproxy_{name}", text, ["ip_family"], registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"kubeproxy_{name}", text, labels, registry=registry)

        self.sync = histogram("sync_proxy_rules_duration_seconds", "Duration of a pass over the rules")
        self.full_sync = histogram("sync_full_proxy_rules_duration_seconds", "Duration of a full pass")
        self.partial_sync = histogram("sync_partial_proxy_rules_duration_seconds", "Duration of a partial pass")
        self.last_sync = gauge("sync_proxy_rules_last_timestamp_seconds", "When a pass last succeeded")
        self.last_queued = gauge("sync_proxy_rules_last_queued_timestamp_seconds", "When a pass was last asked for")
        self.restore_failures = counter(
            "sync_proxy_rules_iptables_restore_failures_total", "Failed writes of rules", "ip_family"
        )
        self.partial_restore_failures = counter(
            "sync_proxy_rules_iptables_partial_restore_failures_total", "Failed writes of a partial pass", "ip_family"
        )
        self.service_changes = counter("sync_proxy_rules_service_changes_total", "Changes of Services")
        self.endpoint_changes = counter("sync_proxy_rules_endpoint_changes_total", "Changes of EndpointSlices")
        self.flows_deleted = counter(
            "conntrack_reconciler_deleted_entries_total", "Stale conntrack entries deleted", "ip_family"
        )
        self.chains_written = Counter(
            "svcplane_chains_written_total", "Chains rewritten or deleted", ["ip_family"], registry=registry
        )
        self.healed = Counter(
            "svcplane_healed_total",
            "Audits that found foreign changes",
            ["ip_family"],
            registry=registry,
        )
        self.refused = Gauge(
            "svcplane_services_refused", "Services whose rules are not taken", ["ip_family"], registry=registry
        )
        self.probes = {
            path: counter(f"proxy_{path}_total", f"Answers of /{path}", "code") for path in ("healthz", "livez")
        }

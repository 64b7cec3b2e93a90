"""What is counted of the cache, the connections, the probes and the program, under CoreDNS's metric names.

In: `count` and `set` by a family's name and labels. Out: Prometheus metric families when somebody scrapes. What has no
labels is there from the start with 0, as in CoreDNS; the rest once it happened.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_OF_SERVER = ("server", "zone", "view")
_OF_CACHE = ("server", "zones", "view")
_OF_TABLE = ("server", "type", "zones", "view")
_OF_UPSTREAM = ("proxy_name", "to")

COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cache_requests": ("Questions that came to the cache.", _OF_CACHE),
    "cache_hits": ("Questions that the cache answered.", _OF_TABLE),
    "cache_misses": ("Questions that it did not.", _OF_CACHE),
    "cache_prefetch": ("Entries fetched anew before they expired.", _OF_CACHE),
    "cache_drops": ("Replies not kept because they are about something else.", _OF_CACHE),
    "cache_served_stale": ("Questions answered with an expired entry.", _OF_CACHE),
    "cache_evictions": ("Entries thrown out for want of room.", _OF_TABLE),
    "forward_healthcheck_broken": ("Questions asked while all upstreams were down.", ()),
    "forward_max_concurrent_rejects": ("Queries refused: too many under way.", ()),
    "proxy_healthcheck_failures": ("Probes that were not answered.", _OF_UPSTREAM),
    "proxy_conn_cache_hits": ("Exchanges on a connection that was there.", (*_OF_UPSTREAM, "proto")),
    "proxy_conn_cache_misses": ("Exchanges on a new connection.", (*_OF_UPSTREAM, "proto")),
    "health_request_failures": ("There is nothing that could fail: 0.", ()),
    "reload_failed": ("Changed configurations that could not be taken.", ()),
    "acl_blocked_requests": ("Questions refused: by acl, or to strangers what upstreams say.", _OF_SERVER),
    "acl_filtered_requests": ("Questions that acl gave an empty answer to.", _OF_SERVER),
    "acl_dropped_requests": ("Questions that acl gave no answer to.", _OF_SERVER),
    "acl_allowed_requests": ("Questions that acl let pass.", ("server", "view")),
    "autopath_success": ("Questions answered with what was found along a search path.", ("server",)),
    "rrl_responses_exceeded": ("Replies cut or dropped: too many to one network of strangers.", ("server",)),
    "dns_do_requests": ("Queries with DO.", ("server", "zone", "view")),
    "nodecache_setup_errors": ("Failures to lead a node's questions here.", ("errortype",)),
}
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "cache_entries": ("Replies kept.", _OF_TABLE),
    "plugin_enabled": ("Which plugins a server block has.", ("server", "zone", "view", "name")),
    "reload_version_info": ("Hash of the configuration that runs.", ("hash", "value")),
    "hosts_entries": ("Entries of the hosts file and of the Corefile's.", ()),
    "hosts_reload_timestamp_seconds": ("When the hosts file was last read anew.", ()),
}


class Counters(Collector):
    """Counting is the loop's; a scrape comes from another thread and sees one value or the next."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counts: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in (*COUNTERS, *GAUGES)}
        for name, (_, labels) in (*COUNTERS.items(), *GAUGES.items()):
            if not labels:
                self._counts[name][()] = 0
        registry.register(self)

    def count(self, family: str, *labels: str) -> None:
        counts = self._counts[family]
        counts[labels] = counts.get(labels, 0) + 1

    def set(self, family: str, value: float, *labels: str) -> None:
        self._counts[family][labels] = value

    def clear(self, family: str) -> None:
        self._counts[family].clear()

    def connection(self, address: str, proto: str, reused: bool) -> None:
        """An exchange with an upstream went over a connection that was there, or over a new one."""
        self.count("proxy_conn_cache_hits" if reused else "proxy_conn_cache_misses", "forward", address, proto)

    def probe_failed(self, address: str) -> None:
        self.count("proxy_healthcheck_failures", "forward", address)

    def rejected(self) -> None:
        """A query was refused because too many are forwarded already."""
        self.count("forward_max_concurrent_rejects")

    def broken(self) -> None:
        """A question was asked while all upstreams were down."""
        self.count("forward_healthcheck_broken")

    def collect(self) -> Iterable[Metric]:
        for table, kind in ((COUNTERS, CounterMetricFamily), (GAUGES, GaugeMetricFamily)):
            for name, (text, labels) in table.items():
                family = kind(f"coredns_{name}", text, labels=labels)
                for values, count in sorted(self._counts[name].copy().items()):
                    family.add_metric(values, count)
                if family.samples:
                    yield family

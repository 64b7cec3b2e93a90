"""What is counted of queries, upstreams and endpoints, under CoreDNS's metric names; `counters` has the rest.

In: one call for each reply, each exchange with an upstream, each endpoint change that became visible. Out: Prometheus
metric families when somebody scrapes. Counting a reply takes 1 microsecond where the client library's own types take
10 (five metrics, Python 3.11); a scrape, once in many seconds, does the rest. All calls come from the server's loop;
a scrape comes from another thread and may see one query half counted, never a broken number.

`zone` is that of the server block, and "dropped" for what was no query or for no zone that is served.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from svcdns.busiest import Traffic
from svcdns.counters import Counters
from svcdns.histogram import DURATIONS, LATENESS, PROGRAMMING, SIZES, Histogram
from svcdns.records import RCODE_NAMES, TYPE_NAMES
from svcdns.wirecache import Shape

_OF_SERVER = ("server", "zone", "view")
_COUNTED_TYPES = frozenset(TYPE_NAMES) - {13, 35, 39, 257}


@dataclass(slots=True, eq=False)
class Via:
    """How a query came: the label `server`, `udp` or `tcp`, the address family as 1 or 2, the server block's zone.

    One value for each socket and zone. `peer` is who sent the message that is being taken in, if that `wants_peer`; it
    is right until the call that takes it in returns; so are `client`, the same as 4 or 16 octets, and `is_stranger`: it
    is not at home with us (`clients`). A step on the way to a reply is not counted.
    """

    server: str
    proto: str
    family: str
    zone: str = "."
    wants_peer: bool = False
    peer: tuple[str, int] = ("", 0)
    client: bytes = b""
    is_stranger: bool = False
    is_counted: bool = True


class Tally(Counters):
    def __init__(self, registry: CollectorRegistry) -> None:
        self._replies: dict[tuple[Via, int, int], int] = {}
        self._of_via: dict[Via, tuple[Histogram, Histogram, Histogram]] = {}
        self._shapes: dict[Via, defaultdict[Shape, int]] = {}
        self._dropped: dict[Via, int] = {}
        self._upstream: dict[tuple[str, str], Histogram] = {}
        self._programming = {kind: Histogram(PROGRAMMING) for kind in ("cluster_ip", "headless_with_selector")}
        self._lateness = Histogram(LATENESS)
        self.failures = 0
        self.traffic = Traffic()
        super().__init__(registry)

    def reply(self, via: Via, kind: int, rcode: int, asked: int, said: int, seconds: float) -> None:
        """One reply to a query of type `kind`; sizes in octets."""
        if not via.is_counted:
            return
        key = (via, kind if kind in _COUNTED_TYPES else 0, rcode)
        self._replies[key] = self._replies.get(key, 0) + 1
        durations, requests, responses = self._histograms_of(via)
        durations.note(seconds)
        requests.note(asked)
        responses.note(said)

    def shapes(self, via: Via) -> defaultdict[Shape, int]:
        """Replies out of the cache: for each shape how many. To be added to, by one for each reply."""
        if not via.is_counted:
            return defaultdict(int)
        if via not in self._shapes:
            self._shapes[via] = defaultdict(int)
        return self._shapes[via]

    def burst(self, via: Via, count: int, seconds: float) -> None:
        """So many replies out of the cache took so long each, on average."""
        if via.is_counted:
            self._histograms_of(via)[0].note(seconds, count)

    def elsewhere(self, via: Via, shapes: Mapping[Shape, int], durations: Sequence[int], seconds: float) -> None:
        """Replies out of a worker's cache: what `shapes` counts, and the counts and the sum of a histogram of times."""
        counts = self.shapes(via)
        for shape, count in shapes.items():
            counts[shape] += count
        self._histograms_of(via)[0].add(durations, seconds)

    def _histograms_of(self, via: Via) -> tuple[Histogram, Histogram, Histogram]:
        if via not in self._of_via:
            self._of_via[via] = (Histogram(DURATIONS), Histogram(SIZES), Histogram(SIZES))
        return self._of_via[via]

    def dropped(self, via: Via) -> None:
        """A message that was no query: answered by its header alone, or not at all."""
        self._dropped[via] = self._dropped.get(via, 0) + 1

    def upstream(self, address: str, rcode: int, seconds: float) -> None:
        self._upstream.setdefault((address, RCODE_NAMES.get(rcode, str(rcode))), Histogram(DURATIONS)).note(seconds)

    def programmed(self, headless: bool, seconds: float) -> None:
        """An endpoint change was visible so long after the controller's trigger."""
        self._programming["headless_with_selector" if headless else "cluster_ip"].note(seconds)

    def late(self, seconds: float) -> None:
        """Something that was due was done so much later, because the loop was busy."""
        self._lateness.note(seconds)

    def collect(self) -> Iterable[Metric]:
        build = GaugeMetricFamily(
            "coredns_build_info", "Which build answers.", labels=["version", "revision", "goversion"]
        )
        build.add_metric([f"svcplane-{version('svcplane')}", "", ""], 1)
        yield build
        yield from self._queries()
        panics = CounterMetricFamily("coredns_panics", "Queries that failed by an error of ours.")
        panics.add_metric([], self.failures)
        yield panics
        proxy = HistogramMetricFamily(
            "coredns_proxy_request_duration_seconds",
            "Exchanges with an upstream.",
            labels=["proxy_name", "to", "rcode"],
        )
        for (address, rcode), histogram in sorted(self._upstream.copy().items()):
            histogram.add_to(proxy, ["forward", address, rcode])
        yield proxy
        programming = HistogramMetricFamily(
            "coredns_kubernetes_dns_programming_duration_seconds",
            "From the change of an endpoint to its being visible.",
            labels=["service_kind"],
        )
        for kind, histogram in self._programming.items():
            histogram.add_to(programming, [kind])
        yield programming
        # CoreDNS asks its own /health and measures that; what delays an answer of ours is a loop that is busy.
        health = HistogramMetricFamily("coredns_health_request_duration_seconds", "How late the loop is, each second.")
        self._lateness.add_to(health, [])
        yield health
        yield from super().collect()

    def _queries(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "coredns_dns_requests", "Queries.", labels=[*_OF_SERVER, "proto", "family", "type"]
        )
        responses = CounterMetricFamily("coredns_dns_responses", "Replies.", labels=[*_OF_SERVER, "rcode", "plugin"])
        asked: dict[tuple[str, ...], int] = {}
        said: dict[tuple[str, ...], int] = {}
        counted = list(self._replies.copy().items())
        for via, shapes in self._shapes.copy().items():
            counted += [
                ((via, kind if kind in _COUNTED_TYPES else 0, rcode), count)
                for (kind, rcode, _, _), count in shapes.copy().items()
            ]
        for (via, kind, rcode), count in counted:
            of_type = (via.server, via.zone, "", via.proto, via.family, TYPE_NAMES.get(kind, "other"))
            of_rcode = (via.server, via.zone, "", RCODE_NAMES.get(rcode, str(rcode)), "")
            asked[of_type] = asked.get(of_type, 0) + count
            said[of_rcode] = said.get(of_rcode, 0) + count
        for via, count in self._dropped.copy().items():
            key = (via.server, "dropped", "", via.proto, via.family, "other")
            asked[key] = asked.get(key, 0) + count
        for family, counts in ((requests, asked), (responses, said)):
            for labels, count in sorted(counts.items()):
                family.add_metric(labels, count)
            yield family
        yield from self._histograms()

    def _histograms(self) -> Iterable[Metric]:
        """CoreDNS tells UDP from TCP in sizes, not in times."""
        durations = HistogramMetricFamily("coredns_dns_request_duration_seconds", "Time to a reply.", labels=_OF_SERVER)
        requests, responses = (
            HistogramMetricFamily(f"coredns_dns_{name}_size_bytes", f"Sizes of {name}s.", labels=[*_OF_SERVER, "proto"])
            for name in ("request", "response")
        )
        of_zone: dict[tuple[str, str], Histogram] = {}
        for via, (times, *sizes) in self._of_via.copy().items():
            of_zone.setdefault((via.server, via.zone), Histogram(DURATIONS)).add(times.counts, times.sum)
            asked, said = Histogram(SIZES), Histogram(SIZES)
            for each, noted in zip((asked, said), sizes, strict=True):
                each.add(noted.counts, noted.sum)
            for (_, _, octets_asked, octets_said), count in self._shapes.get(via, {}).copy().items():
                asked.note(octets_asked, count)
                said.note(octets_said, count)
            asked.add_to(requests, [via.server, via.zone, "", via.proto])
            said.add_to(responses, [via.server, via.zone, "", via.proto])
        for (server, zone), times in of_zone.items():
            times.add_to(durations, [server, zone, ""])
        yield from (durations, requests, responses)

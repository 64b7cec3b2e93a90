"""What the benchmark's figures become: shares, ratios, tables, a plot."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import plot, report
from bench.crowd import CLIENT, FIRST_FRESH, PODS, SERVICE_CIDR, Crowd, cluster_ip


@pytest.mark.parametrize(
    ("values", "part", "wanted"),
    [
        ([], 0.5, None),
        ([3.0], 0.99, 3.0),
        ([2.0, 1.0], 0.5, 1.0),
        ([float(each) for each in range(1, 101)], 0.5, 50.0),
        ([float(each) for each in range(1, 101)], 0.99, 99.0),
        ([float(each) for each in range(1, 1001)], 0.99, 990.0),
        ([1.0, 2.0, 3.0, 4.0], 1.0, 4.0),
    ],
)
def test_share(values: list[float], part: float, wanted: float | None) -> None:
    assert report.share(values, part) == wanted


@pytest.mark.parametrize(
    ("value", "shown"), [(None, ""), (0.1234, "0.12"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")]
)
def test_number(value: float | None, shown: str) -> None:
    assert report.number(value) == shown


def rows(*found: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    return {"rows": [{"size": size, "program": program, **figures} for size, program, figures in found]}


@pytest.mark.parametrize(
    ("peers", "wanted"),
    [
        ((("kube-proxy-nftables", {"start_s": 30.0}),), ["start", "kube-proxy-nftables 10000x5", "0.100", "0.333"]),
        ((("kube-proxy-nft", {"start_over_s": 300.0}),), ["start", "kube-proxy-nft 10000x5", "< 0.010", "0.020"]),
        ((("kube-proxy-nft", {"error": "it ended"}),), None),
    ],
    ids=["measured", "longer than patience", "failed"],
)
def test_ratio_of_the_start(peers: tuple[tuple[str, dict[str, Any]], ...], wanted: list[str] | None) -> None:
    data = rows(
        ("10000x5", "agent-nft", {"start_s": 3.0}), *(("10000x5", program, figures) for program, figures in peers)
    )
    found = [[what, theirs, ratio, most] for what, _, theirs, ratio, most in report.ratios(data)[1:]]
    assert found == ([wanted] if wanted else [])


def test_memory_is_compared_with_the_least_of_the_peers() -> None:
    data = rows(
        ("10000x5", "agent-nft", {"rss_mib": 100.0}),
        ("10000x5", "kube-proxy-legacy", {"rss_mib": 250.0}),
        ("10000x5", "kube-proxy-nftables", {"rss_mib": 200.0}),
    )
    assert report.ratios(data)[1:] == [
        ["RSS", "agent-nft 10000x5", "kube-proxy-nftables 10000x5", "0.500", "0.600"],
    ]


def test_tables_take_the_place_of_what_is_between_the_marks() -> None:
    document = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.placed(document, "| new |")
    assert once == f"before\n{report.BEGIN}\n\n| new |\n\n{report.END}\nafter\n"
    assert report.placed(once, "| new |") == once
    with pytest.raises(ValueError, match="has no lines"):
        report.placed("nothing", "| new |")


def test_a_row_that_failed_has_a_line_that_says_so() -> None:
    assert report.line({"size": "1x1", "program": "agent-nft", "error": "no way"}).endswith("failed: no way")


def test_plot_has_a_line_a_program_and_keeps_inside() -> None:
    def figures(factor: float) -> dict[str, float]:
        return {"start_s": 1 * factor, "change_p50_ms": 9 * factor, "rss_mib": 70 * factor, "random_p50_us": 20.0}

    data = rows(
        ("100x5", "agent-nft", figures(1)),
        ("30000x5", "agent-nft", figures(5)),
        ("10000x5", "agent-nft", figures(3)),
        ("100x1000", "agent-nft", figures(900)),
        ("100x5", "kube-proxy-nftables", {"start_over_s": 300.0}),
    )
    drawing = ElementTree.fromstring(plot.svg(data))  # noqa: S314  # our own text
    lines = drawing.findall(".//{http://www.w3.org/2000/svg}polyline")
    points = [[tuple(map(float, point.split(","))) for point in line.attrib["points"].split()] for line in lines]
    assert [len(line) for line in points] == [3, 3, 3, 3]
    assert all(0 <= x <= plot.WIDTH and 0 <= y <= plot.HEIGHT for line in points for x, y in line)
    assert all([x for x, _ in line] == sorted(x for x, _ in line) for line in points)


@pytest.mark.parametrize(("services", "endpoints"), [(100, 5), (30_000, 5), (100, 1000)])
def test_addresses_of_a_crowd(services: int, endpoints: int) -> None:
    crowd = Crowd(services, endpoints)
    every = [cluster_ip(number) for number in range(services + 2)]
    assert len(set(every)) == len(every)
    assert all(ip_address(address) in ip_network(SERVICE_CIDR) for address in every)
    assert "10.96.0.1" not in every
    pods = [address for number in range(services + 2) for address in crowd.addresses(number)]
    assert len(set(pods)) == len(pods)
    assert all(ip_address(address) in ip_network(PODS) for address in (pods[0], pods[-1], CLIENT))
    assert int(ip_address(pods[-1])) < FIRST_FRESH


@pytest.mark.parametrize(("endpoints", "count"), [(1, 1), (5, 1), (1000, 100)])
def test_a_change_is_told_from_the_address_where_one_lands(endpoints: int, count: int) -> None:
    crowd = Crowd(10, endpoints)
    _, before = crowd.changed(3, count)
    wanted, after = crowd.changed(3, count)
    fresh = [each["addresses"][0] for each in after["endpoints"]][:count]
    assert {crowd.change_of(address) for address in fresh} == {wanted}
    assert crowd.change_of(before["endpoints"][0]["addresses"][0]) == wanted - 1
    assert crowd.change_of(crowd.addresses(3)[0]) == crowd.change_of("") == 0
    assert len(after["endpoints"]) == len(before["endpoints"]) == min(endpoints, 100)

"""The command line, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from svcdns.addresses import nameservers, search_domains, zones_of
from svcdns.options import Lookup, Run, parse
from svcdns.records import SRV, name_of, text_of
from svcdns.settings import (
    ROOT,
    Cache,
    Capacity,
    Certificates,
    Endpoint,
    Errors,
    Forward,
    HealthCheck,
    Hosts,
    LogRule,
    Rewrite,
    ServerBlock,
    Source,
    Upstream,
)

README = Path(__file__).parents[2] / "dns" / "README.md"
UPSTREAM = Upstream(Endpoint("192.0.2.1", 53))


def run(*words: str) -> Run:
    found = parse(["run", "--kubeconfig", "kc", *words])
    assert isinstance(found, Run)
    return found


def block(*words: str) -> ServerBlock:
    settings = run(*words).settings
    assert settings is not None
    (only,) = settings.blocks
    return only


def source(*words: str) -> Source:
    found = block(*words).kubernetes
    assert found is not None
    return found


def test_defaults_are_those_of_coredns() -> None:
    found = block()
    assert found.listen == (Endpoint("0.0.0.0", 53),)
    assert source() == Source("kc", "", zones_of(["cluster.local", "in-addr.arpa", "ip6.arpa"]))
    assert (found.forwards, found.cache, found.hosts, found.rewrites, found.log, found.loop) == (
        (),
        None,
        None,
        (),
        (),
        False,
    )
    assert (found.errors, found.loadbalance, found.lameduck) == (Errors(), True, 0.0)
    assert run().http == ()


@pytest.mark.parametrize(
    ("words", "listen"),
    [
        (["--listen", "127.0.0.1:53"], ["127.0.0.1:53"]),
        (["--listen", "127.0.0.1:0", "--listen", "[::1]:5353"], ["127.0.0.1:0", "[::1]:5353"]),
        (["--listen", "[0:0::1]:53"], ["[::1]:53"]),
    ],
)
def test_listen(words: list[str], listen: list[str]) -> None:
    assert list(map(str, block(*words).listen)) == listen


@pytest.mark.parametrize(
    ("word", "upstream"),
    [
        ("192.0.2.1", UPSTREAM),
        ("192.0.2.1:5353", Upstream(Endpoint("192.0.2.1", 5353))),
        ("2001:db8::1", Upstream(Endpoint("2001:db8::1", 53))),
        ("[2001:db8::1]", Upstream(Endpoint("2001:db8::1", 53))),
        ("[2001:db8::1]:5353", Upstream(Endpoint("2001:db8::1", 5353))),
        ("tls://192.0.2.1", Upstream(Endpoint("192.0.2.1", 853), True)),
        ("tls://192.0.2.1%dns.example", Upstream(Endpoint("192.0.2.1", 853), True, "dns.example")),
        ("/etc/resolv.conf", "/etc/resolv.conf"),
    ],
)
def test_forward(word: str, upstream: Upstream | str) -> None:
    assert block("--forward", word).forwards == (Forward((upstream,), max_concurrent=1000),)


FORWARD = Forward((UPSTREAM,), max_concurrent=1000)
A, B = name_of("a.example"), name_of("b.example")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("--max-concurrent 5", {"max_concurrent": 5}),
        ("--policy round_robin", {"policy": "round_robin"}),
        ("--max-fails 0", {"max_fails": 0}),
        ("--health-check 5s", {"check": HealthCheck(5.0)}),
        ("--expire 1m", {"expire": 60.0}),
        ("--force-tcp --prefer-udp", {"force_tcp": True, "prefer_udp": True}),
    ],
)
def test_how_to_forward(words: str, found: dict[str, object]) -> None:
    (only,) = block("--forward", "192.0.2.1", *words.split()).forwards
    assert only == Forward((UPSTREAM,), **{"max_concurrent": 1000, **found})


@pytest.mark.parametrize(
    ("words", "cache"),
    [
        (["--cache"], Cache()),
        (["--cache", "30"], Cache(success=Capacity(9984, 30), denial=Capacity(9984, 30))),
        (["--cache-success", "2000 60 0"], Cache(success=Capacity(2000, 60, 0))),
        (["--cache", "30", "--cache-denial", "2000"], Cache(success=Capacity(9984, 30), denial=Capacity(2000, 30))),
        (["--prefetch", "10 1m 20%"], Cache(prefetch=10, prefetch_percent=20)),
        (["--serve-stale"], Cache(stale=3600.0)),
        (["--serve-stale", "30m verify"], Cache(stale=1800.0, verify=True)),
    ],
)
def test_cache(words: list[str], cache: Cache) -> None:
    assert block(*words).cache == cache


def test_the_other_plugins() -> None:
    words = ["--hosts", "/h", "--rewrite", "name suffix a.example b.example", "--log", "--loop", "--lameduck", "5"]
    found = block(*words, "--no-loadbalance")
    assert found.hosts == Hosts("/h", (ROOT,), fallthrough=(ROOT,))
    assert found.rewrites == (Rewrite("suffix", A, B, answers=False),)
    assert (found.log, found.loop, found.lameduck, found.loadbalance) == ((LogRule(),), True, 5.0, False)


def test_which_cluster() -> None:
    words = ["--context", "c", "--namespaces", "a", "b", "--labels", "x=y", "--noendpoints", "--ignore-empty-service"]
    found = source(*words, "--startup-timeout", "1")
    assert (found.context, found.namespaces, found.labels) == ("c", frozenset("ab"), "x=y")
    assert (found.endpoints, found.ignore_empty, found.startup_timeout) == (False, True, 1.0)
    assert source("--namespace-labels", "a in (b, c)").namespace_labels == "a in (b, c)"


def test_a_server_without_a_kubeconfig() -> None:
    found = parse(["lookup", "a", "--server", "https://192.0.2.1", "--tls", "c", "k", "ca"])
    assert isinstance(found, Lookup)
    assert (found.source.kubeconfig, found.source.server) == ("", "https://192.0.2.1")
    assert found.source.certificates == Certificates("c", "k", "ca")


@pytest.mark.parametrize(
    ("words", "conf", "port"),
    [
        (["run", "--conf", "/c"], "/c", 53),
        (["-conf", "/c"], "/c", 53),
        (["-conf", "/c", "-dns.port", "1053"], "/c", 1053),
        (["-dns.port=1053", "-conf=/c"], "/c", 1053),
        (["run", "--conf", "/c", "--http", ":80"], "/c", 53),
    ],
)
def test_a_corefile_says_it_all(words: list[str], conf: str, port: int) -> None:
    found = parse(words)
    assert isinstance(found, Run)
    assert (found.conf, found.port, found.settings) == (conf, port, None)


def test_lookup() -> None:
    found = parse(["lookup", "_http._tcp.web.prod.svc.cluster.local", "srv", "--in-cluster"])
    assert isinstance(found, Lookup)
    assert (found.name, found.type, found.pod) == ("_http._tcp.web.prod.svc.cluster.local", SRV, "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--listen", "localhost:53"], "is not ADDRESS:PORT"),
        (["--listen", "::1:53"], "is not ADDRESS:PORT"),
        (["--listen", "127.0.0.1"], "is not ADDRESS:PORT"),
        (["--listen", "127.0.0.1:65536"], "65536 is no port"),
        (["--ttl", "3601"], "not between 0 and 3600"),
        (["--ttl", "-1"], "not between 0 and 3600"),
        (["--pods", "maybe"], "invalid choice"),
        (["--zone", "in-addr.arpa"], "add for example cluster.local"),
        (["--zone", "a..b"], "is no domain name"),
        (["--zone", "cluster.local", "--zone", "10.96.0.0/33"], "10.96.0.0/33"),
        (["--fallthrough", "in-addr.arpa"], "name one with --forward"),
        (["--workers", "0"], "'0' is not between 1 and 64"),
        (["--forward", "a..b"], "'a..b' is not an IP address, a file or a host name"),
        (["--forward", "192.0.2.1", "--max-concurrent", "-1"], "--max-concurrent: max_concurrent: -1 is not in range"),
        (["--forward", "192.0.2.1", "--policy", "best"], "--policy: unknown policy 'best'"),
        (["--cache", "0"], "--cache: cache: 0 is not in range"),
        (["--cache-success", "many"], "--cache-success: success: 'many' is no number"),
        (["--rewrite", "name regex a b"], "--rewrite: rewrite: 'regex' names are not matched here"),
        (["--startup-timeout", "soon"], "not a number of seconds"),
        (["--in-cluster"], "not allowed with"),
        (["--namespaces", "a", "--namespace-labels", "b"], "cannot both be set"),
        (["--tls", "c", "k", "ca"], "--tls goes with --server"),
        (["--conf", "/c"], "--kubeconfig has no place beside it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nonsense_is_refused_with_a_sentence(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*words)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_cluster_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["run"])
    assert "say where the cluster is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("network", "zones"),
    [
        ("10.96.0.0/16", ["96.10.in-addr.arpa."]),
        ("10.96.0.0/15", ["96.10.in-addr.arpa.", "97.10.in-addr.arpa."]),
        ("192.0.2.0/24", ["2.0.192.in-addr.arpa."]),
        ("fd00:10:96::/48", ["6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa."]),
        ("fc00::/7", ["c.f.ip6.arpa.", "d.f.ip6.arpa."]),
    ],
)
def test_a_network_is_its_reverse_zones(network: str, zones: list[str]) -> None:
    found = [text_of(zone) for zone in zones_of(["cluster.local", network]).all]
    assert sorted(found) == sorted(["cluster.local.", *zones])


def test_resolv_conf() -> None:
    text = "# c\nsearch a b\nnameserver 192.0.2.1\nnameserver 2001:db8::1 # x\nnameserver nobody\n nameserver\n"
    assert nameservers(text) == [Endpoint("192.0.2.1", 53), Endpoint("2001:db8::1", 53)]
    assert search_domains(text) == (name_of("a"), name_of("b"))
    assert search_domains("search a\nsearch B. a..b\n") == (name_of("b"),)
    assert search_domains("domain a b\n") == (name_of("a"),)
    assert search_domains("nameserver 192.0.2.1") == ()


@pytest.mark.parametrize("command", ["run", "lookup"])
def test_the_readme_knows_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([command, "--help"])
    offered = set(re.findall(r"--[a-z.-]+", capsys.readouterr().out)) - {"--help"}
    told = set(re.findall(r"--[a-z.-]+", README.read_text()))
    assert offered <= told, "tell of it in dns/README.md"

"""The command line, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from svcdns.options import Endpoint, Lookup, Run, parse, upstreams_of, zones_of
from svcdns.records import SRV, name_of, text_of

README = Path(__file__).parents[2] / "dns" / "README.md"


def run(*words: str) -> Run:
    found = parse(["run", "--kubeconfig", "kc", *words])
    assert isinstance(found, Run)
    return found


def test_defaults_are_those_of_coredns() -> None:
    found = run()
    assert found.listen == (Endpoint("0.0.0.0", 53),)
    assert [text_of(zone) for zone in found.source.zones.all] == ["cluster.local.", "in-addr.arpa.", "ip6.arpa."]
    assert (found.source.zones.ttl, found.source.zones.pods, found.source.zones.fallthrough) == (5, "disabled", ())
    assert (found.startup_timeout, found.upstreams, found.http) == (5.0, (), ())


@pytest.mark.parametrize(
    ("words", "listen"),
    [
        (["--listen", "127.0.0.1:53"], ["127.0.0.1:53"]),
        (["--listen", "127.0.0.1:0", "--listen", "[::1]:5353"], ["127.0.0.1:0", "[::1]:5353"]),
        (["--listen", "[0:0::1]:53"], ["[::1]:53"]),
    ],
)
def test_listen(words: list[str], listen: list[str]) -> None:
    assert list(map(str, run(*words).listen)) == listen


@pytest.mark.parametrize(
    ("word", "upstream"),
    [
        ("192.0.2.1", Endpoint("192.0.2.1", 53)),
        ("192.0.2.1:5353", Endpoint("192.0.2.1", 5353)),
        ("2001:db8::1", Endpoint("2001:db8::1", 53)),
        ("[2001:db8::1]", Endpoint("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", Endpoint("2001:db8::1", 5353)),
        ("/etc/resolv.conf", "/etc/resolv.conf"),
    ],
)
def test_forward(word: str, upstream: Endpoint | str) -> None:
    assert run("--forward", word).upstreams == (upstream,)


def test_lookup() -> None:
    found = parse(["lookup", "_http._tcp.web.prod.svc.cluster.local", "srv", "--in-cluster"])
    assert isinstance(found, Lookup)
    assert (found.name, found.type) == (name_of("_http._tcp.web.prod.svc.cluster.local"), SRV)


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
        (["--zone", "in-addr.arpa"], "add for example --zone cluster.local"),
        (["--zone", "a..b"], "is no domain name"),
        (["--zone", "cluster.local", "--zone", "10.96.0.0/33"], "10.96.0.0/33"),
        (["--fallthrough", "in-addr.arpa"], "name one with --forward"),
        (["--max-concurrent", "0"], "not a number above 0"),
        (["--startup-timeout", "soon"], "not a number of seconds"),
        (["--in-cluster"], "not allowed with"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nonsense_is_refused_with_a_sentence(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*words)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


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
    assert upstreams_of(text) == [Endpoint("192.0.2.1", 53), Endpoint("2001:db8::1", 53)]


@pytest.mark.parametrize("command", ["run", "lookup"])
def test_the_readme_knows_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([command, "--help"])
    offered = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    told = set(re.findall(r"--[a-z-]+", README.read_text()))
    assert offered <= told, "tell of it in dns/README.md"

"""Corefiles as text: those that people deploy, and each row of `support.corefiles` with its refusal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.corefiles import KUBEADM, NODE_LOCAL, ROWS, File
from svcdns.addresses import seconds_of, zones_of
from svcdns.corefile import Block, CorefileError, Directive, Line, blocks_of
from svcdns.plugins import settings_of
from svcdns.settings import (
    ROOT,
    Cache,
    Capacity,
    Endpoint,
    Errors,
    Forward,
    Reload,
    ServerBlock,
    Serving,
    Source,
    Upstream,
)

ENVIRONMENT = {"PORT": "5300", "EMPTY": ""}


def test_kubeadms_file() -> None:
    (block,) = settings_of(blocks_of(KUBEADM)).blocks
    plugins = "errors health ready kubernetes prometheus forward cache loop reload loadbalance".split()
    zones = zones_of(["cluster.local", "in-addr.arpa", "ip6.arpa"], 30, "insecure", ["in-addr.arpa", "ip6.arpa"])
    (cluster,) = zones_of(["cluster.local"]).all
    assert block == ServerBlock(
        serving=(Serving(ROOT, ".", 53),),
        plugins=tuple(plugins),
        kubernetes=Source("", "", zones),
        cache=Cache(
            success=Capacity(9984, 30), denial=Capacity(9984, 30), not_success=(cluster,), not_denial=(cluster,)
        ),
        forwards=(Forward(("/etc/resolv.conf",), max_concurrent=1000),),
        errors=Errors(),
        loadbalance=True,
        loop=True,
        health=":8080",
        lameduck=5.0,
        ready=":8181",
        prometheus=":9153",
    )
    assert settings_of(blocks_of(KUBEADM)).reload == Reload(30.0, 15.0)


def node_local() -> str:
    filled = {
        "DNS__DOMAIN": "cluster.local",
        "LOCAL__DNS": "169.254.20.10",
        "DNS__SERVER": "10.96.0.10",
        "CLUSTER__DNS": "10.96.7.7",
        "UPSTREAM__SERVERS": "/etc/resolv.conf",
    }
    text = NODE_LOCAL
    for name, value in filled.items():
        text = text.replace(f"__PILLAR__{name}__", value)
    return text


def test_node_local_dns_file() -> None:
    blocks = settings_of(blocks_of(node_local())).blocks
    assert [block.serving[0].text for block in blocks] == ["cluster.local.", "in-addr.arpa.", "ip6.arpa.", "."]
    assert {block.bind for block in blocks} == {("169.254.20.10", "10.96.0.10")}
    assert [block.health for block in blocks] == ["169.254.20.10:8080", "", "", ""]
    assert [block.forwards[0].force_tcp for block in blocks] == [True, True, True, False]
    upstream = Upstream(Endpoint("10.96.7.7", 53))
    assert [block.forwards[0].to for block in blocks] == [(upstream,)] * 3 + [("/etc/resolv.conf",)]
    first, *others = [block.cache for block in blocks]
    assert first is not None
    assert (first.success, first.denial) == (Capacity(9984, 30), Capacity(9984, 5))
    assert all(cache is not None and cache.denial.longest == 30 for cache in others)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(row: File) -> None:
    if not row.says:
        settings_of(blocks_of(row.text, environment=ENVIRONMENT))
        return
    with pytest.raises(CorefileError, match=r"^Corefile:\d+: ") as refusal:
        settings_of(blocks_of(row.text, environment=ENVIRONMENT))
    assert row.says in str(refusal.value)


def directive(text: str) -> Directive:
    (block,) = blocks_of(f". {{\n{text}\n}}", environment=ENVIRONMENT)
    return block.directives[0]


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("forward . a b", (".", "a", "b")),
        ("forward . a#b", (".", "a")),
        ("forward . a # b\n", (".", "a")),
        ('log "a b" c', ("a b", "c")),
        ('log "a \\"b\\" \\n"', ('a "b" \\n',)),
        ('log "" c', ("", "c")),
        ('log a"b"', ('a"b"',)),
        ("forward . {$PORT}", (".", "5300")),
        ("forward . 127.0.0.1:{%PORT%}x", (".", "127.0.0.1:5300x")),
        ("forward . {$EMPTY}x{$UNSET}", (".", "x")),
        ("forward\t.\ta\r\n", (".", "a")),
    ],
)
def test_words(text: str, args: tuple[str, ...]) -> None:
    assert directive(text).args == args


def test_lines_are_counted_through_quotes_comments_and_blank_lines() -> None:
    text = '# one\n\n. {\n  log "two\nlines" {\n  class error # c\n\n  class all\n  }\n  errors\n}\n'
    (block,) = blocks_of(text, "f")
    log, errors = block.directives
    assert (block.line, log.line, errors.line) == (3, 4, 10)
    assert log.body == (Line("class", ("error",), "f", 6), Line("class", ("all",), "f", 8))


def test_imports_are_read_beside_the_file_that_names_them() -> None:
    asked = []

    def imported(pattern: str, file: str) -> list[tuple[str, str]]:
        asked.append((pattern, file))
        return [("/etc/custom/a.override", "log\n"), ("/etc/custom/b.override", "errors\nloop\n")]

    (block,) = blocks_of(". {\n import custom/*.override\n reload\n}", "/etc/Corefile", {}, imported)
    assert asked == [("custom/*.override", "/etc/Corefile")]
    assert [(one.name, one.file, one.line) for one in block.directives] == [
        ("log", "/etc/custom/a.override", 1),
        ("errors", "/etc/custom/b.override", 1),
        ("loop", "/etc/custom/b.override", 2),
        ("reload", "/etc/Corefile", 3),
    ]


def test_a_whole_block_may_be_imported() -> None:
    def imported(pattern: str, file: str) -> list[tuple[str, str]]:
        return [("more", "b.example {\n log\n}")]

    found = blocks_of("import more\n. {\n errors\n}", "f", {}, imported)
    assert [(block.keys, block.file) for block in found] == [(("b.example",), "more"), ((".",), "f")]


def test_what_stands_in_no_file_has_no_line() -> None:
    block = Block((".",), (Directive("cache", ("0",), "--cache", 0),), "command line", 0)
    with pytest.raises(CorefileError, match=r"^--cache: cache: 0 is not in range"):
        settings_of([block])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("0", 0),
        ("1.5m", 90),
        ("1m0.5s", 60.5),
        (".5s", 0.5),
        ("1us", 1e-6),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5x", "-5s", "1m5", "five", "5 s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|negative"):
        seconds_of(text)


WORDS = sorted({word for row in ROWS for word in re.split(r"[ \t]+|(\n)", row.text) if word})


def refusal(text: str) -> str:
    try:
        settings_of(blocks_of(text, environment=ENVIRONMENT))
    except CorefileError as error:
        return str(error)
    return ""


@given(st.lists(st.sampled_from([*WORDS, "{", "}", "\n", '"', "import"]), max_size=40))
def test_whatever_the_words_a_refusal_names_its_line(words: list[str]) -> None:
    for text in (" ".join(words), ".:{$PORT} {\n" + " ".join(words) + "\n}\n"):
        assert re.match(r"$|Corefile:\d+: |no server block", refusal(text))

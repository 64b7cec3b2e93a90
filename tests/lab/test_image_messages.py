"""HTTP as octets: what the built-in web servers read and write, and Go-style flags."""

from __future__ import annotations

import pytest

from svclab.programs.messages import BODY_LIMIT, HEAD_LIMIT, BadRequestError, Reader, Response, decoded, written
from svclab.programs.words import parse

GET = b"GET /a?b=1 HTTP/1.1\r\nHost: Web.Example:8080\r\nUser-Agent: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"


@pytest.mark.parametrize("size", [1, 7, 1000], ids=["octet by octet", "in pieces", "at once"])
def test_requests_in_any_pieces(size: int) -> None:
    octets, reader, seen = GET + POST + GET, Reader(), []
    for at in range(0, len(octets), size):
        reader.feed(octets[at : at + size])
        while request := reader.next():
            seen.append((request.method, request.path, request.query, request.host, request.body, request.keep))
    get = ("GET", "/a", "b=1", "web.example", b"", True)
    assert seen == [get, ("POST", "/", "", "a", b"abc", True), get]
    assert reader.is_empty


KEEP = {
    "1.1": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
    "1.1 close": (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", False),
    "1.0": (b"GET / HTTP/1.0\r\n\r\n", False),
    "1.0 keep-alive": (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
}


@pytest.mark.parametrize(("octets", "keep"), KEEP.values(), ids=KEEP)
def test_who_closes(octets: bytes, keep: bool) -> None:
    reader = Reader()
    reader.feed(octets)
    request = reader.next()
    assert request is not None
    assert request.keep is keep


REFUSED = {
    "no HTTP": (b"\x16\x03\x01\x02\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "a header without a name": (b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400),
    "a length that is none": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", 400),
    "chunks": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
    "a long body": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (BODY_LIMIT + 1), 413),
    "a long head": (b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_LIMIT, 431),
}


@pytest.mark.parametrize(("octets", "status"), REFUSED.values(), ids=REFUSED)
def test_refused_requests(octets: bytes, status: int) -> None:
    reader = Reader()
    reader.feed(octets)
    with pytest.raises(BadRequestError) as caught:
        reader.next()
    assert caught.value.status == status


HOSTS = {
    "name": (b"a.example", "a.example"),
    "name and port": (b"a.example:80", "a.example"),
    "address": (b"10.0.0.1:8080", "10.0.0.1"),
    "IPv6": (b"[::1]", "[::1]"),
    "IPv6 and port": (b"[::1]:80", "[::1]"),
    "capitals": (b"A.Example", "a.example"),
}


@pytest.mark.parametrize(("header", "host"), HOSTS.values(), ids=HOSTS)
def test_host(header: bytes, host: str) -> None:
    reader = Reader()
    reader.feed(b"GET / HTTP/1.1\r\nHost: " + header + b"\r\n\r\n")
    request = reader.next()
    assert request is not None
    assert request.host == host


def test_absolute_form_names_the_host() -> None:
    reader = Reader()
    reader.feed(b"GET http://b.example/x HTTP/1.1\r\nHost: proxy\r\n\r\n")
    request = reader.next()
    assert request is not None
    assert (request.host, request.path) == ("b.example", "/x")


def test_a_response_to_head_has_the_length_but_no_body() -> None:
    octets = written(Response(200, b"abc", headers=(("X-Pod", "p"),)), "s", keep=False, body=False)
    head, _, body = octets.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"HTTP/1.1 200 OK"
    assert {b"Content-Length: 3", b"Connection: close", b"X-Pod: p"} <= set(head.split(b"\r\n"))
    assert body == b""


DECODED = {
    "plain": ("abc", "abc"),
    "escape": ("a%20b%2B", "a b+"),
    "plus": ("a+b", "a b"),
    "no escape": ("100%", "100%"),
    "broken escape": ("%zz", "%zz"),
    "utf-8": ("%C3%A4", "ä"),
}


@pytest.mark.parametrize(("text", "value"), DECODED.values(), ids=DECODED)
def test_decoded(text: str, value: str) -> None:
    assert decoded(text) == value


WORDS: dict[str, tuple[list[str], dict[str, str | int | bool], list[str]]] = {
    "none": ([], {"port": 80, "tcp": False, "text": ""}, []),
    "equals": (["--port=81"], {"port": 81, "tcp": False, "text": ""}, []),
    "apart": (["-port", "81", "x"], {"port": 81, "tcp": False, "text": ""}, ["x"]),
    "boolean": (["--tcp", "x"], {"port": 80, "tcp": True, "text": ""}, ["x"]),
    "boolean said": (["--tcp=false"], {"port": 80, "tcp": False, "text": ""}, []),
    "dash in a value": (["-text=-x"], {"port": 80, "tcp": False, "text": "-x"}, []),
    "end of flags": (["--", "--port"], {"port": 80, "tcp": False, "text": ""}, ["--port"]),
}


@pytest.mark.parametrize(("words", "values", "rest"), WORDS.values(), ids=WORDS)
def test_words(words: list[str], values: dict[str, str | int | bool], rest: list[str]) -> None:
    assert parse(words, {"port": 80, "tcp": False, "text": ""}) == (values, rest)


@pytest.mark.parametrize("words", [["--prot=1"], ["--port"], ["--port=x"]])
def test_wrong_words(words: list[str]) -> None:
    with pytest.raises(ValueError, match="flag"):
        parse(words, {"port": 80})

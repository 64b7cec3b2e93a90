"""The lab's internet: its table as values, and its sockets on loopback."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from support.waiting import eventually
from svcdns.answer import Question
from svcdns.records import RCODE_NAMES, TYPE_NUMBERS, line_of, name_of
from svclab.programs.messages import Request
from svclab.upstream.internet import RNG_PATH, laid_out, reply_to, response_to

PROGRAM = Path(sys.executable).parent / "svcplane-lab"
INTERNET = laid_out(IPv4Network("203.0.113.0/24"), (IPv4Address("192.168.123.234"),))

QUESTIONS = {
    "an address": ("www.google.com A", "NOERROR", ["www.google.com. 60 IN A 203.0.113.10"]),
    "capitals": ("WWW.Google.COM A", "NOERROR", ["www.google.com. 60 IN A 203.0.113.10"]),
    "an alias": (
        "raw.githubusercontent.com A",
        "NOERROR",
        [
            "raw.githubusercontent.com. 60 IN CNAME github.map.fastly.net.",
            "github.map.fastly.net. 60 IN A 203.0.113.20",
            "github.map.fastly.net. 60 IN A 203.0.113.21",
        ],
    ),
    "the alias itself": (
        "raw.githubusercontent.com CNAME",
        "NOERROR",
        ["raw.githubusercontent.com. 60 IN CNAME github.map.fastly.net."],
    ),
    "an alias, no such type": (
        "raw.githubusercontent.com AAAA",
        "NOERROR",
        ["raw.githubusercontent.com. 60 IN CNAME github.map.fastly.net."],
    ),
    "no such type": ("app.database.io AAAA", "NOERROR", []),
    "names below it only": ("google.com A", "NOERROR", []),
    "no such name": ("www.example.org A", "NXDOMAIN", []),
    "below a name": ("x.www.google.com A", "NXDOMAIN", []),
    "an address's name": (
        "10.113.0.203.in-addr.arpa PTR",
        "NOERROR",
        ["10.113.0.203.in-addr.arpa. 60 IN PTR www.google.com."],
    ),
    "an address of nobody": ("99.113.0.203.in-addr.arpa PTR", "NXDOMAIN", []),
    "the root": (". NS", "NOERROR", []),
}


@pytest.mark.parametrize(("question", "rcode", "lines"), QUESTIONS.values(), ids=QUESTIONS)
def test_questions(question: str, rcode: str, lines: list[str]) -> None:
    text, _, kind = question.partition(" ")
    name = name_of(text)
    reply = reply_to(Question(name, name.lower(), TYPE_NUMBERS[kind]), INTERNET)
    assert (RCODE_NAMES[reply.rcode], [line_of(record) for record in reply.answer]) == (rcode, lines)
    assert bool(reply.authority) is not any(kind == line.split()[3] for line in lines)  # a negative reply has its SOA


REQUESTS = {
    "its own name": ("203.0.113.10", "www.google.com", "/", 200),
    "its own name with a port": ("203.0.113.10", "www.google.com:80", "/", 200),
    "another name": ("203.0.113.10", "web.default.svc.cluster.local", "/", 404),
    "its address": ("203.0.113.10", "203.0.113.10", "/", 404),
    "a second address": ("203.0.113.21", "raw.githubusercontent.com", RNG_PATH, 200),
    "an alias in the cluster": ("203.0.113.21", "numbers-api", RNG_PATH, 404),
    "misdirected": ("203.0.113.30", "db", "/", 421),
    "a second name": ("203.0.113.11", "www.example.com", "/", 200),
    "another path": ("203.0.113.11", "example.com", "/x", 404),
    "a server of one's own takes any name": ("192.168.123.234", "numbers-api", RNG_PATH, 200),
    "nobody there": ("203.0.113.99", "www.google.com", "/", 404),
}


@pytest.mark.parametrize(("address", "host", "path", "status"), REQUESTS.values(), ids=REQUESTS)
def test_requests(address: str, host: str, path: str, status: int) -> None:
    response = response_to(Request("GET", path, "", {"host": host}, b"", True, ""), address, INTERNET)
    assert (response.status, response.body[:3] == str(status).encode()) == (status, status != 200)


def test_a_refusal_names_both() -> None:
    request = Request("GET", "/", "", {"host": "numbers-api"}, b"", True, "")
    assert response_to(request, "203.0.113.20", INTERNET).body == (
        b"404 This server is raw.githubusercontent.com; the request was for Host 'numbers-api'.\n"
    )


def test_a_small_network_is_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        laid_out(IPv4Network("203.0.113.0/27"))


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, str]]:
    """The process, on 127.53.0.0/24: its DNS port and its HTTP port."""
    flags = ["--network", "127.53.0.0/24", "--own-server", "127.0.0.1", "--dns-port", "0", "--http-port", "0"]
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([PROGRAM, "upstream", *flags], stderr=out)

    def ports() -> tuple[str, str] | None:
        found = re.search(r"dns=\S+:(\d+) http=\S+:(\d+)", log.read_text())
        return (found[1], found[2]) if found else None

    try:
        dns, http = eventually(ports, "it serves", 20)
        yield process, dns, http
    finally:
        process.kill()
        process.wait()


def test_sockets(upstream: tuple[subprocess.Popen[bytes], str, str]) -> None:
    process, dns, http = upstream
    for transport in ("+notcp", "+tcp"):
        asked = _printed("dig", "+short", transport, "-p", dns, "@127.53.0.53", "raw.githubusercontent.com")
        assert asked.split() == ["github.map.fastly.net.", "127.53.0.20", "127.53.0.21"]
    flags = _printed("dig", "-p", dns, "@127.53.0.53", "nowhere.invalid")
    assert "NXDOMAIN" in flags
    assert " ra;" in flags  # or dig warns that recursion is not available
    shown = '{"status": %{http_code}}'
    refused = _printed("curl", "-s", "-o", "/dev/null", "-w", shown, f"http://127.53.0.10:{http}/")
    assert json.loads(refused) == {"status": 404}
    two = f"http://www.google.com:{http}/"
    served = _printed("curl", "-sv", "--resolve", f"www.google.com:{http}:127.53.0.10", two, two)
    assert served.count("This stands in for www.google.com") == 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def _printed(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout

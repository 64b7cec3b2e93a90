"""The built-in programs on loopback: as processes, as a container runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.waiting import eventually
from svclab.images import resolve
from svclab.programs.fetching import fetched
from svclab.programs.messages import Response
from svclab.programs.serving import Serving

HERE = os.uname().nodename


class Program:
    """A running program and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    def ports(self, kind: str) -> list[int]:
        """The ports on which the process listens, by its own file descriptors and the kernel's table."""
        inodes = set()
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            if found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry)):
                inodes.add(found[1])
        lines = [line.split() for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
        state = "0A" if kind.startswith("tcp") else "07"
        return [int(line[1].rpartition(":")[2], 16) for line in lines if line[9] in inodes and line[3] == state]

    def port(self, kind: str = "tcp") -> int:
        """Its first port, of either family, once it listens."""
        return eventually(lambda: (self.ports(f"{kind}6") + self.ports(kind))[0], "the program listens")


@contextmanager
def running(image: str, tmp_path: Path, *words: str, env: Mapping[str, str] | None = None) -> Iterator[Program]:
    """The image's program with further words; killed at the end if it has not ended."""
    found, log = resolve(image, {}), tmp_path / "log"
    environment = {**found.environment, "LINGER_SECONDS": "0", **(env or {})}
    argv = [*found.entrypoint, *(words or found.command)]
    with log.open("wb") as out:
        process = subprocess.Popen(argv, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield Program(process, log)
    finally:
        process.kill()
        process.wait()


PAGES = {
    "nginx": ("nginx:1.27", "/", 200, b"Welcome to nginx!"),
    "nginx, not there": ("nginx", "/none", 404, b"404 Not Found"),
    "nginx, above the root": ("nginx", "/../../etc/passwd", 400, b"Bad Request"),
    "the pod's name": ("nginx", "/hostname", 200, HERE.encode()),
    "httpd": ("httpd", "/", 200, b"It works!"),
    "myweb": ("minjulee226/myweb", "/", 200, HERE.encode()),
    "kubia": ("luksa/kubia", "/", 200, f"You've hit {HERE}".encode()),
    "kubia v2": ("luksa/kubia:v2", "/", 200, f"This is v2 running in pod {HERE}".encode()),
    "numbers-web": ("kiamol/ch03-numbers-web", "/", 200, b"Random Number Generator"),
    "echo-server": ("ealen/echo-server", "/a?b=c", 200, b'"originalUrl": "/a?b=c"'),
}


@pytest.mark.parametrize(("image", "path", "status", "text"), PAGES.values(), ids=PAGES)
def test_pages(image: str, path: str, status: int, text: bytes, tmp_path: Path) -> None:
    with running(image, tmp_path, "--port", "0") as program:
        found, body = fetched(f"http://127.0.0.1:{program.port()}{path}")
        assert (found, text in body) == (status, True), body
        program.process.terminate()
        assert program.process.wait(10) == 0
        assert f'"GET {path} HTTP/1.0" {status}' in program.log.read_text()


def test_numbers(tmp_path: Path) -> None:
    """The API answers a number at both paths; the page shows it, and says so when there is no API."""
    (tmp_path / "api").mkdir()
    with running("kiamol/ch03-numbers-api", tmp_path / "api", "--port", "0") as api:
        url = f"http://127.0.0.1:{api.port()}/sixeyed/kiamol/master/ch03/numbers/rng"
        assert 0 <= int(fetched(url)[1]) < 100
        with running("kiamol/ch03-numbers-web", tmp_path, "--port", "0", env={"RngApi__Url": url}) as web:
            assert re.search(r"Here it is: \d+", posted(web.port()))
            api.process.kill()
            api.process.wait()
            assert "RNG service unavailable!" in posted(web.port())


def posted(port: int) -> str:
    argv = ["curl", "-sS", "--max-time", "10", "-d", "", f"http://127.0.0.1:{port}/"]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout


def test_numbers_web_retries_with_the_name_that_the_server_knows(tmp_path: Path) -> None:
    server = Serving("picky", linger=0.0, log=False)
    port = server.add_http(0, lambda request, peer: Response(200 if request.host == "its.own" else 404, b"7"))
    thread = threading.Thread(target=lambda: server.run(signals=False))
    thread.start()
    variables = {"RngApi__Url": f"http://127.0.0.1:{port}/rng", "RngApi__RetryHost": "its.own"}
    try:
        with running("kiamol/ch03-numbers-web", tmp_path, "--port", "0", env=variables) as web:
            assert "Here it is: 7" in posted(web.port())
    finally:
        server.stop()
        thread.join(10)


NETEXEC = {
    "hostname": ("/hostname", HERE),
    "client": ("/clientip", r"127\.0\.0\.1:\d+"),
    "echo": ("/echo?msg=a%20b", "a b"),
    "header": ("/header?key=Host", r"127\.0\.0\.1:\d+"),
    "healthz": ("/healthz", ""),
    "shell is not there": ("/shell?cmd=id", "404 page not found\n"),
}


@pytest.mark.parametrize(("path", "pattern"), NETEXEC.values(), ids=NETEXEC)
def test_netexec(path: str, pattern: str, tmp_path: Path) -> None:
    with running("agnhost", tmp_path, "netexec", "--http-port=0", "--udp-port=0") as program:
        assert re.fullmatch(pattern, fetched(f"http://127.0.0.1:{program.port()}{path}")[1].decode())


def test_netexec_udp_and_dial(tmp_path: Path) -> None:
    with running("agnhost", tmp_path, "netexec", "--http-port", "0", "--udp-port", "0") as program:
        tcp, udp = program.port(), program.port("udp")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect(("127.0.0.1", udp))
            said = []
            for word in (b"hostname", b"echo it is", b"clientip"):
                sock.send(word)
                said.append(sock.recv(100).decode())
            assert said == [HERE, "it is", f"127.0.0.1:{sock.getsockname()[1]}"]
        dial = f"/dial?host=127.0.0.1&port={udp}&protocol=udp&request=hostname&tries=2"
        assert json.loads(fetched(f"http://127.0.0.1:{tcp}{dial}")[1]) == {"responses": [HERE, HERE]}


CONNECT = {
    "refused": (["connect", "127.0.0.1:1"], "REFUSED"),
    "no such name": (["connect", "none.invalid:80", "--timeout=5s"], "DNS"),
    "no address": (["connect", "x"], "wants HOST:PORT"),
    "unknown command": (["fly"], "there are: netexec"),
}


@pytest.mark.parametrize(("words", "said"), CONNECT.values(), ids=CONNECT)
def test_connect_fails(words: list[str], said: str, tmp_path: Path) -> None:
    with running("agnhost", tmp_path, *words) as program:
        assert program.process.wait(30) in (1, 2)
        assert said in program.log.read_text()


def test_connect_succeeds(tmp_path: Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    with server, running("agnhost", tmp_path, "connect", f"127.0.0.1:{server.getsockname()[1]}") as program:
        assert program.process.wait(30) == 0


@pytest.mark.parametrize("image", ["registry.k8s.io/pause:3.10", "kiamol/ch03-sleep", "agnhost"])
def test_sleepers_end_at_once_when_asked(image: str, tmp_path: Path) -> None:
    with running(image, tmp_path) as program:
        eventually(lambda: _ready_to_end(program.process.pid), "it handles SIGTERM")
        program.process.terminate()
        assert program.process.wait(10) == 0


def _ready_to_end(pid: int) -> bool:
    caught = re.search(r"SigCgt:\s+(\w+)", Path(f"/proc/{pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) & 1 << signal.SIGTERM - 1)


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        with running("nginx", tmp_path, "--port", port) as program:
            assert program.process.wait(10) == 1
    assert program.log.read_text() == f"nginx: bind() to TCP port {port} failed (98: Address already in use)\n"


@contextmanager
def serving(linger: float) -> Iterator[tuple[Serving, int]]:
    """A server in a thread that answers its number of requests so far."""
    server, count = Serving("s", linger=linger, log=False), iter(range(1_000_000))
    port = server.add_http(0, lambda request, peer: Response(200, str(next(count)).encode()))
    thread = threading.Thread(target=lambda: server.run(signals=False))
    thread.start()
    try:
        yield server, port
    finally:
        if thread.is_alive():
            server.stop()
        thread.join(20)
        assert not thread.is_alive()


def test_ending_loses_no_request_of_who_keeps_coming() -> None:
    """New connections are taken until none has come for the lingering time; then they are refused."""
    with serving(linger=0.5) as (server, port):
        assert fetched(f"http://127.0.0.1:{port}/") == (200, b"0")
        server.stop()
        for number in range(1, 50):
            assert fetched(f"http://127.0.0.1:{port}/") == (200, str(number).encode())
        eventually(lambda: _refused(port), "the port is closed")


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    # Each look is a connection too, and prolongs the lingering: look less often than that lasts.
    threading.Event().wait(0.7)
    return False


def test_keep_alive_pipelining_and_half_close() -> None:
    with serving(linger=0.0) as (_, port), socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        received = b""
        while b"100 Continue" not in received:
            received += client.recv(4096)
        client.sendall(b"xyGARBAGE\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        while part := client.recv(4096):
            received += part
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"200", b"100", b"200", b"400"]


def test_a_large_answer_to_a_slow_reader_arrives_whole() -> None:
    server = Serving("s", linger=0.0, log=False)
    port = server.add_http(0, lambda request, peer: Response(200, b"x" * (8 << 20)))
    thread = threading.Thread(target=lambda: server.run(signals=False))
    thread.start()
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            size = 0
            while part := client.recv(4096):
                size += len(part)
        assert size > 8 << 20
    finally:
        server.stop()
        thread.join(10)

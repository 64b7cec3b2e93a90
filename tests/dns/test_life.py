"""The life of a server: its HTTP endpoints, settings taken anew or refused, loops, hosts files, the end."""

from __future__ import annotations

import asyncio
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support.questions import said_in
from support.resolvers import datagrams, over_tcp, over_udp, question
from support.scripted_upstream import ScriptedUpstream
from support.waiting import eventually
from svcdns.corefile import CorefileError, blocks_of
from svcdns.life import Life, LoopError
from svcdns.plugins import settings_of
from svcdns.settings import Settings
from svcdns.tally import Tally
from svckube.observe import registry

PLAIN = question("plain.example.org.")


def free_port() -> int:
    """One that nobody has at the moment, for UDP and TCP."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(tcp.getsockname())
        port: int = tcp.getsockname()[1]
        return port


class Living:
    """A server from a text that may be changed, in a thread of its own."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.error: BaseException | None = None
        self.metrics = registry()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            self.error = error
        self._started.set()

    async def _live(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._life = Life(self._load, self.metrics, Tally(self.metrics), self._stop)
        self._started.set()
        await self._life.run()

    def _load(self) -> tuple[Settings, str]:
        return settings_of(blocks_of(self.text)), str(hash(self.text))

    def reload(self, text: str) -> None:
        self.text = text
        self._loop.call_soon_threadsafe(self._life.asked.set)

    def failed(self) -> float:
        return self.metrics.get_sample_value("coredns_reload_failed_total") or 0.0

    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        assert self._started.wait(10)
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert self.is_over()


@contextmanager
def living(text: str) -> Iterator[Living]:
    one = Living(text)
    try:
        yield one
    finally:
        one.stop()


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as one:
        yield one


def block(port: int, *lines: str, zone: str = ".") -> str:
    return f"{zone}:{port} {{\n bind 127.0.0.1\n" + "".join(f" {line}\n" for line in lines) + "}\n"


def forward(upstream: ScriptedUpstream) -> str:
    return f"forward . {upstream.address[0]}:{upstream.address[1]}"


def rcode(port: int, packet: bytes = PLAIN) -> str:
    try:
        return said_in(over_udp(("127.0.0.1", port), packet, 1.0)).rcode
    except OSError:
        return ""


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
            code: int = reply.status
            return code
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_the_http_endpoints_are_where_they_were_told_to_be() -> None:
    port, health, ready, metrics = (free_port() for _ in range(4))
    http = (f"health 127.0.0.1:{health}", f"ready 127.0.0.1:{ready}", f"prometheus 127.0.0.1:{metrics}")
    with living(block(port, *http)):
        eventually(lambda: status(ready, "/ready") == 200, "it is ready")
        found = {
            (one, path): status(one, path)
            for one in (health, ready, metrics)
            for path in ("/health", "/ready", "/metrics")
        }
    assert [key for key, code in found.items() if code == 200] == [
        (health, "/health"),
        (ready, "/ready"),
        (metrics, "/metrics"),
    ]


def test_answers_go_on_during_lameduck_and_ready_does_not(upstream: ScriptedUpstream) -> None:
    port, health, ready = (free_port() for _ in range(3))
    text = block(
        port, forward(upstream), f"health 127.0.0.1:{health} {{\n  lameduck 2s\n }}", f"ready 127.0.0.1:{ready}"
    )
    with living(text) as server:
        eventually(lambda: status(ready, "/ready") == 200 and rcode(port) == "NOERROR", "it is ready")
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        eventually(lambda: status(ready, "/ready") == 503, "it says that it goes")
        assert (status(health, "/health"), rcode(port)) == (200, "NOERROR")
        stopping.join()
        assert rcode(port) == ""


def test_changed_settings_are_taken_and_what_did_not_change_is_kept(upstream: ScriptedUpstream) -> None:
    first, second = free_port(), free_port()
    kept = [forward(upstream), "cache 60"]
    with living(block(first, *kept)) as server:
        eventually(lambda: rcode(first) == "NOERROR", "it answers")
        server.reload(
            block(first, *kept, "hosts {\n  192.0.2.9 new.example.org\n  fallthrough\n }") + block(second, *kept)
        )
        new = question("new.example.org.")
        eventually(lambda: rcode(first, new) == "NOERROR", "the new settings are served")
        assert (rcode(first), rcode(second)) == ("NOERROR", "NOERROR")
        assert sum("plain" in one for one in upstream.asked) == 1, "the cache lost its content"
        server.reload(block(second, *kept))
        eventually(lambda: rcode(first) == "", "the first port is closed")
        assert rcode(second) == "NOERROR"
        assert server.failed() == 0


def test_an_upstream_by_its_name(upstream: ScriptedUpstream) -> None:
    port = free_port()
    with living(block(port, f"forward . localhost:{upstream.address[1]}")):
        eventually(lambda: rcode(port) == "NOERROR", "it answers")


@pytest.mark.parametrize(
    "bad",
    [
        "no such thing",
        "forward . /not/there",
        "forward . a.example {\n  resolver 127.0.0.1:1\n }",
        "bind no-such-interface",
        "kubernetes a {\n  kubeconfig /not/there\n }",
    ],
)
def test_settings_that_do_not_work_change_nothing(upstream: ScriptedUpstream, bad: str) -> None:
    port, other = free_port(), free_port()
    with living(block(port, forward(upstream))) as server:
        eventually(lambda: rcode(port) == "NOERROR", "it answers")
        server.reload(block(other, "errors") + block(port, bad))
        eventually(lambda: server.failed() == 1, "the failure is counted")
        assert (rcode(port), rcode(other)) == ("NOERROR", "")


def test_a_port_that_is_taken_changes_nothing(upstream: ScriptedUpstream) -> None:
    port = free_port()
    with living(block(port, forward(upstream))) as server, socket.create_server(("127.0.0.1", 0)) as taken:
        eventually(lambda: rcode(port) == "NOERROR", "it answers")
        server.reload(block(port, "errors") + block(taken.getsockname()[1], "errors"))
        eventually(lambda: server.failed() == 1, "the failure is counted")
        assert rcode(port) == "NOERROR"


def test_a_question_under_way_is_answered_over_a_change(upstream: ScriptedUpstream) -> None:
    port = free_port()
    with living(block(port, forward(upstream))) as server:
        eventually(lambda: rcode(port) == "NOERROR", "it answers")
        for number in range(5):
            server.reload(block(port, forward(upstream), f"cache {30 + number}"))
            assert all(said_in(one).rcode == "NOERROR" for one in over_tcp(("127.0.0.1", port), *[PLAIN] * 20))


def test_a_question_that_waits_for_its_upstream_is_answered_over_a_change(upstream: ScriptedUpstream) -> None:
    port = free_port()
    with living(block(port, forward(upstream))) as server, datagrams(("127.0.0.1", port), 10) as client:
        eventually(lambda: rcode(port) == "NOERROR", "it answers")
        upstream.away = True
        asked = len(upstream.asked)
        client.send(PLAIN)
        eventually(lambda: len(upstream.asked) > asked, "the upstream was asked")
        server.reload(block(port, "hosts {\n  192.0.2.9 new.example.org\n }"))
        eventually(lambda: rcode(port, question("new.example.org.")) == "NOERROR", "the change was taken")
        upstream.away = False
        assert said_in(client.recv(512)).rcode == "NOERROR"


def test_a_file_is_looked_at_every_so_often(upstream: ScriptedUpstream) -> None:
    port = free_port()
    with living(block(port, forward(upstream), "reload 2s 0")) as server:
        eventually(lambda: rcode(port) == "NOERROR", "it answers")
        server.text = block(port, "hosts {\n  192.0.2.9 new.example.org\n }")
        eventually(lambda: rcode(port, question("new.example.org.")) == "NOERROR", "the change was noticed")


def test_what_comes_back_ends_the_server() -> None:
    port = free_port()
    with living(block(port, f"forward . 127.0.0.1:{port}", "loop")) as server:
        eventually(server.is_over, "the loop was seen", 20)
    assert isinstance(server.error, LoopError)


def test_what_does_not_come_back_does_not(upstream: ScriptedUpstream) -> None:
    port = free_port()
    with living(block(port, forward(upstream), "loop")) as server:
        eventually(lambda: any("HINFO" in one for one in upstream.asked), "a loop was looked for")
        assert rcode(port) == "NOERROR"
    assert server.error is None


def test_a_hosts_file_is_read_again(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "hosts"
    file.write_text("192.0.2.1 a.example.org\n")
    with living(block(port, f"hosts {file} {{\n  reload 1s\n }}")) as server:
        eventually(lambda: rcode(port, question("a.example.org.")) == "NOERROR", "the file was read")
        file.write_text("192.0.2.1 a.example.org\n192.0.2.2 b.example.org\n")
        eventually(lambda: rcode(port, question("b.example.org.")) == "NOERROR", "the file was read again")
        assert server.metrics.get_sample_value("coredns_hosts_entries") == 2


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (block(0, "nonsense"), CorefileError),
        (block(0, "forward . /not/there"), OSError),
        (block(0, "bind nowhere"), OSError),
    ],
)
def test_settings_that_do_not_work_at_the_start_end_it(text: str, error: type[Exception]) -> None:
    with living(text) as server:
        eventually(server.is_over, "it ended")
    assert isinstance(server.error, error)

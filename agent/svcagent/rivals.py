"""Looks for another program that programs Services in the network namespace of the calling thread.

Its signs: who listens on kube-proxy's own ports answers as kube-proxy (or an agent of ours) does; or a process called
kube-proxy lives in this namespace. Our own listeners are no sign. Nothing is written anywhere, each question has a time
limit, and what cannot be read says nothing.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

import msgspec

from svcagent import status
from svcagent.conflict import MODES, Program, Rival

METRICS_PORT, HEALTHZ_PORT = 10249, 10256
SECONDS = 1.0
MOST_BYTES = 1 << 20
_LISTEN = "0A"  # TCP_LISTEN, include/net/tcp_states.h
_PROC = Path("/proc")


def look() -> Rival | None:
    """The first rival that is found."""
    for port, question in ((METRICS_PORT, _at_metrics), (HEALTHZ_PORT, _at_healthz)):
        inodes = _listening(port)
        if not inodes or _holds(_PROC / "self", inodes):
            continue
        if answer := question():
            program, sign = answer
            pid = next((each for each in _pids() if _holds(_PROC / str(each), inodes)), 0)
            return _rival(program, sign, pid)
    pid = next((each for each in _pids() if _command(each) == "kube-proxy" and _is_here(each)), 0)
    return _rival("kube-proxy", "it runs in this network namespace", pid) if pid else None


def _at_metrics() -> tuple[Program, str] | None:
    mode = (_ask(METRICS_PORT, "/proxyMode") or b"").decode(errors="replace").strip()
    if mode not in MODES:
        return None
    sign = f"http://127.0.0.1:{METRICS_PORT}/proxyMode says {mode}"
    with suppress(status.ForeignStatusError):
        found = status.read(_ask(METRICS_PORT, status.PATH) or b"")
        return "svcplane-agent", f"{sign}, {status.PATH} says version {found.version}"
    return "kube-proxy", sign


class _Health(msgspec.Struct, rename="camel"):
    """What /healthz of kube-proxy must say, whatever else it says."""

    last_updated: str
    current_time: str


def _at_healthz() -> tuple[Program, str] | None:
    with suppress(msgspec.DecodeError):
        msgspec.json.decode(_ask(HEALTHZ_PORT, "/healthz") or b"", type=_Health)
        return "kube-proxy", f"http://127.0.0.1:{HEALTHZ_PORT}/healthz answers as kube-proxy does"
    return None


def _ask(port: int, path: str) -> bytes | None:
    """The body, also of an answer that says "not well"; None if there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        known = answer.status in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE)
        return answer.read(MOST_BYTES) if known else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _listening(port: int) -> frozenset[str]:
    """The sockets, as /proc/PID/fd shows them, that listen on a TCP port in this namespace."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in _text(_PROC / "thread-self" / "net" / table).splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return frozenset(found)


def _pids() -> Iterator[int]:
    return (int(name) for name in sorted(os.listdir(_PROC)) if name.isdecimal())


def _holds(process: Path, sockets: frozenset[str]) -> bool:
    with suppress(OSError):
        for entry in os.scandir(process / "fd"):
            with suppress(OSError):
                if os.readlink(entry.path) in sockets:
                    return True
    return False


def _is_here(pid: int) -> bool:
    """Whether a process lives in the network namespace of this thread, and lives."""
    with suppress(OSError):
        here, there = ((_PROC / str(each) / "ns" / "net").readlink() for each in ("thread-self", pid))
        return here == there
    return False


def _rival(program: Program, sign: str, pid: int) -> Rival:
    if not pid:
        return Rival(program, sign)
    return Rival(program, sign, pid, _command(pid), _text(_PROC / str(pid) / "cgroup"))


def _command(pid: int) -> str:
    return _text(_PROC / str(pid) / "comm").strip()


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

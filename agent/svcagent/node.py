"""What the agent reads and sets on the node itself: its name, and sysctls.

All of it concerns the network namespace of the calling thread. A sysctl that cannot be written (in a namespace some are
read-only) is reported and not fatal.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from svcagent.options import Conntrack, Options

SYSCTL = Path("/proc/sys/net")
MAX_CONNTRACK = 1 << 20


def name(override: str) -> str:
    """The name of this node's Node object: the override or the hostname, lower case."""
    return (override.strip() or socket.gethostname()).lower()


def conntrack_max(settings: Conntrack, cores: int) -> int:
    """The wanted nf_conntrack_max, 0 to leave it alone."""
    if not settings.max_per_core:
        return 0
    return max(settings.min, min(settings.max_per_core * cores, MAX_CONNTRACK))


def wanted_sysctls(options: Options, cores: int) -> Iterator[tuple[str, int]]:
    """(path below /proc/sys/net, value) of everything that the options ask for."""
    settings = options.conntrack
    if maximum := conntrack_max(settings, cores):
        yield "netfilter/nf_conntrack_max", maximum
    timeouts = {
        "tcp_timeout_established": settings.tcp_timeout_established,
        "tcp_timeout_close_wait": settings.tcp_timeout_close_wait,
        "udp_timeout": settings.udp_timeout,
        "udp_timeout_stream": settings.udp_timeout_stream,
    }
    for suffix, seconds in timeouts.items():
        if seconds:
            yield f"netfilter/nf_conntrack_{suffix}", int(seconds)
    if settings.tcp_be_liberal:
        yield "netfilter/nf_conntrack_tcp_be_liberal", 1
    if options.localhost_nodeports:
        # So that a packet to 127.0.0.1:NODEPORT may leave for a pod after DNAT.
        yield "ipv4/conf/all/route_localnet", 1


def set_sysctls(options: Options) -> list[str]:
    """Sets what is not set yet; returns a sentence for each value that could not be."""
    failures = []
    for path, value in wanted_sysctls(options, os.cpu_count() or 1):
        file = SYSCTL / path
        try:
            if int(file.read_text().split()[0]) != value:
                file.write_text(f"{value}\n")
        except (OSError, ValueError) as error:
            failures.append(f"sysctl net.{path.replace('/', '.')} = {value}: {error}")
    return failures


def conntrack_is_liberal() -> bool:
    """Whether conntrack takes packets out of the window for valid: then INVALID ones need not be dropped."""
    try:
        return int((SYSCTL / "netfilter/nf_conntrack_tcp_be_liberal").read_text()) != 0
    except (OSError, ValueError):
        return False


def set_oom_score(score: int) -> list[str]:
    """How ready the kernel is to end this process when memory runs out (proc(5)); a sentence if it cannot be set."""
    file = Path("/proc/self/oom_score_adj")
    try:
        if int(file.read_text()) != score:
            file.write_text(f"{score}\n")
    except (OSError, ValueError) as error:
        return [f"oom_score_adj = {score}: {error}"]
    return []

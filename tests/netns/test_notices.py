"""What the kernel announces, and what a fingerprint tells, in a namespace of the test's own."""

from __future__ import annotations

import itertools
import os
import queue
import subprocess
from collections.abc import Iterator

import pytest

from svclab.netns import PREFIX, Host
from svcnet import notices
from svcnet.rules import Family

pytestmark = pytest.mark.netns

Inbox = queue.SimpleQueue[int]


@pytest.fixture
def host() -> Iterator[Host]:
    found = Host(f"{PREFIX}t{os.getpid()}-notices").create()
    try:
        yield found
    finally:
        found.remove()


def started(*argv: str, text: str = "") -> int:
    """The process ID of a command that has ended well."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, text=True) as running:
        running.communicate(text, timeout=30)
    assert running.returncode == 0
    return running.pid


def test_a_transaction_is_told_with_its_writer_and_its_chains(host: Host) -> None:
    inbox: queue.SimpleQueue[tuple[int, notices.Named | None]] = queue.SimpleQueue()
    with host.entered():
        following = notices.rule_changes(lambda *commit: inbox.put(commit))

        def told(*argv: str, text: str = "") -> notices.Named | None:
            writer = started(*argv, text=text)
            named = inbox.get(timeout=5)
            assert named[0] == writer
            return named[1]

        assert told("iptables-nft", "-t", "nat", "-N", "ONE") is None, "a table has come: who knows with what"
        assert told("iptables-nft", "-t", "nat", "-N", "TWO") == {("IPv4", "nat", "TWO")}
        assert told("iptables-nft", "-t", "nat", "-A", "TWO", "-j", "ONE") == {("IPv4", "nat", "TWO")}
        assert told("iptables-nft", "-t", "nat", "-F", "TWO") == {("IPv4", "nat", "TWO")}
        assert ("IPv4", "nat", "OUTPUT") in (told("iptables-nft", "-t", "nat", "-I", "OUTPUT", "-j", "ONE") or ())
        rules = "".join(f":C{n} - [0:0]\n-A C{n} -j ACCEPT\n" for n in range(2000))
        assert told("iptables-nft-restore", "--noflush", text=f"*nat\n{rules}COMMIT\n") is None, "too many"
        assert told("nft", "add table inet theirs { chain one { }; }") == frozenset()
        assert told("iptables-nft", "-t", "nat", "-X", "TWO") == {("IPv4", "nat", "TWO")}, "all is known again"
        following.close()
        started("iptables-nft", "-t", "nat", "-N", "TWO")
    assert inbox.empty(), "nothing comes after close, and two thousand chains are one notice"


def test_an_address_is_told(host: Host) -> None:
    inbox: Inbox = queue.SimpleQueue()
    with host.entered():
        following = notices.address_changes(inbox.put)
        host.add_address("lo", "192.0.2.1/32")
        inbox.get(timeout=5)
        host.add_address("lo", "2001:db8::1/128")
        inbox.get(timeout=5)
        following.close()


@pytest.mark.parametrize(("family", "command"), [("IPv4", "iptables-legacy"), ("IPv6", "ip6tables-legacy")])
def test_a_fingerprint_follows_every_rule(host: Host, family: Family, command: str) -> None:
    with host.entered():
        seen = [notices.fingerprint(family, "filter", "nat")]
        for words in (("-N", "ONE"), ("-A", "ONE", "-j", "ACCEPT"), ("-I", "OUTPUT", "-j", "ONE"), ("-F",)):
            started(command, "-t", "nat", *words)
            seen.append(notices.fingerprint(family, "filter", "nat"))
            assert seen[-1] != seen[-2], words
        assert notices.fingerprint(family, "filter", "nat") == seen[-1]
        # A chain is two entries, its head and its end; a rule is one.
        assert [notices.entries(each) - notices.entries(seen[0]) for each in seen] == [0, 2, 3, 4, 2]


def test_the_generation_is_another_one_after_every_transaction_and_no_other_time(host: Host) -> None:
    with host.entered():
        found = []
        for chain in ("ONE", "TWO"):
            found += [notices.generation(), notices.generation()]
            started("iptables-nft", "-t", "nat", "-N", chain)
        started("iptables-nft", "-t", "nat", "-L", "ONE")
        found += [notices.generation(), notices.generation()]
    assert [one == other for one, other in itertools.pairwise(found)] == [True, False, True, False, True]

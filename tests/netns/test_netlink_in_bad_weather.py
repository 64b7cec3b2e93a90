"""Writing by netlink where sockets are small, where others write too, and where the kernel says: not now."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from support.dumps import difference, normal
from support.site import lone_host
from svclab.netns import Host
from svcnet import nftwriter
from svcnet.rules import RETURN, Comment, Jump, Rule
from svcnet.transactions import Change, batches
from svcnet.writers import Iptables, IptablesError

pytestmark = pytest.mark.netns

IPTABLES = Iptables("IPv4", "nft")


@pytest.fixture
def host() -> Iterator[Host]:
    with lone_host("weather") as found, found.entered():
        yield found


def chains(count: int, rules: int = 10) -> dict[str, tuple[Rule, ...]]:
    """So many chains of so many rules, each chain with a jump to the next."""
    texts = tuple(Rule(matches=(Comment(f"ns/web rule {number}"),), target=RETURN) for number in range(rules))
    linked = {f"CHAIN-{each}": (*texts, Rule(target=Jump(f"CHAIN-{each + 1}"))) for each in range(count - 1)}
    return {**linked, f"CHAIN-{count - 1}": texts}


SMALL = """
import sys
from netns.test_netlink_in_bad_weather import IPTABLES, chains
from svcnet import nftwriter
from svcnet.transactions import Change
nftwriter.batches.__defaults__ = (1 << 30,)
nftwriter.write("IPv4", [Change("nat", chains(int(sys.argv[1]), 100))])
print(sum(line.startswith("-A CHAIN-") for line in IPTABLES.dump("nat").splitlines()))
"""


def test_a_socket_that_cannot_be_made_larger_gets_the_batch_in_pieces(host: Host) -> None:
    """In a user namespace nobody may force a buffer: twice net.core.wmem_max is the most."""
    (batch,) = batches("IPv4", [Change("nat", chains(10, 100))])
    with open("/proc/sys/net/core/wmem_max") as file:
        count = 25 * int(file.read()) // len(batch.data())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XTABLES_LOCKFILE": "/dev/null"}
    argv = ("unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", SMALL, str(count))
    done = subprocess.run(argv, capture_output=True, text=True, env=environment)
    assert done.stderr == ""
    assert int(done.stdout) == 101 * count - 1


def test_somebody_else_writes_all_the_time(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither loses a rule: theirs and ours are all there at the end."""
    monkeypatch.setattr(nftwriter.batches, "__defaults__", (20_000,))
    stop, theirs = threading.Event(), []

    def write() -> None:
        with host.entered():
            while not stop.is_set():
                theirs.append(f"THEIRS-{len(theirs)}")
                IPTABLES.run("-t", "nat", "-N", theirs[-1])
                IPTABLES.run("-t", "nat", "-A", "OUTPUT", "-j", theirs[-1])

    wanted = chains(200)
    other = threading.Thread(target=write)
    other.start()
    try:
        rounds = 0
        while len(theirs) < 30 or rounds < 5:
            nftwriter.write("IPv4", [Change("nat", wanted)])
            rounds += 1
    finally:
        stop.set()
        other.join()
    found = normal(IPTABLES.dump("nat"))
    assert found["nat", "OUTPUT"] == [f"-j {name}" for name in theirs]
    ours = {key: texts for key, texts in found.items() if key[1].startswith("CHAIN-")}
    alone = nftwriter.apart(lambda: (nftwriter.write("IPv4", [Change("nat", wanted)]), IPTABLES.dump("nat"))[1])
    assert difference(ours, {key: texts for key, texts in normal(alone).items() if key[1] in wanted}) == ""


class Reluctant:
    """A netlink socket whose first sends fail with this error."""

    def __init__(self, number: int, times: int) -> None:
        self.number, self.times = number, times
        self.sent: list[bytes] = []

    def setsockopt(self, *_: int) -> None:
        pass

    def send(self, data: bytes) -> None:
        if self.times:
            self.times -= 1
            raise OSError(self.number, os.strerror(self.number))
        self.sent.append(data)

    def recv(self, *_: int) -> bytes:
        raise BlockingIOError


(BATCH,) = batches("IPv4", [Change("nat", chains(4))])


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ERESTART], ids=errno.errorcode.get)
def test_not_now_is_tried_again_as_a_whole_and_a_little_later_each_time(number: int) -> None:
    pauses: list[float] = []
    kernel = Reluctant(number, 3)
    nftwriter._send(kernel, BATCH, pauses.append)  # type: ignore[arg-type]  # as much of a socket as is used
    assert kernel.sent == [BATCH.data()]
    assert pauses == [nftwriter.PAUSE * 2**each for each in range(3)]


@pytest.mark.parametrize("number", [errno.EMSGSIZE, errno.ENOBUFS, errno.ENOMEM], ids=errno.errorcode.get)
def test_too_large_goes_in_halves_in_order(number: int) -> None:
    kernel = Reluctant(number, 1)
    nftwriter._send(kernel, BATCH, pytest.fail)  # type: ignore[arg-type]  # as above; and nothing is waited for
    halves = BATCH.halves()
    assert halves is not None
    assert kernel.sent == [half.data() for half in halves]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOENT, errno.EBUSY], ids=errno.errorcode.get)
def test_what_stays_refused_is_told(number: int) -> None:
    pauses: list[float] = []
    with pytest.raises(IptablesError, match=os.strerror(number)):
        nftwriter._send(Reluctant(number, 99), BATCH, pauses.append)  # type: ignore[arg-type]  # as above
    assert len(pauses) == (nftwriter.TRIES - 1 if number == errno.EBUSY else 0)

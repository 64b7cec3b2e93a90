"""Foreign hands are noticed when they move, not at the next audit: here no audit comes within the hour."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.dumps import normal
from support.running import Running, wrap
from support.site import lone_host
from support.waiting import eventually
from svclab.netns import Host
from svcnet.writers import Flavour, Iptables

pytestmark = pytest.mark.netns

Start = Callable[..., Running]


@pytest.fixture(params=["nft", "legacy"])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    found: Flavour = request.param
    return found


@pytest.fixture
def host() -> Iterator[Host]:
    with lone_host("seen") as found:
        yield found


@pytest.fixture
def start(host: Host, flavour: Flavour) -> Iterator[Start]:
    running: list[Running] = []

    def started(*flags: str) -> Running:
        running.append(Running(host, flavour, *flags))
        return running[-1]

    yield started
    for each in running:
        each.stop()


@pytest.mark.parametrize(
    "words",
    [("-t", "nat", "-F"), ("-t", "nat", "-D", "KUBE-SERVICES", "1"), ("-t", "filter", "-F", "FORWARD")],
    ids=["nat flushed", "one rule deleted", "hooks flushed"],
)
def test_what_others_change_is_put_right(start: Start, host: Host, flavour: Flavour, words: tuple[str, ...]) -> None:
    agent = start()
    before = normal(agent.dump())
    host.run(f"iptables-{flavour}", *words)
    eventually(lambda: agent.healed() and normal(agent.dump()) == before, "the rules are as before")


CLOSE = [
    ("a rule of a service's deleted", "-t nat -D KUBE-SVC-XXX 1", 1),
    ("a chain flushed", "-t nat -F KUBE-SEP-XXX", 1),
    ("a rule inserted", "-t nat -I KUBE-SERVICES -j RETURN", 1),
    ("a hook deleted", "-t nat -D OUTPUT 1", 0),
    ("a base chain flushed", "-t nat -F KUBE-MARK-MASQ", 1),
    ("a chain by a name of ours", "-t nat -N KUBE-SVC-AAAAAAAAAAAAAAAA", 1),
    ("a canary deleted", "-t nat -X KUBE-PROXY-CANARY", 1),
    ("a filter chain's rule", "-t filter -I KUBE-FORWARD -j RETURN", 1),
]


@pytest.mark.parametrize(("words", "chains"), [row[1:] for row in CLOSE], ids=[row[0] for row in CLOSE])
def test_few_changed_chains_are_read_and_written_for_themselves(
    host: Host, words: str, chains: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Running(host, "nft")
    try:
        before = normal(agent.dump())
        written = agent.metric("svcplane_chains_written_total")
        looks = tmp_path / "looks"
        wrap("iptables-nft-save", tmp_path, f'echo >> {looks}; exec "$real" "$@"', monkeypatch)
        agent.run("-t", "nat", "-N", "THEIRS")  # concerns nobody
        kind = words.partition("-XXX")[0].rpartition(" ")[2]
        one = next((name for _, name in before if name.startswith(kind)), "")
        agent.run(*words.replace(f"{kind}-XXX", one).split())
        eventually(agent.healed, "it is healed")
        eventually(lambda: agent.metric("svcplane_chains_written_total") == written + chains, "so many chains")
        assert not looks.exists(), "nothing else is looked at"
        agent.run("-t", "nat", "-X", "THEIRS")
        assert normal(agent.dump()) == before
        assert agent.healed() == 1
    finally:
        agent.stop()


def test_what_concerns_others_is_left_alone(start: Start, host: Host, flavour: Flavour) -> None:
    agent = start()
    host.run(f"iptables-{flavour}", "-t", "nat", "-N", "DOCKER")
    host.run(f"iptables-{flavour}", "-t", "nat", "-A", "DOCKER", "-j", "RETURN")
    host.run(f"iptables-{flavour}", "-t", "nat", "-F", "KUBE-MARK-MASQ")
    eventually(agent.healed, "the change after them is healed, so they have been looked at")
    assert agent.healed() == 1
    assert "-A DOCKER -j RETURN" in agent.dump()


def test_node_ports_follow_the_nodes_addresses(start: Start, host: Host) -> None:
    agent = start("--nodeport-addresses", "192.0.2.0/24")
    tail = "-d 192.0.2.7/32 -m comment"
    assert tail not in agent.dump()
    host.add_address("lo", "192.0.2.7/32")
    eventually(lambda: tail in agent.dump(), "the new address serves node ports")
    subprocess.run(["ip", "-n", host.name, "addr", "del", "192.0.2.7/32", "dev", "lo"], check=True)
    eventually(lambda: tail not in agent.dump(), "the lost address serves none")


# -- beside Docker, ufw, firewalld, and what restores a saved firewall

THEIRS = """*mangle
:UFW-MARK - [0:0]
-A PREROUTING -j UFW-MARK
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
:ufw-before-forward - [0:0]
-A INPUT -i lo -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -j ufw-before-forward
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-USER -j RETURN
-A ufw-before-forward -p icmp -j ACCEPT
COMMIT
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
COMMIT
"""
FLUSHED = "for t in mangle filter nat; do $ipt -t $t -F; $ipt -t $t -X; done"
TO_THE_HEAD = "$ipt -D FORWARD -j DOCKER-USER; $ipt -I FORWARD -j DOCKER-USER"
UFW = "*filter\n:ufw-before-forward - [0:0]\n-A ufw-before-forward -p icmp -j ACCEPT\nCOMMIT\n"

RELOADS = [
    ("a saved firewall restored over everything", "$ipt-restore", THEIRS),
    ("every table flushed, then theirs restored", f"{FLUSHED}; $ipt-restore", THEIRS),
    ("FORWARD flushed and their jumps put back", "$ipt -F FORWARD; $ipt-restore -n", THEIRS[THEIRS.index("*filter") :]),
]


def reload(host: Host, flavour: Flavour, script: str, text: str = "") -> None:
    argv = host.argv("sh", "-ec", script.replace("$ipt", f"iptables-{flavour}"))
    subprocess.run(argv, input=text, text=True, check=True)


def foreign(dump: str) -> list[str]:
    """The rules that neither stand in chains of ours nor jump there."""
    return [line for line in dump.splitlines() if line.startswith("-A") and "KUBE-" not in line]


def ours(dump: str) -> dict[tuple[str, str], list[str]]:
    """Our chains, and our jumps in everybody's."""
    found = {key: [text for text in texts if "KUBE-" in key[1] + text] for key, texts in normal(dump).items()}
    return {key: texts for key, texts in found.items() if texts or "KUBE-" in key[1]}


@pytest.mark.parametrize(("script", "text"), [row[1:] for row in RELOADS], ids=[row[0] for row in RELOADS])
def test_reloads_of_others_are_survived(start: Start, host: Host, flavour: Flavour, script: str, text: str) -> None:
    with host.entered():
        Iptables("IPv4", flavour).restore(THEIRS)
    agent = start()
    before = agent.dump()
    reload(host, flavour, script, text)
    eventually(lambda: agent.healed() and ours(agent.dump()) == ours(before), "our rules are back")
    reload(host, flavour, "$ipt -t nat -F KUBE-MARK-MASQ")
    eventually(lambda: ours(agent.dump()) == ours(before), "the next change is healed too")
    assert set(foreign(agent.dump())) == set(foreign(before))
    assert ":FORWARD DROP" in agent.dump()
    assert agent.healed() <= 9, "not more often than they wrote: eight commands, and the one above"


@pytest.mark.parametrize(
    ("script", "text"), [(TO_THE_HEAD, ""), ("$ipt-restore -n", UFW)], ids=["Docker to the head", "ufw its chains"]
)
def test_nobody_fights_over_the_head_of_a_chain(
    start: Start, host: Host, flavour: Flavour, script: str, text: str
) -> None:
    with host.entered():
        Iptables("IPv4", flavour).restore(THEIRS)
    agent = start()
    reload(host, flavour, script, text)
    after = agent.dump()
    reload(host, flavour, "$ipt -t nat -F KUBE-MARK-MASQ")
    eventually(agent.healed, "a change after theirs is healed, so theirs has been looked at")
    assert agent.healed() == 1
    kept = [line for line in after.splitlines() if line.startswith("-A FORWARD")]
    assert [line for line in agent.dump().splitlines() if line.startswith("-A FORWARD")] == kept
    assert kept[0].endswith("-j DOCKER-USER") == (script == TO_THE_HEAD)

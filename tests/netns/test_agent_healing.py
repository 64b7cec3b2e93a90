"""Other hands on the same tables: what they change of ours is put right, what is theirs is never touched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.dumps import Normal, normal
from support.nodes import CLUSTER_CIDR
from support.restored import BUILT_IN
from support.site import lone_host
from support.stepped import Stepped
from support.worlds import endpoint, service, slice_of
from svcagent import sync
from svcagent.names import CANARY
from svclab.netns import Host
from svcnet.rules import FAMILIES
from svcnet.writers import Flavour, Iptables

pytestmark = pytest.mark.netns

FOREIGN = """*filter
:DOCKER-USER - [0:0]
:KUBE-KUBELET-NOT-OURS - [0:0]
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -p tcp -m tcp --dport 25 -j DROP
COMMIT
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
COMMIT
*mangle
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
COMMIT
"""
WEB = service(ports=[{"port": 80, "nodePort": 30080}], externalIPs=["203.0.113.1"])
DNS = service(
    "dns", clusterIP="10.96.0.11", clusterIPs=["10.96.0.11", "fd00:10:96::b"], ports=[{"port": 53, "protocol": "UDP"}]
)
SLICES = (
    slice_of("web", endpoint("10.244.1.1"), endpoint("10.244.1.2")),
    slice_of("web", endpoint("fd00:10:244:1::1"), name="web-six", family="IPv6"),
)
OBJECTS = (WEB, DNS, *SLICES)


@pytest.fixture(params=["nft", "legacy"])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    found: Flavour = request.param
    return found


@pytest.fixture
def host(flavour: Flavour) -> Iterator[Host]:
    """A host where other programs have rules already, entered."""
    with lone_host("heal") as found, found.entered():
        for family in FAMILIES:
            Iptables(family, flavour).restore(FOREIGN if family == "IPv4" else SIX)
        yield found


SIX = "*filter\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n"


def started(flavour: Flavour) -> Stepped:
    stepped = Stepped(flavour, "--cluster-cidr", CLUSTER_CIDR)
    stepped.start(*OBJECTS)
    return stepped


def held(flavour: Flavour) -> list[Normal]:
    """What the kernel holds of both families; an empty built-in chain is as good as none."""
    found = [normal(Iptables(family, flavour).dump()) for family in FAMILIES]
    return [{key: rules for key, rules in each.items() if rules or key[1] not in BUILT_IN[key[0]]} for each in found]


HOOK = "-m comment --comment 'kubernetes service portals' -j KUBE-SERVICES"
TAMPERINGS = [
    ("one chain flushed", "-t nat -F KUBE-SERVICES"),
    ("one rule deleted", "-t nat -D KUBE-POSTROUTING 2"),
    ("one rule inserted", "-t nat -I KUBE-NODEPORTS -j RETURN"),
    ("a hook deleted", f"-t nat -D PREROUTING {HOOK}"),
    ("the guard of loopback flushed", "-t filter -F KUBE-FIREWALL"),
    ("a canary deleted", f"-t mangle -X {CANARY}"),
    ("a chain by a name of ours", "-t nat -N KUBE-SVC-AAAAAAAAAAAAAAAA"),
]


@pytest.mark.parametrize("command", [row[1] for row in TAMPERINGS], ids=[row[0] for row in TAMPERINGS])
@pytest.mark.parametrize("most", [sync.MOST_MENDED, -1], ids=["by chains", "by a full pass"])
def test_what_others_change_of_ours_is_put_right_by_the_next_audit(
    host: Host, flavour: Flavour, command: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "MOST_MENDED", most)
    stepped = started(flavour)
    before = held(flavour)
    subprocess.run(["sh", "-c", f"iptables-{flavour} {command}"], check=True)
    assert held(flavour) != before
    stepped.run(31)
    assert held(flavour) == before
    assert stepped.metric("svcplane_healed_total") == 1
    stepped.run(300)
    assert stepped.metric("svcplane_healed_total") == 1, "what is right is left in peace"


def test_a_table_flushed_as_a_whole_gets_ours_back_and_nothing_else(host: Host, flavour: Flavour) -> None:
    stepped = started(flavour)
    before = held(flavour)[0]
    Iptables("IPv4", flavour).run("-t", "nat", "-F")
    stepped.run(31)
    after = held(flavour)[0]
    assert [key for key in before if before[key] != after.get(key)] == [
        ("nat", "PREROUTING"),
        ("nat", "POSTROUTING"),
        ("nat", "DOCKER"),
    ]
    for hook in ("PREROUTING", "POSTROUTING"):
        assert after["nat", hook] == [text for text in before["nat", hook] if "KUBE-" in text]


def test_what_others_do_beside_ours_is_not_touched(host: Host, flavour: Flavour) -> None:
    stepped = started(flavour)
    written = stepped.metric("svcplane_chains_written_total")
    for command in ("-t nat -N MINE", "-t nat -A MINE -j RETURN", "-I INPUT -j ACCEPT", "-t nat -A OUTPUT -j MINE"):
        Iptables("IPv4", flavour).run(*command.split())
    before = held(flavour)
    stepped.run(300)
    assert held(flavour) == before
    assert stepped.metric("svcplane_chains_written_total") == written
    assert stepped.metric("svcplane_healed_total") == 0


def test_a_second_start_on_a_programmed_node_writes_nothing(host: Host, flavour: Flavour) -> None:
    assert started(flavour).metric("svcplane_chains_written_total") > 10
    before = held(flavour)
    again = started(flavour)
    for family in FAMILIES:
        assert again.metric("kubeproxy_sync_full_proxy_rules_duration_seconds_count", family) == 1
        assert again.metric("svcplane_chains_written_total", family) == 0
    assert held(flavour) == before


def test_a_start_after_changes_writes_only_what_changed(host: Host, flavour: Flavour) -> None:
    started(flavour)
    again = Stepped(flavour, "--cluster-cidr", CLUSTER_CIDR)
    again.start(WEB, DNS, slice_of("web", endpoint("10.244.1.1"), endpoint("10.244.1.3")), SLICES[1])
    # KUBE-SVC of the service, KUBE-SEP of the endpoint that came, KUBE-SEP of the one that went
    assert again.metric("svcplane_chains_written_total", "IPv4") == 3
    assert again.metric("svcplane_chains_written_total", "IPv6") == 0


def test_cleanup_leaves_what_was_there_before_the_agent_came(host: Host, flavour: Flavour) -> None:
    before = held(flavour)
    started(flavour)
    assert held(flavour) != before
    program = Path(sys.executable).parent / "svcplane-agent"
    argv = (program, "cleanup", "--netns", host.name, "--iptables-flavour", flavour)
    for told in (2, 0):  # a line for each family; the second time there is nothing to do
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30)
        assert (len(done.stdout.splitlines()), done.stderr) == (told, "")
        assert held(flavour) == before


def test_a_flag_that_changes_rules_rewrites_them_at_the_next_start(host: Host, flavour: Flavour) -> None:
    started(flavour)
    again = Stepped(flavour, "--masquerade-all")
    again.start(*OBJECTS)
    assert again.metric("svcplane_chains_written_total") == 1, "the one KUBE-SVC- chain with endpoints"
    assert "! -s 10.244.0.0/16" not in Iptables("IPv4", flavour).dump()

"""The hosts of a lab without its daemons: who reaches whom, what a host sees, what the machine is left with."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.labs import plan_of, traces
from svclab.cluster import placement, places, removal, topology
from svclab.cluster.state import Lab

pytestmark = pytest.mark.netns

NOBODY = 9  # a port on which nobody listens: who refuses was reached


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(plan_of("a"), tmp_path_factory.mktemp("lab") / "state")
    made.save()
    try:
        topology.build(made)
        yield made
    finally:
        removal.remove(made)


def outcome(lab: Lab, source: str, address: str) -> str:
    """`refused` by the host that was reached, `lost`, or `no route`."""
    if source == "machine":
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    else:
        with placement.network(lab.plan.namespace(source)):
            client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with client:
        client.settimeout(1.0)
        try:
            client.connect((address, NOBODY))
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "lost"
        except OSError:
            return "no route"
    return "connected"


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        pytest.param("node1", "node2", "refused", id="node to node"),
        pytest.param("node1", "control", "refused", id="node to control plane"),
        pytest.param("control", "node2", "refused", id="control plane to node"),
        pytest.param("outside", "node1", "refused", id="outside to node"),
        pytest.param("node1", "machine", "refused", id="node to this machine"),
        pytest.param("machine", "node2", "refused", id="this machine to node"),
        pytest.param("machine", "outside", "refused", id="this machine to outside"),
        pytest.param("machine", "control", "refused", id="this machine to control plane"),
        pytest.param("node1", "203.0.113.80", "refused", id="node to internet"),
        pytest.param("outside", "203.0.113.53", "refused", id="outside to internet"),
        pytest.param("node2", "192.168.123.234", "refused", id="node to a server of one's own"),
        pytest.param("internet", "node1", "refused", id="internet to node"),
        pytest.param("internet", "10.244.0.5", "no route", id="the internet knows no pods"),
        pytest.param("node1", "127.0.0.1", "refused", id="loopback is up"),
        pytest.param("node1", "203.0.113.200", "no route", id="half of the internet is nobody"),
    ],
)
def test_reached(lab: Lab, source: str, target: str, expected: str) -> None:
    if target == "203.0.113.200":  # the router asks for three seconds who that is
        assert outcome(lab, source, target) in ("no route", "lost")
        return
    addresses = {**lab.plan.hosts, "machine": lab.plan.machine}
    assert outcome(lab, source, addresses.get(target, target)) == expected


def test_a_host_sees_its_own(lab: Lab) -> None:
    script = "hostname; cat /etc/resolv.conf; touch /run/here; ls /run"
    seen = {host: places.run_in(lab, host, ["sh", "-c", script]).stdout.split() for host in ("node1", "outside")}
    assert seen["node1"] == ["node1", "nameserver", "203.0.113.53", "here"]
    assert seen["outside"] == ["outside", "nameserver", "203.0.113.53", "here"]
    assert not Path("/run/here").exists()
    assert socket.gethostname() not in seen


def test_commands_of_a_host_share_its_run(lab: Lab) -> None:
    places.run_in(lab, "node2", ["touch", "/run/shared"])
    assert places.run_in(lab, "node/node2", ["ls", "/run/shared"]).returncode == 0
    assert places.run_in(lab, "node1", ["ls", "/run/shared"]).returncode != 0


def test_mounts_stay_with_the_host(lab: Lab, tmp_path: Path) -> None:
    done = places.run_in(lab, "node1", ["mount", "-t", "tmpfs", "none", str(tmp_path)])
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_exit_status_and_input_pass_through(lab: Lab) -> None:
    done = places.run_in(lab, "node1", ["sh", "-c", "cat; echo wrong >&2; exit 7"], text="in")
    assert (done.returncode, done.stdout, done.stderr) == (7, "in", "wrong\n")


def test_the_pool_is_led_to_a_node(lab: Lab) -> None:
    for host in ("outside", ""):
        topology.lead_pool(lab.plan, host, lab.plan.hosts["node2"])
        topology.lead_pool(lab.plan, host, lab.plan.hosts["node1"])
    address = lab.plan.lb_pool.partition("-")[0]
    for place in ("outside", "machine"):
        shown = places.run_in(lab, place, ["ip", "route", "get", address]).stdout
        assert f"via {lab.plan.hosts['node1']} " in shown


def test_what_is_missing_is_made_again(lab: Lab) -> None:
    for namespace in (lab.plan.namespace("node1"), lab.plan.namespace("outside")):
        subprocess.run(["ip", "netns", "delete", namespace], check=True)
    subprocess.run(["ip", "link", "delete", lab.plan.link], check=True)
    topology.build(lab)
    assert outcome(lab, "machine", lab.plan.hosts["node1"]) == "refused"
    assert outcome(lab, "outside", lab.plan.hosts["node1"]) == "refused"


def test_the_segment_is_made_again(lab: Lab) -> None:
    subprocess.run(["ip", "netns", "delete", lab.plan.namespace("segment")], check=True)
    topology.build(lab)
    assert outcome(lab, "node1", "203.0.113.80") == "refused"
    assert outcome(lab, "machine", lab.plan.hosts["node2"]) == "refused"


def test_a_folder_on_itself_is_mounted(tmp_path: Path) -> None:
    """As /run/netns is: the lab must not unmount what was there before it."""
    assert not topology.is_mounted(tmp_path)
    subprocess.run(["mount", "--bind", tmp_path, tmp_path], check=True)
    try:
        assert topology.is_mounted(tmp_path)
    finally:
        topology.unmount(tmp_path)
    assert not topology.is_mounted(tmp_path)


def test_nothing_is_left(tmp_path: Path) -> None:
    lab = Lab(plan_of("b", nodes=1), tmp_path / "state")
    lab.save()
    topology.build(lab)
    with placement.network(lab.plan.namespace("node1")):
        lingering = subprocess.Popen(["sleep", "1000"])
    try:
        assert len(traces(lab.plan, lab.folder)) > 5
        removal.remove(lab)
        assert lingering.wait(5) != 0
        assert traces(lab.plan, lab.folder) == []
        removal.remove(lab)
    finally:
        lingering.kill()
        lingering.wait()


@pytest.mark.parametrize("made", [0, 1, 2, 3, 4])
def test_half_of_it_goes_too(tmp_path: Path, made: int) -> None:
    """An `up` that was killed after so many namespaces."""
    lab = Lab(plan_of("c", nodes=1), tmp_path / "state")
    lab.save()
    topology.build(lab)
    for namespace in lab.plan.namespaces[made:]:
        subprocess.run(["ip", "netns", "delete", namespace], check=True)
    removal.remove(lab)
    assert traces(lab.plan, lab.folder) == []

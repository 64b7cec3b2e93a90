"""Whole labs: up, killed at random, up again, down; nothing of them is left."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.labs import PROGRAM, lab_command, plan_of, traces
from support.waiting import eventually
from svclab import processes
from svclab.cluster import belongings, launching, places, state, topology
from svclab.cluster.plan import Plan
from svclab.cluster.state import Lab

pytestmark = [pytest.mark.netns, pytest.mark.timeout(300)]

# Other ranges than the default ones, as users have them.
OTHER_RANGES = {"cluster_cidr": "10.233.64.0/18", "service_cidr": "10.233.0.0/18"}
THIRD_RANGES = {"cluster_cidr": "10.1.0.0/16", "service_cidr": "10.233.0.0/18"}


def which(plan: Plan, folder: Path) -> list[str]:
    """The flags that every command needs to find the lab."""
    return ["--name", plan.name, "--state", str(folder)]


def flags(plan: Plan, folder: Path) -> list[str]:
    """The flags of `up`."""
    return [
        *which(plan, folder),
        *("--nodes", str(plan.nodes)),
        *("--cluster-cidr", plan.cluster_cidr),
        *("--service-cluster-ip-range", plan.service_cidr),
        *("--node-cidr", plan.node_cidr),
        *("--lb-pool", plan.lb_pool),
    ]


def status(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab_command("status", "--json", *which(lab.plan, lab.folder)).stdout)
    return found


def pids(lab: Lab) -> dict[str, int]:
    return {each["name"]: each["pid"] for each in status(lab)["daemons"]}


def await_well(lab: Lab) -> None:
    eventually(lambda: status(lab)["healthy"], f"all of lab {lab.plan.name} runs", seconds=40)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two nodes, ranges that are not the default ones."""
    plan = plan_of("m", nodes=2, **OTHER_RANGES)
    found = Lab(plan, tmp_path_factory.mktemp("lab") / "state")
    try:
        done = lab_command("up", *flags(plan, found.folder))
        assert done.returncode == 0, done.stderr
        yield found
    finally:
        done = lab_command("down", *which(plan, found.folder))
    assert done.returncode == 0, done.stderr
    assert traces(plan, found.folder) == []


def test_status(lab: Lab) -> None:
    found = status(lab)
    assert found["healthy"], found
    assert [(each["name"], each["state"]) for each in found["nodes"]] == [("node1", "Ready"), ("node2", "Ready")]
    assert all(each["podCIDR"].startswith("10.233.") for each in found["nodes"])
    assert all(each["restarts"] == 0 for each in found["daemons"])
    shown = lab_command("status", *which(lab.plan, lab.folder))
    assert shown.returncode == 0
    assert f"export KUBECONFIG={lab.admin_conf}" in shown.stdout


def test_up_again_changes_nothing(lab: Lab) -> None:
    before = pids(lab)
    assert lab_command("up", *which(lab.plan, lab.folder)).returncode == 0
    assert pids(lab) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["--nodes", "3"], "--nodes is 2, not 3", id="other nodes"),
        pytest.param(["--cluster-cidr", "10.244.0.0/16"], "--cluster-cidr is 10.233.64.0/18, not", id="other pods"),
        pytest.param(["--nodes", "2", "--lb-pool", ""], "not empty", id="no pool"),
    ],
)
def test_up_otherwise_is_refused(lab: Lab, words: list[str], said: str) -> None:
    done = lab_command("up", *which(lab.plan, lab.folder), *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert status(lab)["healthy"]


def test_another_lab_may_not_have_its_range(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    words = ["--name", f"t{os.getpid()}n", "--state", str(folder), "--node-cidr", lab.plan.node_cidr, "--lb-pool", ""]
    done = lab_command("up", *words)
    assert done.returncode == 1
    assert f"--node-cidr {lab.plan.node_cidr} is taken on this machine" in done.stderr
    assert f"interface {lab.plan.link} has {lab.plan.machine}/24, another lab's" in done.stderr
    assert not folder.exists()


def test_kubectl(lab: Lab) -> None:
    done = lab_command("kubectl", *which(lab.plan, lab.folder), "--", "get", "nodes", "-o", "name")
    assert (done.stdout.split(), done.returncode) == (["node/node1", "node/node2"], 0)
    assert lab_command("kubectl", *which(lab.plan, lab.folder), "--", "get", "nothing").returncode == 1


@pytest.mark.parametrize("place", ["node/node1", "node/node2"])
def test_the_api_through_its_cluster_ip(lab: Lab, place: str) -> None:
    words = ["curl", "-sk", "--max-time", "5", f"https://{lab.plan.api_service}/version"]
    assert "v1.36" in lab_command("exec", *which(lab.plan, lab.folder), place, "--", *words).stdout


def test_exec_in_a_pod(lab: Lab) -> None:
    listed = json.loads(kubectl(lab, "get", "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns", "-o", "json"))
    name = listed["items"][0]["metadata"]["name"]
    script = "hostname; cat /etc/resolv.conf; exit 5"
    words = ["exec", *which(lab.plan, lab.folder), "-n", "kube-system", name, "--", "sh", "-c", script]
    done = lab_command(*words)
    assert done.returncode == 5, done.stderr
    assert done.stdout.split()[0] == name
    assert "203.0.113.53" in done.stdout  # its dnsPolicy is Default: the node's own resolver
    assert places.run_in(lab, f"pod/kube-system/{name}", ["hostname"]).stdout.strip() == name


def test_names_of_pods_and_of_the_internet(lab: Lab) -> None:
    ask = ["dig", "+short", "+time=2", "+tries=3", f"@{lab.plan.dns_service}"]
    inside = places.run_in(lab, "node1", [*ask, "kubernetes.default.svc.cluster.local"])
    outside = places.run_in(lab, "node2", [*ask, "www.google.com"])
    assert inside.stdout.strip() == lab.plan.api_service
    assert outside.stdout.strip().startswith("203.0.113.")


def kubectl(lab: Lab, *words: str) -> str:
    done = lab_command("kubectl", *which(lab.plan, lab.folder), "--", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "name", ["node1-kubelet", "node2-agent", "node1-nodelocal", "controllers", "upstream", "pool-route", "apiserver"]
)
def test_a_killed_daemon_comes_back(lab: Lab, name: str) -> None:
    before = pids(lab)
    os.kill(before[name], signal.SIGKILL)

    def back() -> bool:
        record = launching.running(lab, name)
        return record is not None and record.who.pid != before[name] and record.restarts > 0

    eventually(back, f"{name} runs again")
    await_well(lab)
    assert {other: pid for other, pid in pids(lab).items() if other != name} == {
        other: pid for other, pid in before.items() if other != name
    }


def test_daemons_outlive_the_supervisor(lab: Lab) -> None:
    before = pids(lab)
    os.kill(before["supervisor"], signal.SIGKILL)
    eventually(lambda: launching.running(lab, "supervisor") is None, "the supervisor is gone")
    os.kill(before["upstream"], signal.SIGKILL)  # nobody starts it now
    assert lab_command("status", *which(lab.plan, lab.folder)).returncode == 1
    assert lab_command("up", *which(lab.plan, lab.folder)).returncode == 0
    after = pids(lab)
    anew = {"supervisor", "upstream"}
    assert {name: pid for name, pid in after.items() if name not in anew} == {
        name: pid for name, pid in before.items() if name not in anew
    }
    assert all(after[name] not in (None, before[name]) for name in anew)
    await_well(lab)


def test_there_is_one_supervisor(lab: Lab) -> None:
    before = pids(lab)
    done = lab_command("supervise", *which(lab.plan, lab.folder))
    assert (done.returncode, "has a supervisor already" in done.stderr) == (1, True)
    assert pids(lab) == before


def test_a_node_is_switched_off_and_on(lab: Lab) -> None:
    assert lab_command("node", "stop", "node2", *which(lab.plan, lab.folder)).returncode == 0
    found = status(lab)
    assert [each["state"] for each in found["nodes"]] == ["Ready", "off"]
    assert [each["pid"] for each in found["daemons"] if each["host"] == "node2"] == [None, None, None]
    inside = belongings.belonging(set(), lab.host("node2"))
    assert inside == [], "its pods have ended"
    refused = lab_command("exec", *which(lab.plan, lab.folder), "node/node2", "--", "true")
    assert "node2 is switched off; svcplane-lab node start node2" in refused.stderr
    eventually(lambda: '"Unknown"' in kubectl(lab, "get", "node", "node2", "-o", "json"), "it is missed", seconds=30)
    eventually(lambda: pool_by(lab) == "node1", "the pool leads to the other node")
    assert lab_command("node", "start", "node2", *which(lab.plan, lab.folder)).returncode == 0
    await_well(lab)


def pool_by(lab: Lab) -> str:
    """The node that the outside host sends the load balancer addresses to."""
    shown = places.run_in(lab, "outside", ["ip", "route", "get", lab.plan.lb_pool.partition("-")[0]]).stdout
    return next((name for name, address in lab.plan.hosts.items() if f"via {address} " in shown), "")


@pytest.mark.parametrize("words", [["outside"], ["machine"]], ids=" ".join)
def test_exit_status(lab: Lab, words: list[str]) -> None:
    assert lab_command("exec", *which(lab.plan, lab.folder), *words, "--", "sh", "-c", "exit 9").returncode == 9
    assert lab_command("exec", *which(lab.plan, lab.folder), *words, "--", "no-such-program").returncode == 127


# From here on labs of their own


ROUNDS = [
    pytest.param(1, {}, id="1 default ranges"),
    pytest.param(2, OTHER_RANGES, id="2 other ranges"),
    pytest.param(3, THIRD_RANGES, id="3 third ranges"),
    pytest.param(4, {"lb_pool": ""}, id="4 no pool"),
    pytest.param(5, {}, id="5 default ranges"),
]


@pytest.mark.parametrize(("number", "ranges"), ROUNDS)
def test_up_killed_down(tmp_path: Path, number: int, ranges: dict[str, str]) -> None:
    """Anything may be killed at any time: then `up` completes the lab, and `down` removes it, twice."""
    dice = random.Random(number)  # noqa: S311  # the same at every run
    plan = plan_of("abcdefgh"[number], nodes=1, **ranges)
    lab = Lab(plan, tmp_path / "state")
    try:
        interrupted = subprocess.Popen([PROGRAM, "up", *flags(plan, lab.folder)], stdout=subprocess.DEVNULL)
        try:
            interrupted.wait(dice.uniform(0.2, 3.0))
        except subprocess.TimeoutExpired:
            interrupted.kill()
            interrupted.wait()
        done = lab_command("up", *(flags(plan, lab.folder)))
        assert done.returncode == 0, done.stderr
        for name in dice.sample(sorted(pids(lab)), 3):
            record = launching.running(lab, name)
            if record is not None:
                processes.end([record.who])
        if dice.random() < 0.5:
            assert lab_command("up", *which(plan, lab.folder)).returncode == 0
            await_well(lab)
    finally:
        done = lab_command("down", *which(plan, lab.folder))
    assert done.returncode == 0, done.stderr
    assert traces(plan, lab.folder) == []
    again = lab_command("down", *which(plan, lab.folder))
    assert (again.returncode, again.stdout) == (0, f"there is no lab {plan.name}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_up_removes_what_it_made(tmp_path: Path, number: int) -> None:
    plan = plan_of("i", nodes=1)
    folder = tmp_path / "state"
    process = subprocess.Popen([PROGRAM, "up", *flags(plan, folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    eventually(lambda: state.find(plan.name, str(folder)), "it has begun")
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, b"svcplane-lab: interrupted\n")
    assert traces(plan, folder) == []


def test_only_a_supervisor_is_left(tmp_path: Path) -> None:
    """An `up` that was killed at once, and somebody cleaned up by hand: its daemons' environment tells."""
    plan = plan_of("l", nodes=1)
    lab = Lab(plan, tmp_path / "state")
    assert lab_command("up", *flags(plan, lab.folder)).returncode == 0
    supervisor = pids(lab)["supervisor"]
    for name in topology.existing(plan.name):
        subprocess.run(["ip", "netns", "delete", name], check=True)
    shutil.rmtree(lab.folder)
    assert processes.identity(supervisor) is not None
    assert lab_command("down", *which(plan, lab.folder)).returncode == 0
    assert processes.identity(supervisor) is None
    assert traces(plan, lab.folder) == []


def test_up_after_a_reboot(tmp_path: Path) -> None:
    """Processes and namespaces are gone, the disk is there: the same cluster comes back, its pods start again."""
    plan = plan_of("k", nodes=1)
    lab = Lab(plan, tmp_path / "state")
    try:
        assert lab_command("up", *flags(plan, lab.folder)).returncode == 0
        kubectl(lab, "create", "configmap", "kept", "--from-literal=a=b")
        everything = belongings.belonging(topology.networks(topology.existing(plan.name)), lab.folder)
        record = launching.running(lab, "supervisor")
        assert record is not None
        processes.end([record.who])
        processes.end([record.who, *everything])
        topology.remove(plan, lab.folder)
        done = lab_command("up", *which(plan, lab.folder))
        assert done.returncode == 0, done.stderr
        assert "a: b" in kubectl(lab, "get", "configmap", "kept", "-o", "yaml")
        await_well(lab)
    finally:
        done = lab_command("down", *which(plan, lab.folder))
    assert traces(plan, lab.folder) == []


def test_down_without_the_folder(tmp_path: Path) -> None:
    """Somebody removed the lab's folder: its names are enough."""
    plan = plan_of("j", nodes=1)
    lab = Lab(plan, tmp_path / "state")
    assert lab_command("up", *flags(plan, lab.folder)).returncode == 0
    shutil.rmtree(lab.folder)
    refused = lab_command("up", *flags(plan, lab.folder))
    assert (refused.returncode, f"svcplane-lab down --name {plan.name} removes them" in refused.stderr) == (1, True)
    assert lab_command("down", *which(plan, lab.folder)).returncode == 0
    assert traces(plan, lab.folder) == []

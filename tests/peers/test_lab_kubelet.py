"""Our kubelet on the real kube-apiserver: two nodes on a segment, a host outside, real packets."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peers.control_plane import ControlPlane
from peers.kubelets import LAB, OUTSIDE, Site, label, site
from support.waiting import eventually
from svclab.errors import LabError
from svclab.kubelet.pods import Pod
from svclab.kubelet.storage import read_pods
from svclab.kubelet.teardown import end_everything, processes_of
from svclab.processes import lives, signalled

pytestmark = pytest.mark.peers

NGINX = {"image": "nginx", "readinessProbe": {"httpGet": {"path": "/", "port": 80}}}
ECHO = {"image": "registry.k8s.io/e2e-test-images/agnhost:2.47", "args": ["netexec", "--http-port=8080"]}
LOOP = "while true; do sleep 0.1; done"


@pytest.fixture(scope="module")
def here(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("kubelets")
    with ControlPlane(binaries) as plane, site(plane, folder, label()) as running:
        yield running


def shell(script: str, **more: Any) -> dict[str, Any]:
    return {"image": "busybox", "command": ["sh", "-c", script], **more}


def record(here: Site, name: str, node: int = 0) -> Pod:
    return next(pod for pod in read_pods(here.nodes[node].root) if pod.name == name)


def cables(here: Site, node: int) -> list[str]:
    """Node ends of the pods' cables."""
    return re.findall(r"^\d+: (svcp[0-9a-f]{10})@", here.nodes[node].host.run("ip", "-o", "link"), re.MULTILINE)


def curl(here: Site, pod: str, url: str, node: int = 0) -> str:
    return here.nodes[node].run_in(pod, "curl", "-sS", "--max-time", "5", url)


def test_nodes_are_registered_and_renew_their_leases(here: Site) -> None:
    node = here.plane.get("/api/v1/nodes/node1")
    labels = node["metadata"]["labels"]
    assert (labels["kubernetes.io/hostname"], labels["kubernetes.io/os"]) == ("node1", "linux")
    assert {"type": "InternalIP", "address": "192.168.56.11"} in node["status"]["addresses"]
    ready = next(one for one in node["status"]["conditions"] if one["type"] == "Ready")
    assert (ready["reason"], ready["message"]) == ("KubeletReady", "kubelet is posting ready status")
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node1"
    before = here.plane.get(path)["spec"]["renewTime"]
    eventually(lambda: here.plane.get(path)["spec"]["renewTime"] > before, "the lease is renewed", 5.0)


def test_a_pod_runs_and_ends(here: Site) -> None:
    here.create("runs", NGINX)
    status = here.ready("runs")
    assert status["phase"] == "Running"
    assert status["podIP"].startswith("10.244.1.")
    assert status["hostIP"] == "192.168.56.11"
    assert "runs" in here.nodes[0].host.run("curl", "-sS", f"http://{status['podIP']}/hostname")
    reasons = [reason for reason, _ in here.events("runs")]
    assert {"Pulling", "Pulled", "Created", "Started"} <= set(reasons)
    here.delete("runs")
    assert cables(here, 0) == []
    assert not list((here.nodes[0].root / "pods").glob("default_runs_*"))


def test_pods_reach_each_other_without_nat(here: Site) -> None:
    here.create("near", ECHO, node=0)
    here.create("beside", shell(LOOP), node=0)
    here.create("far", shell(LOOP), node=1)
    near = here.ready("near")["podIP"]
    addresses = {name: here.ready(name)["podIP"] for name in ("beside", "far")}
    url = f"http://{near}:8080/clientip"
    eventually(lambda: curl(here, "beside", url), "the server listens")
    assert curl(here, "beside", url).split(":")[0] == addresses["beside"]
    assert curl(here, "far", url, node=1).split(":")[0] == addresses["far"]
    assert here.nodes[1].host.run("curl", "-sS", url).split(":")[0] == "192.168.56.12"


def test_pods_are_masqueraded_outside_the_cluster(here: Site) -> None:
    here.create("leaves", shell(LOOP))
    here.ready("leaves")
    server = "import socket\ns = socket.create_server(('', 9999))\nc, a = s.accept()\nc.sendall(a[0].encode())"
    listening = subprocess.Popen(here.outside.argv("python3", "-c", server))
    try:
        ask = f"exec 3<>/dev/tcp/{OUTSIDE}/9999; cat <&3"
        seen = eventually(lambda: here.nodes[0].run_in("leaves", "bash", "-c", ask), "the outside host answers")
    finally:
        listening.kill()
        listening.wait()
    assert seen == "192.168.56.11"


def test_the_second_container_on_a_port_fails(here: Site) -> None:
    here.create("taken", {"image": "nginx"}, {"image": "nginx"})

    def crashes() -> dict[str, Any] | None:
        second = here.container("taken", "b")
        return second if second["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" else None

    second = eventually(crashes, "the second container crashes again and again", 20.0)
    assert second["lastState"]["terminated"]["reason"] == "Error"
    assert here.container("taken", "a")["ready"]
    assert "Address already in use" in next(here.nodes[0].root.glob("pods/default_taken_*/b/0.log")).read_text()
    assert any(reason == "BackOff" for reason, _ in here.events("taken"))


def test_containers_share_network_and_volumes_but_not_processes(here: Site) -> None:
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    first = shell("echo hello > /shared/said; " + LOOP, **mount)
    here.create("pair", first, {"image": "nginx", **mount}, volumes=[{"name": "shared", "emptyDir": {}}])
    here.ready("pair")
    node = here.nodes[0]
    eventually(lambda: node.run_in("pair", "curl", "-sS", "http://localhost/hostname") == "pair\n", "localhost answers")
    assert node.run_in("pair", "cat", "/shared/said", container="b") == "hello\n"
    assert "nginx" not in node.run_in("pair", "ps", "ax", container="a").replace("ps ax", "")
    assert node.run_in("pair", "hostname") == "pair\n"


def test_a_restarted_container_keeps_the_address_a_new_pod_gets_another(here: Site) -> None:
    here.create("again", shell(LOOP))
    address = here.ready("again")["podIP"]
    run = record(here, "again").containers["a"].run
    assert run is not None
    assert signalled(run.init, signal.SIGKILL)
    eventually(lambda: here.container("again")["restartCount"] == 1, "the container was restarted")
    assert here.ready("again")["podIP"] == address
    assert here.container("again")["lastState"]["terminated"]["exitCode"] == 137
    here.delete("again")
    here.create("again", shell(LOOP))
    assert here.ready("again")["podIP"] != address


def test_deletion_is_graceful(here: Site, tmp_path: Path) -> None:
    script = f"trap 'sleep 0.5; echo bye > /out/said; exit 0' TERM; {LOOP}"
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook > /out/hook"]}}}
    mounts = [{"name": "out", "mountPath": "/out"}]
    here.create(
        "graceful",
        shell(script, lifecycle=hook, volumeMounts=mounts),
        volumes=[{"name": "out", "hostPath": {"path": str(tmp_path)}}],
        terminationGracePeriodSeconds=10,
    )
    address = here.ready("graceful")["podIP"]
    here.delete("graceful", wait=False)
    assert here.status("graceful")["podIP"] == address
    eventually(lambda: here.is_gone("graceful"), "the pod is gone")
    assert (tmp_path / "said").read_text() == "bye\n"
    assert (tmp_path / "hook").read_text() == "hook\n"


def test_who_does_not_listen_is_killed(here: Site) -> None:
    here.create("deaf", shell(f"trap '' TERM; {LOOP}"))
    here.ready("deaf")
    here.delete("deaf")  # two seconds of grace


def test_an_unknown_image_says_how_to_map_it(here: Site) -> None:
    here.create("unknown", {"image": "no/such:1"})

    def waits(reason: str) -> bool:
        return bool(here.container("unknown")["state"].get("waiting", {}).get("reason") == reason)

    eventually(lambda: waits("ErrImagePull"), "the pull failed")
    assert "--images" in here.container("unknown")["state"]["waiting"]["message"]
    eventually(lambda: waits("ImagePullBackOff"), "it is not tried all the time")
    found = eventually(
        lambda: dict(here.events("unknown")) if "BackOff" in dict(here.events("unknown")) else None, "told"
    )
    assert found["BackOff"] == 'Back-off pulling image "no/such:1"'
    assert here.status("unknown")["phase"] == "Pending"


@pytest.mark.parametrize(
    ("name", "container", "spec", "where", "reason", "message"),
    [
        pytest.param(
            "noconfig",
            {"image": "nginx", "envFrom": [{"configMapRef": {"name": "none"}}]},
            {},
            *("Failed", "CreateContainerConfigError", 'configmap "none" not found'),
            id="environment",
        ),
        pytest.param(
            "novolume",
            {"image": "nginx"},
            {"volumes": [{"name": "v", "secret": {"secretName": "none"}}]},
            *("FailedMount", "ContainerCreating", 'MountVolume.SetUp failed for volume "v" : secret "none" not found'),
            id="volume",
        ),
        pytest.param(
            "noprogram",
            {"image": "busybox", "command": ["none"]},
            {},
            *("Failed", "CrashLoopBackOff", 'exec: "none": executable file not found in $PATH'),
            id="program",
        ),
    ],
)
def test_what_keeps_a_container_from_starting(
    here: Site, name: str, container: dict[str, Any], spec: dict[str, Any], where: str, reason: str, message: str
) -> None:
    here.create(name, container, **spec)
    eventually(lambda: any(kind == where and message in text for kind, text in here.events(name)), "an event says so")
    eventually(lambda: here.container(name)["state"]["waiting"]["reason"] == reason, f"it waits: {reason}")
    here.delete(name)


def test_probes(here: Site) -> None:
    quick = {"periodSeconds": 1, "failureThreshold": 1}
    alive = {"exec": {"command": ["test", "!", "-e", "/tmp/dead"]}, **quick}
    ready = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, **quick}
    started = {"exec": {"command": ["test", "-e", "/tmp/started"]}, "periodSeconds": 1, "failureThreshold": 30}
    here.create("probed", shell(LOOP, livenessProbe=alive, readinessProbe=ready, startupProbe=started))
    node = here.nodes[0]
    eventually(lambda: here.container("probed")["state"].get("running"), "it runs")
    assert not here.container("probed")["started"]
    node.run_in("probed", "touch", "/tmp/started")
    eventually(lambda: here.container("probed")["started"], "it started")
    eventually(lambda: any("Readiness probe failed" in text for _, text in here.events("probed")), "not ready, it says")
    node.run_in("probed", "touch", "/tmp/ready")
    here.ready("probed")
    node.run_in("probed", "touch", "/tmp/dead")
    eventually(lambda: here.container("probed")["restartCount"] == 1, "it was restarted", 15.0)
    killing = "Container a failed liveness probe, will be restarted"
    assert ("Killing", killing) in here.events("probed")


def test_init_containers_and_sidecars(here: Site) -> None:
    mounts = [{"name": "d", "mountPath": "/d"}]
    inits = [
        {"name": "first", **shell("echo 1 >> /d/order", volumeMounts=mounts)},
        {"name": "side", **shell(LOOP), "restartPolicy": "Always"},
        {"name": "second", **shell("echo 2 >> /d/order", volumeMounts=mounts)},
    ]
    main = shell("echo 3 >> /d/order; cat /d/order > /dev/termination-log", volumeMounts=mounts)
    here.create("ordered", main, initContainers=inits, volumes=[{"name": "d", "emptyDir": {}}], restartPolicy="Never")
    eventually(lambda: here.status("ordered")["phase"] == "Succeeded", "it succeeded", 15.0)
    assert here.container("ordered")["state"]["terminated"]["message"] == "1\n2\n3\n"
    first = {one["name"]: one for one in here.status("ordered")["initContainerStatuses"]}
    assert first["first"]["state"]["terminated"]["reason"] == "Completed"
    assert "terminated" in first["side"]["state"]


def test_files_and_variables(here: Site) -> None:
    here.plane.kubectl("create", "configmap", "conf", "--from-literal=key=value")
    env = [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "BOTH", "value": "$(IP) on $(KUBERNETES_SERVICE_PORT)"},
    ]
    mounts = [{"name": "c", "mountPath": "/etc/conf"}, {"name": "c", "mountPath": "/opt/one", "subPath": "key"}]
    container = shell(LOOP, env=env, envFrom=[{"configMapRef": {"name": "conf"}}], volumeMounts=mounts)
    here.create("files", container, volumes=[{"name": "c", "configMap": {"name": "conf"}}])
    address = here.ready("files")["podIP"]
    node = here.nodes[0]
    variables = dict(line.split("=", 1) for line in node.run_in("files", "env").splitlines())
    assert variables["BOTH"] == f"{address} on 443"
    assert (variables["key"], variables["HOSTNAME"]) == ("value", "files")
    search = "search default.svc.cluster.local svc.cluster.local cluster.local"
    resolver = node.run_in("files", "cat", "/etc/resolv.conf")
    assert resolver.startswith(search)
    assert "nameserver 10.96.0.10\noptions ndots:5\n" in resolver
    assert f"{address}\tfiles\n" in node.run_in("files", "cat", "/etc/hosts")
    assert node.run_in("files", "cat", "/etc/conf/key", "/opt/one") == "valuevalue"
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert node.run_in("files", "cat", f"{account}/token").count(".") == 2
    assert node.run_in("files", "cat", f"{account}/namespace") == "default"
    assert "BEGIN CERTIFICATE" in node.run_in("files", "cat", f"{account}/ca.crt")
    node.run_in("files", "touch", "/etc/only-here")
    assert not Path("/etc/only-here").exists()


def test_a_killed_kubelet_finds_everything_again(here: Site) -> None:
    node = here.nodes[1]
    here.create("stays", shell(LOOP), node=1)
    here.create("finishes", shell("while [ ! -e /tmp/go ]; do sleep 0.1; done; exit 7"), node=1, restartPolicy="Never")
    here.create("leaves-then", shell(LOOP), node=1)
    before = {name: here.ready(name) for name in ("stays", "finishes", "leaves-then")}
    stays = record(here, "stays", 1).containers["a"].run
    node.kubelet.kill()
    here.delete("leaves-then", wait=False)
    node.run_in("finishes", "touch", "/tmp/go")
    orphan = record(here, "leaves-then", 1)
    finishing = record(here, "finishes", 1).containers["a"].run
    assert finishing is not None
    eventually(lambda: not lives(finishing.shim), "a container ends while nobody looks")
    node.kubelet.start()
    eventually(lambda: here.is_gone("leaves-then"), "a pod that was deleted meanwhile ends", 15.0)
    assert not any(lives(process) for process in processes_of(orphan))
    eventually(lambda: here.status("finishes")["phase"] == "Failed", "the exit code was kept")
    assert here.container("finishes")["state"]["terminated"]["exitCode"] == 7
    assert record(here, "stays", 1).containers["a"].run == stays
    assert here.status("stays")["podIP"] == before["stays"]["podIP"]
    assert here.container("stays")["restartCount"] == 0


def test_pods_go_on_without_the_api_server(here: Site) -> None:
    here.create("alone", shell(LOOP))
    here.ready("alone")
    run = record(here, "alone").containers["a"].run
    assert run is not None
    here.plane.kill("kube-apiserver")
    signalled(run.init, signal.SIGKILL)

    def again() -> bool:
        newest = record(here, "alone").containers["a"].run
        return newest is not None and newest.attempt == 1 and lives(newest.init)

    try:
        eventually(again, "the container is restarted meanwhile")
    finally:
        here.plane.restart("kube-apiserver")
    eventually(lambda: here.container("alone")["restartCount"] == 1, "it is told afterwards", 20.0)
    here.create("afterwards", NGINX)
    here.ready("afterwards", 20.0)


def test_a_lost_sandbox_is_made_anew(here: Site) -> None:
    here.create("lost", shell(LOOP))
    address = here.ready("lost")["podIP"]
    sandbox = record(here, "lost").sandbox
    assert sandbox is not None
    assert signalled(sandbox.pause, signal.SIGKILL)
    eventually(lambda: here.status("lost")["podIP"] != address, "another sandbox, another address")
    assert here.ready("lost")
    assert here.container("lost")["restartCount"] == 1
    assert "SandboxChanged" in dict(here.events("lost"))


def test_the_nodes_network_and_a_shared_pid_namespace(here: Site) -> None:
    here.create("host", shell(LOOP), shell(LOOP), hostNetwork=True, shareProcessNamespace=True)
    assert here.ready("host")["podIP"] == "192.168.56.11"
    node = here.nodes[0]
    assert "192.168.56.11" in node.run_in("host", "ip", "-4", "address", "show", "eth0")
    assert node.run_in("host", "hostname").strip() != ""
    assert node.run_in("host", "ps", "ax").count("while true") >= 2


def test_who_is_not_there_cannot_be_entered(here: Site) -> None:
    with pytest.raises(LabError, match="pods 'nobody' not found"):
        here.nodes[0].run_in("nobody", "true")


def test_zz_teardown_leaves_nothing(here: Site) -> None:
    """Last, because it ends all pods of a node."""
    node = here.nodes[1]
    here.create("doomed", NGINX, node=1)
    here.ready("doomed")
    pods = read_pods(node.root)
    node.kubelet.kill()
    assert end_everything(node.root) > 0
    assert end_everything(node.root) == 0
    left = [process for pod in pods for process in processes_of(pod) if lives(process)]
    assert left == []
    eventually(lambda: cables(here, 1) == [], "the cables are gone")
    assert "SVCP-MASQ" in node.host.run("iptables-save", "-t", "nat")
    node.host.run(str(LAB), "kubelet", "--cleanup", "--root-dir", str(node.root))
    assert "SVCP-MASQ" not in node.host.run("iptables-save", "-t", "nat")
    assert "10.244" not in node.host.run("ip", "route")

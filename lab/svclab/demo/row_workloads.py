"""Rows 2 and 3: who keeps pods running and what a Service sees of it; labels that move pods in and out; a dead node."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from ipaddress import ip_address, ip_network
from pathlib import Path

from svclab.cluster.addons import DNS
from svclab.cluster.api import ApiError, is_ready
from svclab.demo.evidence import counted, shares
from svclab.demo.stage import CURL, Body, CheckError, Stage, ip_of, is_going, name_of, pod_line


def workloads(stage: Stage) -> None:
    with stage.step("a bare Pod that is deleted stays away"):
        stage.apply("sleep-2.yaml")
        stage.apply("mynapp-rs.yaml")
        stage.apply("rolling-update.yaml")
        stage.kubectl("run", "bare", "--image=kiamol/ch03-sleep", "--restart=Never")
        stage.pods("run=bare", 1)
        stage.kubectl("delete", "pod", "bare")
        stage.expect(not stage.listed("pods", "run=bare"), "no pod", [*map(pod_line, stage.listed("pods", "run=bare"))])
    with stage.step("a ReplicaSet replaces the pod that is deleted"):
        first = stage.pods("app=mynapp-rs", 3)[0]
        stage.kubectl("delete", "pod", name_of(first), "--wait=false")
        names = [name_of(pod) for pod in stage.pods("app=mynapp-rs", 3)]
        stage.expect(name_of(first) not in names, f"pods other than {name_of(first)}", names)
        stage.kubectl("get", "rs", "mynapp-rs", shown=True)
    with stage.step(
        "endpoints follow: the deleted pod's address leaves, the replacement's enters, the ClusterIP stays"
    ):
        _check_endpoints(stage)
    with stage.step("kubectl scale: endpoints follow there and back"):
        stage.pods("app=web", 3)
        stage.kubectl("expose", "deployment", "web", "--port=80")
        for count in (5, 3):
            stage.kubectl("scale", "deployment", "web", f"--replicas={count}")
            stage.await_endpoints("web", {f"{ip_of(pod)}:80" for pod in stage.pods("app=web", count)})
            stage.show(f"{count} replicas: {', '.join(sorted(stage.endpoints('web')))}")
    with stage.step("a rolling update under a curl loop fails no request"):
        _check_rollout(stage)


def _check_endpoints(stage: Stage) -> None:
    before = stage.pods("app=sleep-2", 1)[0]
    address = stage.cluster_ip("sleep-2")
    stage.await_endpoints("sleep-2", {f"{ip_of(before)}:80"})
    stage.kubectl("get", "endpoints", "sleep-2", shown=True)
    stage.kubectl("delete", "pods", "-l", "app=sleep-2")
    after = stage.pods("app=sleep-2", 1)[0]
    stage.await_endpoints("sleep-2", {f"{ip_of(after)}:80"})
    stage.kubectl("get", "endpoints", "sleep-2", shown=True)
    stage.expect(ip_of(after) != ip_of(before), f"an address other than {ip_of(before)}", ip_of(after))
    stage.expect(stage.cluster_ip("sleep-2") == address, f"ClusterIP {address}", stage.cluster_ip("sleep-2"))


def _check_rollout(stage: Stage) -> None:
    url, names = f"http://{stage.cluster_ip('web')}/", {name_of(pod) for pod in stage.pods("app=web", 3)}
    # The node has the rules of the Service a moment after the Service is there.
    stage.until(lambda: set(stage.hits(stage.nodes[0], f"{url}hostname", 30)) == names, "answers of the three pods")
    with _Loop(stage, stage.nodes[0], url) as loop:
        stage.until(lambda: loop.count() > 20, "the loop runs", loop.count)
        stage.kubectl("set", "image", "deployment/web", "nginx=nginx:1.28")
        stage.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        stage.until(lambda: loop.last(20) == {"200 nginx/1.28"}, "20 answers of the new version", lambda: loop.last(20))
        seen = loop.results()
    stage.show(f"{seen.total()} requests from {stage.nodes[0]}: status, and the version that answered", *shares(seen))
    stage.expect(not loop.failures, "status 200 for every request", f"of {seen.total()}: {loop.failures}")
    versions = {result.partition(" ")[2] for result in seen}
    stage.expect(versions == {"nginx/1.27", "nginx/1.28"}, "answers of both versions", versions)


class _Loop:
    """curl again and again on a node, until left. `results` counts `STATUS SERVER`; what curl complains of is one too.

    Hosts see this machine's files, so the loop ends when a file of ours appears.
    """

    def __init__(self, stage: Stage, place: str, url: str) -> None:
        self._stage, self._place, self._url = stage, place, url
        self._folder = tempfile.TemporaryDirectory(prefix="svcplane-demo-")
        self._log, self._end = Path(self._folder.name, "log"), Path(self._folder.name, "end")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failures: list[str] = []

    def __enter__(self) -> _Loop:
        self._log.touch()
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop()
        self._folder.cleanup()

    def _run(self) -> None:
        curl = " ".join(f"'{word}'" for word in (*CURL, "-o", "/dev/null", "-w", "%{http_code} %header{server}\\n"))
        script = f"until [ -e {self._end} ]; do {curl} {self._url}; sleep 0.02; done >>{self._log} 2>&1"
        self._stage.run(self._place, "sh", "-c", script, seconds=180)

    def _stop(self) -> None:
        self._end.touch()
        self._thread.join(20)

    def count(self) -> int:
        return self._log.read_text().count("\n")

    def last(self, lines: int) -> set[str]:
        return set(self._log.read_text().splitlines()[-lines:])

    def results(self) -> Counter[str]:
        """Of the whole loop, which ends."""
        self._stop()
        lines = self._log.read_text().splitlines()
        self.failures = [f"{number}. {line}" for number, line in enumerate(lines, 1) if not line.startswith("200 ")]
        return counted("\n".join(lines))


def labels(stage: Stage) -> None:
    with stage.step(
        "a pod whose label no longer matches leaves the endpoints and its ReplicaSet; a replacement starts"
    ):
        stage.apply("mynapp-rs.yaml")
        stage.apply("mynapp-svc.yaml")
        pod = stage.pods("app=mynapp-rs", 3)[0]
        stage.kubectl("label", "pod", name_of(pod), "app=looked-into", "--overwrite")
        three = stage.pods("app=mynapp-rs", 3)
        stage.await_endpoints("mynapp-svc", {f"{ip_of(each)}:8080" for each in three})
        stage.expect(name_of(pod) not in map(name_of, three), "a replacement", [*map(pod_line, three)])
        released = stage.until(lambda: _free(stage.get("pods", name_of(pod))), "a pod without an owner")
        stage.kubectl("get", "pods", "--show-labels", shown=True)
    with stage.step("it gets no more new connections, and still runs"):
        url, names = f"http://{stage.cluster_ip('mynapp-svc')}/hostname", set(map(name_of, three))
        # The node has the new rules a moment after the endpoints changed; from then on there is no exception.
        stage.until(lambda: set(stage.hits(stage.nodes[0], url, 30)) == names, f"answers of {sorted(names)}")
        counts = stage.hits(stage.nodes[0], url, 300)
        stage.show(*shares(counts))
        stage.expect(set(counts) == names, f"answers of {sorted(names)}", dict(counts))
        said = stage.curl(stage.nodes[0], f"http://{ip_of(released)}:8080/hostname").strip()
        stage.expect(said == name_of(pod), f"{name_of(pod)} answers at its own address", said)
    with stage.step("relabelled back it is adopted, and one surplus pod goes"):
        stage.kubectl("label", "pod", name_of(pod), "app=mynapp-rs", "--overwrite")
        stage.until(lambda: len(stage.listed("pods", "app=mynapp-rs")) == 3, "three pods",
                    lambda: [*map(pod_line, stage.listed("pods", "app=mynapp-rs"))])  # fmt: skip
        left = stage.pods("app=mynapp-rs", 3)
        stage.expect(all(each["metadata"].get("ownerReferences") for each in left), "every pod has an owner", left)
        stage.await_endpoints("mynapp-svc", {f"{ip_of(each)}:8080" for each in left})
        stage.show(*map(pod_line, left))


def _free(pod: Body) -> Body | None:
    return None if pod["metadata"].get("ownerReferences") else pod


def dead_node(stage: Stage) -> None:
    """Plays alone: the other rows' pods would suffer."""
    if len(stage.nodes) < 2:
        with stage.step("a dead node: needs a second one"):
            stage.show("skipped on a lab of one node")
        return
    with stage.step("pods on every node, and a Service in front of them"):
        stage.apply("dead-node.yaml")
        before = stage.pods("app=web", 3)
        victim = before[-1]["spec"]["nodeName"]
        lost = [pod for pod in before if pod["spec"]["nodeName"] == victim]
        stage.show(*map(pod_line, before))
    try:
        _kill(stage, victim, lost)
    finally:
        with stage.step(f"{victim} is switched on again, and is Ready; its share of cluster DNS is back"):
            stage.lab_command("node", "start", victim)
            stage.until(lambda: is_ready(_node(stage, victim)), f"{victim} Ready")
            stage.until(lambda: _dns_is_whole(stage), "all replicas of cluster DNS ready")


def _kill(stage: Stage, victim: str, lost: list[Body]) -> None:
    with stage.step(f"{victim} loses its power: NotReady"):
        stage.lab_command("node", "stop", victim)
        began = time.monotonic()
        stage.until(lambda: not is_ready(_node(stage, victim)), f"{victim} NotReady")
        stage.kubectl("get", "nodes", shown=True)
        stage.show(f"noticed after {time.monotonic() - began:.1f} s")
    with stage.step("its pods start elsewhere, with new addresses"):
        gone = {name_of(pod) for pod in lost}

        def moved() -> list[Body] | None:
            found = [pod for pod in stage.listed("pods", "app=web") if not is_going(pod)]
            good = len(found) == 3 and all(map(is_ready, found)) and not gone & set(map(name_of, found))
            return found if good else None

        after = stage.until(moved, "three ready pods on the other nodes",
                            lambda: [*map(pod_line, stage.listed("pods", "app=web"))])  # fmt: skip
        stage.show(*map(pod_line, after))
        stage.expect(victim not in {pod["spec"]["nodeName"] for pod in after}, f"no pod on {victim}",
                     [*map(pod_line, after)])  # fmt: skip
        cidr = ip_network(stage.lab.plan.cluster_cidr)
        old = {ip_of(pod) for pod in lost}
        stage.expect(all(ip_address(ip_of(pod)) in cidr and ip_of(pod) not in old for pod in after), "new addresses",
                     [*map(pod_line, after)])  # fmt: skip
    with stage.step("the Service goes on with them"):
        stage.await_endpoints("web", {f"{ip_of(pod)}:80" for pod in after})
        other = next(node for node in stage.nodes if node != victim)

        def even() -> Counter[str] | None:
            counts = stage.hits(other, f"http://{stage.cluster_ip('web')}/hostname", 100)
            return counts if set(counts) == set(map(name_of, after)) else None

        stage.show(*shares(stage.until(even, "answers of the three pods, and no failure")))


def _dns_is_whole(stage: Stage) -> bool:
    found = stage.get("deployments", DNS, namespace="kube-system")
    return bool(found["status"].get("readyReplicas") == found["spec"]["replicas"])


def _node(stage: Stage, name: str) -> Body:
    try:
        return stage.api.get(f"/api/v1/nodes/{name}")
    except ApiError as error:
        raise CheckError(f"node {name}", error) from error

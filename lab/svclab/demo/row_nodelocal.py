"""Row 17: the DNS cache on every node, without cluster DNS behind it, and killed while a pod asks."""

from __future__ import annotations

import re
import threading
import time

from svclab import processes
from svclab.cluster import launching
from svclab.cluster.addons import DNS
from svclab.cluster.plan import CLUSTER_DOMAIN, NODE_DNS
from svclab.demo.stage import CheckError, Stage

NAME = f"kubernetes.default.svc.{CLUSTER_DOMAIN}"
DIG = ("dig", "+short", "+tries=1", "+time=4")
ANSWERED, STALE = "coredns_dns_requests_total", "coredns_cache_served_stale_total"
LOOP_SECONDS = 6
# Prints how many questions were answered, then a line for each that was not.
LOOP = f"""
good=0 lost=
end=$(($(date +%s) + {LOOP_SECONDS}))
while [ $(date +%s) -lt $end ]; do
    said=$({" ".join(DIG)} {NAME} 2>&1)
    if [ "$said" = "$0" ]; then good=$((good + 1)); else lost="$lost$said
"; fi
done
echo $good
echo "$lost"
"""


def node_caches(stage: Stage) -> None:
    plan = stage.lab.plan
    with stage.step(f"every node answers on {NODE_DNS} and, itself, on the cluster IP of DNS"):
        for node in stage.nodes:
            for server in (NODE_DNS, plan.dns_service):
                said = stage.until(lambda node=node, server=server: _asked(stage, node, server), "an answer")  # type: ignore[misc]  # a default binds it
                stage.expect(said == plan.api_service, plan.api_service, said)
            stage.show(f"{node}$ dig @{NODE_DNS} {NAME}: {said}")
        stage.show(f"{node}$ iptables -t raw -S PREROUTING", *_rules(stage, node))
    with stage.step("a pod that asks in a loop while the cache is killed: at most the question under way is lost"):
        stage.kubectl("run", "client", "--image=kiamol/ch03-sleep")
        node = stage.pods("run=client", 1)[0]["spec"]["nodeName"]
        _check_killed(stage, node)
    with stage.step("it is back, and so are its rules"):
        stage.until(lambda: len(_rules(stage, node)) == 4 and _asked(stage, node, NODE_DNS), "four rules, an answer")
        stage.show(f"{node}$ iptables -t raw -S PREROUTING", *_rules(stage, node))
    with stage.step("cluster DNS away: what the cache knows goes on, past its time too"):
        _check_without_cluster_dns(stage, node)


def _asked(stage: Stage, place: str, *server: str) -> str:
    done = stage.run(place, *DIG, *(f"@{one}" for one in server), NAME)
    return done.stdout.strip() if done.returncode == 0 else ""


def _rules(stage: Stage, node: str) -> list[str]:
    printed = stage.printed(node, "iptables", "-w", "5", "-t", "raw", "-S", "PREROUTING")
    return [line for line in printed.splitlines() if "NodeLocal DNS Cache" in line]


def _check_killed(stage: Stage, node: str) -> None:
    printed: list[str] = []
    place = f"pod/{stage.namespace}/client"
    stage.until(lambda: _asked(stage, place) == stage.lab.plan.api_service, "an answer")
    before = _metric(stage, node, ANSWERED)
    words = (place, "sh", "-c", LOOP, stage.lab.plan.api_service)
    asking = threading.Thread(target=lambda: printed.append(stage.run(*words).stdout))
    asking.start()
    try:
        stage.until(lambda: _metric(stage, node, ANSWERED) > before + 10, "the cache answers")
        record = launching.running(stage.lab, f"{node}-nodelocal")
        if record is None:
            raise CheckError("the cache runs", "it does not")
        processes.end([record.who])
        began = time.monotonic()
        stage.until(lambda: _is_another(stage, node, record.who.pid), "it is started again")
        stage.show(f"{node}$ kill -9 {record.who.pid}; started again after {time.monotonic() - began:.1f} s")
    finally:
        asking.join()
    good, _, lost = printed[0].partition("\n")
    lines = [line for line in lost.splitlines() if line.strip()]
    stage.show(f"client$ dig {NAME} in a loop for {LOOP_SECONDS} s: {good} answered, {len(lines)} not", *lines)
    stage.expect(good.isdecimal() and int(good) > 10, "names resolve", printed[0])
    # dig says two lines of a question that nobody answers.
    stage.expect(sum("no servers could be reached" in line for line in lines) <= 1 and len(lines) <= 3,
                 "one question lost at most", lines)  # fmt: skip


def _is_another(stage: Stage, node: str, pid: int) -> bool:
    record = launching.running(stage.lab, f"{node}-nodelocal")
    return record is not None and record.who.pid != pid


def _metric(stage: Stage, node: str, name: str) -> float:
    """Of the cache of a node, over all labels."""
    shown = stage.curl(node, "http://127.0.0.1:9253/metrics")
    return sum(map(float, re.findall(rf"^{name}\{{.*\}} (.+)$", shown, re.MULTILINE)))


def _check_without_cluster_dns(stage: Stage, node: str) -> None:
    pods = "k8s-app=kube-dns"
    count = len(stage.listed("pods", pods, "kube-system"))
    place = f"pod/{stage.namespace}/client"
    stage.until(lambda: _asked(stage, place) == stage.lab.plan.api_service, "an answer")
    try:
        stage.kubectl("scale", "deployment", DNS, "--replicas=0", namespace="kube-system", shown=True)
        stage.until(lambda: not stage.listed("pods", pods, "kube-system"), "no pod of cluster DNS")
        stage.until(lambda: _went_stale(stage, node, place), "an answer past its time")
        said = _asked(stage, place)
        stage.show(f"client$ dig {NAME}: {said}")
        stage.expect(said == stage.lab.plan.api_service, stage.lab.plan.api_service, said)
    finally:
        stage.kubectl("scale", "deployment", DNS, f"--replicas={count}", namespace="kube-system")
        stage.pods(pods, count, "kube-system")


def _went_stale(stage: Stage, node: str, place: str) -> bool:
    """Asks once more; whether the cache has given out what had expired."""
    _asked(stage, place)
    return _metric(stage, node, STALE) > 0

"""Row 1: what a pod is. One network namespace for its containers, an address of its own, reached without NAT."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from svclab.demo.stage import PATIENCE, Body, CheckError, Stage, ip_of, is_ready, name_of, pod_line


def pods(stage: Stage) -> None:
    with stage.step("containers of one pod share one network namespace: `tools` finds `web` on localhost"):
        stage.apply("two-containers.yaml")
        stage.apply("spread.yaml")
        stage.apply("port-clash.yaml")
        pair = stage.pods("app=pair", 1)[0]
        said = stage.curl("pod/pair/tools", "http://localhost/hostname").strip()
        stage.expect(said == "pair", "the answer of pod pair", said)
        links = [
            stage.printed(f"pod/pair/{each}", "readlink", "/proc/self/ns/net").strip() for each in ("web", "tools")
        ]
        stage.show(f"web {links[0]}, tools {links[1]}")
        stage.expect(links[0] == links[1], "one network namespace", links)
    with stage.step("every pod has its own address, from its node's range"):
        spread = stage.pods("app=spread", 3)
        _check_addresses(stage, [pair, *spread])
        stage.kubectl("get", "pods", "-o", "wide", "-l", "app in (spread,pair)", shown=True)
    with stage.step("every pod reaches every pod, and sees its true address: no NAT"):
        _check_reach(stage, spread)
    _check_restart(stage, pair)
    with stage.step("a second container on a taken port gets EADDRINUSE, and CrashLoopBackOff"):
        _check_clash(stage)


def _check_addresses(stage: Stage, pods: list[Body]) -> None:
    addresses = [ip_of(pod) for pod in pods]
    stage.expect(len(set(addresses)) == len(addresses), "different addresses", addresses)
    stage.expect(len({pod["spec"]["nodeName"] for pod in pods}) == min(3, len(stage.nodes)), "pods on several nodes",
                 [pod_line(pod) for pod in pods])  # fmt: skip
    for pod in pods:
        cidr = stage.api.get(f"/api/v1/nodes/{pod['spec']['nodeName']}")["spec"]["podCIDR"]
        stage.expect(ip_address(ip_of(pod)) in ip_network(cidr), f"an address in {cidr}", pod_line(pod))


def _check_reach(stage: Stage, pods: list[Body]) -> None:
    for one in pods:
        for other in pods:
            said = stage.curl(f"pod/{name_of(one)}", f"http://{ip_of(other)}:8080/clientip").strip()
            wanted = ip_of(one)
            stage.expect(said.rpartition(":")[0] == wanted, f"{name_of(other)} sees {wanted}", said)
        stage.show(f"{pod_line(one)}: seen by all as {ip_of(one)}")


def _check_restart(stage: Stage, pair: Body) -> None:
    with stage.step("a restarted container keeps the pod's address"):
        stage.run("pod/pair/web", "sh", "-c", "kill 1")
        restarted = stage.until(lambda: _restarted(stage), "container web restarted", lambda: _line(stage))
        stage.show(f"restarts: 1, address {ip_of(pair)} → {ip_of(restarted)}")
        stage.expect(ip_of(restarted) == ip_of(pair), f"address {ip_of(pair)}", ip_of(restarted))
    with stage.step("a recreated pod gets a new address"):
        stage.kubectl("delete", "pod", "pair")
        stage.apply("two-containers.yaml")
        fresh = stage.pods("app=pair", 1)[0]
        stage.show(f"address {ip_of(pair)} → {ip_of(fresh)}")
        stage.expect(ip_of(fresh) != ip_of(pair), f"another address than {ip_of(pair)}", ip_of(fresh))


def _restarted(stage: Stage) -> Body | None:
    pod = stage.get("pods", "pair")
    counts = {each["name"]: each["restartCount"] for each in pod["status"]["containerStatuses"]}
    return pod if counts.get("web", 0) >= 1 and is_ready(pod) else None


def _line(stage: Stage) -> str:
    return pod_line(stage.get("pods", "pair"))


def _check_clash(stage: Stage) -> None:
    def crashing() -> Body | None:
        statuses = stage.get("pods", "clash")["status"]["containerStatuses"]
        second: Body = next(each for each in statuses if each["name"] == "second")
        return second if second["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" else None

    second = stage.until(crashing, "CrashLoopBackOff", lambda: pod_line(stage.get("pods", "clash")), PATIENCE)
    stage.kubectl("get", "pod", "clash", shown=True)
    code = second.get("lastState", {}).get("terminated", {}).get("exitCode")
    stage.expect(code == 1, "exit code 1", second)
    node = stage.get("pods", "clash")["spec"]["nodeName"]
    logs = sorted(stage.lab.kubelet_root(node).glob(f"pods/{stage.namespace}_clash_*/second/*.log"))
    said = [line for log in logs for line in log.read_text(errors="replace").splitlines() if "Address already" in line]
    if not said:
        raise CheckError("a line about the address in the container's log", [str(log) for log in logs])
    stage.show(f"log of container second: {said[0]}")

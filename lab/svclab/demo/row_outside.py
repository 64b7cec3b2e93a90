"""Rows 9 and 11: from outside the cluster, by a port of every node and by an address of a load balancer."""

from __future__ import annotations

import re
import sys
import time
from ipaddress import IPv4Address, ip_network
from pathlib import Path

from svclab.demo.evidence import shares
from svclab.demo.stage import CURL, REFUSED, CheckError, Stage, example, ip_of, name_of

OUT_OF_RANGE = (
    'error: failed to create NodePort service: Service "low" is invalid: spec.ports[0].nodePort: Invalid value: 80: '
    "provided port is not in the valid range. The range of valid ports is 30000-32767"
)
TAKEN = (
    'error: failed to create NodePort service: Service "second" is invalid: spec.ports[0].nodePort: Invalid value: '
    "31111: provided port is already allocated"
)


def node_ports(stage: Stage) -> None:
    with stage.step("NodePort 31111 works from outside on every node, also on those without a pod"):
        stage.apply("wrong-selector.yaml")
        stage.kubectl("create", "-f", example("mynapp-rs.yaml"))
        stage.kubectl("scale", "rs", "mynapp-rs", "--replicas=1")
        pod = stage.pods("app=mynapp-rs", 1)[0]
        stage.apply("mynapp-svc-nodeport.yaml")
        for node in stage.nodes:
            url = f"http://{stage.address_of(node)}:31111/hostname"
            for place in ("outside", "machine"):
                said = stage.until(lambda place=place, url=url: stage.curl(place, url).strip(), "an answer")  # type: ignore[misc]  # a default binds it
                stage.expect(said == name_of(pod), name_of(pod), said)
            here = "has the pod" if pod["spec"]["nodeName"] == node else "has no pod"
            stage.show(f"outside$ curl {url}   # {node} {here}", f"  {said}")
    with stage.step("the rules on a node: KUBE-NODEPORTS → KUBE-EXT → KUBE-SVC → KUBE-SEP"):
        node = next((each for each in stage.nodes if each != pod["spec"]["nodeName"]), stage.nodes[0])
        lines = stage.chains(node, "KUBE-NODEPORTS", "mynapp-svc-np")
        stage.show(f"{node}$ iptables -t nat -L CHAIN -n", *(f"  {line}" for line in lines))
        kinds = list(dict.fromkeys("-".join(line.split(":")[0].split("-")[:2]) for line in lines))
        stage.expect(kinds == ["KUBE-NODEPORTS", "KUBE-EXT", "KUBE-SVC", "KUBE-SEP"], "these four", kinds)
        stage.expect(f"to:{ip_of(pod)}:8080" in lines[-1], f"DNAT to {ip_of(pod)}:8080 at the end", lines[-1])
    with stage.step("a port that is taken or out of range is refused, in the API's words"):
        stage.refused(TAKEN, "create", "service", "nodeport", "second", "--tcp=80", "--node-port=31111")
        stage.refused(OUT_OF_RANGE, "create", "service", "nodeport", "low", "--tcp=80", "--node-port=80")
    with stage.step("a selector that selects nothing: Endpoints <none>, and connections are refused at once"):
        _check_refused(stage)
    with stage.step("svcplane-agent trace names the near miss"):
        _check_trace(stage)
    with stage.step("with the right selector it works, on port 31624 of every node"):
        stage.kubectl(
            "patch", "service", "web", "-p", '{"spec":{"selector":{"service-app":null,"service-name":"web"}}}'
        )
        stage.pods("service-name=web", 1)
        for node in stage.nodes:
            url = f"http://{stage.address_of(node)}:31624/hostname"
            said = stage.until(lambda url=url: stage.curl("outside", url).strip(), "an answer")  # type: ignore[misc]  # a default binds it
            stage.show(f"outside$ curl {url}", f"  {said}")


def _check_refused(stage: Stage) -> None:
    stage.pods("service-name=web", 1)
    listed = stage.kubectl("get", "endpoints", "web", shown=True)
    stage.expect("<none>" in listed, "<none>", listed)
    described = stage.kubectl("describe", "service", "web")
    line = next((line for line in described.splitlines() if line.startswith("Endpoints:")), "")
    stage.show("$ kubectl describe service web", line)
    stage.expect(line.partition(":")[2].strip() in ("", "<none>"), "no endpoints", line)
    targets = [("outside", f"{stage.address_of(node)}:31624") for node in stage.nodes]
    for place, target in [*targets, (stage.nodes[0], f"{stage.cluster_ip('web')}:80")]:
        began = time.monotonic()
        done = stage.run(place, *CURL, f"http://{target}/")
        seconds = time.monotonic() - began
        stage.show(f"{place}$ curl http://{target}/", f"  {done.stderr.strip()} ({seconds * 1000:.0f} ms)")
        stage.expect(
            done.returncode == REFUSED and seconds < 3, "refused at once", (done.returncode, done.stderr, seconds)
        )


def _check_trace(stage: Stage) -> None:
    node = stage.nodes[0]
    agent = str(Path(sys.executable).parent / "svcplane-agent")
    target = f"{stage.address_of(node)}:31624"
    argv = [agent, "trace", target, "--from", "outside", "--kubeconfig", str(stage.lab.admin_conf)]
    argv += ["--hostname-override", node, "--cluster-cidr", stage.lab.plan.cluster_cidr]
    done = stage.run(node, *argv)
    stage.show(f"{node}$ svcplane-agent trace {target} --from outside", done.stdout, done.stderr)
    stage.expect("has service-name=web, not service-app=web" in done.stdout, "service-name=web, not service-app=web",
                 done.stdout + done.stderr)  # fmt: skip


def load_balancers(stage: Stage) -> None:
    with stage.step("a Service of a class that nobody serves stays <pending>, as all do without a pool"):
        stage.apply("numbers.yaml")
        overrides = '{"spec":{"loadBalancerClass":"example.com/nobody"}}'
        stage.kubectl("run", "client", "--image=kiamol/ch03-sleep", "--labels=app=waiting")
        stage.kubectl("expose", "pod", "client", "--name=waiting", "--type=LoadBalancer", "--port=80",
                      f"--overrides={overrides}")  # fmt: skip
        listed = stage.kubectl("get", "service", "waiting", shown=True)
        stage.expect("<pending>" in listed, "<pending>", listed)
    if not stage.lab.plan.lb_pool:
        with stage.step("without a pool (--lb-pool) numbers-web stays <pending> too"):
            listed = stage.kubectl("get", "service", "numbers-web", shown=True)
            stage.expect("<pending>" in listed, "<pending>", listed)
        return
    with stage.step("numbers-web gets an EXTERNAL-IP from the pool"):
        address = stage.until(lambda: _external_ip(stage), "an EXTERNAL-IP")
        listed = stage.kubectl("get", "service", "numbers-web", shown=True)
        stage.expect("8080:32002/TCP" in listed, "8080:32002/TCP", listed)
        stage.expect(_in_pool(address, stage.lab.plan.lb_pool), f"an address of {stage.lab.plan.lb_pool}", address)
    with stage.step("curl EXTERNAL-IP:8080 from the outside host and from this machine"):
        page = stage.pods("app=numbers-web", 1)[0]
        stage.pods("app=numbers-api", 1)
        for place in ("outside", "machine"):
            url = f"http://{address}:8080/hostname"
            counts = stage.until(lambda place=place, url=url: stage.hits(place, url, 20), "answers")  # type: ignore[misc]  # a default binds it
            stage.show(f"{place}$ curl {url}   # 20 times", *shares(counts))
            stage.expect(set(counts) == {name_of(page)}, name_of(page), dict(counts))
    with stage.step("the page there has a number, which it gets from numbers-api by its name"):

        def number() -> str:
            said = stage.curl("outside", f"http://{address}:8080/", "-d", "")
            found = re.search(r"Here it is: \d+", said)
            if found is None:
                raise CheckError("Here it is: a number", said)
            return found[0]

        stage.show(f"outside$ curl -d '' http://{address}:8080/", f"  {stage.until(number, 'Here it is: a number')}")
    with stage.step("and on port 32002 of every node"):
        for node in stage.nodes:
            url = f"http://{stage.address_of(node)}:32002/hostname"
            # Each node's agent programs the rules by itself, within its --iptables-min-sync-period.
            counts = stage.until(lambda url=url: stage.hits("outside", url, 1), "an answer")  # type: ignore[misc]  # a default binds it
            stage.show(f"outside$ curl {url}", *shares(counts))
            stage.expect(set(counts) == {name_of(page)}, name_of(page), str(dict(counts)))


def _external_ip(stage: Stage) -> str:
    ingress = stage.get("services", "numbers-web").get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
    address: str = ingress[0].get("ip", "")
    return address


def _in_pool(address: str, pool: str) -> bool:
    """`pool` is `A-B` or a CIDR."""
    if "-" in pool:
        first, last = map(IPv4Address, pool.split("-"))
        return first <= IPv4Address(address) <= last
    return IPv4Address(address) in ip_network(pool)

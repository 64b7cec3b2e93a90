"""Rows 4, 5 and 6: a stable address before changing pods: an even choice, one that stays, several ports."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from svclab.demo.evidence import evenness, shares
from svclab.demo.stage import Stage, example, name_of

CONNECTIONS = 3000
LEAST = 1e-6  # an even choice looks more uneven than this once in a million times


def cluster_ips(stage: Stage) -> None:
    with stage.step("kubectl expose deployment, kubectl expose rs, kubectl create -f: each gets a ClusterIP"):
        stage.kubectl("create", "deployment", "web", "--image=nginx", "--replicas=3")
        stage.kubectl("expose", "deployment", "web", "--name=web", "--port=80")
        stage.apply("mynapp-rs.yaml")
        stage.kubectl("expose", "rs", "mynapp-rs", "--name=mynapp-rs", "--port=80", "--target-port=8080")
        stage.kubectl("create", "-f", example("mynapp-svc.yaml"))
        stage.kubectl("run", "client", "--image=kiamol/ch03-sleep")
        range_ = ip_network(stage.lab.plan.service_cidr)
        for service in ("web", "mynapp-rs", "mynapp-svc"):
            address = stage.cluster_ip(service)
            stage.expect(ip_address(address) in range_, f"an address in {range_}", address)
        stage.kubectl("get", "services", shown=True)
    names = {name_of(pod) for pod in stage.pods("app=web", 3)}
    stage.pods("run=client", 1)
    url = f"http://{stage.cluster_ip('web')}/hostname"
    for what, place in (("a pod", "pod/client"), ("a node", stage.nodes[0])):
        with stage.step(f"{CONNECTIONS} connections from {what} are spread evenly over the 3 pods"):
            stage.until(lambda place=place: set(stage.hits(place, url, 30)) == names, "answers of all pods")  # type: ignore[misc]  # a default binds it
            counts = stage.hits(place, url, CONNECTIONS, seconds=120)
            p = evenness(counts, 3)
            stage.show(*shares(counts), f"chi-square: p = {p:.3g}")
            stage.expect(p > LEAST, f"p > {LEAST:g}", f"p = {p:.3g}")
    with stage.step("the other two lead to the ReplicaSet's pods"):
        others = {name_of(pod) for pod in stage.pods("app=mynapp-rs", 3)}
        for service in ("mynapp-rs", "mynapp-svc"):
            where = f"http://{stage.cluster_ip(service)}/hostname"
            stage.until(lambda where=where: set(stage.hits("pod/client", where, 60)) == others, "their answers")  # type: ignore[misc]  # a default binds it
        stage.show(*stage.chains(stage.nodes[0], "KUBE-SERVICES", "mynapp-svc"))


def affinity(stage: Stage) -> None:
    with stage.step("sessionAffinity ClientIP: each client always reaches one pod"):
        stage.apply("mynapp-rs.yaml")
        stage.apply("mynapp-svc-affinity.yaml")
        for client in ("one", "two", "three", "four"):
            stage.kubectl("run", client, "--image=kiamol/ch03-sleep", "--labels=role=client")
        names = {name_of(pod) for pod in stage.pods("app=mynapp-rs", 3)}
        clients = [f"pod/{name_of(pod)}" for pod in stage.pods("role=client", 4)] + [*stage.nodes]
        url = f"http://{stage.cluster_ip('mynapp-svc')}/hostname"
        for client in clients:
            stage.until(lambda client=client: stage.hits(client, url, 1), "an answer")  # type: ignore[misc]  # a default binds it
        stage.await_endpoints(
            "mynapp-svc", {f"{pod['status']['podIP']}:8080" for pod in stage.pods("app=mynapp-rs", 3)}
        )
        _settle(stage, clients[0], url)
        chosen = {client: stage.hits(client, url, 100) for client in clients}
        stage.show(*(f"{client}: 100 of 100 to {' '.join(sorted(counts))}" for client, counts in chosen.items()))
        for client, counts in chosen.items():
            stage.expect(len(counts) == 1 and set(counts) <= names, f"one pod for {client}", dict(counts))
    with stage.step("after the timeout of 2 s a client may reach another pod"):
        _check_timeout(stage, clients[0], url)
        chain = [line for line in stage.chains(stage.nodes[0], "KUBE-SERVICES", "mynapp-svc") if "recent" in line]
        stage.expect(bool(chain), "rules with `recent`", stage.chains(stage.nodes[0], "KUBE-SERVICES", "mynapp-svc"))
        stage.show(*chain)


def _settle(stage: Stage, client: str, url: str) -> None:
    """Until the node has the rules of all three endpoints: before, a choice may be forgotten with its rule."""
    stage.until(lambda: len(stage.hits(client, url, 10)) == 1, "one pod")


def _check_timeout(stage: Stage, client: str, url: str) -> None:
    """Each try after the timeout is a new choice of three: twelve alike happen once in 177,000 times."""
    seen: list[str] = []
    for _ in range(12):
        seen += stage.hits(client, url, 1)
        if len(set(seen)) > 1:
            break
        # Nothing to wait for but the time itself: the kernel forgets the client after two seconds without a packet.
        stage.printed(client, "sleep", "2.5")
    stage.show(f"{client}, one connection each time it was forgotten: {', '.join(seen)}")
    stage.expect(len(set(seen)) > 1, "another pod in twelve tries", seen)


def ports(stage: Stage) -> None:
    with stage.step("a Service with two ports: each reaches its own target port, by name"):
        stage.apply("multi-port.yaml")
        stage.pods("app=multi", 1)
        address, place = stage.cluster_ip("multi"), stage.nodes[0]
        for port, text in ((80, "this is the http port"), (443, "this is the https port")):
            said = stage.until(lambda port=port: stage.curl(place, f"http://{address}:{port}/"), "an answer")  # type: ignore[misc]  # a default binds it
            stage.show(f"{place}$ curl http://{address}:{port}/", f"  {said.strip()}")
            stage.expect(said.strip() == text, text, said)
        stage.kubectl("get", "endpoints", "multi", shown=True)
    refused = (
        (
            "unnamed ports in a multi-port Service are refused, in the API's words",
            "wrong-unnamed-ports.yaml",
            'The Service "unnamed" is invalid: \n* spec.ports[0].name: Required value\n'
            "* spec.ports[1].name: Required value",
        ),
        (
            "type: ClusterIp is refused, in the API's words",
            "wrong-type.yaml",
            'The Service "typo" is invalid: spec.type: Unsupported value: "ClusterIp": supported values: "ClusterIP", '
            '"ExternalName", "LoadBalancer", "NodePort"',
        ),
        (
            "YAML indented by tabs is refused by kubectl",
            "wrong-tabs.yaml",
            f"error: error parsing {example('wrong-tabs.yaml')}: error converting YAML to JSON: yaml: line 4: "
            "found character that cannot start any token",
        ),
    )
    for what, file, message in refused:
        with stage.step(what):
            stage.refused(message, "apply", "-f", example(file))

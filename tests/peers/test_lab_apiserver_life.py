"""The real controllers, kube-proxy, CoreDNS and kubectl live on the lab's API server; so do our controllers.

One cluster, its life from the first Deployment to the end of its namespace. Pods have no processes: `Kubelets` writes
their status. The real scheduler is not among them: it waits for volumes and claims, kinds that the lab does not have.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dnslib import DNSRecord

from peers.core_dns import CoreDNS
from peers.kube_proxy import KubeProxy
from peers.lab_pods import Kubelets
from peers.lab_server import LabServer
from peers.passage import passage
from support.resolvers import over_udp
from support.waiting import eventually
from svclab.netns import Host

pytestmark = pytest.mark.peers

CONTROLLERS = (
    "deployment-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
)
NAMESPACE = "life"
SECONDS = 20.0


class Cluster:
    """A server with kubectl."""

    def __init__(self, server: LabServer, binaries: Path) -> None:
        self.server = server
        self._kubectl = binaries / "kubectl"

    def kubectl(self, words: str) -> str:
        done = subprocess.run(
            (self._kubectl, "--namespace", NAMESPACE, *words.split()),
            env={"KUBECONFIG": str(self.server.kubeconfig()), "HOME": str(self.server.folder)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def items(self, words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.kubectl(f"get {words} -o json"))["items"]
        return found

    def pods(self) -> dict[str, dict[str, Any]]:
        """The pods of the Deployment that are not being deleted, by name."""
        items = self.items("pods -l app=web")
        return {one["metadata"]["name"]: one for one in items if "deletionTimestamp" not in one["metadata"]}

    def endpoints(self) -> set[str]:
        """Ready addresses of the Service `web`, if EndpointSlices and Endpoints agree; else nothing."""
        slices = self.items("endpointslices -l kubernetes.io/service-name=web")
        sliced = {
            address
            for one in slices
            for endpoint in one["endpoints"] or ()
            if endpoint["conditions"]["ready"]
            for address in endpoint["addresses"]
        }
        subsets = json.loads(self.kubectl("get endpoints web -o json")).get("subsets", ())
        old = {address["ip"] for subset in subsets for address in subset.get("addresses", ())}
        return sliced if sliced == old else set()

    def follows(self, count: int) -> bool:
        """Are there so many pods, all of them endpoints, and nothing else?"""
        addresses = {pod["status"].get("podIP") for pod in self.pods().values()}
        return len(addresses) == count and self.endpoints() == addresses


@pytest.fixture(params=["the real controllers", "our controllers"])
def cluster(request: pytest.FixtureRequest, binaries: Path) -> Iterator[Cluster]:
    real = request.param == "the real controllers"
    with ExitStack() as stack:
        server = stack.enter_context(
            LabServer(binaries, controllers=CONTROLLERS if real else (), scheduler=real, own_controllers=not real)
        )
        stack.enter_context(Kubelets(server.https, places=real))
        yield Cluster(server, binaries)


def test_a_deployment_lives_and_dies(cluster: Cluster) -> None:
    kubectl = cluster.kubectl
    kubectl(f"create namespace {NAMESPACE}")
    kubectl("create deployment web --image=nginx --replicas=4 --port=8080")
    kubectl("rollout status deployment/web --timeout=20s")
    assert {pod["spec"]["nodeName"] for pod in cluster.pods().values()} == {"node1", "node2"}
    kubectl("expose deployment web --port=80 --target-port=8080")
    eventually(lambda: cluster.follows(4), "the four pods are the endpoints", SECONDS)
    kubectl("scale deployment web --replicas=5")
    kubectl("rollout status deployment/web --timeout=20s")
    eventually(lambda: cluster.follows(5), "the fifth pod is an endpoint", SECONDS)

    victim = next(iter(cluster.pods()))
    kubectl(f"delete pod {victim} --wait=true --timeout=20s")
    eventually(lambda: victim not in cluster.pods() and cluster.follows(5), "a deleted pod is replaced", SECONDS)

    freed = next(iter(cluster.pods()))
    kubectl(f"label pod {freed} app=other --overwrite")
    eventually(lambda: freed not in cluster.pods() and cluster.follows(5), "a relabelled pod is replaced", SECONDS)
    released = json.loads(kubectl(f"get pod {freed} -o json"))
    assert "ownerReferences" not in released["metadata"]
    kubectl(f"label pod {freed} app=web --overwrite")
    eventually(lambda: len(cluster.pods()) == 5 and cluster.follows(5), "it is taken back, one is too many", SECONDS)

    before = set(cluster.pods())
    kubectl("set image deployment/web nginx=nginx:2")
    kubectl("rollout status deployment/web --timeout=30s")
    eventually(lambda: not before & set(cluster.pods()) and cluster.follows(5), "all pods are new ones", SECONDS)
    assert len(cluster.items("rs -l app=web")) == 2
    kubectl("rollout undo deployment/web")
    kubectl("rollout status deployment/web --timeout=30s")
    images = {pod["spec"]["containers"][0]["image"] for pod in cluster.pods().values()}
    assert images == {"nginx"}
    assert [row.split()[0] for row in kubectl("rollout history deployment/web").splitlines()[2:] if row] == ["2", "3"]

    kubectl("delete deployment web --timeout=20s")
    eventually(lambda: not cluster.pods() and not cluster.items("rs"), "what it owned goes with it", SECONDS)
    eventually(lambda: not cluster.endpoints(), "the Service has nobody left", SECONDS)
    kubectl(f"delete namespace {NAMESPACE} --timeout=30s")
    assert NAMESPACE not in kubectl("get namespaces -o name")


def test_the_real_kube_proxy_and_core_dns_live_on_it(cluster: Cluster, binaries: Path, tmp_path: Path) -> None:
    kubectl, server = cluster.kubectl, cluster.server
    kubectl(f"create namespace {NAMESPACE}")
    kubectl("create deployment web --image=nginx --replicas=2 --port=8080")
    kubectl("expose deployment web --type=NodePort --port=80 --target-port=8080")
    address = kubectl("get service web -o jsonpath={.spec.clusterIP}")
    host = Host("svcp-a3-proxy")
    with ExitStack() as stack:
        stack.callback(host.remove)
        host.create()
        port = stack.enter_context(passage(host.name, "127.0.0.1", server.port))
        kubeconfig = tmp_path / "inside.kubeconfig"
        kubeconfig.write_text(server.kubeconfig().read_text().replace(server.server, f"https://127.0.0.1:{port}"))
        proxy = KubeProxy(binaries, tmp_path, netns=host.name, kubeconfig=kubeconfig, hostname="node1")
        stack.callback(proxy.stop)
        proxy.start()
        dns = stack.enter_context(CoreDNS(binaries, tmp_path, kubeconfig=server.kubeconfig()))

        def answer(name: str) -> set[str]:
            asked = DNSRecord.question(name).pack()
            said = DNSRecord.parse(over_udp(("127.0.0.1", dns.port), asked))
            return {str(record.rdata) for record in said.rr}

        def rules() -> str:
            return host.run("iptables-save", "-t", "nat")

        eventually(lambda: cluster.follows(2), "the pods are endpoints", SECONDS)
        eventually(lambda: answer(f"web.{NAMESPACE}.svc.cluster.local") == {address}, "CoreDNS knows the Service")
        pods = {pod["status"]["podIP"] for pod in cluster.pods().values()}
        eventually(lambda: all(f"--to-destination {pod}:8080" in rules() for pod in pods), "kube-proxy knows the pods")
        kubectl("scale deployment web --replicas=3")
        eventually(lambda: cluster.follows(3) and rules().count(":8080") >= 3, "kube-proxy follows", SECONDS)
        server.kill("apiserver")
        assert answer(f"web.{NAMESPACE}.svc.cluster.local") == {address}
        server.restart("apiserver")
        kubectl("scale deployment web --replicas=1")
        eventually(lambda: cluster.follows(1), "all go on after a restart of the server", 30.0)
        (last,) = (pod["status"]["podIP"] for pod in cluster.pods().values())
        eventually(lambda: rules().count("--to-destination 10.244.") == 1 and last in rules(), "kube-proxy goes on", 30)
        kubectl("delete service web")
        eventually(lambda: not answer(f"web.{NAMESPACE}.svc.cluster.local"), "CoreDNS forgets the Service", 30.0)

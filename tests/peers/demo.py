"""`make demo`: one Service on its way from kubectl to packets and DNS answers, every step real.

A real etcd, kube-apiserver and kube-controller-manager run on loopback. Three network namespaces are the hosts:

    client 192.168.56.100 ── 192.168.56.11 node ── backend 10.244.2.2, 10.244.2.3 (web), 10.244.2.10 (DNS)

`svcplane-agent` programs the node, `svcplane-dns` answers in the backend. Every command is shown with what it printed,
and checked: the demo ends with status 1 if one does not show what it should. Everything made is removed at the end.
"""

from __future__ import annotations

import http.server
import re
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from peers.build import built
from peers.control_plane import ControlPlane
from peers.processes import Process
from support.waiting import eventually
from svclab import netns
from svclab.netns import Host

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
NODE, CLIENT, DNS = "192.168.56.11", "192.168.56.100", "10.96.0.10"
NODE_TO_BACKEND = "192.168.57.1"
WEB_PODS = ("10.244.2.2", "10.244.2.3")


class DemoError(Exception):
    """A step did not show what it should."""


def main() -> int:
    try:
        with ExitStack() as stack:
            demo(stack)
    except (DemoError, AssertionError, OSError, subprocess.SubprocessError) as error:
        print(f"\ndemo failed: {error}", file=sys.stderr)
        return 1
    print("\nAll steps did what they should. Everything is removed again.")
    return 0


def demo(stack: ExitStack) -> None:
    say("a control plane: etcd, kube-apiserver, kube-controller-manager")
    plane = stack.enter_context(ControlPlane(built()))
    plane.add_node("node", [NODE])
    node, client, backend = (stack.enter_context(_Removed(name)) for name in ("node", "client", "backend"))
    wire(node, client, backend)
    for address in WEB_PODS:
        stack.callback(serve(backend, address).shutdown)
    kubeconfig = plane.kubeconfig("system:kube-proxy", groups=["system:node-proxier"])
    say("the agent programs host `node`, the DNS server answers on host `backend`")
    agent = ("--kubeconfig", kubeconfig, "--netns", node.name, "--hostname-override", "node")
    run(stack, plane, "svcplane-agent", *agent, "--cluster-cidr", "10.244.0.0/16")
    api = stack.enter_context(plane.reached_from(backend.name))
    resolver = ("--kubeconfig", plane.kubeconfig(server=api), "--listen", "10.244.2.10:53")
    run(stack, plane, "svcplane-dns", *resolver, host=backend)

    say("a Service, with kubectl")
    for manifest in ("kube-dns.yaml", "web.yaml"):
        print(f"$ kubectl apply -f deploy/examples/{manifest}")
        print(plane.apply((ROOT / "deploy/examples" / manifest).read_text()), end="")
    kubectl(plane, "get service,endpointslice", "31111")

    say("its cluster IP, from the node: each connection goes to one of its endpoints")
    both = " && ".join(["curl -s --max-time 5 http://10.96.0.20/"] * 12)
    show(node, both, *(f"this is {address}" for address in WEB_PODS), title="curl -s http://10.96.0.20/    # 12 times")
    say("its node port, from a host outside the cluster: the endpoint sees the node's address")
    show(client, f"curl -s --max-time 5 http://{NODE}:31111/", f"you are {NODE_TO_BACKEND}")

    say("the rules, as kube-proxy would have written them")
    show(node, "iptables -t nat -L KUBE-NODEPORTS -n", "default/web:http")
    listing = show(node, "iptables -t nat -L KUBE-SERVICES -n", "default/web:http cluster IP")
    chain = re.search(r"(KUBE-SVC-\w+) .*default/web:http cluster IP", listing)
    if chain is None:
        raise DemoError("KUBE-SERVICES has no jump for default/web:http")
    show(node, f"iptables -t nat -L {chain[1]} -n", "10.244.2.2:8080", "statistic mode random")
    say("which of them a packet meets")
    trace = f"trace {NODE}:31111 --from {CLIENT} --netns {node.name}"
    shown = subprocess.run(
        [PROGRAMS / "svcplane-agent", *trace.split()], capture_output=True, text=True, check=True, timeout=60
    )
    print(f"$ svcplane-agent {trace}")
    check(shown.stdout, "masqueraded")

    say("names, asked at the cluster IP of kube-dns")
    ask = f"dig +noall +answer +time=2 +tries=2 @{DNS}"
    show(node, f"{ask} web.default.svc.cluster.local", "10.96.0.20")
    show(node, f"{ask} _http._tcp.web.default.svc.cluster.local SRV", "80 web.default.svc.cluster.local.")
    show(node, f"{ask} -x 10.96.0.20 +tcp", "web.default.svc.cluster.local.")

    say("an endpoint goes: the other takes all; it goes too: refused at once")
    removal = '[{"op":"remove","path":"/endpoints/0"}]'
    kubectl(plane, f"patch endpointslice web-1 --type=json -p {removal}", "patched")
    await_(node, lambda shown: WEB_PODS[0] not in shown, both, "all connections go to the endpoint that is left")
    show(node, both, f"this is {WEB_PODS[1]}", title="curl -s http://10.96.0.20/    # 12 times")
    kubectl(plane, f"patch endpointslice web-1 --type=json -p {removal}", "patched")
    refused = "curl -sS --max-time 5 http://10.96.0.20/ 2>&1 || true"
    show(node, refused, "Couldn't connect", title="curl -sS http://10.96.0.20/")
    say("the Service goes, and its name")
    kubectl(plane, "delete service web", "deleted")
    show(node, f"dig +noall +comments @{DNS} web.default.svc.cluster.local", "NXDOMAIN")


class _Removed(Host):
    """A host of the demo, which lasts as long as a with block. One left by a killed run is removed first."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{netns.PREFIX}demo-{name}")

    def __enter__(self) -> Host:
        self.remove()
        return self.create()

    def __exit__(self, *failure: object) -> None:
        self.remove()


def wire(node: Host, client: Host, backend: Host) -> None:
    netns.connect(client, "eth0", node, "eth0")
    client.add_address("eth0", f"{CLIENT}/24")
    node.add_address("eth0", f"{NODE}/24")
    netns.connect(node, "eth1", backend, "eth0")
    node.add_address("eth1", f"{NODE_TO_BACKEND}/24")
    backend.add_address("eth0", "192.168.57.2/24")
    backend.add_address("lo", *(f"{address}/32" for address in (*WEB_PODS, "10.244.2.10")))
    node.add_route("10.244.2.0/24", via="192.168.57.2")
    backend.add_route("default", via=NODE_TO_BACKEND)
    # Service addresses have no route of their own; the node's default route is what a packet to one leaves by.
    node.add_route("default", via=CLIENT)


def serve(backend: Host, address: str) -> socketserver.BaseServer:
    """A web server on port 8080 of an address of `backend`."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # http.server's name
            body = f"this is {address}, you are {self.client_address[0]}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Silent: what matters is what curl shows."""

    with backend.entered():
        # Not HTTPServer: that one asks the resolver for its own name, and there is none to answer.
        server = socketserver.ThreadingTCPServer((address, 8080), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def run(stack: ExitStack, plane: ControlPlane, program: str, *flags: str | Path, host: Host | None = None) -> None:
    print(f"$ {program} run {' '.join(str(flag) for flag in flags)} &")
    netns_name = host.name if host else ""
    process = Process((PROGRAMS / program, "run", *flags), plane.folder / f"{program}.log", netns=netns_name)
    stack.callback(process.stop)
    process.start()


def say(what: str) -> None:
    print(f"\n# {what}")


def show(host: Host, command: str, *expected: str, title: str = "") -> str:
    """Runs a shell line on a host until it shows all that is expected; prints it and what it printed."""
    shown = await_(host, lambda text: all(part in text for part in expected), command, " and ".join(expected))
    role = host.name.removeprefix(f"{netns.PREFIX}demo-")
    print(f"{role}$ {title or command}")
    print(shown, end="")
    return shown


def await_(host: Host, good: Callable[[str], bool], command: str, what: str) -> str:
    """What a shell line shows once it is good; AssertionError if it is not within 20 s."""

    def probe() -> str:
        shown = host.run("sh", "-c", command)
        return shown if good(shown) else ""

    return eventually(probe, what, 20)


def kubectl(plane: ControlPlane, words: str, *expected: str) -> None:
    print(f"$ kubectl {words}")
    check(plane.kubectl(*words.split()), *expected)


def check(shown: str, *expected: str) -> None:
    """Prints what a command showed; DemoError if something expected is not in it."""
    print(shown, end="")
    for part in expected:
        if part not in shown:
            raise DemoError(f"this does not show {part!r}")


if __name__ == "__main__":
    sys.exit(main())

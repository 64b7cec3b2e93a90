"""Waits until a lab does what it is for: the API answers, nodes are ready, names resolve through a cluster IP.

In: a lab that is being started. Out: when it is so. LabError after a deadline: what was awaited, and the last lines of
the logs of those daemons that died. Waiting is asking again, because what is awaited happens in other processes.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from svclab import processes
from svclab.cluster import addons, launching, placement
from svclab.cluster.api import Api, ApiError, is_ready
from svclab.cluster.daemons import daemons
from svclab.cluster.state import Lab
from svclab.errors import LabError

SECONDS = 60.0
PAUSE = 0.03
ANSWER_SECONDS = 0.2  # before there are rules for it, the question goes to the internet, which is silent
GIVEN_UP = 5  # restarts: by then a daemon has had eight seconds
LINES = 6  # of a log, shown when its daemon died

# "kubernetes.default.svc.cluster.local. IN A", recursion desired, id 0x4c42; RFC 1035.
_LABELS = (b"kubernetes", b"default", b"svc", b"cluster", b"local", b"")
QUESTION = bytes.fromhex("4c420100000100000000 0000") + b"".join(bytes([len(x)]) + x for x in _LABELS) + b"\0\1\0\1"


def await_api(lab: Lab, api: Api) -> None:
    _await(lab, api.ready, "the API server answers")


def await_nodes(lab: Lab, api: Api) -> None:
    """Every node that is switched on."""
    wanted = {name for name in lab.plan.node_names if not lab.off(name).exists()}

    def all_ready() -> bool:
        ready = {each["metadata"]["name"] for each in api.get("/api/v1/nodes")["items"] if is_ready(each)}
        return wanted <= ready

    _await(lab, all_ready, "every node is ready")


def await_dns(lab: Lab, api: Api) -> None:
    """A replica on each node, and an answer through the Service to a question from each node."""
    path = f"/apis/apps/v1/namespaces/{addons.NAMESPACE}/deployments/{addons.DNS}"
    on = [name for name in lab.plan.node_names if not lab.off(name).exists()]
    wanted = min(len(on), 1) if len(on) < lab.plan.nodes else lab.plan.nodes

    def ready() -> bool:
        deployment = api.get(path)
        replicas = deployment.get("spec", {}).get("replicas", 0)
        return bool(deployment.get("status", {}).get("readyReplicas", 0) >= min(wanted, replicas))

    _await(lab, ready, "cluster DNS is ready", lambda: _pods(api))
    for node in on:
        _await(lab, lambda name=node: resolves(lab, name), f"names resolve from {node}")  # type: ignore[misc]


def resolves(lab: Lab, node: str) -> bool:
    """Does cluster DNS tell a node where the API server is?"""
    with placement.network(lab.plan.namespace(node)):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client, suppress(OSError):
        client.settimeout(ANSWER_SECONDS)
        client.connect((lab.plan.dns_service, 53))
        client.send(QUESTION)
        answer: bytes = client.recv(512)
        return answer.endswith(socket.inet_aton(lab.plan.api_service))
    return False


def _pods(api: Api) -> str:
    """Why the pods of cluster DNS are not ready, a line each."""
    listed = api.get(f"/api/v1/namespaces/{addons.NAMESPACE}/pods")["items"]
    lines = []
    for pod in listed:
        status = pod.get("status", {})
        states = [json.dumps(each.get("state", {})) for each in status.get("containerStatuses", ())]
        where = pod["spec"].get("nodeName", "no node")
        lines.append(f"\n{pod['metadata']['name']} on {where}: {' '.join([status.get('phase', '?'), *states])}")
    return "".join(lines) or "\nit has no pods: look at the log of the controllers"


def _await(lab: Lab, condition: Callable[[], bool], what: str, explain: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + SECONDS
    trouble = ""
    while True:
        try:
            if condition():
                return
        except ApiError as error:
            trouble = f": {error}"
        lost = _lost(lab)
        if lost or time.monotonic() > deadline:
            why = f"{', '.join(lost)} cannot be started" if lost else f"waited {SECONDS:g} s until {what}{trouble}"
            with suppress(ApiError):
                why += explain()
            raise LabError(why + _obituaries(lab))
        time.sleep(PAUSE)


def _lost(lab: Lab) -> list[str]:
    """Daemons that died again and again."""
    names = [each.name for each in daemons(lab.plan, str(lab.folder))]
    records = {name: launching.recorded(lab, name) for name in names}
    return [
        name
        for name, record in records.items()
        if record is not None and record.restarts >= GIVEN_UP and not processes.lives(record.who)
    ]


def _obituaries(lab: Lab) -> str:
    """What daemons that died wrote last."""
    parts = []
    for daemon in daemons(lab.plan, str(lab.folder)):
        record = launching.recorded(lab, daemon.name)
        if record is None or record.restarts:
            with suppress(OSError):
                lines = lab.log(daemon.name).read_text(errors="replace").splitlines()[-LINES:]
                parts.append("\n  ".join([f"\n{daemon.name} died; its last lines:", *lines]))
    return "".join(parts)
